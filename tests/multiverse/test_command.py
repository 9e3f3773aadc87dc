"""`python -m replicate multiverse` on the kept runs, and what becomes of files that are not whole."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from replicate.__main__ import main
from replicate.multiverse.choices import read_choices
from replicate.multiverse.counting import counted, protocol_analysis
from replicate.multiverse.runs import RunClaim, number_claims, statement_claims
from replicate.records.frame import read_result
from replicate.records.schema import Multiverse
from replicate.stages.multiverse import multiverse
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import read_protocol
from tests.multiverse.judging import option_names

ROOT = package_root()
RESULTS = ROOT / "results"
PROTOCOL = ROOT / "protocol.yaml"
KEPT = RESULTS / "reference/multiverse.json"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kept runs without a run of one's own."""
    folder = tmp_path_factory.mktemp("kept") / "results"
    shutil.copytree(RESULTS / "reference", folder / "reference")
    return folder


@pytest.fixture(scope="module")
def content(kept: Path) -> Multiverse:
    """All analyses of all kept runs."""
    begin = time.process_time()
    told = multiverse(kept, PROTOCOL, [])
    # Seconds of the processor, so that a busy machine does not count: 4 as measured.
    assert time.process_time() - begin < 30
    return told


def run_claims(results: Path) -> list[RunClaim]:
    rules, choices = read_protocol(PROTOCOL), read_choices()
    return [*number_claims(results, rules, choices), *statement_claims(results, rules, choices)]


def attempted_cells(kept: Path) -> set[tuple[str, str]]:
    """Kept run and claim of every measured cell of Table 1; a row beside it has no claim."""
    cells = set()
    for path in (kept / "reference").glob("*/table1.json"):
        for row in json.loads(path.read_text())["rows"]:
            for cell in row["cells"].values():
                if cell["claim"] and cell["measured"]:
                    cells.add((path.parent.name, cell["claim"]))
    return cells


def test_the_protocols_own_analysis_gives_the_verdict_of_every_kept_run(kept: Path) -> None:
    claims = run_claims(kept)
    tables = {run for run, _ in attempted_cells(kept)}
    statements = {
        path.parent.name for path in (kept / "reference/statements").glob("*/statements.json")
    }
    runs = {claim.run.removeprefix("statements/") for claim in claims}
    assert runs == tables | statements
    for claim in claims:
        own = claim.claim.state(protocol_analysis(claim.claim.alternatives))
        assert own == claim.recorded, (claim.name, claim.run)


def test_every_attempted_claim_of_a_kept_run_is_there(content: Multiverse, kept: Path) -> None:
    attempted = attempted_cells(kept)
    for path in (kept / "reference").rglob("statements.json"):
        for statement in json.loads(path.read_text())["statements"]:
            if statement["checks"]:
                attempted.add((f"statements/{path.parent.name}", statement["statement"]))
    assert attempted == {(claim["run"], claim["claim"]) for claim in content["claims"]}


def test_there_are_a_hundred_analyses_of_all_that_has_seeds(content: Multiverse) -> None:
    for claim in content["claims"]:
        assert sum(claim["states"].values()) == claim["analyses"]
        if claim["analyses"] < 100:
            # Three exact numbers against error bounds: nothing else can be chosen.
            assert claim["claim"] == "P2"
            assert claim["analyses"] == 16


def test_what_is_kept_for_the_page_is_what_the_files_say(content: Multiverse) -> None:
    """Where this fails: `python -m replicate multiverse --renew`."""
    stored = read_result(KEPT, Multiverse)
    assert stored["claims"] == content["claims"]
    assert stored["inputs"] == content["inputs"]


def test_a_rule_that_was_changed_when_results_were_known_is_marked(content: Multiverse) -> None:
    marked = {}
    for claim in content["claims"]:
        if claim["earlier_verdicts"]:
            marked.setdefault(claim["claim"], {each["state"] for each in claim["earlier_verdicts"]})
            assert not claim["by_earlier_rule"]
    # docs/protocol.md, section 6, says which rules version 4 changed; README which verdicts turned.
    assert set(marked) == {"A1", "F2", "H1", "S1", "E1", "T2"}
    assert all(states == {"replicated"} for states in marked.values())
    by_earlier = {
        claim["claim"]
        for claim in content["claims"]
        if claim["by_earlier_rule"] and claim["kind"] == "statement"
    }
    assert by_earlier == set(marked)
    known = {claim["claim"] for claim in content["claims"] if claim["known_before_the_rule"]}
    assert known == {"L3"}


