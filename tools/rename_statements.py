"""Brings a run of an earlier version to the names of this one: its claims.json becomes
statements.json.

python tools/rename_statements.py FOLDER ...

Below each folder the file is renamed, with the keys `claims` and `claim` in it and the names in its
run record; no value is touched. The record loses its seal, if it has one, because the job that it
speaks of made a file of another name. A kept run's list of sums is written anew, after its files
have been held to the old one.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from replicate.errors import ReplicateError
from replicate.jobs.seal import DIGEST, SEAL
from replicate.records.earlier_names import OLD_STATEMENTS, STATEMENTS
from replicate.records.frame import checked_result
from replicate.records.kept_runs import LIST, check_kept, renew
from replicate.records.run_record import record_path
from replicate.records.schema import Statements
from replicate.storage.files import read_json, write_json


def renamed(content: dict[str, Any]) -> dict[str, Any]:
    """The content of an old claims.json under the names of this version."""
    statements = []
    for entry in content["claims"]:
        rest = {key: value for key, value in entry.items() if key != "claim"}
        statements.append({"statement": entry["claim"], **rest})
    rest = {key: value for key, value in content.items() if key != "claims"}
    return {**rest, "stage": "statements", "statements": statements}


def convert(old: Path) -> Path:
    """Writes statements.json and its record beside an old claims.json, and removes the old files.

    Returns:
        The new file.

    Raises:
        ReplicateError: the new file is there already, or the old one is not what its stage wrote.
    """
    new = old.with_name(STATEMENTS)
    if new.exists():
        raise ReplicateError(f"{new} is there already; remove {old}, which is left over.")
    content = read_json(old)
    is_old = isinstance(content, dict) and content.get("stage") == "claims"
    if not is_old or not isinstance(content.get("claims"), list):
        raise ReplicateError(f"{old} is not a result of the stage 'claims'; move it away.")
    converted = checked_result(renamed(content), Statements, old)
    write_json(new, converted)
    old_record = record_path(old)
    if old_record.is_file():
        record = read_json(old_record)
        unsealed = {key: value for key, value in record.items() if key not in (SEAL, DIGEST)}
        write_json(record_path(new), unsealed | {"stage": "statements", "result": STATEMENTS})
        old_record.unlink()
    old.unlink()
    return new


def main() -> None:
    """Converts every old file below the given folders."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    try:
        for folder in parser.parse_args().folders:
            old_files = sorted(folder.rglob(OLD_STATEMENTS))
            if not old_files:
                raise ReplicateError(f"{folder} has no {OLD_STATEMENTS}; nothing is to be done.")
            for old in old_files:
                check_kept(old.parent)
                print(convert(old))
                if (old.parent / LIST).is_file():
                    renew(old.parent)
    except ReplicateError as error:
        sys.exit(f"rename_statements: {error}")


if __name__ == "__main__":
    main()
