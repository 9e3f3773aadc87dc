"""An evaluation in parts that are computed anywhere: which samples a part is of, its file, and how parts add up.

A part's file is safetensors: the `KernelSums` of every seed, draw of samples and fold, and the metadata `about` (the
frame of a result, `shard` and `shards`, `count` of samples, `dimension`, and `sigmas` of every sum) and `sha256`, a
digest of all of these. A part without samples has no tensors.
"""

import hashlib
import json
import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch

from replicate.errors import ReplicateError, understanding
from replicate.files import canonical_json, read_tensors, sha256_json, write_tensors
from replicate.likelihood import parzen
from replicate.likelihood.parzen import KernelSums
from replicate.result import SCHEMA

#: (place of the seed in its block, draw, fold) -> its sums; a failed seed has none.
Sums = dict[tuple[int, int, int], KernelSums]

#: The tensors of `KernelSums`.
TENSORS = ("relative", "peak", "distance")


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `total` parts of the samples, counted from 1."""

    number: int
    total: int

    @classmethod
    def parse(cls, words: str) -> "Shard":
        """Reads `2/7`; a `ReplicateError` for anything that names no part."""
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", words)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ReplicateError(f"--shard {words}: write K/N with K from 1 to N, such as 2/7 for the 2nd of 7 parts.")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def rows(self, count: int) -> slice:
        """Which of `count` samples are the part's: none where there are fewer blocks of `SAMPLES` than parts.

        Parts are as equal as cuts at multiples of `SAMPLES` allow, at which sums add up (`KernelSums`).
        """
        blocks = math.ceil(count / parzen.SAMPLES)
        start, stop = (blocks * number // self.total * parzen.SAMPLES for number in (self.number - 1, self.number))
        return slice(start, min(stop, count))


def on_cpu(sums: KernelSums) -> KernelSums:
    """The same sums in the memory that files are written from."""
    return replace(sums, **{name: getattr(sums, name).cpu() for name in TENSORS})


def _digest(tensors: Mapping[str, np.ndarray], about: str) -> str:
    contents = {
        name: [str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]
        for name, value in tensors.items()
    }
    return sha256_json({"about": about, "tensors": contents})


def write_part(path: Path, shard: Shard, count: int, sums: Sums, frame: Mapping[str, Any]) -> None:
    """Writes a part's file.

    Args:
        path: of the file.
        shard: which part it is.
        count: samples in it.
        sums: on the CPU; empty where there are no samples in it, or no seed that did not fail.
        frame: of the evaluation's result: schema, stage, code, parameters, inputs.
    """
    names = {place: ".".join(map(str, place)) for place in sums}
    tensors = {f"{names[place]}.{name}": getattr(sums[place], name).numpy() for place in sums for name in TENSORS}
    sigmas = {names[place]: list(found.sigmas) for place, found in sums.items()}
    dimension = next((found.dimension for found in sums.values()), None)
    part = {"shard": shard.number, "shards": shard.total, "count": count, "dimension": dimension, "sigmas": sigmas}
    about = canonical_json({**frame, **part})
    write_tensors(path, tensors, {"about": about, "sha256": _digest(tensors, about)}, digest=False)


@dataclass(frozen=True)
class Part:
    """A part as it was read.

    Attributes:
        path: of its file.
        shard: which part it is.
        about: what its file says of it.
        sums: on the CPU; empty where it has no samples.
    """

    path: Path
    shard: Shard
    about: dict[str, Any]
    sums: Sums

    @classmethod
    def read(cls, path: Path) -> "Part":
        """Reads what `write_part` wrote; a file that is damaged, or no part, is refused."""
        tensors, metadata = read_tensors(path)
        if not {"about", "sha256"} <= metadata.keys():
            raise ReplicateError(f"{path} is no part of an evaluation; give files that `evaluate --shard` wrote.")
        if _digest(tensors, metadata["about"]) != metadata["sha256"]:
            raise ReplicateError(f"{path} is damaged: it does not match its SHA-256; copy or compute that part again.")
        with understanding(path):
            return cls._of(path, tensors, json.loads(metadata["about"]))

    @classmethod
    def _of(cls, path: Path, tensors: Mapping[str, np.ndarray], about: dict[str, Any]) -> "Part":
        if about["schema"] != SCHEMA:
            raise ReplicateError(f"{path} has schema {about['schema']}, not {SCHEMA}; compute that part again.")
        sums: Sums = {}
        for name, sigmas in about["sigmas"].items():
            seed, draw, fold = map(int, name.split("."))
            relative, peak, distance = (torch.from_numpy(tensors[f"{name}.{tensor}"]) for tensor in TENSORS)
            found = KernelSums(relative, peak, distance, about["count"], tuple(sigmas), about["dimension"])
            sums[seed, draw, fold] = found
        return cls(path, Shard(about["shard"], about["shards"]), about, sums)

    def check_belongs(self, frame: Mapping[str, Any]) -> None:
        """Refuses a part of other samples, of another bandwidth, on other data, or by other code than `frame` says."""
        again = f"give parts of one evaluation, or compute it again with `--shard {self.shard}`"
        for name, digest in frame["inputs"].items():
            if self.about["inputs"][name] != digest:
                raise ReplicateError(f"{self.path} was computed with another file as --{name}; {again}.")
        if self.about["code"] != frame["code"]:
            raise ReplicateError(f"{self.path} was computed by another version of this project; {again}.")


def merged(paths: Sequence[Path], frame: Mapping[str, Any]) -> Sums:
    """The sums over all samples: those of all parts, added in the order of the parts, whatever that of the files.

    Args:
        paths: at least one.
        frame: of the result of this evaluation, to which every part must belong.

    Raises:
        ReplicateError: a part is damaged, does not belong to this evaluation, is given twice, or is missing.
    """
    parts: dict[int, Part] = {}
    for path in paths:
        part = Part.read(path)
        part.check_belongs(frame)
        first = next(iter(parts.values()), part)
        if part.shard.total != first.shard.total:
            raise ReplicateError(
                f"{path} is part {part.shard}, but {first.path} is part {first.shard}; give parts of one cut."
            )
        if part.shard.number in parts:
            other = parts[part.shard.number].path
            raise ReplicateError(f"{other} and {path} are both part {part.shard}; give each part once.")
        parts[part.shard.number] = part
    _complete(parts)
    ordered = [parts[number].sums for number in sorted(parts)]
    filled = [sums for sums in ordered if sums]
    places = filled[0] if filled else {}
    return {place: reduce(operator.add, (sums[place] for sums in filled)) for place in places}


def _complete(parts: Mapping[int, Part]) -> None:
    total = next(iter(parts.values())).shard.total
    missing = [str(Shard(number, total)) for number in range(1, total + 1) if number not in parts]
    if missing:
        shown = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        raise ReplicateError(
            f"{len(missing)} of {total} parts are not given: {shown}; compute them with `--shard`, or name their files."
        )
