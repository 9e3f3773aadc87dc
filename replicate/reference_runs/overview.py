"""How far the plan is: blocks done, running and pending, and hours left by measured rates."""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from replicate.errors import understanding
from replicate.jobs.forecast import epochs_trained
from replicate.progress.reporting import duration
from replicate.records.run_record import record_path
from replicate.reference_runs.blocks import Block
from replicate.reference_runs.runner import progress_text
from replicate.storage.files import read_json


@dataclass(frozen=True)
class Standing:
    """How a block stands.

    Attributes:
        state: done, running or pending.
        epoch: that it is in, or goes on from.
        seconds: left of its training; None where no rate is known.
        measured: whether the rate was measured here.
    """

    block: Block
    state: str
    epoch: int
    seconds: float | None
    measured: bool

    @property
    def under_way(self) -> bool:
        """Whether it runs, or goes on from an epoch that is done."""
        has_begun = self.epoch > 0
        return self.state == "running" or (self.state == "pending" and has_begun)


def _own_rate(block: Block) -> float | None:
    """Seconds of an epoch, by a block's progress or else by the record of its training."""
    rate = block.progress().get("seconds_per_epoch")
    if rate:
        return float(rate)
    result = block.results_folder / "train.json"
    path = record_path(result)
    if not (path.is_file() and result.is_file()):
        return None
    record = read_json(path)
    with understanding(f"{result} or its run record"):
        # `wall_seconds` are of this process alone, which may have gone on from a checkpoint.
        share = record["steps_in_this_process"] / max(record["steps"], 1)
        epochs = share * epochs_trained(read_json(result))
    # Too few steps to say how long an epoch takes.
    if epochs < 1:
        return None
    return float(record["wall_seconds"] / epochs)


def standings(blocks: Sequence[Block]) -> list[Standing]:
    """How every block stands; without a rate of its own it gets that of another of its recipe."""
    rates = {}
    rates_of_recipes = {}
    for block in blocks:
        if rate := _own_rate(block):
            rates[block.relative_path] = rate
            # Blocks of a recipe cost alike: one that was timed speaks for those that were not.
            rates_of_recipes[block.entry.name, block.model] = rate
    result = []
    for block in blocks:
        shared_rate = rates_of_recipes.get((block.entry.name, block.model))
        result.append(_standing(block, rates.get(block.relative_path, shared_rate)))
    return result


def _standing(block: Block, rate: float | None) -> Standing:
    published = block.published_epochs()
    if published >= block.epochs:
        return Standing(block, "done", published, 0.0, True)
    progress = block.progress()
    # Without progress a longer training goes on from the epochs that were kept.
    epoch = int(progress.get("epoch", published))
    # The progress may be that of a plan of more epochs.
    epoch = min(epoch, block.epochs)
    seconds_per_epoch = rate or block.entry.seconds_per_epoch.get(block.model)
    seconds = None
    if seconds_per_epoch:
        epochs_left = block.epochs - epoch
        seconds = seconds_per_epoch * epochs_left
    state = "running" if block.is_locked() else "pending"
    return Standing(block, state, epoch, seconds, rate is not None)


def lines(blocks: Sequence[Standing], at_once: int) -> list[str]:
    """The overview: counts, a line for each block under way, one for the rest of a model, hours."""
    counts = Counter(standing.state for standing in blocks)
    clauses = [f"{counts[state]} {state}" for state in ("done", "running", "pending")]
    overview = [f"{len(blocks)} blocks: {', '.join(clauses)}"]
    groups: dict[tuple[str, str, str], list[Standing]] = {}
    for standing in blocks:
        block = standing.block
        if standing.under_way:
            progress = progress_text(block)
            overview.append(f"  {standing.state:8s} {block.label}: {progress}")
        else:
            key = (standing.state, block.entry.name, block.model)
            groups.setdefault(key, []).append(standing)
    overview += [_group_line(group) for group in groups.values()]
    return overview + _hours_left(blocks, at_once)


def _group_line(group: Sequence[Standing]) -> str:
    """The line of blocks of a model that are done, or that have not begun."""
    first = group[0]
    block = first.block
    entry = block.entry.name
    seeds = ", ".join(standing.block.seeds for standing in group)
    line = f"  {first.state:8s} {entry} {block.model} seeds {seeds}"
    if first.state != "pending":
        return line
    time = "no rate is known"
    if first.seconds is not None:
        time_of_block = duration(first.seconds)
        time = f"about {time_of_block} each"
    return f"{line}: {block.epochs} epochs, {time}"


def _hours_left(blocks: Sequence[Standing], at_once: int) -> list[str]:
    """A sentence for each device that still has work."""
    unfinished = [standing for standing in blocks if standing.state != "done"]
    if not unfinished:
        return ["All blocks of the plan are done."]
    sentences = []
    for device, name in (("cpu", "CPU"), ("cuda", "GPU")):
        of_device = [standing for standing in unfinished if standing.block.entry.device == device]
        if of_device:
            # A GPU has one block at a time.
            side_by_side = at_once if device == "cpu" else None
            hours = _hours(of_device, side_by_side)
            sentences.append(f"Left on a {name}: {hours}.")
    return sentences


def _together(seconds: Sequence[float], lanes: int) -> float:
    """Seconds until all blocks are done, of which the first free lane takes the next one."""
    busy_until = [0.0] * lanes
    # In the order of the plan, in which the runner takes them; not the longest first.
    for each in seconds:
        free_at = heapq.heappop(busy_until)
        heapq.heappush(busy_until, free_at + each)
    return max(busy_until)


def _hours(blocks: Sequence[Standing], side_by_side: int | None) -> str:
    """Blocks of a device that are left, their hours, and what these rest on."""
    known = [standing.seconds for standing in blocks if standing.seconds is not None]
    unknown = len(blocks) - len(known)
    if not known:
        return f"{unknown} blocks, of which none has a rate yet"
    hours = sum(known) / 3600
    text = f"{len(blocks)} blocks, {hours:.1f} hours of training"
    if side_by_side is not None:
        # One block is no faster with several lanes.
        lanes = min(side_by_side, len(known))
        together = _together(known, lanes) / 3600
        text += f", {together:.1f} with {lanes} side by side"
    if unknown:
        text += f"; {unknown} of them have no rate yet, and are not counted in the hours"
    planned = sum(standing.seconds is not None and not standing.measured for standing in blocks)
    if planned:
        text += f"; the rates of {planned} are the plan's, until they are measured here"
    return text
