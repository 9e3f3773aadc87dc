"""What a cluster is asked for a job: memory and time, by a forecast where one was written.

`python -m replicate status --write-resources` writes it; the rules only read it, so that nothing is
timed while an engine reads them. Everything is asked for `attempt` times over when a job is tried
again.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from replicate.errors import ReplicateError
from replicate.jobs.forecast import GIB, Forecast
from replicate.jobs.layout import RULES, RUN
from replicate.storage.files import read_json, write_json

#: Where forecasts are kept, below the folder of the run.
RESOURCES = Path(".replicate/resources.json")
#: Asked for where there is no forecast: megabytes, and minutes.
MEMORY_MB = 4000
MINUTES = 240
#: Rules that compute next to nothing, and their minutes; jobs of a group add theirs up.
SMALL = frozenset(
    {
        *("fetch", "prepare", "draw", "statements", "ranks"),
        *("table", "metrics", "curves", "report"),
    }
)
SMALL_MINUTES = 30
#: Of the peak and of the time that are forecast, so that few jobs have to be tried again.
MEMORY_FACTOR = 1.5
TIME_FACTOR = 2.0
#: Minutes for the start of a job and for stages after the training's last epoch.
START_MINUTES = 10
#: Megabytes of the two processes of Snakemake that surround a job in its allocation.
ENGINE_MB = 400
#: Bytes of a megabyte, as clusters count them.
MEGABYTE = 2**20


class Need(TypedDict):
    """What a job is given, by Snakemake's names: megabytes, and minutes."""

    mem_mb: int
    runtime: int


def need_of(job: Forecast) -> Need:
    """What the training that is forecast needs, with a margin."""
    megabytes = MEMORY_FACTOR * job.memory_gib * GIB / MEGABYTE
    minutes = TIME_FACTOR * job.seconds / 60
    return Need(mem_mb=math.ceil(megabytes) + ENGINE_MB, runtime=math.ceil(minutes) + START_MINUTES)


def write_needs(jobs: Iterable[Forecast], path: Path) -> int:
    """Writes the needs of all trainings that are not done; those of the others stay as they were.

    Returns:
        How many were forecast.
    """
    forecast = {}
    for job in jobs:
        if job.state != "done":
            forecast[f"{job.dataset}/{job.model}/{job.block}"] = need_of(job)
    # What is done today may have to run again tomorrow, and then needs what was forecast for it.
    write_json(path, read_needs(path) | forecast)
    return len(forecast)


def read_needs(path: Path) -> dict[str, Need]:
    """What `write_needs` wrote, by what a job is about; nothing where there is no file.

    Raises:
        ReplicateError: the file is something else.
    """
    if not path.is_file():
        return {}
    try:
        content = read_json(path).items()
        return {
            about: Need(mem_mb=int(need["mem_mb"]), runtime=int(need["runtime"]))
            for about, need in content
        }
    except (ReplicateError, AttributeError, LookupError, TypeError, ValueError):
        raise ReplicateError(
            f"{path} holds no forecasts; remove it, and run "
            "`python -m replicate status --write-resources` again."
        ) from None


def needed(needs: Mapping[str, Need], rule: str, about: str, attempt: int) -> Need:
    """What a job is given at its first, second, ... attempt.

    Args:
        needs: what was forecast.
        rule: of the job.
        about: what distinguishes it from the rule's other jobs.
        attempt: 1 for the first.
    """
    memory = MEMORY_MB
    minutes = SMALL_MINUTES if rule in SMALL else MINUTES
    if about in needs and RULES[rule].about == RUN:
        forecast = needs[about]
        # What comes after a training is not timed beforehand, and holds its samples or less.
        memory = max(memory, forecast["mem_mb"])
        if rule == "train":
            memory, minutes = forecast["mem_mb"], forecast["runtime"]
    return Need(mem_mb=attempt * memory, runtime=attempt * minutes)
