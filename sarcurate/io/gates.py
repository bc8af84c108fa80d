"""Gates: limits that a made chip's measures must keep to, and a sentence for every one that it breaks."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pandas as pd

from sarcurate.core.tolerance import Limit
from sarcurate.errors import DataError, ParamsError
from sarcurate.io.score_table import measure_names

WHOSE = "real target train chips"
NAMES = {  # of measures whose column name does not read well
    "mean_db": "mean level",
    "enl_log_variance": "ENL of ln variance",
    "wasserstein_ln": "Wasserstein distance of ln intensity",
    "log_psd_distance": "log-PSD distance",
    "polar_psd_distance": "polar log-PSD distance",
    "hf_energy_ratio": "high-frequency energy ratio",
    "irw_azimuth_m": "azimuth width at -3 dB",
    "irw_range_m": "range width at -3 dB",
    "target_to_clutter_db": "target-to-clutter ratio",
    "ghost_ncc": "style ghost NCC",
    "ghost_z": "style ghost z",
    "content_z": "content retention z",
    "class_probability": "probability of its own class",
}
_WORDS = {
    "enl": "ENL",
    "k": "K",
    "ks": "K-S",
    "gamma": "Gamma",
    "psd": "PSD",
    "pslr": "PSLR",
    "islr": "ISLR",
    "nesz": "NESZ",
}
_UNIT = re.compile(r"(?P<stem>.+?)_(?P<unit>db|m|px)")
_UNITS = {"db": "dB", "m": "m", "px": "px"}
_FAMILIES = (
    (re.compile(r"log_psd_([0-9]+)"), r"log-PSD of ring \1"),
    (re.compile(r"correlation_(azimuth|range)_([0-9]+)"), r"\1 correlation at \2 px"),
    (re.compile(r"texture_([a-z]+)_([0-9]+)px"), r"texture \1 at \2 px"),
    (re.compile(r"log_cumulant_([0-9]+)"), r"log-cumulant \1"),
)


@dataclass(frozen=True)
class Gate:
    """One rule for one measure: which limits hold, own ones or (None) the reference's.

    Args:
        measure: a column of the score table.
        side: ``lower`` and ``upper`` are one limit, ``both`` are two.
        low: own lower limit, in the measure's unit.
        high: own upper limit.
        if_missing: fate of a chip that has no value.

    Raises:
        ParamsError: where a limit is not finite, on a side that does not hold, or low is above high.
    """

    measure: str
    side: Literal["lower", "upper", "both"]
    low: float | None
    high: float | None
    if_missing: Literal["keep", "reject"]

    def __post_init__(self) -> None:
        if self.side not in ("lower", "upper", "both") or self.if_missing not in ("keep", "reject"):
            raise ParamsError(
                f"gate on {self.measure}: side {self.side!r}, if_missing {self.if_missing!r}",
                fix="side is lower, upper or both; if_missing is keep or reject",
            )
        for name, own, unheld in (("low", self.low, "upper"), ("high", self.high, "lower")):
            if own is not None and (self.side == unheld or not math.isfinite(own)):
                raise ParamsError(
                    f"gate on {self.measure}: {name} is {own:g} and side is {self.side}",
                    fix=f"give a finite {name}, on a side that it limits, or null",
                )
        if self.low is not None and self.high is not None:
            _check_order(self.measure, self.low, self.high)


class ReferenceLimits(Protocol):
    """One measure's limits among real train chips; None where too few have a value."""

    @property
    def lower(self) -> Limit | None: ...  # noqa: D102
    @property
    def upper(self) -> Limit | None: ...  # noqa: D102
    @property
    def both_low(self) -> Limit | None: ...  # noqa: D102
    @property
    def both_high(self) -> Limit | None: ...  # noqa: D102


@dataclass(frozen=True)
class Bound:
    """A number and where it is from, as the sentences say it."""

    value: float
    origin: str


def bounds(gate: Gate, limits: Mapping[str, ReferenceLimits]) -> tuple[Bound | None, Bound | None]:
    """The lower and the upper bound of a gate; None on a side that does not hold.

    Raises:
        ParamsError: where neither the gate nor the reference has the number, or low is above high.
    """
    low = None if gate.side == "upper" else _bound(gate, limits, gate.low, "low")
    high = None if gate.side == "lower" else _bound(gate, limits, gate.high, "high")
    if low and high:
        _check_order(gate.measure, low.value, high.value)
    return low, high


def judge(
    scores: pd.DataFrame, gates: Sequence[Gate], limits: Mapping[str, ReferenceLimits]
) -> dict[str, list[str]]:
    """Per gate, in order, a sentence for every row that breaks it; empty where it passes.

    A value at a limit passes.

    Args:
        scores: score table; a column per measure, and ``reasons`` as JSON.
        gates: one per measure.
        limits: the reference's, by measure.

    Raises:
        ParamsError: for two gates on one measure, one on a measure that is no column, and as :func:`bounds`.
        DataError: where a value is infinite, or missing without a reason.
    """
    names = [gate.measure for gate in gates]
    there = measure_names(scores.select_dtypes("number"))
    for name in names:
        if names.count(name) > 1:
            raise ParamsError(f"two gates on {name}", fix="give one gate per measure, with side both for two")
        if name not in there:
            raise ParamsError(
                f"a gate on {name}, which no chip has; measures are {', '.join(there) or 'none'}",
                fix="name one of them in curate.gates",
            )
    missing = _missing(scores, names)
    return {gate.measure: _objections(scores, gate, bounds(gate, limits), missing) for gate in gates}


