from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, RadiometryError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.intake import SizeRule, take_in
from sarcurate.io.raw import RawSet
from sarcurate.io.sensors import SensorProfile, load_profile

DISPLAY_DB = (-25.0, 10.0)
KEEP = SizeRule("keep", None)


@pytest.fixture
def profile() -> SensorProfile:
    """Two-look X-band sensor; 1 m in azimuth, 2 m in range."""
    return replace(load_profile("terrasarx-sim"), azimuth_spacing_m=1.0, range_spacing_m=2.0)


Take = Callable[..., ChipSet]


@pytest.fixture
def take(tmp_path: Path, profile: SensorProfile) -> Take:
    """Ingest arrays ``a/0.npy``, ``a/1.npy``, ... with what else their rows say."""

    def run(
        *chips: np.ndarray,
        radiometry: Radiometry = Radiometry.SIGMA0,
        origin: str = "real",
        size: SizeRule = KEEP,
        by: SensorProfile = profile,
        **columns: Any,
    ) -> ChipSet:
        (tmp_path / "raw/a").mkdir(parents=True)
        for index, chip in enumerate(chips):
            np.save(tmp_path / f"raw/a/{index}.npy", chip)
        paths = [f"a/{index}.npy" for index in range(len(chips))]
        table = pd.DataFrame({"path": paths, "label": "a", **columns})
        count = take_in(
            RawSet(tmp_path / "raw", table, radiometry, origin), by, DISPLAY_DB, size, tmp_path / "out"
        )
        assert count == len(chips)
        return open_chipset(tmp_path / "out", splits=("all",))

    return run


def _chip(rows: int = 4, cols: int = 3) -> np.ndarray:
    return np.arange(1, rows * cols + 1, dtype=np.float32).reshape(rows, cols)


def _row(chips: ChipSet) -> dict[str, Any]:
    (row,) = chips.rows()
    return row


def test_a_row_says_what_its_source_says_then_what_the_profile_says(take: Take) -> None:
    chips = take(_chip())
    row = _row(chips)
    np.testing.assert_array_equal(chips.pixels(row["chip_id"]), _chip())
    assert chips.header.sensor == row["sensor"] == "terrasarx-sim"
    assert (chips.header.split, chips.header.display_db) == ("all", DISPLAY_DB)
    assert (row["origin"], row["label"], row["radiometry"]) == ("real", "a", "sigma0")
    assert (row["azimuth_spacing_m"], row["range_spacing_m"]) == (1.0, 2.0)
    assert (row["looks_nominal"], row["band"]) == (2.0, "X")
    # a chip without group is a group of its own
    assert row["group_id"] == row["source_path"] == "a/0.npy"
    assert row["nodata_fraction"] == 0.0
    assert row["incidence_deg"] is None
    assert row["licence"] is None


def test_columns_of_the_source_come_before_the_profile(take: Take) -> None:
    said = {
        "group_id": "pass7",
        "band": "Ku",
        "mode": "SL",
        "polarisation": "HH",
        "range_spacing_m": 2.5,
        "azimuth_spacing_m": 1.5,
        "looks_nominal": 3.2,
        "incidence_deg": 41.0,
        "azimuth_deg": 190.0,
        "acquired_utc": "2024-05-31T12:34:56Z",
        "scene_id": "s1",
        "first_row_px": 640,
        "first_col_px": 128,
        "licence": "CC-BY-4.0",
        "sensor": "terrasarx-sim",
    }
    row = _row(take(_chip(), **{name: [value] for name, value in said.items()}))
    assert {name: row[name] for name in said} == said


