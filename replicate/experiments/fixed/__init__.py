"""Numbers that no setting changes and that an experiment and its figures both need: a module each, without torch."""
