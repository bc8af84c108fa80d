from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.tie_grid import TieGrid

NODES = st.lists(st.integers(-500, 500), min_size=2, max_size=6, unique=True).map(sorted)
NUMBER = st.floats(-100, 100)


@given(rows=NODES, cols=NODES, a=NUMBER, b=NUMBER, c=NUMBER)
def test_a_plane_is_met_everywhere_inside_the_nodes(
    rows: list[int], cols: list[int], a: float, b: float, c: float
) -> None:
    r, k = np.array(rows, float), np.array(cols, float)
    grid = TieGrid(r, k, a + b * r[:, None] + c * k[None, :])
    inside_r, inside_k = np.linspace(r[0], r[-1], 7), np.linspace(k[0], k[-1], 5)
    expected = a + b * inside_r[:, None] + c * inside_k[None, :]
    np.testing.assert_allclose(grid.at(inside_r, inside_k), expected, atol=1e-8 * (1 + abs(expected).max()))


def test_values_are_held_beyond_the_outer_nodes() -> None:
    grid = TieGrid(np.array([0.0, 10.0]), np.array([0.0, 4.0]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert grid.at_point(-5, -5) == 1.0
    assert grid.at_point(99, 99) == 4.0
    assert grid.at_point(5, 2) == 2.5


def test_a_constant_is_the_same_everywhere() -> None:
    np.testing.assert_array_equal(TieGrid.constant(31.5).at([0, 7, 1e6], [3, 2]), np.full((3, 2), 31.5))


@pytest.mark.parametrize(
    ("rows", "cols", "shape"), [([0, 1], [0, 1], (2, 3)), ([1, 1], [0, 1], (2, 2)), ([0, 1], [5, 4], (2, 2))]
)
def test_nodes_must_rise_and_shapes_agree(rows: list[int], cols: list[int], shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="rising"):
        TieGrid(np.array(rows, float), np.array(cols, float), np.zeros(shape))
