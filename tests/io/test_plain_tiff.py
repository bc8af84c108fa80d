from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from sarcurate.errors import DataError
from sarcurate.io import raster
from sarcurate.io.plain_tiff import read_plain_tiff
from sarcurate.io.safe import IMAGE_LIMITS, ImageLimits

CHIP = np.arange(12, dtype=np.float32).reshape(3, 4)


def _written(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF", **({"compression": "tiff_adobe_deflate"} | options))
    return buffer.getvalue()


def _read(data: bytes) -> np.ndarray | None:
    return read_plain_tiff(data, IMAGE_LIMITS, "chip.tif")


def _plain(
    array: np.ndarray, changed: dict[int, tuple[int, int]] | None = None, stream: bytes | None = None
) -> bytes:
    """A TIFF by hand: tags (type, value) of the format, some of them changed, and its one strip."""
    packed = zlib.compress(array.tobytes()) if stream is None else stream
    tags = {
        256: (3, array.shape[1]),
        257: (3, array.shape[0]),
        258: (3, 8 * array.itemsize),
        259: (3, 8),
        262: (3, 1),
        273: (4, 8),
        277: (3, 1),
        278: (3, array.shape[0]),
        279: (4, len(packed)),
        339: (3, 3 if array.dtype.kind == "f" else 1),
    } | (changed or {})
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items())
    )
    return struct.pack("<4sI", b"II*\0", 8 + len(packed)) + packed + directory + struct.pack("<I", 0)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.floats(width=32))
    | arrays(np.uint16, st.tuples(st.integers(1, 40), st.integers(1, 40)))
)
def test_what_we_write_comes_back_bit_for_bit(array: np.ndarray) -> None:
    found = _read(_written(array))
    assert found is not None
    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()


def test_chips_as_the_package_writes_them_take_this_way(tmp_path: Path) -> None:
    raster.write_tiff(tmp_path / "chip.tif", CHIP)
    found = _read((tmp_path / "chip.tif").read_bytes())
    assert found is not None
    np.testing.assert_array_equal(found, CHIP)


def test_the_tiff_made_by_hand_is_read() -> None:
    np.testing.assert_array_equal(_read(_plain(CHIP)), CHIP)


@pytest.mark.parametrize(
    "changed",
    [
        {262: (3, 0)},  # white is zero
        {259: (3, 5)},  # LZW
        {277: (3, 3)},  # three samples
        {278: (3, 2)},  # strips of two rows
        {284: (3, 2)},  # planes
        {317: (3, 2)},  # differences
        {339: (3, 1)},  # 32 bit integers
        {258: (3, 16)},  # half floats
        {273: (4, 10_000)},  # beyond the end
        {256: (5, 4)},  # a ratio as width
        {257: (3, 4)},  # more rows than samples
        {257: (3, 2)},  # fewer
    ],
)
def test_any_other_layout_is_left_to_the_general_reader(changed: dict[int, tuple[int, int]]) -> None:
    assert _read(_plain(CHIP, changed)) is None


def test_other_files_are_left_to_the_general_reader() -> None:
    plain = _plain(CHIP)
    assert _read(b"") is None
    assert _read(plain[:40]) is None
    assert _read(b"MM\0*" + plain[4:]) is None
    assert _read(plain[:-4] + struct.pack("<I", 8)) is None  # a second page
    assert _read(_plain(CHIP, stream=b"no deflate stream at all")) is None
    assert _read(_written(CHIP, compression="raw")) is None


def test_a_stream_that_unpacks_to_more_is_not_unpacked_whole() -> None:
    assert _read(_plain(CHIP, stream=zlib.compress(bytes(1 << 20)))) is None


def test_a_header_that_claims_too_much_is_refused() -> None:
    with pytest.raises(DataError, match=r"chip\.tif: found 3 x 4 pixels"):
        read_plain_tiff(_plain(CHIP), ImageLimits(max_side_px=3, max_bytes=100), "chip.tif")


@given(st.data())
def test_damage_gives_an_array_or_nothing_but_no_other_error(data: st.DataObject) -> None:
    plain = bytearray(_plain(CHIP))
    for _ in range(data.draw(st.integers(1, 4))):
        plain[data.draw(st.integers(0, len(plain) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = _read(bytes(plain))
    except DataError:
        return
    assert found is None or found.ndim == 2
