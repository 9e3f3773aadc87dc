"""The section "Beside another run", and `report --compare`: what it shows, and that nothing else
changes by it.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from replicate.__main__ import main
from replicate.comparison.beside import read_beside
from replicate.jobs.code_digest import code_digest
from replicate.params import Params
from replicate.report.page import page
from replicate.storage.files import canonical_json, read_json, write_json
from replicate.storage.paths import package_root
from tests.report.conftest import Page
from tests.report.fabricated import jobs_of
from tests.report.page_helpers import parsed, words


def section(html: str) -> Any:
    return parsed(html).get_element_by_id("beside")


def table(part: Any, caption: str) -> list[list[str]]:
    """The words of every cell of the one table whose caption begins so."""
    (found,) = [t for t in part.xpath(".//table") if words(t.find("caption")).startswith(caption)]
    return [[words(cell) for cell in row] for row in found.xpath(".//tbody/tr")]


def own_words(html: str) -> str:
    """The page without the section, its link, its style sheet, the hash of that, and empty
    lines.
    """
    cut = re.sub(r'<section id="beside".*?(?=<section id="table1")', "", html, flags=re.DOTALL)
    cut = cut.replace('<li><a href="#beside">Beside another run</a></li>\n', "")
    cut = cut.replace((package_root() / "report/assets/beside.css").read_text(encoding="utf-8"), "")
    return re.sub(r"\n+", "\n", re.sub(r"style-src 'sha256-[^']*'", "", cut))


def test_without_another_run_the_page_stays_what_it_is(html: str, compared: Page) -> None:
    def science(page: str) -> str:
        return re.sub(r'<section id="costs".*?</section>', "", own_words(page), flags=re.DOTALL)

    assert 'id="beside"' not in html
    assert "another run" not in words(parsed(html).xpath("//nav")[0]).lower()
    assert science(compared[0]) == science(html)
    assets = package_root() / "report/assets"
    style = "".join(
        (assets / name).read_text(encoding="utf-8") for name in ("style.css", "play.css")
    )
    assert f"<style>{style}</style>" in html


def test_the_section_has_its_link_and_stands_before_table_1(compared: Page) -> None:
    document = parsed(compared[0])
    assert words(document.xpath("//nav//a")[0]) == "Beside another run"
    assert [one.get("id") for one in document.xpath("//main/section")][:5] == [
        "answer",
        "summary",
        "words",
        "beside",
        "table1",
    ]
    assert len(document.xpath("//nav//a[@href='#beside']")) == 1


def test_settings_and_presets_that_differ(compared: Page) -> None:
    rows = {
        row[0]: row[1:]
        for row in table(section(compared[0]), "Parameters, seeds and data that differ")
    }
    assert rows["config.learning_rate"] == [
        "0.1",
        "0.2",
        "Adversarial nets on MNIST; Adversarial nets on Digits",
    ]
    assert rows["preset"] == ["mnist", "smoke", "the run"]
    assert set(rows) == {"config.learning_rate", "preset"}
    assert "The logic of the code that made them is the same." in words(section(compared[0]))
    assert "Not compared, since not both runs kept" in words(
        section(compared[0])
    )  # the reference row's results


def test_both_means_with_their_seeds_verdicts_and_difference(compared: Page) -> None:
    html, results = compared
    digits = {row[0]: row[1:] for row in table(section(html), "Both runs on Digits")}
    found = read_json(results.parent / "index.comparison.json")["rows"]
    (row,) = [
        one for one in found if one["dataset"] == "digits" and one["model"] == "adversarial_nets"
    ]
    assert row["difference"]["value"] == pytest.approx(3.0)
    low, high = (
        f"{bound:.2f}".replace("-", "\N{MINUS SIGN}") for bound in row["difference"]["ci95"]
    )
    cells = digits["Adversarial nets"]
    assert cells[0] == "51.1 SD 3.0, seeds: 3"
    assert cells[2] == "48.1 SD 3.0, seeds: 3"
    assert cells[4] == f"3.00 {low} to {high}"
    assert cells[5] == "other bits not independent: seeds in common are 0, 1, 2"
    assert digits["True distribution"][5].startswith("bits unknown")
    mnist = {row[0]: row[1:] for row in table(section(html), "Both runs on MNIST")}[
        "Adversarial nets"
    ]
    assert "failed: seed 2" in mnist[0]
    assert mnist[1] == "inconclusive"
    assert mnist[4] == "\N{EN DASH}"
    assert "no difference: a seed failed" in mnist[5]
    faces = {row[0]: row[1:] for row in table(section(html), "Both runs on Toronto")}[
        "Adversarial nets"
    ]
    assert faces[2:] == ["\N{EN DASH}", "not attempted", "\N{EN DASH}", "only here"]


def test_changed_claims_come_first_by_word_and_shape(compared: Page) -> None:
    rows = table(section(compared[0]), "Claims that differ")
    assert rows[0][:4] == [
        "P1 For a fixed G the optimal D is p_data / (p_data + p_g).", "changed",
        "replicated one-sided tests over 6 seeds, 1 at 5 % each",
        "not replicated the other way round: mean error of a trained D against the formula "
        "(probability)",
    ]  # fmt: skip
    assert [row[-2:] for row in rows[:2]] == [
        ["1e\N{MINUS SIGN}16"] * 2,
        ["0.00625 SD 0.0011", "0.0625 SD 0.011"],
    ]
    changes = [
        words(cell)
        for cell in section(compared[0]).xpath(
            ".//table[@class='claims-beside']//tbody/tr[1]/td[1]"
        )
    ]
    assert changes == sorted(
        changes, key=["changed", "only here", "same verdict", "same numbers"].index
    )
    marks = section(compared[0]).xpath(".//span[@class='warning'][normalize-space()='changed']/svg")
    assert len(marks) == changes.count("changed") > 0


def test_a_run_beside_itself(params: Params, results: Path) -> None:
    beside = read_beside(results / "table1.json", results, results, "index.comparison.json")
    part = section(page(jobs_of(params), results / "table1.json", results, beside=beside))
    text = words(part)
    assert "Nothing: parameters, seeds and data that both runs kept are the same." in text
    assert "No claim that either run attempted differs." in text
    differences = [row[5] for row in table(part, "Both runs on Digits")]
    assert differences[0] == "0.00"
    assert table(part, "Both runs on Digits")[0][6] == "the same bits"
    write_json(results / "table1.json", without_references(read_json(results / "table1.json")))
    beside = read_beside(results / "table1.json", results, results, "index.comparison.json")
    part = section(page(jobs_of(params), results / "table1.json", results, beside=beside))
    assert "All that both runs measured is the same, bit for bit." in words(part)


def test_the_files_code_covers_what_finds_the_settings(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of logic in any of the modules that fill the file gives another digest."""
    copy = tmp_path / "project"
    shutil.copytree(package_root() / "replicate", copy / "replicate")
    monkeypatch.setattr(
        "replicate.comparison.compare.code_digest", lambda names: code_digest(names, copy)
    )
    found = set()
    for changed in ("", "settings", "compare", "compared_run", "beside"):
        if changed:
            with (copy / f"replicate/comparison/{changed}.py").open("a", encoding="utf-8") as file:
                file.write("\nMORE = 1\n")
        found.add(
            read_beside(results / "table1.json", results, results, "index.comparison.json").content[
                "code"
            ]
        )
    assert len(found) == 5


