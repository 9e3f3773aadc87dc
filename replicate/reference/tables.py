"""The table of an entry of the plan, from all blocks of it whose results are committed.

Today's code writes it by today's rules; the results are those of each block's own commit.
"""

from replicate.params import load_params
from replicate.records.kept_runs import add_to_sums
from replicate.reference.blocks import Folders
from replicate.stages.table import write_table
from replicate.storage.paths import package_root

#: The table as JSON and CSV, and its run record.
TABLE = ("table1.json", "table1.csv", "table1.run.json")


def write_entry_table(folders: Folders, entry: str) -> None:
    """Writes the table of an entry from every block whose results are complete.

    The caller makes sure that no other process writes (`sole_writer`).
    """
    run = folders.results / entry
    results = {}
    for name in ("evaluation.json", "train.json", "samplers.json"):
        for path in sorted(run.glob(f"*/*/{name}")):
            # `train.json` is written last: without it the block is not complete.
            if (path.parent / "train.json").is_file():
                relative = path.relative_to(run.parent).as_posix()
                results[f"results/reference/{relative}"] = path
    root = package_root()
    files = {
        "protocol": root / "protocol.yaml",
        "published": root / "results/published/table1.csv",
        "context": root / "results/published/context.csv",
    }
    params = load_params(str(run / "params.yaml"))
    write_table(params, results, files, {}, run / TABLE[0])
    add_to_sums(run, {}, TABLE)
