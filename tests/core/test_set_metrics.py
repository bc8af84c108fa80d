"""Distances of sets against plain loops, closed forms for Gaussian sets, and simulated bootstraps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sarcurate.core import set_metrics
from sarcurate.core.group_draws import bootstrap_weights, halvings
from sarcurate.core.set_metrics import (
    frechet_distance,
    gap_closed,
    kernel_sums,
    kid,
    median_distance,
    mmd2_rbf,
    neighbours,
    polynomial_kernel,
    rbf_kernel,
    signed_root,
    weighted_mmd2,
)
from sarcurate.errors import DataError

Matrix = NDArray[np.float64]
Kernel = Callable[[Matrix, Matrix], float]


def plain_mmd2(x: Matrix, y: Matrix, kernel: Kernel) -> float:
    """Eq. 3 of Gretton et al. (2012), pair by pair."""
    n, m = len(x), len(y)
    within_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    cross = sum(kernel(a, b) for a in x for b in y) / (n * m)
    return within_x + within_y - 2 * cross


def gaussian_mmd2(shift: float, bandwidth: float, d: int) -> float:
    """MMD^2 of N(0, I) and N(mu, I) with |mu| = shift, by integrating the kernel over both."""
    wide = bandwidth**2 / (bandwidth**2 + 2)
    return float(2 * wide ** (d / 2) * (1 - np.exp(-(shift**2) / (2 * (bandwidth**2 + 2)))))


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 4), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_mmd_and_kid_are_the_plain_sums(n: int, m: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.5
    rbf = plain_mmd2(x, y, lambda a, b: float(np.exp(-((a - b) ** 2).sum() / (2 * 1.7**2))))
    assert mmd2_rbf(x, y, 1.7) == pytest.approx(rbf, abs=1e-12)
    polynomial = plain_mmd2(x, y, lambda a, b: float((a @ b / d + 1) ** 3))
    assert kid(x, y) == pytest.approx(polynomial, abs=1e-9)


def test_mmd_of_gaussian_sets_is_the_closed_form_and_unbiased() -> None:
    rng = np.random.default_rng(0)
    d, bandwidth, shift = 4, 2.0, 1.0
    found, nothing = [], []
    for _ in range(400):
        x, y = rng.normal(size=(25, d)), rng.normal(size=(30, d))
        nothing.append(mmd2_rbf(x, y, bandwidth))
        found.append(mmd2_rbf(x, y + shift / 2, bandwidth))  # shift / 2 in each of 4 dimensions: length 1
    expected = gaussian_mmd2(shift, bandwidth, d)
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / 20)
    assert np.mean(nothing) == pytest.approx(0.0, abs=4 * np.std(nothing) / 20)
    assert expected > 10 * np.std(nothing) / 20


def test_mixture_closes_its_share_of_the_gap() -> None:
    """With a third of the chips real and two thirds source, MMD is two thirds of the source's."""
    rng = np.random.default_rng(1)
    real, source = rng.normal(size=(1500, 2)), rng.normal(size=(1500, 2)) + 2
    mixture = np.vstack([rng.normal(size=(500, 2)), rng.normal(size=(1000, 2)) + 2])
    made_at, source_at = (float(signed_root(mmd2_rbf(real, one, 2.0))) for one in (mixture, source))
    closed, reason = gap_closed(made_at, source_at, 0.0)
    assert closed == pytest.approx(1 / 3, abs=0.03)
    assert reason == ""


def test_median_distance_is_the_median_over_pairs() -> None:
    x = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    assert median_distance(x) == pytest.approx(np.sqrt(18))
    with pytest.raises(DataError, match="half of the pairs of chips coincide"):
        median_distance(np.ones((5, 2)))


# --- groups and draws


def all_sums(x: Matrix, y: Matrix, of_x: NDArray[np.intp], of_y: NDArray[np.intp]) -> set_metrics.KernelSums:
    sizes = int(of_x.max()) + 1, int(of_y.max()) + 1
    return kernel_sums(rbf_kernel(x, x, 1.5), rbf_kernel(y, y, 1.5), rbf_kernel(x, y, 1.5), of_x, of_y, sizes)


def plain_weighted(x: Matrix, y: Matrix, of_x: list[int], of_y: list[int], wx: Matrix, wy: Matrix) -> float:
    """Write every drawn copy of a chip down, then average over pairs of copies of different groups."""

    def copies(rows: Matrix, units: list[int], weights: Matrix) -> list[tuple[int, Matrix]]:
        return [(u, row) for u, row in zip(units, rows, strict=True) for _ in range(int(weights[u]))]

    def kernel(a: Matrix, b: Matrix) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / (2 * 1.5**2)))

    xs, ys = copies(x, of_x, wx), copies(y, of_y, wy)
    within = [np.mean([kernel(a, b) for u, a in one for v, b in one if u != v]) for one in (xs, ys)]
    return float(sum(within) - 2 * np.mean([kernel(a, b) for _, a in xs for _, b in ys]))


