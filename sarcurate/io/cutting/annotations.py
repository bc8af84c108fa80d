"""Files of boxes: targets in scenes from CSV or GeoJSON, checked line by line."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io.safe import read_bounded

MAX_BYTES = 64 << 20
MAX_CORNERS = 1000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
PLACES = {
    "corners": ("xmin", "ymin", "xmax", "ymax"),
    "box": ("row", "col", "rows", "cols"),
    "position": ("latitude", "longitude"),
    "point": ("row", "col"),
}
PLACE_NAMES = tuple(dict.fromkeys(name for names in PLACES.values() for name in names))
TEXTS = ("label", "class", "scene", "group_id", "name")
NUMBERS = ("azimuth_deg", "size_m")
WGS84 = ("urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:EPSG::4326", "EPSG:4326")


@dataclass(frozen=True)
class Annotation:
    """One target as a file of boxes gives it.

    Attributes:
        where: file and line, for messages.
        corners: points that the box encloses, one for a mere position: (row, column) in px, where pixel
            (0, 0) covers 0..1, or (latitude, longitude) in degrees.
        geographic: which of the two.
        size_m: side of the box about a single point; None for a box without size.
        scene: name of the scene's file, or its scene_id; None where every scene is meant.
        azimuth_deg: of the target.
    """

    where: str
    label: str
    corners: tuple[tuple[float, float], ...]
    geographic: bool
    size_m: float | None
    scene: str | None
    name: str | None
    group_id: str | None
    azimuth_deg: float | None


def read_annotations(path: Path) -> list[Annotation]:
    """Every target of a CSV or GeoJSON file.

    CSV (UTF-8, comma): ``label`` (or ``class``) and either ``xmin,ymin,xmax,ymax`` or ``row,col,rows,cols``
    in px, or points ``row,col`` (a pixel) or ``latitude,longitude`` with ``size_m``; and any of ``scene``,
    ``name``, ``group_id``, ``azimuth_deg``. GeoJSON (RFC 7946): points and polygons in longitude and
    latitude with the same words as properties. Other columns and properties are ignored, unless they are
    nearly spelled as one of these.

    Raises:
        DataError: naming the line (or feature) for anything missing, odd or given twice.
    """
    data = read_bounded(path, MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error}", fix="save the boxes as UTF-8") from error
    readers = {".csv": _read_csv, ".geojson": _read_geojson, ".json": _read_geojson}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: expected one of {', '.join(readers)}", fix="save the boxes as one of them")
    found = readers[path.suffix.lower()](text, str(path))
    if not found:
        raise DataError(f"{path}: holds no boxes, expected at least one", fix="add boxes, or use --grid")
    _check_twice(found)
    return found


def _read_csv(text: str, source: str) -> list[Annotation]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_names(header, (*TEXTS, *NUMBERS, *PLACE_NAMES), f"{source} line 1")
        kind = _kind(header, f"{source} line 1")
        found = []
        for cells in filter(None, reader):
            where = f"{source} line {reader.line_num}"
            if len(cells) != len(header):
                raise DataError(
                    f"{where}: {len(cells)} cells, expected {len(header)} as in the header",
                    fix="correct the line; put text with commas in quotes",
                )
            given = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
            values = _values(given, (*TEXTS, *NUMBERS, *PLACE_NAMES), where)
            found.append(_annotation(values, _corners(kind, values, where), kind == "position", where))
    except csv.Error as error:
        raise DataError(f"{source} line {reader.line_num}: {error}", fix="correct the line") from error
    return found


def _check_names(names: Sequence[str], known: Sequence[str], where: str) -> None:
    """Refuse names given twice, and ones that are probably meant to be one of ours."""
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{where}: {name!r} stands twice", fix="remove one of them")
        near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.8)
        if name not in known and near and near[0] not in names:
            raise DataError(
                f"{where}: {name!r} is not known, did you mean {near[0]!r}?",
                fix=f"rename it; known are {', '.join(known)}",
            )


def _kind(header: Sequence[str], where: str) -> str:
    """How boxes are placed: the one of ``PLACES`` whose columns are there."""
    there = [kind for kind, names in PLACES.items() if set(names) <= set(header)]
    if there == ["box", "point"]:
        there = ["box"]
    odd = set(PLACE_NAMES) & set(header)
    if len(there) != 1 or odd != set(PLACES[there[0]]):
        raise DataError(
            f"{where}: found columns {', '.join(header)}, expected exactly one of "
            + "; ".join(",".join(names) for names in PLACES.values()),
            fix="name the columns of the boxes so",
        )
    if there[0] in ("corners", "box") and "size_m" in header:
        raise DataError(
            f"{where}: size_m beside boxes that have a size", fix="remove it, or give points instead"
        )
    return there[0]


def _values(given: Mapping[str, Any], names: Iterable[str], where: str) -> dict[str, Any]:
    """What is given of ``names`` for one box, numbers read; a missing one is absent."""
    values: dict[str, Any] = {}
    for name in names:
        found = given.get(name)
        if found is None:
            continue
        values[name] = _text(name, found, where) if name in TEXTS else _number(name, found, where)
    return values


def _text(name: str, found: Any, where: str) -> str:
    text = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
    if not text or len(text) > 200 or not text.isprintable():
        raise DataError(f"{where}: {name} is {found!r:.80}, expected a short text", fix="correct it")
    if name == "name" and not NAME.fullmatch(text):
        raise DataError(
            f"{where}: name is {text!r}, expected up to 80 letters, digits, '.', '_', '+' or '-'",
            fix="it becomes part of a file name: rename the chip, or leave the name out",
        )
    return text


def _number(name: str, found: Any, where: str) -> float:
    try:
        value = math.nan if isinstance(found, bool | list | dict) else float(found)
    except (ValueError, OverflowError):
        value = math.nan
    largest = {"latitude": 90.0, "longitude": 180.0, "azimuth_deg": 360.0}.get(name, 2.0**31)
    if not abs(value) <= largest or (name == "size_m" and value <= 0):
        raise DataError(
            f"{where}: {name} is {found!r:.80}, expected a number up to {largest:g}"
            + (" and above 0" if name == "size_m" else ""),
            fix="correct it",
        )
    return value


def _corners(kind: str, values: Mapping[str, Any], where: str) -> tuple[tuple[float, float], ...]:
    missing = [name for name in PLACES[kind] if name not in values]
    if missing:
        raise DataError(f"{where}: {', '.join(missing)} is empty", fix="fill it in or remove the line")
    first, second, *rest = (values[name] for name in PLACES[kind])
    if kind == "position":
        return ((first, second),)
    if kind == "point":
        return ((first + 0.5, second + 0.5),)
    low, high = ((second, first), tuple(rest[::-1])) if kind == "corners" else ((first, second), tuple(rest))
    if kind == "box":
        high = (low[0] + high[0], low[1] + high[1])
    if high[0] <= low[0] or high[1] <= low[1]:
        raise DataError(
            f"{where}: box from row {low[0]:g} to {high[0]:g} and column {low[1]:g} to {high[1]:g} is empty",
            fix="give the first corner before the last, and a size above 0",
        )
    return low, (high[0], high[1])


def _annotation(
    values: Mapping[str, Any], corners: tuple[tuple[float, float], ...], geographic: bool, where: str
) -> Annotation:
    if ("label" in values) == ("class" in values):
        raise DataError(f"{where}: expected either label or class, filled in", fix="give each box one label")
    return Annotation(
        where=where,
        label=values.get("label") or values["class"],
        corners=corners,
        geographic=geographic,
        size_m=values.get("size_m"),
        scene=values.get("scene"),
        name=values.get("name"),
        group_id=values.get("group_id"),
        azimuth_deg=values.get("azimuth_deg"),
    )


def _read_geojson(text: str, source: str) -> list[Annotation]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: not readable JSON: {error}", fix="write it as GeoJSON") from error
    features = data.get("features") if isinstance(data, dict) else None
    if not isinstance(features, list) or data.get("type") != "FeatureCollection":
        raise DataError(
            f"{source}: expected a GeoJSON FeatureCollection", fix="export the boxes as GeoJSON (RFC 7946)"
        )
    _check_crs(data.get("crs"), source)
    return [_feature(feature, f"{source} feature {index + 1}") for index, feature in enumerate(features)]


def _check_crs(crs: Any, source: str) -> None:
    """GeoJSON is in WGS 84; older files may say so, or something else."""
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else crs
    if crs is not None and name not in WGS84:
        raise DataError(
            f"{source}: coordinates in {str(name)[:80]}, expected longitude and latitude (WGS 84)",
            fix="export it again in EPSG:4326",
        )


def _feature(feature: Any, where: str) -> Annotation:
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    properties = (feature.get("properties") or {}) if isinstance(feature, dict) else {}
    if not isinstance(geometry, dict) or not isinstance(properties, dict):
        raise DataError(f"{where}: has no geometry", fix="give each feature a Point or Polygon")
    _check_names([str(name) for name in properties], (*TEXTS, *NUMBERS), where)
    kind, points = geometry.get("type"), geometry.get("coordinates")
    if kind == "Polygon" and isinstance(points, list) and points:
        corners = points[0]
    elif kind == "Point":
        corners = [points]
    else:
        raise DataError(
            f"{where}: geometry {str(kind)[:40]}, expected Point or Polygon", fix="draw boxes or points"
        )
    if not isinstance(corners, list) or not 1 <= len(corners) <= MAX_CORNERS:
        raise DataError(f"{where}: has no corners, or more than {MAX_CORNERS}", fix="draw it again")
    values = _values(properties, (*TEXTS, *NUMBERS), where)
    if kind == "Polygon" and "size_m" in values:
        raise DataError(f"{where}: size_m beside a polygon, which has a size", fix="remove it")
    return _annotation(values, tuple(_position(corner, where) for corner in corners), True, where)


def _position(corner: Any, where: str) -> tuple[float, float]:
    if not isinstance(corner, list) or len(corner) not in (2, 3):
        raise DataError(
            f"{where}: coordinate {str(corner)[:60]}, expected [longitude, latitude]", fix="correct it"
        )
    return _number("latitude", corner[1], where), _number("longitude", corner[0], where)


def _check_twice(annotations: Sequence[Annotation]) -> None:
    """The same box, or the same chip name in one scene, must not stand twice, whatever its label."""
    seen: dict[object, Annotation] = {}
    for annotation in annotations:
        keys: list[object] = [(annotation.scene, annotation.corners, annotation.size_m)]
        if annotation.name is not None:
            keys.append((annotation.scene, annotation.name))
        for key in keys:
            first = seen.setdefault(key, annotation)
            if first is not annotation:
                raise DataError(
                    f"{annotation.where} ({annotation.label}) repeats {first.where} ({first.label})",
                    fix="remove one of them: a box has one label, and a name one box",
                )
