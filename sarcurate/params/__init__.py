"""params.yaml as frozen typed sections; every field is required, so that DVC sees every change."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sarcurate.errors import ParamsError
from sarcurate.params.chips import Acquire, Code, Dataset, Ingest, Split
from sarcurate.params.chips import FolderSource as FolderSource
from sarcurate.params.chips import MosaicSource as MosaicSource
from sarcurate.params.chips import ProductsSource as ProductsSource
from sarcurate.params.chips import PublicSetSource as PublicSetSource
from sarcurate.params.chips import SideSplit as SideSplit
from sarcurate.params.chips import SimulatedSource as SimulatedSource
from sarcurate.params.chips import Source as Source
from sarcurate.params.evaluation import Evaluate, Report
from sarcurate.params.judging import Curate, Reference, Score, Validate
from sarcurate.params.making import Generate as Generate
from sarcurate.params.making import Migrate as Migrate
from sarcurate.params.making import Translate
from sarcurate.params.making import Tune as Tune
from sarcurate.params.publishing import Package
from sarcurate.params.section import Section as Section

with warnings.catch_warnings():
    # The section is called as its stage; pydantic's deprecated method of that name is called by nobody.
    warnings.filterwarnings(
        "ignore", message='Field name "validate" in "Params" shadows', category=UserWarning
    )

    class Params(Section):
        """All of params.yaml."""

        code: Code
        dataset: Dataset
        acquire: Acquire
        ingest: Ingest
        split: Split
        validate: Validate  # type: ignore[assignment]
        reference: Reference
        tune: Tune
        generate: Generate
        migrate: Migrate
        translate: Translate
        score: Score
        curate: Curate
        evaluate: Evaluate
        report: Report
        package: Package


def read_params(path: Path) -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: naming the file and each field that is missing, unknown or out of bounds.
    """
    return check_params(read_yaml(path), path)


def read_yaml(path: Path) -> Any:
    """Plain data of a YAML 1.2 file, as DVC reads it (1e-4 is a number, on is a word).

    Raises:
        ParamsError: when the file is missing, cannot be read or is not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError as error:
        raise ParamsError(
            f"there is no {path}", fix="run in a workspace, or make one: sarcurate init DIR --params FILE"
        ) from error
    except OSError as error:
        raise ParamsError(f"{path} cannot be read: {error.strerror}", fix="name a params file") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not valid YAML: {error}", fix="correct the line named above") from error


def check_params(data: Any, path: Path) -> Params:
    """Params from plain data; ``path`` is named in errors."""
    try:
        return Params.model_validate(data)
    except ValidationError as error:
        lines = [_describe(item) for item in error.errors()]
        raise ParamsError(
            f"{path} has {len(lines)} wrong value(s):\n  " + "\n  ".join(lines),
            fix="correct these fields; docs/params.md lists every field with its unit and bounds",
        ) from error


def _describe(item: Any) -> str:
    parts = [str(part) for part in item["loc"]]
    if parts[:1] == ["acquire"]:
        del parts[2:3]  # pydantic's tag of the source kind, which is no field
    field = ".".join(parts) or "(top level)"
    if item["type"] == "missing":
        return f"{field}: missing; every field must be given"
    if item["type"] == "extra_forbidden":
        return f"{field}: unknown field"
    return f"{field}: {item['msg']}; found {str(item['input'])[:80]!r}"
