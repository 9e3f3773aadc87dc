"""Speed and error against the machine's own limits: `python -m benchmarks` prints one table."""
