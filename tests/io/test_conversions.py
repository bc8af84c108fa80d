from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from sarcurate.errors import DataError
from sarcurate.io.conversions import convert

# rendering-a folder -> class; the others differ in case alone
TWIN_CLASSES = {"BRDM_2": "brdm2", "ZSU_23_4": "zsu23-4"}


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _jpeg(pixels: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


@given(
    iq=arrays(np.int16, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(2))),
    dtype=st.sampled_from(["complex64", "complex128", ">c8"]),
    order=st.sampled_from(["C", "F"]),
)
def test_complex_samples_become_their_int16_parts(iq: np.ndarray[Any, Any], dtype: str, order: Any) -> None:
    samples = (iq[..., 0] + 1j * iq[..., 1]).astype(dtype, order=order)
    made = convert("complex_npy_to_iq_int16", _npy(samples), "a.npy")
    # NEP 1: magic, version, length of the header, which is padded to a multiple of 64 bytes
    assert made[:8] == b"\x93NUMPY\x01\x00"
    header = int.from_bytes(made[8:10], "little")
    assert (10 + header) % 64 == 0
    assert b"'descr': '<i2', 'fortran_order': False" in made[10 : 10 + header]
    assert made[10 + header :] == iq.astype("<i2").tobytes()


def test_other_bytes_are_kept() -> None:
    assert convert("none", b"\xff\xd8 anything", "a.jpg") == b"\xff\xd8 anything"


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        (np.full((2, 2), 0.5 + 0j), "the value 0.5"),
        (np.full((2, 2), 1j * 32768), r"the value 32768\.0"),
        (np.full((2, 2), -32769 + 0j), r"the value -32769\.0"),
        (np.full((2, 2), complex("nan")), "the value nan"),
        (np.full((2, 2), complex("inf")), "the value inf"),
        (np.ones((2, 2)), r"float64 of shape \(2, 2\)"),
        (np.ones((2, 2, 2), complex), r"complex128 of shape \(2, 2, 2\)"),
    ],
)
def test_samples_that_would_lose_something_are_refused(samples: np.ndarray[Any, Any], found: str) -> None:
    with pytest.raises(DataError, match=rf"a\.npy: cannot be converted: found {found}.*expected"):
        convert("complex_npy_to_iq_int16", _npy(samples), "a.npy")


def test_pickles_archives_and_damage_are_refused() -> None:
    pickled, archive = io.BytesIO(), io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(archive, a=np.ones((2, 2), complex))
    whole = _npy(np.ones((4, 4), complex))
    for data in (pickled.getvalue(), archive.getvalue(), whole[:-1], whole[:20], b"", b"<html>"):
        with pytest.raises(DataError, match=r"a\.npy: cannot be converted"):
            convert("complex_npy_to_iq_int16", data, "a.npy")


@pytest.mark.parametrize("shape", [(128, 128), (193, 192), (158, 131)])
def test_the_centre_of_a_jpeg_becomes_png(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    data = _jpeg(pixels)
    decoded = np.asarray(Image.open(io.BytesIO(data)))
    made = Image.open(io.BytesIO(convert("jpeg_to_centre_crop_128_png", data, "a.jpeg")))
    assert (made.format, made.mode) == ("PNG", "L")
    top, left = (shape[0] - 128) // 2, (shape[1] - 128) // 2
    np.testing.assert_array_equal(np.asarray(made), decoded[top : top + 128, left : left + 128])


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (_jpeg(np.zeros((128, 127), np.uint8)), "mode L, 128 x 127 pixels"),
        (_jpeg(np.zeros((128, 128, 3), np.uint8)), "mode RGB"),
        (_jpeg(np.zeros((128, 128), np.uint8))[:300], "unreadable"),
        (b"\x89PNG\r\n\x1a\n", "unreadable"),
    ],
)
def test_other_pictures_are_refused(data: bytes, found: str) -> None:
    with pytest.raises(DataError, match=rf"a\.jpeg: cannot be converted: found {found}"):
        convert("jpeg_to_centre_crop_128_png", data, "a.jpeg")


@pytest.mark.real
def test_original_mstar_files_give_the_bytes_of_the_mirror() -> None:
    mirror = Path(os.environ.get("SARCURATE_MIRROR", ""))
    originals = sorted((mirror / "mstar-twins/rendering-a").glob("*/*.jpeg"))
    if not originals or not (mirror / "mstar-simshift").is_dir():
        pytest.skip("SARCURATE_MIRROR holds no original MSTAR files beside mstar-simshift")
    checked = 0
    for original in originals:
        label = TWIN_CLASSES.get(original.parent.name, original.parent.name.lower())
        ours = mirror / "mstar-simshift/mstar-x" / label / f"{original.stem}.png"
        if ours.is_file():
            made = convert("jpeg_to_centre_crop_128_png", original.read_bytes(), original.name)
            assert made == ours.read_bytes()
            checked += 1
    assert checked > 20
