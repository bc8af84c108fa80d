from __future__ import annotations

import numpy as np
import pytest

from sarcurate.core.chip_stack import chip_stack
from sarcurate.errors import DataError


def stack() -> np.ndarray:
    chips = np.random.default_rng(0).gamma(3, 1 / 3, (5, 8, 8))
    chips[1, 2, 3] = np.nan
    chips[2, 0, 0] = -0.1
    chips[3] = 2.0
    return chips


def test_each_unfit_chip_has_its_own_reason() -> None:
    chips = chip_stack(stack())
    assert list(chips.reasons) == ["", "non-finite pixels", "negative intensity", "constant chip", ""]
    assert list(chips.places) == [0, 4]
    assert chips.measure([7.0, 8.0]).column() == [7.0, None, None, None, 8.0]
    missing = chips.measure([7.0, np.nan], [False, True], "no points")
    assert missing.column() == [7.0, None, None, None, None]
    assert missing.reasons[4] == "no points"
    assert missing.reasons[3] == "constant chip"


def test_infinite_pixels_and_small_chips_are_named() -> None:
    chips = np.ones((2, 8, 8)) + np.arange(8)
    chips[0, 0, 0] = np.inf
    assert list(chip_stack(chips).reasons) == ["non-finite pixels", ""]
    assert list(chip_stack(chips, least_px=16).reasons) == ["smaller than 16 px"] * 2
    assert chip_stack(chips, least_px=16).measure([]).column() == [None, None]


@pytest.mark.parametrize("chips", [np.ones((4, 4)), np.ones((1, 4, 4), complex), np.array([["a"]])])
def test_what_is_no_stack_of_intensities_is_refused(chips: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"expected \(n, rows, cols\) real"):
        chip_stack(chips)


def test_a_stack_stays_as_it_is_unless_its_chips_are_too_small() -> None:
    chips = np.random.default_rng(0).gamma(1, 1, (3, 20, 30))
    chips[1] = 2
    stack = chip_stack(chips)
    assert chip_stack(stack, 20) is stack
    assert stack.shape == np.shape(stack) == (3, 20, 30)
    small = chip_stack(stack, 21)
    assert small.fit.shape == (0, 20, 30)
    assert list(small.reasons) == ["smaller than 21 px"] * 3 == list(chip_stack(chips, 21).reasons)
