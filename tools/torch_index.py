"""Finds a build of torch on PyTorch's own package index, and prints the address that pip needs.

    python tools/torch_index.py cpu      # without CUDA's gigabytes
    python tools/torch_index.py cuda     # the newest CUDA that this version of torch is built for
    python tools/torch_index.py cu126    # any other folder of that index

`make report TORCH=cpu` calls it. TORCH_INDEX in the environment names a mirror. It waits seconds
for an index that does not answer, where pip would wait minutes. It needs the standard library
alone, for it runs before anything is installed.
"""

import argparse
import os
import re
import sys
import urllib.request
from pathlib import Path

#: PyTorch's index: a folder for each kind of build, and one page of all builds of a package.
INDEX = "https://download.pytorch.org/whl"
#: Seconds to wait for an answer.
PATIENCE = 10.0
PINS = Path(__file__).parents[1] / "requirements-torch.lock"


def pinned_version(text: str) -> str:
    """The version of torch in a lock file."""
    match = re.search(r"^torch==(\S+)$", text, re.MULTILINE)
    if match is None:
        sys.exit(f"{PINS} names no version of torch; bring it back from git.")
    return match[1]


def builds(page: str, version: str) -> list[str]:
    """The kinds of build of a version that a page of the index links to, such as cpu and cu126."""
    # In an address + is written %2B, in a text as it is.
    pattern = rf"torch-{re.escape(version)}(?:\+|%2B)([a-z0-9.]+)-"
    names = re.findall(pattern, page, re.IGNORECASE)
    return sorted(set(names))


def chosen(kind: str, available: list[str]) -> str | None:
    """The build of a kind: itself, or the newest CUDA; None where there is none."""
    if kind != "cuda":
        return kind if kind in available else None
    versions = [int(name.removeprefix("cu")) for name in available if re.fullmatch(r"cu\d+", name)]
    return f"cu{max(versions)}" if versions else None


def read_page(address: str) -> str:
    """A page of the index; ends with a sentence where it cannot be read in time."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            content: bytes = answer.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        sys.exit(
            f"PyTorch's package index {address} does not answer ({reason}). Without TORCH=... "
            "torch comes from the index that pip uses anyway."
        )
    return content.decode(errors="replace")


def main(words: list[str] | None = None) -> None:
    """Prints the address of the folder that has the build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", metavar="KIND", help="cpu, cuda, or a folder such as cu126")
    options = parser.parse_args(words)
    index = os.environ.get("TORCH_INDEX") or INDEX
    version = pinned_version(PINS.read_text(encoding="utf-8"))
    available = builds(read_page(f"{index}/torch/"), version)
    build = chosen(options.kind, available)
    if build is None:
        named = ", ".join(available) or "none"
        sys.exit(
            f"TORCH={options.kind}: there is no such build of torch {version}; builds: {named}."
        )
    print(f"{index}/{build}")


if __name__ == "__main__":
    main()
