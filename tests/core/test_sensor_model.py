from __future__ import annotations

from dataclasses import replace

import pytest

from sarcurate.core.impulse_response import Weighting
from sarcurate.core.sensor_model import SensorModel, chip_grid, chip_shape
from sarcurate.errors import ParamsError

FINE = SensorModel(9.65e9, 1.0, 1.0, 1.15, 1.15, 2, Weighting.TAYLOR, Weighting.TAYLOR, -23.0)
COARSE = SensorModel(5.4e9, 2.0, 2.0, 3.0, 3.0, 1, Weighting.HAMMING, Weighting.HAMMING, -22.0)


def test_both_sensors_cover_the_same_ground():
    assert chip_shape(96.0, FINE) == (96, 96)
    assert chip_shape(96.0, COARSE) == (48, 48)
    assert chip_shape(96.0, replace(COARSE, azimuth_spacing_m=1.5)) == (64, 48)


def test_a_footprint_of_broken_pixels_is_refused():
    with pytest.raises(ParamsError, match=r"47\.500 pixels along azimuth"):
        chip_shape(95.0, COARSE)


def test_guard_band_surrounds_the_chip():
    grid = chip_grid(96.0, COARSE)
    assert grid.padded == (64, 64)
    assert grid.centre_m == (63.0, 63.0)
    assert grid.cell_m2 == 4.0


@pytest.mark.parametrize(
    "change",
    [
        {"range_spacing_m": 0.0},
        {"azimuth_resolution_m": float("nan")},
        {"looks": 0},
        {"looks": 1.5},
        {"nesz_db": float("inf")},
    ],
)
def test_impossible_values_are_refused(change):
    with pytest.raises(ParamsError, match=next(iter(change))):
        replace(FINE, **change)
