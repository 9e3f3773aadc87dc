"""Checks in a reader's words, for every check of protocol.yaml."""

import math
import re

import pytest

from replicate.records.sourced import Traced, exponential, source_of, value_of
from replicate.report.check_words import (
    alone,
    in_times,
    in_words,
    is_logarithm,
    measured_alone,
    value,
)
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import read_protocol

STATEMENTS = read_protocol(package_root() / "protocol.yaml").statements
READS = [check.reads for each in STATEMENTS.values() for check in each.checks.values()]


def check_of(reads: str, log: float = math.log(22.5)) -> Traced:
    return Traced("results/x.json", "/c", {"reads": reads, "value": log})


@pytest.mark.parametrize("reads", READS)
def test_no_check_says_less_for_minus_nor_leans_on_another_line(reads: str) -> None:
    told = str(measured_alone(check_of(reads)).striptags())
    assert " less " not in told
    assert not re.match(r"(that|those|the same) ", told)
    assert " that distance" not in told
    if is_logarithm(check_of(reads)):
        assert "ratio" in told
        assert not re.search(r"\blog (ratio|of)\b", told)


def test_every_logarithm_of_a_ratio_is_known_by_its_words() -> None:
    logs = [reads for reads in READS if re.search(r"\blog (ratio |of )", reads)]
    assert len(logs) > 15
    assert [reads for reads in logs if not is_logarithm(check_of(reads))] == []


def test_a_difference_of_logarithms_is_a_ratio_to() -> None:
    reads = "log of the mean distance of two samples at 1:1 less that at 20:1"
    assert in_times(reads) == "ratio of the mean distance of two samples at 1:1 to that at 20:1"
    assert in_words("modes at 1:1 less those at 20:1") == "modes at 1:1 minus those at 20:1"
    assert alone("that JSD with k = 1") == "JSD with k = 1"


def test_a_ratio_names_the_logarithm_as_its_source() -> None:
    entry = check_of("log ratio of x: a over b")["value"]
    assert value_of(exponential(entry)) == pytest.approx(22.5)
    assert source_of(exponential(entry)) == "exp of results/x.json#/c/value"
    assert value(entry, times=True).striptags() == "22.5"
    assert value(entry).striptags() == "3.11"
