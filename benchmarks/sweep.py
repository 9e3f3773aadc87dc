"""Blocks of seeds of the released MNIST recipe beside the same seeds one after another."""

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.images import handwriting
from benchmarks.protocol import SAMPLES, TEST, VALID, whole_protocol
from benchmarks.timing import interleaved
from benchmarks.training import released_nets, step_flops, training_steps

BLOCKS = (1, 2, 5, 10)
#: Steps of a timed call: few on a CPU, where a step takes tens of milliseconds; more on a GPU, so
#: that its queue never runs empty.
STEPS = {"cpu": 5, "cuda": 50}
#: Sides of the square float32 products, the quickest of which is the device's peak.
SIDES = {"cpu": (1024, 2048, 4096), "cuda": (2048, 4096, 8192)}


def _products(device: torch.device) -> dict[int, Callable[[], object]]:
    """Number of operations -> a product with as many."""
    products: dict[int, Callable[[], object]] = {}
    for side in SIDES[device.type]:
        operand = torch.rand(side, side, device=device)
        products[2 * side**3] = partial(torch.mm, operand, operand)
    return products


def _likelihood(device: torch.device, seeds: int) -> Callable[[], object]:
    """Samples and the whole Parzen protocol of every seed of a block."""
    model = released_nets(seeds, device=device)
    valid = handwriting(VALID, 1, held_out=True).to(device)
    test = handwriting(TEST, 2, held_out=True).to(device)

    def call() -> None:
        for samples in model.sample(SAMPLES, 0):
            whole_protocol(samples, valid, test)

    return call


def benchmark(
    device: torch.device, repeats: int, blocks: tuple[int, ...] = BLOCKS
) -> dict[str, str]:
    """Rows of the table; on a GPU also samples and log-likelihoods of the largest block."""
    steps = STEPS[device.type]
    products = _products(device)
    contenders = {f"product {flops}": call for flops, call in products.items()}
    for block in blocks:
        contenders[f"block {block}"] = training_steps(released_nets(block, device=device), steps)
    timings = interleaved(contenders, repeats, device)
    peak = max(flops / timings[f"product {flops}"].median for flops in products)
    rows = {
        "device": device.type,
        "float32 peak": f"{peak / 1e9:,.0f} GFLOP/s, the best product of this run",
    }
    rates = {block: block * steps / timings[f"block {block}"].median for block in blocks}
    for block, rate in rates.items():
        seeds = "seed, one after another" if block == 1 else "seeds side by side"
        share = rate * step_flops() / peak
        gain = rate / rates[blocks[0]]
        rows[f"{block} {seeds}"] = (
            f"{rate:.4g} seed-steps/s, {share:.0%} of the peak, "
            f"{gain:.2f} times one after another; {steps} steps: {timings[f'block {block}']}"
        )
    if device.type == "cuda":
        name = f"samples and Parzen protocol, {blocks[-1]} seeds"
        likelihood = interleaved({name: _likelihood(device, blocks[-1])}, repeats, device)
        rows[name] = str(likelihood[name])
    return rows