@pytest.mark.parametrize(
    ("run", "choice", "option", "state"),
    [
        # The sampler decides the one run, and the rule on trainings that still rise the other.
        ("mnist-dbn-and-stacked-cae", "sampler", "mixed chains", "exceeds"),
        ("mnist-dbn-50-epochs", "rising", "a verdict although training rises", "not replicated"),
    ],
)
def test_flips_are_single_choices(
    kept: Path, run: str, choice: str, option: str, state: str
) -> None:
    (claim,) = [
        claim for claim in run_claims(kept) if (claim.name, claim.run) == ("T1/mnist/dbn", run)
    ]
    counts = counted(claim.claim)
    flips = {(flip["choice"], flip["option"]): flip["state"] for flip in counts["flips"]}
    assert flips[choice, option] == state


def test_the_command_prints_and_writes(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "counts.json"
    words = ["multiverse", "E1", "T1/mnist/dbn", "--results", str(kept), "--json", str(out)]
    assert main([*words, "--protocol", str(PROTOCOL)]) == 0
    printed = capsys.readouterr().out
    assert "T1/mnist/dbn [mnist-dbn-and-stacked-cae]: not replicated in" in printed
    assert "No evidence" in printed
    written = read_result(out, Multiverse)
    assert {claim["claim"] for claim in written["claims"]} == {"E1", "T1/mnist/dbn"}
    assert written["parameters"]["claims"] == ["E1", "T1/mnist/dbn"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["T1/tfd/dbn"], "no run below {results} measured T1/tfd/dbn; measured are: A1, "),
        (["--results", "nowhere"], "nowhere holds no measured claim"),
        (["--json", "{results}/reference"], "{results}/reference"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    out = tmp_path / "counts.json"
    command = [
        "multiverse",
        "--protocol",
        str(PROTOCOL),
        "--results",
        str(kept),
        "--json",
        str(out),
    ]
    assert main([*command, *(word.format(results=kept) for word in words)]) == 2
    told = capsys.readouterr()
    assert sentence.format(results=kept) in told.err
    assert told.err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("mnist-1-seed/table1.json", '"rows": ['),
        ("mnist-1-seed/table1.json", '"n_samples":'),
        ("statements/seeds-0-9/statements.json", '"per_seed":'),
        ("statements/seeds-0-9/statements.json", '"threshold":'),
    ],
)
def test_a_damaged_file_is_named(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, damage: str
) -> None:
    results = tmp_path / "results"
    run = Path(file).parent
    shutil.copytree(kept / "reference" / run, results / "reference" / run)
    path = results / "reference" / file
    (path.parent / "SHA256SUMS").unlink()
    path.write_text(path.read_text().replace(damage, damage.replace(":", "_:", 1), 1))
    if damage.endswith("["):
        path.write_text(path.read_text()[:200])
    command = ["multiverse", "--protocol", str(PROTOCOL), "--results", str(results)]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert str(path) in told
    assert told.count("\n") == 1


@pytest.mark.slow
def test_renewed_is_what_the_page_shows_without_a_run_of_ones_own(
    kept: Path, content: Multiverse, tmp_path: Path
) -> None:
    """A run of one's own is judged again too, and is no part of what is kept."""
    results = Path(shutil.copytree(kept, tmp_path / "results"))
    run = results / "reference/mnist-dbn-and-stacked-cae"
    shutil.copytree(run, results / "mine")
    shutil.copy(run / "table1.json", results / "table1.json")
    told = multiverse(results, PROTOCOL, ["T1/mnist/dbn"])
    own_claim, *_ = told["claims"]
    assert own_claim["run"] == "results"
    (same,) = [
        claim
        for claim in content["claims"]
        if (claim["claim"], claim["run"]) == ("T1/mnist/dbn", run.name)
    ]
    assert own_claim["states"] == same["states"]
    assert (
        main(["multiverse", "--protocol", str(PROTOCOL), "--results", str(results), "--renew"]) == 0
    )
    assert (
        read_result(results / "reference/multiverse.json", Multiverse)["claims"]
        == content["claims"]
    )


