"""The figures of the experiments: a module each, of the experiment's name, with a function `draw`.

It reads a result of the stage `experiment` alone: nothing is trained or measured here, and torch is
not loaded.
"""
