"""Panels and curves: each reads result files and never trains."""
