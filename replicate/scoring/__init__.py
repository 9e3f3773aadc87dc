"""Anyone's samples, scored: files of any common kind, the estimate, and the reasons to distrust
it.
"""
