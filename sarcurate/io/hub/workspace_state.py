"""The state of a workspace that a release is compared with, without reading a chip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io.hub.checks import Current
from sarcurate.io.hub.licences import LicenceRule
from sarcurate.io.selection import read_selection

_FOLDERS = {
    **{name: f"real/{name}" for name in ("source-train", "source-test", "target-train", "target-test")},
    **{name: f"translated/{name}" for name in ("physics", "psd")},
    **{name: name for name in ("generated", "migrated", "migrated-generated")},
}


def current_state(data: Path, metrics: Path, rules: tuple[LicenceRule, ...], version: str) -> Current:
    """Revisions of a workspace's sets, as their headers say, its Selection and newest metrics.

    Raises:
        DataError: where a file is missing or broken.
    """
    return Current(
        dataset_revision=str(_json(metrics / "evaluation.json", "dataset_revision")),
        sets={
            name: str(_json(data / folder / "chipset.json", "revision")) for name, folder in _FOLDERS.items()
        },
        selection=read_selection(data / "selection.parquet").revision,
        validation_passed=_json(metrics / "validation.json", "passed") is True,
        rules=rules,
        version=version,
    )


def _json(path: Path, key: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no {key}: {error}", fix="run `dvc repro` first") from error
