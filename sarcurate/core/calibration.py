"""Radiometric calibration: stored numbers (DN) to radar brightness beta0 and backscatter sigma0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.radiometry import FloatArray


def detect(samples: NDArray[np.generic]) -> NDArray[np.float32]:
    """Intensity of complex samples, or of detected amplitude, of any shape: |DN|^2.

    Computed in float64, where squares and sums of 16 bit samples are exact, and rounded to float32 once; what
    does not fit becomes infinite.
    """
    is_complex = np.iscomplexobj(samples)
    values = np.array(samples, dtype=np.complex128 if is_complex else np.float64, order="C")
    parts = values.reshape(-1).view(np.float64)
    parts *= parts
    power = values.real + values.imag if is_complex else values
    with np.errstate(over="ignore"):
        return power.astype(np.float32)


def beta0(samples: NDArray[np.generic], calibration_factor: float) -> NDArray[np.float32]:
    """Radar brightness of complex samples, or of detected amplitude, linear: ``calibration_factor`` |DN|^2.

    The factor is TerraSAR-X's ks (Fritz and Eineder, TerraSAR-X product specification TX-GS-DD-3302). Thermal
    noise is left in: subtracting its mean makes single pixels negative and changes the speckle. Computed in
    float32, so good to a few units of the last place.

    Raises:
        ValueError: where the factor is not finite and > 0.
    """
    if not (np.isfinite(calibration_factor) and calibration_factor > 0):
        raise ValueError(f"calibration factor {calibration_factor}, expected a finite number > 0")
    is_complex = np.iscomplexobj(samples)
    values = np.ascontiguousarray(samples, dtype=np.complex64 if is_complex else np.float32)
    parts = values.reshape(-1).view(np.float32)
    with np.errstate(over="ignore"):
        squares = parts * parts
        power = squares[0::2] + squares[1::2] if is_complex else squares
        power *= np.float32(calibration_factor)
    return power.reshape(values.shape)


def sigma0(
    beta0_linear: FloatArray, incidence_deg: FloatArray | NDArray[np.float64] | float
) -> NDArray[np.float32]:
    """Backscatter per unit of ground, linear: beta0 sin(incidence).

    Args:
        beta0_linear: (rows, cols).
        incidence_deg: local incidence against the ellipsoid, one per pixel or anything that broadcasts.

    Raises:
        ValueError: where an angle is not inside (0, 90) degrees.
    """
    angles = np.asarray(incidence_deg, dtype=np.float64)
    if not np.all((angles > 0) & (angles < 90)):
        raise ValueError(f"incidence of {angles.min()} to {angles.max()} degrees, expected inside (0, 90)")
    return np.multiply(beta0_linear, np.sin(np.deg2rad(angles)).astype(np.float32), dtype=np.float32)
