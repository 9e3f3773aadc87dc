"""The benchmarks measure what they say: peers compute the density, nets have the same size, fits
find exponents.
"""

import sys
from functools import partial

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import (
    engines,
    growth,
    machine,
    measures,
    memory,
    one_process,
    peers,
    protocol,
    public_loop,
    scoring,
    sweep,
    training,
)
from benchmarks.images import handwriting
from benchmarks.parzen import GRID, direct, ten_sigmas
from benchmarks.timing import Timing, interleaved
from replicate.likelihood.parzen import log_densities
from replicate.params import AnnealingSettings, Compute
from replicate.training.backend import configure

CPU = torch.device("cpu")


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """60 samples and 25 rows: more than one minibatch of the released code, and a part of one."""
    return handwriting(60, 0), handwriting(25, 1, held_out=True)


@pytest.mark.parametrize("held_out", [False, True])
def test_images_are_pixels_of_8_bits_with_the_looks_of_handwriting(held_out: bool) -> None:
    made = handwriting(500, 0, held_out)
    assert made.shape == (500, 784)
    assert made.min() == 0
    assert made.max() == 1
    torch.testing.assert_close(made * 255, (made * 255).round(), rtol=0, atol=1e-4)
    assert 0.14 < (made > 0).float().mean() < 0.22  # MNIST: 0.19
    assert torch.equal(made, handwriting(500, 0, held_out))
    assert not torch.equal(made, handwriting(500, 1, held_out))


@pytest.mark.parametrize("sigma", [0.1, 0.2, 1.0])
@pytest.mark.parametrize(
    "peer",
    [peers.released_numpy, peers.released_torch, partial(peers.kernel_density, leaf_size=60)],
)
def test_peers_agree_with_the_direct_sum(images, peer: peers.Estimate, sigma: float) -> None:
    """In a loop's own precision; scikit-learn computes in float64 whatever it is given."""
    error = peers.Error.of(peer(*images, sigma), direct(*images, sigma))
    assert error.largest < (1e-9 if isinstance(peer, partial) else 2e-3)


@pytest.mark.parametrize("peer", [peers.released_numpy, peers.released_torch])
def test_the_released_grid_is_one_pass_for_each_sigma(images, peer: peers.Estimate) -> None:
    found = peers.released_grid(peer, *images).double()
    torch.testing.assert_close(found, log_densities(*images, GRID), rtol=0, atol=2e-3)


def test_the_table_of_peers_has_a_row_for_each(images) -> None:
    rows = peers.benchmark(1, samples=60, rows=10, few_rows=5)
    assert {"this project", "PyKeOps", *peers.estimates(60)} <= rows.keys()
    assert "times ours; error mean" in rows["scikit-learn, exact (one leaf)"]
    assert sum(name.startswith("ten sigmas") for name in rows) == 3


def test_streamed_sums_are_those_of_all_samples_at_once(monkeypatch) -> None:
    x = handwriting(20, 1, held_out=True)
    monkeypatch.setattr(protocol, "CHUNK", protocol.BLOCK)
    count = 2 * protocol.BLOCK + 100
    total, seconds, alone = protocol.streamed(x, count)
    whole = torch.cat(list(protocol.chunks(count)))
    assert len(whole) == total.count == count
    torch.testing.assert_close(
        total.log_densities(), log_densities(whole, x, [protocol.SIGMA]), rtol=0, atol=1e-9
    )
    assert min(seconds, alone) > 0


def test_public_nets_have_as_many_parameters_as_ours() -> None:
    def count(net: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in net.parameters())

    ours = training.released_nets().parameter_count()
    assert ours == {
        "generator": count(public_loop.generator()),
        "discriminator": count(public_loop.discriminator()),
    }


def test_maxout_takes_the_largest_piece_as_ours_does() -> None:
    layer, x = public_loop.Maxout(6, 3, 2), torch.rand(4, 6)
    linear = layer.linear(x)
    torch.testing.assert_close(layer(x), torch.maximum(linear[:, :3], linear[:, 3:]))


