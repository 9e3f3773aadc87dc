"""Reasons to distrust an estimate, found by looking at the samples: each a sentence with a remedy.

A trap is raised only where honest samples practically never look so; its threshold stands in
`Thresholds` with its reason. Real images that were held out, cluster centres and the samples of a
small VAE raise none (`tests/scoring/test_clean.py`). Whatever is found, the samples are scored as
they are.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.scoring.data import training_images
from replicate.scoring.rows import Pixels, Rows, turned

#: Samples of the published estimates (released `parzen_ll.py`, `--num_samples`).
PUBLISHED_SAMPLES = 10_000
#: Samples that are looked at, the first ones: bounds time and memory where there are millions.
LOOKED_AT = 50_000
#: Samples from which on their order says something.
FEWEST_IN_ORDER = 100
#: Samples whose nearest images are looked for, evenly spread.
NEIGHBOURS = 512
#: Samples and images by which turned images are recognised.
TURNED_SAMPLES, TURNED_IMAGES = 256, 4096
#: Rows of distances at a time.
DISTANCE_ROWS = 256


@dataclass(frozen=True)
class Thresholds:
    """When samples look so much unlike honest ones that a sentence is due.

    Attributes:
        beyond: share of the data's range by which a pixel must lie outside to count as outside.
        outside: share of such pixels from which on the range is another one. Decoders with linear
            outputs have some (a VAE on digits 0.3 %); in another range it is the ink or the
            background, 10 % and more.
        tolerance: share of a range by which the lowest and the highest pixel may miss its ends.
        bounded: share of the declared range that the data must fill for it to be their range.
        deviation: factor by which the deviation of all pixels may differ from the data's, where
            they do not. Images of one data set differ by less; another scale by 50 and more.
        narrow: share of the data's range that all samples together must fill. Even samples of one
            class have background and ink.
        missed: share of the data's range above its lower end that all samples together must enter,
            else the range may be another one inside the data's, as 0..1 lies in -1..1.
        stretched: share of samples that reach both ends of the range exactly, from which on they
            were rescaled image by image; unless the data do so too (`same`). Generators reach an
            end exactly by rounding alone.
        same: share of the data's own images that do so, from which on nothing can be told.
        peak_pixels: median number of pixels at the largest value, up to which it is a maximum that
            was scaled and no saturation; or that of the data, if it is more.
        levels: different values of all pixels, up to which they are no grey values.
        nearer: the mean distance to the nearest images, after a turn and relative to before, from
            which on the turn is right. Right images are 0.3 to 2 farther away after a turn, and of
            a symmetrical shape equally far.
        most: share of samples that the right turn brings nearer.
        equal: share of samples that equal an earlier one. Two draws of a continuous density never
            do; a blank image may come more often.
        chance: how many times as often as among the data's own images samples must be equal, or
            equal or near to images of the data. In few pixels, or in few directions and beside many
            training images, real images are so by chance: of 2 pixels two in five equal one.
        copies: share of samples that are images of the data, pixel by pixel. In 784 pixels not one
            is so by chance.
        near: the distance to the nearest training image relative to that to the nearest held-out
            image, from which on a sample is nearly a copy. Of 512 held-out MNIST images not one is
            below 0.57; copies with noise of 0.05 a pixel have 0.3.
        near_share: share of such samples. Of held-out digits of 8x8 pixels, where images are dense,
            2 % are so by chance.
        correlation: correlation of neighbours, or of images at some other lag, of chains.
            Independent draws have 0; draws that are sorted by class, or come class by class in
            turn, have the share of the variance that lies between classes (0.20 of MNIST, 0.42 of
            digits), and the estimate does not depend on that; where it is more than this, their
            order cannot be told from a chain's. Of chains with less, a third of the samples or more
            count.
        deviations: standard deviations of the correlation of independent draws that must be
            exceeded too.
    """

    beyond: float = 0.25
    outside: float = 0.01
    tolerance: float = 0.05
    bounded: float = 0.5
    deviation: float = 3.0
    narrow: float = 0.25
    missed: float = 0.2
    stretched: float = 0.999
    same: float = 0.99
    peak_pixels: float = 3.0
    levels: int = 2
    nearer: float = 0.93
    most: float = 0.75
    equal: float = 0.01
    chance: float = 3.0
    copies: float = 0.001
    near: float = 0.5
    near_share: float = 0.05
    correlation: float = 0.5
    deviations: float = 6.0


THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Trap:
    """A reason to distrust the estimate.

    Attributes:
        name: of the kind.
        sentence: what was seen, and what to do.
        fix: the fixes that `--fix` has for it; empty where the samples must be made anew.
    """

    name: str
    sentence: str
    fix: tuple[str, ...] = ()


@dataclass(frozen=True)
class Range:
    """How samples come from the data's range: pixel = shift + scale * (what it should be).

    Attributes:
        words: how the samples lie.
        shift, scale: undo them to get the data's range.
    """

    words: str
    shift: float
    scale: float

    def undone(self, pixels: Pixels) -> Pixels:
        """The pixels in the data's range."""
        brought: Pixels = np.divide(pixels - np.float32(self.shift), np.float32(self.scale))
        return brought


