"""Intervals and tests against published values, scipy and exact arithmetic."""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sarcurate.core.statistics import (
    grim_consistent,
    holm,
    mcnemar_exact,
    newcombe_difference,
    smallest_consistent_n,
    smallest_detectable_difference,
    wilson_interval,
)
from sarcurate.errors import DataError, ParamsError

# Accuracies printed in Tables 2 and 3 of arXiv:2606.28922: one balanced test set of 7 x 13 chips.
PRINTED_PERCENTS = (57.142, 50.549, 61.538, 65.934, 69.231, 85.714, 48.351, 73.626)


def test_wilson_of_78_of_91() -> None:
    found = wilson_interval(78, 91)
    assert (round(100 * found.low, 1), round(100 * found.high, 1)) == (77.1, 91.5)
    assert found.estimate == 78 / 91


@settings(deadline=None)
@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(n: int, data: st.DataObject, level: float) -> None:
    k = data.draw(st.integers(0, n))
    found = wilson_interval(k, n, level)
    expected = stats.binomtest(k, n).proportion_ci(level, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_wilson_at_the_ends_touches_zero_and_one() -> None:
    z = 1.959963984540054
    none, every = wilson_interval(0, 20), wilson_interval(20, 20)
    assert none.low == 0.0
    assert none.high == pytest.approx(z * z / (20 + z * z))
    assert every.high == 1.0
    assert every.low == pytest.approx(20 / (20 + z * z))


def test_wilson_covers_as_often_as_it_says() -> None:
    """Exact mean coverage over p, by summing binomial probabilities."""
    n = 60
    limits = [wilson_interval(k, n) for k in range(n + 1)]
    coverages = []
    for p in np.linspace(0.1, 0.9, 81):
        inside = np.array([i.low <= p <= i.high for i in limits])
        coverages.append(stats.binom.pmf(np.arange(n + 1), n, p)[inside].sum())
    assert np.mean(coverages) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    with pytest.raises(DataError, match=f"k={k} of n={n}"):
        wilson_interval(k, n)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_impossible_levels_are_refused(level: float) -> None:
    with pytest.raises(ParamsError, match="confidence level"):
        wilson_interval(1, 2, level)


@pytest.mark.parametrize(("k2", "low", "high"), [(63, 4.3, 28.1), (67, 0.3, 23.5)])
def test_newcombe_of_91(k2: int, low: float, high: float) -> None:
    found = newcombe_difference(78, 91, k2, 91)
    assert (round(100 * found.low, 1), round(100 * found.high, 1)) == (low, high)


def test_newcombe_published_example() -> None:
    """Newcombe (1998), Table II, case a: 56/70 - 48/80, method 10 gives 0.0524 to 0.3339."""
    found = newcombe_difference(56, 70, 48, 80)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 40))
def test_newcombe_is_antisymmetric(k1: int, k2: int) -> None:
    one, other = newcombe_difference(k1, 30, k2, 40), newcombe_difference(k2, 40, k1, 30)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)
    assert -1 <= one.low <= one.estimate <= one.high <= 1


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_equals_summed_binomials(only_a: int, only_b: int) -> None:
    both = [True] * 3
    a = np.array(both + [True] * only_a + [False] * only_b)
    b = np.array(both + [False] * only_a + [True] * only_b)
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    found = mcnemar_exact(a, b)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p_value == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_refuses_labels_in_place_of_correctness() -> None:
    with pytest.raises(DataError, match="int64"):
        mcnemar_exact([1, 0], [True, False])
    with pytest.raises(DataError, match="McNemar"):
        mcnemar_exact([True], [True, False])


def test_holm_by_hand() -> None:
    """Sorted .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04; the last is held at .06."""
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_raw_and_bonferroni(p_values: list[float]) -> None:
    raw, adjusted = np.array(p_values), holm(p_values)
    assert (adjusted >= raw).all()
    assert (adjusted <= np.minimum(1, raw * len(raw)) + 1e-15).all() or len(raw) > 1
    assert adjusted[raw.argmin()] == pytest.approx(min(1.0, raw.min() * raw.size))
    assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0).all()


