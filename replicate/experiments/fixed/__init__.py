"""What no setting changes and both an experiment and its figures need: numbers and names, a module each, no torch."""
