"""What to cut from a scene: windows about boxes, or the windows of a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sarcurate.core.windows import grid_count, grid_windows, side_px
from sarcurate.errors import DataError, ParamsError
from sarcurate.io.cutting.boxes import Box
from sarcurate.io.safe import IMAGE_LIMITS, check_image_bounds
from sarcurate.io.scenes.scene import Scene, Window

MAX_WINDOWS = 1_000_000  # of a grid, so that a step in the wrong unit ends at once


@dataclass(frozen=True)
class ChipSize:
    """How large a chip about a box is; exactly one is given.

    Args:
        footprint_m: side of a square about the box's centre, in the scene's own metres along each axis.
        margin_m: added on all sides of the box.
        margin_share: likewise, as a share of the box's rows and columns.
    """

    footprint_m: float | None = None
    margin_m: float | None = None
    margin_share: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.footprint_m, self.margin_m, self.margin_share) if value is not None]
        if len(given) != 1 or not (math.isfinite(given[0]) and given[0] >= 0) or self.footprint_m == 0:
            raise ParamsError(
                f"chip size: footprint {self.footprint_m} m, margin {self.margin_m} m, margin share "
                f"{self.margin_share}; expected exactly one of them",
                fix="give a footprint > 0, or one of the margins >= 0",
            )


@dataclass(frozen=True)
class Grid:
    """Square windows of ``footprint_m``, one every ``step_m`` along rows and columns, all with one label."""

    footprint_m: float
    step_m: float
    label: str

    def __post_init__(self) -> None:
        if not all(math.isfinite(length) and length > 0 for length in (self.footprint_m, self.step_m)):
            raise ParamsError(
                f"grid: footprint {self.footprint_m} m, step {self.step_m} m; expected both > 0",
                fix="give both in metres",
            )


@dataclass(frozen=True)
class Cut:
    """One chip to cut; ``group_id`` None: to be decided by who cuts. ``where`` is for messages."""

    window: Window
    label: str
    name: str
    group_id: str | None
    azimuth_deg: float | None
    where: str


@dataclass(frozen=True)
class Plan:
    """Chips to cut from one scene, and what is left out.

    Attributes:
        by_overlap: chips without a group are grouped by their overlaps, not by scene.
        skipped: where those boxes stand whose chip leaves the scene.
        notes: what else a user should know.
    """

    cuts: tuple[Cut, ...]
    by_overlap: bool
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def plan_boxes(scene: Scene, boxes: Sequence[Box], size: ChipSize, border: str) -> Plan:
    """One chip about each box, in order of rows and columns.

    Args:
        border: ``skip`` leaves out chips that leave the scene, ``error`` refuses them; none is ever padded.

    Raises:
        DataError: for a chip that leaves the scene (by ``border``), a box without size or a scene without
            spacing where either is needed, two boxes with one window, too large a chip.
    """
    cuts, skipped, cut_off = [], [], 0
    for box in boxes:
        window = _about(box, size, scene)
        if _inside(window, scene.shape):
            cuts.append(
                Cut(window, box.label, box.name or _name(window), box.group_id, box.azimuth_deg, box.where)
            )
            cut_off += box.rows > window.rows or box.cols > window.cols
        elif border == "skip":
            skipped.append(box.where)
        else:
            raise DataError(
                f"{box.where}: the chip of {window.rows} x {window.cols} px at row {window.row}, column "
                f"{window.col} leaves {scene.path} of {scene.shape[0]} x {scene.shape[1]} px",
                fix="remove the box, take a smaller margin or footprint, or let such boxes be skipped",
            )
    _check_windows(cuts)
    notes = (
        (f"{cut_off} box(es) larger than the footprint, so in part outside of their chips",)
        if cut_off
        else ()
    )
    return Plan(tuple(_in_order(cuts)), False, tuple(skipped), notes)


def plan_grid(scene: Scene, grid: Grid) -> Plan:
    """Every window of a grid that lies inside the scene.

    Raises:
        DataError: where not one fits, the scene has no spacing, or more than a million would.
    """
    spacing_m = spacing_of(scene)
    size, step = (
        (side_px(length_m, spacing_m[0]), side_px(length_m, spacing_m[1]))
        for length_m in (grid.footprint_m, grid.step_m)
    )
    check_image_bounds(size, 4, IMAGE_LIMITS, f"a chip of {scene.path}")
    count = math.prod(grid_count(scene.shape, size, step))
    if not 0 < count <= MAX_WINDOWS:
        raise DataError(
            f"{scene.path}: a grid of {size[0]} x {size[1]} px every {step[0]} x {step[1]} px has {count} "
            f"windows in {scene.shape[0]} x {scene.shape[1]} px, expected 1 to {MAX_WINDOWS}",
            fix="change footprint and step; both are in metres",
        )
    windows = [Window(*map(int, corner)) for corner in grid_windows(scene.shape, size, step)]
    return Plan(tuple(Cut(window, grid.label, _name(window), None, None, "grid") for window in windows), True)


def spacing_of(scene: Scene) -> tuple[float, float]:
    """(row, column) spacing in metres; DataError where it is not known."""
    rows_m, cols_m = scene.facts.azimuth_spacing_m, scene.facts.range_spacing_m
    if rows_m is None or cols_m is None:
        raise DataError(
            f"{scene.path}: the pixel spacing is unknown, expected metres along rows and columns",
            fix="name a sensor profile that has azimuth_spacing_m and range_spacing_m",
        )
    return rows_m, cols_m


def _about(box: Box, size: ChipSize, scene: Scene) -> Window:
    if size.footprint_m is not None:
        rows, cols = (side_px(size.footprint_m, step_m) for step_m in spacing_of(scene))
        # of two equally good places the first, so that a target's pixel is number rows // 2 of an even chip
        top = math.ceil(box.row + (box.rows - rows) / 2 - 0.5)
        left = math.ceil(box.col + (box.cols - cols) / 2 - 0.5)
    else:
        if box.rows <= 0 or box.cols <= 0:
            raise DataError(
                f"{box.where}: a point without size, expected one to add a margin to",
                fix="give size_m with the points, or a fixed footprint",
            )
        above, beside = _margins_px(box, size, scene)
        top, left = math.floor(box.row - above), math.floor(box.col - beside)
        rows = math.ceil(box.row + box.rows + above) - top
        cols = math.ceil(box.col + box.cols + beside) - left
    check_image_bounds((rows, cols), 4, IMAGE_LIMITS, f"{box.where}: chip")
    return Window(top, left, rows, cols)


def _margins_px(box: Box, size: ChipSize, scene: Scene) -> tuple[float, float]:
    if size.margin_m is not None:
        rows_m, cols_m = spacing_of(scene) if size.margin_m else (1.0, 1.0)
        return size.margin_m / rows_m, size.margin_m / cols_m
    assert size.margin_share is not None
    return size.margin_share * box.rows, size.margin_share * box.cols


def _inside(window: Window, shape: tuple[int, int]) -> bool:
    return (
        window.row >= 0
        and window.col >= 0
        and window.row + window.rows <= shape[0]
        and window.col + window.cols <= shape[1]
    )


def _name(window: Window) -> str:
    return f"r{window.row}-c{window.col}-{window.rows}x{window.cols}"


def _in_order(cuts: Sequence[Cut]) -> list[Cut]:
    """Neighbours one after another, so that blocks of a file are read once."""
    return sorted(cuts, key=lambda cut: (cut.window.row, cut.window.col, cut.name))


def _check_windows(cuts: Sequence[Cut]) -> None:
    """No two chips of one scene with the same pixels or the same file name."""
    seen: dict[object, Cut] = {}
    for cut in cuts:
        for key in (cut.window, cut.name.casefold()):
            first = seen.setdefault(key, cut)
            if first is not cut:
                raise DataError(
                    f"{cut.where} ({cut.label}) gives the same chip or chip name as "
                    f"{first.where} ({first.label})",
                    fix="remove one of them: a picture must not stand in a set twice",
                )
