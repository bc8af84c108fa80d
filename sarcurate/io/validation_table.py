"""The table that validation judges: one row per real chip of both sensors, train and test."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from sarcurate.core.duplicates import orientation_free_key
from sarcurate.core.radiometry import dynamic_range_db, to_intensity
from sarcurate.execution import run_map
from sarcurate.io.chipset import ChipSet

PICTURE_LENGTH = 12  # 48 bits name a picture in reports; equality is judged on the whole key
USUAL = ("sensor", "radiometry", "band", "polarisation", "geometry", "look_direction", "statistics")
SPACINGS = ("range_spacing", "azimuth_spacing")


def chips_table(sets: Mapping[str, ChipSet]) -> pd.DataFrame:
    """Manifests of several sets joined, with derived columns.

    Added columns: ``set`` and ``side`` (``source`` | ``target``); ``dynamic_range_db`` and ``picture`` (a key
    that the eight orientations of a picture share) from pixels; ``copies_*`` and ``group_chips_other_split``
    (how many other chips have the same picture or group there); ``groups_of_set``; ``folds_of_group``,
    ``train_chips_of_class`` and ``class_ratio`` (train rows only); ``usual_*`` and ``*_spacing_ratio``
    against the commonest value among the side's train chips: what is learnt of a side is learnt from these.

    Args:
        sets: opened ChipSets by name: ``<side>-train``, ``<side>-test``.

    Raises:
        DataError: where a chip's file is missing or its pixels are not those of its manifest.
    """
    table = pd.concat([_with_pixels(name, chips) for name, chips in sets.items()], ignore_index=True)
    _add_copies(table)
    _add_classes(table)
    _add_usual(table)
    return table


def _with_pixels(name: str, chips: ChipSet) -> pd.DataFrame:
    def measure(chip_id: str) -> tuple[str, float]:
        pixels = chips.pixels(chip_id)
        key = orientation_free_key(pixels)
        return key, dynamic_range_db(to_intensity(pixels, chips.header.radiometry))

    measured = run_map(measure, list(chips.manifest["chip_id"]), f"reading {name}")
    pictures, ranges_db = zip(*measured, strict=True)
    return chips.manifest.assign(
        set=name, side=name.partition("-")[0], picture=list(pictures), dynamic_range_db=list(ranges_db)
    )


def _add_copies(table: pd.DataFrame) -> None:
    def chips_with(*same: str) -> pd.Series:
        return table.groupby(list(same))["chip_id"].transform("size")

    alike = chips_with("picture")
    table["copies_other_label"] = alike - chips_with("picture", "label")
    table["copies_other_sensor"] = alike - chips_with("picture", "side")
    table["copies_other_split"] = chips_with("picture", "side") - chips_with("picture", "set")
    table["copies_same_set"] = chips_with("picture", "set", "label") - 1
    table["group_chips_other_split"] = chips_with("side", "group_id") - chips_with("set", "group_id")
    table["groups_of_set"] = table.groupby("set")["group_id"].transform("nunique")
    table["picture"] = table["picture"].str[:PICTURE_LENGTH]


def _add_classes(table: pd.DataFrame) -> None:
    """Null on test rows, which these expectations do not judge."""
    train = table[table["split"] == "train"]
    of_class = train.groupby(["side", "label"])["chip_id"].transform("size").astype("float64")
    largest = of_class.groupby(train["side"]).transform("max")
    table["train_chips_of_class"] = of_class
    table["class_ratio"] = largest / of_class
    folds = train.groupby(["side", "group_id"])["fold"].transform("nunique")
    table["folds_of_group"] = folds.astype("float64")


def _add_usual(table: pd.DataFrame) -> None:
    for column in USUAL:
        table[f"usual_{column}"] = _usual(table, column)
    for name in SPACINGS:
        table[f"{name}_ratio"] = table[f"{name}_m"] / _usual(table, f"{name}_m")


def _usual(table: pd.DataFrame, column: str) -> pd.Series:
    """Most common train value of each side, the smallest of equally common ones; null where none is known."""
    train = table[table["split"] == "train"]
    usual = {
        side: values.mode().iloc[0]  # mode() is sorted and leaves missing values out
        for side, values in train.groupby("side")[column]
        if values.notna().any()
    }
    return table["side"].map(usual)
