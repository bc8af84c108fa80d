from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.core.radiometry import Radiometry
from sarcurate.core.tie_grid import TieGrid
from sarcurate.errors import DataError, RadiometryError
from sarcurate.io.cutting.chipper import Cutting, Order, cut_boxes, cut_grid, read_windows
from sarcurate.io.cutting.cutting_plan import ChipSize, Grid
from sarcurate.io.scenes.scene import Scene, Window
from sarcurate.io.sensors import load_profile

PROFILE = replace(load_profile("terrasarx"), azimuth_spacing_m=5.0, range_spacing_m=5.0)
FACTS = {
    "band": "X",
    "mode": "SM",
    "polarisation": "HH",
    "azimuth_deg": 190.5,
    "look_direction": "right",
    "orbit_direction": "descending",
    "acquired_utc": "2024-05-31T12:34:56Z",
    "looks_nominal": 1.0,
    "beta0_factor": 0.5,
    "incidence_deg": TieGrid(np.zeros(1), np.array([0.0, 99.0]), np.array([[30.0, 39.9]])),
}


def field(seed: int = 0) -> np.ndarray:
    parts = np.random.default_rng(seed).integers(1, 100, (2, 100, 100))
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def order(radiometry: Radiometry = Radiometry.INTENSITY, border: str = "skip") -> Order:
    return Order(radiometry, PROFILE, border, "mine")


Cut = Callable[..., Cutting]


@pytest.fixture
def cut(tmp_path: Path) -> Cut:
    """Cut boxes given as CSV text from scenes."""

    def run(
        text: str,
        *scenes: Scene,
        size: ChipSize = ChipSize(margin_m=0),  # noqa: B008
        labels: Any = None,
        order: Order = order(),  # noqa: B008
    ) -> Cutting:
        (tmp_path / "boxes.csv").write_text(text)
        by_path = {scene.path: scene for scene in scenes}
        return cut_boxes(
            list(by_path), by_path.__getitem__, tmp_path / "boxes.csv", labels, size, order, tmp_path / "raw"
        )

    return run


BOX = "label,row,col,rows,cols\nship,40,50,10,20\n"


def chip(cutting: Cutting, index: int = 0) -> np.ndarray:
    pixels: np.ndarray = np.load(cutting.raw.root / cutting.raw.table["path"][index])
    return pixels


def test_a_chip_holds_the_window_in_the_radiometry_asked_for(cut: Cut, array_scene: Any) -> None:
    part = field()[40:50, 50:70].astype(np.complex128)
    scene = array_scene(field(), **FACTS)
    np.testing.assert_allclose(chip(cut(BOX, scene)), np.abs(part) ** 2, rtol=1e-6)
    sine = np.sin(np.deg2rad(30.0 + 0.1 * np.arange(50, 70)))
    found = cut(BOX, scene, order=order(Radiometry.SIGMA0))
    np.testing.assert_allclose(chip(found), 0.5 * np.abs(part) ** 2 * sine, rtol=1e-6)
    assert found.raw.radiometry is Radiometry.SIGMA0


def test_a_row_says_what_the_product_says_at_the_chips_centre(
    cut: Cut, array_scene: Any, positions: Any
) -> None:
    text = "label,row,col,rows,cols,azimuth_deg\nship,40,50,11,21,77\n"
    (row,) = cut(text, array_scene(field(), **(FACTS | positions))).raw.table.to_dict("records")
    incidence, latitude, longitude = (row.pop(n) for n in ("incidence_deg", "latitude_deg", "longitude_deg"))
    # the centre is the middle of pixel (45, 60)
    assert (incidence, latitude, longitude) == pytest.approx((36.0, 49.955, 8.12), abs=1e-9)
    assert row == {
        "path": "a_HH/r40-c50-11x21.npy",
        "label": "ship",
        "group_id": "a",
        "scene_id": "a",
        "band": "X",
        "mode": "SM",
        "polarisation": "HH",
        "geometry": "slant",
        "look_direction": "right",
        "orbit_direction": "descending",
        "heading_deg": 190.5,
        "azimuth_deg": 77.0,
        "azimuth_spacing_m": 2.0,
        "range_spacing_m": 1.0,
        "looks_nominal": 1.0,
        "acquired_utc": "2024-05-31T12:34:56Z",
        "first_row_px": 40,
        "first_col_px": 50,
        "overlap_fraction": 0.0,
        "licence": "mine",
    }


