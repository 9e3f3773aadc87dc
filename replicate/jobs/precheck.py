"""What is refused before any job starts, by every command that plans a run; loads no torch."""

from collections.abc import Iterator
from pathlib import Path

from replicate import datasets, experiments
from replicate.datasets.base import UserDataset
from replicate.errors import ReplicateError
from replicate.jobs.parameter_schema import model_defaults, schema_faults
from replicate.jobs.plan import Plan, Values, images_of
from replicate.params import Params, checked
from replicate.wording import joined

#: Where DVC runs an experiment with --temp or --queue: in a copy of the checkout below this folder
#: of the workspace.
COPIES = (".dvc", "tmp", "exps")


def checked_plan(raw: Values, where: str) -> Plan:
    """The plan of the parameters `raw`, read from `where`, if nothing is known to be wrong with
    them.

    Raises:
        ReplicateError: a fault in the parameters, with its path; or data of the user's own that the
            copy of the checkout in which DVC runs an experiment lacks.
    """
    plan = Plan(raw, where)
    # In this order: batches are multiplied from settings that the schema has let pass.
    faults = schema_faults(raw) or list(_large_batches(plan, where))
    if faults:
        raise ReplicateError(f"{where}: {joined(faults)}.")
    _refuse_copy(raw, plan, where)
    return plan


def _train_counts(plan: Plan, where: str) -> dict[str, int]:
    """Data set -> its training images, where they can be told before it is prepared."""
    counts = {}
    for name, given in plan.params.datasets.items():
        dataset = datasets.load_dataset(name)
        options = checked(dataset.Config, given, where, f"datasets.{name}")
        try:
            counts[name] = dataset.extent(datasets.data_folder() / name, options).train
        except ReplicateError:  # `fetch` ends with it, and the jobs of other data sets do not
            continue
    return counts


def _rows(model: str, dataset: str, changes: Values) -> int:
    """Training images that one step of a model takes: a minibatch, or k of them for k steps of D
    (Algorithm 1).
    """
    settings = {**model_defaults(model, dataset), **changes}
    steps = 1
    if settings.get("schedule") == "alternating":
        steps = settings["discriminator_steps"]
    return int(settings["batch_size"] * steps)


def _large_batches(plan: Plan, where: str) -> Iterator[str]:
    """A clause for every batch that has more images than there are."""
    counts = _train_counts(plan, where)
    for model, recipes in plan.params.models.items():
        for dataset, changes in recipes.items():
            rows = _rows(model, dataset, changes)
            # Of a data set whose size is not known yet nothing can be said.
            if rows > counts.get(dataset, rows):
                yield (
                    f"models.{model}.{dataset}.batch_size: a step takes {rows} images and "
                    f"{dataset} has {counts[dataset]} to train on; choose less"
                )
    for name, options in plan.params.experiments.items():
        rows = options.get("batch_size", 0)
        dataset = images_of(options)
        if name in experiments.ON_IMAGES and rows > counts.get(dataset, rows):
            yield (
                f"experiments.{name}.batch_size: {rows} images are more than the "
                f"{counts[dataset]} that {dataset} has to train on; choose less"
            )


def workspace_of(folder: Path) -> Path | None:
    """The checkout of which `folder` is DVC's copy for one experiment; None where it is none."""
    depth = len(COPIES)
    for folder_above in folder.parents:
        if folder_above.parts[-depth:] == COPIES:
            return folder_above.parents[depth - 1]
    return None


def _refuse_copy(raw: Values, plan: Plan, where: str) -> None:
    """Refuses to leave out data in DVC's copy of a checkout that the checkout itself has."""
    workspace = workspace_of(Path.cwd())
    if workspace is None:
        return
    folder = datasets.data_folder()
    options_of = Params.parse(raw, where).datasets
    for name in plan.absent:
        dataset = datasets.load_dataset(name)
        assert isinstance(dataset, UserDataset)
        options = checked(dataset.Config, options_of[name], where, f"datasets.{name}")
        path = dataset.data_path(folder / name, options)
        # An absolute path is the same one in the copy.
        if path.is_absolute() or dataset.missing(workspace / path) is not None:
            continue
        remedy = f"set REPLICATE_DATA={workspace / folder}"
        if not path.is_relative_to(folder):
            remedy = f"name {workspace / path} in the parameters"
        raise ReplicateError(
            f"{where}: datasets.{name} would be left out: `dvc exp run --temp` and `--queue` work "
            f"in a copy of the checkout, which has no {path}; {remedy}, or run the experiment "
            "without --temp and --queue."
        )
