"""Draws of whole groups against chip-by-chip counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.core.group_draws import bootstrap_weights, halvings, unit_means, unit_medians, units_of
from sarcurate.errors import DataError, ParamsError


def test_units_are_groups_and_ungrouped_chips_stand_alone() -> None:
    units = units_of(["c1", "c2", "c3", "c4"], ["b", "", "b", "a"], least_groups=3)
    assert units.are_groups
    assert units.names.tolist() == ["a", "b", "c2"]
    assert units.index.tolist() == [1, 2, 1, 0]


def test_few_groups_give_way_to_chips() -> None:
    units = units_of(["c1", "c2", "c3"], ["a", "b", "b"], least_groups=3)
    assert not units.are_groups
    assert units.names[units.index].tolist() == ["c1", "c2", "c3"]


def test_units_refuse_other_shapes() -> None:
    with pytest.raises(DataError, match=r"\(2,\) chips with \(1,\) groups"):
        units_of(["c1", "c2"], ["a"], least_groups=2)


def test_bootstrap_draws_as_many_units_as_there_are() -> None:
    weights = bootstrap_weights(7, 5000, [3, 0])
    assert (weights.sum(axis=1) == 7).all()
    # Binomial(7, 1/7): mean 1, variance 6/7; 35,000 cells.
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.06)
    assert weights.var() == pytest.approx(6 / 7, abs=0.03)
    np.testing.assert_array_equal(weights, bootstrap_weights(7, 5000, [3, 0]))
    assert not np.array_equal(weights, bootstrap_weights(7, 5000, [4, 0]))
    with pytest.raises(ParamsError, match="draws=0"):
        bootstrap_weights(7, 0, 0)


@pytest.mark.parametrize("n_units", [4, 9])
def test_halvings_are_random_halves(n_units: int) -> None:
    halves = halvings(n_units, 3000, 0)
    assert set(np.unique(halves)) == {0.0, 1.0}
    assert (halves.sum(axis=1) == n_units // 2).all()
    assert halves.mean(axis=0) == pytest.approx(np.full(n_units, (n_units // 2) / n_units), abs=0.05)
    with pytest.raises(DataError, match="3 groups or chips, expected at least 4"):
        halvings(3, 10, 0)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.one_of(st.just(np.nan), st.floats(-5, 5))), min_size=1, max_size=25
    ),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_weighted_statistics_are_those_of_repeated_chips(
    chips: list[tuple[int, float]], times: list[int]
) -> None:
    groups = [f"g{group}" for group, _ in chips]
    values = np.array([value for _, value in chips])
    units = units_of([f"c{i}" for i in range(len(chips))], groups, least_groups=1)
    weights = np.array([[times[int(name[1:])] for name in units.names]], dtype=np.float64)
    repeated = [v for g, v in chips for _ in range(times[g]) if not np.isnan(v)]
    mean, median = unit_means(values[:, None], units, weights)[0, 0], unit_medians(values, units, weights)[0]
    if repeated:
        assert mean == pytest.approx(np.mean(repeated), abs=1e-12)
        assert median == pytest.approx(np.median(repeated), abs=1e-12)
    else:
        assert np.isnan(mean)
        assert np.isnan(median)


def test_chips_with_a_gap_in_any_column_are_left_out_of_means() -> None:
    units = units_of(["a", "b", "c"], ["", "", ""], least_groups=1)
    values = np.array([[1.0, 2.0], [100.0, np.nan], [3.0, 4.0]])
    np.testing.assert_allclose(unit_means(values, units, np.ones((1, 3))), [[2.0, 3.0]])
