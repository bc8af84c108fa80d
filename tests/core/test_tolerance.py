"""Tolerance limits against Wilks' formulas, plain counting and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.core.statistics import wilson_interval
from sarcurate.core.tolerance import (
    Side,
    joint_left_out,
    left_out_pass_rate,
    lower_limit,
    sided_limits,
    two_sided_limits,
    upper_limit,
)
from sarcurate.errors import DataError, ParamsError


def plain_confidence(n: int, rank: int, content: float) -> float:
    """P(Binomial(n, 1 - content) >= rank), term by term."""
    out = 1 - content
    return 1 - sum(math.comb(n, i) * out**i * content ** (n - i) for i in range(rank))


def test_259_chips_give_a_99_percent_bound_of_92_percent_confidence() -> None:
    values = np.random.default_rng(0).permutation(259) * 1.0
    limit = upper_limit(values, 0.99, 0.95)
    assert (limit.value, limit.content, limit.n) == (258, 0.99, 259)
    assert limit.confidence == pytest.approx(1 - 0.99**259)
    assert limit.confidence == pytest.approx(0.926, abs=5e-4)


def test_two_sided_extremes_of_259_chips() -> None:
    low, high = two_sided_limits(np.arange(259.0), 0.99, 0.95)
    expected = 1 - 259 * 0.99**258 + 258 * 0.99**259
    assert (low.value, high.value) == (0, 258)
    assert low.confidence == high.confidence == pytest.approx(expected)
    assert expected == pytest.approx(0.732, abs=5e-4)


@pytest.mark.parametrize(
    ("n", "content", "confidence"), [(100, 0.9, 0.95), (500, 0.95, 0.9), (60, 0.9, 0.99)]
)
def test_rank_is_the_largest_that_is_sure_enough(n: int, content: float, confidence: float) -> None:
    sure = [plain_confidence(n, rank, content) for rank in range(1, n + 1)]
    rank = max(1, sum(one >= confidence for one in sure))
    limit = upper_limit(np.arange(n) * 1.0, content, confidence)
    assert limit.value == n - rank
    assert limit.confidence == pytest.approx(sure[rank - 1])


def test_two_sided_rank_is_the_largest_that_is_sure_enough() -> None:
    sure = [plain_confidence(300, 2 * rank, 0.9) for rank in range(1, 151)]
    rank = sum(one >= 0.95 for one in sure)
    assert rank > 1
    low, high = two_sided_limits(np.arange(300.0), 0.9, 0.95)
    assert (low.value, high.value) == (rank - 1, 300 - rank)
    assert high.confidence == pytest.approx(sure[rank - 1])


def coverage(limits_of_draw: list[tuple[float, float]], content: float) -> float:
    """Share of limits on exponential values that hold ``content`` of all values."""
    cdf = [(1 - math.exp(-max(low, 0.0)), 1 - math.exp(-high)) for low, high in limits_of_draw]
    return float(np.mean([top - bottom >= content for bottom, top in cdf]))


@pytest.mark.parametrize("side", ["lower", "upper", "both"])
def test_promise_holds_over_many_draws(side: Side) -> None:
    rng = np.random.default_rng(3)
    found = []
    promised = math.nan
    for _ in range(2000):
        low, high = sided_limits(rng.exponential(size=120), side, 0.95, 0.9)
        found.append((low.value if low else 0.0, high.value if high else math.inf))
        promised = (low or high).confidence  # type: ignore[union-attr]
    # 2,000 draws know a share of about .9 to a standard error of .007.
    assert coverage(found, 0.95) == pytest.approx(promised, abs=0.025)
    assert promised >= 0.9


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60),
    st.floats(0.05, 0.995),
    st.floats(0.05, 0.995),
)
@settings(max_examples=80, deadline=None)
def test_properties(values: list[float], content: float, confidence: float) -> None:
    high, low = upper_limit(values, content, confidence), lower_limit(values, content, confidence)
    mirrored = upper_limit([-value for value in values], content, confidence)
    assert low.value == -mirrored.value
    assert low.confidence == mirrored.confidence
    assert min(values) <= low.value
    assert high.value in values
    assert high.confidence >= confidence or high.value == max(values)
    order = np.random.default_rng(0).permutation([*values, math.nan])
    assert upper_limit(order, content, confidence) == high
    below, above = two_sided_limits(values, content, confidence)
    assert below.value <= above.value
    assert below.confidence >= confidence or (below.value, above.value) == (min(values), max(values))


def test_surer_limits_are_no_tighter() -> None:
    values = np.random.default_rng(1).normal(size=400)
    limits = [upper_limit(values, 0.9, confidence).value for confidence in (0.5, 0.9, 0.99)]
    assert limits == sorted(limits)
    assert limits[0] < limits[-1]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([], r"shape \(0,\) with 0 values, 0 infinite; expected \(n,\) with at least 1"),
        ([math.nan], "with 0 values"),
        ([1.0, math.inf], "1 infinite"),
        ([[1.0, 2.0]], r"shape \(1, 2\)"),
    ],
)
def test_values_are_refused(values: list[float], match: str) -> None:
    with pytest.raises(DataError, match=match):
        upper_limit(values, 0.9, 0.9)


def test_two_sided_limits_need_two_values() -> None:
    with pytest.raises(DataError, match="with 1 values"):
        two_sided_limits([1.0, math.nan], 0.9, 0.9)


@pytest.mark.parametrize(("content", "confidence"), [(0.0, 0.9), (1.0, 0.9), (0.9, 0.0), (0.9, 1.0)])
def test_levels_are_refused(content: float, confidence: float) -> None:
    with pytest.raises(ParamsError, match=f"content {content}, confidence {confidence}"):
        lower_limit([1.0, 2.0], content, confidence)


def test_unknown_side_is_refused() -> None:
    with pytest.raises(ParamsError, match="side is 'above'"):
        sided_limits([1.0, 2.0], "above", 0.9, 0.9)  # type: ignore[arg-type]


# --- left-out chips


def test_left_out_chips_are_held_against_the_other_folds() -> None:
    values, folds = np.array([1.0, 2, 3, 4, 5, np.nan]), np.array([0, 0, 1, 1, 2, 2])

    def largest(others: np.ndarray) -> tuple[float, float]:
        return -np.inf, float(np.nanmax(others))

    # Largest of the others: 5, 5, 5, 5, 4: all but the 5 itself pass.
    assert left_out_pass_rate(values, folds, largest, missing_ok=False) == wilson_interval(4, 6)
    assert left_out_pass_rate(values, folds, largest, missing_ok=True) == wilson_interval(5, 6)


def test_pass_rate_of_the_maximum_is_that_of_exchangeable_values() -> None:
    """A new value lies below the largest of m with probability m/(m+1): here 1 of 5 folds of 20 chips."""
    rng = np.random.default_rng(5)
    folds = np.repeat(np.arange(5), 20)
    draws = [rng.normal(size=(100, 1)) for _ in range(300)]
    passes = [joint_left_out(one, folds, ["upper"], 0.99, 0.9, missing_ok=False) for one in draws]
    rates = [one.rate.estimate for one in passes]
    assert np.mean(rates) == pytest.approx(80 / 81, abs=0.003)


def test_joint_pass_is_the_pass_of_every_gate() -> None:
    rng = np.random.default_rng(6)
    values, folds = rng.normal(size=(90, 3)), np.arange(90) % 3
    values[::10, 1] = np.nan
    sides: list[Side] = ["lower", "upper", "both"]
    joint = joint_left_out(values, folds, sides, 0.9, 0.9, missing_ok=[False, True, False])
    inside = np.ones((90, 3), dtype=bool)
    for fold in range(3):
        for gate, side in enumerate(sides):
            low, high = sided_limits(values[folds != fold, gate], side, 0.9, 0.9)
            for chip in np.flatnonzero(folds == fold):
                value = values[chip, gate]
                ok = (low is None or value >= low.value) and (high is None or value <= high.value)
                inside[chip, gate] = gate == 1 if math.isnan(value) else ok
    assert np.array_equal(joint.inside, inside)
    assert (joint.passed, joint.n) == (int(inside.all(axis=1).sum()), 90)
    assert joint.rate == wilson_interval(joint.passed, 90)
    assert joint.per_gate == tuple(wilson_interval(int(k), 90) for k in inside.sum(axis=0))
    assert joint.passed < min(inside.sum(axis=0))
    strict = joint_left_out(values, folds, sides, 0.9, 0.9, missing_ok=False)
    assert strict.per_gate[1].estimate == pytest.approx(joint.per_gate[1].estimate - 9 / 90)


def test_left_out_refusals() -> None:
    values = np.ones((4, 2))
    with pytest.raises(DataError, match=r"\(4,\) folds, 1 distinct"):
        joint_left_out(values, [0] * 4, ["upper", "upper"], 0.9, 0.9, missing_ok=False)
    with pytest.raises(DataError, match=r"values \(4, 2\), 1 sides"):
        joint_left_out(values, [0, 0, 1, 1], ["upper"], 0.9, 0.9, missing_ok=False)
    with pytest.raises(DataError, match="2 sides, 1 rules"):
        joint_left_out(values, [0, 0, 1, 1], ["upper", "upper"], 0.9, 0.9, missing_ok=[True])
    values[:, 1] = np.nan
    with pytest.raises(DataError, match="with 0 values"):
        joint_left_out(values, [0, 0, 1, 1], ["upper", "upper"], 0.9, 0.9, missing_ok=False)
