"""Breaks products for the tests: strategies of changes to files and folders, and what a reader must stand.

As a script it tries many of them under a cap on memory: ``KIND PRODUCT FOLDER EXAMPLES SEED``, where kind is
product or archive.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
from hypothesis import strategies as st

from sarcurate.errors import SarcurateError
from sarcurate.io.scenes.inspection import as_table, examine
from sarcurate.io.scenes.products import open_scene, polarisations, unpack
from sarcurate.io.scenes.scene import Window
from sarcurate.io.sensors import SensorProfile, load_profile

HERE = Path(__file__).resolve().parent
MEMORY_ABOVE_START_BYTES = 1 << 30
CPU_S = 3600
# product folder or file below products/, and the profile that reads it
PRODUCTS: dict[str, tuple[str, str | None]] = {
    "ssc-v1": ("ssc_v1/TSX1_SAR__SSC______SM_S_SRA_20080131T170523_20080131T170524", None),
    "ssc-v2": ("ssc_v2/TDX1_SAR__SSC______SM_S_SRA_20080131T170523_20080131T170524", None),
    "mgd": ("mgd/TSX1_SAR__MGD_SE___SM_S_SRA_20080131T170523_20080131T170524", None),
    "gec": ("gec/TSX1_SAR__GEC_SE___SM_S_SRA_20080131T170523_20080131T170524", None),
    "eec": ("eec/TSX1_SAR__EEC_SE___SM_S_SRA_20080131T170523_20080131T170524", None),
    "fucheng1-slc": ("fucheng1/FC1_SM_20240531T120000", "fucheng1"),
    "fucheng1-detected": ("fucheng1/FC1_SM_20240602T120000", "fucheng1"),
    "fucheng1-json": ("FC1_SM_20240531T120000", "JSON"),
    "geotiff": ("geotiff/clutter_utm32.tif", "terrasarx"),
    "sicd": ("sicd/invented.nitf", None),
}
NUMBERS = (
    "0", "-0", "-1", "1", "NaN", "inf", "-inf", "1e308", "-1e308", "1e-320", "1e999", "9" * 18, "9" * 400,
    "1" + "0" * 17, "-" + "9" * 18, "4294967295", "2147483648", "65536", "0.5", "89.9999999", "90", "180.1",
    "360", "1_0", "0x10", "\u0661", "1,5", " 7 ", "",
)  # fmt: skip
TEXTS = (
    "x", "HH", "VV", "SLANTRANGE", "MAP", "COSAR", "GEOTIFF", "..", "../..", "/etc/passwd", "a" * 5000,
    "a/" * 200, "IMAGEDATA", "\u202e", "&amp;", "&#0;", "&#55296;", "&x;", "<a/>", "]]>", "T",
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-14:00", "2008-01-31T17:05:23+24:00", "20080131", "2008-W05-4",
    "2008-01-31T17:05:60Z",
)  # fmt: skip
HEADS = (
    b'<!DOCTYPE a [<!ENTITY b "c">]>', b'<?xml version="1.0" encoding="utf-16"?>', b"\xff\xfe",
    b'<?xml version="1.0" encoding="x"?>', b'<?xml version="1.0" encoding="utf-7"?>', b"<a>" * 100,
    b"{", b"[" * 5000, b"\0" * 28 + b"CSAR", b"II*\0", b"MM\0*", b"II+\0", b"NITF02.10", b"NSIF01.00",
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\x93NUMPY", b"PK\x03\x04", b"\x1f\x8b",
)  # fmt: skip
WORDS = (0, 1, 2, 3, 255, 65535, 65536, 0x7F7F7F7F, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 249_999, 1 << 20)

TAGS = (
    254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347,
    33550, 33922, 34264, 34735, 34736, 42112, 42113,
)  # fmt: skip

Change = Callable[[bytes], bytes]
Changes = tuple[list[tuple[str, Change]], "FolderChange | None"]
_VALUE = re.compile(rb'>[^<>]+<|="[^"<>]*"|: "?[^",{}\[\]]+"?')
_ELEMENT = re.compile(rb"<(\w+)(?: [^<>]*)?>[^<>]*</\1>")
_DIGITS = re.compile(rb"\d{3,}")
_WHERE = st.floats(0, 1, exclude_max=True)


def at(share: float, size: int) -> int:
    """A place in ``size`` bytes or things; most near the beginning, where headers are, some near the end."""
    if share < 0.75:
        return int((share / 0.75) ** 3 * size)
    return size - 1 - int(((share - 0.75) / 0.25) ** 3 * size) if size else 0


@st.composite
def byte_changes(draw: st.DrawFn) -> Change:
    """Flip, cut, insert, double, delete or overwrite bytes anywhere."""
    kind = draw(st.sampled_from(("flip", "cut", "insert", "double", "delete", "overwrite", "head")))
    start, length, junk = draw(_WHERE), draw(st.integers(1, 5000)), draw(st.binary(min_size=1, max_size=9))
    fill = draw(st.sampled_from((b"\0", b"\xff", b"9", b" ", b"\x7f")))
    head = draw(st.sampled_from(HEADS))

    def change(data: bytes) -> bytes:
        i = at(start, len(data))
        j = min(i + length, len(data))
        return {
            "flip": lambda: data[:i] + bytes([data[i] ^ (1 << length % 8)]) + data[i + 1 :] if data else b"",
            "cut": lambda: data[:i],
            "insert": lambda: data[:i] + junk + data[i:],
            "double": lambda: data[:j] + data[i:],
            "delete": lambda: data[:i] + data[j:],
            "overwrite": lambda: data[:i] + fill * min(length % 64, len(data) - i) + data[i + length % 64 :],
            "head": lambda: head + data if length % 2 else head + data[len(head) :],
        }[kind]()

    return change


@st.composite
def text_changes(draw: st.DrawFn) -> Change:
    """Of XML or JSON: another value, or an element gone, doubled, renamed or swapped with another."""
    kind = draw(st.sampled_from(("value", "value", "value", "gone", "double", "rename", "swap")))
    first, second = draw(st.floats(0, 1, exclude_max=True)), draw(st.floats(0, 1, exclude_max=True))
    value = draw(st.sampled_from(NUMBERS + TEXTS)).encode()

    def change(data: bytes) -> bytes:
        found = list((_VALUE if kind == "value" else _ELEMENT).finditer(data))
        if not found:
            return data
        here, other = found[int(first * len(found))], found[int(second * len(found))]
        if kind == "value":
            edges = {b"><": (b">", b"<"), b'""': (b'="', b'"')}
            open_, close = edges.get(here[0][:1] + here[0][-1:], (b': "', b'"'))
            if here[0].startswith(b'="'):
                open_, close = b'="', b'"'
            elif here[0].startswith(b":") and not here[0].endswith(b'"'):
                open_, close = b": ", b""
            return data[: here.start()] + open_ + value + close + data[here.end() :]
        new = {
            "gone": b"",
            "double": here[0] * 2,
            "rename": here[0].replace(here[1], b"q"),
            "swap": other[0],
        }[kind]
        return data[: here.start()] + new + data[here.end() :]

    return change


@st.composite
def tiff_changes(draw: st.DrawFn) -> Change:
    """Of a little-endian TIFF: tag, type, count or value of an entry, or a number that it points to."""
    entry, number = draw(_WHERE), draw(_WHERE)
    part = draw(st.sampled_from(("tag", "type", "count", "value", "value", "pointed")))
    word = draw(st.sampled_from(WORDS) | st.integers(0, 70000))
    tag = draw(st.sampled_from(TAGS))

    def change(data: bytes) -> bytes:
        out = bytearray(data)
        try:
            ifd = struct.unpack_from("<I", out, 4)[0]
            count = struct.unpack_from("<H", out, ifd)[0]
            place = ifd + 2 + 12 * int(entry * count)
            kind, many, offset = struct.unpack_from("<HII", out, place + 2)
            size = {3: 2, 4: 4, 12: 8}.get(kind, 1)
            if part == "pointed" and many * size > 4:
                spot = offset + size * int(number * many)
                form, most = {2: ("<H", 0xFFFF), 4: ("<I", 0xFFFFFFFF), 8: ("<d", -1)}.get(size, ("<B", 0xFF))
                struct.pack_into(form, out, spot, word & most)
            elif part in ("tag", "type"):
                new = tag if part == "tag" else word % 20
                struct.pack_into("<H", out, place + (0 if part == "tag" else 2), new)
            else:
                struct.pack_into("<I", out, place + (4 if part == "count" else 8), word)
        except struct.error:
            return data
        return bytes(out)

    return change


@st.composite
def word_changes(draw: st.DrawFn) -> Change:
    """Of COSAR: one big-endian word of the header or the annotation."""
    index, word = draw(st.integers(0, 14) | st.integers(0, 21_000)), draw(st.sampled_from(WORDS))

    def change(data: bytes) -> bytes:
        return data[: 4 * index] + struct.pack(">I", word) + data[4 * index + 4 :]

    return change


@st.composite
def nitf_changes(draw: st.DrawFn) -> Change:
    """Of NITF: one run of digits in the headers, of equal width; or its XML, all lengths corrected."""
    inside, where = draw(text_changes()), draw(st.floats(0, 1, exclude_max=True))
    digits = draw(st.sampled_from((b"9", b"0", b" ", b"-", b"1", b"00001", b"+1", b"\xb2", b"00000000002")))

    def change(data: bytes) -> bytes:
        start = data.find(b"<SICD ")
        if where < 0.5 and start > 0:
            return patch_sicd(data, inside(data[start:]))
        heads = [
            found for found in _DIGITS.finditer(data) if found.start() < 1200 or found.end() > start - 900
        ]
        found = heads[int((where * 2 % 1) * len(heads))] if heads else None
        if found is None:
            return data
        new = (
            (digits * len(found[0]))[-len(found[0]) :]
            if len(digits) == 1
            else digits.rjust(len(found[0]), b"0")
        )
        return data[: found.start()] + new[: len(found[0])] + data[found.end() :]

    return change


def patch_sicd(data: bytes, xml: bytes) -> bytes:
    """The SICD file with other XML, its length put right in the headers."""
    start = data.index(b"<SICD ")
    out = bytearray(data[:start] + xml)
    length = data[:1000].find(f"{len(data) - start:09d}".encode())
    if length < 0:  # broken already
        return bytes(out)
    out[342:354] = f"{len(out):012d}".encode()
    out[length : length + 9] = f"{len(xml):09d}".encode()
    return bytes(out)


def _changes_of(name: str) -> st.SearchStrategy[Change]:
    own = {".cos": word_changes(), ".nitf": nitf_changes(), ".tif": tiff_changes()}.get(Path(name).suffix)
    return byte_changes() | (text_changes() if own is None else own)


FolderChange = tuple[str, str, str]
FOLDER_CHANGES = (
    "remove", "swap", "copy-case", "copy-name", "link-out", "link-loop", "link-inside", "folder", "pipe",
    "empty", "rename",
)  # fmt: skip


@st.composite
def broken(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[list[tuple[str, Change]], FolderChange | None]:
    """Changes to some of a product's files, and now and then one to its folder."""
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2))
    files = [(name, draw(_changes_of(name))) for name in chosen]
    if len(names) > 1 and draw(st.integers(0, 4)) == 0:
        pair = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        return files[: draw(st.integers(0, 1))], (draw(st.sampled_from(FOLDER_CHANGES)), *pair)
    return files, None


