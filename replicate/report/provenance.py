"""How the results were made: the command behind every result file, and the run records."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from replicate.jobs.job_list import Job, JobList
from replicate.jobs.layout import FILES, STAGES
from replicate.records.run_record import record_path
from replicate.records.sourced import ResultFolder, Traced, gathered, source_of, traced, value_of
from replicate.storage.files import canonical_json, sha256_file

#: Stages of which the page shows nothing.
NOT_SHOWN = ("metrics", "curves", "report")
#: Files that are no results: the stage that reads them recorded their SHA-256, under this name.
READ_NEXT = {"fetch": ("prepare", "manifest"), "sample": ("bandwidth", "samples")}


@dataclass(frozen=True)
class Step:
    """A command and the file that it made.

    `result` is the file's content where it is a result file, and None for tensors and manifests;
    `sha256` is then what the next stage recorded of it.
    """

    stage: str
    command: str
    file: str
    sha256: str
    result: Traced | None


def steps(jobs: JobList, results: ResultFolder, table: Path) -> list[Step]:
    """The command behind every file that the page shows, in the order of the pipeline.

    Args:
        jobs: those of the run.
        results: the run's results.
        table: `table1.json`, wherever it lies.
    """
    commands: list[Step] = []
    for job in jobs.all.values():
        for stage in job.stages:
            if stage not in NOT_SHOWN:
                step = _step(jobs, job, stage, results, table)
                commands.append(step)
    return commands


def _step(jobs: JobList, job: Job, stage: str, results: ResultFolder, table: Path) -> Step:
    words = jobs.command(stage, job)
    # Quoted as a shell takes it: parameters in a command hold braces and spaces.
    command = shlex.join(["python", "-m", "replicate", *words])
    name = _below_results(STAGES[stage].makes, job)
    shown_name = results.display_name(name)
    if stage in READ_NEXT:
        reader, key = READ_NEXT[stage]
        reader_name = _below_results(STAGES[reader].makes, job)
        # Tensors are not read for the page: the stage that read them has hashed them already.
        inputs = value_of(results.read(reader_name))["inputs"]
        sha256 = inputs.get(key, "not recorded")
        return Step(stage, command, shown_name, sha256, None)
    path = results.folder / name
    # `--table` may name a file outside the folder of results.
    if stage == "table":
        path = table
    result = traced(shown_name, path)
    return Step(stage, command, shown_name, sha256_file(path), result)


def _below_results(file: str, job: Job) -> str:
    """The path of a job's file below the folder of results."""
    path = FILES[file].format(**job.subject.names)
    return path.removeprefix("results/")


def records(steps: list[Step], results: ResultFolder) -> list[Traced]:
    """The run records that lie beside the results; a result that came from a cache has none."""
    run_records = {}
    for step in steps:
        result = Path(step.file).relative_to("results")
        path = record_path(result)
        if (results.folder / path).exists():
            name = path.as_posix()
            run_records[name] = results.read(name)
    return list(run_records.values())


@dataclass(frozen=True)
class StageCosts:
    """What a stage cost in all its jobs; without a name, what all stages did."""

    stage: str | None
    jobs: Traced
    seconds: Traced
    memory: Traced


def _costs(stage: str | None, records: list[Traced]) -> StageCosts:
    files = "results/*.run.json"
    if stage is not None:
        files += f" with the stage {stage}"
    seconds = [record["wall_seconds"] for record in records]
    memory = [record["peak_memory_mib"] for record in records]
    return StageCosts(
        stage=stage,
        jobs=gathered("number", seconds, files),
        seconds=gathered("sum", seconds, files),
        memory=gathered("largest", memory, files),
    )


def totals(records: list[Traced]) -> list[StageCosts]:
    """What each stage cost, in the order of the pipeline, and last what all did."""
    if not records:
        return []
    # Stages come in the order of the first record, which is that of the pipeline.
    by_stage: dict[str, list[Traced]] = {}
    for record in records:
        stage = record["stage"]
        by_stage.setdefault(stage, []).append(record)
    costs = [_costs(stage, group) for stage, group in by_stage.items()]
    costs.append(_costs(None, records))
    return costs


#: What records have in common that ran on the same machine with the same software.
ENVIRONMENT = ("versions", "processor", "cores", "system", "source", "lock_sha256")
#: What they have in common that computed alike; stages that only read and write have none of it.
BACKEND = (
    "device",
    "device_name",
    "threads",
    "deterministic_algorithms",
    "products",
    "tf32",
    "gpu_libraries",
    "gpu_driver",
    "instructions",
)


@dataclass(frozen=True)
class RecordGroup:
    """Run records that agree: one of them, and the files of all."""

    record: Traced
    files: list[str]


def _grouped(records: list[Traced], keys: tuple[str, ...]) -> list[RecordGroup]:
    """Records by what they say under `keys`: a mixed run shows as mixed."""
    groups: dict[str, RecordGroup] = {}
    for record in records:
        content = value_of(record)
        shared = {key: content.get(key) for key in keys}
        name = canonical_json(shared)
        group = groups.setdefault(name, RecordGroup(record, []))
        file = source_of(record).removesuffix("#")
        group.files.append(file)
    return list(groups.values())


def environments(records: list[Traced]) -> list[RecordGroup]:
    """Run records grouped by what they ran on and with."""
    return _grouped(records, ENVIRONMENT)


def backends(records: list[Traced]) -> list[RecordGroup]:
    """Records of stages that compute, grouped by device, threads and what repeats their bits."""
    computing = [record for record in records if "device" in record]
    return _grouped(computing, BACKEND)
