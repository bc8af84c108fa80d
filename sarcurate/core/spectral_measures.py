"""Spectral measures of each chip: rings, band, high frequencies, and grids left by a decoder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft2
from scipy.ndimage import gaussian_filter1d
from scipy.special import fdtrc

from sarcurate.core.chip_stack import ChipStack, chip_stack
from sarcurate.core.measure import Measure
from sarcurate.core.resampling import LEAST_PX as LEAST_BAND_PX
from sarcurate.core.resampling import occupied_shares
from sarcurate.core.spectrum import POWER_FLOOR, binned_log_psd, polar_bins
from sarcurate.errors import DataError

Values = NDArray[np.float64]

LEAST_PX = 32  # twelve rings from 0.05 cycles/px need bins no wider
_WINDOW_BINS = 2  # half width of the Hann window's main lobe
_BLOCK_BINS = 5  # half width of the neighbourhood that a spike is compared with
# A median of n exponential powers is as good as the mean of n / 2.08; unwindowed bins are independent.
_EXPONENTIALS_PER_BIN = 1 / 2.08
_FLAT_PX = 4.0  # Gaussian of the local mean: half of the latent grid's period
_TARGET_RATIO = 4.0  # amplitude over its local mean that speckle does not reach


@dataclass(frozen=True, eq=False)
class Periodograms:
    """Power spectra of contrast: of intensity over its mean, or of amplitude over its local mean, less 1.

    Args:
        power: (m, rows, cols), zero frequency first; white noise of variance v gives v in every bin.
        chips: which of all chips they are, and why the others are not there.
    """

    power: Values
    chips: ChipStack


def periodograms(intensity: NDArray[np.floating] | ChipStack) -> Periodograms:
    """Windowed 2-D periodogram of each chip of (n, rows, cols) linear intensity, 32 px a side or more.

    |DFT|^2 / sum(window^2) of the whole chip, as :func:`sarcurate.core.spectrum.mean_power_spectrum` with
    one segment.

    Raises:
        DataError: for chips that are no such stack.
    """
    chips = chip_stack(intensity, LEAST_PX)
    rows, cols = chips.fit.shape[1:]
    if not len(chips.fit):
        return Periodograms(np.empty((0, rows, cols)), chips)
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(cols + 2)[1:-1])
    window /= np.sqrt((window**2).mean())
    contrast = chips.fit / chips.fit.mean(axis=(1, 2), keepdims=True)
    contrast -= 1
    contrast *= window
    return Periodograms(_power(contrast), chips)


def flat_periodograms(intensity: NDArray[np.floating] | ChipStack) -> Periodograms:
    """Unwindowed 2-D periodogram of amplitude over its local mean, for regular grids.

    A decoder's grid multiplies, and bright points would hide it behind their own spectrum: in intensity a
    checkerboard of 5 % of amplitude stands out in a third of built-up chips, in this in all. Ratios are held
    at 4, which one-look amplitude exceeds once in 300,000 pixels. A grid has bins of its own and a flat chip
    has no edges to leak, so a window would only take power away.

    Args:
        intensity: (n, rows, cols) linear, 32 px a side or more.

    Raises:
        DataError: for chips that are no such stack.
    """
    chips = chip_stack(intensity, LEAST_PX)
    rows, cols = chips.fit.shape[1:]
    if not len(chips.fit):
        return Periodograms(np.empty((0, rows, cols)), chips)
    amplitude = np.sqrt(chips.fit)
    local = _smoother(rows) @ amplitude @ _smoother(cols).T
    ratio = np.divide(amplitude, local, out=np.ones_like(amplitude), where=local > 0)
    np.minimum(ratio, _TARGET_RATIO, out=ratio)
    ratio -= ratio.mean(axis=(1, 2), keepdims=True)
    return Periodograms(_power(ratio), chips)


@lru_cache(maxsize=16)
def _smoother(size_px: int) -> Values:
    """(size, size) matrix of scipy's Gaussian filter along an axis, mirrored at the ends."""
    return np.asarray(gaussian_filter1d(np.eye(size_px), _FLAT_PX, axis=0, mode="reflect"))


