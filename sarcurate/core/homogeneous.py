"""Homogeneous areas of chips: the windows that hold nothing but speckle on a constant background.

Windows are rejected, not ranked: each test is set so far out that it takes next to no window of pure speckle.
Choosing the smoothest windows would need one half of the pixels for the choice and the other half for the
measure (:func:`sarcurate.core.speckle.window_enl` does that), and correlated speckle leaks between halves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainccinv, ndtri

from sarcurate.core.radiometry import Radiometry
from sarcurate.core.window_statistics import LAGS, WindowStatistics, window_statistics
from sarcurate.errors import DataError, ParamsError, RadiometryError

Array = NDArray[np.floating]
Flags = NDArray[np.bool_]

# Standard errors at which a window's variation stops being chance.
CUT = 4.0
# Chance that a chip of pure speckle loses windows to the test for bright points, and to that for edges.
BRIGHT_CHANCE = 1e-3
EDGE_CHANCE = 1e-2
# Detected speckle has one look at least; windows of less than this in the mean hold targets everywhere.
MIN_LOOKS = 0.5
WILD = "more varied than speckle"


@dataclass(frozen=True, eq=False)
class HomogeneousAreas:
    """The kept windows of n chips, or for each chip the reason why it has none.

    Args:
        domain: what the pixels were declared to be, before any conversion to intensity.
        windows: statistics of all windows.
        kept: (n, down, across).
        reasons: (n,) text, empty where the chip has an area.
        n_px: (n,) pixels in the union of kept windows.
        correlation: (2, LAGS, n) correlation of intensity at d = 1.. px in azimuth and range; NaN where
            there is a reason.
    """

    domain: Radiometry
    windows: WindowStatistics
    kept: Flags
    reasons: NDArray[np.str_]
    n_px: NDArray[np.int64]
    correlation: NDArray[np.float64]

    def mask(self, shape: tuple[int, int]) -> Flags:
        """(n, rows, cols) true inside the union of kept windows, for chips of ``shape``."""
        half = self.windows.window_px // 2
        inside = np.zeros((len(self.reasons), *shape), dtype=np.bool_)
        if self.kept.size:
            blocks = _covered(self.kept).astype(bool).repeat(half, axis=1).repeat(half, axis=2)
            inside[:, : blocks.shape[1], : blocks.shape[2]] = blocks
        return inside


def homogeneous_areas(
    intensity: Array, domain: Radiometry, *, window_px: int = 8, noise_floor: float = 0.0
) -> HomogeneousAreas:
    """Windows of speckle alone in each chip.

    The chip's own typical window (median CV^2) gives the looks that a window is held against. Rejected are
    windows whose CV^2 exceeds them by 4 standard errors (2 (1 + 1/L) sum(rho^2) / pixels, relative; after Lee
    1981 and Lopes et al. 1990), with a pixel too bright for Gamma speckle, inside a square of twice the side
    of which two halves differ in mean (ratio edge detector, Touzi et al. 1988; one chip in 100 by chance),
    with zeros, pixels that are not finite, or saturated ones, and with a mean not above ``noise_floor``.

    Args:
        intensity: (n, rows, cols) linear intensity >= 0, float32 or float64; pixels that are not finite are
            holes.
        domain: the radiometry declared for the data; relative kinds must have been squared, and their
            results stay relative.
        window_px: side of a window, a multiple of 4, at least 8.
        noise_floor: intensity up to which a window is noise, not clutter.

    Raises:
        RadiometryError: for negative pixels, amplitude, or no radiometry at all.
        DataError: for an array that is no (n, rows, cols) of real floats.
        ParamsError: for a window size or noise floor that cannot be.
    """
    declared = _check(intensity, domain, window_px, noise_floor)
    n, *shape = intensity.shape
    if not n or min(shape) < 2 * window_px:
        return _none(declared, n, window_px)
    windows, whole = window_statistics(intensity, window_px)
    usable = windows.usable & (windows.mean * whole[:, None, None] > noise_floor)
    enough = np.asarray(usable.any(axis=(1, 2)))
    cv2, middle = _middle(windows.cv2, usable)
    rho = correlations(windows, usable & (cv2 <= middle[:, None, None]))
    # No detected speckle has less than one look: below it the typical window is no homogeneous one.
    looks = np.maximum(looks_of_cv2(middle, mean_correlation(rho, window_px)), 1.0)
    dim = usable & ~_bright(windows, looks, intensity[0].size)
    kept = dim & ~_varied(windows, looks, rho) & ~_near_edges(windows, dim, looks, rho)
    n_px = _covered(kept).astype(bool).sum(axis=(1, 2)) * (window_px // 2) ** 2
    few = n_px < 2 * window_px**2
    wild = looks_of_cv2(window_mean(windows.cv2, kept), 1 / window_px**2) < MIN_LOOKS
    gone = few | wild
    reasons = np.where(wild, WILD, "").astype(object)
    reasons[few] = _reasons(intensity[few], windows.saturated[few], enough[few])
    kept = kept & ~gone[:, None, None]
    rho = np.where(gone, np.nan, correlations(windows, kept))
    return HomogeneousAreas(declared, windows, kept, reasons.astype(str), np.where(gone, 0, n_px), rho)


def correlations(windows: WindowStatistics, kept: Flags) -> NDArray[np.float64]:
    """Correlation of intensity at lags 1..LAGS, (2, LAGS, n): azimuth, range; 0 where no window is kept.

    Relative to its own mean a window shows (rho - m) / (1 - m), m being the mean correlation over all pairs
    of its pixels; undone here by iteration.
    """
    power = np.maximum(window_mean(windows.cv2, kept), 1e-12)
    seen = np.stack([[window_mean(lag, kept) / power for lag in axis] for axis in windows.lagged])
    rho = np.clip(seen, 0, 1)
    for _ in range(6):
        m = mean_correlation(rho, windows.window_px)
        rho = np.clip(seen * (1 - m) + m, -0.5, 0.98)
    return rho


def mean_correlation(rho: NDArray[np.float64], window_px: int, power: int = 1) -> NDArray[np.float64]:
    """Mean of rho^power over all pairs of pixels of a window, (n,), for a separable rho (2, LAGS, n)."""
    share = (1 - np.arange(1, LAGS + 1) / window_px)[:, None]
    base = rho if power == 1 else np.maximum(rho, 0)
    along = (1 + 2 * (share * base**power).sum(axis=1)) / window_px
    return np.asarray(np.clip(along[0] * along[1], 1 / window_px**2 / 4, 0.9), dtype=np.float64)


def correlated_px(rho: NDArray[np.float64], power: int) -> NDArray[np.float64]:
    """Pixels that count as one, sum of rho^power over all lags, (n,), for a separable correlation."""
    along = 1 + 2 * (np.maximum(rho, 0) ** power).sum(axis=1)
    return np.asarray(along[0] * along[1], dtype=np.float64)


def looks_of_cv2(cv2: NDArray[np.float64], m: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Looks whose windows have this expected CV^2: (1 - m) / CV^2 - m, m the mean correlation of a window.

    Exact for Gamma pixels without correlation (m = 1 / pixels), where CV^2 is independent of the mean.
    """
    return (1 - m) / np.maximum(cv2, 1e-12) - m


