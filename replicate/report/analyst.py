"""In how many analyses each kept verdict comes out, as the page shows it.

They are those of `reference/multiverse.json` (docs/multiverse.md); none is computed here.
"""

from collections.abc import Iterable

from replicate.records.sourced import ResultFolder, Traced, value_of
from replicate.report.answer import TableRow
from replicate.report.statement_cards import StatementCard
from replicate.storage.files import sha256_file

FILE = "reference/multiverse.json"


class Analyses:
    """The analyses of the kept runs' claims.

    Args:
        results: the folder of all results, which may have no such file.
    """

    def __init__(self, results: ResultFolder) -> None:
        self._entries: dict[tuple[str, str], Traced] = {}
        # Results without kept runs have a page, too.
        if not (results.folder / FILE).is_file():
            return
        content = results.read(FILE)
        digests = value_of(content["inputs"])
        for entry in content["claims"]:
            file = entry["file"]
            path = results.folder / file.removeprefix("results/")
            # A run that was changed since has other verdicts than those that were counted.
            if path.is_file() and sha256_file(path) == digests.get(file):
                self._entries[entry["run"], entry["claim"]] = entry

    def of_card(self, card: StatementCard) -> list[Traced]:
        """Those of a statement, one for each kept run that decided it in its full form."""
        name = card.statement["statement"]
        # A kept run of statements is named by its folder below `reference/`.
        keys = [(f"statements/{reference.name}", name) for reference in card.full_forms]
        return [self._entries[key] for key in keys if key in self._entries]

    def of_rows(self, rows: Iterable[TableRow]) -> list[Traced]:
        """Those of published values, each by the kept run that the page shows."""
        entries = []
        for row in rows:
            # A row without a measured cell has no run whose verdict could be counted.
            if row.best is None:
                continue
            key = (row.best.run, row.cell["claim"])
            if key in self._entries:
                entries.append(self._entries[key])
        return entries
