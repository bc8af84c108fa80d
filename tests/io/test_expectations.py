from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sarcurate.errors import DataError, ParamsError
from sarcurate.io.expectations import Severity, parse_suite, read_rules

ENTRY: dict[str, Any] = {
    "type": "expect_column_values_to_be_between",
    "kwargs": {"column": "looks_nominal", "min_value": 4},
    "meta": {"rule": "mine", "severity": "warning", "says": "Looks are four", "fix": "take other chips"},
}


def _suite(*entries: Any) -> str:
    return json.dumps({"expectations": list(entries)})  # JSON is YAML


def _with(path: str, value: Any) -> dict[str, Any]:
    """ENTRY with one part replaced; with ``...`` removed."""
    entry = copy.deepcopy(ENTRY)
    *parents, last = path.split(".")
    part = entry
    for key in parents:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return entry


def test_an_entry_becomes_a_rule() -> None:
    (rule,) = parse_suite(_suite(ENTRY), "own.yaml")
    assert (rule.name, rule.severity, rule.type) == ("mine", Severity.WARNING, ENTRY["type"])
    assert rule.kwargs == ENTRY["kwargs"]
    assert rule.columns == ["looks_nominal"]
    assert rule.place == "own.yaml, entry 1 (mine)"


@pytest.mark.parametrize(
    ("kwargs", "kind", "columns"),
    [
        ({"column_A": "a", "column_B": "b"}, "expect_column_pair_values_to_be_equal", ["a", "b"]),
        ({"column_list": ["a", "b"]}, "expect_compound_columns_to_be_unique", ["a", "b"]),
        ({"column": "a"}, "expect_column_to_exist", []),
        ({"column_list": ["a"]}, "expect_table_columns_to_match_ordered_list", []),
        ({"min_value": 1}, "expect_table_row_count_to_be_between", []),
    ],
)
def test_columns_that_a_rule_reads(kwargs: dict[str, Any], kind: str, columns: list[str]) -> None:
    (rule,) = parse_suite(_suite({**ENTRY, "kwargs": kwargs, "type": kind}), "own.yaml")
    assert rule.columns == columns


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("type", ..., r"entry 1: found \['kwargs', 'meta'\], expected \['type', 'kwargs', 'meta'\]"),
        ("more", 1, "entry 1: found .*more"),
        ("kwargs", ["column"], r"entry 1: kwargs is \['column'\], expected a mapping"),
        ("type", 3, "entry 1: type is 3, expected text"),
        ("meta", "rule", "entry 1, meta: found .*'rule'.*, expected"),
        ("meta.fix", ..., "entry 1, meta: found .*, expected"),
        ("meta.says", " ", "entry 1: says is ' ', expected text"),
        ("meta.severity", "fatal", "severity 'fatal', expected error or warning"),
    ],
)
def test_a_wrong_entry_is_named_with_its_file(path: str, value: Any, said: str) -> None:
    with pytest.raises(ParamsError, match=rf"^own\.yaml, {said}" if "entry" in said else said):
        parse_suite(_suite(_with(path, value)), "own.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("expectations: [", "own.yaml is not valid YAML"),
        ("- 1", "own.yaml: expected a mapping"),
        ("", "own.yaml: expected a mapping"),
        ("expectations: 3", "own.yaml: expected a mapping"),
        ("{expectations: [], name: mine}", "own.yaml: expected a mapping"),
        ("expectations: [3]", "own.yaml, entry 1: found"),
    ],
)
def test_a_file_that_is_no_suite_is_refused(text: str, said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        parse_suite(text, "own.yaml")


def test_own_rules_follow_the_packaged_ones(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(_suite(ENTRY))
    packaged, both = read_rules([], {}), read_rules([own], {})
    assert both[:-1] == packaged
    assert both[-1].name == "mine"


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(_suite(ENTRY, _with("meta.rule", "licence-present")))
    with pytest.raises(ParamsError, match=r"'licence-present' stands in sensors\.yaml, entry \d+"):
        read_rules([own], {})


def test_severities_are_replaced_by_name() -> None:
    changed = {rule.name: rule for rule in read_rules([], {"licence-present": "warning"})}
    for rule in read_rules([], {}):
        expected = Severity.WARNING if rule.name == "licence-present" else rule.severity
        assert changed[rule.name].severity is expected
    with pytest.raises(ParamsError, match="there is no rule 'licence'"):
        read_rules([], {"licence": "warning"})


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"there is no file .*missing\.yaml"):
        read_rules([tmp_path / "missing.yaml"], {})
    (tmp_path / "latin.yaml").write_bytes(b"expectations: \xe4")
    with pytest.raises(ParamsError, match=r"latin\.yaml is not UTF-8"):
        read_rules([tmp_path / "latin.yaml"], {})
    (tmp_path / "large.yaml").write_bytes(b" " * 1_000_001)
    with pytest.raises(DataError, match=r"large\.yaml: the file has more than"):
        read_rules([tmp_path / "large.yaml"], {})


def test_every_packaged_rule_is_described_in_the_docs(repository: Path) -> None:
    page = (repository / "docs" / "validation.md").read_text(encoding="utf-8")
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and "| e" in line]
    shown = [line for line in page.splitlines() if line.startswith("| `")]
    for rule in read_rules([], {}):
        assert any(line.startswith(f"| `{rule.name}` | {rule.severity.value} |") for line in shown), rule.name
    assert len(listed) == len(set(listed))


def test_the_example_of_the_docs_is_a_suite(repository: Path) -> None:
    page = (repository / "docs" / "validation.md").read_text(encoding="utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    assert YAML(typ="safe", pure=True).load(example)
    assert len(parse_suite(example, "example")) >= 1
