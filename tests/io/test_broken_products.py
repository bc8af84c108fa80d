"""Broken products: reading one works or ends in an error of ours, and nothing is written."""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from rasterio._err import CPLE_AppDefinedError

from sarcurate.errors import DataError
from sarcurate.io import decoding
from sarcurate.io.raster import read_chip, write_tiff
from sarcurate.io.scenes import map_positions, terrasarx
from sarcurate.io.scenes.inspection import examine
from sarcurate.io.scenes.products import unpack

pytest.importorskip("sarkit", reason="the maker of other products needs it (extra dev)")

BREAKER = Path(__file__).parents[1] / "data" / "break_products.py"
_spec = importlib.util.spec_from_file_location("break_products", BREAKER)
assert _spec is not None
assert _spec.loader is not None
breaking = sys.modules.setdefault("break_products", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(breaking)

FEW = settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)  # fmt: skip
ARCHIVES = ("p.zip", "p.tar", "p.tar.gz", "p.tar.bz2", "p.tar.xz")


def archive(path: Path, source: Path) -> Path:
    """An archive of a product, of the kind that its suffix says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
            for name in breaking.names_of(source):
                pack.write(source / name, f"{source.name}/{name}")
    else:
        with tarfile.open(
            path, {".tar": "w", ".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[path.suffix]
        ) as tar:
            tar.add(source, source.name)
    return path


@pytest.mark.parametrize("product", breaking.PRODUCTS)
def test_a_whole_product_works_and_writes_nothing(tmp_path: Path, product: str) -> None:
    source, profile = breaking.source_of(product, tmp_path)
    path = breaking.write_broken(source, tmp_path / "copy", ([], None))
    before = breaking.listing(tmp_path)
    assert breaking.use(path, profile)
    assert breaking.listing(tmp_path) == before


@pytest.mark.parametrize("product", breaking.PRODUCTS)
def test_a_broken_product_works_or_is_refused(tmp_path: Path, product: str) -> None:
    source, profile = breaking.source_of(product, tmp_path)

    @FEW
    @given(breaking.broken(breaking.names_of(source)))
    def one(change: Any) -> None:
        breaking.try_product(source, profile, tmp_path / "broken", change)

    one()


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_broken_archive_unpacks_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    source, _ = breaking.source_of("fucheng1-detected", tmp_path)
    packed = archive(tmp_path / name, source)

    @FEW
    @given(breaking.byte_changes())
    def one(change: Callable[[bytes], bytes]) -> None:
        breaking.try_archive(packed, tmp_path / "broken", change)

    one()


@pytest.mark.slow
@pytest.mark.parametrize("product", breaking.PRODUCTS)
def test_many_broken_products_under_a_cap_on_memory(tmp_path: Path, product: str) -> None:
    _in_a_child("product", product, tmp_path, 300)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHIVES)
def test_many_broken_archives_under_a_cap_on_memory(tmp_path: Path, name: str) -> None:
    source, _ = breaking.source_of("fucheng1-detected", tmp_path)
    _in_a_child("archive", str(archive(tmp_path / name, source)), tmp_path, 300)


def _in_a_child(kind: str, product: str, folder: Path, examples: int) -> None:
    arguments = [sys.executable, str(BREAKER), kind, product, str(folder), str(examples), "3"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, f"{done.stderr[-3000:]}\nthe last broken product is in {folder}"


# Changes that got past the readers once, or past the libraries below them: (product, file, old, new, message)
NAMED = {
    "a time beside year 1 in another zone": (
        "ssc-v1", ".xml", "<timeUTC>2008-01-31T17:05:23", "<timeUTC>0001-01-01T00:00:00+14:00<!--",
        "expected a time such as",
    ),
    "the same in a side file": (
        "fucheng1-detected", ".xml", "2024-05-31T12:00:00.5", "0001-01-01T00:00:00+14:00",
        "expected ISO 8601",
    ),
    "a reference of 5000 letters": (
        "ssc-v1", ".xml", "IMAGE_HH_SRA_strip_007.cos", "a" * 5000, "cannot be resolved: .* name too long",
    ),
    "a reference to 200 folders": (
        "mgd", ".xml", "IMAGE_HH_SRA_strip_007.tif", "ab" * 40 + ("/" + "ab" * 40) * 100,
        "cannot be resolved",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NAMED)
def test_changes_that_once_got_past_the_readers(tmp_path: Path, what: str) -> None:
    product, suffix, old, new, message = NAMED[what]
    source, profile = breaking.source_of(product, tmp_path)
    path = breaking.write_broken(source, tmp_path / "copy", ([], None))
    file = next(file for file in sorted(path.iterdir()) if file.suffix == suffix)
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(_replaced(text, old, new), "utf-8")
    with pytest.raises(DataError, match=message):
        examine(path, profile)


def _replaced(text: str, old: str, new: str) -> str:
    if not new.endswith("<!--"):
        return text.replace(old, new)
    start = text.index(old)  # the rest of the number is cut away
    return text[:start] + new.removesuffix("<!--") + text[text.index("</", start) :]


@pytest.mark.parametrize(
    ("product", "suffix"), [("fucheng1-detected", ".xml"), ("ssc-v1", ".xml"), ("ssc-v1", ".cos")]
)
def test_a_pipe_in_the_place_of_a_file_does_not_block(tmp_path: Path, product: str, suffix: str) -> None:
    source, profile = breaking.source_of(product, tmp_path)
    path = breaking.write_broken(source, tmp_path / "copy", ([], None))
    file = next(file for file in sorted(path.rglob("*")) if file.suffix == suffix)
    file.unlink()
    os.mkfifo(file)
    breaking.use(path, profile)


@pytest.mark.parametrize("scale", [(5e-324, 3.0), (np.inf, 3.0), (np.nan, 3.0), (1e300, 3.0), (1e-30, 1e-30)])
@pytest.mark.parametrize("product", ["gec", "geotiff"])
def test_a_transform_that_cannot_be_inverted_is_refused(
    tmp_path: Path, product: str, scale: tuple[float, float]
) -> None:
    source, profile = breaking.source_of(product, tmp_path)
    path = breaking.write_broken(source, tmp_path / "copy", ([], None))
    image = path if path.is_file() else next(path.rglob("*.tif"))
    data = bytearray(image.read_bytes())
    ifd = struct.unpack_from("<I", data, 4)[0]
    entries = range(ifd + 2, ifd + 2 + 12 * struct.unpack_from("<H", data, ifd)[0], 12)
    place = next(at for at in entries if struct.unpack_from("<H", data, at)[0] == 33550)  # ModelPixelScale
    struct.pack_into("<2d", data, struct.unpack_from("<I", data, place + 8)[0], *scale)
    image.write_bytes(data)
    with pytest.raises(DataError, match="pixels placed by"):
        examine(path, profile)


def test_a_signalling_nan_is_told_from_zero_without_a_warning(tmp_path: Path) -> None:
    source, profile = breaking.source_of("geotiff", tmp_path)
    data = bytearray(source.read_bytes())
    data[-4 * 50 * 30 : -4 * 50 * 30 + 4] = b"\x01\x00\x80\x7f"  # float32 in the middle, quiet bit not set
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    assert any("NaN" in sentence for sentence in examine(path, profile)["warnings"])


def test_gdals_own_errors_while_a_header_is_read_are_data_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise CPLE_AppDefinedError(3, 1, "tag is not read from file")

    write_tiff(tmp_path / "a.tif", np.ones((4, 5), np.float32))
    read_chip(tmp_path / "a.tif")
    monkeypatch.setattr(decoding, "_check_tiff", damaged)
    with pytest.raises(DataError, match="not a readable TIFF file: tag is not read"):
        read_chip(tmp_path / "a.tif")


def _zip(path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, data in entries:
            pack.writestr(name, data)
    return path


def _link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


HOSTILE: dict[str, tuple[list[tuple[Any, bytes]], str]] = {
    "leads out": ([("p/a.xml", b""), ("p/../../b", b"x")], "leads out of the folder"),
    "absolute": ([("/tmp/b", b"x")], "absolute, not normalised"),
    "link": ([("p/a", b""), (_link("p/b"), b"/etc/passwd")], "a link, device"),
    "case": ([("p/a.xml", b"1"), ("p/A.xml", b"2")], "a name used twice"),
    "file and folder": ([("p/a", b"1"), ("p/a/b", b"2")], "a name used twice"),
    "bomb": ([("p/a", bytes(8 << 20))], "limits of total size and of packing ratio"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(tmp_path: Path, what: str) -> None:
    entries, message = HOSTILE[what]
    path = _zip(tmp_path / "p.zip", entries)
    with pytest.raises(DataError, match=message):
        unpack(path, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.zip"]


def test_changes_change() -> None:
    """The breaker breaks: of many changes to a text most give other bytes."""
    changed = []

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(breaking.text_changes())
    def one(change: Callable[[bytes], bytes]) -> None:
        text = b'<a x="1"><b>2</b><c>3</c></a>'
        changed.append(change(text) != text)

    one()
    assert sum(changed) > len(changed) / 2


def test_gdals_error_while_positions_are_computed_is_a_data_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise CPLE_AppDefinedError(3, 1, "Reprojection failed")

    monkeypatch.setattr(map_positions, "warp", failing)
    monkeypatch.setattr(terrasarx, "warp", failing)
    for product, message in (
        ("geotiff", "Reprojection failed"),
        ("gec", "outside the image's map projection"),
    ):
        source, profile = breaking.source_of(product, tmp_path)
        with pytest.raises(DataError, match=message):
            examine(source, profile)