def names_of(source: Path) -> tuple[str, ...]:
    """Files of a product, relative; a product of one file has the name ""."""
    if source.is_file():
        return (source.name,)
    return tuple(sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()))


def write_broken(
    source: Path, target: Path, change: tuple[list[tuple[str, Change]], FolderChange | None]
) -> Path:
    """A broken copy of a product in the new folder ``target``; its path."""
    files, folder = change
    root = target / source.name
    if source.is_file():
        target.mkdir(parents=True)
        root.write_bytes(source.read_bytes())
    else:
        shutil.copytree(source, root)
    for name, edit in files:
        path = root if source.is_file() else root / name
        path.write_bytes(edit(path.read_bytes()))
    if folder is not None:
        _change_folder(root, *folder)
    return root


def _change_folder(root: Path, kind: str, first: str, second: str) -> None:
    here, there = root / first, root / second
    data, other = here.read_bytes(), there.read_bytes()
    if kind == "swap":
        here.write_bytes(other)
        there.write_bytes(data)
    elif kind == "copy-case":
        here.with_name(here.name.swapcase()).write_bytes(data)
    elif kind == "copy-name":
        here.with_name(f"{here.stem}_2{here.suffix}").write_bytes(data)
    elif kind == "empty":
        here.write_bytes(b"")
    else:
        here.unlink()
    if kind == "link-out":
        outside = root.parent / "outside"
        outside.write_bytes(data)
        here.symlink_to(outside)
    elif kind == "link-loop":
        here.symlink_to(here.name)
    elif kind == "link-inside":
        here.symlink_to(there)
    elif kind == "folder":
        here.mkdir()
    elif kind == "pipe":
        os.mkfifo(here)
    elif kind == "rename":
        here.with_name(here.name.lower()).write_bytes(data)


