from __future__ import annotations

import importlib.util
import os
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io.scenes.cosar import CosarReader, open_cosar, read_header
from sarcurate.io.scenes.cosar_selftest import check_decoding
from sarcurate.io.scenes.scene import Geometry, NoSamplesError, Window

ROWS, COLS = 90, 110


def _load() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "data" / "make_products.py"
    spec = importlib.util.spec_from_file_location("make_products", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_products"] = module
    spec.loader.exec_module(module)
    return module


MAKING = _load()
SAMPLES: NDArray[np.complex64] = MAKING.speckle(ROWS, COLS, 3)


def _truth(version: int) -> NDArray[np.complex64]:
    parts = np.stack([SAMPLES.real, SAMPLES.imag], axis=-1)
    stored = parts.astype(np.float16) if version == 2 else parts.round()
    return stored.astype(np.float32).view(np.complex64)[..., 0]


@pytest.fixture(scope="module", params=[1, 2])
def cosar(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    path = tmp_path_factory.mktemp("cosar") / "image.cos"
    MAKING.write_cosar(path, SAMPLES, request.param)
    return path, request.param


def _edited(path: Path, edit: Callable[[bytearray], object]) -> Path:
    data = bytearray(path.read_bytes())
    edit(data)
    changed = path.with_name("edited.cos")
    changed.write_bytes(bytes(data))
    return changed


def _word(index: int, value: int) -> Callable[[bytearray], object]:
    return lambda data: struct.pack_into(">I", data, 4 * index, value)


# --- samples


def test_header(cosar: tuple[Path, int]) -> None:
    header = read_header(cosar[0])
    assert header.version == cosar[1]
    assert header.line_bytes == 4 * (COLS + 2)
    assert [(b.offset_bytes, b.rows, b.cols) for b in header.bursts] == [(0, ROWS, COLS)]


def test_scene_of_a_bare_file(cosar: tuple[Path, int]) -> None:
    with open_cosar(cosar[0]) as scene:
        assert scene.shape == (ROWS, COLS)
        assert scene.facts.geometry is Geometry.SLANT
        assert scene.facts.pixel_type == {1: "complex int16", 2: "complex float16"}[cosar[1]]
        assert scene.available_radiometries() == (Radiometry.INTENSITY,)
        assert scene.facts.warnings == (
            "no product annotation: spacing, incidence and calibration are unknown",
        )
        window = Window(0, 0, ROWS, COLS)
        assert scene.samples(window).dtype == np.complex64
        np.testing.assert_array_equal(scene.samples(window), _truth(cosar[1]))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_windows_are_cuts_of_the_whole(cosar: tuple[Path, int], data: st.DataObject) -> None:
    row, col = data.draw(st.integers(0, ROWS - 1)), data.draw(st.integers(0, COLS - 1))
    rows, cols = data.draw(st.integers(1, ROWS - row)), data.draw(st.integers(1, COLS - col))
    with open_cosar(cosar[0]) as scene:
        cut = scene.samples(Window(row, col, rows, cols))
    np.testing.assert_array_equal(cut, _truth(cosar[1])[row : row + rows, col : col + cols])


def test_gdal_reads_the_same_samples(cosar: tuple[Path, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(cosar[0]) as file, open_cosar(cosar[0]) as scene:
            np.testing.assert_array_equal(file.read(1), scene.samples(Window(0, 0, ROWS, COLS)))


def test_samples_outlive_the_scene(cosar: tuple[Path, int]) -> None:
    with open_cosar(cosar[0]) as scene:
        samples = scene.samples(Window(0, 0, 4, 4))
    assert np.isfinite(samples).all()


# --- validity


@pytest.mark.parametrize("version", [1, 2])
def test_invalid_range_samples_are_nan(tmp_path: Path, version: int) -> None:
    MAKING.write_cosar(tmp_path / "a.cos", SAMPLES, version, valid=(6, 100))
    with open_cosar(tmp_path / "a.cos") as scene:
        valid = np.isfinite(scene.samples(Window(0, 0, ROWS, COLS)))
        expected = np.zeros((ROWS, COLS), bool)
        expected[:, 5:100] = True
        np.testing.assert_array_equal(valid, expected)
        inside = scene.samples(Window(0, 5, ROWS, 95))
        np.testing.assert_array_equal(inside, _truth(version)[:, 5:100])
        with pytest.raises(NoSamplesError, match="NaN or infinite samples"):
            scene.detected(Window(0, 4, 3, 3), Radiometry.INTENSITY)


def test_invalid_azimuth_samples_are_nan(tmp_path: Path) -> None:
    MAKING.write_cosar(tmp_path / "a.cos", SAMPLES, 1)
    line = COLS + 2

    def edit(data: bytearray) -> None:
        _word(2 * line + 2 + 7, 11)(data)  # column 7: first valid line 11
        _word(3 * line + 2 + 9, 40)(data)  # column 9: last valid line 40

    with open_cosar(_edited(tmp_path / "a.cos", edit)) as scene:
        valid = np.isfinite(scene.samples(Window(0, 0, ROWS, COLS)))
    expected = np.ones((ROWS, COLS), bool)
    expected[:10, 7], expected[40:, 9] = False, False
    np.testing.assert_array_equal(valid, expected)


def test_line_without_valid_samples(tmp_path: Path) -> None:
    MAKING.write_cosar(tmp_path / "a.cos", SAMPLES, 1)
    first = (4 + 20) * (COLS + 2)
    path = _edited(tmp_path / "a.cos", lambda data: (_word(first, 0)(data), _word(first + 1, 0)(data)))
    with open_cosar(path) as scene:
        valid = np.isfinite(scene.samples(Window(19, 3, 3, 5)))
    np.testing.assert_array_equal(valid.all(axis=1), [True, False, True])
    assert not valid[1].any()


def test_bursts_are_read_one_by_one_and_make_no_scene(tmp_path: Path) -> None:
    MAKING.write_cosar(tmp_path / "a.cos", SAMPLES, 1, bursts=3)
    size = 4 * (COLS + 2) * (ROWS + 4)
    assert [burst.offset_bytes for burst in read_header(tmp_path / "a.cos").bursts] == [0, size, 2 * size]
    reader = CosarReader(tmp_path / "a.cos", burst=2)
    np.testing.assert_array_equal(reader.read(Window(0, 0, ROWS, COLS)), _truth(1))
    with pytest.raises(DataError, match=r"3 bursts \(ScanSAR\), expected 1"):
        open_cosar(tmp_path / "a.cos")
    with pytest.raises(DataError, match="burst 3 was asked for, the file has 3"):
        CosarReader(tmp_path / "a.cos", burst=3)


# --- broken files

LINE = COLS + 2
BROKEN: dict[str, tuple[Callable[[bytearray], object], str]] = {
    "empty": (lambda data: data.clear(), "truncated inside a burst header"),
    "short header": (lambda data: data.__delitem__(slice(30, None)), "truncated inside a burst header"),
    "truncated": (lambda data: data.__delitem__(slice(-1, None)), "truncated: the file has"),
    "trailing bytes": (lambda data: data.extend(b"\0" * 4), "truncated inside a burst header"),
    "trailing line": (lambda data: data.extend(b"\0" * 4 * LINE), "no burst header at byte"),
    "magic": (_word(7, 0x43534158), "expected b'CSAR'"),
    "version 0": (_word(8, 0), "COSAR version 0, expected 1"),
    "version 3": (_word(8, 3), "COSAR version 3, expected 1"),
    "version little-endian": (_word(8, 1 << 24), "COSAR version 16777216"),
    "no lines": (_word(3, 0), "burst of 0 lines"),
    "absurd lines": (_word(3, 0xFFFFFFFF), "burst of 4294967295 lines"),
    "many lines": (_word(3, 1 << 20), "lines of 448 bytes make"),
    "more lines": (lambda data: (_word(3, 200)(data), _word(0, 0)(data)), "truncated: the file has"),
    "no samples": (_word(2, 0), "x 0 samples"),
    "wide": (_word(2, COLS + 1), "lines of 448 bytes cannot hold 111 samples"),
    "line bytes": (_word(5, 4 * LINE + 1), "lines of 449 bytes cannot hold"),
    "line bytes zero": (_word(5, 0), "lines of 0 bytes cannot hold"),
    "burst bytes": (_word(0, 4000), "header says 4000 bytes in the burst"),
    "total lines": (_word(6, 5), "header says 5 lines in all, found 94"),
    "first valid line": (_word(2 * LINE + 5, ROWS + 1), "annotation of the first valid line says 1 to 91"),
    "last valid line": (_word(3 * LINE + 5, 0x7F7F7F7F), "annotation of the last valid line says"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(cosar: tuple[Path, int], name: str) -> None:
    edit, message = BROKEN[name]
    with pytest.raises(DataError, match=message):
        open_cosar(_edited(cosar[0], edit))


def test_other_float_layout_is_refused(tmp_path: Path) -> None:
    MAKING.write_cosar(tmp_path / "a.cos", SAMPLES, 2)
    with pytest.raises(DataError, match=r"float layout \(1, 8, 10\)"):
        open_cosar(_edited(tmp_path / "a.cos", _word(13, 8)))
    unset = _edited(tmp_path / "a.cos", lambda data: [_word(index, 0)(data) for index in (12, 13, 14)])
    with open_cosar(unset):
        pass


def test_valid_range_out_of_the_line_is_refused(cosar: tuple[Path, int]) -> None:
    path = _edited(cosar[0], _word((4 + 12) * LINE + 1, COLS + 1))
    with open_cosar(path) as scene:
        scene.samples(Window(0, 0, 12, COLS))
        with pytest.raises(DataError, match="line 12 calls samples 1 to 111 valid, a line has 110"):
            scene.samples(Window(10, 0, 5, 5))


def test_missing_file_and_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.cos")
    for name in ("none.cos", "pipe.cos"):
        with pytest.raises(DataError, match="there is no such file"):
            open_cosar(tmp_path / name)


def test_file_that_shrinks_while_open(tmp_path: Path) -> None:
    MAKING.write_cosar(tmp_path / "a.cos", SAMPLES, 1)
    with open_cosar(tmp_path / "a.cos") as scene:
        os.truncate(tmp_path / "a.cos", 1000)
        with pytest.raises(DataError, match="size changed while it was open"):
            scene.samples(Window(0, 0, 4, 4))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_mutated_headers_give_a_scene_or_a_data_error(cosar: tuple[Path, int], data: st.DataObject) -> None:
    def edit(octets: bytearray) -> None:
        for _ in range(data.draw(st.integers(1, 4))):
            octets[data.draw(st.integers(0, 59))] = data.draw(st.integers(0, 255))
        del octets[data.draw(st.integers(0, len(octets))) :]

    try:
        with open_cosar(_edited(cosar[0], edit)) as scene:
            scene.samples(Window(0, 0, *scene.shape))
    except DataError:
        pass


# --- the self-test on decoding


def _packed(parts: NDArray[np.generic]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(parts).view(">u4")[..., 0].astype(np.uint32)


def _forms(iq: NDArray[np.floating]) -> dict[str, tuple[NDArray[np.uint32], int, bool]]:
    """Name to (words, version told, decoded rightly)."""
    integers, halves = iq.round().clip(-32768, 32767).astype(">i2"), iq.astype(">f2")
    return {
        "integers": (_packed(integers), 1, True),
        "halves": (_packed(halves), 2, True),
        "integers as halves": (_packed(integers), 2, False),
        "halves as integers": (_packed(halves), 1, False),
        "integers swapped": (_packed(integers.byteswap()), 1, False),
        "halves swapped": (_packed(halves.byteswap()), 2, False),
    }


@pytest.mark.parametrize("sigma", [3.0, 30.0, 300.0, 3000.0])
@pytest.mark.parametrize("form", _forms(np.ones((2, 2))))
def test_wrong_decoding_of_speckle_is_noticed(sigma: float, form: str) -> None:
    iq = np.random.default_rng(0).normal(0, sigma, (120, 120, 2))
    words, version, right = _forms(iq)[form]
    if right:
        assert check_decoding(words, version, "x") == ()
        return
    with pytest.raises(
        DataError, match=f"x: decoded as COSAR version {version}, the samples are no SAR image"
    ):
        check_decoding(words, version, "x")


def test_zeros_and_a_dark_scene_only_warn() -> None:
    zeros = np.zeros(10_000, np.uint32)
    assert "too few to test their decoding" in check_decoding(zeros, 1, "x")[0]
    dark = np.random.default_rng(0).normal(0, 0.5, (200, 200, 2))
    assert "a few integer levels" in check_decoding(_packed(dark.round().astype(">i2")), 1, "x")[0]


def test_saturated_samples_warn() -> None:
    # Gaussian clipped at one standard deviation has kurtosis near 1.6, at two 2.4
    iq = np.random.default_rng(0).normal(0, 8000, (200, 200, 2)).clip(-15000, 15000)
    assert "saturated" in check_decoding(_packed(iq.round().astype(">i2")), 1, "x")[0]


def test_a_swapped_version_word_is_noticed_on_opening(cosar: tuple[Path, int]) -> None:
    path = _edited(cosar[0], _word(8, 3 - cosar[1]))
    with pytest.raises(DataError, match="the samples are no SAR image"):
        open_cosar(path)


# --- real data


@pytest.fixture(scope="module")
def tiles() -> Path:
    folder = Path(os.environ.get("SARCURATE_MIRROR", "")) / "tsx-tiles"
    if not (folder / "manifest.csv").is_file():
        pytest.skip("tsx-tiles is not in SARCURATE_MIRROR")
    return folder


@pytest.mark.real
def test_real_tile_sample_for_sample(tiles: Path) -> None:
    truth = np.load(tiles / "tsx_3527_vv_r2517_c3871.npy").astype(np.float32)
    with open_cosar(tiles / "tsx_3527_vv_r2517_c3871.cos") as scene:
        samples = scene.samples(Window(0, 0, *scene.shape))
    np.testing.assert_array_equal(samples, truth[..., 0] + 1j * truth[..., 1])


@pytest.mark.real
def test_wrong_decoding_of_real_tiles_is_noticed(tiles: Path) -> None:
    paths = sorted(tiles.glob("*.npy"))
    assert len(paths) == 5
    for path in paths:
        for name, (words, version, right) in _forms(np.load(path).astype(float)).items():
            if right:
                assert check_decoding(words, version, name) == (), (path.name, name)
                continue
            with pytest.raises(DataError, match="no SAR image"):
                check_decoding(words, version, name)
