"""Reference runs: long runs by a committed plan, a block of seeds at a time, whenever there is time."""
