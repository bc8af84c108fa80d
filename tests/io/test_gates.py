from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.tolerance import Limit
from sarcurate.errors import DataError, ParamsError
from sarcurate.io.gates import Gate, bounds, display_name, judge


@dataclass(frozen=True)
class Limits:
    lower: Limit | None = None
    upper: Limit | None = None
    both_low: Limit | None = None
    both_high: Limit | None = None


ENL_LIMITS = {
    "enl": Limits(
        lower=Limit(2.0, 0.99, 0.93, 259),
        upper=Limit(4.8, 0.99, 0.926, 259),
        both_low=Limit(1.9, 0.99, 0.74, 259),
        both_high=Limit(5.1, 0.99, 0.74, 259),
    )
}
UPPER = Gate("enl", "upper", None, None, "keep")
finite = st.floats(-1e6, 1e6)


def _scores(values: list[float], measure: str = "enl", why: str = "no homogeneous area") -> pd.DataFrame:
    reasons = [json.dumps({measure: why}) if math.isnan(value) else "" for value in values]
    ids = [f"c{row}" for row in range(len(values))]
    return pd.DataFrame({"chip_id": ids, "label": "ship", "fold": 1.0, measure: values, "reasons": reasons})


def _said(gate: Gate, *values: float) -> list[str]:
    return judge(_scores(list(values)), [gate], ENL_LIMITS)["enl"]


def test_a_gate_says_the_numbers_and_where_the_limit_is_from() -> None:
    assert _said(UPPER, 9.1, 4.8, 0.1) == [
        "ENL 9.1 > 4.8, upper bound of 259 real target train chips (99 % content, confidence .93)",
        "",
        "",
    ]


def test_each_side_holds_its_own_limits() -> None:
    below, above = _said(replace(UPPER, side="lower"), 1.0, 9.0)
    assert below.startswith("ENL 1 < 2, lower bound of 259")
    assert above == ""
    said = _said(replace(UPPER, side="both"), 1.89, 1.9, 5.1, 5.11)
    assert [text.partition(" (")[0] for text in said] == [
        "ENL 1.89 < 1.9, lower bound of 259 real target train chips",
        "",
        "",
        "ENL 5.11 > 5.1, upper bound of 259 real target train chips",
    ]
    assert said[0].endswith("(99 % content, confidence .74)")


def test_an_own_limit_comes_first_and_beside_one_of_the_reference() -> None:
    assert _said(replace(UPPER, high=10.0), 9.1, 10.5) == ["", "ENL 10.5 > 10, own limit of the params"]
    said = _said(replace(UPPER, side="both", low=3.0), 2.5, 5.2)
    assert said[0] == "ENL 2.5 < 3, own limit of the params"
    assert said[1].startswith("ENL 5.2 > 5.1, upper bound of 259")


def test_own_limits_need_no_reference() -> None:
    gate = Gate("enl", "both", 1.0, 2.0, "keep")
    assert [bound and bound.value for bound in bounds(gate, {})] == [1.0, 2.0]


def test_units_stand_in_the_sentence() -> None:
    gate = Gate("mean_db", "lower", -25.0, None, "keep")
    said = judge(_scores([-31.25], "mean_db"), [gate], {})["mean_db"]
    assert said == ["mean level -31.2 < -25 dB, own limit of the params"]


@pytest.mark.parametrize("value", [4.8004, 4.800000000000001])
def test_a_value_close_to_its_limit_has_the_digits_that_show_it(value: float) -> None:
    assert _said(UPPER, value)[0].startswith(f"ENL {value} > 4.8, upper bound")


@given(finite, finite)
def test_numbers_of_a_sentence_show_which_is_larger(value: float, high: float) -> None:
    (said,) = judge(_scores([value]), [Gate("enl", "upper", None, high, "keep")], {})["enl"]
    assert bool(said) == (value > high)
    if said:
        found, _, limit = said.removeprefix("ENL ").partition(",")[0].partition(" > ")
        assert float(found) > float(limit)
        assert float(found) == pytest.approx(value, rel=0.006)
        assert float(limit) == pytest.approx(high, rel=0.006)


