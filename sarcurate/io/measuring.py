"""Measures of any image files, folders or ChipSets, for the command line: records and a table of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.radiometry import Radiometry, to_intensity
from sarcurate.core.scorecard import COLUMNS, ChipContext
from sarcurate.errors import DataError, ParamsError, RadiometryError
from sarcurate.execution import run_map
from sarcurate.io.chipset import HEADER, ChipSet, open_chipset
from sarcurate.io.raster import PICTURE_SUFFIXES, read_chip
from sarcurate.io.safe import ImageLimits
from sarcurate.io.score_table import REASONS
from sarcurate.io.scoring import (
    BLOCK_CHIPS,
    context_of,
    domain_of_intensity,
    measure_chips,
    measure_images,
)

Record = dict[str, Any]

# Chips, not scenes: the arrays of one image of this size take about 2 GB while it is measured.
LIMITS = ImageLimits(max_side_px=2048, max_bytes=1 << 28)
MAIN = (
    *("enl", "enl_stderr", "homogeneous_fraction", "gamma_looks", "mean_db"),
    *("log_cumulant_2", "log_cumulant_3", "hf_energy_ratio", "occupied_band_azimuth", "occupied_band_range"),
    *("checkerboard_ratio", "latent_grid_ratio"),
    *("correlation_width_azimuth_px", "correlation_width_range_px", "irw_azimuth_m", "irw_range_m"),
    *("dynamic_range_db", "saturated_fraction", "target_to_clutter_db", "target_length_m"),
)


@dataclass(frozen=True)
class _Files:
    paths: tuple[Path, ...]
    radiometry: Radiometry
    context: ChipContext


def radiometry_of(text: str) -> Radiometry:
    """The radiometry that a person declared.

    Raises:
        ParamsError: for any other word; decibels must be converted first.
    """
    if text.lower() in ("db", "decibel", "decibels"):
        raise ParamsError(
            "--radiometry db: pixels in decibels have no looks, expected a linear kind",
            fix="convert first: intensity = 10 ** (db / 10), save it as float32, declare sigma0, beta0 or "
            "intensity",
        )
    try:
        return Radiometry(text)
    except ValueError:
        raise ParamsError(
            f"--radiometry {text}: expected one of {', '.join(Radiometry)}",
            fix="say what a pixel value means; unknown is an answer, too, but gives no looks",
        ) from None


def measure_paths(
    paths: Sequence[Path],
    radiometry: Radiometry,
    spacing_m: tuple[float, float] | None = None,
    workers: int = 1,
) -> list[Record]:
    """One record per chip of files, folders of files and ChipSet folders: every measure, units in names.

    ``chip`` is the file's path or the chip's id, ``enl_domain`` what looks are measured on (intensity for
    amplitude, which is squared), ``reasons`` say why a measure is None.

    Args:
        paths: PNG, JPEG, TIFF, NPY; folders are searched for them, ChipSets taken as such.
        radiometry: what pixel values mean; detected complex samples are intensity.
        spacing_m: range and azimuth spacing of files; ChipSets hold their own.
        workers: processes.

    Raises:
        DataError: for a path without images, or a broken, non-finite or too large one.
        RadiometryError: for pixels that cannot be what was declared.
        ParamsError: for a spacing that is no length.
    """
    _check_spacing(spacing_m)
    range_m, azimuth_m = spacing_m or (None, None)
    context = ChipContext(domain_of_intensity(radiometry), azimuth_m, range_m, None)
    records: list[Record] = []
    for path in paths:
        if (path / HEADER).is_file():
            records += _of_chipset(path, radiometry, context, workers)
        else:
            records += _of_files(path, radiometry, context, workers)
    return records


def as_lines(records: Sequence[Record]) -> Iterator[str]:
    """JSON lines, one per chip."""
    return (json.dumps(record, allow_nan=False) for record in records)


def as_table(records: Sequence[Record], radiometry: Radiometry) -> list[str]:
    """Lines for a terminal: median and spread of the main measures over all chips, and why some have none."""
    kind = f"{radiometry} (relative)" if radiometry.is_relative else str(radiometry)
    lines = [
        f"{len(records)} chips, radiometry {kind}",
        f"{'measure':<30}{'median':>10}{'10 %':>10}{'90 %':>10}",
    ]
    return lines + [_line(name, records) for name in MAIN]


def _line(name: str, records: Sequence[Record]) -> str:
    values = [record[name] for record in records if record[name] is not None]
    why = Counter(record["reasons"][name] for record in records if record[name] is None)
    middle = (
        [f"{value:>10.4g}" for value in np.quantile(values, (0.5, 0.1, 0.9))] if values else [f"{'n/a':>10}"]
    )
    told = ", ".join(f"{reason} ({count})" for reason, count in why.most_common(3))
    return f"{name:<30}{''.join(middle)}" + (f"  n/a: {told}" if told else "")


def _check_spacing(spacing_m: tuple[float, float] | None) -> None:
    if spacing_m is not None and not all(0 < one < 1e6 for one in spacing_m):
        raise ParamsError(
            f"--spacing {spacing_m[0]:g} {spacing_m[1]:g}: expected two lengths in metres above 0",
            fix="give range and azimuth spacing of the pixels, for example --spacing 0.9 1.2",
        )


def _of_chipset(path: Path, radiometry: Radiometry, context: ChipContext, workers: int) -> list[Record]:
    chips = open_chipset(path, splits=("all", "train", "test"))
    _check_header(chips, radiometry)
    own = context_of(chips, None)
    if context.range_spacing_m is not None:
        raise ParamsError(
            f"--spacing: {path} is a ChipSet, whose manifest holds the spacing of its chips",
            fix="leave --spacing out, or measure files and ChipSets apart",
        )
    table = measure_chips(chips, own, None, workers)
    return _records(table, [str(chip_id) for chip_id in table["chip_id"]], own)


def _check_header(chips: ChipSet, radiometry: Radiometry) -> None:
    if chips.header.radiometry is not radiometry:
        raise RadiometryError(
            f"{chips.root} holds {chips.header.radiometry} chips, declared was {radiometry}",
            fix=f"measure it with --radiometry {chips.header.radiometry}",
        )


def _of_files(path: Path, radiometry: Radiometry, context: ChipContext, workers: int) -> list[Record]:
    files = _image_files(path)
    starts = range(0, len(files), BLOCK_CHIPS)
    blocks = [_Files(tuple(files[start : start + BLOCK_CHIPS]), radiometry, context) for start in starts]
    table = pd.concat(run_map(_measure_files, blocks, f"measuring {path.name}", workers), ignore_index=True)
    return _records(table, [str(file) for file in files], context)


def _image_files(path: Path) -> list[Path]:
    """The file itself, or all pictures in a folder, sorted."""
    if not path.is_dir():
        return [path]
    found = sorted(
        file for file in path.rglob("*") if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file()
    )
    if not found:
        raise DataError(
            f"{path}: found no image, expected files ending in {', '.join(PICTURE_SUFFIXES)}",
            fix="name a folder of images, a ChipSet folder or a file",
        )
    return found


def _measure_files(files: _Files) -> pd.DataFrame:
    images = (_read_intensity(path, files.radiometry) for path in files.paths)
    return measure_images(images, files.context, None)


def _read_intensity(path: Path, radiometry: Radiometry) -> NDArray[np.float32]:
    pixels = read_chip(path, LIMITS)
    dtype = pixels.source_dtype
    if radiometry is Radiometry.UINT8_RELATIVE and dtype != "uint8":
        raise RadiometryError(
            f"{path}: holds {dtype} pixels, declared was {radiometry}",
            fix="declare what they are: intensity, amplitude, sigma0, beta0 or unknown",
        )
    if pixels.was_complex and not radiometry.is_power and radiometry is not Radiometry.UNKNOWN:
        raise RadiometryError(
            f"{path}: holds complex samples, which are detected to intensity; declared was {radiometry}",
            fix="declare intensity (or sigma0, beta0 where they are calibrated)",
        )
    try:
        return to_intensity(pixels.values, radiometry)
    except RadiometryError as error:
        raise RadiometryError(f"{path}: {error.problem}", fix=error.fix) from error


def _records(table: pd.DataFrame, names: Sequence[str], context: ChipContext) -> list[Record]:
    values = table[list(COLUMNS)].to_numpy(np.float64)
    reasons = [json.loads(text) if text else {} for text in table[REASONS]]
    records = []
    for name, row, why in zip(names, values, reasons, strict=True):
        measures = {
            column: None if np.isnan(one) else float(one) for column, one in zip(COLUMNS, row, strict=True)
        }
        records.append({"chip": name, "enl_domain": context.domain.value, **measures, "reasons": why})
    return records
