from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.core.radiometry import Radiometry, dynamic_range_db
from sarcurate.errors import DataError
from sarcurate.io import lineage, raster
from sarcurate.io.chipset import ChipSetWriter, Header, open_chipset
from sarcurate.io.validation_table import _add_classes, _add_copies, _add_usual, chips_table

SETS = ("source-train", "source-test", "target-train", "target-test")

chips = st.lists(
    st.fixed_dictionaries(
        {
            "set": st.sampled_from(SETS),
            "picture": st.sampled_from("pqr"),
            "label": st.sampled_from("ab"),
            "group_id": st.sampled_from("gh"),
            "fold": st.sampled_from([0, 1, None]),
            "sensor": st.sampled_from("st"),
            "band": st.sampled_from(["X", "C", None]),
            "range_spacing_m": st.sampled_from([1.0, 2.0, None]),
        }
    ),
    min_size=1,
    max_size=12,
)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(
        [{**row, "chip_id": str(index), "side": row["set"][:6]} for index, row in enumerate(rows)]
    )
    absent = dict.fromkeys(("radiometry", "polarisation", "geometry", "look_direction", "statistics"))
    return table.assign(
        split=table["set"].str[7:],
        azimuth_spacing_m=table["range_spacing_m"].astype("float64"),
        range_spacing_m=table["range_spacing_m"].astype("float64"),
        fold=table["fold"].astype("Int32"),
        **absent,
    )


def _others(rows: list[dict[str, Any]], row: dict[str, Any], same: tuple[str, ...]) -> list[dict[str, Any]]:
    return [other for other in rows if other is not row and all(other[key] == row[key] for key in same)]


@settings(max_examples=40, deadline=None)
@given(chips)
def test_counts_are_those_of_a_plain_search(rows: list[dict[str, Any]]) -> None:
    table = _table(rows)
    _add_copies(table)
    _add_classes(table)
    for row, made in zip(rows, table.to_dict("records"), strict=True):
        alike, side = _others(rows, row, ("picture",)), row["set"][:6]
        mates = _others(rows, row, ("group_id",))
        assert made["copies_other_label"] == sum(other["label"] != row["label"] for other in alike)
        assert made["copies_other_sensor"] == sum(other["set"][:6] != side for other in alike)
        on_side = [other for other in alike if other["set"][:6] == side]
        assert made["copies_other_split"] == sum(other["set"] != row["set"] for other in on_side)
        assert made["copies_same_set"] == len(_others(rows, row, ("picture", "set", "label")))
        across = [other for other in mates if other["set"][:6] == side and other["set"] != row["set"]]
        assert made["group_chips_other_split"] == len(across)
        if row["set"].endswith("test"):
            assert np.isnan(
                [made[name] for name in ("train_chips_of_class", "class_ratio", "folds_of_group")]
            ).all()
            continue
        train = [other for other in rows if other["set"] == row["set"]]
        counts = {label: sum(other["label"] == label for other in train) for label in "ab"}
        assert made["train_chips_of_class"] == counts[row["label"]]
        assert made["class_ratio"] == pytest.approx(max(counts.values()) / counts[row["label"]])
        folds = {other["fold"] for other in train if other["group_id"] == row["group_id"]} - {None}
        assert made["folds_of_group"] == len(folds)


@settings(max_examples=40, deadline=None)
@given(chips)
def test_the_usual_value_is_the_commonest_of_the_train_chips(rows: list[dict[str, Any]]) -> None:
    table = _table(rows)
    _add_usual(table)
    for row, made in zip(rows, table.to_dict("records"), strict=True):
        train = [other for other in rows if other["set"] == f"{row['set'][:6]}-train"]
        for column, found in (("sensor", made["usual_sensor"]), ("band", made["usual_band"])):
            values = sorted(other[column] for other in train if other[column] is not None)
            expected = max(values, key=values.count) if values else None
            assert found == expected or (expected is None and pd.isna(found))
        spacings = sorted(other["range_spacing_m"] for other in train if other["range_spacing_m"])
        if spacings and row["range_spacing_m"]:
            usual = max(spacings, key=spacings.count)
            assert made["range_spacing_ratio"] == row["range_spacing_m"] / usual
        else:
            assert np.isnan(made["range_spacing_ratio"])


def _write(folder: Path, name: str, pixels: list[np.ndarray[Any, Any]]) -> None:
    header = Header("s", Radiometry.AMPLITUDE, name[7:], (-20.0, 10.0))
    with ChipSetWriter(folder / name, header) as writer:
        for index, chip in enumerate(pixels):
            chip_id = lineage.sha256_text(f"{name}{index}")[:24]
            row = {"chip_id": chip_id, "origin": "real", "label": "a", "group_id": name}
            writer.add(row | {"source_path": f"{name}{index}"}, chip)


def test_pixels_give_picture_and_dynamic_range(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, other = (rng.rayleigh(size=(6, 5)).astype(np.float32) for _ in range(2))
    _write(tmp_path, "source-train", [first, other])
    _write(tmp_path, "target-test", [np.rot90(first).copy()])
    sets = {
        "source-train": open_chipset(tmp_path / "source-train", splits=("train",)),
        "target-test": open_chipset(tmp_path / "target-test", splits=("test",)),
    }
    table = chips_table(sets).set_index("source_path")
    assert table.loc["source-train0", "picture"] == table.loc["target-test0", "picture"]
    assert table["picture"].nunique() == 2
    assert table["picture"].str.len().unique().tolist() == [12]
    assert dict(table["copies_other_sensor"]) == {"source-train0": 1, "source-train1": 0, "target-test0": 1}
    low, high = np.percentile(first.astype(np.float64) ** 2, [1, 99.9])
    assert table.loc["source-train0", "dynamic_range_db"] == pytest.approx(
        10 * np.log10(high / low), rel=1e-6
    )
    assert pd.isna(table.loc["target-test0", "usual_radiometry"])


def test_changed_pixels_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, "source-train", [np.ones((4, 4), np.float32)])
    chipset = open_chipset(tmp_path / "source-train", splits=("train",))
    (file,) = (tmp_path / "source-train" / "chips").rglob("*.tif")
    raster.write_tiff(file, np.zeros((4, 4), np.float32))
    with pytest.raises(DataError, match="are not those of the manifest"):
        chips_table({"source-train": chipset})


def test_dynamic_range_of_single_look_speckle_is_that_of_the_exponential() -> None:
    intensity = np.random.default_rng(1).exponential(size=400_000)
    expected_db = 10 * np.log10(np.log(1 / 0.001) / np.log(1 / 0.99))  # quantile p of it: -ln(1 - p)
    assert dynamic_range_db(intensity) == pytest.approx(expected_db, abs=0.2)
    assert dynamic_range_db(np.append(intensity, np.zeros(400_000))) == dynamic_range_db(intensity)
    assert dynamic_range_db(np.full((3, 3), 4.0)) == 0
    assert dynamic_range_db(np.zeros((3, 3))) == 0
