"""Mean power spectra pooled over chips, and the distance between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from sarcurate.errors import DataError

Image = NDArray[np.floating]
Spectrum = NDArray[np.float64]

# An erased band has no logarithm; power is held at this share of the mean (-120 dB).
POWER_FLOOR = 1e-12
# Speckle is correlated over a few pixels; what goes on longer is the scene.
SPECKLE_LAGS_PX = 3
SCENE_CYCLES_PER_PX = 0.1


def mean_power_spectrum(images: Sequence[Image], segment_px: int = 32) -> Spectrum:
    """Power spectrum averaged over all images on one frequency grid.

    Welch (1967) in two dimensions: segments of segment_px x segment_px overlapping by half, mean removed,
    Hann window, |DFT|^2 / sum(window^2). The grid is the same for images of any shape; an image smaller
    than a segment is one zero-padded segment. White noise of variance v gives v in every bin.

    Args:
        images: (rows, cols) real images, of any unit; shapes may differ.
        segment_px: size of a segment and of the spectrum.

    Returns:
        (segment_px, segment_px), zero frequency first.

    Raises:
        DataError: for no images, or one under 4 px a side or not finite.
    """
    if not images:
        raise DataError("power spectrum: no images", fix="give at least one chip")
    total = np.zeros((segment_px, segment_px))
    count = 0
    for index, image in enumerate(images):
        if image.ndim != 2 or min(image.shape) < 4 or not np.isfinite(image).all():
            raise DataError(
                f"power spectrum: image {index} has shape {image.shape}, "
                f"{int((~np.isfinite(image)).sum())} non-finite values; expected 2-D, >= 4 px, finite",
                fix="leave the chip out, or correct it",
            )
        power = _segment_power(np.asarray(image, dtype=np.float64), segment_px)
        total += power.sum(axis=0)
        count += len(power)
    return total / count


def binned_log_psd(
    psd: Spectrum, low_cycles_per_px: float = 0.05, radial_bins: int = 12, angular_bins: int = 1
) -> NDArray[np.float64]:
    """(radial_bins, angular_bins) ln of mean power in polar bins, relative to the mean of all but zero.

    Radii go from low_cycles_per_px to 0.5 (the corners beyond are left out); angles from the row axis over
    half a turn, as a real image's spectrum is symmetric. Dividing by the total makes it blind to gain.

    Raises:
        DataError: for a spectrum without power, or bins narrower than the spectrum's own.
    """
    mean = psd.sum() - psd[0, 0]
    if not mean > 0:
        raise DataError("log PSD: the spectrum has no power", fix="leave out constant chips")
    bins = polar_bins((psd.shape[0], psd.shape[1]), low_cycles_per_px, radial_bins, angular_bins)
    power = bins.means(psd[None] * ((psd.size - 1) / mean))
    return np.log(np.maximum(power, POWER_FLOOR)).reshape(radial_bins, angular_bins)


@dataclass(frozen=True, eq=False)
class PolarBins:
    """Which frequencies of a spectrum fall in which polar bin.

    Args:
        order: (k,) places in the flat spectrum, bin after bin.
        starts: (bins,) where each bin begins in ``order``; radial bins outside, angular ones inside.
    """

    order: NDArray[np.intp]
    starts: NDArray[np.intp]

    def means(self, power: Spectrum) -> Spectrum:
        """(m, bins) mean power of the bins, from spectra (m, rows, cols)."""
        inside = np.take(power.reshape(len(power), power.shape[1] * power.shape[2]), self.order, axis=1)
        counts = np.diff(self.starts, append=len(self.order))
        return np.asarray(np.add.reduceat(inside, self.starts, axis=1) / counts)


@lru_cache(maxsize=16)
def polar_bins(
    shape: tuple[int, int], low_cycles_per_px: float = 0.05, radial_bins: int = 12, angular_bins: int = 1
) -> PolarBins:
    """Polar bins of a spectrum of ``shape``, zero frequency first; see :func:`binned_log_psd`.

    Raises:
        DataError: for bins that hold no frequency.
    """
    row, col = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    radius = np.hypot(row, col)
    inside = (radius >= low_cycles_per_px) & (radius <= 0.5)
    edges = np.linspace(low_cycles_per_px, 0.5, radial_bins + 1)[1:-1]
    radial = np.digitize(radius[inside], edges)
    # Half a turn in sectors centred on the axes, so that both sides of an axis fall in one sector.
    turn = np.arctan2(col[inside], row[inside]) / np.pi * angular_bins
    place = radial * angular_bins + np.mod(np.floor(turn + 0.5).astype(int), angular_bins)
    counts = np.bincount(place, minlength=radial_bins * angular_bins)
    if (counts == 0).any():
        raise DataError(
            f"log PSD: {int((counts == 0).sum())} of {radial_bins} x {angular_bins} bins hold no frequency "
            f"of a {shape[0]} x {shape[1]} spectrum",
            fix="use fewer bins or a larger segment_px",
        )
    order = np.flatnonzero(inside)[np.argsort(place, kind="stable")]
    return PolarBins(order, np.cumsum(counts) - counts)


def radial_log_psd(
    psd: Spectrum, low_cycles_per_px: float = 0.05, radial_bins: int = 12
) -> NDArray[np.float64]:
    """(radial_bins,) ln of mean power in rings; see :func:`binned_log_psd`."""
    return binned_log_psd(psd, low_cycles_per_px, radial_bins)[:, 0]


def log_psd_distance(
    psd_a: Spectrum,
    psd_b: Spectrum,
    low_cycles_per_px: float = 0.05,
    radial_bins: int = 12,
    angular_bins: int = 1,
) -> float:
    """Mean |difference| of ln power over polar bins; 0.1 is about 0.4 dB.

    Compares moduli, so two speckle draws of the same law are close, where a difference of complex spectra
    calls an image with its high band erased closer than a second draw. One angular bin looks at rings only;
    more see range and azimuth apart.
    """
    bins = (low_cycles_per_px, radial_bins, angular_bins)
    return float(np.mean(np.abs(binned_log_psd(psd_a, *bins) - binned_log_psd(psd_b, *bins))))


def transfer_spectrum(image: Image, source: Spectrum, target: Spectrum, max_gain: float) -> Spectrum:
    """The image with its DFT multiplied by sqrt(target / source), its mean untouched.

    The amplitude gain is limited to [1 / max_gain, max_gain] and interpolated to the image's own
    frequencies; the image is mirrored at its edges, so that opposite edges do not leak into each other.

    Args:
        image: (rows, cols), any real unit.
        source: power spectrum of such images, from :func:`mean_power_spectrum`.
        target: power spectrum wanted, on the same frequency grid.
        max_gain: largest amplitude gain, >= 1.
    """
    floor = POWER_FLOOR * max(float(source.mean()), float(target.mean()))
    ratio = np.sqrt(np.maximum(target, floor) / np.maximum(source, floor))
    gain = np.clip(ratio, 1 / max_gain, max_gain)
    # The mean was removed before the spectra were measured: its bin says nothing about this frequency.
    gain[0, 0] = np.mean([gain[0, 1], gain[0, -1], gain[1, 0], gain[-1, 0]])
    pads = [(size // 2, size - size // 2) for size in image.shape]
    wide = np.pad(np.asarray(image, dtype=np.float64), pads, mode="symmetric")
    bins = [np.fft.fftfreq(size) * n for size, n in zip(wide.shape, gain.shape, strict=True)]
    fine = map_coordinates(gain, np.meshgrid(*bins, indexing="ij"), order=1, mode="grid-wrap")
    shaped = np.fft.ifft2(np.fft.fft2(wide - wide.mean()) * fine).real + wide.mean()
    return np.asarray(shaped[tuple(slice(p, p + s) for (p, _), s in zip(pads, image.shape, strict=True))])


def missing_correlation(present: Spectrum, wanted: Spectrum) -> NDArray[np.float64]:
    """Field correlation of the speckle that an image lacks, up to 3 pixels, from spectra of ln intensity.

    ln of a product is a sum, and spectra of independent fields add: speckle to multiply by has the
    spectrum wanted - present where that is positive. Below 0.1 cycles/px the scene rules; there the
    lowest ring above is continued. Its inverse DFT is the intensity correlation, the square of the
    field's for fully developed speckle (the logarithm leaves its shape nearly alone); tapered to zero
    after 3 pixels.

    Returns:
        (7, 7) field correlation, 1 at the centre; that of white noise where nothing is missing.
    """
    row, col = np.meshgrid(*(np.fft.fftfreq(n) for n in present.shape), indexing="ij")
    radius = np.hypot(row, col)
    lack = np.clip(wanted - present, 0.0, None)
    ring = (radius >= SCENE_CYCLES_PER_PX) & (radius < 1.5 * SCENE_CYCLES_PER_PX)
    lack = np.where(radius >= SCENE_CYCLES_PER_PX, lack, lack[ring].mean())
    lags = np.arange(-SPECKLE_LAGS_PX, SPECKLE_LAGS_PX + 1)
    if not lack.any():
        return np.outer(lags == 0, lags == 0).astype(np.float64)
    correlation = np.fft.ifft2(lack).real[np.ix_(lags, lags)] / lack.mean()
    taper = np.cos(np.pi * lags / (2 * SPECKLE_LAGS_PX + 2))
    return np.asarray(np.sqrt(np.clip(correlation, 0.0, None)) * np.outer(taper, taper))


def correlation_transfer(shape: tuple[int, int], correlation: Image) -> NDArray[np.float64]:
    """Amplitude transfer function on the DFT grid of ``shape`` of a field with this (odd, odd) correlation.

    The correlation wraps around on shapes smaller than itself; power that comes out negative is zero.
    """
    lags = [np.arange(n) - n // 2 for n in correlation.shape]
    kernel = np.zeros(shape)
    wrapped = np.ix_(lags[0] % shape[0], lags[1] % shape[1])
    np.add.at(kernel, wrapped, correlation)
    return np.asarray(np.sqrt(np.clip(np.fft.fft2(kernel).real, 0.0, None)))


def _segment_power(image: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """(segments, n, n) windowed periodograms of one image."""
    shape = (min(n, image.shape[0]), min(n, image.shape[1]))
    starts = [_starts(size, length) for size, length in zip(image.shape, shape, strict=True)]
    segments = sliding_window_view(image, shape)[np.ix_(*starts)].reshape(-1, *shape)
    window = np.outer(*(_hann(length) for length in shape))
    centred = (segments - segments.mean(axis=(1, 2), keepdims=True)) * window
    power: NDArray[np.float64] = np.abs(np.fft.fft2(centred, s=(n, n))) ** 2 / (window**2).sum()
    return power


def _starts(size: int, length: int) -> list[int]:
    """First pixels of half-overlapping segments; the last one ends at the edge."""
    last = size - length
    return sorted({*range(0, last + 1, max(1, length // 2)), last})


def _hann(length: int) -> NDArray[np.float64]:
    """Hann window without the two zero end samples, which would throw pixels away."""
    return np.asarray(np.hanning(length + 2)[1:-1], dtype=np.float64)