def test_empty_cells_count_as_not_said(take: Take) -> None:
    missing = {"group_id": [None, "p"], "looks_nominal": [np.nan, 4.0], "sensor": [None, "terrasarx-sim"]}
    whole = pd.array([None, 5], dtype="Int64")
    chips = take(_chip(), _chip() * 2, **missing, first_row_px=whole, first_col_px=whole)
    rows = {row["source_path"]: row for row in chips.rows()}
    assert (rows["a/0.npy"]["group_id"], rows["a/1.npy"]["group_id"]) == ("a/0.npy", "p")
    assert (rows["a/0.npy"]["looks_nominal"], rows["a/1.npy"]["looks_nominal"]) == (2.0, 4.0)
    assert (rows["a/0.npy"]["first_row_px"], rows["a/1.npy"]["first_row_px"]) == (None, 5)


def test_a_real_chip_is_named_by_pixels_path_and_window(take: Take) -> None:
    row = _row(take(_chip(), first_row_px=[7], first_col_px=[9]))
    assert row["pixels_sha256"] == lineage.pixels_sha256(_chip())
    assert row["chip_id"] == lineage.real_chip_id(row["pixels_sha256"], "a/0.npy", (7, 9, 4, 3))


def test_the_same_picture_in_two_files_is_two_chips(take: Take) -> None:
    chips = take(_chip(), _chip())
    assert chips.manifest["chip_id"].nunique() == 2
    assert chips.manifest["pixels_sha256"].nunique() == 1


def test_a_simulated_chip_is_named_by_its_recipe(take: Take) -> None:
    recipe = lineage.recipe_sha256({"index": 1})
    truth = {"recipe_sha256": [recipe], "seed": [2**62 + 1], "truth_enl": [2.1]}
    row = _row(take(_chip(), origin="simulated", **truth))
    assert row["chip_id"] == recipe[:24]
    assert (row["origin"], row["seed"], row["truth_enl"]) == ("simulated", 2**62 + 1, 2.1)


def test_zeros_are_counted_as_no_data(take: Take) -> None:
    chip = _chip(4, 5)
    chip[0] = 0
    assert _row(take(chip))["nodata_fraction"] == 0.25


def test_complex_samples_become_intensity(take: Take) -> None:
    samples = np.array([[3 + 4j, 1j], [0, -2]], np.complex64)
    chips = take(samples, radiometry=Radiometry.INTENSITY)
    np.testing.assert_array_equal(chips.pixels(_row(chips)["chip_id"]), [[25, 1], [0, 4]])


@pytest.mark.parametrize("kind", [Radiometry.AMPLITUDE, Radiometry.UNKNOWN, Radiometry.UINT8_RELATIVE])
def test_complex_samples_declared_as_amplitude_are_refused(take: Take, kind: Radiometry) -> None:
    with pytest.raises(RadiometryError, match=rf"0\.npy: complex samples become intensity, but {kind} was"):
        take(np.ones((3, 3), np.complex64), radiometry=kind)


def test_8_bit_chips_stay_8_bit_levels(take: Take) -> None:
    levels = np.array([[0, 1], [254, 255]], np.uint8)
    chips = take(levels, radiometry=Radiometry.UINT8_RELATIVE)
    found = chips.pixels(_row(chips)["chip_id"])
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, levels)


def test_a_value_above_255_is_no_8_bit_level(take: Take) -> None:
    with pytest.raises(RadiometryError, match=r"0\.npy: declared uint8_relative, found a value of 256\n"):
        take(np.array([[1, 256]], np.uint16), radiometry=Radiometry.UINT8_RELATIVE)


