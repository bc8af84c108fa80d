"""What validation found: numbers, lines for the terminal, and one offline page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from sarcurate.io.expectations import Severity
from sarcurate.io.validation import Finding, Offender

LISTED = 10  # chips named in the terminal
ON_PAGE = 500  # chips named on the page, for each rule


def metrics(findings: Sequence[Finding], table: pd.DataFrame) -> dict[str, Any]:
    """Numbers of a validation, the same for the same chips and rules."""
    failed = [finding for finding in findings if not finding.passed]
    broken = {offender.chip_id for finding in failed for offender in finding.offenders}
    return {
        "passed": not any(finding.stops for finding in findings),
        "n_chips": len(table),
        "n_expectations": len(findings),
        "n_failed_errors": sum(finding.stops for finding in findings),
        "n_failed_warnings": sum(not finding.stops for finding in failed),
        "n_offending_chips": len(broken),
        "chips": {name: int(count) for name, count in table.groupby("set")["chip_id"].size().items()},
        "success": {finding.rule.name: finding.passed for finding in findings},
        "offending_chips": {finding.rule.name: len(finding.offenders) for finding in findings},
    }


def headline(findings: Sequence[Finding], n_chips: int) -> str:
    """One sentence: how many expectations failed, by severity."""
    errors = sum(finding.stops for finding in findings)
    warnings = sum(not finding.passed for finding in findings) - errors
    counts = f"{errors} errors, {warnings} warnings in {len(findings)} expectations on {n_chips} chips"
    return f"validation {'failed' if errors else 'passed'}: {counts}"


def summary(findings: Sequence[Finding]) -> list[str]:
    """Lines on each failed expectation, errors first: what was found, which chips, what to do."""
    failed = _failed(findings)
    if not failed:
        return []
    width = max(len("expectation"), *(len(finding.rule.name) for finding in failed))
    lines = [f"{'severity':<8}  {'expectation':<{width}}  found"]
    for finding in failed:
        rule = finding.rule
        lines.append(f"{rule.severity.value:<8}  {rule.name:<{width}}  {finding.found}")
        lines.append(f"{'':<10}must hold: {rule.says}")
        if finding.offenders:
            lines.append(f"{'':<10}chips: {_chips(finding.offenders)}")
        lines.append(f"{'':<10}fix: {rule.fix}")
    return lines


def page(name: str, findings: Sequence[Finding], table: pd.DataFrame) -> str:
    """HTML text of a report that loads nothing from anywhere and holds no clock time; all text is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = (files("sarcurate") / "assets" / "validation.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        name=name,
        headline=headline(findings, len(table)),
        failed=_failed(findings),
        findings=findings,
        sets=_sets(table),
        on_page=ON_PAGE,
        stops=any(finding.stops for finding in findings),
    )


def _failed(findings: Sequence[Finding]) -> list[Finding]:
    failed = [finding for finding in findings if not finding.passed]
    return sorted(failed, key=lambda finding: finding.rule.severity is not Severity.ERROR)


def _chips(offenders: Sequence[Offender]) -> str:
    more = f" and {len(offenders) - LISTED} more" if len(offenders) > LISTED else ""
    return ", ".join(map(_chip, offenders[:LISTED])) + more


def _chip(offender: Offender) -> str:
    path = f" ({offender.source_path})" if offender.source_path else ""
    return f"{offender.set_name} {offender.chip_id}{path}"


def _sets(table: pd.DataFrame) -> list[Mapping[str, Any]]:
    """Chips, groups and classes of each set, in the order of the table."""
    return [
        {
            "name": name,
            "chips": len(rows),
            "groups": rows["group_id"].nunique(),
            "classes": ", ".join(
                f"{label} {count}" for label, count in rows["label"].value_counts().sort_index().items()
            ),
        }
        for name, rows in table.groupby("set", sort=False)
    ]
