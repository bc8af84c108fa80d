"""Run files: the kept predictions of one finished training run, with what says whether they are stale."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sarcurate.errors import DataError

METADATA = b"sarcurate_run"
COLUMNS = ("chip_id", "group_id", "label", "predicted", "confidence")


@dataclass(frozen=True)
class RunFile:
    """One finished run.

    Args:
        facts: ``arm``, ``seed``, ``run_key``, ``code_key``, ``settings``, ``n_train`` and more, plain JSON.
        predictions: one row per test chip with ``COLUMNS``.
    """

    facts: Mapping[str, Any]
    predictions: pd.DataFrame


def write_run(path: Path, run: RunFile) -> None:
    """Write one run as a small parquet file; the same bytes for the same run."""
    ordered = run.predictions[list(COLUMNS)].sort_values("chip_id")
    table = pa.Table.from_pandas(ordered, preserve_index=False)
    facts = json.dumps(run.facts, sort_keys=True).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({METADATA: facts}), path, compression="zstd")


def read_run(path: Path) -> RunFile:
    """Read what :func:`write_run` wrote.

    Raises:
        DataError: when the file is no run file.
    """
    try:
        table = pq.read_table(path)
        facts = json.loads(table.schema.metadata[METADATA])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is no run file: {error}", fix="collect it again: sarcurate results collect"
        ) from error
    return RunFile(facts, table.replace_schema_metadata(None).to_pandas())
