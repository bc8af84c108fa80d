"""The band-limited, weighted impulse response of a focused SAR image."""

from __future__ import annotations

from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from sarcurate.errors import ParamsError

_TAYLOR_NBAR = 4
_TAYLOR_SIDELOBE_DB = -30.0


class Weighting(StrEnum):
    """Spectral weighting of the processed band along one axis."""

    NONE = "none"
    HAMMING = "hamming"
    TAYLOR = "taylor"


@cache
def cosine_coefficients(weighting: Weighting) -> tuple[float, ...]:
    """Coefficients c of the weight w(u) = c[0] + 2 sum_m c[m] cos(2 pi m u), u in -1/2..1/2 of the band.

    Hamming is 0.54 + 0.46 cos(2 pi u); Taylor has nbar 4 and -30 dB sidelobes (Carrara, Goodman and
    Majewski 1995, Spotlight Synthetic Aperture Radar, appendix D).
    """
    if weighting is Weighting.NONE:
        return (1.0,)
    if weighting is Weighting.HAMMING:
        return (0.54, 0.23)
    return (1.0, *(_taylor_coefficient(m) for m in range(1, _TAYLOR_NBAR)))


def _taylor_coefficient(m: int) -> float:
    a = np.arccosh(10.0 ** (-_TAYLOR_SIDELOBE_DB / 20.0)) / np.pi
    sigma_squared = _TAYLOR_NBAR**2 / (a**2 + (_TAYLOR_NBAR - 0.5) ** 2)
    n = np.arange(1, _TAYLOR_NBAR, dtype=float)
    numerator = np.prod(1.0 - m**2 / (sigma_squared * (a**2 + (n - 0.5) ** 2)))
    others = n[n != m]
    return float((-1) ** (m + 1) * numerator / (2.0 * np.prod(1.0 - m**2 / others**2)))


def response(offset_bands: NDArray[np.floating], weighting: Weighting) -> NDArray[np.float64]:
    """Amplitude of the impulse response, 1 at its peak.

    Args:
        offset_bands: offset in units of the inverse bandwidth, any shape.
        weighting: the spectral weighting.
    """
    coefficients = cosine_coefficients(weighting)
    offset = np.asarray(offset_bands, dtype=np.float64)
    amplitude = coefficients[0] * np.sinc(offset)
    for m, coefficient in enumerate(coefficients[1:], start=1):
        amplitude = amplitude + coefficient * (np.sinc(offset - m) + np.sinc(offset + m))
    return amplitude / coefficients[0]


@cache
def width_factor(weighting: Weighting) -> float:
    """-3 dB width times bandwidth: 0.886 unweighted, 1.30 for Hamming."""

    def above_half(offset: float) -> float:
        return float(response(np.array(offset), weighting)) ** 2 - 0.5

    return 2.0 * float(brentq(above_half, 0.0, 1.0))


def bandwidth_per_m(resolution_m: float, weighting: Weighting) -> float:
    """Processed bandwidth in cycles per metre that gives a -3 dB width of ``resolution_m``."""
    return width_factor(weighting) / resolution_m


def spectral_weights(
    n_samples: int, spacing_m: float, resolution_m: float, weighting: Weighting
) -> NDArray[np.float64]:
    """Transfer function of one axis on the DFT's frequencies, shape (n_samples,), mean square 1.

    With mean square 1, white clutter or noise keeps its power, so intensities stay calibrated.
    A bin cut by the band's edge is weighted by the part of it inside.

    Raises:
        ParamsError: where the spacing is too coarse for the band (samples would alias).
    """
    bandwidth = bandwidth_per_m(resolution_m, weighting)
    if bandwidth * spacing_m > 1.0:
        raise ParamsError(
            f"a spacing of {spacing_m} m undersamples a {weighting} weighted resolution of {resolution_m} m: "
            f"the band takes {bandwidth * spacing_m:.2f} of the sampling rate, expected at most 1",
            fix=f"use a spacing of {1.0 / bandwidth:.3f} m or less, or a coarser resolution",
        )
    frequency = np.fft.fftfreq(n_samples, spacing_m)
    bin_width = 1.0 / (n_samples * spacing_m)
    inside = np.clip((bandwidth / 2.0 - np.abs(frequency)) / bin_width + 0.5, 0.0, 1.0)
    u = np.clip(frequency / bandwidth, -0.5, 0.5)
    coefficients = cosine_coefficients(weighting)
    weight = np.full(n_samples, coefficients[0])
    for m, coefficient in enumerate(coefficients[1:], start=1):
        weight += 2.0 * coefficient * np.cos(2.0 * np.pi * m * u)
    weight *= inside
    scaled: NDArray[np.float64] = weight / np.sqrt(np.mean(weight**2))
    return scaled
