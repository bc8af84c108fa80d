"""Intervals, tests and consistency checks for k correct of n test chips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from sarcurate.errors import DataError, ParamsError


@dataclass(frozen=True)
class Interval:
    """A point estimate and the two ends of its confidence interval, in the unit of the estimate."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class McNemar:
    """Chips that only one of two classifiers got right, and the exact two-sided p-value."""

    only_a: int
    only_b: int
    p_value: float


def wilson_interval(k: int, n: int, level: float = 0.95) -> Interval:
    """Score interval of a proportion k/n, as fractions.

    Source: Wilson (1927), JASA 22:209-212.

    Raises:
        DataError: unless 0 <= k <= n and n >= 1.
        ParamsError: unless 0 < level < 1.
    """
    _check_count(k, n)
    z = _normal_quantile(level)
    p = k / n
    shrink = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At k = 0 and k = n the formula's end is exactly 0 and 1; rounding dust would put the estimate outside.
    return Interval(p, 0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half)


def newcombe_difference(k1: int, n1: int, k2: int, n2: int, level: float = 0.95) -> Interval:
    """Interval of k1/n1 - k2/n2 for independent samples, as fractions.

    Two arms scored on the same test chips are not independent: there, use
    :func:`sarcurate.core.bootstrap.paired_difference`.
    Source: Newcombe (1998), Statistics in Medicine 17:873-890, method 10.

    Raises:
        DataError: unless 0 <= k <= n and n >= 1 for both.
        ParamsError: unless 0 < level < 1.
    """
    first = wilson_interval(k1, n1, level)
    second = wilson_interval(k2, n2, level)
    difference = first.estimate - second.estimate
    below = math.hypot(first.estimate - first.low, second.high - second.estimate)
    above = math.hypot(first.high - first.estimate, second.estimate - second.low)
    return Interval(difference, difference - below, difference + above)


def mcnemar_exact(correct_a: ArrayLike, correct_b: ArrayLike) -> McNemar:
    """Exact two-sided McNemar test of two classifiers on the same chips, one run each.

    It treats chips as independent, so chips of one scene or pass make it optimistic.
    Source: McNemar (1947), Psychometrika 12:153-157; the binomial form conditions on the discordant chips.

    Args:
        correct_a: booleans, shape (n,).
        correct_b: booleans, shape (n,), in the same chip order.

    Raises:
        DataError: for other shapes or for values that are not booleans.
    """
    a, b = np.asarray(correct_a), np.asarray(correct_b)
    if a.ndim != 1 or a.shape != b.shape or a.size == 0 or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise DataError(
            f"McNemar test: expected booleans (n,), found {a.dtype} {a.shape} and {b.dtype} {b.shape}",
            fix="compare one run of each arm on the same test chips",
        )
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n_discordant = only_a + only_b
    p_value = 1.0 if n_discordant == 0 else float(stats.binomtest(only_a, n_discordant, 0.5).pvalue)
    return McNemar(only_a, only_b, p_value)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values of a family of tests, in the order given.

    Source: Holm (1979), Scandinavian Journal of Statistics 6:65-70.

    Args:
        p_values: shape (m,), each in 0..1.

    Raises:
        DataError: for another shape or values outside 0..1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError(
            f"Holm correction: expected p-values (m,) in 0..1, found {p.tolist()}",
            fix="leave out comparisons that could not be computed and say so beside the table",
        )
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def smallest_detectable_difference(
    n: int, discordance: float, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """Smallest paired accuracy difference that n test chips detect, as a fraction.

    Normal approximation of McNemar's test, two-sided: with discordance psi and difference d,
    d sqrt(n) = z_(1-alpha/2) sqrt(psi) + z_power sqrt(psi - d^2); the larger root of that quadratic.
    Source: Miettinen (1968), Biometrics 24:339-352; Connor (1987), Biometrics 43:207-211.

    Args:
        n: test chips, independent of each other (test groups where chips are not).
        discordance: fraction of chips that exactly one of the two arms gets right, in (0, 1].
        power: chance of finding the difference, in [0.5, 1).
        alpha: two-sided level of the test, in (0, 1).

    Returns:
        The difference, or None where even a fully one-sided discordance would stay undetected.

    Raises:
        ParamsError: for arguments out of range.
    """
    if n < 1 or not 0 < discordance <= 1 or not 0.5 <= power < 1 or not 0 < alpha < 1:
        raise ParamsError(
            f"detectable difference: out of range, {n=}, {discordance=}, {power=}, {alpha=}",
            fix="give n >= 1, 0 < discordance <= 1, 0.5 <= power < 1 and 0 < alpha < 1",
        )
    z_alpha, z_power = _normal_quantile(1 - alpha), float(stats.norm.ppf(power))
    # (n + zp^2) d^2 - 2 za sqrt(n psi) d + psi (za^2 - zp^2) = 0; its discriminant, divided by 4 psi zp^2:
    spread = n + z_power**2 - z_alpha**2
    if spread < 0:
        return None
    root = z_alpha * math.sqrt(n) + z_power * math.sqrt(spread)
    difference = math.sqrt(discordance) * root / (n + z_power**2)
    return difference if difference <= discordance else None


def grim_consistent(percent: float, n: int, decimals: int) -> bool:
    """Whether a printed percentage can be k of n, rounded or truncated to ``decimals``.

    Exact in integers; a tie may have been rounded either way.
    Source: Brown and Heathers (2017), Social Psychological and Personality Science 8:363-369 (GRIM test).

    Raises:
        ParamsError: for n < 1, decimals < 0, a percentage outside 0..100 or with more decimals than stated.
    """
    if n < 1 or decimals < 0 or not 0 <= percent <= 100:
        raise ParamsError(
            f"GRIM check: percent={percent}, n={n}, decimals={decimals} out of range",
            fix="give 0 <= percent <= 100, n >= 1 and decimals >= 0",
        )
    scale = int(10**decimals)
    units = round(percent * scale)
    if abs(units / scale - percent) > 1e-9:
        raise ParamsError(
            f"GRIM check: {percent} has more than {decimals} decimals", fix="state the decimals as printed"
        )
    step = 100 * scale
    # k fits when -n/2 <= k step - units n < n: the left half and the tie are rounding, the rest truncation.
    k = -((n - 2 * units * n) // (2 * step))
    return k <= n and k * step - units * n < n


def smallest_consistent_n(percents: Sequence[float], n_max: int, decimals: int) -> int | None:
    """Smallest test set size up to ``n_max`` that explains every printed percentage, or None.

    Raises:
        ParamsError: as :func:`grim_consistent`.
    """
    sizes = range(1, n_max + 1)
    return next((n for n in sizes if all(grim_consistent(p, n, decimals) for p in percents)), None)


def check_level(level: float) -> None:
    """Refuse a confidence level outside (0, 1).

    Raises:
        ParamsError: unless 0 < level < 1.
    """
    if not 0 < level < 1:
        raise ParamsError(f"confidence level {level} is not between 0 and 1", fix="use for example 0.95")


def _normal_quantile(level: float) -> float:
    """Half width, in standard deviations, of a two-sided normal interval."""
    check_level(level)
    return float(stats.norm.ppf(0.5 + level / 2))


def _check_count(k: int, n: int) -> None:
    if n < 1 or not 0 <= k <= n:
        raise DataError(
            f"proportion: found k={k} of n={n}, expected 0 <= k <= n and n >= 1",
            fix="count correct chips and test chips of the same test set",
        )
