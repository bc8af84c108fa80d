"""Limits of one measure among real train chips, and the sentence that says where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sarcurate.core.statistics import Interval
from sarcurate.core.tolerance import Limit, Side

SIDES: tuple[Side, ...] = ("lower", "upper", "both")


@dataclass(frozen=True)
class PassRates:
    """Share of real train chips inside limits that were fitted without their fold, per side of the gate.

    Each an interval of fractions in 0..1; None where it could not be measured.
    """

    lower: Interval | None
    upper: Interval | None
    both: Interval | None


@dataclass(frozen=True)
class MeasureLimits:
    """Limits of one measure: one-sided ones, the pair that is to hold on both sides, and how they fared.

    None where too few chips have a value: none for a one-sided limit, fewer than two for the pair.

    Args:
        left_out_pass_rate: of chips left out fold by fold; None where no fold could be left out.
    """

    lower: Limit | None
    upper: Limit | None
    both_low: Limit | None
    both_high: Limit | None
    left_out_pass_rate: PassRates | None


def limit_line(name: str, limits: MeasureLimits, side: Side, sensor: str, n_chips: int, asked: float) -> str:
    """Limit of a measure with its origin: content, confidence, chips, and how left-out chips fared.

    Args:
        n_chips: train chips, with and without a value; asked: the confidence that was asked for.
    """
    ends = {
        "lower": (limits.lower, None),
        "upper": (None, limits.upper),
        "both": (limits.both_low, limits.both_high),
    }
    low, high = ends[side]
    known = low or high
    if known is None:
        return f"{name}: no limit, too few real {sensor} chips have a value"
    bounds = (f"{low.value:.4g} <= " if low else "") + name + (f" <= {high.value:.4g}" if high else "")
    if side == "lower":
        bounds = f"{name} >= {known.value:.4g}"
    short = f", not the {asked:.3g} asked for" if known.confidence < asked else ""
    count = f"{known.n}" if known.n == n_chips else f"{known.n} of {n_chips}"
    promise = f"{100 * known.content:.4g} % of real {sensor} chips, confidence {known.confidence:.3f}{short}"
    return f"{bounds}: {promise} ({count} train chips); {_left_out(limits.left_out_pass_rate, side)}"


def _left_out(rates: PassRates | None, side: Side) -> str:
    rate = None if rates is None else {"lower": rates.lower, "upper": rates.upper, "both": rates.both}[side]
    if rate is None:
        return "left-out chips: not measured"
    percent = [100 * end for end in (rate.estimate, rate.low, rate.high)]
    return "left-out chips inside: {:.1f} % [{:.1f}, {:.1f}]".format(*percent)


def limits_from(facts: Mapping[str, Any]) -> MeasureLimits:
    """Limits from their plain form, ``dataclasses.asdict``.

    Raises:
        KeyError, TypeError, ValueError: for anything else.
    """
    sides = {side: _limit(facts[side]) for side in ("lower", "upper", "both_low", "both_high")}
    rates = facts["left_out_pass_rate"]
    found = None if rates is None else PassRates(*(_interval(rates[side]) for side in SIDES))
    return MeasureLimits(**sides, left_out_pass_rate=found)


def _limit(facts: Mapping[str, Any] | None) -> Limit | None:
    if facts is None:
        return None
    value, content, confidence = (float(facts[key]) for key in ("value", "content", "confidence"))
    return Limit(value, content, confidence, int(facts["n"]))


def _interval(facts: Mapping[str, Any] | None) -> Interval | None:
    return None if facts is None else Interval(*(float(facts[key]) for key in ("estimate", "low", "high")))
