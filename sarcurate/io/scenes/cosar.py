"""COSAR, the complex image format of TerraSAR-X and TanDEM-X: read by window, headers checked first.

A burst is a header line, three lines of azimuth annotation and one line per azimuth sample; every line has
the same number of bytes, big-endian throughout, and begins with two words of range annotation. Samples are I
and Q, 16 bits each: integers in version 1, half floats in version 2. Layout as GDAL's driver and other public
readers know it; it is specified in TX-GS-DD-3307 and TD-GS-PS-3028, which were not at hand.

GDAL 3.10 decodes both versions rightly, but reads whole range lines for any window, gives 0 for invalid
samples without a word, and reads the first burst alone. A memory map does without all three.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io.scenes.cosar_selftest import WORDS, check_decoding
from sarcurate.io.scenes.scene import Facts, Geometry, Scene, Window

PIXEL_TYPES = {1: "complex int16", 2: "complex float16"}

_HALF_LAYOUT = (1, 5, 10)  # bits of sign, exponent and mantissa, told by version 2
_MAGIC = int.from_bytes(b"CSAR", "big")
_HEADER_WORDS = 15
_ANNOTATION_LINES = 4
_MAX_SIDE_PX = 1 << 20
_MAX_BURSTS = 1024
_UNSET = (0, 0x7F7F7F7F, 0x7FFFFFFF, 0xFFFFFFFF)
_DOWNLOAD = "copy or download the product again"

_TEST_BLOCKS, _TEST_BLOCK_PX = 32, 64


@dataclass(frozen=True)
class Burst:
    """One burst: where it begins in the file, and its size in lines (azimuth) and samples (range)."""

    offset_bytes: int
    rows: int
    cols: int


@dataclass(frozen=True)
class CosarHeader:
    """What the headers of a COSAR file say, checked against each other and the file's size."""

    version: int
    line_bytes: int
    bursts: tuple[Burst, ...]