def _power(contrast: Values) -> Values:
    """(m, rows, cols) squared modulus of the DFT over the number of pixels."""
    half = rfft2(contrast, norm="ortho")
    width, mirrored = half.shape[2], slice((contrast.shape[2] - 1) // 2, 0, -1)
    power = np.empty(contrast.shape)
    part = power[:, :, :width]
    parts = half.view(np.float64)
    np.square(parts, out=parts)
    np.add(parts[:, :, ::2], parts[:, :, 1::2], out=part)
    # A real chip's spectrum is point symmetric: the other half costs no transform.
    power[:, 0, width:] = part[:, 0, mirrored]
    power[:, 1:, width:] = part[:, :0:-1, mirrored]
    return power


def log_psds(
    spectra: Periodograms, low_cycles_per_px: float = 0.05, radial_bins: int = 12, angular_bins: int = 1
) -> Values:
    """(m, radial_bins, angular_bins) ln of mean power in polar bins, relative to the mean of all but zero.

    The bins of :func:`sarcurate.core.spectrum.binned_log_psd`, for all chips at once.

    Raises:
        DataError: for bins narrower than the spectrum's own.
    """
    _, rows, cols = spectra.power.shape
    bins = polar_bins((rows, cols), low_cycles_per_px, radial_bins, angular_bins)
    relative = bins.means(spectra.power) * ((rows * cols - 1) / _total(spectra)[:, None])
    logs = np.log(np.maximum(relative, POWER_FLOOR))
    return np.asarray(logs.reshape(len(logs), radial_bins, angular_bins))


def target_distance(
    spectra: Periodograms,
    target: Values,
    low_cycles_per_px: float = 0.05,
    radial_bins: int = 12,
    angular_bins: int = 1,
) -> Measure:
    """Mean |difference| of ln power over polar bins to a pooled target spectrum; 0.1 is about 0.4 dB.

    Args:
        spectra: of the chips.
        target: pooled power spectrum of intensity contrast, zero frequency first, of any size; its own bins
            must not be wider than the polar ones.
        low_cycles_per_px: lowest radius.
        radial_bins: from there to 0.5 cycles/px.
        angular_bins: over half a turn; more than one sees range and azimuth apart.
    """
    bins = (low_cycles_per_px, radial_bins, angular_bins)
    if not len(spectra.power):  # chips too small for any ring stay a reason
        return spectra.chips.measure([])
    gap = np.abs(log_psds(spectra, *bins) - binned_log_psd(target, *bins))
    return spectra.chips.measure(gap.mean(axis=(1, 2)))


def high_frequency_ratio(spectra: Periodograms, low: float = 0.25, high: float = 0.5) -> Measure:
    """Share of a chip's power in the ring low <= r <= high cycles/px, of all but zero frequency.

    White noise has the share of bins, pi (0.5^2 - 0.25^2) = 0.589. The ring is that of the frequency loss of
    arXiv:2606.28922, equation 21.
    """
    _, rows, cols = spectra.power.shape
    radius = np.hypot(*_frequencies(rows, cols))
    ring = (radius >= low) & (radius <= high)
    return spectra.chips.measure(_power_of(spectra, ring) / _total(spectra))


def out_of_band_ratio(spectra: Periodograms, band: tuple[float, float]) -> Measure:
    """Share of a chip's power at frequencies that the sensor's band cannot hold.

    Args:
        spectra: of the chips.
        band: (azimuth, range) share of the sampling rate that the spectrum of *intensity* fills: twice
            that of the complex samples, as detection convolves a spectrum with itself.

    Two bins beyond the band's edge still count as inside, for the window's main lobe. Where both axes are
    full there is no outside, hence a reason instead of a zero.

    Raises:
        DataError: for a band that is not positive.
    """
    if not min(band) > 0:
        raise DataError(f"out of band: the band is {band}, expected shares > 0", fix="correct the band")
    _, rows, cols = spectra.power.shape
    row, col = _frequencies(rows, cols)
    outside = (np.abs(row) > band[0] / 2 + _WINDOW_BINS / rows) | (
        np.abs(col) > band[1] / 2 + _WINDOW_BINS / cols
    )
    ratio = _power_of(spectra, outside) / _total(spectra)
    return spectra.chips.measure(ratio, np.full(len(ratio), not outside.any()), "the band fills the sampling")


def occupied_bands(intensity: NDArray[np.floating] | ChipStack) -> tuple[Measure, Measure]:
    """(azimuth, range) share of the sampling rate that each chip's spectrum fills.

    That of detected pixels of :func:`sarcurate.core.resampling.occupied_band`, for all chips at once.
    """
    chips = chip_stack(intensity, LEAST_BAND_PX)
    # A fit chip varies, so both shares exist.
    azimuth, range_ = (chips.measure(share) for share in occupied_shares(chips.fit))
    return azimuth, range_


@dataclass(frozen=True, eq=False)
class GridSpikes:
    """The strongest spike of a regular grid in each chip's spectrum.

    ``peak_over_median``: power over the local median, 1.44 for a mean bin without any spike. ``p_value``:
    chance of a spike as improbable in a smooth spectrum, corrected for the number of places looked at.
    Of 64 px chips of speckle of 1 to 4 looks, 4.8 to 6.0 % are below 0.05 and 0.6 to 1.3 % below 0.01, by
    simulation; edges and bright points leave it roughly so, hence limits from real chips.
    """

    peak_over_median: Measure
    p_value: Measure


def grid_spikes(spectra: Periodograms, period_px: int) -> GridSpikes:
    """Spikes at the multiples of 1 / period_px along both axes: a latent grid (8) or a checkerboard (2).

    Each place is compared with the median of its 11 x 11 neighbourhood without the inner 3 x 3. For speckle
    the ratio to the local mean is F distributed: 2 degrees of freedom over the median's own, 1 at the
    frequencies that are their own mirror. Places of period 2 count for 2 alone. Valid where the local
    spectrum is smooth; two-dimensional, so lines along an axis do not count.

    Args:
        spectra: of :func:`flat_periodograms`.
        period_px: 2 or 8.

    Raises:
        DataError: for a period that the chips' sides are no multiple of: crop them first.
    """
    _, rows, cols = spectra.power.shape
    if not len(spectra.power):
        return GridSpikes(spectra.chips.measure([]), spectra.chips.measure([]))
    if rows % period_px or cols % period_px:
        raise DataError(
            f"grid spikes: chips of {rows} x {cols} px, expected multiples of {period_px}",
            fix=f"crop the chips to multiples of {period_px} px",
        )
    peaks, own_mirror = _spike_places(rows, cols, period_px)
    ratio = _over_local_median(spectra.power, np.array(peaks))
    bins = ((2 * _BLOCK_BINS + 1) ** 2 - 9) * _EXPONENTIALS_PER_BIN
    relative = ratio * np.log(2)
    chance = np.where(own_mirror, fdtrc(1, bins, relative), fdtrc(2, 2 * bins, relative))
    least = chance.min(axis=1)
    best = np.take_along_axis(ratio, chance.argmin(axis=1)[:, None], axis=1)[:, 0]
    chips = spectra.chips
    return GridSpikes(chips.measure(best), chips.measure(-np.expm1(len(peaks) * np.log1p(-least))))


def _spike_places(rows: int, cols: int, period_px: int) -> tuple[list[tuple[int, int]], NDArray[np.bool_]]:
    """Bins of the grid's harmonics, one of each mirrored pair, and whether each is its own mirror."""
    kept = []
    for i in range(period_px):
        for j in range(period_px):
            mirror = (-i % period_px, -j % period_px)
            half_rate = all(2 * k % period_px == 0 for k in (i, j))
            if (i, j) != (0, 0) and (i, j) <= mirror and (period_px == 2 or not half_rate):
                kept.append((i, j))
    own = np.array([(-i % period_px, -j % period_px) == (i, j) for i, j in kept])
    return [(i * rows // period_px, j * cols // period_px) for i, j in kept], own


def _over_local_median(power: Values, peaks: NDArray[np.intp]) -> Values:
    """(m, places) power of bins (places, 2) over the median of their surroundings, around the ends."""
    offsets = np.arange(-_BLOCK_BINS, _BLOCK_BINS + 1)
    d_row, d_col = np.meshgrid(offsets, offsets, indexing="ij")
    around = np.maximum(np.abs(d_row), np.abs(d_col)) > 1
    _, rows, cols = power.shape
    near = (peaks[:, :1] + d_row[around]) % rows * cols + (peaks[:, 1:] + d_col[around]) % cols
    flat = power.reshape(len(power), rows * cols)
    middle = near.shape[1] // 2
    ranked = np.sort(np.take(flat, near, axis=1), axis=2)  # faster than a partition of so few
    local = (ranked[:, :, middle - 1] + ranked[:, :, middle]) / 2
    return np.asarray(flat[:, peaks[:, 0] * cols + peaks[:, 1]] / np.maximum(local, POWER_FLOOR))


def _frequencies(rows: int, cols: int) -> tuple[Values, Values]:
    row, col = np.meshgrid(np.fft.fftfreq(rows), np.fft.fftfreq(cols), indexing="ij")
    return row, col


def _power_of(spectra: Periodograms, chosen: NDArray[np.bool_]) -> Values:
    """(m,) power at the chosen (rows, cols) frequencies, summed in the same order for any number of chips."""
    flat = spectra.power.reshape(len(spectra.power), chosen.size)
    return np.asarray(np.take(flat, np.flatnonzero(chosen), axis=1).sum(axis=1))


def _total(spectra: Periodograms) -> Values:
    """(m,) power of all frequencies but zero."""
    return np.asarray(spectra.power.sum(axis=(1, 2)) - spectra.power[:, 0, 0])
