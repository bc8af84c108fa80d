"""A sensor's pixel grid, and moving an intensity chip from one grid to another."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from sarcurate.errors import DataError

Pair = tuple[float, float]

# Variance of a Gaussian from its full width at half maximum: fwhm^2 / (8 ln 2).
FWHM2_PER_VARIANCE = 8.0 * math.log(2.0)


@dataclass(frozen=True)
class SensorGrid:
    """Spacing and -3 dB resolution of a sensor's pixels, in metres; rows are azimuth, columns range.

    Raises:
        DataError: for a value that is not finite and positive.
    """

    azimuth_spacing_m: float
    range_spacing_m: float
    azimuth_resolution_m: float
    range_resolution_m: float

    def __post_init__(self) -> None:
        for field in fields(self):
            _positive(field.name, getattr(self, field.name))

    @property
    def spacing_m(self) -> Pair:
        """(row, column) spacing."""
        return self.azimuth_spacing_m, self.range_spacing_m

    @property
    def resolution_m(self) -> Pair:
        """(row, column) resolution."""
        return self.azimuth_resolution_m, self.range_resolution_m


def resample_intensity(
    chip: NDArray[np.floating], source: SensorGrid, target: SensorGrid
) -> NDArray[np.float32]:
    """The chip as seen at another spacing and a resolution at least as coarse.

    The filter. With coherent point response h, the mean intensity of incoherent scatterers is their
    cross section convolved with |h|^2. To turn |h_s|^2 into |h_t|^2 the chip is convolved with a g such
    that |h_s|^2 * g = |h_t|^2; widths (variances) add under convolution, so with Gaussian main lobes of
    -3 dB widths rho, var(g) = (rho_t^2 - rho_s^2) / (8 ln 2) an axis. The exact quotient of the two
    triangular intensity transfer functions would ring below zero; a Gaussian times a mean over the new
    pixel keeps intensity >= 0 and suppresses what the new spacing cannot carry. The mean over k pixels
    has variance (k^2 - 1) / 12 pixels^2, which is taken off the Gaussian.
    A resolution finer than the chip's own adds nothing: content is never sharpened.

    Each new pixel averages a window as wide as the larger of both spacings (for a finer grid this is linear
    interpolation). Both grids share the chip's centre; edges are mirrored. The mean is kept exactly
    when the footprint is a whole number of new pixels.

    Args:
        chip: (rows, cols) linear intensity.
        source: the chip's spacing and resolution.
        target: the spacing and resolution wanted.

    Returns:
        Linear intensity, rows and columns times source spacing / target spacing, rounded.

    Raises:
        DataError: for a chip that is not 2-D, or a footprint under half a new pixel.
    """
    if chip.ndim != 2:
        raise DataError(f"resample: expected a 2-D chip, found shape {chip.shape}", fix="pass one band")
    out = np.asarray(chip, dtype=np.float64)
    for axis in (0, 1):
        variance_m2 = (target.resolution_m[axis] ** 2 - source.resolution_m[axis] ** 2) / FWHM2_PER_VARIANCE
        out = _resample_axis(out, axis, source.spacing_m[axis], target.spacing_m[axis], variance_m2)
    return out.astype(np.float32)


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise DataError(
            f"sensor grid: {name} is {value}, expected metres > 0",
            fix=f"give {name} in the sensor profile",
        )


def _resample_axis(
    image: NDArray[np.float64], axis: int, from_m: float, to_m: float, variance_m2: float
) -> NDArray[np.float64]:
    """One axis: Gaussian for the resolution, then window means on the new grid."""
    window_variance_m2 = max(0.0, to_m**2 - from_m**2) / 12.0
    sigma_px = math.sqrt(max(0.0, variance_m2 - window_variance_m2)) / from_m
    if sigma_px > 0:
        image = gaussian_filter1d(image, sigma_px, axis=axis, mode="reflect")
    if from_m == to_m:
        return image
    weights = _window_weights(image.shape[axis], to_m / from_m)
    return np.moveaxis(np.tensordot(weights, image, axes=(1, axis)), 0, axis)


def _window_weights(n_from: int, ratio: float) -> NDArray[np.float64]:
    """(n_to, n_from) weights of the mean over windows max(1, ratio) pixels wide, spaced by ratio."""
    n_to = round(n_from / ratio)
    if n_to < 1:
        raise DataError(
            f"resample: {n_from} px are {n_from / ratio:.2f} px of the new grid, expected at least one",
            fix="use chips with a larger footprint or a finer target spacing",
        )
    width = max(1.0, ratio)
    pad = math.ceil(width) + 1
    centres = n_from / 2 + (np.arange(n_to) - (n_to - 1) / 2) * ratio
    left = np.arange(-pad, n_from + pad)
    upper = np.minimum(centres[:, None] + width / 2, left + 1)
    lower = np.maximum(centres[:, None] - width / 2, left)
    overlap = np.clip(upper - lower, 0.0, None) / width
    folded = np.mod(left, 2 * n_from)
    weights = np.zeros((n_to, n_from))
    np.add.at(weights.T, np.minimum(folded, 2 * n_from - 1 - folded), overlap.T)
    return weights
