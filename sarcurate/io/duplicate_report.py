"""Which chips of a folder show the same picture, and which of them are filed under different labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.near_duplicates import (
    SAME_PICTURE,
    near_duplicate_groups,
    near_duplicate_pairs,
    picture_codes,
)
from sarcurate.core.picture_code import SMALLEST_SIDE_PX
from sarcurate.errors import DataError
from sarcurate.io import raster
from sarcurate.io.chipset import HEADER, open_chipset
from sarcurate.io.safe import atomic_write, resolve_inside
from sarcurate.io.sources import read_class_folders

SHOWN = 5  # label conflicts spelled out in the summary
CSV_COLUMNS = ["group", "path", "label", "highest_similarity", "label_conflict"]


@dataclass(frozen=True)
class ListedChips(Sequence[NDArray[np.generic]]):
    """Chips of a folder, decoded one by one when asked for; ``paths`` below ``root``."""

    root: Path
    paths: tuple[str, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        return raster.read_chip(resolve_inside(self.root, self.paths[index])).values


@dataclass(frozen=True)
class Duplicates:
    """Groups of near duplicates among listed chips.

    Attributes:
        chips: what was searched.
        groups: indices of the chips of each group of two or more, largest group first.
        best: highest similarity of each chip to another, 0 where none was found.
        not_compared: chips too small or too plain to be compared.
    """

    chips: ListedChips
    groups: tuple[tuple[int, ...], ...]
    best: tuple[float, ...]
    not_compared: int

    @property
    def conflicts(self) -> tuple[tuple[int, ...], ...]:
        """Groups with more than one label."""
        return tuple(group for group in self.groups if len({self.chips.labels[i] for i in group}) > 1)

    def numbers(self) -> dict[str, Any]:
        """The result as plain data."""
        sizes, conflicts = [len(group) for group in self.groups], self.conflicts
        return {
            "folder": str(self.chips.root),
            "similarity_threshold": SAME_PICTURE,
            "n_chips": len(self.chips),
            "n_not_compared": self.not_compared,
            "n_groups": len(sizes),
            "n_chips_in_groups": sum(sizes),
            "n_pictures": len(self.chips) - sum(sizes) + len(sizes),
            "largest_group": max(sizes, default=1),
            "n_label_conflicts": len(conflicts),
            "n_chips_in_label_conflicts": sum(map(len, conflicts)),
            "groups": [[self.chips.paths[i] for i in group] for group in self.groups],
            "label_conflicts": [[self.chips.paths[i] for i in group] for group in conflicts],
        }


def list_chips(folder: Path) -> ListedChips:
    """Chips of a ChipSet, or of class folders whose names are the labels.

    Raises:
        DataError: for another kind of folder.
    """
    if (folder / HEADER).is_file():
        manifest = open_chipset(folder, splits=("all", "train")).manifest
        return ListedChips(folder, tuple(manifest["file_name"]), tuple(manifest["label"]))
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", fix="name a ChipSet or a folder of class folders")
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[:1] != ".")
    if not classes:
        raise DataError(
            f"{folder} holds neither {HEADER} nor class folders",
            fix="name a ChipSet, or a folder with one folder of chips per class",
        )
    table = read_class_folders(folder, classes)
    return ListedChips(folder, tuple(table["path"]), tuple(table["label"]))


def find_duplicates(chips: ListedChips, workers: int = 1) -> Duplicates:
    """Search the chips for near duplicates; the result is the same for any number of workers."""
    codes = picture_codes(chips, workers)
    pairs = near_duplicate_pairs(codes, workers=workers)
    best = np.zeros(len(chips))
    np.maximum.at(best, pairs.first, pairs.similarity)
    np.maximum.at(best, pairs.second, pairs.similarity)
    members: dict[int, list[int]] = {}
    for index, group in enumerate(near_duplicate_groups(pairs, len(chips)).tolist()):
        members.setdefault(group, []).append(index)
    groups = sorted(
        (tuple(found) for found in members.values() if len(found) > 1), key=lambda g: (-len(g), g)
    )
    return Duplicates(chips, tuple(groups), tuple(best.tolist()), int((~codes.any(axis=1)).sum()))


def summary(found: Duplicates) -> list[str]:
    """Lines for the terminal."""
    numbers = found.numbers()
    lines = [
        "{n_chips} chips, {n_pictures} pictures: {n_chips_in_groups} chips in {n_groups} groups of near "
        "duplicates, the largest of {largest_group}".format(**numbers),
        "label conflicts: {n_label_conflicts} groups ({n_chips_in_label_conflicts} chips) hold one picture "
        "under more than one label".format(**numbers),
    ]
    if found.not_compared:
        lines.append(
            f"not compared: {found.not_compared} chips under {SMALLEST_SIDE_PX} px a side or without contrast"
        )
    for group in found.conflicts[:SHOWN]:
        named = {found.chips.labels[i]: found.chips.paths[i] for i in reversed(group)}
        lines.append("  " + ", ".join(named[label] for label in sorted(named)) + f" (group of {len(group)})")
    left = len(found.conflicts) - SHOWN
    return [*lines, f"  and {left} more"] if left > 0 else lines


def write_csv(found: Duplicates, path: Path) -> None:
    """One row per chip in a group: group, path, label, highest similarity, whether labels conflict."""
    conflicts = set(found.conflicts)
    rows = [
        {
            "group": number,
            "path": found.chips.paths[i],
            "label": found.chips.labels[i],
            "highest_similarity": found.best[i],
            "label_conflict": group in conflicts,
        }
        for number, group in enumerate(found.groups, start=1)
        for i in group
    ]
    with atomic_write(path) as file:
        pd.DataFrame(rows, columns=CSV_COLUMNS).to_csv(file, index=False)
