"""Reference runs: a committed plan of long runs, worked through block by block in spare hours."""
