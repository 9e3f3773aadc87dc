"""What is done, running and pending of the plan, and the hours that are left, from measured rates."""

from collections.abc import Sequence
from dataclasses import dataclass

from replicate.files import read_json
from replicate.reference.blocks import Block
from replicate.reference.runner import how_far
from replicate.training.progress import duration


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


def _own_rate(block: Block) -> float | None:
    """Seconds of an epoch of a block, measured: by its progress, else by the record of its training."""
    said = block.progress().get("seconds_per_epoch")
    if said:
        return float(said)
    path = block.kept / "train.run.json"
    if not path.is_file():
        return None
    record = read_json(path)
    epochs = record["epochs"] * record["steps_in_this_process"] / max(record["steps"], 1)
    return float(record["wall_seconds"] / epochs) if epochs >= 1 else None


def standings(blocks: Sequence[Block]) -> list[Standing]:
    """How every block stands; what has no rate of its own takes that of another block of the same recipe."""
    rates = {block.place: rate for block in blocks if (rate := _own_rate(block))}
    of_recipe = {place.parts[:2]: rate for place, rate in rates.items()}
    return [
        _standing(block, rates.get(block.place) or of_recipe.get((block.entry.name, block.model))) for block in blocks
    ]


def _standing(block: Block, rate: float | None) -> Standing:
    kept = block.kept_epochs()
    if kept >= block.epochs:
        return Standing(block, "done", kept, 0.0, True)
    said = block.progress()
    epoch = min(int(said.get("epoch", kept)), block.epochs)
    per_epoch = rate or block.entry.seconds_per_epoch.get(block.model)
    seconds = per_epoch * (block.epochs - epoch) if per_epoch else None
    return Standing(block, "running" if block.is_held() else "pending", epoch, seconds, rate is not None)


def lines(found: Sequence[Standing], at_once: int) -> list[str]:
    """One line for every block that runs or goes on, one for the others of a model, and what is left in hours."""
    counts = {state: sum(one.state == state for one in found) for state in ("done", "running", "pending")}
    shown = [f"{len(found)} blocks: " + ", ".join(f"{count} {state}" for state, count in counts.items())]
    groups: dict[tuple[str, str, str], list[Standing]] = {}
    for one in found:
        begun = one.state == "running" or (one.state == "pending" and one.epoch > 0)
        if begun:
            shown.append(f"  {one.state:8s} {one.block.label}: {how_far(one.block)}")
        else:
            groups.setdefault((one.state, one.block.entry.name, one.block.model), []).append(one)
    shown += [_group(state, group) for (state, _, _), group in groups.items()]
    return [*shown, *_left(found, at_once)]


def _group(state: str, group: Sequence[Standing]) -> str:
    block = group[0].block
    seeds = ", ".join(one.block.seeds for one in group)
    rest = ""
    if state == "pending":
        each = f"about {duration(group[0].seconds)} each" if group[0].seconds is not None else "no rate is known"
        rest = f": {block.epochs} epochs, {each}"
    return f"  {state:8s} {block.entry.name} {block.model} seeds {seeds}{rest}"


def _left(found: Sequence[Standing], at_once: int) -> list[str]:
    left = [one for one in found if one.state != "done"]
    if not left:
        return ["All blocks of the plan are done."]
    said = []
    for device in ("cpu", "cuda"):
        here = [one for one in left if one.block.entry.device == device]
        if not here:
            continue
        seconds = sum(one.seconds or 0.0 for one in here)
        unknown = sum(one.seconds is None for one in here)
        planned = sum(one.seconds is not None and not one.measured for one in here)
        notes = f"; {unknown} more have no rate yet" if unknown else ""
        notes += f"; the rates of {planned} are the plan's, until they are measured here" if planned else ""
        beside = f", {seconds / 3600 / at_once:.1f} with {at_once} side by side" if device == "cpu" else ""
        name = "CPU" if device == "cpu" else "GPU"
        hours = f"{seconds / 3600:.1f} hours of training{beside}"
        said.append(f"Left on a {name}: {len(here)} blocks, {hours}{notes}.")
    return said
