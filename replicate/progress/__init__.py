"""Loops that say how far they are, and who listens: the terminal and `status`."""