@pytest.mark.parametrize(
    ("seeds", "is_another"), [("10-19", True), ("0-9", False), ("9-18", False)]
)
def test_a_run_with_the_same_seeds_is_no_second_run(
    kept: Path, tmp_path: Path, seeds: str, is_another: bool
) -> None:
    """Its seeds would count twice among those of both runs, and replicate themselves."""
    statements = tmp_path / "results/reference/statements"
    for name in ("seeds-0-9", "seeds-10-19"):
        shutil.copytree(kept / "reference/statements" / name, statements / name)
    (statements / "seeds-10-19/SHA256SUMS").unlink()
    settings = statements / "seeds-10-19/params.yaml"
    settings.write_text(settings.read_text().replace('"10-19"', f'"{seeds}"'))
    claims = [claim for claim in run_claims(tmp_path / "results") if claim.name in ("X4", "S2")]
    assert len(claims) == 4
    for claim in claims:
        assert ("both_runs" in option_names(claim.claim, "seeds")) == is_another
        assert ("sceptical" in option_names(claim.claim, "test")) == is_another


def test_a_changed_kept_run_is_refused(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    shutil.copytree(kept / "reference/mnist-500-epochs", results / "reference/mnist-500-epochs")
    path = results / "reference/mnist-500-epochs/adversarial_nets/train.json"
    path.write_text(path.read_text().replace("193.0", "293.0", 1))
    assert main(["multiverse", "--protocol", str(PROTOCOL), "--results", str(results)]) == 2
    assert "is not what it was kept as" in capsys.readouterr().err


def test_all_claims_are_renewed_or_none(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["multiverse", "E1", "--results", str(kept), "--renew"]) == 2
    assert "--renew counts all claims" in capsys.readouterr().err


def test_running_it_loads_no_torch() -> None:
    code = (
        "import sys; from replicate.__main__ import main\n"
        "status = main(['multiverse', 'P2'])\n"
        "sys.exit(status or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_choices_have_reasons_and_two_options_or_more(tmp_path: Path) -> None:
    from replicate.errors import ReplicateError

    text = "number: {level: {five: {title: 5 %, reason: usual}}}\nstatement: {}\n"
    path = tmp_path / "choices.yaml"
    path.write_text(text)
    with pytest.raises(ReplicateError, match="a choice has two options or more"):
        read_choices(path)
    path.write_text(text.replace("reason: usual", "reason: ''"))
    with pytest.raises(ReplicateError, match="reason"):
        read_choices(path)
    path.write_text("[]")
    with pytest.raises(ReplicateError, match="must be a mapping"):
        read_choices(path)


def test_the_document_names_every_option() -> None:
    text = (ROOT / "docs/multiverse.md").read_text()
    choices = read_choices()
    for options in (*choices.number.values(), *choices.statement.values()):
        for option in options.values():
            assert option.title in text, option.title


def test_the_document_tells_the_inconclusive_verdicts_and_which_of_them_turn(
    content: Multiverse,
) -> None:
    """Where this fails the kept runs have changed: put it right in docs/multiverse.md."""
    told = (
        "Those on X4 (on digits), X5, F2 and L3 and the first two on L2 are\ninconclusive; all but"
    )
    told += " X4's second and L2's first turn"
    assert told in (ROOT / "docs/multiverse.md").read_text()
    turning = {}
    for claim in content["claims"]:
        if claim["state"] == "inconclusive" and not claim["by_earlier_rule"]:
            key = (claim["claim"], claim["run"].removeprefix("statements/"))
            turning[key] = bool(claim["flips"])
    expected = dict.fromkeys(turning, True)
    expected |= {("X4", "seeds-10-19"): False, ("L2", "seeds-0-9"): False}
    assert turning == expected
    assert {name for name, _ in turning} == {"X4", "X5", "F2", "L3", "L2"}
    assert not any(run.startswith("mnist") for _, run in turning)


def test_the_document_quotes_what_the_command_prints(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where this fails the kept runs have changed: put the new lines into docs/multiverse.md."""
    text = (ROOT / "docs/multiverse.md").read_text()
    command = ["multiverse", "T1/mnist/dbn", "X4", "--protocol", str(PROTOCOL)]
    assert main([*command, "--results", str(kept)]) == 0
    printed = capsys.readouterr().out.splitlines()
    (block,) = [part for part in text.split("```") if part.startswith("\nT1/mnist/dbn")]
    quoted = block.strip("\n").splitlines()
    assert len(quoted) > 5
    assert [line for line in quoted if line not in printed] == []
