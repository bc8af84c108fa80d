"""Expectations as YAML: Great Expectations' names and arguments, with a severity and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sarcurate.errors import ParamsError
from sarcurate.io.safe import read_bounded

MOST_BYTES = 1_000_000
_ASSETS = "assets/expectations"
_META = ("rule", "severity", "says", "fix")
SHOWN = "docs/validation.md shows the form of an entry"


class Severity(StrEnum):
    """What a failed expectation does: an error stops the run, a warning is only shown."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Rule:
    """One expectation on the table of chips.

    Attributes:
        name: unique, in kebab case.
        type: Great Expectations' name of it; kwargs: its arguments, ``{"$PARAMETER": name}`` for a param.
        says: what must hold, in a sentence; fix: what to do where it does not.
        place: file and number of the entry, for messages.
    """

    name: str
    severity: Severity
    type: str
    kwargs: Mapping[str, Any]
    says: str
    fix: str
    place: str

    @property
    def columns(self) -> list[str]:
        """Columns that the rule reads; one that only asks for a column's existence reads none."""
        single = [self.kwargs[key] for key in ("column", "column_A", "column_B") if key in self.kwargs]
        asked = [*single, *self.kwargs.get("column_list", [])]
        return [] if self.type in ("expect_column_to_exist", _ORDERED) else asked


_ORDERED = "expect_table_columns_to_match_ordered_list"


def read_rules(own: Iterable[Path], severities: Mapping[str, str]) -> list[Rule]:
    """The packaged rules, then those of the user's own files.

    Args:
        own: YAML files in the form of the packaged ones.
        severities: another severity by rule name.

    Raises:
        ParamsError: naming file and entry, for a file that is no suite, an entry with missing or unknown
            parts, a name given twice, or a severity for a rule that is not there.
    """
    rules: dict[str, Rule] = {}
    for text, file in [*_packaged(), *((_text(path), str(path)) for path in own)]:
        for rule in parse_suite(text, file):
            if rule.name in rules:
                raise ParamsError(
                    f"{rule.place}: rule {rule.name!r} stands in {rules[rule.name].place} already",
                    fix="give every rule a name of its own",
                )
            rules[rule.name] = rule
    for name, severity in severities.items():
        if name not in rules:
            raise ParamsError(
                f"validate.severities: there is no rule {name!r}", fix=f"name one of {', '.join(rules)}"
            )
        rules[name] = replace(rules[name], severity=Severity(severity))
    return list(rules.values())


def _packaged() -> list[tuple[str, str]]:
    folder = files("sarcurate").joinpath(_ASSETS)
    found = sorted(folder.iterdir(), key=lambda item: item.name)
    return [(item.read_text(encoding="utf-8"), item.name) for item in found if item.name.endswith(".yaml")]


def _text(path: Path) -> str:
    if not path.is_file():
        raise ParamsError(
            f"validate.expectations: there is no file {path}",
            fix="correct the path; relative ones start at the workspace",
        )
    try:
        return read_bounded(path, MOST_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is not UTF-8 text: {error}", fix="save it as UTF-8") from error


def parse_suite(text: str, file: str) -> list[Rule]:
    """Rules of one suite's YAML text; ``file`` is named in errors.

    Raises:
        ParamsError: as :func:`read_rules`.
    """
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ParamsError(f"{file} is not valid YAML: {error}", fix="correct the line named above") from error
    entries = content.get("expectations") if isinstance(content, dict) else None
    if not isinstance(entries, list) or set(content) != {"expectations"}:
        raise ParamsError(f"{file}: expected a mapping with the single key expectations, a list", fix=SHOWN)
    return [_rule(entry, f"{file}, entry {number}") for number, entry in enumerate(entries, start=1)]


def _rule(entry: Any, place: str) -> Rule:
    _check_keys(entry, ("type", "kwargs", "meta"), place)
    meta, kwargs = entry["meta"], entry["kwargs"]
    _check_keys(meta, _META, f"{place}, meta")
    if not isinstance(kwargs, dict):
        raise ParamsError(f"{place}: kwargs is {kwargs!r}, expected a mapping of arguments", fix=SHOWN)
    for name, text in [("type", entry["type"]), *((name, meta[name]) for name in _META)]:
        if not isinstance(text, str) or not text.strip():
            raise ParamsError(f"{place}: {name} is {text!r}, expected text", fix=SHOWN)
    if meta["severity"] not in tuple(Severity):
        raise ParamsError(
            f"{place}: severity {meta['severity']!r}, expected error or warning", fix="use one of the two"
        )
    place = f"{place} ({meta['rule']})"
    severity = Severity(meta["severity"])
    return Rule(meta["rule"], severity, entry["type"], kwargs, meta["says"], meta["fix"], place)


def _check_keys(part: Any, expected: Sequence[str], place: str) -> None:
    found = list(part) if isinstance(part, dict) else [repr(part)]
    if sorted(map(str, found)) != sorted(expected):
        raise ParamsError(f"{place}: found {found}, expected {list(expected)}", fix=SHOWN)
