"""Where the parts of a NITF 2.1 file lie: image segments and the data extensions that hold text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sarcurate.errors import DataError

_HEADER_BYTES = 1 << 20  # 999 entries of each kind fit in
_SUBHEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class ImageSegment:
    """An image segment: its name (IID1), size, and where its samples lie in the file."""

    name: str
    rows: int
    cols: int
    compression: str
    blocks: int
    offset: int
    size: int


@dataclass(frozen=True)
class TextSegment:
    """A data extension: its name (DESID), its kind (DESSHTN, such as ``urn:SICD:1.2.1``), and its bytes."""

    name: str
    kind: str
    offset: int
    size: int


@dataclass(frozen=True)
class Nitf:
    """The parts of a file that matter here."""

    images: list[ImageSegment]
    texts: list[TextSegment]


def read_nitf(path: Path) -> Nitf:
    """The segments of a NITF 2.1 file, from its headers alone.

    Field widths after MIL-STD-2500C, tables A-1 (file header), A-3 (image) and A-8 (data extension).

    Raises:
        DataError: another version, fields that are no numbers, lengths that do not add up to the file's.
    """
    try:
        actual = path.stat().st_size
        with path.open("rb") as file:
            cursor = _Cursor(file.read(_HEADER_BYTES), f"{path}, file header")
            version = cursor.text(9)
            if version not in ("NITF02.10", "NSIF01.00"):
                raise DataError(
                    f"{path}: found {version!r}, expected NITF02.10", fix="convert the file to NITF 2.1"
                )
            cursor.skip(333)
            total, header = cursor.number(12), cursor.number(6)
            if total != actual:
                raise DataError(
                    f"{path}: the header says {total} bytes, the file has {actual}",
                    fix="the file is truncated or damaged: copy it again",
                )
            lengths = _lengths(cursor)
            if cursor.at > header:
                raise _damaged(cursor.where, f"a header of {header} bytes", f"at least {cursor.at}")
            segments = _place(lengths, header, actual, path)
            images, texts = [], []
            for kind, start, subheader, size in segments:
                if kind not in ("image", "extension"):
                    continue
                file.seek(start)
                part = _Cursor(file.read(min(subheader, _SUBHEADER_BYTES)), f"{path}, {kind} at byte {start}")
                offset = start + subheader
                if kind == "image":
                    images.append(_image(part, offset, size))
                else:
                    texts.append(_text(part, offset, size))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", fix="check its permissions") from error
    return Nitf(images, texts)


class _Cursor:
    """Reads fixed-width fields one after the other."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at = data, where, 0

    def text(self, width: int) -> str:
        """The next field, trailing blanks off."""
        field = self.data[self.at : self.at + width]
        if len(field) != width:
            raise _damaged(self.where, f"an end at byte {len(self.data)}", "more fields")
        self.at += width
        return field.decode("latin-1").rstrip()

    def number(self, width: int) -> int:
        """The next field as a whole number >= 0."""
        start = self.at
        field = self.text(width)
        if not (field.isascii() and field.isdigit()):
            raise _damaged(self.where, f"{field!r} at byte {start}", f"{width} digits")
        return int(field)

    def skip(self, width: int) -> None:
        """Pass over fields."""
        self.text(width)


def _lengths(cursor: _Cursor) -> list[tuple[str, int, int]]:
    """(kind, bytes of subheader, bytes of data) of all segments, in file order."""
    found = []
    kinds = (("image", 6, 10), ("graphic", 4, 6), ("reserved", 0, 0), ("text", 4, 5),
             ("extension", 4, 9), ("reserved extension", 4, 7))  # fmt: skip
    for kind, subheader, data in kinds:
        count = cursor.number(3)
        if kind == "reserved" and count:
            raise _damaged(cursor.where, f"{count} in the reserved field NUMX", "000")
        found += [(kind, cursor.number(subheader), cursor.number(data)) for _ in range(count)]
    return found


def _place(
    lengths: list[tuple[str, int, int]], header: int, actual: int, path: Path
) -> list[tuple[str, int, int, int]]:
    placed, at = [], header
    for kind, subheader, size in lengths:
        placed.append((kind, at, subheader, size))
        at += subheader + size
    if at > actual:
        raise DataError(
            f"{path}: its segments need {at} bytes, the file has {actual}",
            fix="the file is truncated or damaged: copy it again",
        )
    return placed


def _image(cursor: _Cursor, offset: int, size: int) -> ImageSegment:
    cursor.skip(2)
    name = cursor.text(10)
    cursor.skip(14 + 17 + 80 + 167 + 1 + 42)
    rows, cols = cursor.number(8), cursor.number(8)
    cursor.skip(3 + 8 + 8 + 2 + 1)
    if cursor.text(1):  # ICORDS: corner coordinates follow unless blank
        cursor.skip(60)
    cursor.skip(80 * cursor.number(1))
    compression = cursor.text(2)
    if compression not in ("NC", "NM"):
        return ImageSegment(name, rows, cols, compression, 0, offset, size)
    bands = cursor.number(1) or cursor.number(5)
    for _ in range(bands):
        cursor.skip(2 + 6 + 1 + 3)
        tables = cursor.number(1)
        if tables:
            cursor.skip(tables * cursor.number(5))
    cursor.skip(1 + 1)
    return ImageSegment(name, rows, cols, compression, cursor.number(4) * cursor.number(4), offset, size)


def _text(cursor: _Cursor, offset: int, size: int) -> TextSegment:
    cursor.skip(2)
    name = cursor.text(25)
    cursor.skip(2 + 167)
    if name == "TRE_OVERFLOW":
        return TextSegment(name, "", offset, size)
    # DESSHL 4, then of the XML extension DESCRC 5, DESSHFT 8, DESSHDT 20, DESSHRP 40, DESSHSI 60, DESSHSV 10,
    # DESSHSD 20, DESSHTN 120
    kind = ""
    if cursor.number(4) >= 283:
        cursor.skip(5 + 8 + 20 + 40 + 60 + 10 + 20)
        kind = cursor.text(120)
    return TextSegment(name, kind, offset, size)


def _damaged(where: str, found: str, expected: str) -> DataError:
    return DataError(
        f"{where}: found {found}, expected {expected}", fix="the file is damaged: copy or export it again"
    )
