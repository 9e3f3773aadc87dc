"""Files of parts: one whose digest is right and whose description is not is refused by its name."""

from pathlib import Path

import pytest

from replicate.errors import ReplicateError
from replicate.likelihood.shards import Part
from replicate.storage.files import canonical_json, sha256_json, write_tensors


@pytest.mark.parametrize("about", ["no JSON", "[]", "{}", canonical_json({"schema": 1})])
def test_a_description_that_lacks_what_a_part_says_is_refused(tmp_path: Path, about: str) -> None:
    path = tmp_path / "part.safetensors"
    digest = sha256_json({"about": about, "tensors": {}})
    write_tensors(path, {}, {"about": about, "sha256": digest}, digest=False)
    with pytest.raises(ReplicateError) as refusal:
        Part.read(path)
    assert str(path) in str(refusal.value)
