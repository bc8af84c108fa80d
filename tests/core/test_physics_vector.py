"""Distance to real chips against the chi-square law, and shrinkage against a plain loop of its formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sarcurate.core.physics_vector import (
    fit_standard,
    left_out_distances,
    physics_distance,
    shrunk_covariance,
    standardise,
)
from sarcurate.errors import DataError

Matrix = NDArray[np.float64]


def plain_ledoit_wolf(rows: Matrix) -> Matrix:
    """Lemmas 3.2 to 3.5 of the paper, one chip at a time, with its norm |A|^2 = tr(A A')/p."""
    n, p = rows.shape
    x = rows - rows.mean(axis=0)
    sample = sum(np.outer(row, row) for row in x) / n
    m = sum(sample[i, i] for i in range(p)) / p
    d2 = np.trace((sample - m * np.eye(p)) @ (sample - m * np.eye(p)).T) / p
    b2_bar = 0.0
    for row in x:
        apart = np.outer(row, row) - sample
        b2_bar += np.trace(apart @ apart.T) / p / n**2
    b2 = min(b2_bar, d2)
    return np.asarray(b2 / d2 * m * np.eye(p) + (d2 - b2) / d2 * sample)


@given(st.integers(4, 40), st.integers(2, 12), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_shrinkage_is_the_papers(n: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    np.testing.assert_allclose(shrunk_covariance(rows), plain_ledoit_wolf(rows), rtol=1e-9, atol=1e-12)


def test_shrinkage_vanishes_with_many_chips_and_is_whole_for_a_sphere() -> None:
    rng = np.random.default_rng(0)
    mix = np.array([[2.0, 0.0], [1.0, 0.5]])
    np.testing.assert_allclose(
        shrunk_covariance(rng.normal(size=(200_000, 2)) @ mix.T), mix @ mix.T, atol=0.05
    )
    sphere = shrunk_covariance(rng.normal(size=(30, 40)))
    off = sphere - np.diag(np.diag(sphere))
    # An unshrunk off-diagonal of 30 chips scatters by 1/sqrt(30) = .18.
    assert np.abs(off).max() < 0.12


def test_one_column_is_its_variance() -> None:
    assert shrunk_covariance(np.array([[0.0], [2.0], [4.0]])) == pytest.approx(np.array([[8 / 3]]))


def test_chips_of_the_same_law_have_distance_one() -> None:
    rng = np.random.default_rng(1)
    mix = np.eye(6) + 0.2 * rng.normal(size=(6, 6))  # a nearly flat law would feel the shrinkage
    standard = fit_standard(rng.normal(size=(20_000, 6)) @ mix + 5)
    squared = physics_distance(rng.normal(size=(4000, 6)) @ mix + 5, standard) ** 2
    # d times the squared distance is chi-square with d degrees: mean 1, variance 2/d after division by d.
    assert squared.mean() == pytest.approx(1.0, abs=0.03)
    assert squared.var() == pytest.approx(2 / 6, rel=0.1)


def test_units_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    real, made = rng.normal(size=(80, 5)), rng.normal(size=(7, 5))
    scale, offset = np.array([1e-3, 1.0, 1e4, 7.0, 0.1]), np.arange(5.0)
    expected = physics_distance(made, fit_standard(real))
    found = physics_distance(made * scale + offset, fit_standard(real * scale + offset))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_correlated_measures_count_once() -> None:
    """Against the rule of real chips: the same z-scores, but of opposite sign in two measures that agree."""
    rng = np.random.default_rng(3)
    common = rng.normal(size=(3000, 1))
    real = np.hstack([common, common]) + 0.1 * rng.normal(size=(3000, 2))
    along, across = physics_distance([[1.0, 1.0], [1.0, -1.0]], fit_standard(real))
    assert along == pytest.approx(np.sqrt(0.5), rel=0.05)
    assert across > 5 * along


def test_missing_measures_give_no_distance_and_leave_the_fit_alone() -> None:
    rng = np.random.default_rng(4)
    real = rng.normal(size=(50, 3))
    holes = np.vstack([real, [[np.nan, 1e6, 1e6]]])
    first, second = fit_standard(real), fit_standard(holes)
    np.testing.assert_array_equal(first.inverse_covariance, second.inverse_covariance)
    distances = physics_distance([[0.0, np.nan, 0.0], [0.0, 0.0, 0.0]], first)
    assert np.isnan(distances).tolist() == [True, False]
    assert np.isnan(standardise([[0.0, np.nan, 0.0]], first)).tolist() == [[False, True, False]]


def test_constant_measures_have_unit_spread() -> None:
    rng = np.random.default_rng(5)
    real = np.column_stack([rng.normal(size=60), np.full(60, 0.1), rng.normal(size=60)])
    standard = fit_standard(real)
    assert standard.std[1] == 1.0
    assert standardise([[0.0, 3.1, 0.0]], standard)[0, 1] == pytest.approx(3.0)
    assert np.isfinite(physics_distance(real, standard)).all()


def test_own_distance_is_too_small_and_left_out_distance_is_not() -> None:
    rng = np.random.default_rng(6)
    real = rng.normal(size=(60, 20))
    folds = np.arange(60) % 5
    inside = physics_distance(real, fit_standard(real))
    outside = left_out_distances(real, folds)
    fresh = physics_distance(rng.normal(size=(2000, 20)), fit_standard(real[folds != 0]))
    assert inside.mean() < outside.mean()
    assert outside.mean() == pytest.approx(fresh.mean(), rel=0.05)
    third = real[folds == 3]
    np.testing.assert_array_equal(
        outside[folds == 3], physics_distance(third, fit_standard(real[folds != 3]))
    )


def test_fewer_chips_than_measures_are_still_fit() -> None:
    rng = np.random.default_rng(7)
    real = rng.normal(size=(14, 26))
    assert np.isfinite(physics_distance(real, fit_standard(real))).all()


def test_fewer_than_four_whole_chips_are_refused() -> None:
    values = np.random.default_rng(8).normal(size=(30, 26))
    values[4:, 0] = np.nan
    assert np.isfinite(physics_distance(values[:4], fit_standard(values))).all()
    values[3:, 0] = np.nan
    with pytest.raises(
        DataError, match=r"3 of 30 chips have all 26 measures, expected 4 or more\nFix: add real"
    ):
        fit_standard(values)


def test_refusals() -> None:
    rng = np.random.default_rng(9)
    standard = fit_standard(rng.normal(size=(30, 3)))
    with pytest.raises(DataError, match="2 measures, the standard has 3"):
        standardise(np.zeros((4, 2)), standard)
    with pytest.raises(DataError, match="with 1 infinite values"):
        physics_distance([[np.inf, 0.0, 0.0]], standard)
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        fit_standard(np.zeros(3))
    with pytest.raises(DataError, match="no spread in some direction"):
        fit_standard(np.ones((10, 3)))
    with pytest.raises(DataError, match=r"\(4,\) folds, 1 distinct"):
        left_out_distances(np.zeros((4, 2)), [0, 0, 0, 0])