def test_a_setting_of_everything_is_told_in_words(
    params: Params, results: Path, second_run: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(second_run, tmp_path / "other"))
    for run in (results, other / "results"):
        write_json(run / "table1.json", without_references(read_json(run / "table1.json")))
    beside = read_beside(results / "table1.json", results, other, "index.comparison.json")
    rows = table(
        section(page(jobs_of(params), results / "table1.json", results, beside=beside)),
        "Parameters, seeds and data",
    )
    assert ["config.learning_rate", "0.1", "0.2", "every row that both measured"] in rows


def without_references(content: Any) -> Any:
    """A table without the rows whose results the fixture does not have."""
    content["rows"] = [row for row in content["rows"] if row["kind"] == "model"]
    return content


def test_another_run_without_statements(
    params: Params, results: Path, second_run: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(second_run, tmp_path / "other"))
    (other / "results/statements.json").unlink()
    beside = read_beside(results / "table1.json", results, other, "index.comparison.json")
    text = words(section(page(jobs_of(params), results / "table1.json", results, beside=beside)))
    assert (
        "The other run has no statements.json: statements beside Table 1 are not compared." in text
    )


HOSTILE = "</script><script>alert(1)</script>\"' onload=alert(1) \u202e{{ 7*7 }}"


def test_hostile_words_of_another_run_are_harmless(
    params: Params, results: Path, second_run: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(second_run, tmp_path / "<svg onload=alert(1)>"))

    def change(path: Path, edit: Any) -> None:
        content = read_json(path)
        edit(content)
        write_json(path, content)

    def rename(content: Any) -> None:
        content["preset"] = HOSTILE
        content["datasets"][0]["title"] = content["rows"][3]["title"] = HOSTILE
        content["rows"][3]["cells"]["digits"]["verdict"] |= {"state": HOSTILE, "reason": HOSTILE}

    def reword(content: Any) -> None:
        content["statements"][0] |= {
            "statement": HOSTILE,
            "says": HOSTILE,
            "state": HOSTILE,
            "reason": HOSTILE,
        }

    change(other / "results/table1.json", rename)
    change(other / "results/statements.json", reword)
    training = other / "results/train/digits/adversarial_nets/0-2.json"
    change(training, lambda c: c["parameters"]["config"].update({HOSTILE: HOSTILE}))
    beside = read_beside(results / "table1.json", results, other, "index.comparison.json")
    document = parsed(page(jobs_of(params), results / "table1.json", results, beside=beside))
    assert (
        len(document.xpath("//script[not(@type)]")) == 1
    )  # the others are data, which nothing runs
    assert not document.xpath("//@*[starts-with(name(), 'on')]")
    assert HOSTILE in words(document.get_element_by_id("beside"))


