from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from sarcurate.errors import DataError
from sarcurate.io.raster import read_chip, read_samples, read_tiff, storable, write_preview, write_tiff
from sarcurate.io.safe import ImageLimits

SHARED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD = pytest.mark.filterwarnings(
    f"ignore::{NotGeoreferencedWarning.__module__}.{NotGeoreferencedWarning.__name__}"
)


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def _npy(path: Path, array: np.ndarray[Any, Any]) -> Path:
    np.save(path, array)
    return path


def _gdal(path: Path, array: np.ndarray[Any, Any], **options: Any) -> Path:
    bands = array if array.ndim == 3 else array[None]
    kind = options.pop("dtype", array.dtype.name)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=bands.shape[1],
        width=bands.shape[2],
        count=len(bands),
        dtype=kind,
        **options,
    ) as file:
        file.write(bands)
    return path


def _read_by_pillow(path: Path) -> tuple[str, np.ndarray[Any, Any]]:
    with Image.open(path) as image:
        return image.mode, np.asarray(image).copy()


CHIPS = st.one_of(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=70),
        elements=st.floats(0, 2.0**127, width=32),
    ),
    hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=70)),
)


@ODD
@SHARED
@given(CHIPS)
def test_chips_round_trip_bit_for_bit_and_to_the_same_file(
    tmp_path: Path, array: np.ndarray[Any, Any]
) -> None:
    write_tiff(tmp_path / "a.tif", array)
    write_tiff(tmp_path / "b.tif", np.asfortranarray(array))
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.count, file.compression.name) == (1, "deflate")
        by_gdal = file.read(1)
    mode, by_pillow = _read_by_pillow(tmp_path / "a.tif")
    assert mode == ("F" if array.dtype == np.float32 else "I;16")
    for found in (read_tiff(tmp_path / "a.tif"), read_chip(tmp_path / "a.tif").values, by_pillow, by_gdal):
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.tobytes() == array.tobytes()


def test_writing_leaves_one_file_and_takes_big_endian(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    write_tiff(tmp_path / "a.tif", array.astype(">f4"))
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif"), array)
    assert _names(tmp_path) == ["a.tif"]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.float64),
        np.zeros((4, 4), np.complex64),
        np.zeros((4, 4), np.int16),
        np.zeros((4, 4, 2), np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros((1, 8193), np.float32),
        np.array([[1.0, np.nan]], np.float32),
        np.array([[1.0, np.inf]], np.float32),
    ],
)
def test_what_no_chip_may_hold_is_not_written(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(DataError, match=r"a\.tif"):
        write_tiff(tmp_path / "a.tif", array)
    assert _names(tmp_path) == []


def test_8_bit_levels_are_stored_as_16_bit_unchanged() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = storable(levels, "chip")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, levels)


def test_read_tiff_refuses_other_types(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="found uint8 pixels, expected float32 or uint16"):
        read_tiff(tmp_path / "a.tif")
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match="NaN"):
        read_tiff(tmp_path / "b.tif")


def test_a_preview_is_a_grey_png(tmp_path: Path) -> None:
    array = np.arange(256, dtype=np.uint8).reshape(8, 32)
    write_preview(tmp_path / "p.png", array)
    mode, found = _read_by_pillow(tmp_path / "p.png")
    assert mode == "L"
    np.testing.assert_array_equal(found, array)
    with pytest.raises(DataError, match="2-D uint8"):
        write_preview(tmp_path / "q.png", array.astype(np.float32))  # type: ignore[arg-type]


IQ = hnp.arrays(np.int16, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(2)))


@SHARED
@given(IQ)
def test_iq_becomes_the_intensity_rounded_once(tmp_path: Path, iq: np.ndarray[Any, Any]) -> None:
    found = read_chip(_npy(tmp_path / "a.npy", iq))
    # whole numbers of any size in plain Python, rounded to float32 once
    exact = [[np.float32(int(i) ** 2 + int(q) ** 2) for i, q in row] for row in iq]
    np.testing.assert_array_equal(found.values, np.array(exact, np.float32))
    assert (found.was_complex, found.source_dtype, found.values.dtype) == (True, "iq:int16", np.float32)