def test_the_public_loop_moves_both_nets(monkeypatch) -> None:
    nets = []
    for name in ("generator", "discriminator"):
        net = getattr(public_loop, name)()
        nets.append((net, [parameter.clone() for parameter in net.parameters()]))
        monkeypatch.setattr(public_loop, name, lambda net=net: net)
    public_loop.public_epoch(handwriting(200, 0))()
    for net, before in nets:
        assert all(
            not torch.equal(new, old) for new, old in zip(net.parameters(), before, strict=True)
        )


def test_operations_of_a_step_by_hand() -> None:
    """Forward and weights on all rows of each layer; towards the input on those that need it."""
    g = 100 * 100 * 1200 * 2 + 100 * 1200 * (1200 + 784) * 3
    d = 200 * 784 * 1200 * 2 + 100 * 784 * 1200 + 200 * 240 * (1200 + 1) * 3
    assert training.step_flops() == 2 * (g + d)


def test_training_steps_take_whole_batches_and_begin_again(monkeypatch) -> None:
    model, seen = training.released_nets(2, batch=2000), []
    monkeypatch.setattr(
        model, "train_step", lambda batch, epoch, step: seen.append((tuple(batch.shape), step))
    )
    training.training_steps(model, 4)()
    assert seen == [((2, 2000, 784), step) for step in range(4)]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_exponents_of_power_laws_are_found(power: float) -> None:
    sizes = [1000, 2000, 4000, 32_000]
    assert growth.exponent(sizes, [0.3 * size**power for size in sizes]) == pytest.approx(
        power, abs=1e-9
    )


def test_wide_rows_have_the_dimension_asked_for() -> None:
    assert growth._wide(5, 98, 0).shape == (5, 98)
    assert growth._wide(5, 3136, 0).shape == (5, 3136)


@pytest.mark.parametrize("axis", growth.AXES, ids=lambda axis: axis.name)
def test_every_axis_of_growth_has_a_case_that_runs(axis: growth.Axis) -> None:
    axis.case(1)()
    assert axis.sizes == tuple(sorted(axis.sizes))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.slow
def test_memory_growth_is_measured_in_a_fresh_process() -> None:
    (tens_of_mib,) = memory.peak_growths(ten_sigmas, 1000)
    assert 1 < tens_of_mib < 200


