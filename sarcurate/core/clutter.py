"""K-distributed ground clutter: Gamma texture, and what it does to the number of looks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.fft import ifft

from sarcurate.errors import ParamsError

_NO_POWER = 1e-5


def gamma_texture(
    shape: tuple[int, int],
    spacing_m: tuple[float, float],
    order: float,
    correlation_m: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Correlated Gamma texture of mean 1 and variance 1 / order.

    The mean of 2 * order squared Gaussian fields is Gamma distributed with that order (a chi-square law),
    at any correlation; its autocovariance is rho^2 / order, rho the correlation of the Gaussian fields,
    here exp(-(distance / correlation_m)^2). The field is periodic over the grid.

    Args:
        shape: rows and columns.
        spacing_m: azimuth and range spacing.
        order: multiple of 1/2; infinity gives uniform clutter.
        correlation_m: distance in m at which the Gaussian fields' correlation falls to 1/e.
        rng: source of randomness.

    Raises:
        ParamsError: for an order that is not a positive multiple of 1/2.
    """
    if math.isinf(order):
        return np.ones(shape)
    n_fields = round(2.0 * order)
    if n_fields < 1 or n_fields != 2.0 * order:
        raise ParamsError(
            f"texture order is {order}, expected a positive multiple of 0.5 or infinity",
            fix=f"round it, for example to {max(0.5, n_fields / 2.0)}",
        )
    along = _amplitude_spectrum(shape[0], spacing_m[0], correlation_m)
    across = _amplitude_spectrum(shape[1], spacing_m[1], correlation_m)
    fields = _smooth_fields(n_fields, along, across, rng)
    texture: NDArray[np.float64] = np.einsum("nrc,nrc->rc", fields, fields) / n_fields
    return texture


def _amplitude_spectrum(n_samples: int, spacing_m: float, correlation_m: float) -> NDArray[np.float64]:
    """Filter along one axis that turns white noise into noise of unit variance and Gaussian correlation."""
    lag_m = np.fft.fftfreq(n_samples) * n_samples * spacing_m
    power = np.fft.fft(np.exp(-((lag_m / correlation_m) ** 2))).real
    amplitude: NDArray[np.float64] = np.sqrt(np.maximum(power, 0.0))
    return amplitude


def _smooth_fields(
    n_fields: int, along: NDArray[np.float64], across: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Independent real Gaussian fields, shape (n_fields, rows, cols), on a periodic grid.

    Real and imaginary part of one complex field are independent, so half as many transforms do. Only the
    frequencies that carry power are drawn.
    """
    rows = np.flatnonzero(along > _NO_POWER * along.max())
    cols = np.flatnonzero(across > _NO_POWER * across.max())
    n_complex = -(-n_fields // 2)
    drawn = rng.standard_normal((n_complex, rows.size, cols.size, 2)).view(np.complex128)[..., 0]
    narrow = np.zeros((n_complex, along.size, cols.size), dtype=np.complex128)
    narrow[:, rows] = drawn * (along[rows, None] * across[cols])
    wide = np.zeros((n_complex, along.size, across.size), dtype=np.complex128)
    wide[:, :, cols] = ifft(narrow, axis=1, norm="ortho")
    fields = ifft(wide, axis=2, norm="ortho")
    return np.concatenate([fields.real, fields.imag])[:n_fields]


def texture_variance_seen(
    azimuth_power: NDArray[np.floating],
    range_power: NDArray[np.floating],
    spacing_m: tuple[float, float],
    order: float,
    correlation_m: float,
) -> float:
    """Variance left of a Gamma texture once the impulse response has smoothed it.

    Args:
        azimuth_power: impulse response intensity along azimuth on a periodic grid, any scale.
        range_power: the same along range.
        spacing_m: azimuth and range spacing.
        order: order of the texture before smoothing.
        correlation_m: as in :func:`gamma_texture`.
    """
    kept = 1.0 / order
    for power, spacing in zip((azimuth_power, range_power), spacing_m, strict=True):
        pairs = np.fft.ifft(np.abs(np.fft.fft(power / power.sum())) ** 2).real
        lag_m = np.fft.fftfreq(power.size) * power.size * spacing
        kept *= float(np.sum(pairs * np.exp(-2.0 * (lag_m / correlation_m) ** 2)))
    return kept


def equivalent_looks(looks: int, clutter: float, noise: float, texture_variance: float) -> float:
    """Equivalent number of looks (mean^2 / variance of intensity) of textured clutter in thermal noise.

    Given the texture T the intensity of L looks is Gamma distributed with mean clutter T + noise, hence
    E[I^2] / E[I]^2 = (1 + 1/L)(1 + v (clutter / (clutter + noise))^2), v the variance of T; after Oliver
    and Quegan 2004, Understanding SAR Images, chapter 5 (product model).

    Args:
        looks: independent looks averaged.
        clutter: mean clutter intensity, linear.
        noise: noise equivalent intensity, linear.
        texture_variance: variance of the texture seen, mean 1.
    """
    share = clutter / (clutter + noise)
    return 1.0 / ((1.0 + 1.0 / looks) * (1.0 + texture_variance * share**2) - 1.0)
