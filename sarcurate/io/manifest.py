"""Manifest of a ChipSet: one row per chip, its columns, what must hold for them, and their revision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io import lineage

MANIFEST = "metadata.parquet"

SCHEMA = pa.schema(
    [
        ("chip_id", pa.string()),
        ("file_name", pa.string()),
        ("preview_file_name", pa.string()),
        ("origin", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("fold", pa.int32()),
        ("group_id", pa.string()),
        ("sensor", pa.string()),
        ("band", pa.string()),
        ("mode", pa.string()),
        ("polarisation", pa.string()),
        ("radiometry", pa.string()),
        ("range_spacing_m", pa.float64()),
        ("azimuth_spacing_m", pa.float64()),
        ("incidence_deg", pa.float64()),
        ("azimuth_deg", pa.float64()),
        ("looks_nominal", pa.float64()),
        ("acquired_utc", pa.string()),
        ("scene_id", pa.string()),
        ("first_row_px", pa.int64()),
        ("first_col_px", pa.int64()),
        ("geometry", pa.string()),
        ("look_direction", pa.string()),
        ("orbit_direction", pa.string()),
        ("heading_deg", pa.float64()),
        ("latitude_deg", pa.float64()),
        ("longitude_deg", pa.float64()),
        ("overlap_fraction", pa.float64()),
        ("nodata_fraction", pa.float64()),
        ("saturated_fraction", pa.float64()),
        ("missing_levels_fraction", pa.float64()),
        ("comb_strength", pa.float64()),
        ("full_range", pa.bool_()),
        ("jpeg_grid_strength", pa.float64()),
        ("occupied_band_azimuth", pa.float64()),
        ("occupied_band_range", pa.float64()),
        ("border_px", pa.int64()),
        ("wedge_fraction", pa.float64()),
        ("grey_as_rgb", pa.bool_()),
        ("forensics", pa.string()),
        ("statistics", pa.string()),
        ("parents", pa.list_(pa.string())),
        ("style_ids", pa.list_(pa.string())),
        ("adapter_sha256", pa.string()),
        ("prompt", pa.string()),
        ("seed", pa.int64()),
        ("recipe_sha256", pa.string()),
        ("pixels_sha256", pa.string()),
        ("source_path", pa.string()),
        ("licence", pa.string()),
        ("truth_enl", pa.float64()),
        ("truth_range_resolution_m", pa.float64()),
        ("truth_azimuth_resolution_m", pa.float64()),
    ]
)
REQUIRED = (
    "chip_id",
    "file_name",
    "origin",
    "label",
    "split",
    "group_id",
    "sensor",
    "radiometry",
    "pixels_sha256",
)
ORIGINS = ("real", "simulated", "generated", "migrated", "translated")
WHERE_KEPT = ("file_name", "preview_file_name")  # where a chip lies is not what it is


@dataclass(frozen=True)
class Header:
    """What holds for a whole ChipSet; ``split`` is ``all`` before the split, then ``train`` or ``test``."""

    sensor: str
    radiometry: Radiometry
    split: str
    display_db: tuple[float, float]


def manifest_revision(manifest: pd.DataFrame) -> str:
    """Merkle root over the manifest's rows, independent of their order and of where files lie."""
    rows = manifest.drop(columns=list(WHERE_KEPT)).to_dict("records")
    return lineage.merkle_root(
        lineage.canonical_json({str(key): lineage.plain(value) for key, value in row.items()}) for row in rows
    )


def read_manifest(root: Path) -> pd.DataFrame:
    """The manifest in the folder ``root``, columns and types as ``SCHEMA``.

    Raises:
        DataError: when it is missing, unreadable or of another format.
    """
    path = root / MANIFEST
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"cannot read {path}: {error}", fix="rebuild the set with `dvc repro`") from error
    if table.schema.names != SCHEMA.names:
        odd = sorted(set(table.schema.names) ^ set(SCHEMA.names))
        raise DataError(
            f"{path}: columns differ from the ChipSet format: {odd or 'order'}",
            fix="rebuild the set with this version of sarcurate",
        )
    try:
        manifest: pd.DataFrame = table.cast(SCHEMA).to_pandas(types_mapper=_pandas_types)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{path}: a column has another type: {error}",
            fix="rebuild the set with this version of sarcurate",
        ) from error
    return manifest


def _pandas_types(kind: pa.DataType) -> Any:
    return {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype()}.get(kind)


def check_manifest(root: Path, header: Header, manifest: pd.DataFrame) -> None:
    """Refuse a manifest that cannot be that of one sensor's chips; ``root`` is named in messages.

    Raises:
        DataError: for empty cells, an id given twice, mixed sensors or radiometries, or an unknown origin.
    """
    for column in REQUIRED:
        if manifest[column].isna().any():
            raise DataError(
                f"{root}: column {column} has empty cells", fix="every chip needs it; rebuild the set"
            )
    twice = manifest["chip_id"][manifest["chip_id"].duplicated()]
    if len(twice):
        raise DataError(
            f"{root}: chip_id {twice.iloc[0]} stands twice", fix="remove the duplicate and rebuild"
        )
    for column, expected in (("radiometry", {header.radiometry.value}), ("sensor", {header.sensor})):
        found = set(manifest[column])
        if not found <= expected:
            raise DataError(
                f"{root}: mixed {column}: found {sorted(found)}, expected only {sorted(expected)}",
                fix="make one ChipSet per sensor and radiometry",
            )
    unknown = set(manifest["origin"]) - set(ORIGINS)
    if unknown:
        raise DataError(f"{root}: unknown origin {sorted(unknown)}", fix=f"use one of {', '.join(ORIGINS)}")
