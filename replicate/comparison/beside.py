"""The section "Beside another run": what `compare` and `settings` found, for the template."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replicate.comparison.compare import comparison
from replicate.comparison.settings import Setting, grouped, in_common, settings_of
from replicate.comparison.side import Side, read_other, read_side
from replicate.traced import ResultFolder, Traced, plain, where

#: What became of a claim that says nothing about a difference between the runs.
UNCHANGED = ("same numbers", "attempted by neither")


#: What else became of claims, in the words that lead to their number.
CHANGE_WORDS = {
    "same verdict": "with the same verdict and other numbers",
    "same numbers": "with the same numbers",
    "only here": "attempted by this run alone",
    "only there": "attempted by the other run alone",
    "attempted by neither": "attempted by neither",
}


@dataclass(frozen=True)
class Beside:
    """Two runs beside each other.

    Attributes:
        file: the name that the page shows for the file of what was computed here.
        content: what that file holds.
    """

    ours: Side
    theirs: Side
    file: str
    content: dict[str, Any]
    settings: list[Setting]


def _draws(found: Traced, ours: Side) -> Iterator[Setting]:
    """Numbers of draws that differ; no result has them as a leaf, so they come from what was counted here."""
    for row in found["rows"]:
        draws = row["draws"]
        if None not in plain(draws).values() and plain(draws["ours"]) != plain(draws["theirs"]):
            of = ours.title((row["dataset"], row["model"]))
            yield Setting("asked", "draws", (of,), draws["ours"], draws["theirs"])


def _noted(setting: Setting) -> dict[str, Any]:
    def value(place: Traced | None) -> dict[str, Any] | None:
        return None if place is None else {"place": where(place), "value": plain(place)}

    sides = {"ours": value(setting.ours), "theirs": value(setting.theirs)}
    return {"kind": setting.kind, "name": setting.name, "of": list(setting.of), **sides}


def read_beside(table: Path, results: Path, other: Path, file: str) -> Beside:
    """Sets a run beside another one; writes nothing.

    Args:
        table: `table1.json` of this run.
        results: folder of its other results.
        other: project folder or results folder of the other run.
        file: name of the file that will hold what is computed here.

    Raises:
        ReplicateError: one of the runs cannot be read.
    """
    ours, theirs = read_side(ResultFolder(results), table), read_other(other)
    content = comparison(ours, theirs)
    settings = settings_of(ours, theirs)
    settings = grouped([*settings, *_draws(Traced(file, "", content), ours)])
    content["settings"] = [_noted(setting) for setting in settings]
    return Beside(ours, theirs, file, content, settings)


def _rows(beside: Beside, found: Traced) -> Iterator[dict[str, Any]]:
    """Every row of Table 1 that either run measured: both cells, None where a run has none, and the difference."""
    ours, theirs = beside.ours, beside.theirs
    for row in found["rows"]:
        cell = (row["dataset"], row["model"])
        cells = [side.cells[cell].source if cell in side.cells else None for side in (ours, theirs)]
        title = (beside.theirs.models | ours.models)[cell[1]]
        yield {"dataset": cell[0], "title": title, "found": row, "ours": cells[0], "theirs": cells[1]}


def _paired(places: Sequence[Traced | None], entries: str, label: str) -> list[dict[str, Any]]:
    """The measured values of both sides by their label, ours first; None where a side has no such value."""
    sides = [{one[label]: one for one in side[entries]} if side else {} for side in places]
    names = dict.fromkeys([*sides[0], *sides[1]])
    return [{"of": sides[0].get(name) or sides[1][name], "ours": sides[0].get(name), "theirs": sides[1].get(name)}
            for name in names]  # fmt: skip


def _claims(beside: Beside, found: Traced) -> Iterator[dict[str, Any]]:
    """Every claim that either run has, with both verdicts and what was measured."""
    ours, theirs = beside.ours, beside.theirs
    for claim in found["claims"]:
        name, ordering = claim["claim"], claim["kind"] == "ordering"
        sides = [(side.orderings if ordering else side.statements).get(name) for side in (ours, theirs)]
        places = [side.source if side else None for side in sides]
        yield {
            "found": claim,
            "of": places[0] or places[1],
            "known": places[0] is not None,
            "verdicts": [place["verdict"] if ordering and place else place for place in places],
            "measured": _paired(places, *(("comparisons", "title") if ordering else ("checks", "reads"))),
        }


def _datasets(rows: Iterable[dict[str, Any]], beside: Beside) -> list[dict[str, Any]]:
    """The rows of every data set, under its title."""
    titles = beside.theirs.datasets | beside.ours.datasets
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["dataset"], []).append(row)
    return [{"name": name, "title": titles[name], "rows": of} for name, of in groups.items()]


def _same(beside: Beside) -> bool:
    """Whether both runs measured the same things, and all of them to the same bits."""
    counts = beside.content["counts"]
    claims = {kind for kind, count in counts["claims"].items() if count}
    return not counts["rows_of_one_run"] and counts["rows"] == counts["rows_same_bits"] and claims.issubset(UNCHANGED)


def _shortened(of: tuple[str, ...], groups: Mapping[str, list[str]]) -> list[str]:
    """What a setting was set for; a group that is there as a whole, of more than one, by its own name."""
    whole = {name: members for name, members in groups.items() if len(members) > 1 and set(members) <= set(of)}
    told = {member for members in whole.values() for member in members}
    return [*whole, *(one for one in of if one not in told)]


def _settings(beside: Beside, common: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """The settings that differ, by their kind."""
    rows = {beside.ours.title(cell) for cell in beside.ours.cells}
    groups = {
        "every row that both measured": [one for one in common if one in rows],
        "every experiment of both": [one for one in common if one not in rows],
    }
    shown: dict[str, list[dict[str, Any]]] = {"asked": [], "code": [], "machine": []}
    for one in beside.settings:
        of = _shortened(one.of, groups)
        shown[one.kind].append({"name": one.name, "of": of, "ours": one.ours, "theirs": one.theirs})
    return shown


def section(beside: Beside) -> dict[str, Any]:
    """What the template of the section is given."""
    found = Traced(beside.file, "", beside.content)
    claims, common = list(_claims(beside, found)), in_common(beside.ours, beside.theirs)
    return {
        "name": beside.theirs.results.name.removesuffix("/results"),
        "file": beside.file,
        "found": found,
        "presets": {"ours": beside.ours.preset, "theirs": beside.theirs.preset},
        "same": _same(beside),
        "counted": list(CHANGE_WORDS.items()),
        "compared": any(common.values()),
        "uncompared": [of for of, kept in common.items() if not kept],
        "settings": _settings(beside, list(common)),
        "datasets": _datasets(_rows(beside, found), beside),
        "claims": {
            "differ": [claim for claim in claims if claim["found"]["change"] not in UNCHANGED],
            "same": [claim for claim in claims if claim["found"]["change"] == "same numbers"],
            "unattempted": [claim for claim in claims if claim["found"]["change"] == "attempted by neither"],
        },
        "statements": {"ours": beside.ours.claims is not None, "theirs": beside.theirs.claims is not None},
        "tables": beside.theirs.table is not None,
    }
