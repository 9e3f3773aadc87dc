"""A run beside another one: differences by hand and by scipy, settings leaf by leaf, and what is
refused.
"""

import getpass
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from replicate.comparison.beside import Beside, read_beside
from replicate.comparison.compared_run import shown_name
from replicate.comparison.settings import Setting
from replicate.errors import ReplicateError
from replicate.records.sourced import source_of, value_of
from replicate.storage.files import canonical_json, read_json
from tests.compare_runs import change, write_run, write_statements

OURS, THEIRS = (100.0, 104.0, 98.0, 101.0), (90.0, 91.0, 95.0)
EVALUATION = "results/evaluation/digits/vae/0-3.json"
TRAINING = "results/train/digits/vae/0-3.json"


def beside(ours: Path, theirs: Path) -> Beside:
    return read_beside(ours / "results/table1.json", ours / "results", theirs, "x.comparison.json")


def rows(found: Beside) -> dict[str, dict[str, Any]]:
    """The rows that either run measured, by their model."""
    return {row["model"]: row for row in found.content["rows"]}


def told(settings: list[Setting]) -> dict[str, tuple[Any, Any]]:
    return {one.name: (value_of(one.ours), value_of(one.theirs)) for one in settings}


def test_the_difference_carries_the_seed_variance_of_both_runs(tmp_path: Path) -> None:
    """By hand: means 100.75 and 92, squared errors 6.25 / 4 and 7 / 3, Welch-Satterthwaite's 4.2923
    degrees.
    """
    found = beside(
        write_run(tmp_path / "a", {"vae": OURS}),
        write_run(tmp_path / "b", {"vae": THEIRS}, first=7),
    )
    row = rows(found)["vae"]
    assert row["difference"]["value"] == 8.75
    assert row["difference"]["error"] == pytest.approx((6.25 / 4 + 7 / 3) ** 0.5, rel=1e-12)
    assert row["difference"]["degrees"] == pytest.approx(4.2923, abs=5e-5)
    interval = stats.ttest_ind(OURS, THEIRS, equal_var=False).confidence_interval(0.95)
    assert row["difference"]["ci95"] == pytest.approx([interval.low, interval.high], rel=1e-9)
    assert (row["bits"], row["shared_seeds"]) == ("other", [])
    assert row["seeds"] == {"ours": 4, "theirs": 3}


def test_a_run_beside_itself_differs_in_nothing(tmp_path: Path) -> None:
    statements = {
        "P1": ("replicated", 0.5),
        "P2": ("not replicated", 2.0),
        "X1": ("not attempted", 0.0),
    }
    run = write_statements(write_run(tmp_path / "a", {"vae": OURS, "rbm": THEIRS}), statements)
    found = beside(run, run)
    assert found.settings == []
    for row, seeds in ((rows(found)["vae"], [0, 1, 2, 3]), (rows(found)["rbm"], [0, 1, 2])):
        assert row["difference"] == {"value": 0.0, "error": None, "degrees": None, "ci95": None}
        assert (row["bits"], row["shared_seeds"]) == ("same", seeds)
    counts = found.content["counts"]
    assert (counts["rows"], counts["rows_same_bits"], counts["rows_of_one_run"]) == (2, 2, 0)
    assert {kind: count for kind, count in counts["claims"].items() if count} == {
        "same numbers": 2,
        "attempted by neither": 3,  # X1, and both orders of rows
    }


def test_one_other_bit_is_other_bits_and_shared_seeds_are_named(tmp_path: Path) -> None:
    ours, theirs = (write_run(tmp_path / name, {"vae": OURS}) for name in "ab")
    change(theirs / TRAINING, lambda c: c["chosen_epoch"].__setitem__(1, 4))
    row = rows(beside(ours, theirs))["vae"]
    assert (row["bits"], row["shared_seeds"]) == ("other", [0, 1, 2, 3])
    low, high = row["difference"]["ci95"]
    assert row["difference"]["value"] == 0
    assert low == -high < 0


def test_without_the_results_bits_are_not_told(tmp_path: Path) -> None:
    ours, theirs = (write_run(tmp_path / name, {"vae": OURS}) for name in "ab")
    shutil.rmtree(theirs / "results/evaluation")
    row = rows(beside(ours, theirs))["vae"]
    assert row["bits"] is None
    assert row["difference"]["ci95"] is not None