@given(st.lists(finite, max_size=6), finite, finite)
def test_just_the_values_between_the_limits_pass(values: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    said = judge(_scores(values), [Gate("enl", "both", low, high, "keep")], {})["enl"]
    assert [not text for text in said] == [low <= value <= high for value in values]


def test_a_missing_value_is_judged_by_if_missing() -> None:
    assert _said(UPPER, math.nan) == [""]
    assert _said(replace(UPPER, if_missing="reject"), math.nan, 3.0) == ["ENL: no homogeneous area", ""]


def test_every_gate_speaks_for_itself_in_its_order() -> None:
    table = _scores([9.0]).assign(zero_fraction=0.5)
    said = judge(table, [Gate("zero_fraction", "upper", None, 0.1, "keep"), UPPER], ENL_LIMITS)
    assert list(said) == ["zero_fraction", "enl"]
    assert all(text for (text,) in said.values())


def test_no_gates_object_to_nothing() -> None:
    assert judge(_scores([1.0]), [], {}) == {}


@pytest.mark.parametrize("name", ["ENL", "label", "chip_id", "reasons", "fold", "ghost_z"])
def test_a_gate_on_what_is_no_measure_names_those_there_are(name: str) -> None:
    with pytest.raises(
        ParamsError, match=f"a gate on {name}, which no chip has; measures are enl, log_psd_00"
    ):
        judge(_scores([1.0]).assign(log_psd_00=1.0), [Gate(name, "upper", None, 1.0, "keep")], {})


def test_two_gates_on_one_measure_are_refused() -> None:
    with pytest.raises(ParamsError, match="two gates on enl"):
        judge(_scores([1.0]), [UPPER, replace(UPPER, side="lower")], ENL_LIMITS)


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"enl": Limits(lower=Limit(1.0, 0.99, 0.9, 9))},
        {"enl": Limits(upper=Limit(math.nan, 0.99, 0.9, 0))},
    ],
)
def test_a_limit_that_the_reference_lacks_is_named(limits: dict[str, Limits]) -> None:
    with pytest.raises(
        ParamsError, match=r"gate on enl: the reference has no upper limit.*\nFix: give the gate"
    ):
        bounds(UPPER, limits)


@pytest.mark.parametrize(
    ("side", "low", "high", "expected"),
    [
        ("both", 2.0, 1.0, "the lower limit 2 is above the upper limit 1, nothing can pass"),
        ("upper", 2.0, None, "low is 2 and side is upper"),
        ("lower", None, 2.0, "high is 2 and side is lower"),
        ("both", math.nan, None, "low is nan"),
        ("upper", None, math.inf, "high is inf"),
        ("above", None, 1.0, "side 'above'"),
    ],
)
def test_limits_without_sense_are_refused(
    side: str, low: float | None, high: float | None, expected: str
) -> None:
    with pytest.raises(ParamsError, match=f"gate on enl: {expected}"):
        Gate("enl", side, low, high, "keep")  # type: ignore[arg-type]


def test_an_unknown_fate_is_refused() -> None:
    with pytest.raises(ParamsError, match="if_missing 'drop'"):
        Gate("enl", "upper", None, 1.0, "drop")  # type: ignore[arg-type]


def test_an_own_limit_beyond_the_references_other_one_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"the lower limit 6 is above the upper limit 5\.1"):
        bounds(Gate("enl", "both", 6.0, None, "keep"), ENL_LIMITS)


def test_equal_limits_let_one_value_pass() -> None:
    assert [bool(text) for text in _said(Gate("enl", "both", 2.0, 2.0, "keep"), 2.0, 2.1)] == [False, True]


def test_an_infinite_value_is_an_error() -> None:
    with pytest.raises(DataError, match="chip c1: enl is infinite"):
        _said(UPPER, 1.0, np.inf)


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ("", "chip c0: no enl, and no reason why"),
        ('{"enl_low": "no"}', "chip c0: no enl, and no reason why"),
        ('{"enl": ""}', "chip c0: reasons are "),
        ('["enl"]', "chip c0: reasons are "),
        ("none", "chip c0: reasons are 'none', expected JSON of measures and texts"),
        (None, "chip c0: reasons are "),
    ],
)
def test_a_missing_value_needs_its_reason(reasons: str | None, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        judge(_scores([math.nan]).assign(reasons=[reasons]), [UPPER], ENL_LIMITS)


def test_a_confidence_is_never_said_to_be_one() -> None:
    limits = {"enl": Limits(upper=Limit(4.8, 0.9, 0.9999, 2590))}
    (said,) = judge(_scores([9.1]), [UPPER], limits)["enl"]
    assert said.endswith("of 2590 real target train chips (90 % content, confidence over .99)")


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ("enl", "ENL"),
        ("enl_stderr", "ENL stderr"),
        ("log_psd_distance", "log-PSD distance"),
        ("log_psd_03", "log-PSD of ring 03"),
        ("correlation_azimuth_2", "azimuth correlation at 2 px"),
        ("texture_contrast_4px", "texture contrast at 4 px"),
        ("ks_gamma", "K-S Gamma"),
        ("target_length_m", "target length"),
        ("correlation_width_range_px", "correlation width range"),
        ("physics_distance", "physics distance"),
    ],
)
def test_measures_have_names_for_people(measure: str, words: str) -> None:
    assert display_name(measure) == words
