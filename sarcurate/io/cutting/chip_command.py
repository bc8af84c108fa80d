"""Scenes to a ChipSet folder in one go: cut, taken in, and there only when all went well."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sarcurate.core.radiometry import Radiometry, to_db, to_intensity
from sarcurate.errors import DataError, ParamsError
from sarcurate.io.cutting.chipper import Cutting, Order, cut_boxes, cut_grid
from sarcurate.io.cutting.cutting_plan import ChipSize, Grid
from sarcurate.io.cutting.scene_survey import Opener
from sarcurate.io.intake import SizeRule, take_in
from sarcurate.io.raster import read_chip
from sarcurate.io.raw import RawSet
from sarcurate.io.safe import resolve_inside
from sarcurate.io.sensors import SensorProfile

SAMPLED_CHIPS = 64
DISPLAY_STEP_DB = 5.0


@dataclass(frozen=True)
class BoxFile:
    """A file of boxes and the size of the chips about them."""

    path: Path
    size: ChipSize


def order_of(radiometry: str, profile: SensorProfile, border: str, licence: str) -> Order:
    """The order that words of the command line give; ParamsError for an unknown word."""
    kinds = [kind.value for kind in Radiometry]
    for option, found, known in (("radiometry", radiometry, kinds), ("border", border, ["skip", "error"])):
        if found not in known:
            raise ParamsError(
                f"--{option} {found}: expected one of {', '.join(known)}", fix="give one of these"
            )
    if not licence.strip():
        raise ParamsError("--licence is empty", fix="say under which terms the chips may be used")
    return Order(Radiometry(radiometry), profile, border, licence)


def boxes_of(
    path: Path | None, footprint_m: float | None, margin_m: float | None, share: float | None, *, given: bool
) -> BoxFile | None:
    """The boxes asked for; None in grid mode. ParamsError where options do not fit together."""
    if given != (path is not None) or (not given and (margin_m is not None or share is not None)):
        raise ParamsError(
            "expected either --boxes FILE, or --grid without a margin",
            fix="add --boxes FILE, or --grid --footprint METRES --step METRES --label NAME",
        )
    return None if path is None else BoxFile(path, ChipSize(footprint_m, margin_m, share))


def grid_of(
    footprint_m: float | None, step_m: float | None, label: str | None, *, given: bool
) -> Grid | None:
    """The grid asked for; None with boxes. ParamsError where options do not fit together."""
    if not given:
        if step_m is not None or label is not None:
            raise ParamsError("--step and --label are for --grid; boxes have labels", fix="leave them out")
        return None
    if footprint_m is None or step_m is None or not (label or "").strip():
        raise ParamsError(
            "--grid needs --footprint, --step and --label",
            fix="for example --grid --footprint 100 --step 50 --label clutter",
        )
    return Grid(footprint_m, step_m, str(label))


def cutter(
    paths: Sequence[Path], opener: Opener, order: Order, boxes: BoxFile | None, grid: Grid | None
) -> Callable[[Path], Cutting]:
    """A function that cuts all scenes into the folder it is given."""

    def cut(out: Path) -> Cutting:
        if boxes is not None:
            return cut_boxes(paths, opener, boxes.path, None, boxes.size, order, out)
        assert grid is not None
        return cut_grid(paths, opener, grid, order, out)

    return cut


def make_chipset(
    cut: Callable[[Path], Cutting],
    profile: SensorProfile,
    display_db: tuple[float, float] | None,
    out: Path,
) -> tuple[str, ...]:
    """Write the ChipSet of what ``cut`` puts into the folder it is given; sentences for the terminal.

    Args:
        display_db: window of the previews; None takes the profile's for sigma0, else one from the chips.
        out: missing or empty; it appears complete or not at all.

    Raises:
        DataError: where ``out`` holds something, and all that cutting and taking in raise.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there already and not empty", fix="name another folder, or remove it")
    above = next(folder for folder in out.absolute().parents if folder.is_dir())
    with TemporaryDirectory(dir=above, prefix=f".{out.name}.", suffix=".part") as work:
        raw, chips = Path(work) / "raw", Path(work) / "chips"
        raw.mkdir()
        cutting = cut(raw)
        window = display_db or _display_window(cutting.raw, profile)
        count = take_in(cutting.raw, profile, window, SizeRule("keep", None), chips)
        out.parent.mkdir(parents=True, exist_ok=True)
        chips.replace(out)
    table = cutting.raw.table
    total = (
        f"{out}: {count} chips, {table['label'].nunique()} labels, {table['group_id'].nunique()} groups, "
        f"radiometry {cutting.raw.radiometry}"
    )
    return (*cutting.said, total)


def scene_paths(root: Path, patterns: Sequence[str] | None) -> list[Path]:
    """Scenes below a folder by names or glob patterns, sorted; ``root`` itself where there are none.

    Raises:
        DataError: for a pattern that leaves the folder or finds nothing.
    """
    if patterns is None:
        return [root]
    found: dict[Path, None] = {}
    for pattern in patterns:
        resolve_inside(root, pattern)
        matches = sorted(root.glob(pattern))
        if not matches:
            raise DataError(
                f"{root}: nothing matches {pattern!r}", fix="correct path or scenes in the params"
            )
        for match in matches:
            resolve_inside(root, match.relative_to(root).as_posix())
        found.update(dict.fromkeys(matches))
    return list(found)


def _display_window(raw: RawSet, profile: SensorProfile) -> tuple[float, float]:
    """The profile's sigma0 window, or the 1st to 99.9th percentile of some chips in whole steps."""
    if raw.radiometry is Radiometry.SIGMA0 and profile.display_db is not None:
        return profile.display_db
    paths = sorted(raw.table["path"])
    some = paths[:: max(1, math.ceil(len(paths) / SAMPLED_CHIPS))]
    values = [read_chip(resolve_inside(raw.root, path)).values.ravel() for path in some]
    intensity = to_intensity(np.concatenate(values), raw.radiometry)
    low, high = np.percentile(to_db(intensity[intensity > 0]), [1.0, 99.9])
    low_db, high_db = math.floor(low / DISPLAY_STEP_DB), math.ceil(high / DISPLAY_STEP_DB)
    return DISPLAY_STEP_DB * low_db, DISPLAY_STEP_DB * max(high_db, low_db + 1)
