"""Plots: the same bytes for the same results, no inline style, unique ids, themable ink, readable
by screen readers.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable

import matplotlib
import pytest
import seaborn
from lxml import etree

from replicate.figures import curves
from replicate.figures.theme import OWN, SEABORN, SERIES, checked_svg
from replicate.storage.paths import package_root

SIGMAS = [0.1, 0.2, 0.4, 0.8]
TRAINING = {
    "seeds": [3, 4, 5],
    "curve": {
        "epoch": [10, 20, 30],
        "log_likelihood": [[-40.0, -30.0, -20.0], [10.0, 20.0, None], [12.0, 19.0, None]],
        "losses": {"generator": [[1.0, 1.1, 1.2]] * 3, "discriminator": [[0.5, 0.6, None]] * 3},
    },
    "chosen_epoch": [30, 20, 10],
    "chosen_log_likelihood": [12.0, 20.0, -20.0],
    "failed": {"5": {"epoch": 15, "reason": "x"}},
}
BANDWIDTH = {
    "seeds": [3, 4, 5],
    "sigmas": SIGMAS,
    "curve": [  # [seed][draw][fold]
        [[[1.0, 2.0, 1.5, -3.0]], [[1.1, 2.1, 1.4, -3.1]]],
        [[[0.0, 1.0, 2.0, 1.0]], [[0.0, 1.0, 2.0, 1.0]]],
        None,
    ],
    "chosen": [[[0.2], [0.2]], [[0.4], [0.4]], None],
}
ROWS = [
    {
        "title": "DBN",
        "seeds": [],
        "failed": 3,
        "published": {
            "log_likelihood": 138,
            "standard_error": 2,
            "uncertainty_over": "test images",
        },
    },
    {"title": "</script> & 'x'", "seeds": [(0, 220.0), (1, 226.0)], "failed": 1, "published": None},
]
PLOTS: dict[str, Callable[[str], bytes]] = {
    "learning": lambda name: curves.learning(TRAINING, "A on B", name),
    "bandwidth": lambda name: curves.bandwidth(BANDWIDTH, "A on B", name),
    "dots": lambda name: curves.dots(ROWS, "Test log-likelihood on B", name),
}


def text_of(svg: bytes) -> str:
    return " ".join(" ".join(etree.fromstring(svg).itertext()).split())


@pytest.mark.parametrize("kind", PLOTS)
def test_a_plot_can_stand_in_a_strict_page(kind: str) -> None:
    svg = PLOTS[kind]("x")
    root = etree.fromstring(svg)
    checked_svg(svg)
    assert b"style=" not in svg
    assert b"<style" not in svg
    assert b"<script" not in svg
    assert b"<!--" not in svg
    ids = root.xpath("//@id")
    assert len(ids) == len(set(ids))
    references = list(root.xpath("//@href")) + [c[5:-1] for c in root.xpath("//@clip-path")]
    assert references
    assert {r.removeprefix("#") for r in references} <= set(ids)
    assert root.get("role") == "img"
    assert set(root.get("aria-labelledby").split()) <= set(ids)
    assert [etree.QName(child).localname for child in root[:2]] == ["title", "desc"]
    assert root[1].text
    assert "currentColor" in root.xpath("//*[local-name()='text']/@fill")


def test_plots_of_one_page_share_no_id() -> None:
    ids = [
        name
        for a in "ab"
        for plot in PLOTS.values()
        for name in etree.fromstring(plot(f"{a}{plot}")).xpath("//@id")
    ]
    assert len(ids) == len(set(ids))


def test_the_same_bytes_again_and_in_a_new_process() -> None:
    code = (
        "import sys; sys.path.insert(0, '.'); from tests.figures import test_plots as t; "
        "import hashlib; "
        "print([hashlib.sha256(plot('x')).hexdigest() for plot in t.PLOTS.values()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        # Of another order of sets than that of this process.
        env={
            **os.environ,
            "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1",
        },
        cwd=package_root(),
    )
    digests = [hashlib.sha256(plot("x")).hexdigest() for plot in PLOTS.values()]
    assert done.stdout == f"{digests}\n"


def test_axes_units_seeds_and_failures_are_named() -> None:
    learning, bandwidth, dots = (text_of(plot("x")) for plot in PLOTS.values())
    for text in (learning, bandwidth):
        assert "nats per image" in text
        assert "n = 3 seeds" in text
        assert "seed 3" in text
        assert "seed 5 (failed)" in text
    assert "epoch" in learning
    assert "generator" in learning
    assert "sigma (pixel units" in bandwidth
    assert "nats per image" in dots
    assert "n = 2, 1 failed" in dots
    assert "n = 0, 3 failed" in dots
    assert "published ± SE" in dots
    assert "</script> & 'x'" in dots


def test_the_chosen_epoch_of_a_failed_seed_is_not_marked() -> None:
    """Marks are drawn twice for a sound seed (plot and legend), once for a failed one."""
    marks = [
        use.get("class")
        for use in etree.fromstring(PLOTS["learning"]("x")).xpath("//*[local-name()='use']")
    ]
    for seed, count in enumerate((2, 2, 1)):
        assert sum(f"fill-series-{seed}" in (mark or "") for mark in marks) == count


def test_a_failed_block_still_has_plots() -> None:
    nothing = {**BANDWIDTH, "curve": [None] * 3, "chosen": [None] * 3}
    assert text_of(curves.bandwidth(nothing, "A on B", "x")).count("(failed)") == 3
    empty = {
        **TRAINING,
        "curve": {"epoch": [], "log_likelihood": [], "losses": {}},
        "chosen_epoch": [None] * 3,
        "chosen_log_likelihood": [None] * 3,
        "failed": {seed: {"epoch": 1, "reason": "x"} for seed in "345"},
    }
    assert text_of(curves.learning(empty, "A on B", "x")).count("(failed)") == 3


def test_every_fold_has_its_line_and_mark() -> None:
    folded = {
        **BANDWIDTH,
        "curve": [[[[1.0, 2.0, 1.5, -3.0], [0.0, 1.0, 3.0, 1.0]]], None, None],
        "chosen": [[[0.2, 0.4]], None, None],
    }
    root = etree.fromstring(curves.bandwidth(folded, "A on B", "x"))
    marks = [use.get("class") or "" for use in root.xpath("//*[local-name()='use']")]
    assert sum("fill-series-0" in one for one in marks) == 3  # two folds, and the legend
    assert "sample draw and fold" in root[1].text
    assert "and fold" not in text_of(PLOTS["bandwidth"]("x"))


def test_many_seeds() -> None:
    seeds = list(range(20))
    many = {
        **TRAINING,
        "seeds": seeds,
        "failed": {},
        "chosen_epoch": [30] * 20,
        "chosen_log_likelihood": [1.0] * 20,
        "curve": {
            "epoch": [10, 20, 30],
            "log_likelihood": [[float(s) for s in seeds]] * 3,
            "losses": {},
        },
    }
    assert "seeds 0 to 19" in text_of(curves.learning(many, "A on B", "x"))


def _luminance(colour: str) -> float:
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_lines_stand_out_from_white_paper() -> None:
    """WCAG 2.2, 1.4.11: graphics at 3:1."""
    assert all(1.05 / (_luminance(colour) + 0.05) >= 3 for colour in SERIES)


def test_the_look_is_seaborns() -> None:
    """What the theme writes out is all that seaborn changes of matplotlib's defaults and the theme
    does not itself.
    """
    style = {**seaborn.axes_style("ticks"), **seaborn.plotting_context("paper")}
    changed = {
        name: value for name, value in style.items() if value != matplotlib.rcParamsDefault[name]
    }
    unused = {"image.cmap", "font.sans-serif"}  # a plot here has no image, and names its font
    assert {
        name: value for name, value in changed.items() if name not in OWN.keys() | unused
    } == SEABORN
    assert not SEABORN.keys() & OWN.keys()


def test_a_readers_own_settings_change_no_figure() -> None:
    plain = curves.bandwidth(BANDWIDTH, "A on B", "x")
    with matplotlib.rc_context({"axes.linewidth": 5, "xtick.top": True, "xtick.direction": "in"}):
        assert curves.bandwidth(BANDWIDTH, "A on B", "x") == plain
