"""Pictures of a dataset card: arms, and released chips of a few classes through the sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sarcurate.io import arms_table, figures, overview
from sarcurate.io.chipset import ChipSet
from sarcurate.io.hub.packing import Contents

ARMS, OVERVIEW = "arms.png", "overview.png"
MOST_CLASSES = 4  # more rows would not be read
SHOWN = ("physics", "psd", "migrated")  # made of source chips, so that a row can follow one


def write_figures(
    out: Path, contents: Contents, released: Mapping[str, frozenset[str]], arms: Any, in_metres: bool
) -> tuple[str, ...]:
    """Write the pictures; their names. No overview where some class has no released chip in every set.

    Args:
        released: ids of released chips by set; arms: of ``metrics/evaluation.json``.
    """
    accuracies = arms_table.accuracy_intervals(arms)
    (out / ARMS).write_bytes(figures.arms_intervals(accuracies, next(iter(arms))))
    classes = contents.classes
    places = np.linspace(0, len(classes) - 1, min(len(classes), MOST_CLASSES)).round().astype(int)
    shown = [classes[place] for place in places]
    chosen = _chosen(contents, released, shown)
    if chosen is None:
        return (ARMS,)
    (out / OVERVIEW).write_bytes(overview.draw(chosen, shown, in_metres))
    return ARMS, OVERVIEW


def _chosen(
    contents: Contents, released: Mapping[str, frozenset[str]], classes: Sequence[str]
) -> dict[str, ChipSet] | None:
    """The sets cut down to one source chip of each class, what was made of it, and a target chip."""
    names = ("source-train", *SHOWN, "target-train")
    rows: dict[str, list[int]] = {name: [] for name in names}
    for label in classes:
        found = {
            name: _of_class(contents.sets[name], released.get(name, frozenset()), label) for name in names
        }
        children = {name: _children(contents.sets[name], found[name]) for name in SHOWN}
        ids = contents.sets["source-train"].manifest["chip_id"].astype(str).to_numpy()
        parent = next(
            (row for row in found["source-train"] if all(ids[row] in children[name] for name in SHOWN)), None
        )
        if parent is None or not found["target-train"]:
            return None
        rows["source-train"].append(parent)
        rows["target-train"].append(found["target-train"][0])
        for name in SHOWN:
            rows[name].append(children[name][ids[parent]])
    opened = {name: contents.sets[name] for name in names}
    cut = {name: replace(chips, manifest=chips.manifest.iloc[rows[name]]) for name, chips in opened.items()}
    return {_title(name, chips): chips for name, chips in cut.items()}


def _title(name: str, chips: ChipSet) -> str:
    return f"{name.removesuffix('-train')} ({chips.header.sensor})" if name.endswith("-train") else name


def _of_class(chips: ChipSet, released: frozenset[str], label: str) -> list[int]:
    own = (chips.manifest["label"] == label).to_numpy()
    ids = chips.manifest["chip_id"].astype(str).to_numpy()
    return [int(row) for row in np.flatnonzero(own) if ids[row] in released]


def _children(chips: ChipSet, rows: Sequence[int]) -> dict[str, int]:
    """Row of the first chip made of each parent alone."""
    found: dict[str, int] = {}
    parents = chips.manifest["parents"].to_numpy()
    for row in rows:
        if len(parents[row]) == 1:
            found.setdefault(str(parents[row][0]), row)
    return found
