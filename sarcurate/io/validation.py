"""Validation: rules applied to a table of chips by Great Expectations, and what it found."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sarcurate.errors import ParamsError
from sarcurate.io import lineage
from sarcurate.io.expectations import SHOWN, Rule, Severity

IDENTITY = ("set", "chip_id", "source_path", "picture")
SUITE = "chips"
_OURS = {"id", "meta", "notes", "description", "severity", "result_format", "catch_exceptions"}
_OURS |= {"windows", "batch_id", "rendered_content"}
_LONGEST = 200  # characters of a found value that a person reads


@dataclass(frozen=True)
class Offender:
    """A chip that breaks a rule; ``picture`` is the same for copies, ``found`` the value in words."""

    set_name: str
    chip_id: str
    source_path: str | None
    picture: str
    found: str


@dataclass(frozen=True)
class Finding:
    """What came of one rule; ``offenders`` is empty where the rule judges the table as a whole."""

    rule: Rule
    passed: bool
    expected: str
    found: str
    offenders: tuple[Offender, ...]

    @property
    def stops(self) -> bool:
        """True where the run must not go on."""
        return not self.passed and self.rule.severity is Severity.ERROR


def validate(
    table: pd.DataFrame, rules: Sequence[Rule], parameters: Mapping[str, Any], data_docs: Path | None
) -> list[Finding]:
    """Judge a table by rules, without network, telemetry or anything kept between calls.

    Args:
        table: as :func:`sarcurate.io.validation_table.chips_table` gives.
        parameters: values for ``{"$PARAMETER": name}`` in arguments.
        data_docs: folder for Great Expectations' own pages, made anew; None writes none. They carry times and
            link to styles on the web.

    Raises:
        ParamsError: naming file and entry, for an unknown expectation, argument, column or parameter, or a
            rule that cannot be computed.
    """
    with _quiet():
        expectations = [_expectation(rule) for rule in rules]
        for rule in rules:
            _check_names(rule, table, parameters)
        results = _run(table, expectations, dict(parameters), data_docs)
    by_name = {result.expectation_config.meta["rule"]: result for result in results}
    return [_finding(rule, by_name[rule.name], parameters) for rule in rules]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep telemetry off and warnings about Great Expectations' own use of its libraries away."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"  # read when the package is imported
    logger = logging.getLogger("great_expectations")
    level = logger.level
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def _expectation(rule: Rule) -> Any:
    """The rule as Great Expectations has it; it checks the arguments."""
    from great_expectations.compatibility import pydantic
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.expectations.registry import get_expectation_impl

    odd = sorted(set(rule.kwargs) & _OURS)
    if odd:
        raise ParamsError(f"{rule.place}: kwargs holds {odd}, which is not an argument here", fix=SHOWN)
    try:
        make = get_expectation_impl(rule.type)
        return make(
            **rule.kwargs,
            description=rule.says,
            severity=FailureSeverity("critical" if rule.severity is Severity.ERROR else "warning"),
            meta={"rule": rule.name, "severity": rule.severity.value, "fix": rule.fix},
        )
    except ExpectationNotFoundError as error:
        raise ParamsError(
            f"{rule.place}: there is no expectation {rule.type!r} in Great Expectations",
            fix="take a name from its gallery of core expectations, in snake_case",
        ) from error
    except pydantic.ValidationError as error:
        wrong = "; ".join(sorted({f"{_field(item)}: {item['msg']}" for item in error.errors()}))
        raise ParamsError(
            f"{rule.place}: {rule.type} refuses its kwargs: {wrong}",
            fix="see the arguments of this expectation in the documentation of Great Expectations",
        ) from error


def _field(item: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in item["loc"] if part != "__root__") or "kwargs"


def _check_names(rule: Rule, table: pd.DataFrame, parameters: Mapping[str, Any]) -> None:
    missing = [column for column in rule.columns if column not in table.columns]
    if missing:
        raise ParamsError(
            f"{rule.place}: the table of chips has no column {missing}",
            fix="name a column of docs/chipset-format.md or a derived one of docs/validation.md",
        )
    asked = {value["$PARAMETER"] for value in rule.kwargs.values() if _is_parameter(value)}
    if not asked <= set(parameters):
        raise ParamsError(
            f"{rule.place}: unknown $PARAMETER {sorted(asked - set(parameters))}",
            fix=f"use one of {', '.join(sorted(parameters))}, or write the value",
        )


def _is_parameter(value: Any) -> bool:
    return isinstance(value, dict) and "$PARAMETER" in value


def _run(
    table: pd.DataFrame, expectations: Sequence[Any], parameters: dict[str, Any], data_docs: Path | None
) -> list[Any]:
    """Great Expectations' results, in a context that lives in memory."""
    import great_expectations as gx
    from great_expectations.checkpoint.actions import UpdateDataDocsAction
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for site in list(context.get_site_names()):
        context.delete_data_docs_site(site)
    actions: list[Any] = []
    if data_docs is not None:
        shutil.rmtree(data_docs, ignore_errors=True)
        context.add_data_docs_site(SUITE, _site(data_docs))
        actions.append(UpdateDataDocsAction(name="data docs", site_names=[SUITE]))
    asset = context.data_sources.add_pandas("chipsets").add_dataframe_asset("chips")
    suite = context.suites.add(gx.ExpectationSuite(SUITE, expectations=list(expectations)))
    definition = gx.ValidationDefinition(
        name=SUITE, data=asset.add_batch_definition_whole_dataframe("all"), suite=suite
    )
    checkpoint = gx.Checkpoint(
        name=SUITE,
        validation_definitions=[context.validation_definitions.add(definition)],
        actions=actions,
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": list(IDENTITY)},
    )
    done = context.checkpoints.add(checkpoint).run(
        batch_parameters={"dataframe": table}, expectation_parameters=parameters
    )
    return [result for part in done.run_results.values() for result in part.results]


