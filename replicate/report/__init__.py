"""The page: what its templates show, gathered from result files."""
