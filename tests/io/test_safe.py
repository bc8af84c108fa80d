from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.errors import DataError
from sarcurate.io.safe import (
    ArchiveLimits,
    ImageLimits,
    atomic_write,
    check_image_bounds,
    extract_tar,
    extract_zip,
    read_bounded,
    resolve_inside,
    sha256_file,
)


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


SMALL = ArchiveLimits(max_entries=10, max_total_bytes=8 << 20, max_ratio=20.0)


def test_a_plain_relative_path_is_resolved_below_the_root(tmp_path: Path) -> None:
    assert resolve_inside(tmp_path, "a/b.tif") == tmp_path.resolve() / "a" / "b.tif"


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "/etc/passwd",
        "//a",
        "./a",
        "a//b",
        "a/",
        "a\\b",
        "C:/a",
        "a\0b",
    ],
)
def test_other_spellings_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match=r"relative to .* and normalised"):
        resolve_inside(tmp_path, path)


@given(st.text(alphabet="ab./\\:~ \0", max_size=12))
def test_what_is_resolved_lies_inside(path: str) -> None:
    root = Path("/nowhere/root")
    try:
        found = resolve_inside(root, path)
    except DataError:
        return
    assert str(found) == f"/nowhere/root/{path}"
    assert ".." not in found.parts


def test_a_link_may_stay_inside_but_not_leave(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "real").write_bytes(b"x")
    (root / "inside").symlink_to("real")
    (root / "outside").symlink_to(tmp_path)
    assert resolve_inside(root, "inside") == (root / "real").resolve()
    with pytest.raises(DataError, match="leads out of"):
        resolve_inside(root, "outside/secret")


def test_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(DataError):
        read_bounded(resolve_inside(tmp_path, "a"), 10)


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(DataError, match="cannot be read"):
        sha256_file(tmp_path / "none")


def test_reading_stops_at_the_cap(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    assert read_bounded(tmp_path / "f", 5) == b"12345"
    with pytest.raises(DataError, match="more than 4 bytes"):
        read_bounded(tmp_path / "f", 4)
    with pytest.raises(DataError, match="cannot be read"):
        read_bounded(tmp_path, 4)


def test_pipes_are_refused_and_files_longer_than_they_say_are_read_whole(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is a pipe"):
        read_bounded(tmp_path / "pipe", 5)
    said_empty = Path("/proc/self/cmdline")
    if said_empty.is_file():
        assert read_bounded(said_empty, 1 << 20) == said_empty.read_bytes()


@pytest.mark.parametrize("durable", [True, False])
def test_a_write_appears_complete(tmp_path: Path, durable: bool) -> None:
    place = tmp_path / "f"
    place.write_bytes(b"old")
    with atomic_write(place, durable=durable) as file:
        file.write(b"new")
        assert place.read_bytes() == b"old"
    assert place.read_bytes() == b"new"
    assert _names(tmp_path) == ["f"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    place = tmp_path / "f"
    place.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(place) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert place.read_bytes() == b"old"
    assert _names(tmp_path) == ["f"]


def test_a_write_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    with atomic_write(tmp_path / "f") as file:
        file.write(b"x")
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (-1, 5), (11, 5), (5, 11)])
def test_image_sides_are_bounded(shape: tuple[int, int]) -> None:
    limits = ImageLimits(max_side_px=10, max_bytes=400)
    check_image_bounds((10, 10), 4, limits, "x")
    with pytest.raises(DataError, match="expected 1 to 10 a side"):
        check_image_bounds(shape, 1, limits, "x")
    with pytest.raises(DataError, match="would decode to 500 bytes"):
        check_image_bounds((10, 10), 5, limits, "x")


def _zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, data in entries.items():
            pack.writestr(zipfile.ZipInfo(name) if not data else name, data)
    return path


def _tar(
    path: Path, entries: list[tuple[str, bytes | bytes]], kind: bytes = tarfile.REGTYPE, mode: str = "w:gz"
) -> Path:
    with tarfile.open(path, mode) as pack:  # type: ignore[call-overload]
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
            pack.addfile(info, io.BytesIO(data))
    return path


def test_a_zip_file_is_unpacked(tmp_path: Path) -> None:
    _zip(tmp_path / "a.zip", {"x/": b"", "x/y.txt": b"hello", "z": b"1"})
    extract_zip(tmp_path / "a.zip", tmp_path / "out", SMALL)
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")}
    assert found == {"x", "x/y.txt", "z"}
    assert (tmp_path / "out/x/y.txt").read_bytes() == b"hello"
    with pytest.raises(DataError, match="exists"):
        extract_zip(tmp_path / "a.zip", tmp_path / "out", SMALL)


@pytest.mark.parametrize(
    ("suffix", "mode"), [("tar", "w"), ("tgz", "w:gz"), ("tar.bz2", "w:bz2"), ("tar.xz", "w:xz")]
)
def test_a_tar_file_is_unpacked(tmp_path: Path, suffix: str, mode: str) -> None:
    archive = _tar(tmp_path / f"a.{suffix}", [("x/y.txt", b"hello"), ("z", b"1" * 70_000)], mode=mode)
    extract_tar(archive, tmp_path / "out", SMALL)
    assert (tmp_path / "out/x/y.txt").read_bytes() == b"hello"
    assert (tmp_path / "out/z").read_bytes() == b"1" * 70_000


BAD_NAMES = [
    (["/abs"], "absolute"),
    (["../up"], "absolute, not normalised"),
    (["a/../../up"], "absolute, not normalised"),
    (["a\\b"], "absolute, not normalised"),
    (["C:x"], "absolute, not normalised"),
    (["a", "A"], "used twice"),
    (["d/a", "D/b"], "used twice"),
    (["a", "a/b"], "used twice"),
    (["a/b", "a"], "used twice"),
    (["\u00e9", "e\u0301"], "used twice"),
]


@pytest.mark.parametrize(("names", "message"), BAD_NAMES)
def test_names_that_escape_or_collide_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    _zip(tmp_path / "a.zip", dict.fromkeys(names, b"x"))
    _tar(tmp_path / "a.tgz", [(name, b"x") for name in names])
    for extract, archive in ((extract_zip, "a.zip"), (extract_tar, "a.tgz")):
        with pytest.raises(DataError, match=message):
            extract(tmp_path / archive, inner / "out", SMALL)
    assert _names(tmp_path) == ["a.tgz", "a.zip", "inner"]
    assert _names(inner) == []


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_duplicate_names_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as pack:
        pack.writestr("a", b"1")
        pack.writestr("a", b"2")
    _tar(tmp_path / "a.tgz", [("a", b"1"), ("a", b"2")])
    for extract, archive in ((extract_zip, "a.zip"), (extract_tar, "a.tgz")):
        with pytest.raises(DataError, match="used twice"):
            extract(tmp_path / archive, tmp_path / "out", SMALL)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_tar_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(DataError, match="link, device"):
        extract_tar(_tar(tmp_path / "a.tgz", [("a", b"")], kind), tmp_path / "out", SMALL)
    assert _names(tmp_path) == ["a.tgz"]


def test_zip_links_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as pack:
        pack.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="link, device"):
        extract_zip(tmp_path / "a.zip", tmp_path / "out", SMALL)


