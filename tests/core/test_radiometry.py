from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarcurate.core.radiometry import Radiometry, from_intensity, to_db, to_intensity
from sarcurate.errors import RadiometryError

POWER = (Radiometry.INTENSITY, Radiometry.BETA0, Radiometry.SIGMA0)
AMPLITUDES = (Radiometry.AMPLITUDE, Radiometry.UNKNOWN)
# squares of these neither overflow nor lose bits below the smallest normal float32
MODERATE = st.floats(2.0**-60, 2.0**60, width=32) | st.just(0.0)
CHIPS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=MODERATE)


def test_every_kind_is_either_power_or_amplitude() -> None:
    assert {kind for kind in Radiometry if kind.is_power} == set(POWER)
    assert {kind for kind in Radiometry if kind.is_relative} == {
        Radiometry.UINT8_RELATIVE,
        Radiometry.UNKNOWN,
    }
    assert {str(kind) for kind in Radiometry} == {
        "intensity",
        "amplitude",
        "beta0",
        "sigma0",
        "uint8_relative",
        "unknown",
    }


@given(chip=CHIPS, kind=st.sampled_from(POWER))
def test_power_is_left_as_it_is(chip: np.ndarray, kind: Radiometry) -> None:
    np.testing.assert_array_equal(to_intensity(chip, kind), chip)
    np.testing.assert_array_equal(from_intensity(chip, kind), chip)


@given(chip=CHIPS, kind=st.sampled_from(AMPLITUDES))
def test_amplitude_comes_back_bit_for_bit(chip: np.ndarray, kind: Radiometry) -> None:
    # the rounded root of a rounded square is the number itself in binary floating point
    np.testing.assert_array_equal(from_intensity(to_intensity(chip, kind), kind), chip)


@given(chip=CHIPS, kind=st.sampled_from(AMPLITUDES))
def test_intensity_comes_back_to_rounding(chip: np.ndarray, kind: Radiometry) -> None:
    np.testing.assert_allclose(to_intensity(from_intensity(chip, kind), kind), chip, rtol=3e-7)


def test_amplitude_is_squared_by_hand() -> None:
    chip = np.array([[0, 1, 3], [0.5, 255, 65535]])
    expected = np.array([[0, 1, 9], [0.25, 65025, 65535.0**2]], dtype=np.float32)
    found = to_intensity(chip, Radiometry.AMPLITUDE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(to_intensity(chip[:, :2].astype(np.uint8), Radiometry.UNKNOWN)[0], [0, 1])


def test_every_8_bit_level_comes_back() -> None:
    levels = np.arange(256, dtype=np.uint16)[None]
    kind = Radiometry.UINT8_RELATIVE
    np.testing.assert_array_equal(from_intensity(to_intensity(levels, kind), kind), levels)


def test_8_bit_levels_are_whole_and_end_at_255() -> None:
    amplitude = np.array([[0.4, 0.6, 254.6, 300.0]])
    found = from_intensity(amplitude**2, Radiometry.UINT8_RELATIVE)
    np.testing.assert_array_equal(found, [[0, 1, 255, 255]])


@pytest.mark.parametrize("kind", list(Radiometry))
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "1 non-finite and 0 negative"),
        (np.inf, "1 non-finite and 0 negative"),
        (-1e-9, "0 non-finite and 1 negative"),
        (1e60, "1 non-finite and 0 negative"),
    ],
)
def test_values_without_meaning_are_refused(kind: Radiometry, value: float, message: str) -> None:
    with pytest.raises(RadiometryError, match=f"^{kind} pixels must be finite and >= 0; found {message}"):
        to_intensity(np.array([[1.0, value]]), kind)


def test_decibels_passed_as_linear_are_refused_with_the_fix() -> None:
    with pytest.raises(RadiometryError, match="dB values must be converted to linear"):
        to_intensity(np.array([[-12.5, -3.0]]), Radiometry.SIGMA0)


def test_an_amplitude_whose_square_overflows_is_refused() -> None:
    chip = np.array([[1e20]], dtype=np.float32)
    np.testing.assert_array_equal(to_intensity(chip, Radiometry.INTENSITY), chip)
    with pytest.raises(RadiometryError, match=r"amplitude pixels up to 1e\+20: .*does not fit float32"):
        to_intensity(chip, Radiometry.AMPLITUDE)


def test_complex_samples_are_refused() -> None:
    with pytest.raises(RadiometryError, match=r"found complex64\nFix: detect complex samples first"):
        to_intensity(np.ones((2, 2), np.complex64), Radiometry.INTENSITY)


def test_decibels_by_hand() -> None:
    found = to_db(np.array([1.0, 10.0, 100.0, 0.5, 0.0]))
    np.testing.assert_allclose(found, [0, 10, 20, -3.0103, -300], atol=1e-4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(to_db(np.array([0.0, 1e-4, 1.0]), floor=1e-2), [-20, -20, 0], atol=1e-5)