def other_range(rows: Rows, splits: Splits) -> Range | None:
    """The range that the samples have instead of the data's; None where it is the data's.

    Where the data have no bounds that they reach (CIFAR-10's contrast normalisation), deviations
    are compared instead.

    Ranges that are in use are tried: those of bytes, of tanh, of pixels less a half, of pixels that
    were standardised by the data's mean and deviation, and of bytes that were divided twice.
    """
    low, high = splits.value_range
    span = high - low
    least, most = float(rows.pixels.min()), float(rows.pixels.max())
    reference = _reference(splits)
    if float(reference.max() - reference.min()) < THRESHOLDS.bounded * span:
        deviation = float(reference.std())
        # Images of one value alone have none, to which no other one has a ratio.
        if deviation == 0:
            return None
        ratio = float(rows.pixels.std()) / deviation
        if 1 / THRESHOLDS.deviation <= ratio <= THRESHOLDS.deviation:
            return None
        return Range(f"from {least:.4g} to {most:.4g}", math.nan, math.nan)
    slack = THRESHOLDS.beyond * span
    # By shares of pixels, as decoders with linear outputs step over the edge now and then.
    is_outside = (rows.pixels < low - slack) | (rows.pixels > high + slack)
    is_inside = float(is_outside.mean()) < THRESHOLDS.outside
    is_wide = most - least >= THRESHOLDS.narrow * span
    # A range within the data's: wide enough, but none of it where the background should be.
    is_low = least <= low + THRESHOLDS.missed * span
    if is_inside and is_wide and is_low:
        return None
    for candidate in _candidates(splits):
        bottom = candidate.shift + candidate.scale * low
        top = candidate.shift + candidate.scale * high
        width = abs(top - bottom)
        tolerance = THRESHOLDS.tolerance * width
        # The background of most data sets is at the bottom, so the lowest pixel is met; the highest
        # may not be.
        covers = abs(least - bottom) <= 2 * tolerance and most - least >= 0.5 * width
        if covers and most <= top + tolerance:
            return candidate
    if is_inside:
        return None
    return Range(f"from {least:.4g} to {most:.4g}", math.nan, math.nan)


def _candidates(splits: Splits) -> Iterator[Range]:
    """The ranges in use, the most frequent first."""
    low, high = splits.value_range
    span = high - low
    for bottom, top, words in (
        (0.0, 255.0, "from 0 to 255"),
        (-1.0, 1.0, "from -1 to 1"),
        (0.0, 1.0, "from 0 to 1"),
        (-0.5, 0.5, "from -0.5 to 0.5"),
        (0.0, 1 / 255, "from 0 to 1/255 (divided twice)"),
    ):
        scale = (top - bottom) / span
        # The data's own range is no other one.
        if (bottom, top) != (low, high):
            yield Range(words, bottom - scale * low, scale)
    pixels = _reference(splits)
    mean, deviation = float(pixels.mean()), float(pixels.std())
    if deviation > 0:
        words = f"standardised (less {mean:.4f}, divided by {deviation:.4f})"
        yield Range(words, -mean / deviation, 1 / deviation)


def _reference(splits: Splits) -> Pixels:
    """Images of the data by which samples are judged: training images, else validation images."""
    # Training images, which models see anyway; held-out ones are looked at for copies alone.
    split = "train" if splits.count("train") else "valid"
    return splits.flat(split)[: 2 * PUBLISHED_SAMPLES]


