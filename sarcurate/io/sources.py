"""A user's own chips: class folders or a manifest, read into one table and checked before any pixel is."""

from __future__ import annotations

import difflib
import math
import os
import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from sarcurate.errors import DataError
from sarcurate.io.raster import PICTURE_SUFFIXES
from sarcurate.io.safe import resolve_inside

TEXT_COLUMNS = (
    "group_id",
    "scene_id",
    "sensor",
    "band",
    "mode",
    "polarisation",
    "acquired_utc",
    "licence",
)
# lowest and highest value allowed, both included
NUMBER_COLUMNS = {
    "incidence_deg": (0.0, 90.0),
    "azimuth_deg": (-360.0, 360.0),
    "range_spacing_m": (1e-3, 1e4),
    "azimuth_spacing_m": (1e-3, 1e4),
    "looks_nominal": (0.1, 1e4),
    "first_row_px": (0.0, 2.0**31),
    "first_col_px": (0.0, 2.0**31),
}
WHOLE_COLUMNS = ("first_row_px", "first_col_px")
MANIFEST_COLUMNS = ("path", "label", *TEXT_COLUMNS, *NUMBER_COLUMNS)


def read_class_folders(root: Path, classes: Sequence[str]) -> pd.DataFrame:
    """One row per picture in ``root/<class>/``: columns path (POSIX, below root) and label, sorted by path.

    Hidden files are ignored, and so are files in ``root`` itself that are no pictures (a README).

    Raises:
        DataError: a folder that is no class, a class without folder or pictures, a picture outside of the
            class folders, a folder in a class folder, another kind of file, a symbolic link.
    """
    folders = _class_folders(root, classes)
    rows = [(f"{name}/{file}", name) for name in folders for file in _pictures(root / name)]
    table = pd.DataFrame(rows, columns=["path", "label"], dtype="str")
    check_labels(table["label"].tolist(), classes, str(root))
    return _sorted(table)


def read_manifest(root: Path, manifest_path: Path, classes: Sequence[str]) -> pd.DataFrame:
    """One row per line of a CSV or parquet manifest, sorted by path.

    Args:
        root: folder that the manifest's paths are relative to.
        manifest_path: CSV (UTF-8, comma) or parquet with the columns path and label, and any of
            ``TEXT_COLUMNS`` and ``NUMBER_COLUMNS``. An empty cell is a missing value.
        classes: every label that may and must occur.

    Returns:
        The columns given: text as str, numbers as float64, pixel positions as nullable Int64.

    Raises:
        DataError: naming file and line for an unknown column, class or unit range, a path that is repeated,
            missing, linked or outside of ``root``, a class without rows, more than one sensor.
    """
    source = str(manifest_path)
    table = _read_table(manifest_path)
    _check_columns(table, source)
    for column in table.columns:
        convert = _numbers if column in NUMBER_COLUMNS else _texts
        table[column] = convert(table[column], source)
    for column in ("path", "label"):
        if table[column].isna().any():
            line = _line(int(table[column].isna().to_numpy().argmax()))
            raise DataError(f"{source}: {column} is empty in {line}", fix="fill it in or remove the row")
    check_labels(table["label"].tolist(), classes, source)
    _check_paths(root, table["path"].tolist(), source)
    _check_one_sensor(table, source)
    _check_times(table, source)
    return _sorted(table)


