"""JPEG blocks: the 8 x 8 grid that JPEG leaves in pixels, also after a crop and a lossless copy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

SIDE_PX = 8
LEAST_PX = 2 * SIDE_PX
LARGEST_PX = 256  # of larger images the centre: the windows' coefficients take some 350 bytes a pixel
# the top gap of 64 exchangeable phases exceeds this with chance near exp(-2.9 * 3.5) = 4e-5
FOUND = 3.5
_NEAR_ZERO = 0.02
_FIRST = 2  # lower frequencies cost time and are rarely rounded to zero
_SAMPLED = 29  # every so many windows say how large coefficients are; prime to 8, so of all places
_COEFFICIENTS = (SIDE_PX - _FIRST) ** 2


def grid_strength(chip: NDArray[np.floating], step: float) -> float | None:
    """How far the best of the 64 places of an 8 x 8 grid stands above the second best, in standard errors.

    JPEG rounds the DCT coefficients of its blocks, many of them to zero, and they stay near zero only for
    windows on its own grid. Counted over all 8 x 8 windows: coefficients of 2 half periods and more along
    both axes, below half a step of the pixels or 0.02 of their own robust deviation, whichever is more.
    Under any stationary law, speckle included, the 64 places are exchangeable; the gap between the two
    largest of 64 normal values is nearly exponential with rate sqrt(2 ln 64) = 2.9. Periods other than 8
    (interpolation by 2) raise several places at once and leave the gap small.

    Args:
        chip: (rows, cols), amplitude or 8 bit levels; of larger ones the central 256 px a side are used.
        step: distance of the pixels' levels, 0 for continuous values.

    Returns:
        the gap >= 0; None for chips below 16 px a side or without any variation.

    Source: counting DCT zeros per grid place after Nikoukhah et al. 2021; the statistic is our own.
    """
    if min(chip.shape) < LEAST_PX or np.ptp(chip) == 0:
        return None
    used = np.asarray(_centre(chip), dtype=np.float32)
    near_zero = _near_zero_counts(used, step)
    near_zero[_constant(used)] = 0  # an area of one value has no grid, but it has edges
    means, blocks = _phase_means(near_zero)
    second, best = np.argsort(means, kind="stable")[-2:]
    # uneven chips hold more counts in some windows: the spread over windows covers that, never below Poisson
    spread = max(float(near_zero.var()), float(np.median(means)))
    if spread == 0:
        return 0.0
    return float((means[best] - means[second]) / math.sqrt(spread / blocks[best]))


def _centre(chip: NDArray[np.floating]) -> NDArray[np.floating]:
    starts = [max(0, size - LARGEST_PX) // 2 for size in chip.shape]
    rows, cols = (slice(start, start + LARGEST_PX) for start in starts)
    return chip[rows, cols]


def _near_zero_counts(chip: NDArray[np.float32], step: float) -> NDArray[np.uint8]:
    """Number of nearly zero high DCT coefficients of every 8 x 8 window.

    By einsum, not by a BLAS product: that rounds by the number of threads, and a coefficient at the limit
    would make the manifest of one machine another one's.
    """
    basis = np.asarray(dct(np.eye(SIDE_PX), axis=0, norm="ortho"), dtype=np.float32)[_FIRST:]
    rows, cols = (size - SIDE_PX + 1 for size in chip.shape)
    along = np.stack([chip[:, k : k + cols] for k in range(SIDE_PX)]).reshape(SIDE_PX, -1)
    half = np.einsum("ij,jn->in", basis, along).reshape(-1, chip.shape[0], cols)
    across = np.stack([half[:, k : k + rows] for k in range(SIDE_PX)]).reshape(SIDE_PX, -1)
    size = np.abs(np.einsum("ij,jn->in", basis, across)).reshape(_COEFFICIENTS, rows * cols)
    deviation = float(np.median(size[:, ::_SAMPLED])) / 0.6745  # of a normal law
    near = size < max(0.5 * step, _NEAR_ZERO * deviation)
    return np.asarray(near.view(np.uint8).sum(axis=0, dtype=np.uint8).reshape(rows, cols))


def _constant(chip: NDArray[np.floating]) -> NDArray[np.bool_]:
    """True for 8 x 8 windows of one value."""
    rows, cols = (size - SIDE_PX + 1 for size in chip.shape)
    along = chip[:, 1:] == chip[:, :-1]
    if not along.any():
        return np.zeros((rows, cols), dtype=np.bool_)
    down = (chip[1:] == chip[:-1])[:, :cols]  # with equal rows, one column says it for the window
    constant = np.ones((rows, cols), dtype=np.bool_)
    in_row = np.logical_and.reduce([along[:, k : k + cols] for k in range(SIDE_PX - 1)])
    for k in range(SIDE_PX):
        constant &= in_row[k : k + rows]
    for k in range(SIDE_PX - 1):
        constant &= down[k : k + rows]
    return constant


def _phase_means(counts: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean count at each of the 64 places of the grid, and the number of blocks there."""
    rows, cols = (np.arange(size) % SIDE_PX for size in counts.shape)
    place = np.add.outer(rows * SIDE_PX, cols).ravel()
    blocks = np.bincount(place, minlength=SIDE_PX**2)
    total = np.bincount(place, weights=counts.ravel(), minlength=SIDE_PX**2)
    return total / blocks, blocks
