"""Parts of an evaluation that can be computed anywhere: their samples, their files, their sum.

A part's file is safetensors: the `KernelSums` of every seed, draw of samples and fold, and the
metadata `about` (the frame of a result, `shard` and `shards`, `count` of samples, `dimension`, and
`sigmas` of every sum) and `sha256`, a digest of all of these. A part without samples has no
tensors.
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
from replicate.likelihood import parzen
from replicate.likelihood.parzen import KernelSums
from replicate.records.frame import SCHEMA
from replicate.storage.files import canonical_json, read_tensors, sha256_json, write_tensors

#: (index of the seed in its block, draw, fold) -> its sums; a failed seed has none.
Sums = dict[tuple[int, int, int], KernelSums]

#: The tensors of `KernelSums`.
TENSORS = ("relative", "peak", "distance")


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `total` parts of the samples, counted from 1."""

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Parses `2/7`.

        Raises:
            ReplicateError: the text names no part.
        """
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        # 0 is no part, so that a text that does not match fails the same test as 0/3.
        number = int(match[1]) if match else 0
        total = int(match[2]) if match else 0
        if not 1 <= number <= total:
            raise ReplicateError(
                f"--shard {text}: write K/N with K from 1 to N, such as 2/7 for the 2nd of 7 parts."
            )
        return cls(number, total)

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def rows(self, count: int) -> slice:
        """The rows of this part among `count` samples.

        Parts are cut at multiples of `SAMPLES`, where sums add up (`KernelSums`), and are as equal
        as that allows. A part is empty where there are fewer such blocks than parts.
        """
        size = parzen.SAMPLES
        blocks = math.ceil(count / size)
        # Both ends by the same rounding: part k ends where part k + 1 begins, and none overlap.
        first_block = blocks * (self.number - 1) // self.total
        end_block = blocks * self.number // self.total
        start = first_block * size
        # The last block of samples may be a short one.
        end = min(end_block * size, count)
        return slice(start, end)


def on_cpu(sums: KernelSums) -> KernelSums:
    """The same sums with their tensors on the CPU."""
    return replace(
        sums,
        # Parts of different devices are added up on the CPU.
        relative=sums.relative.cpu(),
        peak=sums.peak.cpu(),
        distance=sums.distance.cpu(),
    )


def _digest(tensors: Mapping[str, np.ndarray], about: str) -> str:
    """The SHA-256 of a file's content."""
    contents: dict[str, list[object]] = {}
    for name, value in tensors.items():
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        # Type and shape too: the same bytes in another shape are other sums.
        contents[name] = [str(value.dtype), list(value.shape), digest]
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
    tensors: dict[str, np.ndarray] = {}
    sigmas: dict[str, list[float]] = {}
    dimension = None
    for key, kernel_sums in sums.items():
        # Tensors of safetensors have names, not keys of three numbers.
        name = ".".join(map(str, key))
        for tensor in TENSORS:
            tensors[f"{name}.{tensor}"] = getattr(kernel_sums, tensor).numpy()
        sigmas[name] = list(kernel_sums.sigmas)
        dimension = kernel_sums.dimension
    part = {
        "shard": shard.number,
        "shards": shard.total,
        "count": count,
        "dimension": dimension,
        "sigmas": sigmas,
    }
    about = canonical_json({**frame, **part})
    # No digest of the content beside it: this one covers the description as well.
    write_tensors(path, tensors, {"about": about, "sha256": _digest(tensors, about)}, digest=False)