def test_what_the_product_lacks_comes_from_the_profile(cut: Cut, array_scene: Any) -> None:
    bare = array_scene(field(), azimuth_spacing_m=None, range_spacing_m=None)
    found = cut(BOX, bare, size=ChipSize(footprint_m=50))
    (row,) = found.raw.table.to_dict("records")
    assert (row["azimuth_spacing_m"], row["band"]) == (5.0, "X")
    assert chip(found).shape == (10, 10)


def test_whole_numbers_stay_as_stored(cut: Cut, array_scene: Any) -> None:
    levels = np.arange(1, 10_001, dtype=np.uint16).reshape(100, 100)
    found = cut(BOX, array_scene(levels), order=order(Radiometry.AMPLITUDE))
    assert chip(found).dtype == np.uint16
    np.testing.assert_array_equal(chip(found), levels[40:50, 50:70])
    assert chip(cut(BOX, array_scene(levels), order=order(Radiometry.INTENSITY))).dtype == np.float32


def test_groups_and_names_of_boxes_are_kept(cut: Cut, array_scene: Any) -> None:
    text = "label,row,col,rows,cols,group_id,name\nship,40,50,9,9,harbour,one\nship,10,10,9,9,,\n"
    table = cut(text, array_scene(field(), scene_id="pass 7")).raw.table.set_index("path")
    assert table["group_id"].to_dict() == {"pass-7/one.npy": "harbour", "pass-7/r10-c10-9x9.npy": "pass 7"}


def test_overlapping_chips_share_a_group_or_are_refused(cut: Cut, array_scene: Any) -> None:
    text = "label,row,col,rows,cols,group_id\nship,10,10,10,10,g1\nship,15,15,10,10,g1\nship,60,60,9,9,g2\n"
    found = cut(text, array_scene(field()))
    assert found.raw.table["overlap_fraction"].tolist() == [0.25, 0.25, 0.0]
    with pytest.raises(DataError, match=r"line 2 and .*line 3 give overlapping chips .*'g1' and 'scene"):
        cut(text.replace("10,10,g1\nship,60", "10,10,\nship,60"), array_scene(field(), scene_id="scene"))


def test_labels_are_renamed_left_out_or_unknown(cut: Cut, array_scene: Any) -> None:
    text = "label,row,col,rows,cols\nA320/321,10,10,9,9\nother,40,40,9,9\n"
    found = cut(text, array_scene(field()), labels={"A320/321": "A320", "other": None})
    assert found.raw.table["label"].tolist() == ["A320"]
    with pytest.raises(DataError, match=r"line 3: label 'other' is none of \['A320/321'\]"):
        cut(text, array_scene(field()), labels={"A320/321": "A320"})


def test_one_file_of_boxes_serves_several_scenes(cut: Cut, array_scene: Any) -> None:
    text = (
        "scene,label,row,col,rows,cols\na.tif,ship,1,1,9,9\nb,ship,2,2,9,9\nc,ship,3,3,9,9\nc,ship,4,4,9,9\n"
    )
    found = cut(text, array_scene(field()), array_scene(field(1), path="b.tif"))
    assert found.raw.table[["scene_id", "first_row_px"]].to_numpy().tolist() == [["a", 1], ["b", 2]]
    assert found.said[-1] == "warning: boxes of scenes that were not given are left out: c"
    with pytest.raises(DataError, match="boxes in pixels without a scene, but 2 scenes"):
        cut(BOX, array_scene(field()), array_scene(field(1), path="b.tif"))


def test_skipped_chips_are_told(cut: Cut, array_scene: Any) -> None:
    text = "label,row,col,rows,cols\nship,40,50,9,9\nship,95,50,9,9\nship,0,0,9,9\n"
    dark = field()
    dark[:9, :9] = 0
    found = cut(text, array_scene(dark))
    assert len(found.raw.table) == 1
    assert found.said[0].startswith("a.tif: 1 chip(s), 1 box(es) skipped at the border or outside (")
    assert "boxes.csv line 3)" in found.said[0]
    assert found.said[0].endswith("1 window(s) skipped without samples")
    with pytest.raises(DataError, match="line 3: the chip"):
        cut(text, array_scene(dark), order=order(border="error"))
    with pytest.raises(DataError, match="only zeros in the window at row 0, column 0"):
        cut(text.replace("ship,95,50,9,9\n", ""), array_scene(dark), order=order(border="error"))
    with pytest.raises(DataError, match="no chip was cut from 1 scene"):
        cut("label,row,col,rows,cols\nship,95,50,9,9\n", array_scene(dark))


