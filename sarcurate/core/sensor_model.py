"""A SAR sensor as plain numbers, and the pixel grid that it puts over a footprint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.impulse_response import Weighting, spectral_weights
from sarcurate.errors import ParamsError

# Sidelobes and layover may leave the chip without coming back on its other side.
_GUARD_M = 16.0


@dataclass(frozen=True)
class SensorModel:
    """The numbers of a sensor that shape its images; range is ground range.

    Args:
        centre_frequency_hz: carrier.
        range_spacing_m: pixel distance along range.
        azimuth_spacing_m: pixel distance along azimuth.
        range_resolution_m: -3 dB width along range.
        azimuth_resolution_m: -3 dB width along azimuth.
        looks: independent looks averaged, each at this resolution.
        range_weighting: spectral weighting along range.
        azimuth_weighting: spectral weighting along azimuth.
        nesz_db: noise equivalent sigma zero.

    Raises:
        ParamsError: for a value that is not finite or not positive, or looks that are not whole.
    """

    centre_frequency_hz: float
    range_spacing_m: float
    azimuth_spacing_m: float
    range_resolution_m: float
    azimuth_resolution_m: float
    looks: int
    range_weighting: Weighting
    azimuth_weighting: Weighting
    nesz_db: float

    def __post_init__(self) -> None:
        for field in (
            "centre_frequency_hz",
            "range_spacing_m",
            "azimuth_spacing_m",
            "range_resolution_m",
            "azimuth_resolution_m",
            "looks",
        ):
            value = getattr(self, field)
            if not (math.isfinite(value) and value > 0 and (field != "looks" or value == round(value))):
                raise ParamsError(
                    f"sensor model: {field} is {value}, expected a {'whole' if field == 'looks' else ''} "
                    "number > 0",
                    fix=f"correct {field}",
                )
        if not math.isfinite(self.nesz_db):
            raise ParamsError(
                f"sensor model: nesz_db is {self.nesz_db}, expected a finite level in dB",
                fix="correct nesz_db",
            )

    @property
    def spacing_m(self) -> tuple[float, float]:
        """Azimuth and range spacing, in the order of rows and columns."""
        return (self.azimuth_spacing_m, self.range_spacing_m)


@dataclass(frozen=True, eq=False)
class ChipGrid:
    """A chip's pixels with a guard band around them, and the transfer functions on that wider grid.

    Args:
        shape: rows and columns of the chip.
        padded: rows and columns with the guard band.
        first: row and column of the chip's first pixel in the padded grid.
        spacing_m: azimuth and range spacing.
        azimuth_weights: transfer function along azimuth, shape (padded rows,).
        range_weights: transfer function along range, shape (padded cols,).
    """

    shape: tuple[int, int]
    padded: tuple[int, int]
    first: tuple[int, int]
    spacing_m: tuple[float, float]
    azimuth_weights: NDArray[np.float64]
    range_weights: NDArray[np.float64]

    @property
    def centre_m(self) -> tuple[float, float]:
        """Azimuth and range of the chip's centre, from the padded grid's first sample."""
        return (
            (self.first[0] + (self.shape[0] - 1) / 2.0) * self.spacing_m[0],
            (self.first[1] + (self.shape[1] - 1) / 2.0) * self.spacing_m[1],
        )

    @property
    def cell_m2(self) -> float:
        """Ground area of one pixel."""
        return self.spacing_m[0] * self.spacing_m[1]


def chip_shape(footprint_m: float, sensor: SensorModel) -> tuple[int, int]:
    """Rows and columns that cover a square footprint on the sensor's grid.

    Raises:
        ParamsError: where the footprint is not a whole number of pixels: two sensors' chips would not
            cover the same ground.
    """
    rows, cols = (footprint_m / spacing for spacing in sensor.spacing_m)
    for axis, count in (("azimuth", rows), ("range", cols)):
        if round(count) < 1 or abs(count - round(count)) > 1e-6:
            raise ParamsError(
                f"a footprint of {footprint_m} m is {count:.3f} pixels along {axis}, expected a whole number",
                fix="choose a footprint that is a multiple of both sensors' spacings",
            )
    return (round(rows), round(cols))


@lru_cache(maxsize=16)
def chip_grid(footprint_m: float, sensor: SensorModel) -> ChipGrid:
    """The grid of a sensor's chips over a footprint; errors as :func:`chip_shape` and undersampling."""
    shape = chip_shape(footprint_m, sensor)
    guard = tuple(math.ceil(_GUARD_M / spacing) for spacing in sensor.spacing_m)
    padded = (shape[0] + 2 * guard[0], shape[1] + 2 * guard[1])
    return ChipGrid(
        shape=shape,
        padded=padded,
        first=(guard[0], guard[1]),
        spacing_m=sensor.spacing_m,
        azimuth_weights=spectral_weights(
            padded[0], sensor.azimuth_spacing_m, sensor.azimuth_resolution_m, sensor.azimuth_weighting
        ),
        range_weights=spectral_weights(
            padded[1], sensor.range_spacing_m, sensor.range_resolution_m, sensor.range_weighting
        ),
    )
