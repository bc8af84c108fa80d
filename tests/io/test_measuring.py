from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scorecard import COLUMNS
from sarcurate.errors import DataError, ParamsError, RadiometryError
from sarcurate.io.chipset import ChipSetWriter
from sarcurate.io.manifest import Header
from sarcurate.io.measuring import MAIN, as_lines, as_table, measure_paths, radiometry_of

LOOKS = 3


def speckle(seed: int = 0, side: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).gamma(LOOKS, 100 / LOOKS, (side, side)).astype(np.float32)


def save(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".tif":
        profile = {"driver": "GTiff", "height": array.shape[0], "width": array.shape[1], "count": 1}
        with (
            pytest.warns(NotGeoreferencedWarning),
            rasterio.open(path, "w", dtype=array.dtype.name, **profile) as file,
        ):
            file.write(array, 1)
    else:
        Image.fromarray(array).save(path)
    return path


def one(path: Path, radiometry: Radiometry, **options: Any) -> dict[str, Any]:
    (record,) = measure_paths([path], radiometry, **options)
    assert list(record) == ["chip", "enl_domain", *COLUMNS, "reasons"]
    assert {name for name in COLUMNS if record[name] is None} == set(record["reasons"])
    return record


def field() -> np.ndarray:
    rng = np.random.default_rng(4)
    return (rng.standard_normal((128, 128)) + 1j * rng.standard_normal((128, 128))).astype(np.complex64)


@pytest.mark.parametrize(
    ("name", "array", "radiometry", "domain", "looks"),
    [
        ("a.tif", speckle(), Radiometry.SIGMA0, "sigma0", LOOKS),
        ("a.npy", np.sqrt(speckle()), Radiometry.AMPLITUDE, "intensity", LOOKS),
        ("a.tif", (100 * np.sqrt(speckle())).astype(np.uint16), Radiometry.AMPLITUDE, "intensity", LOOKS),
        ("a.png", (1000 * np.sqrt(speckle())).astype(np.uint16), Radiometry.AMPLITUDE, "intensity", LOOKS),
        ("a.npy", field(), Radiometry.INTENSITY, "intensity", 1),
        ("a.npy", np.stack([field().real, field().imag], -1), Radiometry.INTENSITY, "intensity", 1),
    ],
    ids=["tiff-float", "npy-amplitude", "tiff-uint16", "png-uint16", "npy-complex", "npy-iq"],
)
def test_looks_of_every_kind_of_file_are_those_of_its_speckle(
    tmp_path: Path, name: str, array: np.ndarray, radiometry: Radiometry, domain: str, looks: float
) -> None:
    found = one(save(tmp_path / name, array), radiometry)
    assert found["enl_domain"] == domain
    assert abs(found["enl"] - looks) < 4 * found["enl_stderr"] < 0.5 * looks
    assert 0 < found["hf_energy_ratio"] < 1


def test_eight_bit_looks_are_relative_and_say_so(tmp_path: Path) -> None:
    array = np.clip(4 * np.sqrt(speckle()), 1, 250).astype(np.uint8)
    for name in ("a.png", "a.jpg"):
        found = one(save(tmp_path / name, array), Radiometry.UINT8_RELATIVE)
        assert found["enl_domain"] == "uint8_relative"
        assert found["enl"] > 0


def test_undeclared_radiometry_gives_no_looks_but_a_reason(tmp_path: Path) -> None:
    found = one(save(tmp_path / "a.tif", speckle()), Radiometry.UNKNOWN)
    for name in ("enl", "enl_stderr", "log_cumulant_2", "gamma_looks", "dynamic_range_db"):
        assert found[name] is None
        assert "radiometry" in found["reasons"][name]
    assert found["enl_domain"] == "unknown"


def test_spacing_gives_lengths(tmp_path: Path) -> None:
    chip = speckle(side=64)
    chip[20:44, 28:36] *= 100
    path = save(tmp_path / "a.npy", chip)
    assert one(path, Radiometry.SIGMA0)["target_length_m"] is None
    near, far = (
        one(path, Radiometry.SIGMA0, spacing_m=spacing)["target_length_m"] for spacing in ((1, 1), (1, 2))
    )
    assert far == pytest.approx(2 * near, rel=0.02)  # the bar lies along azimuth
    with pytest.raises(ParamsError, match="expected two lengths in metres above 0"):
        measure_paths([path], Radiometry.SIGMA0, (1.0, 0.0))


def test_folders_hold_files_of_any_size_each_on_its_own(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    paths = [tmp_path / name for name in ("a.npy", "b.tif", "deep/c.npy")]
    for seed, (path, side) in enumerate(zip(paths, (64, 128, 8), strict=True)):
        save(path, speckle(seed, side))
    (tmp_path / "notes.txt").write_text("no picture")
    together = measure_paths([tmp_path], Radiometry.SIGMA0)
    assert [record["chip"] for record in together] == [str(path) for path in paths]
    for path, record in zip(paths, together, strict=True):
        assert one(path, Radiometry.SIGMA0) == record
    assert measure_paths([tmp_path], Radiometry.SIGMA0, workers=2) == together
    assert together[2]["enl"] is None


def test_chipsets_are_taken_as_such(tmp_path: Path) -> None:
    root = tmp_path / "set"
    with ChipSetWriter(root, Header("s", Radiometry.SIGMA0, "test", (-25.0, 10.0))) as writer:
        row = {
            "origin": "real",
            "label": "a",
            "group_id": "g",
            "range_spacing_m": 1.0,
            "azimuth_spacing_m": 2.0,
        }
        for index in range(3):
            writer.add({"chip_id": f"{index:024d}", **row}, speckle(index))
    found = measure_paths([root], Radiometry.SIGMA0)
    assert [record["chip"] for record in found] == [f"{index:024d}" for index in range(3)]
    file = save(tmp_path / "a.npy", speckle(1))
    alone = one(file, Radiometry.SIGMA0, spacing_m=(1.0, 2.0))
    assert alone["reasons"] == found[1]["reasons"]
    for name in set(COLUMNS) - set(alone["reasons"]):
        assert alone[name] == pytest.approx(found[1][name], rel=1e-9, abs=1e-12), name
    with pytest.raises(RadiometryError, match="holds sigma0 chips, declared was intensity"):
        measure_paths([root], Radiometry.INTENSITY)
    with pytest.raises(ParamsError, match="whose manifest holds the spacing"):
        measure_paths([root], Radiometry.SIGMA0, (1.0, 1.0))


BAD: dict[str, tuple[np.ndarray, Radiometry, type[Exception], str]] = {
    "negative": (-speckle(), Radiometry.SIGMA0, RadiometryError, r"bad\.npy.*16384 negative"),
    "nan": (np.where(speckle() > 200, np.nan, 1), Radiometry.SIGMA0, DataError, r"bad\.npy.*NaN"),
    "complex": (field(), Radiometry.AMPLITUDE, RadiometryError, r"bad\.npy.*complex samples"),
    "float as 8 bit": (speckle(), Radiometry.UINT8_RELATIVE, RadiometryError, r"bad\.npy.*float32 pixels"),
    "too large": (np.zeros((1, 2049), np.uint8), Radiometry.AMPLITUDE, DataError, r"bad\.npy.*1 x 2049"),
    "colour": (np.zeros((8, 8, 3), np.uint8), Radiometry.AMPLITUDE, DataError, r"bad\.npy"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    array, radiometry, kind, message = BAD[name]
    save(tmp_path / "bad.npy", array)
    save(tmp_path / "good.npy", np.abs(speckle()))
    with pytest.raises(kind, match=message):
        measure_paths([tmp_path], radiometry)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "found no image"),
        (lambda path: None, "cannot be read|No such file|expected one of"),
        (lambda path: path.write_text("x"), "expected one of .npy"),
    ],
    ids=["empty", "missing", "text"],
)
def test_paths_without_images_are_refused(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "x.txt")
    with pytest.raises(DataError, match=message):
        measure_paths([tmp_path / "x.txt"], Radiometry.SIGMA0)


@pytest.mark.parametrize(
    "array",
    [np.ones((64, 64), np.float32), np.zeros((64, 64), np.float32), np.minimum(speckle(), 60), speckle(1, 8)],
    ids=["constant", "zero", "saturated", "8 px"],
)
def test_odd_chips_have_values_or_reasons(tmp_path: Path, array: np.ndarray) -> None:
    found = one(save(tmp_path / "a.npy", array), Radiometry.INTENSITY)
    assert found["enl"] is None or found["saturated_fraction"] > 0
    assert json.loads(next(as_lines([found]))) == found


def test_the_table_shows_medians_and_why_there_are_none(tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path / f"{seed}.npy", speckle(seed))
    save(tmp_path / "9.npy", np.ones((64, 64), np.float32))
    records = measure_paths([tmp_path], Radiometry.SIGMA0)
    lines = as_table(records, Radiometry.SIGMA0)
    assert lines[0] == "4 chips, radiometry sigma0"
    assert [line.split()[0] for line in lines[2:]] == list(MAIN)
    shown = dict(zip(MAIN, lines[2:], strict=True))
    middle = np.median([record["enl"] for record in records[:3]])
    assert shown["enl"].split()[1] == f"{middle:.4g}"
    assert records[3]["reasons"]["enl"] in shown["enl"]
    assert (
        "pixel spacing not known (3)" in shown["irw_range_m"]
        or "no isolated bright point" in shown["irw_range_m"]
    )
    assert as_table(records, Radiometry.UINT8_RELATIVE)[0].endswith("uint8_relative (relative)")


@pytest.mark.parametrize("kind", Radiometry)
def test_every_radiometry_can_be_declared(kind: Radiometry) -> None:
    assert radiometry_of(kind.value) is kind


def test_decibels_and_other_words_are_refused_with_a_way_out() -> None:
    with pytest.raises(ParamsError, match=r"10 \*\* \(db / 10\)"):
        radiometry_of("dB")
    with pytest.raises(ParamsError, match="expected one of intensity, amplitude, beta0, sigma0"):
        radiometry_of("power")