def listing(folder: Path) -> dict[str, object]:
    """Every path below a folder with what it holds."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else os.lstat(path).st_mode
        for path in sorted(folder.rglob("*"))
    }


def use(path: Path, profile: SensorProfile | None) -> bool:
    """Open, read and examine as a user would; False where that ends in an error of ours."""
    try:
        record = examine(path, profile)
        json.dumps(record, allow_nan=True)
        "\n".join(as_table(record)).encode()
        for polarisation in polarisations(path, profile) or (None,):
            with open_scene(path, profile, polarisation) as scene:
                for window in windows(scene.shape):
                    for radiometry in scene.available_radiometries():
                        pixels = scene.detected(window, radiometry)
                        assert pixels.shape == (window.rows, window.cols)
                        assert pixels.dtype.name == "float32"
    except SarcurateError as error:
        str(error).encode()
        return False
    return True


def windows(shape: tuple[int, int], side: int = 48) -> tuple[Window, ...]:
    """A central one, and the last corner."""
    rows, cols = min(side, shape[0]), min(side, shape[1])
    middle = Window((shape[0] - rows) // 2, (shape[1] - cols) // 2, rows, cols)
    return middle, Window(shape[0] - rows, shape[1] - cols, rows, cols)


def profile_of(name: str, folder: Path) -> SensorProfile | None:
    """The profile that reads a product; that of JSON is fucheng1 with other paths, written to ``folder``."""
    if name != "JSON":
        return load_profile(name)
    text = (Path(sys.modules["sarcurate"].__path__[0]) / "assets/sensors/fucheng1.yaml").read_text("utf-8")
    own = folder / "fucheng1-json.yaml"
    own.write_text(
        text.replace("{stem}.xml", "{stem}.json")
        .replace("name: fucheng1\n", "name: fucheng1-json\n")
        .replace("calibration/constant[1]@value", "calibration/constant[1]/value"),
        encoding="utf-8",
    )
    return load_profile(str(own))


def source_of(product: str, folder: Path) -> tuple[Path, SensorProfile | None]:
    """The whole product and its profile; what is not committed is made in ``folder``."""
    place, name = PRODUCTS[product]
    profile = None if name is None else profile_of(name, folder)
    if name != "JSON":
        return HERE / "products" / place, profile
    made = folder / place
    if not made.exists():
        make = load("make_other_products")
        make.make_fucheng(folder, 7, make.FuchengSpec(side="json"))
    return made, profile


def load(stem: str) -> ModuleType:
    """A module that stands beside this one."""
    if stem not in sys.modules:
        spec = importlib.util.spec_from_file_location(stem, HERE / f"{stem}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[stem])
    return sys.modules[stem]


def try_product(source: Path, profile: SensorProfile | None, folder: Path, change: Any) -> None:
    """One example: broken copy, use, and nothing written."""
    shutil.rmtree(folder, ignore_errors=True)
    path = write_broken(source, folder, change)
    before = listing(folder)
    use(path, profile)
    assert listing(folder) == before


def try_archive(archive: Path, folder: Path, change: Change) -> None:
    """One example: broken archive, unpacked whole or not at all."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder / archive.name
    path.write_bytes(change(archive.read_bytes()))
    try:
        unpack(path, folder / "out")
    except SarcurateError:
        assert [entry.name for entry in folder.iterdir()] == [archive.name]


def run(kind: str, product: str, folder: Path, examples: int, seed: int) -> None:
    """Many examples with a cap on memory; the last broken product stays in ``folder``."""
    import resource

    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    if kind == "archive":
        archive = Path(product)

        def one(change: Change) -> None:
            try_archive(archive, folder / "broken", change)

        test = hypothesis.given(byte_changes())(one)
    else:
        source, profile = source_of(product, folder)

        def other(change: Any) -> None:
            try_product(source, profile, folder / "broken", change)

        test = hypothesis.given(broken(names_of(source)))(other)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_ABOVE_START_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    warnings.simplefilter("error")
    hypothesis.seed(seed)(settings(test))()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
