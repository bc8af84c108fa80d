"""The physical meaning of pixel values, and the way from any of them to linear intensity."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sarcurate.errors import RadiometryError

FloatArray = NDArray[np.floating]


class Radiometry(StrEnum):
    """What one pixel value means.

    ``UINT8_RELATIVE`` is an 8-bit display amplitude of unknown stretch; ``UNKNOWN`` was not declared.
    Both are handled as amplitude in arbitrary units, and everything computed from them is relative.
    """

    INTENSITY = "intensity"
    AMPLITUDE = "amplitude"
    BETA0 = "beta0"
    SIGMA0 = "sigma0"
    UINT8_RELATIVE = "uint8_relative"
    UNKNOWN = "unknown"

    @property
    def is_relative(self) -> bool:
        """True where the values have no declared linear scale, so that statistics are relative."""
        return self in (Radiometry.UINT8_RELATIVE, Radiometry.UNKNOWN)

    @property
    def is_power(self) -> bool:
        """True where the values are proportional to power (intensity), not to amplitude."""
        return self in (Radiometry.INTENSITY, Radiometry.BETA0, Radiometry.SIGMA0)


def to_intensity(pixels: NDArray[np.generic], radiometry: Radiometry) -> NDArray[np.float32]:
    """Linear intensity of pixels of any shape.

    Args:
        pixels: real values >= 0.
        radiometry: their meaning; amplitude-like kinds are squared.

    Raises:
        RadiometryError: for complex, negative or non-finite values, or ones whose square overflows float32.
    """
    if np.iscomplexobj(pixels):
        raise RadiometryError(
            f"expected detected (real) pixels, found {pixels.dtype}",
            fix="detect complex samples first: intensity = |s|^2",
        )
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite, and is refused
        values = np.asarray(pixels, dtype=np.float32)
        squared = values if radiometry.is_power else values * values
    if not np.isfinite(values).all() or (values < 0).any():
        raise RadiometryError(
            f"{radiometry} pixels must be finite and >= 0; found "
            f"{int((~np.isfinite(values)).sum())} non-finite and {int((values < 0).sum())} negative values",
            fix="declare the right radiometry (dB values must be converted to linear first)",
        )
    if not np.isfinite(squared).all():
        raise RadiometryError(
            f"{radiometry} pixels up to {values.max():g}: their intensity does not fit float32",
            fix="scale the pixels down",
        )
    return squared


def from_intensity(intensity: FloatArray, radiometry: Radiometry) -> NDArray[np.float32]:
    """Pixels in ``radiometry`` from linear intensity; the inverse of :func:`to_intensity`.

    8-bit relative pixels are rounded to whole levels and clipped to 0..255, as the sensor's own are.
    """
    values = np.asarray(intensity, dtype=np.float32)
    if radiometry.is_power:
        return values
    amplitude = np.sqrt(values)
    if radiometry is Radiometry.UINT8_RELATIVE:
        return np.clip(np.rint(amplitude), 0, 255)
    return amplitude


def to_db(intensity: FloatArray, floor: float = 1e-30) -> NDArray[np.float32]:
    """10 log10 of intensity, in dB; values below ``floor`` are held there."""
    return (10.0 * np.log10(np.maximum(intensity, floor))).astype(np.float32)


def dynamic_range_db(intensity: FloatArray) -> float:
    """Ratio of the 99.9th to the 1st percentile of the pixels above zero, in dB; 0 where there are none."""
    valid = intensity[intensity > 0]
    if valid.size == 0:
        return 0.0
    low, high = np.percentile(valid.astype(np.float64), [1.0, 99.9])
    return float(10.0 * np.log10(high / low))