def read_header(path: Path) -> CosarHeader:
    """The header of a COSAR file.

    Raises:
        DataError: not a COSAR file, unknown version, sizes that contradict each other or the file's size.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file", fix="check the path")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        first = _words(file.read(4 * _HEADER_WORDS), path)
        version, line_bytes = _version(first, path), int(first[5])
        bursts: list[Burst] = []
        offset = 0
        while offset < size:
            file.seek(offset)
            words = _words(file.read(4 * _HEADER_WORDS), path)
            bursts.append(_burst(words, offset, line_bytes, path))
            offset += line_bytes * (bursts[-1].rows + _ANNOTATION_LINES)
            if len(bursts) > _MAX_BURSTS:
                raise DataError(f"{path}: more than {_MAX_BURSTS} bursts", fix=_DOWNLOAD)
    if offset != size:
        raise DataError(
            f"{path}: truncated: the file has {size} bytes, its headers describe {offset}", fix=_DOWNLOAD
        )
    lines = sum(burst.rows + _ANNOTATION_LINES for burst in bursts)
    if int(first[6]) not in (lines, bursts[0].rows + _ANNOTATION_LINES, *_UNSET):
        raise DataError(f"{path}: header says {first[6]} lines in all, found {lines}", fix=_DOWNLOAD)
    return CosarHeader(version, line_bytes, tuple(bursts))


class CosarReader:
    """Samples of one burst by window: complex64, NaN where the annotation calls a sample invalid.

    Args:
        path: a COSAR file.
        burst: which burst, from 0.

    Raises:
        DataError: as :func:`read_header`; no such burst; samples that were plainly decoded wrongly.
    """

    def __init__(self, path: Path, burst: int = 0) -> None:
        self.path, self.header = path, read_header(path)
        if not 0 <= burst < len(self.header.bursts):
            raise DataError(
                f"{path}: burst {burst} was asked for, the file has {len(self.header.bursts)}",
                fix="count bursts from 0",
            )
        self.burst = self.header.bursts[burst]
        self.shape = (self.burst.rows, self.burst.cols)
        self._size = path.stat().st_size
        lines = (self.burst.rows + _ANNOTATION_LINES, self.header.line_bytes // 4)
        self._map = np.memmap(path, dtype=">u4", mode="r", offset=self.burst.offset_bytes, shape=lines)
        columns = slice(2, 2 + self.burst.cols)
        self._first_row, self._last_row = (np.array(self._map[line, columns], np.int64) for line in (2, 3))
        self._check_rows()
        self.warnings = self._self_test()

    def read(self, window: Window) -> NDArray[np.complex64]:
        """Samples (rows, cols) of a window inside the burst.

        Raises:
            DataError: where a line's annotation is out of bounds, or the file changed since it was opened.
        """
        if os.stat(self.path).st_size != self._size:  # noqa: PTH116  (a read past a map's end kills the process)
            raise DataError(f"{self.path}: the file's size changed while it was open", fix="open it again")
        first = window.row + _ANNOTATION_LINES
        lines = self._map[first : first + window.rows]
        stored = lines[:, 2 + window.col : 2 + window.col + window.cols]
        halves = np.ascontiguousarray(stored).view(WORDS[self.header.version])
        samples: NDArray[np.complex64] = halves.astype(np.float32).view(np.complex64)
        valid = self._valid(window, np.array(lines[:, :2], np.int64))
        if valid is not None:
            samples[~valid] = complex(np.nan, np.nan)
        return samples

    def close(self) -> None:
        """Release the file."""
        del self._map

    def _valid(self, window: Window, ends: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Which samples of a window are valid; None for all. Positions in the annotation begin at 1."""
        left, right = window.col + 1, window.col + window.cols
        top, bottom = window.row + 1, window.row + window.rows
        first_row, last_row = self._first_row[left - 1 : right], self._last_row[left - 1 : right]
        if ends.min() < 0 or ends.max() > self.burst.cols:
            line = int(np.argmax((ends < 0).any(axis=1) | (ends > self.burst.cols).any(axis=1)))
            raise DataError(
                f"{self.path}: line {window.row + line} calls samples {ends[line, 0]} to {ends[line, 1]} "
                f"valid, a line has {self.burst.cols}",
                fix=_DOWNLOAD,
            )
        inside_line = ends[:, 0].max() <= left and ends[:, 1].min() >= right and ends[:, 0].min() > 0
        if inside_line and first_row.max() <= top and last_row.min() >= bottom:
            return None
        rows, cols = np.arange(top, bottom + 1)[:, None], np.arange(left, right + 1)[None, :]
        in_range = (ends[:, :1] > 0) & (cols >= ends[:, :1]) & (cols <= ends[:, 1:])
        valid: NDArray[np.bool_] = in_range & (rows >= first_row) & (rows <= last_row) & (first_row > 0)
        return valid

    def _check_rows(self) -> None:
        for name, values in (("first", self._first_row), ("last", self._last_row)):
            if values.min() < 0 or values.max() > self.burst.rows:
                raise DataError(
                    f"{self.path}: annotation of the {name} valid line says {values.min()} to "
                    f"{values.max()}, the burst has {self.burst.rows} lines",
                    fix=_DOWNLOAD,
                )

    def _self_test(self) -> tuple[str, ...]:
        words = np.concatenate([block.ravel() for block in self._test_blocks()])
        return check_decoding(words, self.header.version, str(self.path))

    def _test_blocks(self) -> list[NDArray[np.uint32]]:
        """Blocks spread evenly over the burst, both ways."""
        steps = np.linspace(0.0, 1.0, _TEST_BLOCKS)
        rows = (steps * max(self.burst.rows - _TEST_BLOCK_PX, 0)).astype(int)
        golden = (steps * _TEST_BLOCKS * 0.6180339887) % 1.0
        cols = (golden * max(self.burst.cols - _TEST_BLOCK_PX, 0)).astype(int)
        size = _TEST_BLOCK_PX
        return [
            np.array(self._map[4 + row : 4 + row + size, 2 + col : 2 + min(col + size, self.burst.cols)])
            for row, col in zip(rows, cols, strict=True)
        ]


