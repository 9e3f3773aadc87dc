"""Costs and provenance: everything that the results came from, and nothing of who ran it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from replicate.params import Params
from replicate.records.run_record import StageMeter
from replicate.report.page import page
from replicate.storage.files import read_json, write_json
from replicate.storage.paths import package_root
from tests.report.fabricated import jobs_of
from tests.report.page_helpers import parsed, words

MODEL = "adversarial_nets"
#: What a page must never hold: home folders, keys of services, private keys, addresses of people.
PRIVATE = (
    r"/(?:home|root|Users)/\w", r"[A-Z]:\\?Users", r"\bgh[pousr]_\w{8}", r"\bgithub_pat_\w", r"\bhf_[A-Za-z]{8}",
    r"\bAKIA[A-Z0-9]{8}", r"BEGIN [A-Z ]*PRIVATE KEY", r"\bsk-\w{8}", r"\w@\w+\.\w",
)  # fmt: skip


def costs(params: Params, results: Path) -> Any:
    return parsed(page(jobs_of(params), results / "table1.json", results)).get_element_by_id(
        "costs"
    )


def entry(section: Any, name: str) -> list[str]:
    """The words beside every term of this name."""
    return [words(term.getnext()) for term in section.xpath(".//dt") if words(term) == name]


def edit(path: Path, **changes: Any) -> None:
    write_json(path, read_json(path) | changes)


def test_data_protocol_device_and_determinism_are_named(params: Params, results: Path) -> None:
    data = read_json(results / "data/mnist.json")
    source = {"name": "train.gz", "size": 9912422, "sha256": "ab" * 32}
    edit(results / "data/mnist.json", sources=[source])
    for name in ("table1.json", "statements.json"):
        edit(results / name, inputs={"protocol": "cd" * 32})
    gpu = {"device": "cuda", "device_name": "NVIDIA H100", "threads": 4, "deterministic_algorithms": True,
           "products": "cublas", "tf32": False}  # fmt: skip
    edit(results / f"train/mnist/{MODEL}/0-2.run.json", **gpu)
    section = costs(params, results)
    assert entry(section, "Data: MNIST") == [
        f"SHA-256 of the prepared images {data['sha256']} train.gz, 9 912 422 bytes, "
        f"{source['sha256']}"
    ]
    assert entry(section, "Protocol") == [f"SHA-256 of protocol.yaml {'cd' * 32}"]
    devices = entry(section, "Device")
    assert "cuda, NVIDIA H100; threads of a job: 4" in devices
    assert "cpu; threads of a job: 1" in devices
    assert "deterministic algorithms on, TF32 off, matrix products by cublas" in entry(
        section, "Determinism"
    )
    record = read_json(results / f"train/mnist/{MODEL}/0-2.run.json")
    assert entry(section, "Lock file") == [record["lock_sha256"]]
    assert f"torch {record['versions']['torch']}" in entry(section, "Versions")[0].replace(
        "\xa0", " "
    )


def test_a_protocol_that_changed_between_table_and_statements_shows_twice(
    params: Params, results: Path
) -> None:
    edit(results / "table1.json", inputs={"protocol": "aa" * 32})
    edit(results / "statements.json", inputs={"protocol": "bb" * 32})
    assert entry(costs(params, results), "Protocol")[0].count("SHA-256") == 2


def test_switches_that_are_off_are_warned_of(params: Params, results: Path) -> None:
    edit(
        results / f"train/mnist/{MODEL}/0-2.run.json",
        deterministic_algorithms=False,
        tf32=True,
        products="x",
        device_name="CPU",
    )
    told = [
        words for words in entry(costs(params, results), "Determinism") if words != "not recorded"
    ]
    assert told == ["deterministic algorithms off, TF32 on, matrix products by x"]


def test_a_dirty_checkout_is_warned_of(params: Params, results: Path) -> None:
    for record in results.rglob("*.run.json"):
        edit(record, source={"commit": "f" * 40, "dirty": True})
    assert entry(costs(params, results), "Commit") == [
        f"{'f' * 40} with changes that are not committed"
    ]


def test_earlier_attempts_are_counted_with_their_seconds(params: Params, results: Path) -> None:
    edit(results / f"train/mnist/{MODEL}/0-2.run.json", earlier_attempts=3, earlier_seconds=61.25)
    rows = costs(params, results).xpath(".//tr[starts-with(@id, 'run-')]")
    assert {(row.get("id"), words(row.xpath("./td[5]")[0])) for row in rows} == {
        (f"run-mnist-{MODEL}-0-2-cost", "3 61.2 s"),
        (f"run-digits-{MODEL}-0-2-cost", "\N{EN DASH}"),
        (f"run-tfd-{MODEL}-0-2-cost", "\N{EN DASH}"),
    }


def test_rows_have_their_place_without_records(params: Params, results: Path) -> None:
    """The links of Table 1 lead somewhere, and the page outside this section is the same."""
    before = page(jobs_of(params), results / "table1.json", results)
    for record in results.rglob("*.run.json"):
        record.unlink()
    after = page(jobs_of(params), results / "table1.json", results)
    parsed(after).get_element_by_id(f"run-mnist-{MODEL}-0-2-cost")
    cut = re.compile(r'<section id="costs".*?</section>', re.DOTALL)
    assert cut.sub("", before) == cut.sub("", after)


def test_records_hold_nothing_of_the_user(params: Params, results: Path, tmp_path: Path) -> None:
    """A page and its records, made by a user with a telling name, home and keys in the
    environment.
    """
    home = tmp_path / "home" / "evelyn.tell"
    home.mkdir(parents=True)
    secrets = {
        "USER": "evelyn.tell", "LOGNAME": "evelyn.tell", "HOME": str(home), "GITHUB_TOKEN": "ghp_0123456789abcdef",
        "HF_TOKEN": "hf_abcdefghijklmnop", "HOSTNAME": "evelyns-machine", "XDG_CACHE_HOME": str(home / ".cache"),
    }  # fmt: skip
    out = home / "index.html"
    code = (
        "import sys; from pathlib import Path; from replicate.records.run_record import "
        "StageMeter\n"
        "from replicate.__main__ import main\n"
        "record = StageMeter('train'); target = Path(sys.argv.pop(1)); record.write(target, "
        "device='cpu', threads=1)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    record = results / f"train/mnist/{MODEL}/0-2.json"
    words_of = [
        "report",
        "--params",
        params.model_dump_json(),
        "--table",
        str(results / "table1.json"),
    ]
    words_of += ["--results", str(results), "--out", str(out)]
    subprocess.run(
        [sys.executable, "-c", code, str(record), *words_of],
        check=True,
        cwd=package_root(),
        env=os.environ | secrets,
    )
    text = out.read_text(encoding="utf-8")
    for secret in (*secrets.values(), "evelyn"):
        assert secret not in text
    assert [found[0] for pattern in PRIVATE for found in re.finditer(pattern, text)] == []


@pytest.mark.parametrize(
    "told",
    [
        "/home/eve/data",
        "/root/x",
        "/Users/eve",
        "ghp_0123456789",
        "hf_abcdefgh",
        "eve@example.org",
        "C:\\Users\\eve",
    ],
)
def test_the_search_finds_what_it_looks_for(told: str) -> None:
    assert any(re.search(pattern, told) for pattern in PRIVATE)


def test_a_record_has_exactly_what_it_says(tmp_path: Path) -> None:
    StageMeter("x").write(tmp_path / "x.json")
    assert sorted(read_json(tmp_path / "x.run.json")) == [
        "cores", "ended", "instructions", "lock_sha256", "peak_memory_mib", "processor", "result", "schema", "source",
        "stage", "started", "system", "versions", "wall_seconds",
    ]  # fmt: skip
