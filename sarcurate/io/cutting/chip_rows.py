"""Manifest rows of chips cut from a scene: where they lie, how they were seen, which belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from sarcurate.core.tie_grid import TieGrid
from sarcurate.core.windows import Windows, connected_sets, overlap_fractions, overlapping_pairs
from sarcurate.errors import DataError
from sarcurate.io.cutting.cutting_plan import Cut
from sarcurate.io.scenes.scene import Facts, Scene


def scene_folder(facts: Facts) -> str:
    """Folder of a scene's chips; part of their identity, so it is made of the scene's own names alone."""
    words = [facts.scene_id, facts.polarisation]
    name = "_".join(re.sub(r"[^A-Za-z0-9._+-]", "-", word) for word in words if word)
    return name[:120].lstrip(".") or "scene"


def chip_path(facts: Facts, cut: Cut) -> str:
    """Path of a chip below the raw folder."""
    return f"{scene_folder(facts)}/{cut.name}.npy"


def chip_rows(scene: Scene, cuts: Sequence[Cut], by_overlap: bool, licence: str) -> list[dict[str, Any]]:
    """One row per chip: path, label, group and what the product says at the chip's centre.

    Args:
        cuts: chips that were cut, at least one.
        by_overlap: chips that hang together by overlaps become one group; else the group is the one given,
            or the scene.

    Raises:
        DataError: where chips that overlap were given different groups.
    """
    common = _of_scene(scene.facts) | {"licence": licence}
    windows = np.array([[c.window.row, c.window.col, c.window.rows, c.window.cols] for c in cuts])
    columns = _at_centres(scene.facts, windows) | {
        "overlap_fraction": overlap_fractions(windows).tolist(),
        "group_id": _overlap_groups(scene, windows) if by_overlap else _groups(scene, cuts, windows),
        "path": [chip_path(scene.facts, cut) for cut in cuts],
        "label": [cut.label for cut in cuts],
        "azimuth_deg": [cut.azimuth_deg for cut in cuts],
        "first_row_px": windows[:, 0].tolist(),
        "first_col_px": windows[:, 1].tolist(),
    }
    return [common | {name: values[index] for name, values in columns.items()} for index in range(len(cuts))]


def _of_scene(facts: Facts) -> dict[str, Any]:
    return {
        "scene_id": facts.scene_id,
        "band": facts.band,
        "mode": facts.mode,
        "polarisation": facts.polarisation,
        "geometry": facts.geometry.value,
        "look_direction": facts.look_direction,
        "orbit_direction": facts.orbit_direction,
        "heading_deg": facts.azimuth_deg,
        "azimuth_spacing_m": facts.azimuth_spacing_m,
        "range_spacing_m": facts.range_spacing_m,
        "looks_nominal": facts.looks_nominal,
        "acquired_utc": facts.acquired_utc,
    }


def _at_centres(facts: Facts, windows: Windows) -> dict[str, list[Any]]:
    centres = windows[:, :2] + (windows[:, 2:] - 1) / 2

    def values(grid: TieGrid | None) -> list[Any]:
        if grid is None:
            return [None] * len(centres)
        return list(map(float, grid.at_points(centres[:, 0], centres[:, 1])))

    names = ("incidence_deg", "latitude_deg", "longitude_deg")
    return {name: values(getattr(facts, name)) for name in names}


def _overlap_groups(scene: Scene, windows: Windows) -> list[str]:
    firsts = windows[connected_sets(windows), :2]
    return [f"{scene.facts.scene_id}/r{row}-c{col}" for row, col in firsts]


def _groups(scene: Scene, cuts: Sequence[Cut], windows: Windows) -> list[str]:
    groups = [cut.group_id or scene.facts.scene_id for cut in cuts]
    for first, second in overlapping_pairs(windows):
        if groups[first] != groups[second]:
            raise DataError(
                f"{cuts[first].where} and {cuts[second].where} give overlapping chips of {scene.path} in the "
                f"groups {groups[first]!r} and {groups[second]!r}",
                fix="give both the same group_id: shared pixels must not straddle a split",
            )
    return groups
