"""Names that earlier versions gave to results, and what is to be done about them."""

from pathlib import Path

from replicate.errors import ReplicateError

#: What the paper says in words: the file of earlier versions, and that of this one.
OLD_STATEMENTS, STATEMENTS = "claims.json", "statements.json"


def refuse_old_statements(folder: Path) -> None:
    """Refuses a folder of results that has the statements under their old name alone.

    Raises:
        ReplicateError: names the file and the command that converts it.
    """
    old = folder / OLD_STATEMENTS
    # Beside the new file an old one is left over from an earlier run in the same folder.
    if old.is_file() and not old.with_name(STATEMENTS).is_file():
        raise ReplicateError(
            f"{old} is of an earlier version, and is called {STATEMENTS} now; "
            f"`python tools/rename_statements.py {folder}` renames it and keeps every number."
        )