def test_complex_and_iq_spellings_agree(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    iq = rng.integers(-3000, 3000, (5, 7, 2)).astype(np.int16)
    samples = (iq[..., 0] + 1j * iq[..., 1]).astype(np.complex64)
    expected = iq[..., 0].astype(int) ** 2 + iq[..., 1].astype(int) ** 2
    spellings = [iq, iq.astype(np.float32), iq.astype(">i2"), samples, samples.astype(np.complex128)]
    for array in (*spellings, np.asfortranarray(samples)):
        found = read_chip(_npy(tmp_path / "a.npy", array))
        assert found.was_complex
        np.testing.assert_array_equal(found.values, expected)


@pytest.mark.parametrize(
    ("kind", "out"),
    [("u1", "u1"), ("<u2", "u2"), (">u2", "u2"), ("f2", "f4"), ("f4", "f4"), (">f4", "f4"), ("f8", "f4")],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_detected_npy_keeps_values(tmp_path: Path, kind: str, out: str, order: Any) -> None:
    array = np.array(np.arange(24).reshape(4, 6), dtype=kind, order=order)
    found = read_chip(_npy(tmp_path / "a.npy", array))
    assert (found.values.dtype, found.was_complex) == (np.dtype(out), False)
    np.testing.assert_array_equal(found.values, np.arange(24).reshape(4, 6))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4), np.int16), "found int16 of shape"),
        (np.zeros((4, 4), np.bool_), "found bool"),
        (np.zeros((4, 4, 3), np.float32), r"found float32 of shape \(4, 4, 3\)"),
        (np.zeros((4, 4, 2), np.uint16), "found uint16 of shape"),
        (np.zeros((4, 4, 2), np.complex64), "found complex64 of shape"),
        (np.zeros((4,), np.float32), r"of shape \(4,\)"),
        (np.zeros((0, 4), np.float32), "0 x 4 pixels"),
        (np.zeros((8193, 1), np.uint8), "8193 x 1 pixels"),
        (np.zeros((4, 4), [("a", "f4")]), "found"),
        (np.array([["a"]]), "found <U1"),
        (np.array([[1.0, np.nan]]), "1 NaN or infinite"),
        (np.array([[1.0, np.inf]], np.float32), "1 NaN or infinite"),
        (np.array([[1.0, complex(0, np.nan)]]), "1 NaN or infinite"),
        (np.array([[1e39]]), "overflows float32"),
        (np.array([[1e20 + 0j]], np.complex64), "overflows float32"),
    ],
)
def test_npy_that_is_no_chip_is_refused(tmp_path: Path, array: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_chip(_npy(tmp_path / "a.npy", array))
    assert "a.npy" in caught.value.problem
    assert caught.value.fix


def test_pickled_npy_is_refused_without_running_it(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "trapped"),))

    np.save(tmp_path / "a.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="found object"):
        read_chip(tmp_path / "a.npy")
    assert not (tmp_path / "trapped").exists()


def test_an_npy_header_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": (8000, 8000)}
    )
    (tmp_path / "a.npy").write_bytes(buffer.getvalue() + bytes(64))
    with pytest.raises(DataError, match="found 64 bytes of samples, expected 256000000"):
        read_chip(tmp_path / "a.npy")
    good = _npy(tmp_path / "b.npy", np.zeros((8, 8), np.float32)).read_bytes()
    (tmp_path / "b.npy").write_bytes(good + b"x")
    with pytest.raises(DataError, match="found 257 bytes of samples"):
        read_chip(tmp_path / "b.npy")


