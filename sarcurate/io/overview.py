"""One chip of each class through every set: the figure that shows at a glance what a data set holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sarcurate.core.display import to_uint8_db
from sarcurate.errors import DataError
from sarcurate.io import figures
from sarcurate.io.chipset import ChipSet

Row = Mapping[str, Any]


def draw(sets: Mapping[str, ChipSet], classes: Sequence[str], in_metres: bool) -> bytes:
    """PNG with a row per class and a column per set, each set over its own display window.

    Made chips stand beside the source chip that they were made of. Target chips are other objects, so
    level, resolution and speckle may be compared with theirs, not the scene.

    Args:
        sets: by heading; the source sensor's first, the target's last, made sets between; train chips only.
        classes: classes to show.
        in_metres: scale the axes by the chips' spacing; otherwise they count pixels.

    Raises:
        DataError: when a class has no chip in a set, or no source chip whose made chips are all there.
    """
    panels = [
        [_panel(sets[name], row, in_metres) for name, row in _matched(sets, label).items()]
        for label in classes
    ]
    return figures.overview(panels, classes, list(sets))


def _matched(sets: Mapping[str, ChipSet], label: str) -> dict[str, Row]:
    """The first source chip of a class (by id), the chip that each made set made of it, and a target chip."""
    source, *made, target = sets
    rows = {name: [row for row in chips.rows() if row["label"] == label] for name, chips in sets.items()}
    children = {name: {tuple(row["parents"]): row for row in rows[name]} for name in made}
    for parent in rows[source]:
        key = (parent["chip_id"],)
        if rows[target] and all(key in children[name] for name in made):
            return {source: parent, **{name: children[name][key] for name in made}, target: rows[target][0]}
    raise DataError(
        f"overview: class {label} has no source chip that is in all of {made}, or no chip in {target}",
        fix="rebuild the made sets with `dvc repro`",
    )


def _panel(chips: ChipSet, row: Row, in_metres: bool) -> figures.Panel:
    image = to_uint8_db(chips.intensity(row["chip_id"]), *chips.header.display_db)
    sides_m = (image.shape[0] * row["azimuth_spacing_m"], image.shape[1] * row["range_spacing_m"])
    return figures.Panel(image, sides_m if in_metres else None)