def window_mean(values: Array, kept: Flags) -> NDArray[np.float64]:
    """Mean over kept windows, (n,); 0 where there are none."""
    count = np.maximum(kept.sum(axis=(1, 2)), 1)
    return np.asarray(np.where(kept, values, 0).sum(axis=(1, 2), dtype=np.float64) / count)


def coverage(kept: Flags) -> NDArray[np.float64]:
    """Blocks of half a window that, weighted alike, vary as little as the kept, overlapping windows, (n,).

    A block in k windows has weight k, which makes (sum k)^2 / sum k^2.
    """
    count = _covered(kept).astype(np.float64)
    return np.asarray(count.sum(axis=(1, 2)) ** 2 / np.maximum((count**2).sum(axis=(1, 2)), 1))


def _check(intensity: Array, domain: Radiometry, window_px: int, noise_floor: float) -> Radiometry:
    if domain not in set(Radiometry) or Radiometry(domain) is Radiometry.AMPLITUDE:
        raise RadiometryError(
            f"homogeneous areas: pixels are declared {domain!s}, expected linear intensity",
            fix="convert with sarcurate.core.radiometry.to_intensity and declare intensity",
        )
    if intensity.ndim != 3 or intensity.dtype not in (np.float32, np.float64):
        raise DataError(
            f"homogeneous areas: found an array of {intensity.dtype} {intensity.shape}, "
            "expected float32 or float64 (n, rows, cols)",
            fix="stack the chips",
        )
    if window_px < 8 or window_px % 4 or not (np.isfinite(noise_floor) and noise_floor >= 0):
        raise ParamsError(
            f"homogeneous areas: window_px {window_px}, noise floor {noise_floor}; expected a multiple of 4 "
            "from 8 on, and a finite intensity >= 0",
            fix="use a window of 8 px and a noise floor of 0",
        )
    negative = np.flatnonzero((intensity < 0).any(axis=(1, 2)))
    if len(negative):
        raise RadiometryError(
            f"homogeneous areas: chip {negative[0]} (of {len(intensity)}) has pixels down to "
            f"{np.nanmin(intensity[negative[0]]):g}, expected intensity >= 0",
            fix="convert dB to linear intensity first",
        )
    return Radiometry(domain)