def test_weighted_mmd_is_that_of_repeated_groups() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(9, 2)), rng.normal(size=(7, 2)) + 0.4
    of_x, of_y = [0, 0, 1, 2, 2, 2, 3, 1, 0], [0, 1, 1, 2, 0, 2, 1]
    sums = all_sums(x, y, np.array(of_x), np.array(of_y))
    wx = np.array([[1.0, 1, 1, 1], [2, 0, 1, 1], [0, 3, 1, 0]])
    wy = np.array([[1.0, 1, 1], [0, 1, 2], [1, 2, 0]])
    expected = [plain_weighted(x, y, of_x, of_y, a, b) for a, b in zip(wx, wy, strict=True)]
    assert weighted_mmd2(sums, wx, wy) == pytest.approx(expected, abs=1e-12)


def test_bootstrap_mean_is_not_shifted() -> None:
    """Pairs of a chip and its own copy would lift the mean by about the (1 - mean kernel)/n of each set."""
    rng = np.random.default_rng(3)
    n = 40
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(n, 3)) + 0.3
    chips = np.arange(n)
    sums = all_sums(x, y, chips, chips)
    ones = np.ones((1, n))
    drawn = weighted_mmd2(sums, bootstrap_weights(n, 4000, [0, 0]), bootstrap_weights(n, 4000, [0, 1]))
    off_mean = rbf_kernel(x, x, 1.5)[~np.eye(n, dtype=bool)].mean()
    lift = 2 * (1 - off_mean) / n
    shift = drawn.mean() - weighted_mmd2(sums, ones, ones)[0]
    assert lift > 0.02
    assert abs(shift) < 0.1 * lift


def test_grouped_chips_do_not_make_sets_look_apart() -> None:
    """Scenes of 8 like chips, sets of one law: 0 on average by groups, clearly above 0 chip by chip."""
    rng = np.random.default_rng(4)
    of_chip = np.repeat(np.arange(10), 8)
    by_groups, by_chips = [], []
    for _ in range(150):
        x, y = ((rng.normal(size=(10, 2)))[of_chip] + 0.2 * rng.normal(size=(80, 2)) for _ in range(2))
        by_groups.append(
            weighted_mmd2(all_sums(x, y, of_chip, of_chip), np.ones((1, 10)), np.ones((1, 10)))[0]
        )
        by_chips.append(mmd2_rbf(x, y, 1.5))
    error = np.std(by_groups) / np.sqrt(150)
    assert abs(np.mean(by_groups)) < 3.5 * error
    assert np.mean(by_chips) > 10 * error


def test_intervals_cover_the_true_distance() -> None:
    rng = np.random.default_rng(5)
    truth, covered = gaussian_mmd2(0.8, 1.5, 2), 0
    chips = np.arange(50)
    weights = bootstrap_weights(50, 400, [9, 0]), bootstrap_weights(50, 400, [9, 1])
    for _ in range(200):
        x, y = rng.normal(size=(50, 2)), rng.normal([0.8, 0.0], size=(50, 2))
        low, high = np.quantile(weighted_mmd2(all_sums(x, y, chips, chips), *weights), [0.025, 0.975])
        covered += bool(low <= truth <= high)
    # Binomial: 200 trials at .95 lie in .90 to .99; percentile intervals err a little on either side.
    assert 0.89 <= covered / 200 <= 0.995


def test_halves_of_one_set_are_at_zero_on_average() -> None:
    rng = np.random.default_rng(6)
    x, of_chip = rng.normal(size=(60, 2)), np.arange(60) % 12
    halves = halvings(12, 4000, 0)
    drawn = weighted_mmd2(all_sums(x, x, of_chip, of_chip), halves, 1 - halves)
    assert abs(drawn.mean()) < 4 * drawn.std() / np.sqrt(4000)


def test_draws_without_pairs_have_no_value() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    sums = all_sums(x, y, np.array([0, 0, 1, 1]), np.arange(4))
    drawn = weighted_mmd2(sums, np.array([[2.0, 0.0], [1.0, 1.0]]), np.ones((2, 4)))
    assert np.isnan(drawn).tolist() == [True, False]


# --- neighbours


