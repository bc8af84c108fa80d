from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io.public_sets import load_set, read_set
from sarcurate.io.scenes.mosaic import open_mosaic, write_mosaics
from sarcurate.io.scenes.products import open_scene
from sarcurate.io.scenes.scene import NoSamplesError, Window

WHOLE = np.random.default_rng(1).integers(-32768, 32768, (60, 80, 2), dtype=np.int16)
CORNERS = [(3, 5), (3, 15), (13, 10), (40, 50)]  # 16 px chips: three overlap, one is apart


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """A folder of chips cut from WHOLE, and its table."""
    names = []
    for index, (row, col) in enumerate(CORNERS):
        names.append(f"{index}.npy")
        np.save(tmp_path / names[-1], WHOLE[row : row + 16, col : col + 16])
    table = pd.DataFrame(
        {
            "path": names,
            "scene_id": "s1",
            "polarisation": "HH",
            "band": "X",
            "first_row_px": pd.array([row for row, _ in CORNERS], dtype="Int64"),
            "first_col_px": pd.array([col for _, col in CORNERS], dtype="Int64"),
        }
    )
    return tmp_path, table


def test_a_window_across_chips_is_that_of_the_whole(made: Any) -> None:
    scene = open_mosaic(*made, "s1", "HH")
    assert scene.shape == (56, 66)
    assert (scene.facts.radiometry, scene.facts.band) == (Radiometry.INTENSITY, "X")
    samples = scene.samples(Window(3, 5, 16, 26))
    np.testing.assert_array_equal(samples.real, WHOLE[3:19, 5:31, 0])
    np.testing.assert_array_equal(samples.imag, WHOLE[3:19, 5:31, 1])
    assert samples.dtype == np.complex64


@pytest.mark.parametrize("window", [(3, 4, 4, 4), (2, 5, 4, 4), (19, 5, 4, 4), (0, 0, 50, 60)])
def test_a_window_with_an_unseen_pixel_is_refused(made: Any, window: tuple[int, int, int, int]) -> None:
    scene = open_mosaic(*made, "s1", "HH")
    with pytest.raises(NoSamplesError, match="pixels are in none of the 4 chips"):
        scene.samples(Window(*window))
    unseen = np.ones((60, 80), dtype=bool)
    for row, col in CORNERS:
        unseen[row : row + 16, col : col + 16] = False
    row, col, rows, cols = window
    with pytest.raises(NoSamplesError, match=f": {unseen[row : row + rows, col : col + cols].sum()} of"):
        scene.samples(Window(*window))


def test_one_sample_that_differs_is_found_and_placed(made: Any) -> None:
    root, table = made
    odd = np.load(root / "1.npy")
    odd[2, 3, 1] ^= 1  # scene row 5, column 18: chip 0 holds it too
    np.save(root / "1.npy", odd)
    with pytest.raises(
        DataError, match=r"0.npy and 1.npy differ in 1 of 96 .* row 5, column 18 of the scene"
    ):
        open_mosaic(root, table, "s1", "HH")


def test_chips_elsewhere_than_they_say_are_found(made: Any) -> None:
    root, table = made
    table.loc[2, "first_col_px"] += 1
    with pytest.raises(DataError, match=r"0.npy and 2.npy differ"):
        open_mosaic(root, table, "s1", "HH")


def test_other_scenes_and_polarisations_stay_out(made: Any) -> None:
    root, table = made
    table.loc[3, "scene_id"] = "s2"
    table.loc[2, "polarisation"] = None
    assert open_mosaic(root, table, "s1", "HH").shape == (19, 31)
    assert open_mosaic(root, table, "s1", None).shape == (29, 26)
    with pytest.raises(DataError, match="0 chips of scene s3"):
        open_mosaic(root, table, "s3", "HH")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("first_row_px", pd.NA, "each with row and column"),
        ("first_row_px", -1, "at rows and columns -1"),
        ("first_col_px", 2**40, "expected 0 to 16777216"),
        ("path", "../0.npy", "0.npy"),
    ],
)
def test_a_broken_row_is_refused(made: Any, column: str, value: Any, message: str) -> None:
    root, table = made
    table.loc[3, column] = value
    with pytest.raises(DataError, match=message):
        open_mosaic(root, table, "s1", "HH")