def _held_out(splits: Splits) -> tuple[Pixels, Pixels]:
    """The validation and test images of all folds, in two parts, the smaller one first."""
    # With folds, these images are validation images in one and test images in another.
    if splits.folds:
        pool = splits.flat("labelled")
        return pool[1::2], pool[::2]
    valid = splits.flat("valid")
    test = splits.flat("test")
    return (valid, test) if len(valid) <= len(test) else (test, valid)


def traps(rows: Rows, splits: Splits, at_edge: Sequence[float]) -> list[Trap]:
    """All that speaks against an estimate, the gravest first.

    Args:
        rows: the samples.
        splits: the data.
        at_edge: the bandwidths that were chosen at an edge of the grid.
    """
    findings: list[Trap] = []
    interval = other_range(rows, splits)
    seen = replace(rows, pixels=rows.pixels[:LOOKED_AT])
    if interval is not None:
        findings.append(_range_trap(interval, splits))
        if math.isfinite(interval.scale):
            # Into the data's range, with which all later traps compare.
            seen = replace(seen, pixels=interval.undone(seen.pixels))
    findings += _of_values(seen, splits)
    findings += _of_position(seen, splits)
    findings += _of_copies(seen, splits)
    findings += _of_count(rows)
    findings += _of_order(seen.pixels)
    for sigma in at_edge:
        findings.append(_edge_trap(sigma))
    return findings


def _range_trap(interval: Range, splits: Splits) -> Trap:
    low, high = splits.value_range
    start = f"the pixels lie {interval.words}, those of the data from {low:g} to {high:g}"
    if not math.isfinite(interval.scale):
        return Trap(
            "range",
            f"{start}: look at the generator's last layer and at what was done to its outputs, and "
            "score what it makes in the data's range.",
        )
    return Trap(
        "range",
        f"{start}: nats of two ranges cannot be compared; save the samples in the data's range, or "
        "`--fix range` brings them there.",
        ("range",),
    )


def _of_values(rows: Rows, splits: Splits) -> Iterator[Trap]:
    """Traps of the values of pixels: binarised, or rescaled image by image."""
    reference = _reference(splits)
    # Images of one value are a collapse, of which other traps tell.
    has_values = bool(rows.pixels.min() < rows.pixels.max())
    if has_values and _are_bits(rows.pixels) and not _are_bits(reference):
        yield Trap(
            "binarised",
            "the pixels have two values only and those of the data many: score the generator's "
            "grey values (means) instead of bits, or compare only with other binary samples.",
        )
        return
    low, high = splits.value_range
    share, peaks = _stretched(rows.pixels, low, high)
    own_share, own_peaks = _stretched(reference, low, high)
    few_peaks = max(THRESHOLDS.peak_pixels, own_peaks)
    is_stretched = share >= THRESHOLDS.stretched and peaks <= few_peaks
    if is_stretched and own_share < THRESHOLDS.same:
        yield Trap(
            "rescaled",
            f"{100 * share:.1f} % of the samples reach both {low:g} and {high:g} exactly, of the "
            f"data's images {100 * own_share:.0f} %: they were rescaled image by image (plots and "
            "`normalize` of image grids do that), which cannot be undone; save the generator's own "
            "outputs.",
        )


def _are_bits(pixels: Pixels) -> bool:
    """Whether the pixels have two values at most."""
    first = pixels[:NEIGHBOURS]
    # Few rows first: most samples show more levels at once, and sorting all pixels is slow.
    levels = np.unique(first)
    if len(levels) > THRESHOLDS.levels:
        return False
    return bool(np.isin(pixels, levels).all())


def _stretched(pixels: Pixels, low: float, high: float) -> tuple[float, float]:
    """The share of images that reach both ends exactly, and the median of how many pixels an image
    has at its largest value.
    """
    largest = pixels.max(1)
    reaches = (pixels.min(1) == low) & (largest == high)
    counts = (pixels == largest[:, None]).sum(1)
    return float(reaches.mean()), float(np.median(counts))


def _spread(pixels: Pixels, count: int) -> Pixels:
    """At most so many rows, evenly spread over all."""
    if len(pixels) <= count:
        return pixels
    # Not the first ones: samples may be sorted by class.
    return pixels[np.linspace(0, len(pixels) - 1, count).astype(np.int64)]


