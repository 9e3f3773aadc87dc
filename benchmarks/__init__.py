"""Speed and error beside the machine's own limits and beside public code: `python -m benchmarks`
prints the tables.
"""