@pytest.mark.parametrize(
    ("chip", "kind", "message"),
    [
        (np.full((3, 3), np.nan, np.float32), DataError, r"1\.npy: found 9 NaN or infinite values"),
        (np.array([[1, np.inf]], np.float32), DataError, r"1\.npy: found 1 NaN or infinite values"),
        (np.zeros((3, 3), np.float32), DataError, r"1\.npy: every pixel is zero\nFix: remove the chip"),
        (np.ones((3, 3), np.int64), DataError, r"1\.npy: found int64"),
        (np.ones((3, 3), bool), DataError, r"1\.npy: "),
        (np.ones((3, 3, 3), np.float32), DataError, r"1\.npy: found float32 of shape \(3, 3, 3\)"),
        (np.array([[-12.5, -3]], np.float32), RadiometryError, r"1\.npy: sigma0 pixels .* 2 negative"),
    ],
)
def test_a_bad_chip_is_named_and_leaves_no_set(
    take: Take, tmp_path: Path, chip: np.ndarray, kind: type[DataError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        take(_chip(), chip)
    assert not (tmp_path / "out/chipset.json").exists()


def test_a_missing_file_and_a_path_that_leads_out_are_errors(tmp_path: Path, profile: SensorProfile) -> None:
    (tmp_path / "raw").mkdir()
    np.save(tmp_path / "x.npy", _chip())
    for path, message in (("a/0.npy", r"0\.npy: cannot be read"), ("../x.npy", "must be relative to")):
        raw = RawSet(
            tmp_path / "raw", pd.DataFrame({"path": [path], "label": ["a"]}), Radiometry.SIGMA0, "real"
        )
        with pytest.raises(DataError, match=message):
            take_in(raw, profile, DISPLAY_DB, KEEP, tmp_path / f"out{len(path)}")


# 12 m are 12 px of 1 m in azimuth (rows) and 6 px of 2 m in range (cols)
EXACT, CROP = SizeRule("exact", 12.0), SizeRule("centre_crop", 12.0)


@pytest.mark.parametrize("size", [EXACT, CROP, SizeRule("keep", 12.0)])
def test_a_chip_of_the_footprint_is_left_as_it_is(take: Take, size: SizeRule) -> None:
    chips = take(_chip(12, 6), size=size)
    np.testing.assert_array_equal(chips.pixels(_row(chips)["chip_id"]), _chip(12, 6))


def test_keep_takes_any_size(take: Take) -> None:
    chips = take(_chip(3, 9), _chip(20, 2), size=SizeRule("keep", 12.0))
    assert {chips.pixels(row["chip_id"]).shape for row in chips.rows()} == {(3, 9), (20, 2)}


def test_a_larger_chip_is_cut_around_its_centre_and_its_window_follows(take: Take) -> None:
    chips = take(_chip(16, 9), size=CROP, first_row_px=[100], first_col_px=[200])
    row = _row(chips)
    # 4 rows too many: 2 on each side; 3 columns too many: 1 before and 2 behind
    np.testing.assert_array_equal(chips.pixels(row["chip_id"]), _chip(16, 9)[2:14, 1:7])
    assert (row["first_row_px"], row["first_col_px"]) == (102, 201)
    assert row["chip_id"] == lineage.real_chip_id(row["pixels_sha256"], "a/0.npy", (102, 201, 12, 6))


def test_a_cut_chip_without_a_window_stays_without(take: Take) -> None:
    row = _row(take(_chip(16, 9), size=CROP))
    assert (row["first_row_px"], row["first_col_px"]) == (None, None)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((16, 9), EXACT), ((11, 6), EXACT), ((6, 12), EXACT), ((11, 9), CROP), ((16, 5), CROP), ((6, 12), CROP)],
)
def test_another_size_is_an_error_naming_both(take: Take, shape: tuple[int, int], size: SizeRule) -> None:
    expected = rf"0\.npy: {shape[0]} x {shape[1]} px, but a footprint of 12.0 m at 1.0 x 2.0 m is 12 x 6 px"
    with pytest.raises(DataError, match=expected):
        take(_chip(*shape), size=size)


def test_the_spacing_of_a_row_decides_its_size(take: Take) -> None:
    spacing = {"azimuth_spacing_m": [1.0, 2.0], "range_spacing_m": [2.0, 1.0]}
    chips = take(_chip(12, 6), _chip(6, 12), size=EXACT, **spacing)
    assert {chips.pixels(row["chip_id"]).shape for row in chips.rows()} == {(12, 6), (6, 12)}


