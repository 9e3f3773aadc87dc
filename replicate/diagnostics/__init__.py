"""Diagnostics of samples besides the likelihood: classes, memorisation, mixing."""