def _none(domain: Radiometry, n: int, window_px: int) -> HomogeneousAreas:
    """Every chip is too small."""
    empty = np.zeros((n, 0, 0))
    flags = empty.astype(bool)
    lagged = np.zeros((2, LAGS, n, 0, 0))
    windows = WindowStatistics(window_px, empty, empty, empty, empty, empty, lagged, flags, flags)
    rho = np.full((2, LAGS, n), np.nan)
    reason = f"too small: below {2 * window_px} px"
    return HomogeneousAreas(domain, windows, flags, np.full(n, reason), np.zeros(n, dtype=np.int64), rho)


def _middle(cv2: Array, usable: Flags) -> tuple[Array, NDArray[np.float64]]:
    """CV^2, infinite where unusable, and its lower median over usable windows (n,); 1 without any."""
    values = np.where(usable, cv2, np.inf)
    order = np.sort(values.reshape(len(values), -1), axis=1)
    count = usable.sum(axis=(1, 2))
    middle = np.take_along_axis(order, np.maximum(count - 1, 0)[:, None] // 2, axis=1)[:, 0]
    return values, np.where(count > 0, middle, 1.0).astype(np.float64)


def _varied(windows: WindowStatistics, looks: Array, rho: NDArray[np.float64]) -> Flags:
    """Windows that vary more than speckle of these looks by CUT standard errors of ln CV^2."""
    m = mean_correlation(rho, windows.window_px)
    spread = np.sqrt(2 * (1 + 1 / looks) * correlated_px(rho, 2)) / windows.window_px
    limit = (1 - m) / (looks + m) * np.exp(CUT * spread)
    return np.asarray(windows.cv2 > limit[:, None, None])


def _bright(windows: WindowStatistics, looks: Array, chip_px: int) -> Flags:
    """Windows with a pixel that Gamma speckle reaches in one of 1 / BRIGHT_CHANCE chips."""
    limit = gammainccinv(looks, BRIGHT_CHANCE / chip_px) / looks
    return np.asarray(windows.peak > limit[:, None, None])


def _near_edges(windows: WindowStatistics, dim: Flags, looks: Array, rho: NDArray[np.float64]) -> Flags:
    """Windows in a square of four ``dim`` windows whose upper and lower, or left and right, halves differ.

    ln of the ratio of two means of speckle has variance sum(rho) / (L pixels) from each.
    """
    corners = [(slice(None), rows, cols) for rows in _ENDS for cols in _ENDS]
    means = [np.where(dim, windows.mean, 1)[corner] for corner in corners]
    down = np.log((means[0] + means[1]) / (means[2] + means[3]))
    across = np.log((means[0] + means[2]) / (means[1] + means[3]))
    spread = np.sqrt(correlated_px(rho, 1) / (looks * windows.window_px**2))
    limit = ndtri(1 - EDGE_CHANCE / (4 * down[0].size)) * spread
    tested = np.logical_and.reduce([dim[corner] for corner in corners])
    edge = tested & (np.maximum(np.abs(down), np.abs(across)) > limit[:, None, None])
    near = np.zeros(dim.shape, dtype=bool)
    for row in range(3):
        for col in range(3):
            near[:, row : row + edge.shape[1], col : col + edge.shape[2]] |= edge
    return near


_ENDS = (slice(None, -2), slice(2, None))


def _covered(kept: Flags) -> NDArray[np.int64]:
    """How many kept windows hold each half-window block, (n, down + 1, across + 1)."""
    shifted = [np.pad(kept, ((0, 0), (a, 1 - a), (b, 1 - b))) for a in (0, 1) for b in (0, 1)]
    return np.asarray(np.sum(shifted, axis=0, dtype=np.int64))


def _reasons(intensity: Array, saturated: Flags, enough: Flags) -> NDArray[np.str_]:
    finite = np.isfinite(intensity)
    top = np.where(finite, intensity, -np.inf).max(axis=(1, 2))
    low = np.where(finite, intensity, np.inf).min(axis=(1, 2))
    cases = [
        ~finite.any(axis=(1, 2)),
        top == 0,
        top == low,
        saturated.mean(axis=(1, 2)) > 0.5,
        ~enough,
    ]
    words = ["no valid pixels", "all zero", "constant", "saturated", "zeros, holes or noise everywhere"]
    return np.select(cases, words, "no homogeneous area").astype(np.str_)