def test_holm_refuses_what_is_no_p_value() -> None:
    with pytest.raises(DataError, match="Holm"):
        holm([0.1, float("nan")])


@pytest.mark.parametrize(("discordance", "points"), [(0.15, 11.2), (0.25, 14.5), (0.35, 17.1)])
def test_detectable_difference_of_91_chips(discordance: float, points: float) -> None:
    """The points were worked out with 1.96 and 0.84; exact quantiles differ by up to 0.1 %."""
    found = smallest_detectable_difference(91, discordance)
    assert found is not None
    assert 100 * found == pytest.approx(points, abs=0.06)


@settings(deadline=None)
@given(st.integers(30, 2000), st.floats(0.1, 1.0), st.floats(0.5, 0.95))
def test_detectable_difference_solves_its_equation(n: int, discordance: float, power: float) -> None:
    d = smallest_detectable_difference(n, discordance, power)
    if d is None:
        return
    z_alpha, z_power = stats.norm.ppf(0.975), stats.norm.ppf(power)
    expected = z_alpha * math.sqrt(discordance) + z_power * math.sqrt(max(0.0, discordance - d * d))
    assert d * math.sqrt(n) == pytest.approx(expected, rel=1e-9)


def test_detectable_difference_has_its_power_by_simulation() -> None:
    n, discordance = 400, 0.25
    d = smallest_detectable_difference(n, discordance)
    assert d is not None
    shares = [(discordance + d) / 2, (discordance - d) / 2, 1 - discordance]
    only_a, only_b, _ = np.random.default_rng(3).multinomial(n, shares, size=4000).T
    z = (only_a - only_b) / np.sqrt(only_a + only_b)
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.025)


def test_nothing_is_detectable_with_five_chips() -> None:
    assert smallest_detectable_difference(5, 0.15) is None
    assert smallest_detectable_difference(1, 1.0) is None


@pytest.mark.parametrize("arguments", [(0, 0.2), (10, 0.0), (10, 1.1), (10, 0.2, 1.0), (10, 0.2, 0.8, 0.0)])
def test_detectable_difference_refuses(arguments: tuple[int, float]) -> None:
    with pytest.raises(ParamsError, match="detectable"):
        smallest_detectable_difference(*arguments)


def test_printed_percents_come_from_91_chips() -> None:
    assert smallest_consistent_n(PRINTED_PERCENTS, 1000, 3) == 91
    fitting = [n for n in range(1, 500) if all(grim_consistent(p, n, 3) for p in PRINTED_PERCENTS)]
    assert fitting == [91, 182, 273, 364, 455]


@pytest.mark.parametrize("percent", [83.284, 82.893])
def test_printed_percents_that_do_not_fit(percent: float) -> None:
    assert not grim_consistent(percent, 91, 3)
    assert not grim_consistent(percent, 105, 3)
    assert smallest_consistent_n([percent], 105, 3) is None


@settings(deadline=None)
@given(st.integers(1, 400), st.data(), st.integers(0, 4))
def test_true_fractions_are_consistent_however_printed(n: int, data: st.DataObject, decimals: int) -> None:
    k = data.draw(st.integers(0, n))
    exact = Decimal(100 * k) / Decimal(n)
    for rounding in (ROUND_HALF_UP, ROUND_HALF_DOWN, ROUND_DOWN):
        printed = exact.quantize(Decimal(1).scaleb(-decimals), rounding=rounding)
        assert grim_consistent(float(printed), n, decimals)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_grim_equals_trying_every_k(n: int, tenths: int) -> None:
    tried = {
        int((Decimal(1000 * k) / n).quantize(Decimal(1), rounding=rounding))
        for k in range(n + 1)
        for rounding in (ROUND_HALF_UP, ROUND_HALF_DOWN, ROUND_DOWN)
    }
    assert grim_consistent(tenths / 10, n, 1) == (tenths in tried)


def test_grim_refuses_more_decimals_than_stated() -> None:
    with pytest.raises(ParamsError, match="more than 1 decimals"):
        grim_consistent(57.142, 91, 1)
    with pytest.raises(ParamsError, match="out of range"):
        grim_consistent(101.0, 91, 1)
