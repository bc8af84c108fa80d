from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sarcurate.errors import DataError
from sarcurate.io.cutting.mosaic_windows import cut_mosaic, mirrored
from sarcurate.io.raster import read_samples

SIDE = 16
WHOLE = np.random.default_rng(1).integers(-32768, 32768, (70, 120, 2), dtype=np.int16)
# class, row, column: a row of five that overlap, one above the first, and one far off
CHIPS = [
    ("tank", 20, 10),
    ("tank", 20, 22),
    ("rail", 20, 34),
    ("tank", 20, 46),
    ("town", 20, 58),
    ("town", 8, 10),
    ("town", 50, 100),
]


@pytest.fixture
def made(tmp_path: Path) -> Any:
    root = tmp_path / "set"
    paths = []
    for index, (label, row, col) in enumerate(CHIPS):
        paths.append(f"{label}/{index}.npy")
        (root / label).mkdir(parents=True, exist_ok=True)
        np.save(root / paths[-1], WHOLE[row : row + SIDE, col : col + SIDE])
    table = pd.DataFrame(
        {
            "path": paths,
            "label": [label for label, _, _ in CHIPS],
            "group_id": "one",
            "scene_id": "s1",
            "polarisation": "HH",
            "band": "X",
            "first_row_px": pd.array([row for _, row, _ in CHIPS], dtype="Int64"),
            "first_col_px": pd.array([col for _, _, col in CHIPS], dtype="Int64"),
        }
    )
    return root, table


def test_a_covered_window_is_that_of_the_scene(made: Any, tmp_path: Path) -> None:
    cut = cut_mosaic(*made, ("tank",), (16, 32), 1.0, tmp_path / "out")
    assert cut.mirrored == 0.0
    assert cut.table["path"].tolist() == ["tank/1.npy", "tank/3.npy"]  # neighbours on both sides, one a rail
    assert cut.table[["first_row_px", "first_col_px"]].to_numpy().tolist() == [[20, 14], [20, 38]]
    for name, first in (("tank/1.npy", 14), ("tank/3.npy", 38)):
        np.testing.assert_array_equal(read_samples(tmp_path / "out" / name), WHOLE[20:36, first : first + 32])


def test_polarisations_of_one_scene_are_mosaics_of_their_own(made: Any, tmp_path: Path) -> None:
    root, table = made
    table = table.assign(polarisation=["HH", "HH", "HH", "VV", "HH", "HH", "HH"])
    cut = cut_mosaic(root, table, ("tank",), (16, 32), 0.9, tmp_path / "out")
    assert cut.table["path"].tolist() == ["tank/1.npy"]  # the VV chip has no neighbours


def test_a_class_without_a_window_is_refused(made: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no window of 20 x 32 px about a chip of class tank") as caught:
        cut_mosaic(*made, ("tank", "town"), (20, 32), 1.0, tmp_path / "out")
    assert "window_px" in caught.value.fix


def test_windows_that_share_pixels_are_one_group_whatever_their_class(made: Any, tmp_path: Path) -> None:
    cut = cut_mosaic(*made, ("tank", "town"), (16, 32), 0.5, tmp_path / "out")
    groups = dict(zip(cut.table["path"], cut.table["group_id"], strict=True))
    assert set(groups) == {"tank/0.npy", "tank/1.npy", "tank/3.npy", "town/4.npy", "town/5.npy", "town/6.npy"}
    assert len({groups[name] for name in ("tank/0.npy", "tank/1.npy", "tank/3.npy", "town/4.npy")}) == 1
    assert groups["town/6.npy"] != groups["tank/0.npy"]
    assert groups["town/5.npy"] == groups["tank/0.npy"]  # rows 8 to 24 and 20 to 36


def test_shares_of_mirrored_pixels_are_those_that_no_chip_holds(made: Any, tmp_path: Path) -> None:
    root, table = made
    alone = table[table["path"] == "town/6.npy"]
    cut = cut_mosaic(root, alone, ("town",), (16, 20), 0.8, tmp_path / "out")
    assert cut.mirrored == pytest.approx(4 / 20)
    found = read_samples(tmp_path / "out/town/6.npy")
    held = WHOLE[50:66, 100:116]
    np.testing.assert_array_equal(found[:, 2:18], held)
    np.testing.assert_array_equal(found[:, :2], held[:, [2, 1]])
    np.testing.assert_array_equal(found[:, 18:], held[:, [14, 13]])


def test_windows_that_leave_the_scene_are_left_out(made: Any, tmp_path: Path) -> None:
    root, table = made
    table = table.assign(first_row_px=table["first_row_px"] - 8, first_col_px=table["first_col_px"] - 8)
    cut = cut_mosaic(root, table, ("tank", "town"), (18, 18), 0.5, tmp_path / "out")
    assert "town/5.npy" not in set(cut.table["path"])
    assert cut.table["first_row_px"].min() >= 0


def test_mirrored_pixels_come_from_beyond_the_nearest_seen_one() -> None:
    samples = np.arange(24.0).reshape(4, 6)
    seen = np.ones((4, 6), dtype=bool)
    seen[:, 4:] = False
    filled = mirrored(samples, seen)
    np.testing.assert_array_equal(filled[:, :4], samples[:, :4])
    np.testing.assert_array_equal(filled[:, 4], samples[:, 2])
    np.testing.assert_array_equal(filled[:, 5], samples[:, 1])


def test_where_the_mirrored_place_is_unseen_too_the_nearest_seen_pixel_is_taken() -> None:
    samples = np.array([[1.0, 0.0, 0.0, 0.0, 5.0]])
    seen = samples != 0
    np.testing.assert_array_equal(mirrored(samples, seen)[0, [0, 1, 3, 4]], [1.0, 1.0, 5.0, 5.0])


def test_speckle_survives_the_mirroring() -> None:
    rng = np.random.default_rng(3)
    samples = rng.exponential(size=(120, 120))
    seen = np.ones((120, 120), dtype=bool)
    seen[:30, :40] = False
    hole = mirrored(samples, seen)[:30, :40]
    assert hole.mean() ** 2 / hole.var() == pytest.approx(1.0, abs=0.15)
