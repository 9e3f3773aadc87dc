"""How much the analyst decides: every verdict under all combinations of defensible choices."""
