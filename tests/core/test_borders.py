from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.borders import find_border


def speckle(seed: int = 0, shape: tuple[int, int] = (32, 40)) -> np.ndarray:
    return np.random.default_rng(seed).rayleigh(20, shape).astype(np.float32)


@given(
    st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.0, 7.5])
)
def test_frames_are_counted_on_each_edge(top: int, bottom: int, left: int, right: int, value: float) -> None:
    chip = np.full((32 + top + bottom, 40 + left + right), value, np.float32)
    chip[top : top + 32, left : left + 40] = speckle()
    border = find_border(chip)
    assert border is not None
    assert border.frame_px == (top, bottom, left, right)
    assert border.wedge_fraction == 0
    assert border.inside.sum() == 32 * 40
    assert border.found == (max(border.frame_px) > 0)


@pytest.mark.parametrize("turns", range(4))
def test_a_wedge_is_measured_as_its_area(turns: int) -> None:
    chip = speckle()
    row, col = np.indices(chip.shape)
    wedge = row / 12 + col / 20 < 1
    chip[wedge] = 0
    border = find_border(np.rot90(chip, turns))
    assert border is not None
    assert border.frame_px == (0, 0, 0, 0)
    assert border.wedge_fraction == pytest.approx(wedge.mean())
    np.testing.assert_array_equal(border.inside, np.rot90(~wedge, turns))


def test_a_hole_inside_is_no_border() -> None:
    chip = speckle()
    chip[8:20, 8:20] = 0
    border = find_border(chip)
    assert border is not None
    assert not border.found
    assert border.inside.all()


@pytest.mark.parametrize("mean", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("size", [8, 64])
def test_dark_chips_of_few_levels_have_equal_neighbours_by_chance(mean: float, size: int) -> None:
    chips = [np.random.default_rng(seed).poisson(mean, (size, size)) for seed in range(300)]
    borders = [find_border(chip) for chip in chips]
    # 8 px alike by chance are no frame: 0.74^8 is 9 %
    assert sum(border is not None and border.found for border in borders) <= 3


def test_a_constant_chip_has_no_border() -> None:
    assert find_border(np.full((8, 8), 3.0)) is None
    assert find_border(np.zeros((1, 1))) is None


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (2, 2)])
def test_tiny_chips_are_answered(shape: tuple[int, int]) -> None:
    border = find_border(speckle(1, shape))
    assert border is not None
    assert not border.found
