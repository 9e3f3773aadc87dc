"""What tests of several experiments start from."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def quick_classifier() -> Iterator[None]:
    """The judge of samples, trained by few updates: enough for three classes of digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replicate.diagnostics.classifier.UPDATES", 150)
        yield