def plain_neighbours(real: Matrix, made: Matrix) -> tuple[float, float, float, float]:
    """Manifolds of k-th neighbour balls, point by point."""

    def distance(a: Matrix, b: Matrix) -> float:
        return float(np.sqrt(((a - b) ** 2).sum()))

    def radius(i: int, rows: Matrix, k: int) -> float:
        return sorted(distance(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]

    r3 = [radius(i, real, 3) for i in range(len(real))]
    m3 = [radius(i, made, 3) for i in range(len(made))]
    r5 = [radius(i, real, 5) for i in range(len(real))]
    precision = [any(distance(y, x) <= r for x, r in zip(real, r3, strict=True)) for y in made]
    recall = [any(distance(x, y) <= r for y, r in zip(made, m3, strict=True)) for x in real]
    density = sum(distance(x, y) <= r for y in made for x, r in zip(real, r5, strict=True)) / (5 * len(made))
    coverage = [any(distance(x, y) <= r for y in made) for x, r in zip(real, r5, strict=True)]
    return float(np.mean(precision)), float(np.mean(recall)), density, float(np.mean(coverage))


@given(st.integers(6, 16), st.integers(6, 16), st.floats(0, 3), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_neighbours_are_the_plain_loops(n: int, m: int, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    real, made = rng.normal(size=(n, 2)), rng.normal(size=(m, 2)) * 0.7 + shift
    found = neighbours(real, made)
    values = (found.precision, found.recall, found.density, found.coverage)
    assert values == pytest.approx(plain_neighbours(real, made), abs=1e-12)


def test_neighbours_of_a_narrow_set_and_of_a_far_one() -> None:
    rng = np.random.default_rng(8)
    real = rng.normal(size=(300, 2))
    narrow = neighbours(real, 0.1 * rng.normal(size=(300, 2)))
    assert narrow.precision > 0.99
    assert narrow.recall < 0.1
    far = neighbours(real, rng.normal(size=(300, 2)) + 50)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)
    same = neighbours(real, rng.normal(size=(300, 2)))
    assert same.density == pytest.approx(1.0, abs=0.1)


# --- Frechet distance


def test_frechet_distance_of_gaussian_sets() -> None:
    """Axis-aligned laws: |mu|^2 + sum (s1 - s2)^2; turned together nothing changes."""
    rng = np.random.default_rng(9)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    x = rng.normal(size=(40_000, 3)) * [1.0, 2.0, 0.5]
    y = rng.normal(size=(40_000, 3)) * [2.0, 2.0, 1.0] + [1.0, 0.0, 0.0]
    found = frechet_distance(x @ turn, y @ turn)
    assert found.value == pytest.approx(1 + 1 + 0.25, rel=0.03)
    assert (found.n, found.warning) == (40_000, "")


def test_frechet_distance_of_correlated_sets_is_the_matrix_root() -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(10)
    x, y = (
        rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4)),
        rng.normal(size=(150, 4)) @ rng.normal(size=(4, 4)),
    )
    a, b = np.cov(x.T), np.cov(y.T)
    apart = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    expected = apart + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_distance(x, y).value == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_warns_below_2048_chips() -> None:
    rng = np.random.default_rng(11)
    few = frechet_distance(rng.normal(size=(2047, 1)), rng.normal(size=(3000, 1)))
    assert few.n == 2047
    assert "biased upwards with 2047 chips, fewer than 2,048" in few.warning
    assert frechet_distance(rng.normal(size=(2048, 1)), rng.normal(size=(3000, 1))).warning == ""
    singular = frechet_distance(rng.normal(size=(10, 30)), rng.normal(size=(10, 30)))
    assert np.isfinite(singular.value)


# --- gap and refusals


def test_gap_closed() -> None:
    assert gap_closed(0.5, 0.9, 0.1) == (pytest.approx(0.5), "")
    assert gap_closed(0.9, 0.9, 0.1)[0] == pytest.approx(0.0)
    assert gap_closed(0.1, 0.9, 0.1)[0] == pytest.approx(1.0)
    assert gap_closed(1.7, 0.9, 0.1)[0] == pytest.approx(-1.0)
    none, reason = gap_closed(0.0, 0.1, 0.1)
    assert none is None
    assert reason == "source chips (0.1) are no farther than real chips from each other (0.1)"


def test_signed_root_keeps_the_sign() -> None:
    assert signed_root([-4.0, 0.0, 9.0]).tolist() == [-2.0, 0.0, 3.0]


@pytest.mark.parametrize("measure", [lambda x, y: mmd2_rbf(x, y, 1.0), kid, frechet_distance, neighbours])
def test_sets_are_refused(measure: Callable[[Matrix, Matrix], object]) -> None:
    good = np.random.default_rng(0).normal(size=(10, 2))
    measure(good, good + 0.1)
    with pytest.raises(DataError, match=r"y has shape \(1, 2\), expected finite"):
        measure(good, good[:1])
    with pytest.raises(DataError, match="2 and 1 columns"):
        measure(good, good[:, :1])
    with pytest.raises(DataError, match="x has shape"):
        measure(np.where(good == good[0, 0], np.nan, good), good)


def test_polynomial_kernel_is_that_of_kid() -> None:
    x, y = np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]])
    assert polynomial_kernel(x, y)[0, 0] == pytest.approx((1.0 / 2 + 1) ** 3)
