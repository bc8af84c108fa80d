"""Limits that hold a share of all chips with a stated confidence, whatever the law of the values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from sarcurate.core.statistics import Interval, wilson_interval
from sarcurate.errors import DataError, ParamsError

Values = NDArray[np.float64]
Side = Literal["lower", "upper", "both"]


@dataclass(frozen=True)
class Limit:
    """A tolerance limit: at least the share ``content`` of all chips lies on its good side.

    Args:
        value: in the unit of the measure; always one of the chips' own values.
        content: share of all chips, in (0, 1). For two-sided limits, between the two.
        confidence: that the promise of ``content`` holds: at least what was asked, or, where n chips
            cannot give that, what the extreme value really has.
        n: chips with a value.
    """

    value: float
    content: float
    confidence: float
    n: int


@dataclass(frozen=True, eq=False)
class JointPass:
    """Left-out chips inside all limits, and inside the limits of each measure.

    Args:
        passed: chips inside all limits.
        n: chips.
        rate: passed / n with its Wilson interval.
        per_gate: the same for each measure alone.
        inside: (n, k) booleans, chip by measure.
    """

    passed: int
    n: int
    rate: Interval
    per_gate: tuple[Interval, ...]
    inside: NDArray[np.bool_]


def upper_limit(values: ArrayLike, content: float, confidence: float) -> Limit:
    """Upper limit of ``content`` of all chips: the r-th largest value, with r as large as is sure enough.

    The r-th largest of n independent values has at least the share ``content`` below it with probability
    P(Binomial(n, 1 - content) >= r); exactly so for continuous laws, at least so with ties. Chips of one
    scene are not independent, so the confidence is optimistic where n chips come from few scenes.
    Source: Wilks (1941), Annals of Mathematical Statistics 12:91-96.

    Args:
        values: (n,), NaN where a chip has no value; those are left out.
        content: share of all chips, in (0, 1).
        confidence: asked for, in (0, 1).

    Raises:
        DataError: without a single value, for another shape, or for infinite values.
        ParamsError: for a content or confidence outside (0, 1).
    """
    ordered = _ordered(values, content, confidence, least=1)
    rank, sure = _rank(ordered.size, content, confidence, ends=1)
    return Limit(float(ordered[-rank]), content, sure, ordered.size)


def lower_limit(values: ArrayLike, content: float, confidence: float) -> Limit:
    """Lower limit of ``content`` of all chips, as :func:`upper_limit`."""
    ordered = _ordered(values, content, confidence, least=1)
    rank, sure = _rank(ordered.size, content, confidence, ends=1)
    return Limit(float(ordered[rank - 1]), content, sure, ordered.size)


def two_sided_limits(values: ArrayLike, content: float, confidence: float) -> tuple[Limit, Limit]:
    """Lower and upper limit with ``content`` of all chips between them, at equal ranks from both ends.

    The share between the r-th smallest and r-th largest is Beta(n - 2r + 1, 2r), so it reaches ``content``
    with probability P(Binomial(n, 1 - content) >= 2r); for the extremes
    1 - n content^(n-1) + (n-1) content^n. The confidence stands in both limits and belongs to the two
    together. Source: Wilks (1941), Annals of Mathematical Statistics 12:91-96.

    Raises:
        DataError: for fewer than 2 values, another shape, or infinite values.
        ParamsError: for a content or confidence outside (0, 1).
    """
    ordered = _ordered(values, content, confidence, least=2)
    rank, sure = _rank(ordered.size, content, confidence, ends=2)
    low, high = float(ordered[rank - 1]), float(ordered[-rank])
    return Limit(low, content, sure, ordered.size), Limit(high, content, sure, ordered.size)


def sided_limits(
    values: ArrayLike, side: Side, content: float, confidence: float
) -> tuple[Limit | None, Limit | None]:
    """Lower and upper limit of the side asked for; None on a side that does not hold.

    Raises:
        DataError: as :func:`upper_limit` and :func:`two_sided_limits`.
        ParamsError: for an unknown side, or a content or confidence outside (0, 1).
    """
    if side == "lower":
        return lower_limit(values, content, confidence), None
    if side == "upper":
        return None, upper_limit(values, content, confidence)
    if side == "both":
        return two_sided_limits(values, content, confidence)
    raise ParamsError(f"tolerance limit: side is {side!r}", fix="give lower, upper or both")


def left_out_pass_rate(
    values: ArrayLike,
    folds: ArrayLike,
    limits_of: Callable[[Values], tuple[float, float]],
    *,
    missing_ok: bool,
) -> Interval:
    """Share of chips inside limits that were fitted without their own fold, with its Wilson interval.

    Args:
        values: (n,), NaN where a chip has no value.
        folds: (n,) fold of each chip; two or more folds.
        limits_of: from the values of the other folds to (low, high); infinite on a side that does not hold.
        missing_ok: whether a chip without a value passes.

    Raises:
        DataError: for shapes that do not match, or one fold alone.
    """
    inside = _left_out_inside(np.asarray(values, dtype=np.float64), folds, limits_of, missing_ok)
    return wilson_interval(int(inside.sum()), inside.size)


def joint_left_out(
    values: ArrayLike,
    folds: ArrayLike,
    sides: Sequence[Side],
    content: float,
    confidence: float,
    *,
    missing_ok: bool | Sequence[bool],
) -> JointPass:
    """Left-out chips inside the tolerance limits of every measure at once.

    A new chip lies below the largest of m values with probability m / (m + 1), so each measure alone lets
    through less than ``content`` where m is small, and k measures together less again.

    Args:
        values: (n, k), a column per measure; NaN where a chip has no value.
        folds: (n,) fold of each chip; limits of a chip come from the other folds.
        sides: ``lower``, ``upper`` or ``both``, per measure.
        content: of the limits, in (0, 1).
        confidence: of the limits, in (0, 1).
        missing_ok: whether a chip without a value passes, for all measures or per measure.

    Raises:
        DataError: for shapes that do not match, one fold alone, or a measure without values in the others.
        ParamsError: for an unknown side, or a content or confidence outside (0, 1).
    """
    table = np.asarray(values, dtype=np.float64)
    passes = [missing_ok] * len(sides) if isinstance(missing_ok, bool) else list(missing_ok)
    if table.ndim != 2 or 0 in table.shape or table.shape[1] != len(sides) or len(passes) != len(sides):
        raise DataError(
            f"left-out chips: values {table.shape}, {len(sides)} sides, {len(passes)} rules on missing ones",
            fix="give values (n, k) with one side and one rule per column",
        )
    columns = []
    for column, side, ok in zip(table.T, sides, passes, strict=True):
        columns.append(_left_out_inside(column, folds, _fitted(side, content, confidence), ok))
    inside = np.stack(columns, axis=1)
    passed, n = int(inside.all(axis=1).sum()), len(inside)
    each = tuple(wilson_interval(int(column.sum()), n) for column in columns)
    return JointPass(passed, n, wilson_interval(passed, n), each, inside)


def _fitted(side: Side, content: float, confidence: float) -> Callable[[Values], tuple[float, float]]:
    def limits_of(values: Values) -> tuple[float, float]:
        low, high = sided_limits(values, side, content, confidence)
        return (low.value if low else -np.inf), (high.value if high else np.inf)

    return limits_of


def _left_out_inside(
    values: Values,
    folds: ArrayLike,
    limits_of: Callable[[Values], tuple[float, float]],
    missing_ok: bool,
) -> NDArray[np.bool_]:
    of_chip = np.asarray(folds)
    names = np.unique(of_chip)
    if values.ndim != 1 or of_chip.shape != values.shape or names.size < 2:
        raise DataError(
            f"left-out chips: {values.shape} values with {of_chip.shape} folds, {names.size} distinct",
            fix="give one fold per chip and at least 2 folds",
        )
    inside = np.zeros(values.shape, dtype=np.bool_)
    for name in names:
        out = of_chip == name
        low, high = limits_of(values[~out])
        inside[out] = (values[out] >= low) & (values[out] <= high)
    return np.asarray(np.where(np.isnan(values), missing_ok, inside))


def _rank(n: int, content: float, confidence: float, ends: int) -> tuple[int, float]:
    """Largest rank from ``ends`` ends that has the confidence, or 1; and the confidence it has."""
    ranks = np.arange(1, max(1, n // ends) + 1)
    sure = stats.binom.sf(ends * ranks - 1, n, 1 - content)  # falls with the rank
    rank = max(1, int((sure >= confidence).sum()))
    return rank, float(sure[rank - 1])


def _ordered(values: ArrayLike, content: float, confidence: float, least: int) -> Values:
    if not 0 < content < 1 or not 0 < confidence < 1:
        raise ParamsError(
            f"tolerance limit: content {content}, confidence {confidence}, both have to be between 0 and 1",
            fix="use for example content 0.99 and confidence 0.9",
        )
    array = np.asarray(values, dtype=np.float64)
    found = array[~np.isnan(array)]
    if array.ndim != 1 or found.size < least or np.isinf(found).any():
        raise DataError(
            f"tolerance limit: shape {array.shape} with {found.size} values, {int(np.isinf(found).sum())} "
            f"infinite; expected (n,) with at least {least} finite",
            fix="measure more real train chips, or set no gate on this measure",
        )
    return np.sort(found)