def _nearest(rows: Pixels, images: Pixels) -> Tensor:
    """The distance of every row to its nearest image, (n,)."""
    targets = torch.from_numpy(images)
    centre = targets.mean(0)
    # Distances by a matrix product lose digits far from the origin.
    targets = targets - centre
    minima = []
    for part in torch.split(torch.from_numpy(rows) - centre, DISTANCE_ROWS):
        distances = torch.cdist(part, targets, compute_mode="use_mm_for_euclid_dist")
        minima.append(distances.amin(1))
    return torch.cat(minima)


#: Turn -> the words that say how the samples lie.
TURNED = {
    ("transpose",): "transposed (rows and columns are swapped)",
    ("flip",): "upside down",
    ("mirror",): "mirrored, left to right",
    ("flip", "mirror"): "turned by half a circle",
    ("transpose", "flip"): "turned by a quarter of a circle",
    ("transpose", "mirror"): "turned by a quarter of a circle",
    ("transpose", "flip", "mirror"): "transposed about the other diagonal",
    ("channels",): "stored with the channel last (height, width, channel) in flat rows",
}


def _turns(rows: Rows) -> Iterator[tuple[str, ...]]:
    """All ways in which the samples may have been turned, the plainest first."""
    channels, height, width = rows.shape
    for names in TURNED:
        is_flat = min(height, width) == 1
        if names == ("channels",):
            is_possible = channels > 1
        elif "transpose" in names:
            is_possible = height == width and not is_flat
        else:
            is_possible = not is_flat
        if is_possible:
            yield names
    if channels > 1:
        yield ("channels", "invert")
    if height == width > 1:
        yield ("transpose", "invert")
    yield ("invert",)


def _of_position(rows: Rows, splits: Splits) -> Iterator[Trap]:
    """Samples that are nearer to the data after a turn, or after light and dark are swapped."""
    images = _spread(_reference(splits), TURNED_IMAGES)
    few = replace(rows, pixels=_spread(rows.pixels, TURNED_SAMPLES))
    before = _nearest(few.pixels, images)
    scale = float(before.mean())
    best: tuple[str, ...] = ()
    smallest = math.inf
    for names in _turns(rows):
        after = _nearest(_brought(few, names, splits), images)
        # Copies of the data lie at distance 0, and no turn brings them nearer.
        ratio = float(after.mean()) / scale if scale > 0 else math.inf
        share = float((after < before).double().mean())
        # A second step must be worth it, too: an inverted image is not also transposed by chance.
        if ratio < min(THRESHOLDS.nearer, THRESHOLDS.nearer * smallest) and (
            share >= THRESHOLDS.most
        ):
            best, smallest = names, ratio
    if best:
        yield _position_trap(best, smallest)


def _brought(rows: Rows, names: Sequence[str], splits: Splits) -> Pixels:
    """The samples after some fixes."""
    pixels = turned(rows, names).pixels
    if "invert" in names:
        pixels = inverted(pixels, splits)
    return pixels


def inverted(pixels: Pixels, splits: Splits) -> Pixels:
    """Light for dark, in the data's range."""
    low, high = splits.value_range
    swapped: Pixels = np.float32(low + high) - pixels
    return swapped


def _position_trap(names: tuple[str, ...], ratio: float) -> Trap:
    turn = tuple(name for name in names if name != "invert")
    parts = [TURNED[turn]] if turn else []
    if "invert" in names:
        parts.append("inverted (light for dark)")
    kind = "channels" if "channels" in names else "inverted"
    if turn and kind != "channels":
        kind = "transposed"
    return Trap(
        kind,
        f"the samples seem to be {' and '.join(parts)}: after that is undone they are "
        f"{100 * (1 - ratio):.0f} % nearer to the data's images; save them as the data lie, or "
        f"`--fix {' '.join(names)}` does it.",
        names,
    )


def _keys(pixels: Pixels, splits: Splits) -> list[bytes]:
    """A key of every image that is the same for images that are equal once stored as bytes."""
    low, high = splits.value_range
    # Data without levels of their own are compared in those of bytes.
    levels = splits.divisor if splits.divisor > 1 else 255.0
    scaled = (pixels - np.float32(low)) * np.float32(levels / (high - low))
    stored = np.rint(scaled, out=scaled).clip(-32768, 32767).astype(np.int16)
    return [row.tobytes() for row in stored]


def _repeated(pixels: Pixels) -> int:
    """How many images equal an earlier one."""
    # By all digits: as bytes of an image, distinct samples of few levels may be equal.
    stored = set()
    for row in pixels:
        stored.add(row.tobytes())
    return len(pixels) - len(stored)


