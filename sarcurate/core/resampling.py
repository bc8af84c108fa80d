"""Resampling: how much of the sampled band a chip fills, and lines that repeat each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

LEAST_PX = 32
LARGEST_PX = 1024
# shares of the sampling rate below which a chip counts as upsampled; docs/forensics.md gives the rates
LEAST_BAND_COMPLEX = 0.5
LEAST_BAND_DETECTED = 0.72
LEAST_REPEATED = 0.2
_COMPLEX_DROP = 0.1
_DETECTED_DROP = 0.02
_PLATEAU_CYCLES_PER_PX = (0.04, 0.16)
_SMOOTH_BINS = 5
_HALF_POWER_WIDTH = 0.886  # resolution times bandwidth of an unweighted band


@dataclass(frozen=True)
class BandLimits:
    """Least shares of the band that a sensor's own sampling explains, each as (azimuth, range)."""

    complex_least: tuple[float, float] = (LEAST_BAND_COMPLEX, LEAST_BAND_COMPLEX)
    detected_least: tuple[float, float] = (LEAST_BAND_DETECTED, LEAST_BAND_DETECTED)


def band_limits(
    spacing_m: tuple[float, float],
    resolution_m: tuple[float | None, float | None],
    range_bandwidth_over_sampling: float | None,
) -> BandLimits:
    """What may be called upsampled, for a sensor that itself samples more finely than it resolves.

    Spacing over resolution gives the share of an unweighted band, 0.886 spacing / resolution; it can only
    lower a limit: 0.75 of it for complex samples, 1.1 of it for detected ones, whose band is up to twice as
    wide. A stated bandwidth over sampling frequency says how full complex range must be, so 0.75 of it is
    the limit, be it above or below the usual one.

    Args:
        spacing_m: (azimuth, range), m.
        resolution_m: (azimuth, range) -3 dB widths, m; None where unknown.
        range_bandwidth_over_sampling: of the samples' own range grid; None where unknown.
    """
    shares = [
        1.0 if width is None else _HALF_POWER_WIDTH * step / width
        for step, width in zip(spacing_m, resolution_m, strict=True)
    ]
    whole = [min(LEAST_BAND_COMPLEX, 0.75 * share) for share in shares]
    if range_bandwidth_over_sampling is not None:
        whole[1] = 0.75 * min(range_bandwidth_over_sampling, 1.0)
    seen = [min(LEAST_BAND_DETECTED, 1.1 * share) for share in shares]
    return BandLimits((whole[0], whole[1]), (seen[0], seen[1]))


def occupied_band(chip: NDArray[np.inexact]) -> tuple[float | None, float | None]:
    """(azimuth, range) share of the sampling rate that the chip's power spectrum fills, in (0, 1].

    The spectrum along one axis, Hann windowed, averaged over the other and over 5 bins, against its own
    plateau. Complex samples: above a tenth (-10 dB) of the 0.9 quantile. Detected pixels: above 0.02
    (-17 dB) of the median between 0.04 and 0.16 cycles/px; here the lines' median stands for their mean,
    as the few lines through a bright target show its response alone. Detection convolves a spectrum with
    itself, so a complex band of 0.6 fills the whole detected one; what fills half of it was interpolated
    after detection, or came from samples twice finer than the band needs. A noise floor, quantisation
    included, above these levels counts as filled. Of larger images the first 1024 px a side are used.

    Returns:
        None along an axis shorter than 32 px, or where the chip does not vary.
    """
    chip = chip[:LARGEST_PX, :LARGEST_PX]
    centred = chip - chip.mean()
    found: list[float | None] = []
    for lines in (centred.T, centred):
        if lines.shape[1] < LEAST_PX or not np.any(lines):
            found.append(None)
        elif np.iscomplexobj(lines):
            found.append(_complex_share(lines))
        else:
            found.append(float(_detected_shares(lines[None])[0]))
    return found[0], found[1]


def occupied_shares(chips: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(azimuth, range) shares (n,) of detected chips (n, rows, cols), as :func:`occupied_band` of each.

    Every chip must vary and have 32 px a side or more.
    """
    chips = chips[:, :LARGEST_PX, :LARGEST_PX]
    centred = chips - chips.mean(axis=(1, 2), keepdims=True)
    return _detected_shares(centred.swapaxes(1, 2)), _detected_shares(centred)


def repeated_lines(chip: NDArray[np.generic]) -> float:
    """Share of neighbouring rows, or columns if more, that are equal but not constant.

    Repeating pixels k times gives (k - 1) / k; any continuous law gives 0.
    """
    return max(_repeats(chip), _repeats(chip.T))


def _repeats(lines: NDArray[np.generic]) -> float:
    if min(lines.shape) < 2:
        return 0.0
    equal = (lines[1:] == lines[:-1]).all(axis=1)
    if not equal.any():
        return 0.0
    varied = (lines[1:] != lines[1:, :1]).any(axis=1)
    return float((equal & varied).mean())


def _complex_share(lines: NDArray[np.complexfloating]) -> float:
    """Occupied share along the last axis of (lines, samples)."""
    power = _smooth(_power(np.fft.fft(lines * _window(lines.shape[1]), axis=1)).mean(axis=0))
    return float(np.mean(power > _COMPLEX_DROP * np.quantile(power, 0.9)))


def _detected_shares(lines: NDArray[np.floating]) -> NDArray[np.float64]:
    """Occupied share (n,) along the last axis of (n, lines, samples)."""
    n, number, count = lines.shape
    if not n:
        return np.empty(0)
    spectra = _power(rfft(lines * _window(count), axis=2)).swapaxes(1, 2)
    half = np.sort(np.ascontiguousarray(spectra), axis=2)[:, :, number // 2]
    both = np.concatenate([half, half[:, 1 : (count + 1) // 2][:, ::-1]], axis=1)
    frequency = np.abs(np.fft.fftfreq(count))
    low, high = _PLATEAU_CYCLES_PER_PX
    plateau = np.median(both[:, (frequency >= low) & (frequency <= high)], axis=1)
    return np.asarray(np.mean(_smooth(both) > _DETECTED_DROP * plateau[:, None], axis=1))


def _window(count: int) -> NDArray[np.float64]:
    return np.asarray(np.hanning(count + 2)[1:-1], dtype=np.float64)


def _power(spectra: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    return np.asarray(spectra.real**2 + spectra.imag**2)


def _smooth(power: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean over neighbouring bins of the last axis, around the ends of the band."""
    reach = _SMOOTH_BINS // 2
    wide = np.concatenate([power[..., -reach:], power, power[..., :reach]], axis=-1)
    count = power.shape[-1]
    shifted = (wide[..., k : k + count] for k in range(_SMOOTH_BINS))
    return np.asarray(sum(shifted, np.zeros(power.shape)) / _SMOOTH_BINS)
