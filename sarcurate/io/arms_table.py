"""The arms table as people read it, from the numbers of evaluation.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sarcurate.core.statistics import Interval

COLUMNS = (
    "arm",
    "train chips",
    "accuracy %",
    "interval",
    "k/n per seed",
    "macro P %",
    "macro R %",
    "macro F1 %",
    "minus baseline, points",
    "interval of difference",
    "p (Holm)",
)


def rows(arms: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """One row of text per arm, in order; columns as ``COLUMNS``."""
    return [_row(name, numbers) for name, numbers in arms.items()]


def lines(arms: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One short line per arm for a terminal."""
    said = []
    width = max((len(name) for name in arms), default=0)
    for row in rows(arms):
        cells = dict(zip(COLUMNS, row, strict=True))
        line = f"{cells['arm']:<{width}}  accuracy {cells['accuracy %']:>5} % ({cells['interval']})"
        difference, interval = cells["minus baseline, points"], cells["interval of difference"]
        line += f", {difference} points ({interval})" if interval else f", {difference}"
        said.append(line)
    return said


def _row(name: str, numbers: Mapping[str, Any]) -> list[str]:
    counts = ", ".join(f"{k}/{numbers['n_test']}" for k in numbers["n_correct"])
    row = [
        name,
        str(numbers.get("n_train", "–")),
        _percent(numbers["accuracy"]),
        _range(numbers, "accuracy"),
        counts,
        *(_percent(numbers[f"macro_{score}"]) for score in ("precision", "recall", "f1")),
    ]
    if "p_value_holm" not in numbers:
        return [*row, "baseline", "", ""]
    return [
        *row,
        _points(numbers),
        _range(numbers, "accuracy_minus_baseline", sign="+"),
        _p(numbers["p_value_holm"]),
    ]


def difference(numbers: Mapping[str, Any]) -> str:
    """An arm's points over the baseline with their interval."""
    return f"{_points(numbers)} ({_range(numbers, 'accuracy_minus_baseline', sign='+')})"


def _points(numbers: Mapping[str, Any]) -> str:
    return f"{100 * numbers['accuracy_minus_baseline']:+.1f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _range(numbers: Mapping[str, Any], name: str, sign: str = "") -> str:
    low, high = 100 * numbers[f"{name}_low"], 100 * numbers[f"{name}_high"]
    return f"{low:{sign}.1f} to {high:{sign}.1f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def accuracy_intervals(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Interval]:
    """Accuracy (fraction) of each arm with its interval."""
    return {
        name: Interval(numbers["accuracy"], numbers["accuracy_low"], numbers["accuracy_high"])
        for name, numbers in arms.items()
    }


def caption(metrics: Mapping[str, Any]) -> str:
    """How the numbers of a table came about, in one sentence."""
    level = round(100 * metrics["interval_level"])
    seeds = metrics["seeds"]
    how = (
        "Wilson intervals of the accuracy of one run; exact McNemar tests"
        if seeds == 1
        else f"mean of {seeds} training seeds; bootstrap over test groups and seeds"
    )
    return (
        f"Held-out target test chips. {level} % intervals: {how}; p-values of the paired difference to the "
        f"baseline, Holm-corrected over the arms. {metrics['updates']} updates per arm."
    )


def markdown(arms: Mapping[str, Mapping[str, Any]]) -> str:
    """The table as Markdown; a cell cannot break out of it."""
    lines = [COLUMNS, ["---"] + ["---:"] * (len(COLUMNS) - 1), *rows(arms)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def detectable(numbers: Mapping[str, float | None]) -> str:
    """The smallest detectable differences in a sentence; keys end in the share of discordant chips."""
    parts = [
        f"{100 * value:.1f} points where {100 * float(name.rpartition('_')[2]):.0f} % are judged differently"
        for name, value in numbers.items()
        if value is not None
    ]
    if not parts:
        return "The test chips are too few to show any difference between two arms with 80 % power."
    return (
        "Smallest difference between two arms that this many independent test chips show with 80 % power: "
        + "; ".join(parts)
        + ". Chips of one group are not independent, so less is seen than that."
    )