def _least(threshold: float, by_chance: float) -> float:
    """The share of samples from which on a trap is raised, where so many images have it anyway."""
    too_often = THRESHOLDS.chance * by_chance
    return max(threshold, too_often)


def _share(keys: Sequence[bytes], among: Collection[bytes]) -> float:
    """The share of images whose key is among others; 0 of no images."""
    count = len(keys)
    if count == 0:
        return 0.0
    found = sum(key in among for key in keys)
    return found / count


def _more_than_once(keys: Sequence[bytes]) -> set[bytes]:
    """The keys that several images have."""
    seen: set[bytes] = set()
    twice: set[bytes] = set()
    for key in keys:
        if key in seen:
            twice.add(key)
        seen.add(key)
    return twice


def _of_copies(rows: Rows, splits: Splits) -> Iterator[Trap]:
    """Equal samples, and images of the data among them."""
    keys = _keys(rows.pixels, splits)
    count = len(keys)
    repeated = _repeated(rows.pixels)
    # Of as many images as there are samples: the more images, the more of them are equal by chance.
    own = _reference(splits)[:count]
    repeated_by_chance = _repeated(own) / len(own)
    if repeated >= count * _least(THRESHOLDS.equal, repeated_by_chance):
        yield Trap(
            "equal",
            f"{repeated} of {count} samples equal an earlier one: a generator that draws does not "
            "repeat itself; look for a fixed noise vector, a small loop that was saved many times, "
            "or a collapse.",
        )
    train, parts = training_images(splits), _held_out(splits)
    train_keys = set(_keys(train, splits))
    keys_of_parts = [_keys(part, splits) for part in parts]
    # An image that a data set has in both is no sign of either.
    held_out_keys = set().union(*keys_of_parts) - train_keys
    of_train = _share(keys, train_keys)
    of_held_out = _share(keys, held_out_keys)
    first, second = keys_of_parts
    train_by_chance = _share(first + second, train_keys)
    held_out_by_chance = 0.0
    # Within each part, since the same file may have been named for both.
    for of_part in keys_of_parts:
        twice = _more_than_once(of_part) - train_keys
        held_out_by_chance += _share(of_part, twice)
    near_train, near_held_out = _near_copies(rows.pixels, train, np.concatenate(parts))
    train_is_near, held_out_is_near = 0.0, 0.0
    if max(near_train, near_held_out) >= THRESHOLDS.near_share:
        # Only where it matters, for it takes as long as the look at the samples.
        train_is_near, held_out_is_near = _near_by_chance(train, parts)
    if of_held_out >= _least(THRESHOLDS.copies, held_out_by_chance):
        yield _held_out_trap(f"{round(of_held_out * count)} of {count} samples are")
    elif near_held_out >= _least(THRESHOLDS.near_share, held_out_is_near):
        yield _held_out_trap(f"{100 * near_held_out:.0f} % of the samples are nearly")
    if of_train >= _least(THRESHOLDS.copies, train_by_chance):
        yield _memorised_trap(f"{round(of_train * count)} of {count} samples are")
    elif near_train >= _least(THRESHOLDS.near_share, train_is_near):
        yield _memorised_trap(f"{100 * near_train:.0f} % of the samples are nearly")


def _near_by_chance(train: Pixels, parts: tuple[Pixels, Pixels]) -> tuple[float, float]:
    """`_near_copies` of held-out images in place of samples: those of the smaller part beside the
    training images and the larger part.

    A sample has both parts to be near to, at most twice as many images: it is near to a held-out
    image at most twice as often, and to a training image more rarely.
    """
    few, others = parts
    # Not those that are in both parts, which are the same file where one was named twice.
    stored = {row.tobytes() for row in others}
    is_new = np.array([row.tobytes() not in stored for row in few], bool)
    few = _spread(few[is_new], NEIGHBOURS)
    if not len(few):
        return 0.0, 0.0
    near_train, near_others = _near_copies(few, train, others)
    # One more than were seen: of few images none may be near though it is not rare.
    more = len(few) + 1
    unseen = 1 / more
    seen = 1 - unseen
    return near_train * seen + unseen, near_others * seen + unseen


