from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.model_space import ModelSpace, model_space
from sarcurate.errors import ParamsError

SPACE = ModelSpace(-30.0, 20.0)


def _intensity(level_db):
    return 10.0 ** (np.asarray(level_db, dtype=np.float64) / 10.0)


def test_limits_and_middle_are_where_they_belong():
    np.testing.assert_allclose(SPACE.to_model(_intensity([-30.0, -5.0, 20.0])), [-1, 0, 1], atol=1e-6)
    assert SPACE.db_per_unit == 25.0
    np.testing.assert_allclose(SPACE.to_intensity(np.array([-1, 0.2])), _intensity([-30.0, 0.0]), rtol=1e-6)


def test_amplitude_gives_the_same_values_with_limits_in_its_own_db():
    """20 log10 of the amplitude is 10 log10 of the intensity."""
    amplitude = np.linspace(0.05, 9.0, 50)
    by_hand = (20 * np.log10(amplitude) + 30) / 25 - 1
    np.testing.assert_allclose(SPACE.to_model(amplitude**2), by_hand, atol=1e-6)


@given(st.floats(-80, 40), st.floats(1, 100), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_round_trip(low, width, shares):
    space = ModelSpace(low, low + width)
    intensity = _intensity(low + width * np.array(shares))
    back = space.to_intensity(space.to_model(intensity))
    # Half a float32 step of model space near 1 is 6e-8 units; in intensity ln(10) / 10 dB_per_unit of that.
    rtol = 6e-8 * (space.db_per_unit * np.log(10) / 10 + 2) * 2
    np.testing.assert_allclose(back, intensity, rtol=rtol)
    assert space.clipped(back) == (0, 0)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30))
def test_order_is_kept_and_values_stay_in_range(values):
    mapped = SPACE.to_model(np.sort(np.array(values)))
    assert mapped.dtype == np.float32
    assert np.all(np.diff(mapped) >= 0)
    assert mapped.min() >= -1
    assert mapped.max() <= 1


def test_what_is_outside_is_clipped_and_counted():
    intensity = np.array([[0.0, -1.0, 0.9e-3], [1e-3, 100.0, 101.0]])
    np.testing.assert_allclose(SPACE.to_model(intensity), [[-1, -1, -1], [-1, 1, 1]], atol=1e-6)
    assert SPACE.clipped(intensity) == (3, 1)
    np.testing.assert_allclose(SPACE.to_intensity(np.array([-7.0, 7.0])), [1e-3, 100.0], rtol=1e-6)


def test_missing_pixels_stay_missing():
    assert np.isnan(SPACE.to_model(np.array([np.nan]))).all()


@pytest.mark.parametrize(
    "limits", [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf")), (float("-inf"), 0.0)]
)
def test_limits_out_of_order_are_refused(limits):
    with pytest.raises(ParamsError, match=r"limits of the model space are .* expected low < high"):
        ModelSpace(*limits)


def test_headroom_widens_both_ways():
    assert model_space((-25.0, 5.0), (3.0, 12.0)) == ModelSpace(-28.0, 17.0)
