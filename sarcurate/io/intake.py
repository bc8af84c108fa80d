"""Raw files of one sensor to a ChipSet: decode, check, describe; nothing is repaired."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.radiometry import Radiometry, to_intensity
from sarcurate.errors import DataError, RadiometryError
from sarcurate.execution import track
from sarcurate.io import lineage, raster
from sarcurate.io.chip_forensics import forensic_columns
from sarcurate.io.chipset import ChipSetWriter
from sarcurate.io.manifest import Header
from sarcurate.io.raw import RawSet
from sarcurate.io.safe import resolve_inside
from sarcurate.io.sensors import SensorProfile

FROM_MANIFEST = (
    "mode",
    "polarisation",
    "incidence_deg",
    "azimuth_deg",
    "acquired_utc",
    "scene_id",
    "first_row_px",
    "first_col_px",
    "geometry",
    "look_direction",
    "orbit_direction",
    "heading_deg",
    "latitude_deg",
    "longitude_deg",
    "overlap_fraction",
    "seed",
    "recipe_sha256",
    "truth_enl",
    "truth_range_resolution_m",
    "truth_azimuth_resolution_m",
)


@dataclass(frozen=True)
class SizeRule:
    """Chip size against the footprint (metres or None): ``exact``, ``centre_crop`` or ``keep``."""

    policy: str
    footprint_m: float | None


def take_in(
    raw: RawSet, profile: SensorProfile, display_db: tuple[float, float], size: SizeRule, out: Path
) -> int:
    """Write the ChipSet of a raw folder; the number of chips.

    Raises:
        DataError: for a file that cannot be read, is not finite, has the wrong size, or another sensor.
        RadiometryError: when the pixels contradict the declared radiometry.
    """
    header = Header(profile.name, raw.radiometry, "all", display_db)
    with ChipSetWriter(out, header) as writer:
        records = raw.table.to_dict("records")
        for record in track(records, f"ingesting {out.name}", len(records)):
            row = {str(key): lineage.plain(value) for key, value in record.items()}
            whole = _decode(raw, row)
            pixels, top, left = _fit(whole.values, row, profile, size)
            described = _describe(_moved(row, top, left), pixels, raw, profile)
            window = (slice(top, top + pixels.shape[0]), slice(left, left + pixels.shape[1]))
            writer.add(
                described | forensic_columns(whole, window, raw.radiometry, described, profile), pixels
            )
    return len(raw.table)


def _decode(raw: RawSet, row: Mapping[str, Any]) -> raster.Pixels:
    path = resolve_inside(raw.root, row["path"])
    pixels = raster.read_chip(path)
    if pixels.was_complex and not raw.radiometry.is_power:
        raise RadiometryError(
            f"{path}: complex samples become intensity, but {raw.radiometry} was declared",
            fix="declare radiometry: intensity (or beta0, sigma0 where the samples are calibrated)",
        )
    if raw.radiometry is Radiometry.UINT8_RELATIVE and pixels.values.max() > 255:
        raise RadiometryError(
            f"{path}: declared uint8_relative, found a value of {pixels.values.max()}",
            fix="declare the radiometry that the file holds",
        )
    if not np.any(pixels.values):
        raise DataError(
            f"{path}: every pixel is zero", fix="remove the chip, or read it from its product again"
        )
    array = raster.storable(pixels.values, str(path))
    try:
        to_intensity(array, raw.radiometry)
    except RadiometryError as error:
        raise RadiometryError(f"{path}: {error.problem}", fix=error.fix) from error
    return replace(pixels, values=array)


def _fit(
    array: NDArray[np.generic], row: Mapping[str, Any], profile: SensorProfile, size: SizeRule
) -> tuple[NDArray[np.generic], int, int]:
    """The chip in the size asked for, and the row and column of ``array`` that it starts at."""
    if size.policy == "keep" or size.footprint_m is None:
        return array, 0, 0
    spacing_m = (_value(row, "azimuth_spacing_m", profile), _value(row, "range_spacing_m", profile))
    rows, cols = (round(size.footprint_m / step) for step in spacing_m)
    if array.shape == (rows, cols):
        return array, 0, 0
    larger = array.shape[0] >= rows and array.shape[1] >= cols
    if size.policy == "exact" or not larger:
        raise DataError(
            f"{row['path']}: {array.shape[0]} x {array.shape[1]} px, but a footprint of {size.footprint_m} m "
            f"at {spacing_m[0]} x {spacing_m[1]} m is {rows} x {cols} px",
            fix="set dataset.footprint_m and ingest.size (centre_crop cuts larger chips, keep takes any)",
        )
    top, left = (array.shape[0] - rows) // 2, (array.shape[1] - cols) // 2
    return array[top : top + rows, left : left + cols], top, left


def _moved(row: Mapping[str, Any], top: int, left: int) -> dict[str, Any]:
    """The row of a chip whose window in the scene starts ``top`` rows and ``left`` columns later."""
    later = {"first_row_px": top, "first_col_px": left}
    return {**row, **{name: row[name] + step for name, step in later.items() if row.get(name) is not None}}


def _describe(
    row: Mapping[str, Any], pixels: NDArray[np.generic], raw: RawSet, profile: SensorProfile
) -> dict[str, Any]:
    """Manifest row of a chip: what its source says, then what the sensor profile says."""
    if row.get("sensor") not in (None, profile.name):
        raise DataError(
            f"{row['path']}: sensor {row['sensor']}, but dataset names the profile {profile.name}",
            fix="keep one sensor per folder, and name its profile in params.yaml",
        )
    described: dict[str, Any] = {name: row.get(name) for name in FROM_MANIFEST}
    return described | {
        "chip_id": _chip_id(row, pixels),
        "origin": raw.origin,
        "label": row["label"],
        "group_id": row.get("group_id") or row["path"],
        "band": row.get("band") or profile.band,
        "range_spacing_m": _value(row, "range_spacing_m", profile),
        "azimuth_spacing_m": _value(row, "azimuth_spacing_m", profile),
        "looks_nominal": row.get("looks_nominal") or profile.looks_nominal,
        "nodata_fraction": float(np.mean(np.asarray(pixels) == 0)),
        "source_path": row["path"],
        "licence": row.get("licence"),
    }


def _value(row: Mapping[str, Any], name: str, profile: SensorProfile) -> float:
    found = row.get(name)
    if found is None:
        found = getattr(profile, name)
    if found is None or not math.isfinite(found):
        raise DataError(
            f"{row['path']}: {name} is unknown", fix=f"give it in the manifest or in profile {profile.name}"
        )
    return float(found)


def _chip_id(row: Mapping[str, Any], pixels: NDArray[np.generic]) -> str:
    if row.get("recipe_sha256") is not None:
        return lineage.made_chip_id(str(row["recipe_sha256"]))
    window = None
    if row.get("first_row_px") is not None and row.get("first_col_px") is not None:
        rows, cols = pixels.shape
        window = (int(row["first_row_px"]), int(row["first_col_px"]), rows, cols)
    return lineage.real_chip_id(lineage.pixels_sha256(pixels), str(row["path"]), window)
