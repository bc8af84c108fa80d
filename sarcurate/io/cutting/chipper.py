"""Chips cut from scenes into a raw folder, with what the products say of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.execution import track
from sarcurate.io.cutting.annotations import Annotation, read_annotations
from sarcurate.io.cutting.boxes import annotations_of, place
from sarcurate.io.cutting.chip_rows import chip_path, chip_rows, scene_folder
from sarcurate.io.cutting.cutting_plan import ChipSize, Grid, Plan, plan_boxes, plan_grid
from sarcurate.io.cutting.scene_survey import Opener, completed, survey
from sarcurate.io.raw import RawSet
from sarcurate.io.scenes.scene import NoSamplesError, Scene, Window
from sarcurate.io.sensors import SensorProfile


@dataclass(frozen=True)
class Order:
    """What holds for every chip of one run.

    Args:
        radiometry: of the chips; every scene must reach it.
        profile: of the sensor; gives spacing, band and looks where the product does not.
        border: ``skip`` leaves out (and counts) chips at borders and without samples, ``error`` refuses them.
        licence: of the chips.
    """

    radiometry: Radiometry
    profile: SensorProfile
    border: str
    licence: str


@dataclass(frozen=True)
class Cutting:
    """The raw set that was cut, and sentences for the terminal."""

    raw: RawSet
    said: tuple[str, ...]


def cut_boxes(
    paths: Sequence[Path],
    opener: Opener,
    boxes: Path,
    labels: Mapping[str, str | None] | None,
    size: ChipSize,
    order: Order,
    out: Path,
) -> Cutting:
    """Cut a chip about every box of a file from the scenes it names.

    Args:
        opener: opens one path as a scene.
        labels: label in the file -> label of the chip, or None to leave the box out; None keeps all labels.

    Raises:
        DataError: for boxes and windows that are wrong, scenes that cannot be read or told apart, another
            band than the profile's, overlapping chips in different groups, not a single chip.
        RadiometryError: where a scene does not reach the radiometry, naming all such scenes.
    """
    annotations = _renamed(read_annotations(boxes), labels)
    if len(paths) > 1 and any(a.scene is None and not a.geographic for a in annotations):
        raise DataError(
            f"{boxes}: boxes in pixels without a scene, but {len(paths)} scenes are to be cut",
            fix="add a column scene with each box's file name, or cut one scene at a time",
        )

    def plan(scene: Scene) -> Plan:
        found, outside = place(annotations_of(annotations, scene), scene)
        planned = plan_boxes(scene, found, size, order.border)
        if outside and order.border == "error" and len(paths) == 1:
            raise DataError(f"{outside[0]} lies outside of {scene.path}", fix="remove it or name its scene")
        return replace(planned, skipped=(*planned.skipped, *outside))

    return _cut(paths, opener, plan, order, out, {a.scene for a in annotations if a.scene is not None})


def cut_grid(paths: Sequence[Path], opener: Opener, grid: Grid, order: Order, out: Path) -> Cutting:
    """Cut every window of a grid from each scene; chips that hang together by overlaps are one group.

    Raises:
        DataError: as :func:`cut_boxes`, and where the grid does not fit a scene.
        RadiometryError: as :func:`cut_boxes`.
    """
    return _cut(paths, opener, lambda scene: plan_grid(scene, grid), order, out, set())


def read_windows(
    scene: Scene, windows: Sequence[Window], radiometry: Radiometry, border: str
) -> Iterator[NDArray[Any] | None]:
    """Detected pixels of each window; None for one without samples where ``border`` is ``skip``.

    Whole numbers stay what they are where nothing is computed: uint8 and uint16 as stored, else float32.

    Raises:
        DataError: where a window cannot be read; with ``border`` ``error`` also where it holds no samples, or
            zeros only.
    """
    whole = {"uint8": np.uint8, "uint16": np.uint16}.get(scene.facts.pixel_type)
    as_stored = whole is not None and radiometry is scene.facts.radiometry
    for window in windows:
        try:
            pixels = scene.detected(window, radiometry)
            if not pixels.any():
                raise NoSamplesError(
                    f"{scene.path}: only zeros in the window at row {window.row}, column {window.col}",
                    fix="choose windows inside the valid part of the scene",
                )
        except NoSamplesError:
            if border == "error":
                raise
            yield None
            continue
        yield pixels.astype(whole) if as_stored else pixels


def _renamed(annotations: Sequence[Annotation], labels: Mapping[str, str | None] | None) -> list[Annotation]:
    if labels is None:
        return list(annotations)
    unknown = next((a for a in annotations if a.label not in labels), None)
    if unknown is not None:
        raise DataError(
            f"{unknown.where}: label {unknown.label!r} is none of {sorted(labels)}",
            fix="correct it, or add it to labels (null leaves its boxes out)",
        )
    named = [(a, labels[a.label]) for a in annotations]
    return [replace(a, label=label) for a, label in named if label is not None]


def _cut(
    paths: Sequence[Path],
    opener: Opener,
    planner: Callable[[Scene], Plan],
    order: Order,
    out: Path,
    named: set[str],
) -> Cutting:
    """Cut every scene as planned; ``named`` are the scenes that boxes speak of."""
    known = survey(paths, opener, order.radiometry, order.profile)
    rows: list[dict[str, Any]] = []
    said: list[str] = []
    several = len(paths) > 1
    for path in track(paths, "cutting scenes", len(paths)) if several else paths:
        with opener(path) as opened:
            scene = completed(opened, order.profile)
            plan = planner(scene)
            found = _cut_scene(scene, plan, order, out, quiet=several)
            rows += found
            said.append(_tell(scene, plan, len(found)))
    if not rows:
        raise DataError(
            f"no chip was cut from {len(paths)} scene(s): " + "; ".join(said),
            fix="check that the boxes name these scenes, and the size of chips against the scenes",
        )
    absent = sorted(named - known.names)
    if absent:
        said.append(f"warning: boxes of scenes that were not given are left out: {', '.join(absent[:5])}")
    raw = RawSet(out, pd.DataFrame(rows), order.radiometry, "real")
    return Cutting(raw, (*said, *known.warnings))


def _cut_scene(scene: Scene, plan: Plan, order: Order, out: Path, *, quiet: bool) -> list[dict[str, Any]]:
    """Write the chips of one scene below ``out``; their manifest rows."""
    (out / scene_folder(scene.facts)).mkdir(parents=True, exist_ok=True)
    chips = read_windows(scene, [cut.window for cut in plan.cuts], order.radiometry, order.border)
    shown = chips if quiet else track(chips, f"cutting {scene.path.name}", len(plan.cuts))
    kept = []
    for cut, pixels in zip(plan.cuts, shown, strict=True):
        if pixels is not None:
            np.save(out / chip_path(scene.facts, cut), pixels)
            kept.append(cut)
    return chip_rows(scene, kept, plan.by_overlap, order.licence) if kept else []


def _tell(scene: Scene, plan: Plan, count: int) -> str:
    parts = [f"{count} chip(s)"]
    empty = len(plan.cuts) - count
    if plan.skipped:
        first = ", ".join(plan.skipped[:3]) + (", ..." if len(plan.skipped) > 3 else "")
        parts.append(f"{len(plan.skipped)} box(es) skipped at the border or outside ({first})")
    if empty:
        parts.append(f"{empty} window(s) skipped without samples")
    return f"{scene.path.name}: " + ", ".join([*parts, *plan.notes])