def _near_copies(samples: Pixels, train: Pixels, held_out: Pixels) -> tuple[float, float]:
    """The share of samples that are much nearer to a training image than to any held-out image, and
    the other way round; 0 and 0 without training images.
    """
    if not len(train):
        return 0.0, 0.0
    few = _spread(samples, NEIGHBOURS)
    to_train, to_held_out = _nearest(few, train), _nearest(few, held_out)
    is_near_train = to_train < THRESHOLDS.near * to_held_out
    is_near_held_out = to_held_out < THRESHOLDS.near * to_train
    return float(is_near_train.double().mean()), float(is_near_held_out.double().mean())


def _memorised_trap(start: str) -> Trap:
    return Trap(
        "memorised",
        f"{start} training images: the model copies, or images of the data lie among its samples; "
        "the estimate then tells of the data and not of a model: take real images out, or show the "
        "memorisation beside the number.",
    )


def _held_out_trap(start: str) -> Trap:
    return Trap(
        "held-out",
        f"{start} test or validation images: the estimate then is of images that it is measured "
        "on; look for a mix of the splits in training or in the file of samples.",
    )


def _of_count(rows: Rows) -> Iterator[Trap]:
    count = len(rows.pixels)
    if count < PUBLISHED_SAMPLES:
        yield Trap(
            "few",
            f"there are {count:,} samples, and the published estimates are of "
            f"{PUBLISHED_SAMPLES:,}: fewer give a lower estimate; draw {PUBLISHED_SAMPLES:,} "
            "before you compare.",
        )


def _edge_trap(sigma: float) -> Trap:
    return Trap(
        "edge",
        f"the bandwidth {sigma:g} is at the edge of the grid, so that the best one may lie "
        "outside: look whether the range of the pixels is right, then widen the grid "
        "(`likelihood.sigmas` of --params).",
    )


def autocorrelation(pixels: Pixels) -> tuple[NDArray[np.float64], float]:
    """The correlation of images x_t and x_{t + lag} about their mean, at the lags 0 to n / 2, and
    its standard deviation where they are independent.

    The standard deviation is 1 / sqrt(n e), where e = (tr S)^2 / tr S^2 counts the directions of
    the covariance S in which images vary.
    """
    from scipy import fft

    count = len(pixels)
    centred = pixels - pixels.mean(0, dtype=np.float64).astype(np.float32)
    # Padded to twice the length, so that no lag wraps around.
    sums = np.zeros(fft.next_fast_len(2 * count, real=True))
    spectrum_sum = np.zeros(len(sums) // 2 + 1)
    # Some columns at a time: the spectra of all of them would take several times the samples.
    for start in range(0, centred.shape[1], 64):
        columns = centred[:, start : start + 64]
        spectrum = fft.rfft(columns, len(sums), axis=0)
        spectrum_sum += np.square(np.abs(spectrum)).sum(1, dtype=np.float64)
    products = fft.irfft(spectrum_sum, len(sums))[: count // 2 + 1]
    pairs = count - np.arange(len(products))
    # Images that are all the same have no correlation, and nothing to divide by.
    if products[0] <= 0:
        return np.zeros(len(products)), math.inf
    # A mean over pairs, of which there are fewer the longer the lag.
    rho = products / pairs * (count / products[0])
    covariance = torch.from_numpy(centred).T @ torch.from_numpy(centred)
    directions = float(covariance.trace().square() / covariance.square().sum())
    return rho, 1 / math.sqrt(count * directions)


def _of_order(pixels: Pixels) -> Iterator[Trap]:
    """Samples whose neighbours are alike: states of one chain, or of several in turn."""
    if len(pixels) < FEWEST_IN_ORDER:
        return
    rho, deviation = autocorrelation(pixels)
    least = max(THRESHOLDS.correlation, THRESHOLDS.deviations * deviation)
    if rho[1] >= least:
        yield _chain_trap(float(rho[1]), 1)
        return
    # Chains in turn: one lag stands out from those beside it.
    peaks = rho[2:-1] - np.maximum(rho[1:-2], rho[3:])
    lag = 2 + int(peaks.argmax())
    if peaks[lag - 2] >= least:
        yield _chain_trap(float(rho[lag]), lag)


def _chain_trap(correlation: float, lag: int) -> Trap:
    which = "neighbours" if lag == 1 else f"every {lag}th image"
    return Trap(
        "chain",
        f"{which} in the order of the file are alike (correlation {correlation:.2f}), as the "
        "states of a Markov chain are: fewer samples count than there are; thin the chain or run "
        "more of them, and say which sampler it was (images sorted by classes that lie far apart "
        "look so too: of these all count).",
    )