def _grey_files(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    eight = np.random.default_rng(0).integers(0, 256, (12, 10)).astype(np.uint8)
    Image.fromarray(eight).save(folder / "a.png")
    Image.fromarray(eight.astype(np.uint16) * 257).save(folder / "b.png")
    Image.fromarray(eight).save(folder / "c.jpg", quality=95)
    Image.fromarray(eight).save(folder / "d.tiff")
    with Image.open(folder / "c.jpg") as image:
        decoded = np.asarray(image).copy()
    return {"a.png": eight, "b.png": eight.astype(np.uint16) * 257, "c.jpg": decoded, "d.tiff": eight}


def test_grey_pictures_keep_values(tmp_path: Path) -> None:
    for name, expected in _grey_files(tmp_path).items():
        found = read_chip(tmp_path / name)
        assert found.values.dtype == expected.dtype
        np.testing.assert_array_equal(found.values, expected)


@ODD
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ENDIANNESS": "BIG"},
        {"ENDIANNESS": "BIG", "compress": "deflate"},
        {"compress": "lzw", "predictor": 2},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"BIGTIFF": "YES"},
    ],
)
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "float64", "complex64"])
def test_tiff_of_any_layout_keeps_values(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    array = np.arange(20 * 12).reshape(20, 12).astype(kind)
    found = read_chip(_gdal(tmp_path / "a.tif", array, **options))
    assert found.was_complex == (kind == "complex64")
    expected = np.arange(20 * 12).reshape(20, 12)
    np.testing.assert_array_equal(found.values, expected**2 if found.was_complex else expected)


@ODD
def test_sentinel_1_style_complex_integers_are_detected(tmp_path: Path) -> None:
    samples = np.full((3, 4), 3 + 4j, np.complex64)
    found = read_chip(_gdal(tmp_path / "a.tif", samples, dtype="complex_int16"))
    assert found.was_complex
    np.testing.assert_array_equal(found.values, np.full((3, 4), 25, np.float32))


@ODD
@pytest.mark.parametrize(
    ("bands", "options", "message"),
    [
        (1, {"dtype": "int16"}, "found int16"),
        (2, {}, "found 2 bands"),
        (1, {"photometric": "MINISWHITE"}, "white is zero"),
        (1, {"photometric": "PALETTE"}, "palette"),
        (1, {"nodata": 3}, None),
    ],
)
def test_tiff_that_is_no_grey_chip_is_refused(
    tmp_path: Path, bands: int, options: dict[str, Any], message: str | None
) -> None:
    _gdal(tmp_path / "a.tif", np.ones((bands, 8, 8), np.uint8), **options)
    if message is None:
        assert read_chip(tmp_path / "a.tif").values.sum() == 64
        return
    with pytest.raises(DataError, match=message):
        read_chip(tmp_path / "a.tif")


@ODD
def test_a_scale_in_the_header_is_not_ignored(tmp_path: Path) -> None:
    _gdal(tmp_path / "a.tif", np.ones((8, 8), np.uint16))
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.scales = (0.5,)
    with pytest.raises(DataError, match=r"scale 0\.5"):
        read_chip(tmp_path / "a.tif")


def test_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.zeros((8, 8), np.uint8)), Image.fromarray(np.ones((8, 8), np.uint8))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "a.png", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="several pages"):
        read_chip(tmp_path / "a.tif")
    with pytest.raises(DataError, match="2 frames"):
        read_chip(tmp_path / "a.png")


def _grey_ramp() -> np.ndarray:
    return np.linspace(20, 220, 16 * 12).reshape(16, 12).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_three_equal_channels_are_one(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.stack([_grey_ramp()] * 3, axis=-1)).save(path)
    found = read_chip(path)
    assert (found.was_rgb, found.was_jpeg) == (True, suffix == "jpg")
    decoded = np.asarray(Image.open(path))
    np.testing.assert_array_equal(found.values, decoded[..., 0])
    assert found.values.dtype == np.uint8
    np.testing.assert_array_equal(read_samples(path), decoded[..., 0])


@ODD
def test_three_equal_16_bit_channels_of_a_tiff_are_one(tmp_path: Path) -> None:
    grey = _grey_ramp().astype(np.uint16) * 250
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        width=12,
        height=16,
        count=3,
        dtype="uint16",
        photometric="RGB",
    ) as file:
        file.write(np.stack([grey] * 3))
    found = read_chip(tmp_path / "a.tif")
    assert found.was_rgb
    np.testing.assert_array_equal(found.values, grey)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_different_channels_are_refused(tmp_path: Path, suffix: str, channel: int) -> None:
    bands = np.full((16, 16, 3), 90, np.uint8)
    bands[3:9, 4:9, channel] = 200
    Image.fromarray(bands).save(tmp_path / f"a.{suffix}")
    with pytest.raises(DataError, match=rf"a\.{suffix}: found RGB with different colour channels") as caught:
        read_chip(tmp_path / f"a.{suffix}")
    assert caught.value.fix == "export the grey SAR picture, not a colour view of it"


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGBA", "png"), ("RGBA", "tif"), ("CMYK", "jpg"), ("CMYK", "tif")]
)
def test_four_channels_are_refused_though_they_look_grey(tmp_path: Path, mode: str, suffix: str) -> None:
    Image.fromarray(_grey_ramp()).convert("RGB").convert(mode).save(tmp_path / f"a.{suffix}")
    with pytest.raises(DataError, match=f"found (mode {mode}|4 bands)"):
        read_chip(tmp_path / f"a.{suffix}")


@ODD
def test_three_bands_that_are_no_colours_are_refused(tmp_path: Path) -> None:
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=12, height=16, count=3, dtype="float32"
    ) as file:
        file.write(np.ones((3, 16, 12), np.float32))
    with pytest.raises(DataError, match="3 bands"):
        read_chip(tmp_path / "a.tif")


def test_limits_count_all_three_bands_of_a_tiff(tmp_path: Path) -> None:
    Image.fromarray(np.stack([_grey_ramp()] * 3, axis=-1)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="expected 1 to 11 a side"):
        read_chip(tmp_path / "a.tif", ImageLimits(max_side_px=11, max_bytes=1 << 20))


