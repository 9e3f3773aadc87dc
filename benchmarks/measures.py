"""What the dearest measures of a row on MNIST cost: many samples, and annealed importance sampling.

Both are loops of equal steps, so that a few of them tell the whole. Seconds are those of the
processor, all threads together: on a machine with other work they are nearer to an idle one's.
"""

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.images import handwriting
from benchmarks.parzen import GRID
from benchmarks.training import released_nets
from replicate.likelihood.parzen import kernel_sums
from replicate.measures.annealing import Annealing, forward, temperatures
from replicate.measures.hamiltonian import Decoder, Observations
from replicate.measures.model_set import FIRST_DRAW
from replicate.measures.parzen_many import CHUNK
from replicate.params import AnnealingSettings, MeasureSettings

#: Validation images that choose the bandwidth, and test images.
ROWS = 1_000 + 10_000
#: Samples of the published columns.
PUBLISHED = 10_000_000
#: Chains that go on at once, and their temperatures, of the timed part.
CHAINS, TEMPERATURES = 320, 3


def processor_seconds(call: Callable[[], object], repeats: int) -> float:
    """The median of the processor's seconds of a call, after one to warm up."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def transitions(settings: AnnealingSettings) -> int:
    """Transitions of all chains of a row and seed (`annealed_likelihood`)."""
    choosing = settings.validation * len(settings.sigmas)
    of_test = settings.images * settings.chains
    of_simulated = 2 * settings.simulated * settings.chains
    # No transition follows the last weight.
    return (choosing + of_test + of_simulated) * (settings.temperatures - 1)


def benchmark(repeats: int) -> dict[str, str]:
    """Rows of the table: the timed part, and what a seed takes by it."""
    model = released_nets()
    rows = handwriting(ROWS, 1, held_out=True)
    chunk = processor_seconds(
        lambda: kernel_sums(model.sample(CHUNK, FIRST_DRAW)[0], rows, GRID), repeats
    )
    settings = AnnealingSettings()
    decoder = Decoder(model.prior(), model.decode)
    sigma = torch.full((1, CHAINS), 0.2, dtype=torch.float64)
    observations = Observations(rows[None, :CHAINS], sigma)
    annealing = Annealing(
        decoder, model.streams, FIRST_DRAW, temperatures(TEMPERATURES), settings.leapfrogs
    )
    step_sizes = torch.full((TEMPERATURES - 1, 1), 0.01, dtype=torch.float64)
    part = processor_seconds(lambda: forward(annealing, observations, step_sizes), repeats)
    transition = part / (CHAINS * (TEMPERATURES - 1))
    many = MeasureSettings().many_samples
    hours = {
        "many": chunk * many / CHUNK / 3600,
        "published": chunk * PUBLISHED / CHUNK / 3600,
        "annealed": transition * transitions(settings) / 3600,
    }
    return {
        f"{CHUNK:,} samples, {ROWS:,} rows, ten sigmas": f"{chunk:.3g} s",
        f"{many:,} samples, a seed": f"{hours['many']:.2g} hours of one core",
        f"{PUBLISHED:,} samples, a seed": f"{hours['published']:.2g} hours of one core",
        "annealing, a transition of a chain": f"{1e3 * transition:.3g} ms",
        "annealing by the defaults, a seed": f"{hours['annealed']:.2g} hours of one core",
    }
