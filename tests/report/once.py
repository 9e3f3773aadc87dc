"""What takes most of the time of making a page, done once for tests that make hundreds of pages."""

import functools
import json

import jinja2

from replicate.figures import curves
from replicate.report.svg_slim import slim


class CompiledTemplates(jinja2.BytecodeCache):
    """Templates that were compiled in this process, by their name and content."""

    def __init__(self) -> None:
        self.compiled: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        content = self.compiled.get((bucket.key, bucket.checksum))
        if content is not None:
            bucket.bytecode_from_string(content)

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        self.compiled[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


@functools.cache
def _drawn(rows: str, title: str, name: str) -> bytes:
    return curves.dots(json.loads(rows), title, name)


class DrawnOnce:
    """In place of `curves` where the page draws: the same plot is drawn once for all tests."""

    DotRow = curves.DotRow

    @staticmethod
    def dots(rows: list[curves.DotRow], title: str, name: str) -> bytes:
        return _drawn(json.dumps(rows), title, name)


#: What takes most of a page's time, and is a function of its arguments alone: done once for all
#: tests, which make hundreds of pages of the same plots and templates.
ONCE: dict[str, object] = {
    "replicate.report.page.Environment": functools.partial(
        jinja2.Environment, bytecode_cache=CompiledTemplates()
    ),
    "replicate.report.seed_plots.curves": DrawnOnce,
    "replicate.report.seed_plots.slim": functools.cache(slim),
    "replicate.report.embedded.slim": functools.cache(slim),
}
