"""Training beside a public loop: the same nets, data and backend in the structure of `gan.py`.

That is eriklindernoren/PyTorch-GAN, implementations/gan/gan.py, written anew: a DataLoader, Adam
for both players, binary cross-entropy of probabilities, one pass for G and then one for D on the
same images, detached. Only the loop is its own: the nets are the released MNIST recipe's.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.timing import interleaved
from benchmarks.training import (
    BATCH,
    STEPS,
    STEPS_PER_EPOCH,
    has_bfloat16,
    in_bfloat16,
    released_nets,
    training_images,
    training_steps,
)


class Maxout(nn.Module):
    """Units that are the largest of some linear pieces."""

    def __init__(self, into: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(into, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """(n, into) to (n, units)."""
        pieces: Tensor = self.linear(x).view(len(x), self.pieces, -1)
        return pieces.amax(1)


def generator() -> nn.Module:
    """The released recipe's G."""
    return nn.Sequential(
        nn.Linear(100, 1200),
        nn.ReLU(),
        nn.Linear(1200, 1200),
        nn.ReLU(),
        nn.Linear(1200, 784),
        nn.Sigmoid(),
    )


def discriminator() -> nn.Module:
    """The released recipe's D; it ends in a probability, as `gan.py` wants it."""
    return nn.Sequential(
        nn.Dropout(0.2),
        Maxout(784, 240, 5),
        nn.Dropout(0.5),
        Maxout(240, 240, 5),
        nn.Dropout(0.5),
        nn.Linear(240, 1),
        nn.Sigmoid(),
    )


def public_epoch(train: Tensor) -> Callable[[], object]:
    """A call that trains one epoch on the images."""
    torch.manual_seed(0)
    g, d, loss = generator(), discriminator(), nn.BCELoss()
    loader = DataLoader(TensorDataset(train), batch_size=BATCH, shuffle=True)
    g_optimiser, d_optimiser = (
        torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (g, d)
    )

    def epoch() -> None:
        for (images,) in loader:
            valid, fake = torch.ones(len(images), 1), torch.zeros(len(images), 1)
            g_optimiser.zero_grad()
            generated = g(torch.randn(len(images), 100))
            loss(d(generated), valid).backward()
            g_optimiser.step()
            d_optimiser.zero_grad()
            d_loss = (loss(d(images), valid) + loss(d(generated.detach()), fake)) / 2
            d_loss.backward()
            d_optimiser.step()

    return epoch


def benchmark(repeats: int) -> dict[str, str]:
    """Rows of the table."""
    train = training_images()[: STEPS * BATCH]
    contenders = {"ours": training_steps(released_nets()), "public": public_epoch(train)}
    if has_bfloat16():
        contenders["bfloat16"] = in_bfloat16(training_steps(released_nets()))
    times = interleaved(contenders, repeats)
    seconds = {name: timing.median * STEPS_PER_EPOCH / STEPS for name, timing in times.items()}
    labels = {
        "public": "public loop",
        "ours": "here (at least 1.5 times quicker)",
        "bfloat16": "here in bfloat16 (at least 2.5 times quicker)",
    }
    rows = {}
    for name, label in labels.items():
        if name in seconds:
            text = f"{seconds[name]:.2f} s ({STEPS} steps: {times[name]})"
            if name != "public":
                text += f", {seconds['public'] / seconds[name]:.2f} times"
            rows[f"MNIST epoch, {label}"] = text
    return rows
