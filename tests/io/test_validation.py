from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sarcurate.errors import ParamsError
from sarcurate.io import validation_report
from sarcurate.io.expectations import Rule, Severity
from sarcurate.io.validation import Finding, Offender, validate

BETWEEN = "expect_column_values_to_be_between"


def _rule(kwargs: dict[str, Any], kind: str = BETWEEN, name: str = "mine", severity: str = "error") -> Rule:
    place = f"own.yaml, entry 1 ({name})"
    return Rule(name, Severity(severity), kind, kwargs, "It holds", "make it hold", place)


@pytest.fixture
def table() -> pd.DataFrame:
    n = 4
    return pd.DataFrame(
        {
            "set": ["target-train"] * n,
            "chip_id": [hashlib.sha256(str(index).encode()).hexdigest()[:24] for index in range(n)],
            "source_path": [None, "b.tif", "c.tif", "d.tif"],
            "picture": ["aa", "bb", "cc", "dd"],
            "looks": [1.0, 2.0, None, 4.0],
            "text": ["x", "y", "z", None],
            "split": ["train", "train", "test", "test"],
        }
    )


def test_each_finding_has_its_chips_and_values(table: pd.DataFrame) -> None:
    rules = [
        _rule({"column": "looks", "max_value": {"$PARAMETER": "most"}}, name="few-looks"),
        _rule({"column": "chip_id"}, "expect_column_values_to_be_unique", "unique", "warning"),
        _rule({"min_value": 5}, "expect_table_row_count_to_be_between", "rows"),
        _rule(
            {"column": "text", "value_set": ["x", "w"]}, "expect_column_distinct_values_to_contain_set", "w"
        ),
        _rule(
            {
                "column": "looks",
                "min_value": 3,
                "row_condition": "split == 'test'",
                "condition_parser": "pandas",
            },
            name="condition",
        ),
        _rule({"column": "looks", "max_value": 2, "mostly": 0.5}, name="mostly"),
    ]
    few, unique, rows, missing, condition, mostly = validate(table, rules, {"most": 1.5}, None)
    ids = list(table["chip_id"])
    assert [finding.passed for finding in (few, unique, rows, missing)] == [False, True, False, False]
    assert few.found == "2 chips: looks 2; looks 4"
    assert few.offenders == (
        Offender("target-train", ids[1], "b.tif", "bb", "looks 2"),
        Offender("target-train", ids[3], "d.tif", "dd", "looks 4"),
    )
    assert few.expected == f"{BETWEEN}: column looks, max_value 1.5"
    assert (unique.found, unique.offenders) == ("no chip breaks it", ())
    assert (rows.found, rows.offenders) == ("4", ())
    assert missing.found == "missing [w]"
    assert condition.passed  # of the test chips only one has looks, and they are enough
    assert (mostly.passed, len(mostly.offenders)) == (True, 1)
    assert [finding.stops for finding in (few, unique, rows, mostly)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("kwargs", "kind", "said"),
    [
        ({"column": "looks"}, "expect_nonsense", "there is no expectation 'expect_nonsense'"),
        ({"column": "looks", "min_value": 1, "at_least": 2}, BETWEEN, "at_least: extra fields not permitted"),
        ({"min_value": 1}, BETWEEN, "column: field required"),
        ({"column": "looks", "min_value": "x"}, BETWEEN, "min_value: "),
        ({"column": "looks"}, BETWEEN, "min_value and max_value cannot both be None"),
        ({"column": "looks", "min_value": 1, "mostly": 2}, BETWEEN, "mostly: "),
        ({"column": "looks", "min_value": 1, "severity": "info"}, BETWEEN, r"kwargs holds \['severity'\]"),
        ({"column": "look", "min_value": 1}, BETWEEN, r"no column \['look'\]"),
        ({"column": "looks", "min_value": {"$PARAMETER": "x"}}, BETWEEN, r"unknown \$PARAMETER \['x'\]"),
        ({"column": "text", "min_value": 1}, BETWEEN, "cannot be computed"),
        (
            {
                "column": "looks",
                "min_value": 1,
                "row_condition": "nothing == 1",
                "condition_parser": "pandas",
            },
            BETWEEN,
            "cannot be computed: .*nothing",
        ),
        ({"column": "text", "regex": "("}, "expect_column_values_to_match_regex", "cannot be computed"),
    ],
)
def test_a_wrong_rule_is_named_with_its_file_and_entry(
    kwargs: dict[str, Any], kind: str, said: str, table: pd.DataFrame
) -> None:
    with pytest.raises(ParamsError, match=rf"(?s)^own\.yaml, entry 1 \(mine\): .*{said}"):
        validate(table, [_rule(kwargs, kind)], {"most": 1}, None)


def test_nothing_is_sent_and_nothing_is_left_behind(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    validate(table, [_rule({"column": "looks", "min_value": 1})], {}, tmp_path / "docs")
    assert os.environ["GX_ANALYTICS_ENABLED"] == "False"
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


# --- the report


def _finding(name: str, severity: str, *paths: str, passed: bool = False) -> Finding:
    offenders = tuple(Offender("target-test", f"id-{path}", path, "aa", "looks <9>") for path in paths)
    return Finding(_rule({}, name=name, severity=severity), passed, "expected", "found", offenders)


@pytest.fixture
def findings() -> list[Finding]:
    many = [f"{index}.tif" for index in range(13)]
    return [
        _finding("soft", "warning", "a.tif"),
        _finding("hard", "error", *many),
        _finding("met", "error", passed=True),
    ]


def _sets(count: int) -> pd.DataFrame:
    return pd.DataFrame({"set": "s", "chip_id": map(str, range(count)), "group_id": "g", "label": "<b>"})


def test_the_summary_names_errors_first_and_ten_chips(findings: list[Finding]) -> None:
    lines = validation_report.summary(findings)
    assert [line.split()[:2] for line in lines if not line.startswith(" ")] == [
        ["severity", "expectation"],
        ["error", "hard"],
        ["warning", "soft"],
    ]
    chips = next(line for line in lines if "chips:" in line)
    assert chips.count("target-test") == 10
    assert chips.endswith("target-test id-9.tif (9.tif) and 3 more")
    assert sum(line.strip() == "fix: make it hold" for line in lines) == 2
    assert validation_report.headline(findings, 20).startswith("validation failed: 1 errors, 1 warnings in 3")
    assert validation_report.headline(findings[2:], 20).startswith("validation passed")
    assert validation_report.summary(findings[2:]) == []


def test_metrics_are_counts(findings: list[Finding]) -> None:
    metrics = validation_report.metrics(findings, _sets(20))
    assert metrics == {
        "passed": False,
        "n_chips": 20,
        "n_expectations": 3,
        "n_failed_errors": 1,
        "n_failed_warnings": 1,
        "n_offending_chips": 14,
        "chips": {"s": 20},
        "success": {"soft": False, "hard": False, "met": True},
        "offending_chips": {"soft": 1, "hard": 13, "met": 0},
    }


def test_the_page_is_whole_escaped_and_loads_nothing(findings: list[Finding]) -> None:
    page = validation_report.page("<script>", findings, _sets(20))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "looks &lt;9&gt;" in page
    assert "&lt;b&gt; 20" in page
    assert all(f"<td>{index}.tif</td>" in page for index in range(13))
    assert not any(word in page for word in ("http:", "https:", "src=", "<link", "@import", "url("))
    assert page.index("<code>hard</code>") < page.index("<code>soft</code>")
    assert "No later stage runs" in page
    good = validation_report.page("n", findings[2:], _sets(1))
    assert "No later stage runs" not in good
    assert "<p>Nothing.</p>" in good