def test_a_row_of_one_run_alone(tmp_path: Path) -> None:
    ours, theirs = (
        write_run(tmp_path / "a", {"vae": OURS, "rbm": OURS}),
        write_run(tmp_path / "b", {"vae": OURS}),
    )
    for found, one, other in (
        (beside(ours, theirs), "ours", "theirs"),
        (beside(theirs, ours), "theirs", "ours"),
    ):
        row = rows(found)["rbm"]
        assert (row["seeds"][one], row["seeds"][other]) == (4, None)
        assert (row["difference"], row["bits"]) == (None, None)
        assert found.content["counts"]["rows_of_one_run"] == 1


def test_a_failed_seed_stops_the_difference(tmp_path: Path) -> None:
    ours, theirs = (
        write_run(tmp_path / "a", {"vae": OURS}),
        write_run(tmp_path / "b", {"vae": (90.0, None, 95.0)}),
    )
    row = rows(beside(ours, theirs))["vae"]
    assert row["difference"] is None
    assert row["reason"] == "a seed failed, and averaging only surviving seeds would bias the mean"
    assert row["seeds"] == {"ours": 4, "theirs": 3}


def test_one_seed_has_a_difference_and_no_interval(tmp_path: Path) -> None:
    ours, theirs = (
        write_run(tmp_path / "a", {"vae": OURS}),
        write_run(tmp_path / "b", {"vae": (90.0,)}),
    )
    assert rows(beside(ours, theirs))["vae"]["difference"] == {
        "value": 10.75, "error": None, "degrees": None, "ci95": None,
    }  # fmt: skip


def test_means_of_two_spaces_have_no_difference(tmp_path: Path) -> None:
    ours, theirs = (
        write_run(tmp_path / "a", {"vae": OURS}),
        write_run(tmp_path / "b", {"vae": OURS}, dimension=784),
    )
    row = rows(beside(ours, theirs))["vae"]
    assert (row["difference"], row["reason"]) == (None, "images of another size: another space")


def test_settings_that_differ_are_told_once_with_their_places(tmp_path: Path) -> None:
    ours = write_statements(
        write_run(tmp_path / "a", {"vae": OURS, "rbm": OURS}), {"P1": ("replicated", 0.5)}
    )
    theirs = write_run(tmp_path / "b", {"vae": OURS, "rbm": OURS}, rate=0.2, samples=200)
    write_statements(theirs, {"P1": ("replicated", 0.5)}, updates=50)
    change(theirs / TRAINING, lambda c: c["parameters"]["config"].update(extra=True))
    found = [one for one in beside(ours, theirs).settings if one.kind == "asked"]
    assert told(found) == {
        "preset": ("a", "b"), "n_samples": (100, 200), "config.rate": (0.1, 0.2), "config.extra": (None, True),
        "config.updates": (100, 50),
    }  # fmt: skip
    rate = next(one for one in found if one.name == "config.rate")
    assert sorted(rate.of) == ["RBM on Digits", "Variational autoencoder on Digits"]
    assert rate.theirs is not None
    assert source_of(rate.theirs).startswith("b/results/train/digits/")
    assert source_of(rate.theirs).endswith("/0-3.json#/parameters/config/rate")


def test_seeds_data_code_machine_and_draws_that_differ(tmp_path: Path) -> None:
    ours, theirs = (
        write_run(tmp_path / "a", {"vae": OURS}),
        write_run(tmp_path / "a2", {"vae": OURS[:3]}, first=5),
    )
    training = theirs / "results/train/digits/vae/5-7.json"
    change(training, lambda c: c.update(code="train-2", inputs={"data": "e" * 64}))
    change(
        training.with_name("5-7.run.json"), lambda c: c.update(processor="EPYC", wall_seconds=9.0)
    )
    evaluation = theirs / "results/evaluation/digits/vae/5-7.json"
    change(evaluation, lambda c: [seed["draws"].append(seed["draws"][0]) for seed in c["per_seed"]])
    found = beside(ours, theirs).settings
    assert {(one.kind, one.name): told([one])[one.name] for one in found} == {
        ("asked", "preset"): ("a", "a2"),
        ("asked", "seeds"): ([0, 1, 2, 3], [5, 6, 7]),
        ("asked", "prepared data, SHA-256"): ("d" * 64, "e" * 64),
        ("code", "code of train"): ("train-1", "train-2"),
        ("machine", "processor"): ("Xeon", "EPYC"),
        ("asked", "draws"): (1, 2),
    }


