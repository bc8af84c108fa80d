from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.errors import DataError
from sarcurate.models import arm_data
from sarcurate.models.arm_data import LabelledChips


def _chips(n: int, is_real: bool, limits_db: tuple[float, float] = (-20.0, 0.0)) -> LabelledChips:
    images = np.arange(n, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    hashes = tuple(f"{is_real}{index}" for index in range(n))
    return LabelledChips(images, np.arange(n, dtype=np.int64) % 2, hashes, limits_db, is_real)


def test_limits_are_percentiles_of_positive_pixels_of_all_chips_in_decibel() -> None:
    decibel = np.linspace(-40, 20, 60_001)
    pixels = np.append(10 ** (decibel / 10), np.zeros(100)).astype(np.float32)
    low, high = arm_data.limits_db([pixels[::2], pixels[1::2]])
    assert low == pytest.approx(-40 + 0.06, abs=1e-3)
    assert high == pytest.approx(20 - 0.06, abs=1e-3)


@given(st.floats(-30, 30))
def test_limits_follow_the_gain(gain_db: float) -> None:
    chip = np.random.default_rng(0).exponential(size=(40, 40)).astype(np.float32)
    low, high = arm_data.limits_db([chip])
    moved = arm_data.limits_db([(chip * 10 ** (gain_db / 10)).astype(np.float32)])
    np.testing.assert_allclose(moved, [low + gain_db, high + gain_db], atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_chips_have_no_limits(value: float) -> None:
    with pytest.raises(DataError, match="constant"):
        arm_data.limits_db([np.full((4, 4), value, np.float32)] * 2)


def test_prepared_chips_are_in_model_space() -> None:
    chips = [np.full((5, 7), value, np.float32) for value in (0.01, 0.1, 1.0)]
    made = arm_data.prepare(chips, [0, 1, 1], ["a", "b", "c"], (-20.0, 0.0), 6, True)
    assert made.images.shape == (3, 6, 6)
    np.testing.assert_allclose(made.images[:, 0, 0], [-1, 0, 1], atol=1e-6)
    assert made.labels.tolist() == [0, 1, 1]
    assert made.pixels_sha256 == ("a", "b", "c")


@pytest.mark.parametrize(("repeat_to", "copies"), [(None, 1), (3, 1), (5, 1), (6, 2), (10, 2), (11, 3)])
def test_real_chips_are_repeated_whole(repeat_to: int | None, copies: int) -> None:
    data = arm_data.compose(_chips(5, True), [_chips(3, False)], repeat_to)
    assert data.images.shape == (5 * copies + 3, 1, 4, 4)
    assert data.is_real.tolist() == [True] * 5 * copies + [False] * 3
    assert data.labels.tolist() == [0, 1, 0, 1, 0] * copies + [0, 1, 0]


def test_each_chip_keeps_the_decibel_of_its_own_set() -> None:
    data = arm_data.compose(_chips(2, True, (-20.0, 0.0)), [_chips(1, False, (-30.0, 20.0))], None)
    assert data.db_per_unit.tolist() == [10, 10, 25]


def test_identity_holds_all_that_decides_the_input() -> None:
    known = _chips(2, True)
    others = [
        _chips(2, False),
        _chips(2, True, (-20.0, 1.0)),
        LabelledChips(known.images, known.labels[::-1], known.pixels_sha256, known.limits_db, True),
        LabelledChips(known.images, known.labels, ("x", "y"), known.limits_db, True),
    ]
    assert known.identity() == _chips(2, True).identity()
    assert all(other.identity() != known.identity() for other in others)
