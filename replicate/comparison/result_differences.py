"""In what two results of one job differ: measured numbers, settings, and what else decides bits.

In words, each with both values. What a difference means for a verdict is not decided here
(`replicate.comparison.verify`).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

from replicate.records.run_folder import JOB_STAGES, Job, ResultFile
from replicate.storage.files import read_tensors
from replicate.verdicts.pooled_seeds import SHARED

#: Fields of a result that say how it was made; the rest was measured.
FRAME = frozenset({"schema", "code", "parameters", "parameters_sha256", "inputs"})
#: Characters of a setting that a line shows.
SHOWN = 60


# ---------------------------------------------------------------------------- differences in words


def _abbreviated(value: object) -> str:
    """A setting as a line shows it."""
    if value is None:
        text = "none"
    elif isinstance(value, str):
        text = value
    else:
        text = json.dumps(value)
    if len(text) > SHOWN:
        return f"{text[:SHOWN]}..."
    return text


def differs(name: str, our_value: object, their_value: object) -> Iterator[str]:
    """Both values of what differs, in words; nothing where it does not."""
    if our_value != their_value:
        ours = _abbreviated(our_value)
        yield f"{name} {ours} here, {_abbreviated(their_value)} there"


def differences(
    our_settings: Mapping[str, object], their_settings: Mapping[str, object]
) -> list[str]:
    """Every name whose values differ, with both."""
    sentences: list[str] = []
    names = dict.fromkeys([*our_settings, *their_settings])
    for name in names:
        # A setting that only one version knows shows as "none" in the other.
        our_value = our_settings.get(name)
        their_value = their_settings.get(name)
        sentences += differs(name, our_value, their_value)
    return sentences


def first_difference(our_value: object, their_value: object, pointer: str = "") -> str | None:
    """The first place (JSON pointer) at which two values differ, with both; None if they do not."""
    children = _paired_children(our_value, their_value)
    if children is not None:
        for step, our_child, their_child in children:
            difference = first_difference(our_child, their_child, f"{pointer}/{step}")
            if difference:
                return difference
        return None
    # 1 and 1.0 are equal numbers, but other bytes.
    if json.dumps(our_value) == json.dumps(their_value):
        return None
    ours = _abbreviated(our_value)
    return f"{pointer or '/'}: {ours} here, {_abbreviated(their_value)} there"


def _paired_children(
    our_value: object, their_value: object
) -> Iterable[tuple[str | int, object, object]] | None:
    """Key or index, and both values there; None where two values do not have the same ones."""
    if isinstance(our_value, Mapping) and isinstance(their_value, Mapping):
        # With other fields the objects differ as a whole, and no place in them is the first.
        if our_value.keys() != their_value.keys():
            return None
        return [(key, our_value[key], their_value[key]) for key in sorted(our_value)]
    if isinstance(our_value, list) and isinstance(their_value, list):
        # As for objects: lists of other lengths differ as a whole.
        if len(our_value) != len(their_value):
            return None
        indices = range(len(our_value))
        return zip(indices, our_value, their_value, strict=True)
    return None


def flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Settings by their path; a list is one setting."""
    by_path: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            by_path |= flat(value, f"{prefix}{name}.")
        else:
            by_path[f"{prefix}{name}"] = value
    return by_path


# ------------------------------------------------------------------------------- bits of two files


def _image_difference(our_path: Path, their_path: Path) -> str | None:
    """That the log-likelihoods of all test images differ, in words.

    None where they do not, and where a run did not keep them.
    """
    # Beside the evaluation: means may agree where single images do not.
    our_file = our_path.with_suffix(".safetensors")
    their_file = their_path.with_suffix(".safetensors")
    # Kept runs are without them, since they are large.
    if not our_file.is_file() or not their_file.is_file():
        return None
    our_tensors, _ = read_tensors(our_file)
    their_tensors, _ = read_tensors(their_file)
    # Bytes and not values: NaN, for a failed seed, is unlike itself.
    our_bytes = {name: tensor.tobytes() for name, tensor in our_tensors.items()}
    their_bytes = {name: tensor.tobytes() for name, tensor in their_tensors.items()}
    if our_bytes == their_bytes:
        return None
    return f"{our_file} differs from {their_file}: the log-likelihoods of single test images"


def _measured_fields(file: ResultFile) -> dict[str, object]:
    content = file.content
    names = [name for name in content if name not in FRAME]
    return {name: content[name] for name in names}


def measured_difference(our_file: ResultFile, their_file: ResultFile) -> str | None:
    """The first measured number of two results that differs, with its file; None if none does."""
    our_fields = _measured_fields(our_file)
    their_fields = _measured_fields(their_file)
    pointer = first_difference(our_fields, their_fields)
    if pointer:
        return f"{our_file.path} differs from {their_file.path} at {pointer}"
    return _image_difference(our_file.path, their_file.path)


def same_bits(our_jobs: Mapping[str, Job], their_jobs: Mapping[str, Job]) -> bool:
    """Whether two runs of a model have the same blocks of seeds with the same bits.

    Only stages whose results both kept are compared.
    """
    # Blocks are trained together: other blocks of the same seeds may end in other bits.
    if our_jobs.keys() != their_jobs.keys():
        return False
    for block, our_job in our_jobs.items():
        if _differing_stage(our_job, their_jobs[block]):
            return False
    return True


