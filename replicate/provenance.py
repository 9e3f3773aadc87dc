"""How the results were made: the command behind every result file, and the run records that lie beside them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replicate.experiments import ON_SAMPLES, ON_TRIALS
from replicate.files import canonical_json, sha256_file
from replicate.params import Params
from replicate.runrecord import record_path
from replicate.traced import ResultFolder, Traced, gathered, plain, traced, where


@dataclass(frozen=True)
class Step:
    """A command and the file that it made.

    `result` is the file's content where it is a result file, and None for tensors and manifests; `sha256` is then
    what the next stage recorded of it.
    """

    stage: str
    arguments: str
    file: str
    sha256: str
    result: Traced | None

    @property
    def command(self) -> str:
        """The command line."""
        return f"python -m replicate {self.stage} {self.arguments}"


def _made(results: ResultFolder, stage: str, arguments: str, relative: str, path: Path | None = None) -> Step:
    path = path or results.folder / relative
    shown = results.shown(relative)
    result = traced(shown, path)
    return Step(stage, arguments, shown, sha256_file(path), result)


def _data_steps(results: ResultFolder, dataset: str) -> Iterator[Step]:
    stem = f"results/data/{dataset}"
    prepare = f"--params params.yaml --dataset {dataset} --manifest {stem}.sources.json --out {stem}.safetensors"
    prepared = _made(results, "prepare", prepare, f"data/{dataset}.json")
    manifest = plain(prepared.result)["inputs"].get("manifest", "not recorded")
    fetch = f"--params params.yaml --dataset {dataset} --out {stem}.sources.json"
    yield Step("fetch", fetch, f"{stem}.sources.json", manifest, None)
    yield prepared


def _classifier_step(results: ResultFolder, dataset: str) -> Step:
    stem = f"results/classifier/{dataset}"
    words = f"--params params.yaml --data results/data/{dataset}.safetensors --out {stem}.safetensors"
    return _made(results, "classifier", words, f"classifier/{dataset}.json")


def _run_steps(results: ResultFolder, dataset: str, model: str, block: str) -> Iterator[Step]:
    stem, params = f"{dataset}/{model}/{block}", "--params params.yaml"
    data, weights = f"--data results/data/{dataset}.safetensors", f"results/train/{stem}.safetensors"
    drawn, width = f"results/samples/{stem}.safetensors", f"results/bandwidth/{stem}.json"
    train = f"{params} --dataset {dataset} --model {model} --block {block} {data} --out {weights}"
    yield _made(results, "train", train, f"train/{stem}.json")
    bandwidth = _made(
        results, "bandwidth", f"{params} --samples {drawn} {data} --out {width}", f"bandwidth/{stem}.json"
    )
    samples = plain(bandwidth.result)["inputs"].get("samples", "not recorded")
    yield Step("sample", f"{params} --weights {weights} {data} --out {drawn}", drawn, samples, None)
    yield bandwidth
    evaluate = f"{params} --samples {drawn} --bandwidth {width} {data} --out results/evaluation/{stem}.json"
    yield _made(results, "evaluate", evaluate, f"evaluation/{stem}.json")
    seen = f"{data} --samples {drawn} --classifier results/classifier/{dataset}.safetensors"
    words = f"{params} {seen} --out results/recognition/{stem}.json"
    yield _made(results, "recognise", words, f"recognition/{stem}.json")
    training = f"--weights {weights} --training results/train/{stem}.json --bandwidth {width}"
    yield _made(results, "panels", f"{training} {data} --out results/panels/{stem}", f"panels/{stem}/panels.json")


def _experiment_steps(params: Params, results: ResultFolder) -> Iterator[Step]:
    files = [f"results/experiments/{name}.json" for name in params.experiments]
    for name, file in zip(params.experiments, files, strict=True):
        content = results.read(f"experiments/{name}.json")
        dataset = plain(content)["parameters"]["config"].get("dataset")
        data = f"--data results/data/{dataset}.safetensors " if dataset and name not in ON_TRIALS else ""
        data += f"--trials results/tuning/{dataset}.json " if name in ON_TRIALS else ""
        files_of = [f"results/samples/{'/'.join(run)}.safetensors" for run in params.runs if run[0] == dataset]
        drawn = f"--samples {' '.join(files_of)} " if name in ON_SAMPLES else ""
        words = f"--params params.yaml --name {name} {data}{drawn}--out {file}"
        yield _made(results, "experiment", words, f"experiments/{name}.json")
        drawn = f"--result {file} --out results/figures/{name}"
        yield _made(results, "draw", drawn, f"figures/{name}/figures.json")
    words = " ".join(["--params params.yaml --protocol protocol.yaml --out results/claims.json", *files])
    yield _made(results, "claims", words, "claims.json")


def steps(params: Params, results: ResultFolder, table: Path) -> Iterator[Step]:
    """The command behind every result file, in the order of the pipeline."""
    for dataset in params.datasets:
        yield from _data_steps(results, dataset)
    for dataset in dict.fromkeys(dataset for dataset, _, _ in params.runs):
        yield _classifier_step(results, dataset)
    for dataset, model, block in params.runs:
        yield from _run_steps(results, dataset, model, block)
    yield from _experiment_steps(params, results)
    published = "--protocol protocol.yaml --published results/published/table1.csv"
    published += " --context results/published/context.csv"
    evaluations = " ".join(f"results/evaluation/{'/'.join(one)}.json" for one in params.runs)
    arguments = f"--params params.yaml {published} --out results/table1.json {evaluations}"
    yield _made(results, "table", arguments, "table1.json", table)


def records(made: list[Step], results: ResultFolder) -> list[Traced]:
    """The run records that lie beside the results; a result that came from a cache has none."""
    found = [record_path(Path(step.file).relative_to("results")).as_posix() for step in made]
    return [results.read(name) for name in dict.fromkeys(found) if (results.folder / name).exists()]


def totals(records: list[Traced]) -> list[dict[str, Any]]:
    """What each stage cost in all its jobs, in the order of the pipeline, and last, under no name, what all did."""
    stages = dict.fromkeys(record["stage"] for record in records)
    groups = {stage: [record for record in records if record["stage"] == stage] for stage in stages}
    shared = "results/*.run.json"
    names = {stage: f"{shared} with the stage {stage}" for stage in stages}
    return [
        {
            "stage": stage,
            "jobs": gathered("number", [record["wall_seconds"] for record in group], name),
            "seconds": gathered("sum", [record["wall_seconds"] for record in group], name),
            "memory": gathered("largest", [record["peak_memory_mib"] for record in group], name),
        }
        for stage, group, name in [*((s, groups[s], names[s]) for s in stages), (None, records, shared)]
        if group
    ]


#: What records have in common that ran on the same machine with the same software.
ENVIRONMENT = ("versions", "processor", "cores", "system", "source", "lock_sha256")
#: What they have in common that computed alike; stages that only read and write have none of it.
BACKEND = ("device", "device_name", "threads", "deterministic_algorithms", "products", "tf32", "instructions")


def _grouped(records: list[Traced], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Records that agree in `keys`, with the files that they lie in: a mixed run shows as mixed."""
    groups: dict[str, dict[str, Any]] = {}
    for record in records:
        shared = {key: plain(record).get(key) for key in keys}
        group = groups.setdefault(canonical_json(shared), {"record": record, "files": []})
        group["files"].append(where(record).removesuffix("#"))
    return list(groups.values())


def environments(records: list[Traced]) -> list[dict[str, Any]]:
    """Run records grouped by what they ran on and with."""
    return _grouped(records, ENVIRONMENT)


def backends(records: list[Traced]) -> list[dict[str, Any]]:
    """Run records of stages that compute, grouped by device, threads and what makes their bits repeatable."""
    return _grouped([record for record in records if "device" in record], BACKEND)
