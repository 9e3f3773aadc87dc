"""The seal of a job: in its run record, what it was given, what it read and what it made, each by
its SHA-256.

The record carries a digest of itself, so that a record that was damaged or edited counts for
nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from replicate.errors import ReplicateError
from replicate.storage.files import canonical_json, read_json, sha256_file, sha256_json, write_json

#: Of the run record: the seal, and the record's own digest.
SEAL, DIGEST = "job", "record_sha256"


@dataclass(frozen=True)
class Seal:
    """What a finished job says of itself.

    Attributes:
        rule, about: which job.
        given: digest of its parameters.
        code: digests of the logic of its stages.
        inputs, outputs: path -> SHA-256; the record itself is not among the outputs.
    """

    rule: str
    about: str
    given: str
    code: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def write_seal(record: Path, seal: Seal) -> None:
    """Puts the seal into a run record, which is made where the job's stages write none."""
    content: dict[str, object] = {"schema": 1, "stage": seal.rule}
    if record.is_file():
        content = read_json(record)
    # A seal that is there is that of an earlier run of the job.
    content.pop(SEAL, None)
    content.pop(DIGEST, None)
    content[SEAL] = asdict(seal)
    # Over the seal too: one that was written by hand does not fit it.
    digest = sha256_json(content)
    content[DIGEST] = digest
    write_json(record, content)


def read_seal(record: Path) -> Seal | None:
    """The seal of a run record; None where there is none, or where the record is not what it was
    written as.
    """
    try:
        content = read_json(record)
        body = {key: value for key, value in content.items() if key != DIGEST}
        whole = sha256_json(body) == content[DIGEST]
        # The digest is of the value, so a record in other bytes of the same value shows only here.
        as_written = record.read_text(encoding="utf-8") == canonical_json(content)
        return Seal(**content[SEAL]) if whole and as_written else None
    except (
        ReplicateError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OSError,
        RecursionError,
    ):
        return None


def check_sealed(result: Path) -> None:
    """Refuses a result that is not the one of which the record beside it was sealed.

    Results without such a record, as those of a stage by hand, are passed over.

    Raises:
        ReplicateError: it was changed or damaged.
    """
    record = result.with_suffix(".run.json")
    seal = read_seal(record) if record.is_file() else None
    if seal is None or not result.is_file():
        return
    for name, digest in seal.outputs.items():
        # The run may lie elsewhere now; names are relative to its folder.
        is_this = result.absolute().as_posix().endswith(f"/{name}")
        if is_this and sha256_file(result) != digest:
            raise ReplicateError(
                f"{result} is not what its record says: changed or damaged; in the project's "
                "folder `snakemake --cores all` makes it anew."
            )


def was_sealed(record: Path) -> bool:
    """Whether a record has a seal, or had before it was lost or damaged: all but those that a stage
    by hand wrote.
    """
    try:
        content = read_json(record)
        return SEAL in content or DIGEST in content
    except (ReplicateError, TypeError, RecursionError):
        # A record that cannot be read was one once, and something has damaged it.
        return True