def _site(folder: Path) -> Any:
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder.absolute()),
        },
    }


def _finding(rule: Rule, result: Any, parameters: Mapping[str, Any]) -> Finding:
    _refuse_failed_computation(rule, result)
    offenders = tuple(_offender(row, rule) for row in result.result.get("unexpected_index_list") or [])
    found = _found(result.result, offenders)
    return Finding(rule, bool(result.success), _expected(rule, parameters), found, offenders)


def _refuse_failed_computation(rule: Rule, result: Any) -> None:
    info = result.exception_info or {}
    parts = [info] if "raised_exception" in info else list(info.values())
    for part in parts:
        if part.get("raised_exception"):
            raise ParamsError(
                f"{rule.place}: {rule.type} cannot be computed: {part.get('exception_message')}",
                fix="correct the arguments of this entry; they do not fit the column",
            )


def _offender(row: Mapping[str, Any], rule: Rule) -> Offender:
    plain = {str(name): lineage.plain(value) for name, value in row.items()}
    found = [f"{name} {_word(plain[name])}" for name in rule.columns if name in plain]
    set_name, chip_id, source_path, picture = (plain[name] for name in IDENTITY)
    return Offender(set_name, chip_id, source_path, picture, ", ".join(found))


def _expected(rule: Rule, parameters: Mapping[str, Any]) -> str:
    """Arguments in words, with the values that params gave."""
    words = []
    for name, value in rule.kwargs.items():
        if name != "condition_parser":
            given = parameters[value["$PARAMETER"]] if _is_parameter(value) else value
            words.append(f"{name} {_word(given)}")
    return f"{rule.type}: {', '.join(words)}"


def _found(outcome: Mapping[str, Any], offenders: Sequence[Offender]) -> str:
    if offenders:
        values = list(dict.fromkeys(offender.found for offender in offenders))
        more = f" and {len(values) - 3} more values" if len(values) > 3 else ""
        return f"{len(offenders)} chips: {'; '.join(values[:3])}{more}"
    missing = outcome.get("partial_missing_list")
    if missing:
        return f"missing {_word(missing)}"
    if outcome.get("observed_value") is not None:
        return _word(lineage.plain(outcome["observed_value"]))[:_LONGEST]
    return "no chip breaks it"


def _word(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_word(item) for item in value)}]"
    return str(value)
