"""The invertible map between linear intensity and the -1..1 that image models work in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.errors import ParamsError


@dataclass(frozen=True)
class ModelSpace:
    """Log intensity between two levels, mapped linearly to -1..1.

    Log amplitude and log intensity are the same map, a factor of two in dB taken into the limits.

    Args:
        low_db: intensity in dB that becomes -1; lower values, and zero, are clipped there.
        high_db: intensity in dB that becomes 1; higher values are clipped there.

    Raises:
        ParamsError: for limits that are not finite or out of order.
    """

    low_db: float
    high_db: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low_db) and math.isfinite(self.high_db) and self.low_db < self.high_db):
            raise ParamsError(
                f"limits of the model space are {self.low_db} and {self.high_db} dB, expected low < high",
                fix="give two finite levels of intensity in dB, the lower one first",
            )

    @property
    def db_per_unit(self) -> float:
        """How many dB one unit of model space is."""
        return (self.high_db - self.low_db) / 2.0

    def to_model(self, intensity: NDArray[np.floating]) -> NDArray[np.float32]:
        """Linear intensity, any shape, as values in -1..1; what lies outside the limits is clipped."""
        with np.errstate(divide="ignore"):
            level_db = 10.0 * np.log10(np.maximum(np.asarray(intensity, dtype=np.float64), 0.0))
        unit = (np.clip(level_db, self.low_db, self.high_db) - self.low_db) / self.db_per_unit - 1.0
        return np.asarray(unit, dtype=np.float32)

    def to_intensity(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Values of model space as linear intensity; what lies outside -1..1 is clipped."""
        unit = np.clip(np.asarray(values, dtype=np.float64), -1.0, 1.0)
        level_db = self.low_db + (unit + 1.0) * self.db_per_unit
        return np.asarray(10.0 ** (level_db / 10.0), dtype=np.float32)

    def clipped(self, intensity: NDArray[np.floating]) -> tuple[int, int]:
        """Number of pixels below the lower and above the upper limit, zeros among the former."""
        linear = np.asarray(intensity, dtype=np.float64)
        low, high = 10.0 ** (self.low_db / 10.0), 10.0 ** (self.high_db / 10.0)
        # A relative float32 step of slack: a value that came from the limit is not outside it.
        return int(np.sum(linear < low * (1.0 - 1e-6))), int(np.sum(linear > high * (1.0 + 1e-6)))


def model_space(limits_db: tuple[float, float], headroom_db: tuple[float, float]) -> ModelSpace:
    """The model space of a sensor, from the 0.1 and 99.9 percentile of its train chips.

    Args:
        limits_db: the two percentiles of intensity, in dB.
        headroom_db: how far the map reaches below the lower and above the upper one; single bright
            scatterers stand well above the 99.9 percentile.
    """
    return ModelSpace(limits_db[0] - headroom_db[0], limits_db[1] + headroom_db[1])
