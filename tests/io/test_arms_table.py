from __future__ import annotations

from typing import Any

import pytest

from sarcurate.core.statistics import Interval
from sarcurate.io import arms_table

BASE = {
    "n_train": 259,
    "n_seeds": 2,
    "n_test": 91,
    "n_correct": [78, 80],
    "accuracy": 0.868132,
    "accuracy_low": 0.78,
    "accuracy_high": 0.92449,
    "macro_precision": 0.8755,
    "macro_recall": 0.868132,
    "macro_f1": 0.86,
}
WORSE = {
    **BASE,
    "n_train": 427,
    "n_correct": [70, 71],
    "accuracy": 0.774725,
    "accuracy_minus_baseline": -0.093407,
    "accuracy_minus_baseline_low": -0.16,
    "accuracy_minus_baseline_high": 0.0,
    "p_value": 0.01,
    "p_value_holm": 0.0204,
}
BETTER = {
    **WORSE,
    "accuracy": 0.95,
    "accuracy_minus_baseline": 0.081868,
    "accuracy_minus_baseline_low": 0.04,
    "accuracy_minus_baseline_high": 0.125,
    "p_value_holm": 0.0004,
}
ARMS: dict[str, dict[str, Any]] = {"real-only": BASE, "real+source": WORSE, "real+physics": BETTER}


def _cells(row: list[str]) -> dict[str, str]:
    return dict(zip(arms_table.COLUMNS, row, strict=True))


def test_rows_by_hand() -> None:
    base, worse, better = map(_cells, arms_table.rows(ARMS))
    assert base == {
        "arm": "real-only",
        "train chips": "259",
        "accuracy %": "86.8",
        "interval": "78.0 to 92.4",
        "k/n per seed": "78/91, 80/91",
        "macro P %": "87.5",
        "macro R %": "86.8",
        "macro F1 %": "86.0",
        "minus baseline, points": "baseline",
        "interval of difference": "",
        "p (Holm)": "",
    }
    assert (worse["train chips"], worse["minus baseline, points"]) == ("427", "-9.3")
    assert (worse["interval of difference"], worse["p (Holm)"]) == ("-16.0 to +0.0", "0.020")
    assert (better["minus baseline, points"], better["interval of difference"]) == ("+8.2", "+4.0 to +12.5")
    assert better["p (Holm)"] == "< 0.001"


def test_an_arm_of_an_external_test_has_no_count_of_its_own() -> None:
    numbers = {name: value for name, value in BASE.items() if name != "n_train"}
    assert _cells(arms_table.rows({"real-only": numbers})[0])["train chips"] == "–"


def test_terminal_lines_carry_arm_accuracy_and_difference() -> None:
    base, worse, _ = arms_table.lines(ARMS)
    longest = max(len(name) for name in ARMS)
    assert base == f"{'real-only':<{longest}}  accuracy  86.8 % (78.0 to 92.4), baseline"
    assert worse.endswith("(78.0 to 92.4), -9.3 points (-16.0 to +0.0)")


def test_accuracy_intervals_are_fractions() -> None:
    found = arms_table.accuracy_intervals(ARMS)
    assert list(found) == list(ARMS)
    assert found["real-only"] == Interval(0.868132, 0.78, 0.92449)


@pytest.mark.parametrize(
    ("seeds", "how"),
    [(1, "Wilson intervals .* McNemar"), (5, "mean of 5 training seeds; bootstrap over test")],
)
def test_the_caption_says_how_the_numbers_came_about(seeds: int, how: str) -> None:
    import re

    said = arms_table.caption({"interval_level": 0.95, "seeds": seeds, "updates": 300})
    assert re.search(how, said)
    assert "95 % intervals" in said
    assert "Holm-corrected" in said
    assert "300 updates per arm" in said


def test_markdown_has_one_line_per_arm_and_no_cell_breaks_out() -> None:
    lines = arms_table.markdown({"real|only": BASE, **ARMS}).splitlines()
    assert len(lines) == 2 + 4
    assert lines[0].startswith("| arm | train chips | accuracy % |")
    assert set(lines[1]) == set("|-: ")
    assert lines[2].startswith("| real\\|only | 259 |")
    counts = {line.replace("\\|", "").count("|") for line in lines}
    assert counts == {len(arms_table.COLUMNS) + 1}


def test_detectable_differences_in_a_sentence() -> None:
    said = arms_table.detectable({"discordance_0.15": 0.1142, "discordance_0.25": None})
    assert "11.4 points where 15 % are judged differently" in said
    assert "25 %" not in said
    assert "80 % power" in said
