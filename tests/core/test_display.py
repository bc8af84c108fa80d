"""Grey levels of a dB window against hand-worked levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.core.display import to_uint8_db
from sarcurate.errors import ParamsError, RadiometryError


def test_window_ends_and_middle() -> None:
    """A window of 51 dB has 5 grey levels per dB."""
    intensity = 10.0 ** (np.array([[-26.0, -25.0, -24.0, 0.0, 26.0, 30.0]]) / 10)
    assert to_uint8_db(intensity, -25, 26).tolist() == [[0, 0, 5, 125, 255, 255]]


def test_zero_intensity_is_black() -> None:
    assert to_uint8_db(np.zeros((2, 2)), -25, 5).tolist() == [[0, 0], [0, 0]]


@settings(deadline=None)
@given(st.floats(-25, 5))
def test_level_is_within_half_a_step_of_the_decibels(level_db: float) -> None:
    grey = to_uint8_db(np.array([10 ** (level_db / 10)]), -25, 5)[0]
    assert -25 + 30 * int(grey) / 255 == pytest.approx(level_db, abs=0.5 * 30 / 255 + 1e-5)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30))
def test_brighter_is_never_darker(intensity: list[float]) -> None:
    assert (np.diff(to_uint8_db(np.sort(intensity), -30, 40).astype(int)) >= 0).all()


@pytest.mark.parametrize("window", [(5.0, 5.0), (5.0, -25.0), (float("-inf"), 0.0), (0.0, float("nan"))])
def test_broken_windows_are_refused(window: tuple[float, float]) -> None:
    with pytest.raises(ParamsError, match="display window"):
        to_uint8_db(np.ones((2, 2)), *window)


@pytest.mark.parametrize("pixel", [-1.0, float("nan"), 1j])
def test_what_is_no_intensity_is_refused(pixel: complex) -> None:
    with pytest.raises(RadiometryError):
        to_uint8_db(np.array([1.0, pixel]), -25, 5)