def display_name(measure: str) -> str:
    """A measure in words, without its unit."""
    if measure in NAMES:
        return NAMES[measure]
    for pattern, words in _FAMILIES:
        if pattern.fullmatch(measure):
            return pattern.sub(words, measure)
    stem, _ = _split_unit(measure)
    return " ".join(_WORDS.get(word, word) for word in stem.split("_"))


def _split_unit(measure: str) -> tuple[str, str]:
    found = _UNIT.fullmatch(measure)
    return (found["stem"], " " + _UNITS[found["unit"]]) if found else (measure, "")


def _check_order(measure: str, low: float, high: float) -> None:
    if low > high:
        raise ParamsError(
            f"gate on {measure}: the lower limit {low:g} is above the upper limit {high:g}, nothing can pass",
            fix="correct low and high of this gate in curate.gates",
        )


def _bound(
    gate: Gate, limits: Mapping[str, ReferenceLimits], own: float | None, end: Literal["low", "high"]
) -> Bound:
    if own is not None:
        return Bound(own, "own limit of the params")
    word = {"low": "lower", "high": "upper"}[end]
    found = limits.get(gate.measure)
    limit: Limit | None = getattr(found, f"both_{end}" if gate.side == "both" else word, None)
    if limit is None or not math.isfinite(limit.value):
        raise ParamsError(
            f"gate on {gate.measure}: the reference has no {word} limit, as too few train chips have a value",
            fix=f"give the gate its own {end}, or take it out of curate.gates",
        )
    promise = f"{100 * limit.content:g} % content, confidence {_confidence(limit.confidence)}"
    return Bound(limit.value, f"{word} bound of {limit.n} {WHOSE} ({promise})")


def _confidence(confidence: float) -> str:
    return "over .99" if confidence >= 0.995 else f"{confidence:.2f}".lstrip("0")


def _objections(
    scores: pd.DataFrame,
    gate: Gate,
    ends: tuple[Bound | None, Bound | None],
    missing: Sequence[Mapping[str, str]],
) -> list[str]:
    values = scores[gate.measure].to_numpy(dtype=np.float64)
    if np.isinf(values).any():
        chip_id = scores["chip_id"].iloc[int(np.isinf(values).argmax())]
        raise DataError(f"chip {chip_id}: {gate.measure} is infinite", fix="rebuild the scores: `dvc repro`")
    said = [""] * len(values)
    for bound, sign, beyond in zip(ends, "<>", (np.less, np.greater), strict=True):
        if bound is not None:
            for row in np.flatnonzero(beyond(values, bound.value)).tolist():
                said[row] = _sentence(gate.measure, float(values[row]), sign, bound)
    for row in np.flatnonzero(np.isnan(values)).tolist():
        if gate.measure not in missing[row]:
            raise DataError(
                f"chip {scores['chip_id'].iloc[row]}: no {gate.measure}, and no reason why",
                fix="rebuild the scores: `dvc repro`",
            )
        if gate.if_missing == "reject":
            said[row] = f"{display_name(gate.measure)}: {missing[row][gate.measure]}"
    return said


def _sentence(measure: str, value: float, sign: str, bound: Bound) -> str:
    found, limit = _apart(value, bound.value)
    return f"{display_name(measure)} {found} {sign} {limit}{_split_unit(measure)[1]}, {bound.origin}"


def _apart(value: float, other: float) -> tuple[str, str]:
    """Two different numbers with as few digits, three or more, as show that they differ."""
    digits = next(n for n in range(3, 18) if f"{value:.{n}g}" != f"{other:.{n}g}")
    return f"{value:.{digits}g}", f"{other:.{digits}g}"


def _missing(scores: pd.DataFrame, measures: Sequence[str]) -> list[Mapping[str, str]]:
    """The reasons of every row; read only where one of the measures is missing."""
    gaps = scores[list(measures)].isna().any(axis=1)
    return [
        _reasons(chip_id, text) if gap else {}
        for chip_id, text, gap in zip(scores["chip_id"], scores["reasons"], gaps, strict=True)
    ]


def _reasons(chip_id: str, text: str) -> Mapping[str, str]:
    try:
        found = json.loads(text or "{}") if isinstance(text, str) else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(why, str) and why for why in found.values()):
        raise DataError(
            f"chip {chip_id}: reasons are {str(text)[:80]!r}, expected JSON of measures and texts",
            fix="rebuild the scores: `dvc repro`",
        )
    return found
