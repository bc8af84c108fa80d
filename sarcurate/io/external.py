"""External test sets: a ChipSet, or class folders in the target's radiometry."""

from __future__ import annotations

from pathlib import Path

from sarcurate.errors import LeakageError, RadiometryError
from sarcurate.io.chipset import HEADER, ChipSet, open_chipset
from sarcurate.io.intake import SizeRule, take_in
from sarcurate.io.raw import RawSet
from sarcurate.io.sensors import SensorProfile
from sarcurate.io.sources import read_class_folders

MADE = ("generated", "migrated", "translated")


def open_external(
    path: Path, classes: list[str], profile: SensorProfile, like: ChipSet, workspace: Path
) -> ChipSet:
    """Open an external test set.

    Args:
        path: ChipSet folder, or class folders whose pixels have the radiometry of ``like``.
        classes: class names allowed; a subset may be present.
        profile: the target sensor's; like: the real target test set.
        workspace: empty folder where class folders are taken in.

    Raises:
        RadiometryError: when a ChipSet has another radiometry.
        LeakageError: when it holds made chips.
        DataError: for broken or unknown chips.
    """
    if (path / HEADER).is_file():
        chips = open_chipset(path, splits=("all", "train", "test"))
    else:
        present = [name for name in classes if (path / name).is_dir()]
        table = read_class_folders(path, present or classes)
        raw = RawSet(path, table, like.header.radiometry, "real")
        take_in(raw, profile, like.header.display_db, SizeRule("keep", None), workspace)
        chips = open_chipset(workspace, splits=("all",))
    if chips.header.radiometry != like.header.radiometry:
        raise RadiometryError(
            f"external test {path}: radiometry {chips.header.radiometry}, expected {like.header.radiometry}",
            fix="give external tests in the target's radiometry",
        )
    made = sorted(set(chips.manifest["origin"]) & set(MADE))
    if made:
        raise LeakageError(f"external test {path} holds {made} chips", fix="test on real chips only")
    return chips