def check_labels(labels: Sequence[str], classes: Sequence[str], source: str) -> None:
    """Raise DataError unless ``labels`` are exactly ``classes``, each at least once."""
    if not classes or len(set(classes)) != len(classes):
        raise DataError(
            f"classes {list(classes)} must be non-empty and differ", fix="correct dataset.classes"
        )
    found = set(labels)
    for label in sorted(found - set(classes)):
        raise DataError(
            f"{source}: class {label!r} is unknown, expected one of {sorted(classes)}",
            fix=f"{did_you_mean(label, classes)}rename it, remove it, or add it to dataset.classes",
        )
    for name in sorted(set(classes) - found):
        raise DataError(
            f"{source}: class {name!r} has no chips; found {sorted(found)}",
            fix=f"{did_you_mean(name, sorted(found))}add chips or remove the class from dataset.classes",
        )


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A question naming the known word that is spelled nearly so, or nothing; upper case is ignored."""
    by_key = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), list(by_key), n=1)
    return f"did you mean {by_key[near[0]]!r}? " if near else ""


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    rest = [name for name in MANIFEST_COLUMNS if name in table.columns]
    return table[rest].sort_values("path", ignore_index=True)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Visible entries of a folder by name; no symbolic links."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror}", fix="check the path") from error
    for entry in entries:
        if entry.is_symlink():
            raise DataError(
                f"{folder / entry.name} is a symbolic link, expected a file or folder",
                fix="copy what it points to into its place, so that the data can be versioned",
            )
    return entries


def _class_folders(root: Path, classes: Sequence[str]) -> list[str]:
    entries = _entries(root)
    names = [entry.name for entry in entries if entry.is_dir()]
    for entry in entries:
        if entry.is_file() and Path(entry.name).suffix.lower() in PICTURE_SUFFIXES:
            raise DataError(
                f"{root / entry.name} belongs to no class, expected {root}/<class>/<file>",
                fix=f"move it into one of {sorted(classes)}",
            )
    missing = sorted(set(classes) - set(names))
    if missing and set(names) <= set(classes):
        raise DataError(
            f"{root}: the folder of class {missing[0]!r} is missing; found {names}",
            fix=f"add {root / missing[0]} with its chips or remove the class from dataset.classes",
        )
    check_labels(names, classes, str(root))
    return names


def _pictures(folder: Path) -> list[str]:
    entries = _entries(folder)
    for entry in entries:
        if entry.is_dir() or Path(entry.name).suffix.lower() not in PICTURE_SUFFIXES:
            raise DataError(
                f"{folder / entry.name}: found a {'folder' if entry.is_dir() else 'file'}, "
                f"expected pictures only ({', '.join(PICTURE_SUFFIXES)})",
                fix="move it out of the class folder, or list the chips in a manifest",
            )
    if not entries:
        raise DataError(
            f"{folder}: class {folder.name!r} is empty",
            fix="add chips or remove the class from dataset.classes and its folder",
        )
    return [entry.name for entry in entries]


def _read_table(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        if path.suffix.lower() == ".csv":
            return _read_csv(path)
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise DataError(f"{path}: cannot be read: {error}", fix="write it as UTF-8 CSV or parquet") from error
    raise DataError(f"{path}: expected a .csv or .parquet manifest", fix="save it as one of them")


def _read_csv(path: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        # pandas only warns of rows with more cells than the header has, and drops these cells
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path, dtype="str", index_col=False, encoding="utf-8-sig", keep_default_na=False, na_values=[""]
        )


def _check_columns(table: pd.DataFrame, source: str) -> None:
    for name in map(str, table.columns):
        if name not in MANIFEST_COLUMNS:
            raise DataError(
                f"{source}: column {name!r} is unknown, expected some of {', '.join(MANIFEST_COLUMNS)}",
                fix=f"{did_you_mean(name, MANIFEST_COLUMNS)}rename or remove it",
            )
    for name in ("path", "label"):
        if name not in table.columns:
            raise DataError(f"{source}: column {name!r} is missing", fix=f"add a column {name!r}")


def _line(row: int) -> str:
    return f"data row {row + 1}"


def _texts(column: pd.Series, source: str) -> pd.Series:
    for row, value in enumerate(column):
        if not pd.isna(value) and not isinstance(value, str):
            raise DataError(
                f"{source}: {column.name} is {value!r} in {_line(row)}, expected text",
                fix="write the column as text",
            )
    return column.astype("str").where(column.notna() & (column.astype("str") != ""))


def _numbers(column: pd.Series, source: str) -> pd.Series:
    low, high = NUMBER_COLUMNS[str(column.name)]
    whole = column.name in WHOLE_COLUMNS
    values = pd.to_numeric(column, errors="coerce").astype("float64")
    for row, (written, value) in enumerate(zip(column, values, strict=True)):
        good = low <= value <= high and not (whole and value != math.floor(value))
        if not pd.isna(written) and (isinstance(written, bool) or not good):
            raise DataError(
                f"{source}: {column.name} is {written!r} in {_line(row)}, expected a "
                f"{'whole number' if whole else 'number'} from {low:g} to {high:g}",
                fix="correct it, or leave the cell empty if it is not known",
            )
    return values.astype("Int64") if whole else values


def _check_paths(root: Path, paths: Sequence[str], source: str) -> None:
    base, seen = root.resolve(), set()
    for row, path in enumerate(paths):
        found = resolve_inside(root, path)
        if path in seen:
            raise DataError(
                f"{source}: path {path!r} is repeated in {_line(row)}", fix="remove one of the rows"
            )
        seen.add(path)
        if found != base / path:
            raise DataError(
                f"{source}: {path!r} in {_line(row)} goes through a symbolic link",
                fix="copy what it points to into its place, so that the data can be versioned",
            )
        if not found.is_file():
            raise DataError(
                f"{source}: file {path!r} of {_line(row)} is missing below {root}",
                fix="correct the path (upper and lower case differ) or remove the row",
            )


def _check_one_sensor(table: pd.DataFrame, source: str) -> None:
    if "sensor" in table.columns and table["sensor"].nunique(dropna=False) > 1:
        found = ", ".join(
            f"{name} ({count} rows)" for name, count in table["sensor"].value_counts(dropna=False).items()
        )
        raise DataError(
            f"{source}: found more than one sensor: {found}",
            fix="one folder and manifest for each sensor: mixing them hides what is compared",
        )


def _check_times(table: pd.DataFrame, source: str) -> None:
    if "acquired_utc" not in table.columns:
        return
    for row, value in enumerate(table["acquired_utc"]):
        if not pd.isna(value) and not _is_utc(value):
            raise DataError(
                f"{source}: acquired_utc is {value!r} in {_line(row)}, expected ISO 8601 in UTC",
                fix="write it as 2024-05-31T12:34:56Z",
            )


def _is_utc(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).utcoffset() in (None, timedelta(0))
    except ValueError:
        return False