def _differing_stage(our_job: Job, their_job: Job) -> str | None:
    """The first stage of two jobs whose measured numbers differ; None where none does."""
    for stage in shared_stages(our_job, their_job):
        if measured_difference(our_job[stage], their_job[stage]):
            return stage
    return None


def shared_stages(our_job: Job, their_job: Job) -> list[str]:
    """The stages whose results both runs kept of a job, in their order."""
    # Kept runs may hold less than a run's own folder.
    return [stage for stage in JOB_STAGES if stage in our_job and stage in their_job]


# -------------------------------------------------------------------------------- what decides bits


def _platform(record: Mapping[str, object]) -> dict[str, object]:
    """What of a run record decides bits, instruction sets aside."""
    versions = record.get("versions")
    if not isinstance(versions, Mapping):
        versions = {}
    # Python's patch releases leave the values of arithmetic as they are.
    python_parts = versions.get("python", "").split(".")
    minor = ".".join(python_parts[:2])
    platform = {"torch": versions.get("torch"), "numpy": versions.get("numpy"), "python": minor}
    # Not the processor's name: virtual machines of different kinds share a generic one.
    for name in ("system", "device", "device_name", "gpu_libraries", "threads", "products"):
        platform[name] = record.get(name)
    return platform


def _instruction_differences(
    our_record: Mapping[str, object], their_record: Mapping[str, object]
) -> list[str]:
    """How the instruction sets of two run records differ, or that a record does not have them."""
    our_sets = our_record.get("instructions")
    their_sets = their_record.get("instructions")
    if isinstance(our_sets, Mapping) and isinstance(their_sets, Mapping):
        our_names = {f"instructions of {library}": name for library, name in our_sets.items()}
        their_names = {f"instructions of {library}": name for library, name in their_sets.items()}
        return differences(our_names, their_names)
    side = "on either side"
    if isinstance(our_sets, Mapping):
        side = "there"
    elif isinstance(their_sets, Mapping):
        side = "here"
    return [f"instruction sets not known {side}"]


def environment_differences(our_file: ResultFile, their_file: ResultFile) -> list[str]:
    """How versions, instruction sets, device, threads and code of two results differ."""
    our_record, their_record = our_file.record, their_file.record
    unrecorded = [file.path for file in (our_file, their_file) if file.record is None]
    sentences = [f"no run record beside {path}" for path in unrecorded]
    if our_record is not None and their_record is not None:
        our_platform = _platform(our_record)
        their_platform = _platform(their_record)
        sentences += differences(our_platform, their_platform)
        sentences += _instruction_differences(our_record, their_record)
    stage = our_file.content["stage"]
    our_code = our_file.content["code"]
    their_code = their_file.content["code"]
    sentences += differs(f"code of {stage}", our_code, their_code)
    return sentences


def data_digest(content: Mapping[str, object]) -> str | None:
    """The first digits of the digest of the prepared data of a result; None without data."""
    inputs = cast(Mapping[str, str], content["inputs"])
    digest = inputs.get("data")
    # A study without images has no data among its inputs.
    if not digest:
        return None
    # Enough to tell data sets apart, and short enough for a line.
    return digest[:16]


def recipe(job: Job) -> dict[str, object]:
    """What was to be measured: the data, and the settings of training and evaluation.

    Seeds, device and threads are left out.
    """
    training = job["train"].content
    evaluation = job["evaluate"].content
    parameters = training["parameters"]
    # Seeds have a sentence of their own, and device and threads ask for nothing else.
    names = [name for name in parameters if name not in ("block", "compute")]
    settings: dict[str, object] = {name: parameters[name] for name in names}
    compute = parameters.get("compute", {})
    # Versions without this setting trained in float32.
    settings["precision"] = compute.get("precision", "float32")
    settings = flat(settings)
    for name in SHARED:
        settings[name] = evaluation[name]
    settings["data"] = data_digest(training)
    return settings


def draws_of(job: Job) -> int:
    """Draws of samples of each seed; 0 where every seed failed."""
    per_seed = job["evaluate"].content["per_seed"]
    counts = [len(seed["draws"]) for seed in per_seed]
    # Failed seeds have no draws, and say nothing of how many were asked for.
    return max(counts, default=0)


def sampler_of(job: Job) -> dict[str, object]:
    """The settings of the chains that the images came from; none where they are not known."""
    sampler = job["evaluate"].content.get("sampler")
    if not isinstance(sampler, Mapping):
        return {}
    return flat(sampler, "sampler.")


def other_settings(our_job: Job, their_job: Job) -> list[str]:
    """How two jobs were asked for different things."""
    our_recipe = recipe(our_job)
    their_recipe = recipe(their_job)
    settings = differences(our_recipe, their_recipe)
    # How chains ran: versions may mean other lengths by one name of a sampler.
    our_sampler = sampler_of(our_job)
    their_sampler = sampler_of(their_job)
    # Earlier versions did not record it, and then nobody knows it.
    if our_sampler and their_sampler:
        settings += differences(our_sampler, their_sampler)
    our_draws = draws_of(our_job)
    their_draws = draws_of(their_job)
    # 0 stands for a run of which every seed failed: its number of draws is not known.
    if our_draws and their_draws:
        settings += differs("draws", our_draws, their_draws)
    return settings