def test_a_tiff_compressed_by_jpeg_is_named(tmp_path: Path) -> None:
    for compression in ("jpeg", "tiff_adobe_deflate"):
        Image.fromarray(_grey_ramp()).save(tmp_path / "a.tif", compression=compression)
        found = read_chip(tmp_path / "a.tif")
        assert (found.was_jpeg, found.was_rgb) == (compression == "jpeg", False)


def test_complex_samples_are_kept_beside_their_intensity(tmp_path: Path) -> None:
    iq = np.array([[[3, 4], [-32768, 32767]]], np.int16)
    np.save(tmp_path / "iq.npy", iq)
    np.save(tmp_path / "c.npy", (iq[..., 0] + 1j * iq[..., 1]).astype(np.complex128))
    np.save(tmp_path / "real.npy", np.ones((2, 2), np.float32))
    for name in ("iq", "c"):
        samples = read_chip(tmp_path / f"{name}.npy").samples
        assert samples is not None
        assert samples.dtype == np.complex64
        np.testing.assert_array_equal(samples, [[3 + 4j, -32768 + 32767j]])
    assert read_chip(tmp_path / "real.npy").samples is None


@pytest.mark.parametrize("mode", ["1", "P", "LA"])
def test_pictures_that_pillow_would_convert_are_refused(tmp_path: Path, mode: str) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=f"found mode {mode}"):
        read_chip(tmp_path / "a.png")


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("side", [8193, 20_000, 2**31 - 1])
def test_a_huge_png_is_refused_from_its_header(tmp_path: Path, side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", zlib.compress(b"")) + _png_chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(DataError, match="pixels"):
        read_chip(tmp_path / "a.png")


def test_four_bit_grey_is_not_stretched_silently(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 2, 1, 4, 0, 0, 0, 0)
    body = (
        _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", zlib.compress(b"\0\x12")) + _png_chunk(b"IEND", b"")
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(DataError, match="layout L;4"):
        read_chip(tmp_path / "a.png")


def test_limits_hold_for_every_format(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.zeros((12, 10), np.uint8))
    for name in (*_grey_files(tmp_path), "e.npy"):
        read_chip(tmp_path / name, ImageLimits(max_side_px=12, max_bytes=1 << 20))
        with pytest.raises(DataError, match="expected 1 to 11 a side"):
            read_chip(tmp_path / name, ImageLimits(max_side_px=11, max_bytes=1 << 20))
        with pytest.raises(DataError, match="more than 20 bytes"):
            read_chip(tmp_path / name, ImageLimits(max_side_px=12, max_bytes=20))


def test_wrong_or_missing_files_are_named(tmp_path: Path) -> None:
    for name in ("a.npy", "a.png", "a.tif", "a.jpg"):
        (tmp_path / name).write_bytes(b"no picture at all")
        with pytest.raises(DataError, match=f"{name}: not a readable"):
            read_chip(tmp_path / name)
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(DataError, match=f"{name}: not a readable"):
            read_chip(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        read_chip(tmp_path / "none.png")
    with pytest.raises(DataError, match=r"expected one of \.npy"):
        read_chip(tmp_path / "a.bmp")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.jpg", "PNG")
    with pytest.raises(DataError, match="not a readable JPEG"):
        read_chip(tmp_path / "a.jpg")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_give_a_data_error_or_pixels_never_a_crash(tmp_path: Path, data: st.DataObject) -> None:
    files = [*sorted(_grey_files(tmp_path)), "e.npy", "f.tif"]
    np.save(tmp_path / "e.npy", np.ones((12, 10, 2), np.int16))
    write_tiff(tmp_path / "f.tif", np.ones((12, 10), np.float32))
    name = data.draw(st.sampled_from(files))
    good = (tmp_path / name).read_bytes()
    cut = data.draw(st.integers(0, len(good) - 1))
    if data.draw(st.booleans()):
        bad = good[:cut]
    else:
        bad = good[:cut] + bytes([data.draw(st.integers(0, 255))]) + good[cut + 1 :]
    (tmp_path / f"bad-{name}").write_bytes(bad)
    try:
        found = read_chip(tmp_path / f"bad-{name}").values
    except DataError:
        return
    assert found.ndim == 2
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ["a.png", "b.png", "c.jpg", "d.tiff"])
def test_a_truncated_picture_is_refused(tmp_path: Path, name: str) -> None:
    _grey_files(tmp_path)
    good = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(good[: len(good) * 2 // 3])
    with pytest.raises(DataError, match=name):
        read_chip(tmp_path / name)
