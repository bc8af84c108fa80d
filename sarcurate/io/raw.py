"""The raw folder that acquire leaves for ingest: the chips' own files, a manifest, and what holds for all."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError

HEADER = "raw.json"
MANIFEST = "manifest.parquet"


@dataclass(frozen=True)
class RawSet:
    """Files of one sensor.

    Args:
        root: folder that the table's ``path`` column starts at.
        table: one row per chip, sorted by path; ``path``, ``label`` and any ChipSet columns known.
        radiometry: of the values in the files; complex samples are detected to intensity.
        origin: ``real`` or ``simulated``.
    """

    root: Path
    table: pd.DataFrame
    radiometry: Radiometry
    origin: str


@dataclass(frozen=True)
class _Header:
    radiometry: str
    origin: str


def write_raw(raw: RawSet) -> None:
    """Write header and manifest beside the files already in ``raw.root``."""
    table = raw.table.sort_values("path").reset_index(drop=True)
    table.to_parquet(raw.root / MANIFEST, index=False)
    header = _Header(raw.radiometry.value, raw.origin)
    (raw.root / HEADER).write_text(json.dumps(asdict(header), indent=2) + "\n", encoding="utf-8")


def read_raw(root: Path) -> RawSet:
    """Read a raw folder.

    Raises:
        DataError: when it is not one.
    """
    try:
        header = _Header(**json.loads((root / HEADER).read_text(encoding="utf-8")))
        table = pd.read_parquet(root / MANIFEST)
        return RawSet(root, table, Radiometry(header.radiometry), header.origin)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{root} is not a raw folder: {error}",
            fix="run `dvc repro acquire` (or `sarcurate acquire`) first",
        ) from error
