"""Runs jobs of the workflow one after another in this process: their cost without an engine.

Reads a JSON list from standard input, one list of words for each job, as `benchmarks/engines.py`
writes it. Imports only the project in the working directory.
"""

import json
import runpy
import sys

from replicate.__main__ import main


def run(words: list[str]) -> None:
    """Runs one job: `python -m replicate STAGE ...` or `python tools/FILE.py ...`."""
    if words[:3] == ["python", "-m", "replicate"]:
        if status := main(words[3:]):
            sys.exit(status)
        return
    sys.argv = words[1:]
    try:
        runpy.run_path(words[1], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise


if __name__ == "__main__":
    for job in json.load(sys.stdin):
        run(job)
