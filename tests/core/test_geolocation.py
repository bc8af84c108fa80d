from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.geolocation import find_pixel
from sarcurate.core.tie_grid import TieGrid

SHAPE = (400, 900)


def grids(turn_deg: float = 12.0, longitude_deg: float = 7.0) -> tuple[TieGrid, TieGrid]:
    """A scene of 2 by 1 m pixels turned against north, and slightly curved as real ones are."""
    rows, cols = np.linspace(0, 399, 5), np.linspace(0, 899, 7)
    down, across = np.meshgrid(rows * 2.0, cols * 1.0, indexing="ij")
    turn = np.radians(turn_deg)
    north_m = -down * np.cos(turn) + across * np.sin(turn) + 1e-5 * across**2
    east_m = down * np.sin(turn) + across * np.cos(turn) + 1e-5 * down * across
    latitude = 48.0 + north_m / 111_200.0
    longitude = longitude_deg + east_m / (111_200.0 * np.cos(np.radians(48.0)))
    wrapped = np.mod(longitude + 180.0, 360.0) - 180.0
    return TieGrid(rows, cols, latitude), TieGrid(rows, cols, wrapped)


@given(row=st.floats(0, 399), col=st.floats(0, 899), turn_deg=st.floats(-180, 180))
def test_a_pixel_is_found_at_its_own_position(row: float, col: float, turn_deg: float) -> None:
    latitude, longitude = grids(turn_deg)
    point = (latitude.at_point(row, col), longitude.at_point(row, col))
    found = find_pixel(latitude, longitude, SHAPE, point)
    assert found == pytest.approx((row, col), abs=0.01)


def test_a_longitude_may_be_written_a_turn_away() -> None:
    latitude, longitude = grids(longitude_deg=179.9)
    point = (latitude.at_point(30, 40), longitude.at_point(30, 40) - 360.0)
    assert find_pixel(latitude, longitude, SHAPE, point) == pytest.approx((30, 40), abs=0.01)


@pytest.mark.parametrize(("row", "col"), [(-3.0, 100.0), (402.0, 100.0), (50.0, -3.0), (50.0, 905.0)])
def test_a_position_outside_is_not_found(row: float, col: float) -> None:
    latitude, longitude = grids(turn_deg=0.0)
    per_row = latitude.at_point(1, 100) - latitude.at_point(0, 100)
    per_col = longitude.at_point(50, 1) - longitude.at_point(50, 0)
    near = (np.clip(row, 0, 399), np.clip(col, 0, 899))
    point = (
        latitude.at_point(*near) + (row - near[0]) * per_row,
        longitude.at_point(*near) + (col - near[1]) * per_col,
    )
    assert find_pixel(latitude, longitude, SHAPE, point) is None
    assert find_pixel(latitude, longitude, SHAPE, (-10.0, 100.0)) is None


def test_constant_grids_tell_no_position() -> None:
    here = TieGrid.constant(48.0)
    assert find_pixel(here, TieGrid.constant(7.0), SHAPE, (48.0, 7.0)) is None
