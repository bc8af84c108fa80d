"""Texture: properties of the grey-level co-occurrence matrix of each chip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.chip_stack import ChipStack, chip_stack
from sarcurate.core.measure import Measure
from sarcurate.errors import DataError

Values = NDArray[np.float64]

LEVELS = 32
DISTANCES_PX = (1, 2, 4)
LEAST_PX = 8  # twice the largest distance
ONE_LEVEL = "one grey level in the dB window"
# (azimuth, range) steps of 0, 45, 90 and 135 degrees; a diagonal step goes the distance along both axes.
_DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))
_BLOCK_PX = 1 << 15  # pixels whose matrices are counted at once: they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Texture:
    """Properties at each of ``DISTANCES_PX``, the mean over four directions."""

    contrast: tuple[Measure, ...]
    homogeneity: tuple[Measure, ...]
    energy: tuple[Measure, ...]
    correlation: tuple[Measure, ...]


def texture(intensity: NDArray[np.floating] | ChipStack, window_db: tuple[float, float]) -> Texture:
    """Grey-level co-occurrence texture of 32 levels in a fixed dB window.

    Levels i, j of pixels a distance apart along 0, 45, 90 and 135 degrees; symmetric, normalised p(i, j).
    Contrast is sum p (i - j)^2, homogeneity sum p / (1 + (i - j)^2), energy sqrt(sum p^2), correlation that
    of i and j. Pixels beyond the window, zeros included, have its end levels. A chip of one level has no
    correlation, and none of the other properties means anything there: all four have a reason.

    Args:
        intensity: (n, rows, cols), linear, 8 px a side or more.
        window_db: (low, high) of 10 log10 intensity, the same for all chips that are to be compared.

    Raises:
        DataError: for chips that are no such stack, or a window that is not finite and rising.

    Source: Haralick, Shanmugam and Dinstein 1973, IEEE Trans. SMC 3(6); a diagonal distance d is (d, d).
    """
    low, high = window_db
    if not (np.isfinite([low, high]).all() and low < high):
        raise DataError(
            f"texture: the dB window is {low} to {high}, expected finite and rising", fix="correct the window"
        )
    chips = chip_stack(intensity, LEAST_PX)
    levels = grey_levels(chips.fit, window_db)
    step = max(1, _BLOCK_PX // (levels.shape[1] * levels.shape[2]))
    blocks = [_block_properties(levels[start : start + step]) for start in range(0, len(levels), step)]
    values = np.concatenate(blocks) if blocks else np.empty((0, len(DISTANCES_PX), 4))
    contrast, homogeneity, energy, correlation = (_measures(chips, values, k) for k in range(4))
    return Texture(contrast, homogeneity, energy, correlation)


def grey_levels(intensity: Values, window_db: tuple[float, float]) -> NDArray[np.intp]:
    """Level 0 to 31 of each pixel, equal steps of dB, the ends for what lies beyond."""
    low, high = window_db
    # Clipping before the logarithm gives zeros the lowest level without an infinity.
    held = np.clip(intensity, 10 ** (low / 10), 10 ** (high / 10))
    share = (10 * np.log10(held) - low) / (high - low)
    return np.clip((share * LEVELS).astype(np.intp), 0, LEVELS - 1)


def _measures(chips: ChipStack, values: Values, kind: int) -> tuple[Measure, ...]:
    missing = np.isnan(values).any(axis=(1, 2))
    return tuple(
        chips.measure(values[:, distance, kind], missing, ONE_LEVEL) for distance in range(len(DISTANCES_PX))
    )


def _block_properties(levels: NDArray[np.intp]) -> Values:
    """(m, distances, 4) contrast, homogeneity, energy, correlation; NaN for chips of one level."""
    first = levels * LEVELS + (np.arange(len(levels)) * LEVELS**2)[:, None, None]
    steps = [(d_row * px, d_col * px) for px in DISTANCES_PX for d_row, d_col in _DIRECTIONS]
    counts = np.empty((len(levels), len(steps), LEVELS, LEVELS))
    for place, step in enumerate(steps):
        counts[:, place] = _counts(first, levels, step)
    each = _properties(counts.reshape(-1, LEVELS, LEVELS))
    return np.asarray(each.reshape(len(levels), len(DISTANCES_PX), len(_DIRECTIONS), 4).mean(axis=2))


def _counts(first: NDArray[np.intp], second: NDArray[np.intp], step: tuple[int, int]) -> NDArray[np.intp]:
    """(m, 32, 32) how many pixels of level i have one of level j ``step`` away."""
    d_row, d_col = step
    count, rows, cols = second.shape
    left, right = max(0, -d_col), cols - max(0, d_col)
    pairs = first[:, : rows - d_row, left:right] + second[:, d_row:, left + d_col : right + d_col]
    return np.bincount(pairs.ravel(), minlength=count * LEVELS**2).reshape(count, LEVELS, LEVELS)


def _properties(counts: Values) -> Values:
    """(m, 4) of counts (m, 32, 32) made symmetric; correlation NaN where all pixels are of one level."""
    level = np.arange(LEVELS, dtype=np.float64)
    squares = np.subtract.outer(level, level) ** 2
    flat = counts.reshape(len(counts), LEVELS**2)
    pairs = flat.sum(axis=1)
    # One product per matrix: a single one of all would depend on how many there are, in the last digit.
    weights = np.stack([squares.ravel(), 1 / (1 + squares.ravel())], axis=1)
    contrast, homogeneity = (flat[:, None, :] @ weights)[:, 0].T / pairs
    # With p = (c + c^T) / 2n, sum p^2 is (sum c^2 + sum c c^T) / 2n^2: no symmetric matrix is needed.
    squared = np.einsum("nk,nk->n", flat, flat) + np.einsum("nij,nji->n", counts, counts)
    energy = np.sqrt(squared / 2) / pairs
    margin = (counts.sum(axis=2) + counts.sum(axis=1)) / (2 * pairs[:, None])
    mean = (margin * level).sum(axis=1)
    variance = (margin * (level - mean[:, None]) ** 2).sum(axis=1)
    # For a symmetric matrix E(i - j)^2 = 2 (variance - covariance).
    varied = (margin > 0).sum(axis=1) > 1
    correlation = np.where(varied, 1 - contrast / (2 * np.where(varied, variance, 1.0)), np.nan)
    return np.stack([contrast, homogeneity, energy, correlation], axis=1)