def open_cosar(path: Path) -> Scene:
    """A bare COSAR file of one burst, without its product: samples only, nothing calibrated.

    Rows are azimuth lines, columns range samples.

    Raises:
        DataError: as :class:`CosarReader`; several bursts.
    """
    reader = CosarReader(path)
    refuse_bursts(reader)
    facts = Facts(
        kind=f"COSAR version {reader.header.version} without annotation",
        scene_id=path.stem,
        pixel_type=PIXEL_TYPES[reader.header.version],
        geometry=Geometry.SLANT,
        radiometry=Radiometry.INTENSITY,
        warnings=("no product annotation: spacing, incidence and calibration are unknown", *reader.warnings),
    )
    return Scene(path, reader.shape, facts, reader, (path,))


def refuse_bursts(reader: CosarReader) -> None:
    """Raise DataError unless the file has one burst: the bursts of ScanSAR overlap and form no one grid."""
    if len(reader.header.bursts) > 1:
        raise DataError(
            f"{reader.path}: {len(reader.header.bursts)} bursts (ScanSAR), expected 1",
            fix="order the detected product (MGD, GEC or EEC), or read single bursts with CosarReader",
        )


def _words(data: bytes, path: Path) -> NDArray[np.uint32]:
    if len(data) < 4 * _HEADER_WORDS:
        raise DataError(f"{path}: truncated inside a burst header", fix=_DOWNLOAD)
    return np.frombuffer(data, ">u4").astype(np.uint32)


def _version(words: NDArray[np.uint32], path: Path) -> int:
    if words[7] != _MAGIC:
        found = int(words[7]).to_bytes(4, "big")
        raise DataError(
            f"{path}: found {found!r} at byte 28, expected b'CSAR'", fix="check that it is a COSAR file"
        )
    version = int(words[8])
    if version not in WORDS:
        raise DataError(
            f"{path}: COSAR version {version}, expected 1 (integers) or 2 (half floats)", fix=_DOWNLOAD
        )
    layout = tuple(int(word) for word in words[12:15])
    if version == 2 and layout != _HALF_LAYOUT and not set(layout) <= set(_UNSET):
        raise DataError(
            f"{path}: float layout {layout} (sign, exponent, mantissa bits), expected {_HALF_LAYOUT}",
            fix=_DOWNLOAD,
        )
    return version


def _burst(words: NDArray[np.uint32], offset: int, line_bytes: int, path: Path) -> Burst:
    said, cols, rows = int(words[0]), int(words[2]), int(words[3])
    if words[7] != _MAGIC:
        raise DataError(f"{path}: no burst header at byte {offset}", fix=_DOWNLOAD)
    if not (0 < rows <= _MAX_SIDE_PX and 0 < cols <= _MAX_SIDE_PX):
        raise DataError(
            f"{path}: burst of {rows} lines x {cols} samples, expected 1 to {_MAX_SIDE_PX} each",
            fix=_DOWNLOAD,
        )
    if line_bytes % 4 or not 4 * (cols + 2) <= line_bytes <= 4 * (_MAX_SIDE_PX + 2):
        raise DataError(
            f"{path}: lines of {line_bytes} bytes cannot hold {cols} samples of 4 bytes and 2 words",
            fix=_DOWNLOAD,
        )
    size = line_bytes * (rows + _ANNOTATION_LINES)
    if said not in (size % (1 << 32), *_UNSET):
        raise DataError(
            f"{path}: header says {said} bytes in the burst, its {rows + _ANNOTATION_LINES} lines of "
            f"{line_bytes} bytes make {size}",
            fix=_DOWNLOAD,
        )
    return Burst(offset, rows, cols)
