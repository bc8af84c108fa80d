"""validate: real train and test chips of both sensors against the expectations; broken data stops here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io import validation_report
from sarcurate.io.chipset import open_chipset
from sarcurate.io.expectations import read_rules
from sarcurate.io.validated import write_validated
from sarcurate.io.validation import validate
from sarcurate.io.validation_table import chips_table
from sarcurate.params import Params

SIDES = ("source", "target")


@dataclass(frozen=True)
class Outputs:
    """What validate writes; ``data_docs``, Great Expectations' own folder, is no output of the graph."""

    validated: Path
    metrics: Path
    page: Path
    data_docs: Path | None


def run(params: Params, sets: Mapping[str, Path], outputs: Outputs) -> list[str]:
    """Validate the sets ``source-train``, ``source-test``, ``target-train``, ``target-test``.

    Metrics and page are written in any case, the note that later stages need only where all is well.

    Raises:
        DataError: where an expectation of severity error failed, naming each with its chips.
        ParamsError: for a wrong expectation.
    """
    outputs.validated.unlink(missing_ok=True)
    rules = read_rules([Path(name) for name in params.validate.expectations], params.validate.severities)
    train = {side: open_chipset(sets[f"{side}-train"], splits=("train",)) for side in SIDES}
    test = {side: open_chipset(sets[f"{side}-test"], splits=("test",)) for side in SIDES}
    opened = {f"{side}-train": train[side] for side in SIDES} | {f"{side}-test": test[side] for side in SIDES}
    table = chips_table(opened)
    findings = validate(table, rules, parameters(params), outputs.data_docs)
    for path in (outputs.metrics, outputs.page):
        path.parent.mkdir(parents=True, exist_ok=True)
    numbers = validation_report.metrics(findings, table)
    outputs.metrics.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    outputs.page.write_text(validation_report.page(params.dataset.name, findings, table), encoding="utf-8")
    said = [validation_report.headline(findings, len(table)), *validation_report.summary(findings)]
    if any(finding.stops for finding in findings):
        raise DataError(
            "\n".join(said), fix=f"correct these chips and run `dvc repro`; all of them: {outputs.page}"
        )
    write_validated(outputs.validated, {side: chips.revision for side, chips in train.items()})
    return [*said, f"report: {outputs.page}"]


def parameters(params: Params) -> dict[str, Any]:
    """What ``$PARAMETER`` in an expectation may name."""
    validate, is_real = params.validate, params.dataset.evidence == "real"
    return {
        "classes": list(params.dataset.classes),
        "origins": ["real"] if is_real else ["real", "simulated"],
        "last_fold": params.split.folds - 1,
        "min_train_per_class": validate.min_train_per_class,
        "max_class_ratio": validate.max_class_ratio,
        "min_dynamic_range_db": validate.min_dynamic_range_db,
        "max_nodata_fraction": validate.max_nodata_fraction,
    }