@dataclass(frozen=True)
class Part:
    """A part that was read from a file.

    Attributes:
        path: of its file.
        shard: which part it is.
        about: the file's description.
        sums: on the CPU; empty where it has no samples.
    """

    path: Path
    shard: Shard
    about: dict[str, Any]
    sums: Sums

    @classmethod
    def read(cls, path: Path) -> "Part":
        """Reads a file that `write_part` wrote.

        Raises:
            ReplicateError: the file is damaged, or is not a part.
        """
        tensors, metadata = read_tensors(path)
        if not {"about", "sha256"} <= metadata.keys():
            raise ReplicateError(
                f"{path} is no part of an evaluation; give files that `evaluate --shard` wrote."
            )
        # Before its description is read: a damaged one may say anything.
        if _digest(tensors, metadata["about"]) != metadata["sha256"]:
            raise ReplicateError(
                f"{path} is damaged: it does not match its SHA-256; copy or compute that part "
                "again."
            )
        with understanding(path):
            return cls._of(path, tensors, json.loads(metadata["about"]))

    @classmethod
    def _of(cls, path: Path, tensors: Mapping[str, np.ndarray], about: dict[str, Any]) -> "Part":
        if about["schema"] != SCHEMA:
            raise ReplicateError(
                f"{path} has schema {about['schema']}, not {SCHEMA}; compute that part again."
            )
        sums: Sums = {}
        for name, sigmas in about["sigmas"].items():
            seed, draw, fold = (int(number) for number in name.split("."))
            sums[seed, draw, fold] = KernelSums(
                relative=torch.from_numpy(tensors[f"{name}.relative"]),
                peak=torch.from_numpy(tensors[f"{name}.peak"]),
                distance=torch.from_numpy(tensors[f"{name}.distance"]),
                count=about["count"],
                sigmas=tuple(sigmas),
                dimension=about["dimension"],
            )
        return cls(path, Shard(about["shard"], about["shards"]), about, sums)

    def check_belongs(self, frame: Mapping[str, Any]) -> None:
        """Refuses a part whose samples, bandwidth, data or code differ from those of `frame`."""
        again = f"give parts of one evaluation, or compute it again with `--shard {self.shard}`"
        for name, digest in frame["inputs"].items():
            if self.about["inputs"][name] != digest:
                raise ReplicateError(
                    f"{self.path} was computed with another file as --{name}; {again}."
                )
        # Another version may cut tiles elsewhere, and then sums of parts do not add up.
        if self.about["code"] != frame["code"]:
            raise ReplicateError(
                f"{self.path} was computed by another version of this project; {again}."
            )


def merged(paths: Sequence[Path], frame: Mapping[str, Any]) -> Sums:
    """The sums over all samples, added in the order of the parts.

    Args:
        paths: of all parts, in any order.
        frame: of the result of this evaluation, to which every part must belong.

    Raises:
        ReplicateError: a part is damaged, does not belong to this evaluation, is given twice, or is
            missing.
    """
    parts = _read_parts(paths, frame)
    _check_complete(parts)
    # In the order of the parts, on which the rounding of a sum depends.
    sums_of_parts = [parts[number].sums for number in sorted(parts)]
    with_samples = [sums for sums in sums_of_parts if sums]
    if not with_samples:
        return {}
    total: Sums = {}
    # Every part with samples has the same keys: `check_belongs` has held them to the same files.
    for key in with_samples[0]:
        total[key] = reduce(operator.add, [sums[key] for sums in with_samples])
    return total


def _read_parts(paths: Sequence[Path], frame: Mapping[str, Any]) -> dict[int, Part]:
    """Number -> part."""
    parts: dict[int, Part] = {}
    for path in paths:
        part = Part.read(path)
        part.check_belongs(frame)
        # Every part is held to the first one, so that all of them agree with each other.
        first = next(iter(parts.values()), part)
        if part.shard.total != first.shard.total:
            raise ReplicateError(
                f"{path} is part {part.shard}, but {first.path} is part {first.shard}; give parts "
                "of one cut."
            )
        if part.shard.number in parts:
            other = parts[part.shard.number].path
            raise ReplicateError(
                f"{other} and {path} are both part {part.shard}; give each part once."
            )
        parts[part.shard.number] = part
    return parts


def _check_complete(parts: Mapping[int, Part]) -> None:
    # All parts are of one cut: `_read_parts`.
    first = next(iter(parts.values()))
    total = first.shard.total
    numbers = range(1, total + 1)
    missing = [str(Shard(number, total)) for number in numbers if number not in parts]
    if missing:
        listed = ", ".join(missing[:10])
        if len(missing) > 10:
            listed += ", ..."
        raise ReplicateError(
            f"{len(missing)} of {total} parts are not given: {listed}; compute them with "
            "`--shard`, or name their files."
        )
