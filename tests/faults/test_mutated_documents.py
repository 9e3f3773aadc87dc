"""YAML documents of the project, changed at random: every reader takes them or says in one line
what is wrong.

`pytest -m slow -rP tests/faults/test_mutated_documents.py` tries thousands and prints how many.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from replicate.errors import ReplicateError
from replicate.reference_runs.plan import read_plan
from replicate.stages.params import checked_file
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import read_protocol

ROOT = package_root()


def _plan(path: Path) -> None:
    """The parameters of a run, as every command reads them before any job, and by every model's own
    types.
    """
    checked_file(str(path))


#: A document of the project -> who reads it.
READERS: dict[str, Callable[[Path], object]] = {
    "presets/smoke.yaml": _plan,
    "params.yaml": _plan,
    "presets/mnist.yaml": _plan,
    "presets/paper.yaml": _plan,
    "results/reference/plan.yaml": read_plan,
    "protocol.yaml": read_protocol,
}
#: Of a hundred inputs so many are of each document: the long ones take a tenth of a second each.
SHARES = (45, 15, 15, 5, 10, 10)

# Values at and beyond every bound, kinds of YAML, and bytes.
NUMBERS = (b"0", b"-1", b"1e300", b"-1e300", b"1e-300", b"1000000000000", b"9" * 400)
NO_NUMBERS = (b".nan", b".inf", b"-.inf", b"1e999")
WORDS = (b"true", b"no", b"null", b"~", b"''", b'"\\0"', b'"\\ud800"')
COLLECTIONS = (b"[]", b"{}", b"[[]]", b"[1, a]", b"{a: 1}")
OLD_NUMBERS = (b"2026-11-28", b"1:30", b"0o17", b"0x1F", b"010")
REFERENCES = (b"=", b"<<", b"<<: *x", b"*x", b"&x 1")
TAGS = (b"!!int x", b"!!set {a}", b"!!binary aGk=", b"!!python/object:os.system x", b"!x y")
MARKS = (b"? a", b"? [a]", b"- a", b"|", b">-", b"---", b"...", b"%YAML 1.1", b"# ", b": ")
BYTES = (b"\t", b"\r", b"\0", b"\xff", b"\xc3", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xe2\x80\x932")
RANGES = (b"0-999999999", b"5-3", b"-")
PATHS = (b"~nosuchuser/x", b"/dev/null")
TOO_MUCH = (b"[" * 60, b"{a: " * 60, b"x" * 5000)
QUOTES = (b"'", b'"', b"}", b"]")
CHARACTERS = (b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\x85")
TWICE = (b"a: 1\na: 2",)
KNOWN_WORDS = (b"digits", b"vae", b"theory", b"cuda", b"bfloat16")
#: All of them: what may come in the place of a value, or of anything.
STRANGE: tuple[bytes, ...] = (
    *NUMBERS,
    *NO_NUMBERS,
    *WORDS,
    *COLLECTIONS,
    *OLD_NUMBERS,
    *REFERENCES,
    *TAGS,
    *MARKS,
    *BYTES,
    *RANGES,
    *PATHS,
    *TOO_MUCH,
    *QUOTES,
    *CHARACTERS,
    *TWICE,
    *KNOWN_WORDS,
)


def changed(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A document after one accident of a dozen kinds."""
    lines = content.split(b"\n")
    place, line = int(rng.integers(len(content))), int(rng.integers(len(lines)))
    strange = STRANGE[rng.integers(len(STRANGE))]
    name, colon, _ = lines[line].partition(b":")
    kind = rng.integers(12)
    if kind == 0:
        return (
            content[:place]
            + bytes([content[place] ^ (1 << int(rng.integers(8)))])
            + content[place + 1 :]
        )
    if kind == 1:
        return content[:place]
    if kind == 2:
        return content[:place] + strange + content[place:]
    if kind == 3:
        lines[line] = b" " * int(rng.integers(6)) + lines[line].lstrip()
    elif kind == 4:
        lines.insert(int(rng.integers(len(lines))), lines[line])
    elif kind == 5:
        lines.insert(
            int(rng.integers(len(lines))), other.split(b"\n")[rng.integers(other.count(b"\n") + 1)]
        )
    elif kind == 6:
        del lines[line]
    elif kind == 7:
        lines[line] = strange
    else:  # most often the value of a name
        lines[line] = name + colon + b" " + strange
    return b"\n".join(lines)


def fuzz(folder: Path, seed: int, inputs: int) -> tuple[Counter[str], list[str]]:
    """Changes one document after the other, once to thrice; counts what came of it, and names what
    is no sentence.
    """
    rng = np.random.default_rng(seed)
    documents = {name: (ROOT / name).read_bytes() for name in READERS}
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for number in range(inputs):
        name = str(rng.choice(list(READERS), p=np.array(SHARES) / sum(SHARES)))
        content = documents[name]
        for _ in range(rng.integers(1, 4)):
            content = changed(content or b" ", documents[str(rng.choice(list(READERS)))], rng)
        path = folder / Path(name).name
        path.write_bytes(content)
        counts[_tried(READERS[name], path, f"input {number} ({name})", faults)] += 1
    return counts, faults


def _tried(reader: Callable[[Path], object], path: Path, what: str, faults: list[str]) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reader(path)
    except ReplicateError as error:
        said = str(error)
        if len(said.splitlines()) == 1 and said.endswith((".", "?", ")")) and len(said) < 20_000:
            return "one sentence"
        faults.append(f"{what}: {said[:500]!r}")
    except Exception as error:  # what a user would see as a traceback
        faults.append(f"{what}: {error!r}"[:500])
    else:
        return "taken"
    return "fault"


def told(counts: Counter[str], faults: Sequence[str]) -> None:
    """Prints what came of all inputs; fails with the inputs that ended in no sentence."""
    print(dict(counts))
    assert not faults, f"{len(faults)} of {counts.total()}:\n" + "\n".join(faults[:20])


def test_mutated_documents_end_in_one_line(tmp_path: Path) -> None:
    told(*fuzz(tmp_path, 1, 60))


#: Seeds of the inputs; `.ci/run` leaves all but the first to `make faults`.
SEEDS = [2, *(pytest.param(seed, marks=pytest.mark.faults) for seed in (3, 4, 5))]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_thousands_of_mutated_documents(tmp_path: Path, seed: int) -> None:
    counts, faults = fuzz(tmp_path, seed, 3000)
    assert counts["one sentence"] > 1500
    assert counts["taken"] > 50
    told(counts, faults)
