"""Checks a parameter file, or writes the JSON schema that Snakemake and editors check it with.

python -m replicate params                      check params.yaml
python -m replicate params presets/mnist.yaml   check another file
python -m replicate params --write-schema       write workflow/schema/params.schema.json
python -m replicate params --check-schema       fail if the committed schema is not the types'
"""

import argparse

from replicate.datasets import load_dataset
from replicate.errors import ReplicateError
from replicate.jobs.parameter_schema import build_schema, schema_path
from replicate.jobs.plan import Plan
from replicate.jobs.precheck import checked_plan
from replicate.models import load_model
from replicate.params import checked, read_document
from replicate.storage.files import write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's arguments."""
    parser.add_argument(
        "file", nargs="?", default="params.yaml", help="the file to check (params.yaml)"
    )
    parser.add_argument(
        "--write-schema", action="store_true", help="write the JSON schema from the types"
    )
    parser.add_argument(
        "--check-schema", action="store_true", help="fail if the committed schema has drifted"
    )


def checked_file(path: str) -> Plan:
    """The plan of a parameter file, after every model's and every data set's own checks.

    Raises `ReplicateError` that names the first faults with their paths.
    """
    # here, since it loads torch, which `--help` does not need
    from replicate.stages.experiment import experiment_parameters

    raw, where = read_document(path)
    plan = checked_plan(raw, where)
    params = plan.params
    for dataset, options in params.datasets.items():
        kind = load_dataset(dataset).Config
        checked(kind, options, where, f"datasets.{dataset}")
    for model, recipes in params.models.items():
        for dataset, changes in recipes.items():
            prefix = f"models.{model}.{dataset}"
            load_model(model).config_for(dataset, changes, where, prefix)
    for name in params.experiments:
        experiment_parameters(params, name)
    return plan


def run(arguments: argparse.Namespace) -> None:
    """Checks the file, or writes or compares the schema."""
    if arguments.write_schema:
        write_text(schema_path(), build_schema())
        print(f"params: wrote {schema_path()}")
    elif arguments.check_schema:
        path = schema_path()
        # Snakemake and editors read the committed file, and would check by settings that are gone.
        if not path.is_file() or path.read_text(encoding="utf-8") != build_schema():
            raise ReplicateError(
                f"{path} differs from the types; run `params --write-schema` and commit it."
            )
        print("params: the committed schema agrees with the types")
    else:
        count = len(checked_file(arguments.file).params.runs)
        jobs = "training job" if count == 1 else "training jobs"
        print(f"params: {arguments.file} is valid: {count} {jobs}")
