"""Radiometric calibration: stored numbers (DN) to radar brightness beta0 and backscatter sigma0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.radiometry import FloatArray


def detect(samples: NDArray[np.generic]) -> NDArray[np.float32]:
    """Intensity of complex samples, or of detected amplitude, of any shape: |DN|^2."""
    if np.iscomplexobj(samples):
        real, imaginary = samples.real.astype(np.float64), samples.imag.astype(np.float64)
        return (real * real + imaginary * imaginary).astype(np.float32)
    values = samples.astype(np.float64)
    return (values * values).astype(np.float32)


def beta0(dn_intensity: FloatArray, calibration_factor: float) -> NDArray[np.float32]:
    """Radar brightness, linear: ``calibration_factor`` |DN|^2.

    The factor is TerraSAR-X's ks (Fritz and Eineder, TerraSAR-X product specification TX-GS-DD-3302). Thermal
    noise is left in: subtracting its mean makes single pixels negative and changes the speckle.

    Raises:
        ValueError: where the factor is not finite and > 0.
    """
    if not (np.isfinite(calibration_factor) and calibration_factor > 0):
        raise ValueError(f"calibration factor {calibration_factor}, expected a finite number > 0")
    return (np.asarray(dn_intensity, dtype=np.float64) * calibration_factor).astype(np.float32)


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
    return (np.asarray(beta0_linear, dtype=np.float64) * np.sin(np.deg2rad(angles))).astype(np.float32)
