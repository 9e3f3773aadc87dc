"""The table of an entry of the plan, from all of its blocks whose results are kept: what the report shows of it.

It is made by the code of today, which has the rules of today; the results are those of each block's own commit.
"""

from replicate.codedigest import package_root
from replicate.kept import add_to_sums
from replicate.params import load_params
from replicate.reference.blocks import Folders
from replicate.stages.table import write_table

#: The table, and what is written with it.
TABLE = ("table1.json", "table1.csv", "table1.run.json")


def write_entry_table(folders: Folders, entry: str) -> None:
    """Writes the table of an entry, from every block of it whose results are whole; the caller is the only writer."""
    run = folders.results / entry
    names = ("evaluation.json", "train.json", "samplers.json")
    found = {
        f"results/reference/{path.relative_to(run.parent).as_posix()}": path
        for name in names
        for path in sorted(run.glob(f"*/*/{name}"))
        if (path.parent / "train.json").is_file()
    }
    root = package_root()
    published = root / "results/published"
    files = {
        "protocol": root / "protocol.yaml", "published": published / "table1.csv", "context": published / "context.csv"
    }  # fmt: skip
    write_table(load_params(str(run / "params.yaml")), found, files, {}, run / TABLE[0])
    add_to_sums(run, {}, TABLE)