def test_positions_outside_are_skipped_or_refused(cut: Cut, array_scene: Any, positions: Any) -> None:
    text = "label,latitude,longitude,size_m\nship,49.96,8.1,20\nship,51,8.1,20\n"
    found = cut(text, array_scene(field(), **positions))
    assert "1 box(es) skipped at the border or outside" in found.said[0]
    with pytest.raises(DataError, match=r"line 3 lies outside of a.tif"):
        cut(text, array_scene(field(), **positions), order=order(border="error"))


def test_scenes_that_do_not_give_the_radiometry_are_all_named(cut: Cut, array_scene: Any) -> None:
    text = "scene,label,row,col,rows,cols\na,ship,1,1,9,9\nb,ship,1,1,9,9\nc,ship,1,1,9,9\n"
    a, b, c = (array_scene(field(), path=f"{name}.tif", beta0_factor=0.5) for name in "abc")
    assert len(cut(text, a, b, c, order=order(Radiometry.BETA0)).raw.table) == 3
    b, c = (replace(scene, facts=replace(scene.facts, beta0_factor=None)) for scene in (b, c))
    with pytest.raises(
        RadiometryError, match=r"beta0 .* 2 of 3 .*: b.tif \(intensity\); c.tif \(intensity\)"
    ):
        cut(text, a, b, c, order=order(Radiometry.BETA0))
    warned = cut(text, a, b, c).said
    assert warned[-1] == "warning: intensity of scenes with different calibration factors: levels differ"
    same_factors = "scene,label,row,col,rows,cols\nb,ship,1,1,9,9\nc,ship,1,1,9,9\n"
    assert len(cut(same_factors, b, c).said) == 2


def test_another_band_or_a_scene_given_twice_is_refused(cut: Cut, array_scene: Any) -> None:
    with pytest.raises(DataError, match=r"a\.tif: C band, but the profile terrasarx is for X"):
        cut(BOX, array_scene(field(), band="C"))
    text = "scene,label,row,col,rows,cols\na,ship,1,1,9,9\n"
    one, same = array_scene(field()), array_scene(field(), path="b.tif", scene_id="A")
    with pytest.raises(DataError, match=r"b.tif and a.tif are both scene A"):
        cut(text, one, same)
    other = replace(same, facts=replace(same.facts, polarisation="VV"))
    assert len(cut(text, one, other).raw.table) == 1


def test_warnings_of_products_are_passed_on_once(cut: Cut, array_scene: Any) -> None:
    text = "scene,label,row,col,rows,cols\na,ship,1,1,9,9\nb,ship,1,1,9,9\n"
    scenes = [array_scene(field(), path=f"{name}.tif", warnings=("no noise",)) for name in "ab"]
    assert cut(text, *scenes).said[2:] == ("warning: array: no noise",)


def test_a_grid_groups_chips_that_hang_together(tmp_path: Path, array_scene: Any) -> None:
    gaps = field()
    gaps[:, 40:60] = np.nan
    scene = array_scene(gaps, azimuth_spacing_m=1.0)
    found = cut_grid([scene.path], lambda _: scene, Grid(20, 10, "clutter"), order(), tmp_path)
    table = found.raw.table
    # columns 0, 10, 20 and 60, 70, 80 survive: two sets with a gap of 20 between them
    assert len(table) == 9 * 6
    assert set(table["group_id"]) == {"a/r0-c0", "a/r0-c60"}
    assert (table.loc[table["first_col_px"] < 40, "group_id"] == "a/r0-c0").all()
    corner = (table["first_row_px"] == 0) & (table["first_col_px"] == 0)
    assert table.loc[corner, "overlap_fraction"].tolist() == [0.75]
    assert "27 window(s) skipped without samples" in found.said[0]
    apart = cut_grid([scene.path], lambda _: scene, Grid(20, 20, "clutter"), order(), tmp_path / "apart")
    assert apart.raw.table["group_id"].is_unique
    assert not apart.raw.table["overlap_fraction"].any()


def test_windows_are_read_one_at_a_time(array_scene: Any) -> None:
    places = [Window(row, 0, 8, 8) for row in (0, 8, 16)]
    chips = read_windows(array_scene(field()), places, Radiometry.INTENSITY, "error")
    first = next(chips)
    assert first is not None
    part = field()[:8, :8]
    np.testing.assert_array_equal(first, part.real**2 + part.imag**2)
    assert len(list(chips)) == 2
