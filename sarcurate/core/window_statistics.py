"""Moments of many overlapping windows of many chips at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Flags = NDArray[np.bool_]

# Lags beyond this have intensity correlations of a few percent at most for any usual sampling.
LAGS = 3
# Pixels that share the chip's largest value: fewer are ties by quantisation.
SATURATED_PX = 4
# Mean of a window over that of its chip below which squares leave the range of float32.
DARKEST = 1e-12
# Chips are worked on in groups whose arrays stay in the processor's cache.
GROUP_PX = 1 << 17


@dataclass(frozen=True, eq=False)
class WindowStatistics:
    """Moments of overlapping square windows, side ``window_px``, step half of it; each (n, down, across).

    Args:
        window_px: side of a window.
        mean: mean intensity relative to the mean of the chip.
        cv2: variance (divisor: number of pixels) over squared mean.
        log_gap: ln of the mean less mean of the ln.
        log_variance: variance of ln intensity (divisor: number of pixels).
        peak: largest pixel over the mean.
        lagged: (2, LAGS, n, down, across) mean product of pixels d = 1.. apart along rows and cols of the
            image (azimuth, range), over squared mean, less 1.
        usable: every pixel is finite, above zero, below saturation, and they differ.
        saturated: the window touches saturated pixels.
    """

    window_px: int
    mean: Array
    cv2: Array
    log_gap: Array
    log_variance: Array
    peak: Array
    lagged: Array
    usable: Flags
    saturated: Flags


def window_statistics(intensity: Array, window_px: int) -> tuple[WindowStatistics, NDArray[np.float64]]:
    """Window statistics, and the mean of the pixels above zero of every chip, to which they are relative.

    Args:
        intensity: (n, rows, cols) >= 0; pixels that are not finite are holes.
        window_px: side of a window, even, at most rows and cols.
    """
    n, rows, cols = intensity.shape
    step = max(1, GROUP_PX // (rows * cols))
    groups = [_group(intensity[first : first + step], window_px) for first in range(0, max(n, 1), step)]
    fields = [np.concatenate(parts, axis=-3) for parts in zip(*(group[:-1] for group in groups), strict=True)]
    whole = np.concatenate([group[-1] for group in groups])
    return WindowStatistics(window_px, *fields), whole


def _group(intensity: Array, window_px: int) -> tuple[NDArray[np.generic], ...]:
    good = np.isfinite(intensity) & (intensity > 0)
    clean = np.where(good, intensity, 0)
    peak = np.where(good.any(axis=(1, 2)), clean.max(axis=(1, 2)), 1)
    # Largest pixel first, so that neither sums nor ratios leave the range of the numbers.
    x = (clean / peak[:, None, None]).astype(np.float32)
    share = x.sum(axis=(1, 2), dtype=np.float64) / np.maximum(good.sum(axis=(1, 2)), 1)
    share = np.where(share > 0, share, 1.0)
    x /= share[:, None, None].astype(np.float32)
    good &= x > 0
    top, low = _extreme(x, window_px, np.maximum), _extreme(x, window_px, np.minimum)
    full = _saturated(x, top, window_px)
    sums = _Windows(intensity.shape[1], intensity.shape[2], window_px)
    mean = np.maximum(sums.mean(x), DARKEST)
    cv2 = np.maximum(sums.mean(x * x) / mean**2 - 1, 0)
    logs = np.log(np.where(good, x, 1), dtype=np.float32)
    log_mean = sums.mean(logs)
    log_variance = np.maximum(sums.mean(logs * logs) - log_mean**2, 0)
    lagged = np.stack(
        [[sums.lagged(x, axis, d) / mean**2 - 1 for d in range(1, LAGS + 1)] for axis in (1, 2)]
    )
    usable = (low > 0) & (top > low) & (mean > DARKEST) & ~full
    return mean, cv2, np.log(mean) - log_mean, log_variance, top / mean, lagged, usable, full, share * peak


class _Windows:
    """Means over windows as products with two thin matrices, which numpy does faster than running sums."""

    def __init__(self, rows: int, cols: int, window_px: int) -> None:
        self.rows, self.cols, self.window_px = rows, cols, window_px

    def mean(self, x: Array, shorter: tuple[int, int] = (0, 0)) -> Array:
        """Means of (n, rows - a, cols - b) over windows that are (a, b) shorter."""
        down = _indicator(self.rows, self.window_px, shorter[0])
        across = _indicator(self.cols, self.window_px, shorter[1])
        return np.asarray(down.T @ (x @ across))

    def lagged(self, x: Array, axis: int, lag: int) -> Array:
        """Mean product of pixels ``lag`` apart along ``axis``, both inside the window."""
        if axis == 1:
            return self.mean(x[:, :-lag] * x[:, lag:], (lag, 0))
        return self.mean(x[:, :, :-lag] * x[:, :, lag:], (0, lag))


@lru_cache(maxsize=64)
def _indicator(size: int, window_px: int, shorter: int) -> NDArray[np.float32]:
    """(size - shorter, windows): 1 / length inside a window that is ``shorter`` than window_px."""
    first = np.arange(0, size - window_px + 1, window_px // 2)
    place = np.arange(size - shorter)[:, None]
    length = window_px - shorter
    return (((place >= first) & (place < first + length)) / length).astype(np.float32)


def _extreme(x: Array, window_px: int, choose: np.ufunc) -> Array:
    """Largest (np.maximum) or smallest (np.minimum) pixel of every window."""
    half = window_px // 2
    rows, cols = x.shape[1] // half, x.shape[2] // half
    lines = choose.reduce([x[:, k : rows * half : half] for k in range(half)])
    blocks = choose.reduce([lines[:, :, k : cols * half : half] for k in range(half)])
    pairs = choose(blocks[:, :-1], blocks[:, 1:])
    return np.asarray(choose(pairs[:, :, :-1], pairs[:, :, 1:]))


def _saturated(x: Array, top: Array, window_px: int) -> Flags:
    """Windows that touch the largest value of a chip where at least SATURATED_PX pixels share it."""
    largest = x.max(axis=(1, 2), keepdims=True)
    heap = (x == largest).sum(axis=(1, 2), keepdims=True) >= SATURATED_PX
    return np.asarray(heap & (largest > 0) & (top == largest))
