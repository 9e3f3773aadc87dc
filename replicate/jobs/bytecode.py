"""Bytecode that Python keeps of the project's modules, and which may be that of other code.

Python believes a kept file of bytecode (`__pycache__`) if it names the size of the source and its
time of change in whole seconds. Copying, unpacking or restoring a source can keep both, and then a
job would run the old code, and be sealed as one of the new.
"""

import contextlib
from pathlib import Path


def drop_stale_bytecode(package: Path) -> list[Path]:
    """Removes kept bytecode that is not younger than the last change of its source's entry on disk.

    That time (ctime) is the system's, and no copy keeps it. What is removed is compiled again.

    Args:
        package: the folder of the sources.

    Returns:
        The sources whose bytecode was removed.
    """
    stale = []
    for source in package.rglob("*.py"):
        # Emacs marks a file that is being edited by a link to nothing.
        if not source.is_file():
            continue
        changed = source.stat().st_ctime_ns
        # One file for each version of Python, and each degree of optimisation.
        for bytecode in (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"):
            # Another process may remove or renew it meanwhile, and a folder may be read-only.
            with contextlib.suppress(OSError):
                if bytecode.stat().st_mtime_ns <= changed:
                    bytecode.unlink()
                    stale.append(source)
    return stale
