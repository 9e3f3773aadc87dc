"""Checks a parameter file, or writes the JSON schema that Snakemake and editors check it with.

python -m replicate params                      check params.yaml
python -m replicate params presets/mnist.yaml   check another file
python -m replicate params --write-schema       write workflow/schema/params.schema.json from the types
python -m replicate params --check-schema       fail if the committed schema has drifted from the types
"""

import argparse

from replicate.datasets import load_dataset
from replicate.errors import ReplicateError
from replicate.files import write_text
from replicate.models import load_model
from replicate.params import checked, read_document
from replicate.plan import Plan
from replicate.precheck import checked_plan
from replicate.schema import build_schema, schema_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stage's arguments."""
    parser.add_argument("file", nargs="?", default="params.yaml", help="the file to check (params.yaml)")
    parser.add_argument("--write-schema", action="store_true", help="write the JSON schema from the types")
    parser.add_argument("--check-schema", action="store_true", help="fail if the committed schema has drifted")


def checked_file(path: str) -> Plan:
    """The plan of a parameter file, after every model's and every data set's own checks.

    Raises `ReplicateError` that names the first faults with their paths.
    """
    from replicate.stages.experiment import experiment_parameters  # loads torch, which `--help` does not

    raw, where = read_document(path)
    plan = checked_plan(raw, where)
    for dataset, options in plan.params.datasets.items():
        checked(load_dataset(dataset).Config, options, where, f"datasets.{dataset}")
    for model, recipes in plan.params.models.items():
        for dataset, changes in recipes.items():
            load_model(model).config_for(dataset, changes, where, f"models.{model}.{dataset}")
    for name in plan.params.experiments:
        experiment_parameters(plan.params, name)
    return plan


def run(arguments: argparse.Namespace) -> None:
    """Checks the file, or writes or compares the schema."""
    if arguments.write_schema:
        write_text(schema_path(), build_schema())
        print(f"params: wrote {schema_path()}")
    elif arguments.check_schema:
        if not schema_path().is_file() or schema_path().read_text(encoding="utf-8") != build_schema():
            raise ReplicateError(f"{schema_path()} differs from the types; run `params --write-schema` and commit it.")
        print("params: the committed schema agrees with the types")
    else:
        runs = checked_file(arguments.file).params.runs
        print(f"params: {arguments.file} is valid: {len(runs)} training job{'s' if len(runs) > 1 else ''}")
