"""The promise of gates against a plain count: each chip held against the extremes of the other folds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from sarcurate.core.statistics import wilson_interval
from sarcurate.io.gate_promise import ALL, left_out_passes
from sarcurate.io.gates import Gate
from sarcurate.io.reference import Reference


def _table() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    table = pd.DataFrame(rng.normal(size=(24, 3)), columns=["enl", "mean_db", "ghost_z"])
    table.loc[[2, 9], "enl"] = np.nan
    return table.assign(fold=np.arange(24) % 3)


def _passes(table: pd.DataFrame, *gates: Gate) -> dict[str, float | None]:
    # 24 chips are too few for anything but extremes at this content and confidence.
    known = SimpleNamespace(train_scores=table, content=0.99, confidence=0.9)
    return left_out_passes(cast("Reference", known), gates)


def _gate(measure: str, side: Any, if_missing: Any = "keep", **own: float) -> Gate:
    return Gate(measure, side, own.get("low"), own.get("high"), if_missing)


def _plain(table: pd.DataFrame, gate: Gate) -> list[bool]:
    inside = []
    for _, row in table.iterrows():
        others, value = table.loc[table["fold"] != row["fold"], gate.measure].dropna(), row[gate.measure]
        if np.isnan(value):
            inside.append(gate.if_missing == "keep")
        else:
            low = gate.side == "upper" or value >= others.min()
            inside.append(bool(low and (gate.side == "lower" or value <= others.max())))
    return inside


@pytest.mark.parametrize("if_missing", ["keep", "reject"])
def test_shares_are_those_of_a_plain_count(if_missing: str) -> None:
    table = _table()
    gates = [_gate("enl", "both", if_missing), _gate("mean_db", "upper"), _gate("ghost_z", "lower")]
    inside = np.array([_plain(table, gate) for gate in gates])
    found = _passes(table, *gates)
    for gate, row in zip(gates, inside, strict=True):
        assert found[f"real_chips_inside.{gate.measure}"] == pytest.approx(row.mean())
    together = wilson_interval(int(inside.all(axis=0).sum()), 24)
    assert 0 < together.estimate < 1
    expected = [together.estimate, together.low, together.high]
    assert [found[f"{ALL}{end}"] for end in ("", "_low", "_high")] == pytest.approx(expected)


def test_gates_without_limits_of_the_reference_promise_nothing() -> None:
    table = _table()
    one = _passes(table, _gate("mean_db", "upper"))
    aside = [
        _gate("enl", "both", low=1.0, high=2.0),
        _gate("ghost_z", "both", low=0.0),
        _gate("content_z", "lower", low=3.0),
        _gate("beauty", "lower"),
    ]
    assert _passes(table, *aside, _gate("mean_db", "upper")) == one
    nothing = {ALL: None, f"{ALL}_low": None, f"{ALL}_high": None}
    assert _passes(table, *aside) == _passes(table) == nothing


def test_a_measure_that_the_other_folds_lack_is_not_counted() -> None:
    table = _table()
    table.loc[table["fold"] != 0, "enl"] = np.nan  # without fold 0 there is nothing to fit limits on
    assert f"{ALL}.enl" not in _passes(table, _gate("enl", "upper"))
    assert _passes(table, _gate("enl", "upper"))[ALL] is None
    table.loc[table["fold"] == 1, "enl"] = 1.0
    assert _passes(table, _gate("enl", "upper"))[ALL] is not None