def _words(params: Params, results: Path, out: Path) -> list[str]:
    given = [
        "report",
        "--params",
        params.model_dump_json(),
        "--table",
        str(results / "table1.json"),
    ]
    return [*given, "--results", str(results), "--out", str(out)]


@pytest.mark.usefixtures("made_anew")
def test_the_stage_writes_page_and_numbers_and_twice_the_same(
    params: Params, results: Path, second_run: Path, tmp_path: Path, html: str
) -> None:
    made = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        out = folder / "compared.html"
        assert main([*_words(params, results, out), "--compare", str(second_run)]) == 0
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["compared.comparison.json", "compared.html", "compared.run.json"]
        made.append((out.read_bytes(), (folder / "compared.comparison.json").read_bytes()))
    assert made[0] == made[1]
    content = read_json(tmp_path / "one/compared.comparison.json")
    assert canonical_json(content).encode() == made[0][1]
    assert b"second-run/results/table1.json#/rows/3/cells/digits/measured/mean" in made[0][0]
    assert str(second_run.parent).encode() not in made[0][0] + made[0][1]
    out = tmp_path / "one/index.html"
    assert main(_words(params, results, out)) == 0
    assert out.read_text(encoding="utf-8") == html
    assert not (tmp_path / "one/index.comparison.json").exists()


@pytest.mark.parametrize("spoiled", ["", "results/table1.json", "results/statements.json"])
def test_bad_input_writes_nothing_and_loses_nothing(
    params: Params,
    results: Path,
    second_run: Path,
    tmp_path: Path,
    spoiled: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, numbers = tmp_path / "compared.html", tmp_path / "compared.comparison.json"
    command = [*_words(params, results, out), "--compare", str(second_run)]
    assert main(command) == 0
    before = out.read_bytes(), numbers.read_bytes()
    other = Path(shutil.copytree(second_run, tmp_path / "other"))
    if spoiled:
        (other / spoiled).write_text("{")
    else:
        shutil.rmtree(other)
    capsys.readouterr()
    assert main([*command[:-1], str(other)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (out.read_bytes(), numbers.read_bytes()) == before


def test_help_teaches_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "--compare OTHER" in told
    assert "project folder or the results folder" in told
    assert "report/compared.comparison.json" in told


@pytest.mark.slow
def test_it_needs_no_torch(
    params: Params, kept_results: Path, second_run: Path, tmp_path: Path
) -> None:
    given = [*_words(params, kept_results, tmp_path / "index.html"), "--compare", str(second_run)]
    code = "import sys; from replicate.__main__ import main; sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, *given], check=True, cwd=package_root())
