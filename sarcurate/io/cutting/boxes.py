"""Boxes of targets in the pixels of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sarcurate.core.geolocation import find_pixel
from sarcurate.errors import DataError
from sarcurate.io.cutting.annotations import Annotation, read_annotations
from sarcurate.io.scenes.scene import Scene


@dataclass(frozen=True)
class Box:
    """A target in a scene's pixels: ``rows`` by ``cols`` from (``row``, ``col``), which may be fractions.

    Pixel (0, 0) covers 0..1; a mere position has no rows and columns.
    """

    label: str
    row: float
    col: float
    rows: float
    cols: float
    name: str | None
    group_id: str | None
    azimuth_deg: float | None
    where: str


def read_boxes(path: Path, scene: Scene) -> list[Box]:
    """The boxes of a file that lie in one scene, in the order of the file.

    Raises:
        DataError: as :func:`read_annotations` and :func:`place`; for a position outside of the scene.
    """
    boxes, outside = place(annotations_of(read_annotations(path), scene), scene)
    if outside:
        raise DataError(f"{outside[0]} lies outside of {scene.path}", fix="remove it, or name its scene")
    return boxes


def annotations_of(annotations: Sequence[Annotation], scene: Scene) -> list[Annotation]:
    """Those that name this scene (its file's name, with or without suffix, or its scene_id) or none."""
    names = {None, scene.path.name, scene.path.stem, scene.facts.scene_id}
    return [annotation for annotation in annotations if annotation.scene in names]


def place(annotations: Sequence[Annotation], scene: Scene) -> tuple[list[Box], list[str]]:
    """Boxes in the scene's pixels, and where those stand whose position the scene does not hold.

    Raises:
        DataError: where a size in metres or a position is given and the scene has no spacing or no tie grids.
    """
    boxes, outside = [], []
    for annotation in annotations:
        corners = _in_pixels(annotation, scene)
        if corners is None:
            outside.append(annotation.where)
        else:
            boxes.append(_box(annotation, corners, scene))
    return boxes, outside


def _in_pixels(annotation: Annotation, scene: Scene) -> Sequence[tuple[float, float]] | None:
    if not annotation.geographic:
        return annotation.corners
    latitude, longitude = scene.facts.latitude_deg, scene.facts.longitude_deg
    if latitude is None or longitude is None:
        raise DataError(
            f"{annotation.where} gives latitude and longitude, but {scene.path} has no positions",
            fix="give boxes in pixels: row, col, rows, cols",
        )
    found = [find_pixel(latitude, longitude, scene.shape, corner) for corner in annotation.corners]
    inside = [(row + 0.5, col + 0.5) for row, col in filter(None, found)]
    return inside if len(inside) == len(found) else None


def _box(annotation: Annotation, corners: Sequence[tuple[float, float]], scene: Scene) -> Box:
    top, left = (min(corner[axis] for corner in corners) for axis in (0, 1))
    bottom, right = (max(corner[axis] for corner in corners) for axis in (0, 1))
    half_rows, half_cols = 0.0, 0.0
    if annotation.size_m is not None:
        spacing_m = scene.facts.azimuth_spacing_m, scene.facts.range_spacing_m
        if spacing_m[0] is None or spacing_m[1] is None:
            raise DataError(
                f"{annotation.where} gives size_m, but {scene.path} has no pixel spacing",
                fix="name a sensor profile that has it, or give boxes in pixels",
            )
        half_rows, half_cols = (annotation.size_m / 2.0 / step_m for step_m in spacing_m if step_m)
    return Box(
        annotation.label,
        top - half_rows,
        left - half_cols,
        bottom - top + 2.0 * half_rows,
        right - left + 2.0 * half_cols,
        annotation.name,
        annotation.group_id,
        annotation.azimuth_deg,
        annotation.where,
    )