def test_bombs_are_refused(tmp_path: Path) -> None:
    zeros = bytes(4 << 20)
    _zip(tmp_path / "a.zip", {"zeros": zeros})
    _tar(tmp_path / "a.tgz", [("zeros", zeros)])
    for extract, archive in ((extract_zip, "a.zip"), (extract_tar, "a.tgz")):
        with pytest.raises(DataError, match="unpacks to more"):
            extract(tmp_path / archive, tmp_path / "out", SMALL)
        loose = ArchiveLimits(max_entries=10, max_total_bytes=8 << 20, max_ratio=1e6)
        extract(tmp_path / archive, tmp_path / f"{archive}.out", loose)
        assert (tmp_path / f"{archive}.out/zeros").stat().st_size == len(zeros)
        tight = ArchiveLimits(max_entries=10, max_total_bytes=1 << 20, max_ratio=1e6)
        with pytest.raises(DataError, match="unpacks to more"):
            extract(tmp_path / archive, tmp_path / "out", tight)


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    _zip(tmp_path / "a.zip", {f"f{i}": b"x" for i in range(11)})
    _tar(tmp_path / "a.tgz", [(f"f{i}", b"x") for i in range(11)])
    for extract, archive in ((extract_zip, "a.zip"), (extract_tar, "a.tgz")):
        with pytest.raises(DataError, match="too many entries"):
            extract(tmp_path / archive, tmp_path / "out", SMALL)


def test_damage_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    data = hashlib.sha256(b"seed").digest() * 500
    good_zip = _zip(tmp_path / "a.zip", {"x": data}).read_bytes()
    good_tar = gzip.decompress(_tar(tmp_path / "a.tgz", [("x", data)]).read_bytes())
    (tmp_path / "a.zip").write_bytes(good_zip[: len(good_zip) // 2])
    (tmp_path / "a.tar").write_bytes(good_tar[: len(data) // 2])
    (tmp_path / "a.tgz").write_bytes(b"not an archive")
    for extract, archive in ((extract_zip, "a.zip"), (extract_tar, "a.tar"), (extract_tar, "a.tgz")):
        with pytest.raises(DataError, match="cannot be unpacked"):
            extract(tmp_path / archive, tmp_path / "out", SMALL)
    with pytest.raises(DataError, match="cannot be read"):
        extract_zip(tmp_path / "none.zip", tmp_path / "out", SMALL)
    assert _names(tmp_path) == ["a.tar", "a.tgz", "a.zip"]


def test_a_zip_whose_local_header_names_no_utf8_is_damage(tmp_path: Path) -> None:
    archive = tmp_path / "p.zip"
    with zipfile.ZipFile(archive, "w") as pack:
        pack.writestr("a.txt", "a")
    data = bytearray(archive.read_bytes())
    data[7] |= 0x08  # general purpose bit 11: the name is UTF-8
    data[30] = 0xFF  # its first byte
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"p\.zip: cannot be unpacked"):
        extract_zip(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