def test_chips_of_several_types_are_refused(made: Any) -> None:
    root, table = made
    np.save(root / "3.npy", np.ones((16, 16), np.uint8))
    with pytest.raises(DataError, match=r"3\.npy: uint8 samples"):
        open_mosaic(root, table, "s1", "HH")


@pytest.fixture
def real_mirror() -> Path:
    folder = os.environ.get("SARCURATE_MIRROR", "")
    if not folder or not (Path(folder) / "tsx-s1-slc").is_dir():
        pytest.skip("SARCURATE_MIRROR names no folder that holds tsx-s1-slc")
    return Path(folder)


@pytest.mark.real
def test_the_mosaic_of_the_real_set_gives_the_real_tiles(real_mirror: Path) -> None:
    if not (real_mirror / "tsx-tiles").is_dir():
        pytest.skip("tsx-tiles is not in SARCURATE_MIRROR")
    described = load_set("tsx-s1-slc")
    table = read_set(described, real_mirror, "tsx-x", described.domains["tsx-x"].classes)
    tiles = pd.read_csv(real_mirror / "tsx-tiles" / "manifest.csv", dtype={"scene": "str"})
    assert len(tiles) == 5
    for (scene_id, polarisation), group in tiles.groupby(["scene", "polarisation"]):
        scene = open_mosaic(real_mirror / "tsx-s1-slc", table, scene_id, polarisation)
        for tile in group.itertuples():
            expected = np.load(real_mirror / "tsx-tiles" / tile.path)
            samples = scene.samples(Window(tile.row, tile.col, tile.rows, tile.cols))
            np.testing.assert_array_equal(np.stack([samples.real, samples.imag], axis=-1), expected)


@pytest.mark.real
def test_the_c_band_chips_of_the_real_set_do_not_lie_where_they_say(real_mirror: Path) -> None:
    """Their samples agree only when the steps of row and col are swapped, and only within one crop."""
    described = load_set("tsx-s1-slc")
    table = read_set(described, real_mirror, "s1-c", described.domains["s1-c"].classes)
    with pytest.raises(DataError, match="differ in"):
        open_mosaic(real_mirror / "tsx-s1-slc", table, "4312", "HH")


def test_a_written_mosaic_reads_as_the_scene_and_is_nan_where_no_chip_is(made: Any, tmp_path: Path) -> None:
    (path,) = write_mosaics(*made, tmp_path / "out")
    assert path.name == "s1_HH.tif"
    with open_scene(path) as scene:
        assert scene.shape == (56, 66)
        seen = scene.samples(Window(3, 5, 16, 26))
        np.testing.assert_array_equal(seen, WHOLE[3:19, 5:31, 0] + 1j * WHOLE[3:19, 5:31, 1])
        assert np.isnan(scene.samples(Window(0, 0, 3, 66))).all()
        with pytest.raises(NoSamplesError):
            scene.detected(Window(2, 5, 4, 4), Radiometry.INTENSITY)


def test_a_mosaic_overwrites_nothing(made: Any, tmp_path: Path) -> None:
    (path,) = write_mosaics(*made, tmp_path / "out")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"s1_HH\.tif is there already"):
        write_mosaics(*made, tmp_path / "out")
    assert path.read_bytes() == before


def test_detected_chips_become_float32(made: Any, tmp_path: Path) -> None:
    root, table = made
    for index in range(len(CORNERS)):
        np.save(
            root / f"{index}.npy",
            np.abs(np.load(root / f"{index}.npy")[..., 0].astype(np.int32)).astype(np.uint16),
        )
    (path,) = write_mosaics(root, table, tmp_path / "out")
    with open_scene(path) as scene:
        np.testing.assert_array_equal(
            scene.samples(Window(40, 50, 16, 16)), np.abs(WHOLE[40:56, 50:66, 0].astype(np.int32))
        )
