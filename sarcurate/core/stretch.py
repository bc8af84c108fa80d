"""Stretch: traces that a display stretch leaves in the levels of a chip."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtrc

# chance of each of the tests below on a clean chip
ALPHA = 3e-4
LEAST_PX = 32
_LEAST_HEAP = 4
_HEAP_LEVELS = 8
_TIE = 5e-5  # 32767 and 32768 are one rail
_LEAST_EXPECTED = 3.0
_LEAST_LEVELS = 8
_LEAST_FOR_STEP = 24
_LEAST_FOR_COMB = 48
_LONGEST_PERIOD_LEVELS = 6
# weights of the levels 1 to 4 steps away that continue any cubic through the level between them
_WEIGHTS = (0.31395, 0.22674, 0.08140, -0.12209)


@dataclass(frozen=True, eq=False)
class Levels:
    """Values on a regular grid of levels: ``counts`` of pixels from the lowest to the highest level.

    Attributes:
        step: distance of neighbouring levels in the values' unit.
        lowest: value of the first level.
    """

    counts: NDArray[np.int64]
    step: float
    lowest: float


@dataclass(frozen=True)
class Stretch:
    """Traces of a stretch; None where the chip cannot tell.

    Attributes:
        saturated_fraction: share of pixels heaped on the lowest and highest value, beyond a smooth law.
        missing_levels_fraction: share of levels that should hold pixels and hold none.
        comb_strength: strongest periodic line of the histogram, in units of what counting noise gives.
        full_range: the chip runs from exactly 0 to exactly 255, 65535 or 1.
        found: one of the tests is beyond chance.
    """

    saturated_fraction: float | None
    missing_levels_fraction: float | None
    comb_strength: float | None
    full_range: bool | None
    found: bool


NO_STRETCH = Stretch(None, None, None, None, False)


def find_stretch(values: NDArray[np.generic], test_levels: bool) -> Stretch:
    """All traces of a stretch in the pixels of one chip.

    Args:
        values: any shape, real; pixels of borders left out.
        test_levels: look for missing and doubled levels. Not for intensity computed from whole I and Q:
            a sum of two squares misses levels by itself.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if values.size < LEAST_PX or np.ptp(numbers) == 0:
        return NO_STRETCH
    low, high = float(numbers.min()), float(numbers.max())
    heaps = [_heap(numbers, low, math.inf), _heap(numbers, high, -math.inf)]
    full = low == 0 and (high in (255.0, 65535.0) or (high == 1.0 and values.dtype.kind == "f"))
    levels = levels_of(values) if test_levels else None
    missing, missing_found = missing_levels(levels)
    comb, comb_found = comb_strength(levels)
    found = any(heaps) or full or missing_found or comb_found
    return Stretch(sum(heaps) / values.size, missing, comb, full, bool(found))


def levels_of(values: NDArray[np.generic]) -> Levels | None:
    """The regular levels that the values lie on: whole numbers, or floats on at most 256 such levels."""
    whole = values.dtype.kind == "u"
    if not whole:
        rounded = np.rint(values.astype(np.float64))
        whole = bool((rounded == values).all()) and abs(rounded).max() < 2**16
        if not whole:
            return _float_levels(values)
    numbers = values.astype(np.int64).ravel()
    lowest = int(numbers.min())
    return Levels(np.bincount(numbers - lowest), 1.0, float(lowest))


def missing_levels(levels: Levels | None) -> tuple[float | None, bool]:
    """Share of empty levels among those whose neighbours say that they should hold 3 pixels or more.

    Found where their number is beyond the Poisson law's: n empty ones are expected, n the sum of
    exp(-expected) with what the 4 levels on either side let expect. A stretch by a gain g > 1 of whole
    numbers leaves 1 - 1/g of the levels empty. Where all values are whole multiples of a step of 2 or more,
    that gives the share.

    Returns:
        the share, None where fewer than 8 levels qualify, and whether it is beyond chance.
    """
    if levels is None:
        return None, False
    counts = levels.counts
    used = np.flatnonzero(counts)
    step = int(np.gcd.reduce(used))
    if step > 1 and len(used) >= _LEAST_FOR_STEP:
        return 1 - 1 / step, True
    plain, smooth = _expected(counts)
    tested = plain >= _LEAST_EXPECTED
    tested[[0, -1]] = False
    if tested.sum() < _LEAST_LEVELS:
        return None, False
    # the plain mean is too high where the histogram bends upwards, the smooth one beside missing levels
    least = np.minimum(plain, smooth)
    sure = tested & (least >= _LEAST_EXPECTED)
    empty = int((sure & (counts == 0)).sum())
    chance = float(np.exp(-least[sure]).sum())
    return empty / int(tested.sum()), bool(empty > 0 and pdtrc(empty - 1, chance) < ALPHA)