def test_a_block_of_seeds_has_a_rate_and_a_share(monkeypatch) -> None:
    monkeypatch.setattr(sweep, "SIDES", {"cpu": (128,)})
    monkeypatch.setattr(sweep, "STEPS", {"cpu": 1})
    rows = sweep.benchmark(CPU, 1, blocks=(1, 2))
    assert rows["device"] == "cpu"
    assert "1.00 times one after another" in rows["1 seed, one after another"]
    assert "seed-steps/s" in rows["2 seeds side by side"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_samples_and_log_likelihoods_are_timed_too(monkeypatch) -> None:
    monkeypatch.setattr(sweep, "SIDES", {"cuda": (128,)})
    backend = configure(Compute(device="cuda", threads=1))
    rows = sweep.benchmark(backend.device, 1, blocks=(1, 2))
    assert "samples and Parzen protocol, 2 seeds" in rows


def test_commands_are_read_from_a_dry_run() -> None:
    text = (
        "rule fetch:\n    jobid: 7\nShell command: \n        python -m replicate fetch --params "
        "'{ \"a\": 1 }'"
        "             --out x.json 2>&1 | tee -i logs/x.log\n\nrule metrics:\n"
        "Shell command: python -m replicate metrics --table a --out b 2>&1 | tee -i "
        "logs/metrics.log\n"
    )
    assert engines.commands(text) == [
        ["python", "-m", "replicate", "fetch", "--params", '{ "a": 1 }', "--out", "x.json"],
        ["python", "-m", "replicate", "metrics", "--table", "a", "--out", "b"],
    ]


def test_one_process_runs_stages_and_tools_and_stops_at_a_failure(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["before"])
    manifest, tool = tmp_path / "digits.json", tmp_path / "tool.py"
    one_process.run(
        ["python", "-m", "replicate", "fetch", "--dataset", "digits", "--out", str(manifest)]
    )
    assert manifest.is_file()
    tool.write_text(
        "import pathlib, sys\npathlib.Path(sys.argv[1]).touch()\nsys.exit(int(sys.argv[2]))\n"
    )
    one_process.run(["python", str(tool), str(tmp_path / "made"), "0"])
    assert (tmp_path / "made").is_file()
    with pytest.raises(SystemExit):
        one_process.run(["python", str(tool), str(tmp_path / "made"), "3"])
    with pytest.raises(SystemExit):
        one_process.run(["python", "-m", "replicate", "no-such-stage"])


def test_contenders_take_turns() -> None:
    called: list[str] = []
    times = interleaved({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 2)
    assert called == ["a", "b"] * 3
    assert times.keys() == {"a", "b"}
    assert isinstance(times["a"], Timing)


def test_facts_of_the_machine_name_versions_and_libraries() -> None:
    facts = machine.facts(configure(Compute(device="cpu", threads=1)))
    assert facts["torch"].startswith(torch.__version__)
    assert {"processor", "cores", "threads", "NumPy"} <= facts.keys()
    assert all(facts.values())


def test_the_command_prints_the_machine_and_the_tables_asked_for(monkeypatch, capsys) -> None:
    monkeypatch.setitem(
        command.TABLES, "peers", command.Table("", lambda given, _: {"row": str(given.repeats)})
    )
    monkeypatch.setattr(
        sys, "argv", ["benchmarks", "peers", "--repeats", "3", "--threads", "1", "--device", "cpu"]
    )
    command.main()
    printed = capsys.readouterr().out
    assert printed.startswith("machine\n  processor")
    assert printed.endswith("peers\n  row  3\n\n")


@pytest.mark.parametrize("words", [["--help"], ["no-such-table"]])
def test_the_command_names_its_tables(words: list[str], monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    with pytest.raises(SystemExit) as ended:
        command.main()
    captured = capsys.readouterr()
    assert all(name in captured.out + captured.err for name in command.TABLES)
    assert ended.value.code == (0 if words == ["--help"] else 2)


def test_transitions_of_a_row_by_hand() -> None:
    """2 images for each of 3 widths, 5 test images and 2 times 4 own ones by 7 chains; 10 - 1."""
    settings = AnnealingSettings(
        images=5, validation=2, simulated=4, chains=7, temperatures=10, sigmas=(0.1, 0.2, 0.3)
    )
    assert measures.transitions(settings) == (6 + 35 + 56) * 9


def test_hours_of_many_samples_are_those_of_their_chunks(monkeypatch) -> None:
    """A chunk that takes 3.6 s: 100 and 1,000 of them."""
    monkeypatch.setattr(measures, "ROWS", 60)
    monkeypatch.setattr(measures, "CHAINS", 4)
    monkeypatch.setattr(measures, "processor_seconds", lambda call, repeats: (call(), 3.6)[1])
    rows = measures.benchmark(1)
    assert rows["1,000,000 samples, a seed"] == "0.1 hours of one core"
    assert rows["10,000,000 samples, a seed"] == "1 hours of one core"


@pytest.mark.slow
def test_score_is_timed_on_files_that_it_takes(monkeypatch) -> None:
    sizes = {"samples": 200, "test": 60, "valid": 50, "train": 70}
    monkeypatch.setattr(scoring, "SIZES", sizes)
    ((row, text),) = scoring.benchmark(1).items()
    assert "200 samples" in row
    assert 0 < float(text.split()[0]) < 100


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "sweep", "--device", "cuda"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert "this torch finds no GPU" in capsys.readouterr().err
