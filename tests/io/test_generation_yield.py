"""Yield of generation as numbers and as lines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sarcurate.core.statistics import newcombe_difference, wilson_interval
from sarcurate.io.generation_yield import ClassYield, yield_lines, yield_metrics

ONE = ClassYield("a", 20, 14, 10, {"enl": 4, "log_psd_distance": 3}, 15, 20, 2000, 10, 30)
TWO = ClassYield("b", 10, 10, 10, {"enl": 0, "log_psd_distance": 0}, 0, 0, 1000, 0, 0)


def test_metrics_are_shares_with_their_intervals() -> None:
    found = yield_metrics([ONE, TWO], (9, 12), 0.9)
    rate = wilson_interval(14, 20, 0.9)
    assert [found[f"yield.a{end}"] for end in ("", "_low", "_high")] == [rate.estimate, rate.low, rate.high]
    assert (found["n_made"], found["n_kept"], found["n_made.a"], found["n_kept.b"]) == (30, 20, 20, 10)
    assert found["yield"] == 24 / 30
    assert found["recognised.a"] == 15 / 20
    assert "recognised.b" not in found  # the network knows no such class
    assert (found["rejected_by.enl"], found["rejected_by.log_psd_distance"]) == (4, 3)
    assert (found["at_low_limit_fraction"], found["at_high_limit_fraction"]) == (10 / 3000, 30 / 3000)
    against = newcombe_difference(15, 20, 9, 12, 0.9)
    assert found["recognised_held_back"] == 9 / 12
    assert found["recognised_minus_held_back"] == against.estimate == 0
    assert found["recognised_minus_held_back_low"] == against.low
    assert found["recognised_minus_held_back_high"] == against.high


def test_what_was_not_counted_is_left_out() -> None:
    none = ClassYield("a", 0, 0, 0, {}, 0, 0, 0, 0, 0)
    found = yield_metrics([none], (0, 0), 0.95)
    assert found == {"n_made.a": 0, "n_kept.a": 0, "n_made": 0, "n_kept": 0}


def test_lines_tell_each_class() -> None:
    assert yield_lines([ONE, TWO], 10, 0.95) == [
        "a: 10 chips; 14 of 20 made pass (70 %, 95 % interval 48-85 %); rejected by ENL 4, "
        "log-PSD distance 3; reference network agrees 15/20; pixels at the limits 2 %",
        "b: 10 chips; 10 of 10 made pass (100 %, 95 % interval 72-100 %)",
    ]


@pytest.mark.parametrize(("passed", "warns"), [(0, True), (1, True), (2, False)])
def test_few_passing_chips_are_warned_of(passed: int, warns: bool) -> None:
    lines = yield_lines([replace(ONE, passed=passed)], 10, 0.95)
    assert any("warning: a" in line and "under 10 %" in line for line in lines) == warns


def test_a_class_that_falls_short_is_warned_of() -> None:
    lines = yield_lines([replace(ONE, kept=9)], 10, 0.95)
    assert lines[-1].startswith("warning: a: 9 of 10 chips after 20 tries")