def test_results_left_over_from_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    ours, theirs = (write_run(tmp_path / name, {"vae": OURS}) for name in "ab")
    write_run(
        theirs, {"vae": THEIRS, "rbm": THEIRS}, first=20, rate=9.0
    )  # an earlier run in the same folder
    write_run(theirs, {"vae": OURS})
    found = beside(ours, theirs)
    assert list(rows(found)) == ["vae"]
    assert rows(found)["vae"]["bits"] == "same"
    assert set(told(found.settings)) == {"preset"}


def test_changed_verdicts_come_first(tmp_path: Path) -> None:
    ours, theirs = (write_run(tmp_path / name, {"vae": OURS}) for name in "ab")
    states = {
        "P1": ("replicated", 0.5, "replicated", 0.5), "P2": ("replicated", 0.5, "replicated", 0.6),
        "K1": ("not attempted", 0.0, "replicated", 0.5), "G1": ("inconclusive", 0.5, "not attempted", 0.0),
        "H1": ("replicated", 0.5, "not replicated", 0.5), "X1": ("not attempted", 0.0, "not attempted", 0.0),
    }  # fmt: skip
    write_statements(ours, {name: (state, value) for name, (state, value, _, _) in states.items()})
    write_statements(
        theirs, {name: (state, value) for name, (_, _, state, value) in states.items()}
    )
    change(
        theirs / "results/statements.json",
        lambda c: c["statements"][4].update(protocol_sha256="b" * 64),
    )
    found = [one for one in beside(ours, theirs).content["claims"] if one["kind"] == "statement"]
    assert [(one["claim"], one["change"]) for one in found] == [
        ("H1", "changed"), ("G1", "only here"), ("K1", "only there"), ("P2", "same verdict"), ("P1", "same numbers"),
        ("X1", "attempted by neither"),
    ]  # fmt: skip
    assert [one["claim"] for one in found if one["other_rule"]] == ["H1"]


def test_orders_of_rows_are_compared_too_and_statements_may_be_missing(tmp_path: Path) -> None:
    ours, theirs = (write_run(tmp_path / name, {"vae": OURS}) for name in "ab")

    def decided(content: Any) -> None:
        content["orderings"][0]["verdict"]["state"] = "replicated"

    change(theirs / "results/table1.json", decided)
    write_statements(ours, {"P1": ("replicated", 0.5)})
    claims = beside(ours, theirs).content["claims"]
    assert {one["kind"] for one in claims} == {"ordering"}
    assert [one["change"] for one in claims] == ["only there", "attempted by neither"]


def test_the_folder_of_the_project_or_of_its_results(tmp_path: Path) -> None:
    ours, theirs = (write_run(tmp_path / name, {"vae": OURS}) for name in ("a", "second"))
    shutil.copytree(theirs / "results", tmp_path / "kept")
    names = [
        beside(ours, path).theirs.results.name
        for path in (theirs, theirs / "results", tmp_path / "kept")
    ]
    assert names == ["second/results", "second/results", "kept"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/data/second-run", "second-run"),
        ("/data/a run #2 \u202e", "a-run-2"),
        ("/data/" + "x" * 99, "x" * 32),
        ("/home/alice", "other-run"),
        ("/Users/alice", "other-run"),
        ("/data/results", "other-run"),
        ("/", "other-run"),
    ],
)
def test_the_shown_name_is_no_persons(folder: str, name: str) -> None:
    assert shown_name(Path(folder)) == name


def test_the_users_name_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")
    assert shown_name(Path("/scratch/alice")) == "other-run"
    assert shown_name(Path("/scratch/alice/run")) == "run"