@pytest.mark.parametrize("size", [EXACT, KEEP])
def test_an_unknown_spacing_is_an_error(take: Take, profile: SensorProfile, size: SizeRule) -> None:
    blind = replace(profile, range_spacing_m=float("nan"))
    with pytest.raises(DataError, match=r"0\.npy: range_spacing_m is unknown\nFix: give it in the manifest"):
        take(_chip(12, 6), by=blind, size=size)


def test_another_sensor_in_a_row_is_an_error(take: Take) -> None:
    message = r"a/1\.npy: sensor fucheng1, but dataset names the profile terrasarx-sim\nFix: keep one sensor"
    with pytest.raises(DataError, match=message):
        take(_chip(), _chip(), sensor=["terrasarx-sim", "fucheng1"])


def test_an_empty_raw_folder_is_an_error(take: Take) -> None:
    with pytest.raises(DataError, match="no chip was written"):
        take()


def test_what_the_chipper_knows_of_a_chip_is_kept(take: Take) -> None:
    known = {
        "geometry": "slant",
        "look_direction": "right",
        "orbit_direction": "descending",
        "heading_deg": 190.5,
        "latitude_deg": 48.1,
        "longitude_deg": 11.3,
        "overlap_fraction": 0.25,
    }
    row = _row(take(_chip(), **known))
    assert {name: row[name] for name in known} == known


def _speckle(size: int = 64) -> np.ndarray:
    rng = np.random.default_rng(5)
    return (rng.normal(0, 30, (size, size)) + 1j * rng.normal(0, 30, (size, size))).astype(np.complex64)


def test_a_row_says_what_was_done_to_the_pixels(take: Take) -> None:
    amplitude = np.abs(_speckle())
    clipped = np.minimum(amplitude, np.quantile(amplitude, 0.98))
    chips = take(amplitude, np.pad(clipped, ((2, 0), (0, 0))), radiometry=Radiometry.AMPLITUDE)
    clean, marred = sorted(chips.rows(), key=lambda row: str(row["source_path"]))
    assert (clean["forensics"], clean["statistics"]) == ("", "absolute")
    assert (clean["border_px"], clean["wedge_fraction"], clean["grey_as_rgb"]) == (0, 0.0, False)
    assert (marred["forensics"], marred["statistics"]) == ("stretched border", "relative")
    assert marred["border_px"] == 2
    assert marred["saturated_fraction"] == pytest.approx(0.02, abs=0.002)


def test_complex_samples_themselves_are_examined(take: Take) -> None:
    size = 64
    spectrum = np.fft.fft2(_speckle(size))
    spectrum[:, 16:48] = 0  # half of the band in range, which detection would fill again
    row = _row(take(np.fft.ifft2(spectrum).astype(np.complex64), radiometry=Radiometry.INTENSITY))
    assert row["occupied_band_azimuth"] == 1.0
    assert row["occupied_band_range"] == pytest.approx(0.5, abs=0.08)


def test_a_chip_is_examined_in_the_window_that_is_kept(take: Take) -> None:
    samples = np.pad(_speckle(80), 8)  # a frame, which the crop cuts off
    row = _row(take(samples, radiometry=Radiometry.INTENSITY, size=SizeRule("centre_crop", 64.0)))
    assert (row["forensics"], row["border_px"]) == ("", 0)


def test_relative_radiometry_has_relative_statistics(take: Take) -> None:
    row = _row(take(np.abs(_speckle()), radiometry=Radiometry.UNKNOWN))
    assert (row["forensics"], row["statistics"]) == ("", "relative")


def test_small_chips_have_empty_cells_and_no_finding(take: Take) -> None:
    row = _row(take(np.full((8, 8), 7, np.uint16)))
    empty = ("saturated_fraction", "missing_levels_fraction", "comb_strength", "full_range")
    empty += ("jpeg_grid_strength", "occupied_band_azimuth", "occupied_band_range", "border_px")
    assert {row[name] for name in (*empty, "wedge_fraction")} == {None}
    assert (row["forensics"], row["statistics"]) == ("", "absolute")
