from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.windows import (
    connected_sets,
    grid_count,
    grid_windows,
    overlap_fractions,
    overlapping_pairs,
    side_px,
)

FIELD = 24


@st.composite
def some_windows(draw: st.DrawFn) -> np.ndarray:
    one = st.tuples(st.integers(0, 15), st.integers(0, 15), st.integers(1, 8), st.integers(1, 8))
    return np.array(draw(st.lists(one, min_size=1, max_size=12)), dtype=np.int64)


def painted(window: np.ndarray) -> np.ndarray:
    field = np.zeros((FIELD, FIELD), dtype=bool)
    row, col, rows, cols = window
    field[row : row + rows, col : col + cols] = True
    return field


@given(some_windows())
def test_pairs_are_those_that_share_a_painted_pixel(windows: np.ndarray) -> None:
    fields = [painted(window) for window in windows]
    n = len(windows)
    expected = [[i, j] for i in range(n) for j in range(i + 1, n) if (fields[i] & fields[j]).any()]
    assert overlapping_pairs(windows).tolist() == expected


@given(some_windows())
def test_overlap_is_the_share_of_pixels_painted_by_others(windows: np.ndarray) -> None:
    fields = [painted(window) for window in windows]
    for index, fraction in enumerate(overlap_fractions(windows)):
        others = np.zeros((FIELD, FIELD), dtype=bool)
        for other, field in enumerate(fields):
            others |= field if other != index else False
        assert fraction == pytest.approx((fields[index] & others).sum() / fields[index].sum(), abs=1e-12)


@given(some_windows())
def test_sets_are_closed_under_overlap_and_named_by_their_first(windows: np.ndarray) -> None:
    names = list(range(len(windows)))
    pairs = overlapping_pairs(windows)
    for _ in names:  # the slow way: pass the lowest name on until nothing changes
        for first, second in pairs:
            names[first] = names[second] = min(names[first], names[second])
    assert connected_sets(windows).tolist() == names


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    step=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_a_grid_is_every_step_that_still_fits(
    shape: tuple[int, int], size: tuple[int, int], step: tuple[int, int]
) -> None:
    expected = [
        [row, col, *size]
        for row in range(0, shape[0] - size[0] + 1, step[0])
        for col in range(0, shape[1] - size[1] + 1, step[1])
    ]
    assert grid_windows(shape, size, step).tolist() == expected
    assert np.prod(grid_count(shape, size, step)) == len(expected)


def test_half_overlapping_grid_has_the_overlap_of_theory() -> None:
    fractions = overlap_fractions(grid_windows((40, 10), (10, 10), (5, 10)))
    # a column of windows with half a step: the ends share one half, all others both
    np.testing.assert_allclose(fractions, [0.5, 1, 1, 1, 1, 1, 0.5])
    assert not overlap_fractions(grid_windows((40, 40), (10, 10), (10, 10))).any()


@pytest.mark.parametrize(("length_m", "spacing_m", "expected"), [(96, 2, 48), (100, 3, 33), (0.1, 5, 1)])
def test_a_length_is_the_nearest_whole_pixels(length_m: float, spacing_m: float, expected: int) -> None:
    assert side_px(length_m, spacing_m) == expected
