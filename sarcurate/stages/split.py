"""split: real chips to train and test ChipSets, by whole groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sarcurate.core.duplicates import join_groups
from sarcurate.core.partition import grouped_folds, hold_out
from sarcurate.errors import DataError, LeakageError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.pictures import PictureKeys, picture_keys
from sarcurate.io.selection import Choice, make_selection, write_selection
from sarcurate.params import Params, SideSplit

Row = dict[str, Any]
NOT_DRAWN = "left out by the draw of split.train_per_class from the train groups"
# What a shared picture is, how it is called, and what else can be done about it.
SHARED = (
    ("exact", "flips and quarter turns count", ""),
    ("near", "near duplicates", ", or set split.near_duplicates: false if these do differ"),
)


def run(
    params: Params, chips: Mapping[str, Path], outputs: Mapping[str, Path], selection_out: Path
) -> list[str]:
    """Split both sensors.

    Args:
        chips: ChipSet folder per sensor (``source``, ``target``).
        outputs: folders named ``source-train``, ``source-test``, ``target-train``, ``target-test``.

    Returns:
        one line per sensor for the terminal.
    """
    sensors = {"source": params.split.source, "target": params.split.target}
    chipsets = {sensor: open_chipset(chips[sensor], splits=("all",)) for sensor in sensors}
    keys = picture_keys(chipsets, params.split.near_duplicates)
    _refuse_shared_pictures(chipsets, keys)
    said: list[str] = []
    choices: list[Choice] = []
    for sensor, side in sensors.items():
        chipset = chipsets[sensor]
        _check_classes(chipset, params.dataset.classes)
        rows = list(chipset.rows())
        _join(rows, keys[sensor])
        parts = _assign(rows, side, lineage.seed_from(params.dataset.root_seed, "split", sensor))
        _fold([row for row in rows if parts[row["chip_id"]] == "train"], params, sensor)
        for split in ("train", "test"):
            with ChipSetWriter(outputs[f"{sensor}-{split}"], replace(chipset.header, split=split)) as writer:
                for row in rows:
                    if parts[row["chip_id"]] == split:
                        writer.copy(chipset, row)
        choices += [_choice(row, parts[row["chip_id"]]) for row in rows]
        count = Counter(parts.values())
        said.append(f"{sensor}: {count['train']} train, {count['test']} test, {count['unused']} not drawn")
    write_selection(selection_out, make_selection(choices))
    return said


def _join(rows: list[Row], keys: list[PictureKeys]) -> None:
    """Write the joined group of each row into it."""
    groups = [row["group_id"] for row in rows]
    groups = join_groups(groups, [key.exact for key in keys])
    groups = join_groups(groups, [key.near for key in keys])
    for row, group in zip(rows, groups, strict=True):
        row["group_id"] = group


def _refuse_shared_pictures(chipsets: Mapping[str, ChipSet], keys: Mapping[str, list[PictureKeys]]) -> None:
    """A picture that both sensors hold could be trained on as source and tested on as target."""
    for kind, means, way_out in SHARED:
        source, target = (_paths_by_key(chipsets[side], keys[side], kind) for side in ("source", "target"))
        shared = sorted(set(source) & set(target), key=lambda key: source[key])
        if shared:
            raise LeakageError(
                f"source and target share {len(shared)} pictures, for example {source[shared[0]]} of the "
                f"source and {target[shared[0]]} of the target ({means})",
                fix=f"a chip belongs to one sensor: remove it from the other{way_out}",
            )


def _paths_by_key(chipset: ChipSet, keys: list[PictureKeys], kind: str) -> dict[str, str]:
    return {getattr(key, kind): path for key, path in zip(keys, chipset.manifest["source_path"], strict=True)}


def _check_classes(chipset: ChipSet, classes: list[str]) -> None:
    found, expected = set(chipset.manifest["label"]), set(classes)
    if found != expected:
        raise DataError(
            f"{chipset.root}: classes missing {sorted(expected - found)}, unknown {sorted(found - expected)}",
            fix="make dataset.classes and the chips agree; both sensors need every class",
        )


def _assign(rows: list[Row], side: SideSplit, seed: int) -> dict[str, str]:
    """``train``, ``test`` or ``unused`` for each chip id."""
    labels, groups = [row["label"] for row in rows], [row["group_id"] for row in rows]
    is_test = hold_out(labels, groups, side.test_fraction, side.train_per_class or 1, seed)
    parts = {row["chip_id"]: "test" if test else "train" for row, test in zip(rows, is_test, strict=True)}
    if side.train_per_class is None:
        return parts
    for label in set(labels):
        train = [row["chip_id"] for row in rows if row["label"] == label and parts[row["chip_id"]] == "train"]
        # Drawn in hash order, so that the 10 per class are among the 37 per class of the same seed.
        train.sort(key=lambda chip_id: lineage.sha256_text(f"{seed}{chip_id}"))
        parts |= dict.fromkeys(train[side.train_per_class :], "unused")
    return parts


def _fold(train: list[Row], params: Params, sensor: str) -> None:
    """Write the fold of each train row into it."""
    seed = lineage.seed_from(params.dataset.root_seed, "folds", sensor)
    folds = grouped_folds(
        [row["label"] for row in train], [row["group_id"] for row in train], params.split.folds, seed
    )
    for row, fold in zip(train, folds, strict=True):
        row["fold"] = int(fold)


def _choice(row: Row, part: str) -> Choice:
    return Choice(row["chip_id"], part != "unused", row["label"], NOT_DRAWN if part == "unused" else "")
