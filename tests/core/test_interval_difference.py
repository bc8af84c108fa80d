from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sarcurate.core.interval_difference import difference_of_intervals, holds_zero
from sarcurate.core.statistics import Interval, newcombe_difference, wilson_interval


def test_of_wilson_intervals_it_is_newcombes() -> None:
    found = difference_of_intervals(wilson_interval(56, 70), wilson_interval(48, 80))
    expected = newcombe_difference(56, 70, 48, 80)
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (expected.estimate, expected.low, expected.high)
    )


def test_of_independent_normal_means_it_covers_as_promised() -> None:
    rng = np.random.default_rng(4)
    half = float(stats.norm.ppf(0.975))
    draws = 4000
    a, b = rng.normal(1.0, 1.0, draws), rng.normal(1.3, 0.4, draws)
    hits = 0
    for one, other in zip(a, b, strict=True):
        later = Interval(other, other - 0.4 * half, other + 0.4 * half)
        earlier = Interval(one, one - half, one + half)
        found = difference_of_intervals(later, earlier)
        hits += found.low <= 0.3 <= found.high
    assert abs(hits / draws - 0.95) < 3 * np.sqrt(0.95 * 0.05 / draws)


def test_skew_is_kept_and_swapping_turns_it_round() -> None:
    a, b = Interval(1.0, 0.9, 1.5), Interval(2.0, 1.8, 2.1)
    one, other = difference_of_intervals(b, a), difference_of_intervals(a, b)
    assert (one.estimate, one.low, one.high) == pytest.approx((-other.estimate, -other.high, -other.low))
    assert one.estimate - one.low == pytest.approx(np.hypot(0.2, 0.5))
    assert one.high - one.estimate == pytest.approx(np.hypot(0.1, 0.1))


@pytest.mark.parametrize(
    ("low", "high", "holds"), [(-1, 1, True), (0, 1, True), (-1, 0, True), (0.1, 1, False), (-1, -0.1, False)]
)
def test_zero_among_the_values(low: float, high: float, holds: bool) -> None:
    assert holds_zero(Interval((low + high) / 2, low, high)) == holds