def comb_strength(levels: Levels | None) -> tuple[float | None, bool]:
    """Strongest periodic line in the histogram, as a multiple of the mean counting noise.

    A gain applied to whole numbers doubles or empties levels at a regular distance. Residuals (count -
    expected) / sqrt(expected) of the longest run of well-filled levels have Poisson noise of variance 1,
    filtered by 1 - K with K the weights of the neighbours; the largest of n periodogram ordinates exceeds
    x times their mean with chance n exp(-x). Where the ordinates' median / ln 2 says that noise is above
    Poisson, it is taken instead. Only periods up to 6 levels count, as longer ones go into the local mean.

    Returns:
        the ratio, None where fewer than 48 levels in a row hold pixels enough, and whether it is beyond
        chance.
    """
    if levels is None:
        return None, False
    plain, smooth = _expected(levels.counts)
    filled = plain >= _LEAST_EXPECTED
    filled[[0, -1]] = False
    first, last = _longest_run(filled)
    if last - first < _LEAST_FOR_COMB:
        return None, False
    run = slice(first, last)
    residual = (levels.counts[run] - smooth[run]) / np.sqrt(plain[run])
    frequency = np.fft.rfftfreq(last - first)
    lags = np.arange(1, len(_WEIGHTS) + 1)
    passed = 1 - 2 * np.cos(2 * np.pi * np.outer(frequency, lags)) @ np.array(_WEIGHTS)
    tested = frequency >= 1 / _LONGEST_PERIOD_LEVELS
    power = np.abs(np.fft.rfft(residual - residual.mean()))[tested] ** 2
    power /= (last - first) * passed[tested] ** 2
    strength = float(power.max()) / max(1.0, float(np.median(power)) / math.log(2))
    return strength, strength > math.log(len(power) / ALPHA)


def _heap(values: NDArray[np.float64], end: float, inwards: float) -> int:
    """Pixels heaped on the lowest or highest value beyond a smooth law, 0 where chance explains them.

    The next 8 values towards the middle say how many to expect; at the low end, where an exponential law
    is steepest, their trend is continued. A heap counts from 1.5 times that on, beyond the Poisson law.
    """
    tie = abs(end) * _TIE
    at_end = int((np.abs(values - end) <= tie).sum())
    if at_end < _LEAST_HEAP:
        return 0
    distinct, counts = np.unique(values, return_counts=True)
    near = counts[np.abs(distinct - end) > tie].astype(np.float64)
    near = near[:_HEAP_LEVELS] if inwards > 0 else near[::-1][:_HEAP_LEVELS]
    if not len(near):
        return 0
    expected = float(near.mean() if inwards < 0 else near.max())
    if inwards > 0 and len(near) > 1:
        expected = max(expected, near[0] ** 2 / near[1])
    beyond = at_end > 1.5 * expected and pdtrc(at_end - 1, expected) < ALPHA
    return round(at_end - expected) if beyond else 0


def _float_levels(values: NDArray[np.generic]) -> Levels | None:
    """Levels of floats, as of 8 bit pixels divided by 255; None for continuous ones."""
    flat = values.ravel().astype(np.float64)
    if len(np.unique(flat[:: max(1, flat.size // 600)])) > 256:
        return None
    distinct, counts = np.unique(flat, return_counts=True)
    if len(distinct) > 256 or len(distinct) < _LEAST_FOR_STEP or flat.size < 4 * len(distinct):
        return None
    step = float(np.diff(distinct).min())
    place = (distinct - distinct[0]) / step
    if place[-1] > 1024 or np.abs(place - np.rint(place)).max() > 0.01:
        return None
    spread = np.zeros(round(place[-1]) + 1, dtype=np.int64)
    spread[np.rint(place).astype(np.int64)] = counts
    return Levels(spread, step, float(distinct[0]))


def _expected(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What neighbours let expect at each level: their plain mean, and their smooth continuation, >= 0."""
    reach = len(_WEIGHTS)
    if len(counts) < 2 * reach + 1:
        return np.zeros(len(counts)), np.zeros(len(counts))
    found = []
    for side in ((1.0,) * reach, _WEIGHTS):
        kernel = np.array([*side[::-1], 0.0, *side])
        weight = np.convolve(np.ones(len(counts)), kernel, mode="same")
        found.append(np.maximum(np.convolve(counts, kernel, mode="same") / weight, 0.0))
    return found[0], found[1]


def _longest_run(flags: NDArray[np.bool_]) -> tuple[int, int]:
    """First and one past the last index of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    if not len(edges):
        return 0, 0
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])
