from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, ParamsError
from sarcurate.io.raw import read_raw
from sarcurate.stages import acquire

FOLDER = {"kind": "folder", "manifest": None, "radiometry": "amplitude", "licence": "mine alone"}


def _class_folders(root: Path, classes: tuple[str, ...] = ("B-52", "F-16"), n: int = 2) -> Path:
    for label in classes:
        (root / label).mkdir(parents=True)
        for index in range(n):
            pixels = np.random.default_rng(index).integers(1, 200, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{index}.png")
    return root


def _mirror() -> Path:
    mirror = os.environ.get("SARCURATE_MIRROR")
    if not mirror:
        pytest.skip("SARCURATE_MIRROR is not set: no public sets to read")
    return Path(mirror)


def _outputs(folder: Path) -> dict[str, Path]:
    return {side: folder / side for side in ("source", "target")}


def test_simulated_chips_are_those_asked_for(tiny_sets: Any, tiny_params: Callable[..., Any]) -> None:
    raw = read_raw(tiny_sets.raw()["target"])
    assert raw.table["label"].value_counts().to_dict() == {"B-52": 12, "F-16": 12}
    assert raw.table["scene_id"].nunique() == 6
    low_deg, high_deg = tiny_params().acquire.target.incidence_deg
    assert raw.table["incidence_deg"].between(low_deg - 0.1, high_deg + 0.1).all()
    assert (raw.radiometry, raw.origin) == (Radiometry.SIGMA0, "simulated")
    assert np.load(raw.root / raw.table["path"][0]).shape == (48, 48)  # 96 m at 2 m


def test_each_simulated_chip_has_its_own_recipe_and_seed(tiny_sets: Any) -> None:
    for root in tiny_sets.raw().values():
        table = read_raw(root).table
        assert table["recipe_sha256"].is_unique
        assert table["seed"].is_unique


def test_same_root_seed_gives_the_same_bytes_and_another_does_not(
    tiny_params: Callable[..., Any], tiny_sets: Any, tmp_path: Path
) -> None:
    few = {f"acquire.{side}.chips_per_class": {"B-52": 3, "F-16": 3} for side in ("source", "target")}
    made = []
    for name, seed in (("one", 2606), ("again", 2606), ("other", 2607)):
        acquire.run(tiny_params(few | {"dataset.root_seed": seed}), _outputs(tmp_path / name), None)
        made.append(
            {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.npy")}
        )
    assert len(made[0]) == 12
    assert made[0] == made[1]
    assert all(made[0][path] != made[2][path] for path in made[0])


def test_simulation_needs_a_footprint(tiny_params: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="footprint_m is null"):
        acquire.run(tiny_params({"dataset.footprint_m": None}), _outputs(tmp_path), None)


def test_simulation_needs_counts_for_the_very_classes(
    tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    params = tiny_params({"acquire.target.chips_per_class": {"B-52": 2, "F-15": 2}})
    with pytest.raises(ParamsError, match=r"acquire\.target\.chips_per_class"):
        acquire.run(params, _outputs(tmp_path), None)


def test_class_folders_are_copied_byte_for_byte(tiny_params: Callable[..., Any], tmp_path: Path) -> None:
    own = _class_folders(tmp_path / "own")
    params = tiny_params({"acquire.target": FOLDER | {"path": str(own)}})
    acquire.run(params, _outputs(tmp_path / "raw"), None)
    raw = read_raw(tmp_path / "raw" / "target")
    assert raw.table["path"].tolist() == ["B-52/0.png", "B-52/1.png", "F-16/0.png", "F-16/1.png"]
    assert (raw.radiometry, raw.origin) == (Radiometry.AMPLITUDE, "real")
    assert set(raw.table["licence"]) == {"mine alone"}
    for path in raw.table["path"]:
        assert (raw.root / path).read_bytes() == (own / path).read_bytes()


def test_a_manifest_brings_its_columns(tiny_params: Callable[..., Any], tmp_path: Path) -> None:
    own = _class_folders(tmp_path / "own")
    (tmp_path / "own.csv").write_text(
        "path,label,group_id,licence\nB-52/0.png,B-52,g1,theirs\nF-16/1.png,F-16,g2,theirs\n"
    )
    source = FOLDER | {"path": str(own), "manifest": str(tmp_path / "own.csv")}
    acquire.run(tiny_params({"acquire.source": source}), _outputs(tmp_path / "raw"), None)
    table = read_raw(tmp_path / "raw" / "source").table
    assert table["group_id"].tolist() == ["g1", "g2"]
    assert set(table["licence"]) == {"theirs"}
    assert not (tmp_path / "raw" / "source" / "B-52" / "1.png").exists()


def test_a_misspelt_class_folder_is_refused(tiny_params: Callable[..., Any], tmp_path: Path) -> None:
    own = _class_folders(tmp_path / "own", ("B-52", "F-61"))
    with pytest.raises(DataError, match="F-61"):
        acquire.run(
            tiny_params({"acquire.target": FOLDER | {"path": str(own)}}), _outputs(tmp_path / "raw"), None
        )


PUBLIC = {"kind": "public_set", "set": "tsx-s1-slc", "domain": "tsx-x", "max_per_class": 2}


def test_a_public_set_without_a_mirror_says_how_to_fetch_it(
    tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="SARCURATE_MIRROR is not set") as caught:
        acquire.run(tiny_params({"acquire.source": PUBLIC}), _outputs(tmp_path), None)
    assert "sarcurate fetch tsx-s1-slc" in caught.value.fix


def test_a_public_set_that_is_not_in_the_mirror_is_refused(
    tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    params = tiny_params({"acquire.source": PUBLIC})
    with pytest.raises(DataError, match="tsx-s1-slc"):
        acquire.run(params, _outputs(tmp_path / "raw"), tmp_path / "mirror")


MOSAIC = {
    "kind": "mosaic",
    "set": "tsx-s1-slc",
    "domain": "tsx-x",
    "window_px": [227, 144],
    "covered": 0.85,
}
GROUND = ["industrial", "residential", "storagetank"]


def test_a_mosaic_without_a_mirror_says_how_to_fetch_it(
    tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="SARCURATE_MIRROR is not set"):
        acquire.run(tiny_params({"acquire.source": MOSAIC}), _outputs(tmp_path), None)


def test_windows_of_a_public_sets_mosaics_become_raw_chips(
    tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    public = PUBLIC | {"domain": "s1-c"}
    params = tiny_params({"acquire.source": MOSAIC, "acquire.target": public, "dataset.classes": GROUND})
    said = acquire.run(params, _outputs(tmp_path / "raw"), _mirror())
    assert any("of the windows' pixels are in no chip of tsx-s1-slc" in line for line in said)
    raw = read_raw(tmp_path / "raw" / "source")
    assert raw.origin == "real"
    assert set(raw.table["label"]) == set(GROUND)
    assert raw.table.groupby("label")["group_id"].nunique().min() >= 2
    for path in raw.table["path"]:
        assert np.load(raw.root / path, mmap_mode="r").shape == (227, 144, 2)


def test_a_mosaic_of_a_class_that_the_set_lacks_is_refused(
    tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    params = tiny_params({"acquire.source": MOSAIC, "dataset.classes": ["industrial", "residental"]})
    with pytest.raises(DataError, match="class 'residental' has no chips"):
        acquire.run(params, _outputs(tmp_path / "raw"), _mirror())


def test_a_cut_is_seeded_nested_and_independent_of_row_order() -> None:
    table = pd.DataFrame(
        {"path": [f"{i % 3}/{i}.npy" for i in range(60)], "label": [str(i % 3) for i in range(60)]}
    )
    small, large = (acquire._cut(table, n, 7) for n in (4, 9))
    assert small["label"].value_counts().to_dict() == {"0": 4, "1": 4, "2": 4}
    assert set(small["path"]) < set(large["path"])
    shuffled = acquire._cut(table.sample(frac=1, random_state=0), 4, 7)
    assert set(shuffled["path"]) == set(small["path"])
    assert set(acquire._cut(table, 4, 8)["path"]) != set(small["path"])


PRODUCTS = {
    "kind": "products",
    "scenes": ["*.png"],
    "polarisation": None,
    "labels": {"bomber": "B-52", "F-16": "F-16", "other": None},
    "footprint_m": 96.0,
    "margin_m": None,
    "margin_share": None,
    "border": "skip",
    "radiometry": "uint8_relative",
    "licence": "mine alone",
}


def _scenes(root: Path) -> dict[str, Any]:
    (root / "scenes").mkdir(parents=True)
    for index in range(2):
        pixels = np.random.default_rng(index).integers(1, 256, (200, 300), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "scenes" / f"{index}.png")
    (root / "boxes.csv").write_text(
        "scene,label,row,col\n0.png,bomber,50,60\n1.png,F-16,70,80\n1.png,F-16,3,80\n1.png,other,100,100\n"
    )
    return PRODUCTS | {"path": str(root / "scenes"), "boxes": str(root / "boxes.csv")}


def test_chips_are_cut_from_products(tiny_params: Callable[..., Any], tmp_path: Path) -> None:
    params = tiny_params({"acquire.target": _scenes(tmp_path)})
    said = acquire.run(params, _outputs(tmp_path / "raw"), None)
    raw = read_raw(tmp_path / "raw" / "target")
    assert raw.table[["path", "label", "group_id"]].to_numpy().tolist() == [
        ["0/r26-c36-48x48.npy", "B-52", "0"],  # 96 m at the profile's 2 m
        ["1/r46-c56-48x48.npy", "F-16", "1"],
    ]
    assert (raw.radiometry, raw.origin) == (Radiometry.UINT8_RELATIVE, "real")
    assert set(raw.table["licence"]) == {"mine alone"}
    whole = np.asarray(Image.open(tmp_path / "scenes" / "1.png"))
    np.testing.assert_array_equal(np.load(raw.root / raw.table["path"][1]), whole[46:94, 56:104])
    assert any("target: 1.png: 1 chip(s), 1 box(es) skipped" in line for line in said)


def test_boxes_of_products_must_be_of_every_class(tiny_params: Callable[..., Any], tmp_path: Path) -> None:
    source = _scenes(tmp_path) | {"labels": {"bomber": "B-52", "F-16": None, "other": None}}
    with pytest.raises(DataError, match="class 'F-16' has no chips"):
        acquire.run(tiny_params({"acquire.target": source}), _outputs(tmp_path / "raw"), None)
