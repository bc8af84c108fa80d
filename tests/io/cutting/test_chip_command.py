from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, ParamsError
from sarcurate.io.chipset import open_chipset
from sarcurate.io.cutting.chip_command import boxes_of, cutter, grid_of, make_chipset, order_of, scene_paths
from sarcurate.io.cutting.cutting_plan import ChipSize, Grid
from sarcurate.io.scenes.products import open_scene
from sarcurate.io.sensors import load_profile

PROFILE = load_profile("gaofen3-spotlight")


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    levels = np.random.default_rng(5).integers(1, 256, (90, 120), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


def make(scene: Path, out: Path, text: str = "label,row,col\nship,30,40\ntank,60,80\n") -> tuple[str, ...]:
    (scene.parent / "boxes.csv").write_text(text)
    cut = cutter(
        [scene],
        partial(open_scene, profile=PROFILE, polarisation=None),
        order_of("uint8_relative", PROFILE, "error", "mine"),
        boxes_of(scene.parent / "boxes.csv", 16.0, None, None, given=True),
        None,
    )
    return make_chipset(cut, PROFILE, None, out)


def test_boxes_become_a_chipset(scene: Path, tmp_path: Path) -> None:
    said = make(scene, tmp_path / "new" / "chips")
    assert said[-1].endswith("chips: 2 chips, 2 labels, 1 groups, radiometry uint8_relative")
    chips = open_chipset(tmp_path / "new" / "chips", splits=("all",))
    whole = np.asarray(Image.open(scene))
    for row in chips.rows():
        top, left = row["first_row_px"], row["first_col_px"]
        np.testing.assert_array_equal(chips.pixels(row["chip_id"]), whole[top : top + 16, left : left + 16])
        assert (row["licence"], row["group_id"], row["overlap_fraction"]) == ("mine", "scene", 0.0)
        assert row["geometry"] == "slant"
    low_db, high_db = chips.header.display_db
    assert low_db < 20 * np.log10(128) < high_db


def test_the_same_scene_gives_the_same_set(scene: Path, tmp_path: Path) -> None:
    make(scene, tmp_path / "one")
    make(scene, tmp_path / "two")
    one, two = (open_chipset(tmp_path / name, splits=("all",)) for name in ("one", "two"))
    assert one.revision == two.revision


def test_a_failure_leaves_nothing(scene: Path, tmp_path: Path) -> None:
    before = {path.name for path in tmp_path.iterdir()} | {"boxes.csv"}
    with pytest.raises(DataError, match="leaves"):
        make(scene, tmp_path / "new" / "chips", "label,row,col\nship,30,40\ntank,1,1\n")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_folder_with_something_in_it_is_not_touched(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "chips").mkdir()
    make(scene, tmp_path / "chips")
    held = sorted((tmp_path / "chips").rglob("*"))
    with pytest.raises(DataError, match="is there already and not empty"):
        make(scene, tmp_path / "chips")
    assert sorted((tmp_path / "chips").rglob("*")) == held


def test_words_of_the_command_line_are_checked() -> None:
    assert order_of("sigma0", PROFILE, "skip", "mine").radiometry is Radiometry.SIGMA0
    with pytest.raises(ParamsError, match="--radiometry gamma0: expected one of"):
        order_of("gamma0", PROFILE, "skip", "mine")
    with pytest.raises(ParamsError, match="--border pad: expected one of skip, error"):
        order_of("sigma0", PROFILE, "pad", "mine")
    with pytest.raises(ParamsError, match="--licence is empty"):
        order_of("sigma0", PROFILE, "skip", " ")


def test_boxes_and_grid_exclude_each_other() -> None:
    file = Path("a.csv")
    found = boxes_of(file, 10, None, None, given=True)
    assert found is not None
    assert found.size == ChipSize(footprint_m=10)
    assert boxes_of(None, 10, None, None, given=False) is None
    for path, margin, given in ((file, None, False), (None, None, True), (None, 1.0, False)):
        with pytest.raises(ParamsError, match="either --boxes FILE, or --grid"):
            boxes_of(path, 10, margin, None, given=given)
    assert grid_of(10, 5, "x", given=True) == Grid(10, 5, "x")
    assert grid_of(10, None, None, given=False) is None
    with pytest.raises(ParamsError, match="are for --grid"):
        grid_of(10, None, "x", given=False)
    for footprint, step, label in ((None, 5, "x"), (10, None, "x"), (10, 5, None), (10, 5, " ")):
        with pytest.raises(ParamsError, match="--grid needs"):
            grid_of(footprint, step, label, given=True)


def test_scenes_are_found_by_patterns(tmp_path: Path) -> None:
    for name in ("b.tif", "a.tif", "c.jpg"):
        (tmp_path / name).touch()
    assert scene_paths(tmp_path, None) == [tmp_path]
    assert [p.name for p in scene_paths(tmp_path, ["*.tif", "c.jpg", "a.tif"])] == ["a.tif", "b.tif", "c.jpg"]
    with pytest.raises(DataError, match=r"nothing matches '\*.cos'"):
        scene_paths(tmp_path, ["*.cos"])
    with pytest.raises(DataError, match=r"\.\."):
        scene_paths(tmp_path, ["../*.tif"])


@pytest.mark.real
def test_the_real_airport_scenes_become_a_chipset(tmp_path: Path) -> None:
    mirror = Path(os.environ.get("SARCURATE_MIRROR") or "missing") / "gf3-airport-scenes"
    if not mirror.is_dir():
        pytest.skip("SARCURATE_MIRROR names no folder that holds gf3-airport-scenes")

    def run(border: str, out: Path) -> tuple[str, ...]:
        cut: Any = cutter(
            sorted((mirror / "scenes").glob("*.jpg")),
            partial(open_scene, profile=PROFILE, polarisation=None),
            order_of("uint8_relative", PROFILE, border, "research"),
            boxes_of(mirror / "boxes.csv", None, None, 0.0, given=True),
            None,
        )
        return make_chipset(cut, PROFILE, None, out)

    said = run("error", tmp_path / "chips")
    chips = open_chipset(tmp_path / "chips", splits=("all",))
    # 26 boxes in nine scenes, as the set's README says
    assert len(chips.manifest) == 26
    assert chips.manifest["scene_id"].nunique() == 9
    assert said[-1].endswith("26 chips, 6 labels, 9 groups, radiometry uint8_relative")
