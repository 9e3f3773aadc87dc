"""Measures samples of known quality by the same measures as models.

  python -m replicate controls --params params.yaml --dataset digits \\
      --data digits.safetensors --classifier classifier.safetensors \\
      --out controls.json

Held-out true images first, which no control should surpass; a measure that puts one above them is
named beside it.
"""

import argparse
from pathlib import Path

from replicate.datasets.base import Splits
from replicate.diagnostics.classifier_file import known_classifier
from replicate.measures.controls import Controls, above_truth
from replicate.measures.controls_list import CONTROLS, TRUTH
from replicate.measures.run_measures import measure_samples
from replicate.params import load_params
from replicate.progress.loops import each
from replicate.progress.reporting import add_state_argument, reporting
from replicate.records.parameters import measures_parameters
from replicate.records.schema import ControlMeasures, ControlResult, Measured, MeasuresParameters
from replicate.stages.device_job import DeviceJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON")
    parser.add_argument("--dataset", required=True, help="its name")
    parser.add_argument("--data", type=Path, required=True, help="prepared data (safetensors)")
    parser.add_argument(
        "--classifier",
        type=Path,
        required=True,
        help="classifier (safetensors), its .json beside it",
    )
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    add_state_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Writes what every measure says of every control, and the run record."""
    params = load_params(arguments.params)
    job = DeviceJob("controls", params.compute)
    splits = Splits.read(arguments.data)
    classifier = known_classifier(arguments.classifier, splits, arguments.data, job.backend.device)
    dataset: str = arguments.dataset
    controls = Controls(splits, params.likelihood.samples, job.backend.device)
    entries: list[ControlMeasures] = []
    truth: list[Measured] = []
    with reporting(arguments.state, f"controls {dataset}"):
        for name in each(list(CONTROLS), "{}"):
            samples = controls.samples(name)
            # A data set without labels has no single class to draw from.
            if samples is None:
                continue
            judged_by = controls.judged_by(name)
            measured = measure_samples(
                samples,
                judged_by,
                classifier,
                params.measures,
                params.likelihood,
                controls.compared(name),
            )
            # The first of the controls: the others are set beside it.
            if name == TRUTH:
                truth = measured
            entries.append(
                {
                    "control": name,
                    "title": CONTROLS[name].title,
                    "flaw": CONTROLS[name].flaw,
                    "n_samples": len(samples),
                    "measures": measured,
                    "above_truth": above_truth(truth, measured),
                }
            )
    parameters: MeasuresParameters = measures_parameters(params)
    # `measures` reads its samples from a file, so that their number is none of its settings.
    parameters["likelihood"]["samples"] = params.likelihood.samples
    inputs = {"data": arguments.data, "classifier": arguments.classifier}
    content: ControlResult = {
        **job.frame(parameters, inputs),
        "stage": "controls",
        "parameters": parameters,
        "dataset": dataset,
        "controls": entries,
    }
    job.write(arguments.out, content)
    for entry in entries:
        surpassed = ", ".join(entry["above_truth"]) or "no measure"
        print(f"controls {dataset} {entry['control']}: above true images by {surpassed}")