def _rewrite(path: str, edit: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda run: change(run / path, edit)


def _write(path: str, text: str) -> Callable[[Path], Any]:
    return lambda run: (run / path).write_text(text)


TABLE, STATEMENTS = "results/table1.json", "results/statements.json"
FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "there is no such folder; give the project folder or the "
                                 "results folder"),
    "a file": (lambda run: (shutil.rmtree(run), run.write_text("x")), "there is no such folder"),
    "no table": (lambda run: (run / TABLE).unlink(), "no table1.json lies in it or in its folder "
                                                     "`results`"),
    "half a table": (lambda run: (run / TABLE).write_text('{"schema": 1, "st'), "is not valid JSON"),
    "no text": (lambda run: (run / TABLE).write_bytes(b"\x80\x00"), "is not valid JSON"),
    "a foreign table": (_write(TABLE, '[{"model": "x"}]'), "is not a result of the stage 'table' "
                                                           "of this project"),
    "statements for a table": (lambda run: shutil.copy(run / STATEMENTS, run / TABLE), "is not a result of the stage 'table'"),
    "another format": (_rewrite(TABLE, lambda c: c.update(schema=2)), "has the format 2, and this version reads"),
    "a table of another shape": (
        _rewrite(TABLE, lambda c: c["rows"][-1]["cells"]["digits"]["measured"].pop("per_seed")),
        "/cells/digits/measured/per_seed: field required. If another version of this project "
        "wrote it",
    ),
    "text for a number": (
        _rewrite(TABLE, lambda c: c["rows"][-1]["cells"]["digits"]["measured"].update(mean="100")),
        "/cells/digits/measured/mean: input should be a valid number",
    ),
    "no number": (_write(TABLE, '{"schema": 1, "stage": "table", "x": NaN}'), "is not finite, and no number of JSON"),
    "other statements": (_rewrite(STATEMENTS, lambda c: c["statements"][0].pop("says")), "/statements/0/says: field required"),
    "statements of another format": (_rewrite(STATEMENTS, lambda c: c.update(schema=7)), "has the format 7"),
    "a nameless job": (_rewrite(TRAINING, lambda c: c.pop("block")), "result of the stage "
                                                                     "'train' and has no 'block'"),
    "no parameters": (_rewrite(TRAINING, lambda c: c.pop("parameters")), "/parameters: field required"),
    "an infinite setting": (
        _write(TRAINING, (json.dumps({"schema": 1, "stage": "train", "dataset": "digits", "model": "vae", "code": "x",
                                      "block": "0-3", "parameters": {"a": float("inf")}, "inputs": {}}))),
        "is not finite, and no number of JSON",
    ),
    "a job twice": (
        lambda run: shutil.copytree(run / "results/train", run / "results/again"), "give the folder of one run"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs that can be compared, not to be changed."""
    folder = tmp_path_factory.mktemp("pair")
    for name in ("a", "b"):
        write_statements(write_run(folder / name, {"vae": OURS}), {"P1": ("replicated", 0.5)})
    return folder


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_compared_is_one_sentence(pair: Path, tmp_path: Path, fault: str) -> None:
    shutil.copytree(pair, tmp_path, dirs_exist_ok=True)
    ours, theirs = tmp_path / "a", tmp_path / "b"
    beside(ours, theirs)
    spoil, sentence = FAULTS[fault]
    spoil(theirs)
    with pytest.raises(ReplicateError) as raised:
        beside(ours, theirs)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_other_run_is_only_read_and_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    ours, theirs = (
        write_run(tmp_path / "a", {"vae": OURS}),
        write_run(tmp_path / "b", {"vae": THEIRS}, rate=0.2),
    )

    def digests() -> dict[str, str]:
        return {
            str(p): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in tmp_path.rglob("*")
            if p.is_file()
        }

    before = digests()
    first, second = (canonical_json(beside(ours, theirs).content) for _ in range(2))
    assert first == second
    assert digests() == before
    assert str(tmp_path) not in first
    inputs = beside(ours, theirs).content["inputs"]
    assert inputs == {
        f"{name}/table1.json": hashlib.sha256((run / TABLE).read_bytes()).hexdigest()
        for name, run in (("results", ours), ("b/results", theirs))
    }
    assert read_json(theirs / TABLE)["preset"] == "b"
