"""Careful file handling: paths that stay inside, bounded reads, atomic writes, archives kept in."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import secrets
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from sarcurate.errors import DataError


@dataclass(frozen=True)
class ImageLimits:
    """Largest picture that is decoded: side in pixels, and bytes of the file and of the decoded array."""

    max_side_px: int
    max_bytes: int


@dataclass(frozen=True)
class ArchiveLimits:
    """Largest archive that is unpacked: entries, unpacked bytes, and unpacked over packed size."""

    max_entries: int
    max_total_bytes: int
    max_ratio: float


IMAGE_LIMITS = ImageLimits(max_side_px=8192, max_bytes=1 << 30)
ARCHIVE_LIMITS = ArchiveLimits(max_entries=200_000, max_total_bytes=64 << 30, max_ratio=200.0)


def resolve_inside(root: Path, relative: str) -> Path:
    """The file ``relative`` names below ``root``, symbolic links followed.

    Args:
        root: an existing folder.
        relative: a normalised POSIX path: no "..", ".", "//", backslash, drive or leading "/".

    Raises:
        DataError: for any other spelling, and where a link leads out of ``root``.
    """
    pure = PurePosixPath(relative)
    odd = any(sign in relative for sign in ("\\", "\0")) or (len(relative) > 1 and relative[1] == ":")
    if odd or pure.as_posix() != relative or not pure.parts or pure.is_absolute() or ".." in pure.parts:
        raise DataError(
            f"path {relative!r} must be relative to {root} and normalised",
            fix="write it with forward slashes, without '..', './', '//' or a leading '/'",
        )
    base = root.resolve()
    try:
        found = (base / relative).resolve()
        found.exists()  # a name too long to be asked for is found out here
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"path {relative[:80]!r} below {root} cannot be resolved: {str(error)[:80]}", fix="check it"
        ) from error
    if not found.is_relative_to(base):
        raise DataError(
            f"path {relative!r} leads out of {root} to {found}",
            fix="copy the file into the folder instead of linking to it",
        )
    return found


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file of at most ``max_bytes``; DataError where it is missing, larger or a pipe."""
    try:
        status = path.stat()
        if stat.S_IFMT(status.st_mode) in (stat.S_IFIFO, stat.S_IFSOCK):  # opening one would wait for ever
            raise DataError(f"{path}: is a pipe or socket, expected a file", fix="put the file in its place")
        with path.open("rb") as file:
            data = file.read(min(status.st_size, max_bytes) + 1)  # takes room for all that is asked for
            data += file.read(max_bytes + 1 - len(data)) if len(data) > status.st_size else b""
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > max_bytes:
        raise DataError(
            f"{path}: the file has more than {max_bytes} bytes, the most that is read at once",
            fix="cut the picture into smaller ones first",
        )
    return data


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits; DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A binary file that appears as ``path``, complete, when the block ends, and not at all if it raises.

    Args:
        path: the final place; its folder exists.
        durable: also wait until the bytes are on disk, so that a power cut cannot leave an empty file.
            False only for outputs that are rebuilt by a rerun, such as chips.
    """
    part = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with part.open("xb") as file:
            yield cast(BinaryIO, file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def check_image_bounds(shape: tuple[int, int], bytes_per_px: int, limits: ImageLimits, source: str) -> None:
    """Raise DataError unless an image of ``shape`` (rows, cols) is worth decoding.

    Called with what a header claims, before any memory is taken.
    """
    rows, cols = shape
    if not (0 < rows <= limits.max_side_px and 0 < cols <= limits.max_side_px):
        raise DataError(
            f"{source}: found {rows} x {cols} pixels (rows x cols), "
            f"expected 1 to {limits.max_side_px} a side",
            fix="cut the picture into smaller ones first",
        )
    if rows * cols * bytes_per_px > limits.max_bytes:
        raise DataError(
            f"{source}: would decode to {rows * cols * bytes_per_px} bytes, "
            f"expected at most {limits.max_bytes}",
            fix="cut the picture into smaller ones first",
        )


def extract_zip(archive: Path, target: Path, limits: ArchiveLimits = ARCHIVE_LIMITS) -> None:
    """Unpack a ZIP file into the new folder ``target``, all of it or nothing.

    DataError for links, devices, encrypted entries, names that leave ``target`` or differ only in case,
    sizes past ``limits``, and damage.
    """

    def fill(folder: Path, budget: _Budget) -> None:
        names = _Names(archive, limits.max_entries)
        with zipfile.ZipFile(archive) as pack:
            for info in pack.infolist():
                mode = stat.S_IFMT(info.external_attr >> 16)
                if mode not in (0, stat.S_IFREG, stat.S_IFDIR) or info.flag_bits & 1:
                    raise _bad_entry(archive, info.filename, "a link, device or encrypted entry")
                names.add(info.filename.rstrip("/") if info.is_dir() else info.filename, info.is_dir())
                if not info.is_dir():
                    with pack.open(info) as source:
                        _copy(cast(BinaryIO, _Metered(source, budget)), _place(folder, info.filename))

    _extract(archive, target, limits, fill)


def extract_tar(archive: Path, target: Path, limits: ArchiveLimits = ARCHIVE_LIMITS) -> None:
    """As :func:`extract_zip` for a tar file: plain, .gz, .bz2 or .xz."""

    def fill(folder: Path, budget: _Budget) -> None:
        names = _Names(archive, limits.max_entries)
        with _decompressed(archive) as raw:
            metered = cast(BinaryIO, _Metered(raw, budget))
            with tarfile.open(fileobj=metered, mode="r|") as pack:
                for member in pack:
                    if not (member.isreg() or member.isdir()) or member.issparse():
                        raise _bad_entry(archive, member.name, "a link, device or sparse file")
                    names.add(member.name, member.isdir())
                    source = pack.extractfile(member)
                    if source is not None:
                        _copy(cast(BinaryIO, source), _place(folder, member.name))

    _extract(archive, target, limits, fill)


class _Budget:
    """Counts unpacked bytes down and refuses what goes past them."""

    def __init__(self, archive: Path, left: int) -> None:
        self.archive, self.left = archive, left

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise DataError(
                f"{self.archive}: unpacks to more than the limits of total size and of packing ratio allow",
                fix="check where the archive is from; raise the limits only for a source you trust",
            )


class _Metered:
    """A stream that spends what is read from it."""

    def __init__(self, raw: IO[bytes], budget: _Budget) -> None:
        self.raw, self.budget = raw, budget

    def read(self, size: int) -> bytes:
        data = self.raw.read(size)
        self.budget.spend(len(data))
        return data


_Fill = Callable[[Path, _Budget], None]


class _Names:
    """The names of an archive so far; refuses those that escape or collide."""

    def __init__(self, archive: Path, max_entries: int) -> None:
        self.archive, self.left = archive, max_entries
        self.files: dict[str, str] = {}
        self.folders: dict[str, str] = {}

    def add(self, name: str, is_folder: bool) -> None:
        self.left -= 1
        if self.left < 0:
            raise DataError(f"{self.archive}: too many entries", fix="split the archive into smaller ones")
        pure = PurePosixPath(name)
        escapes = pure.is_absolute() or ".." in pure.parts or not pure.parts
        if escapes or pure.as_posix() != name or set(name) & set("\\:\0"):
            raise _bad_entry(self.archive, name, "absolute, not normalised or leads out of the folder")
        folders = [pure, *pure.parents][:-1] if is_folder else list(pure.parents)[:-1]
        for folder in folders:
            self._claim(self.folders, self.files, folder.as_posix(), again=True)
        if not is_folder:
            self._claim(self.files, self.folders, name, again=False)

    def _claim(self, own: dict[str, str], others: dict[str, str], name: str, *, again: bool) -> None:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in others or (key in own and not (again and own[key] == name)):
            raise _bad_entry(self.archive, name, "a name used twice (upper and lower case count as one)")
        own[key] = name


# What the archive readers raise on damage; a name that is no UTF-8 in a local header of a ZIP among it.
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, struct.error),
    *(EOFError, OSError, UnicodeDecodeError),
)


def _extract(archive: Path, target: Path, limits: ArchiveLimits, fill: _Fill) -> None:
    if target.exists():
        raise DataError(f"cannot unpack {archive}: {target} exists", fix="remove it or choose another")
    try:
        packed = archive.stat().st_size
    except OSError as error:
        raise _unreadable(archive, error) from error
    # 1 MiB floor: in a tiny tar file the headers alone pass any ratio
    budget = _Budget(archive, min(limits.max_total_bytes, max(int(packed * limits.max_ratio), 1 << 20)))
    folder = target.parent / f".{secrets.token_hex(8)}.part"
    folder.mkdir()
    try:
        fill(folder, budget)
        folder.rename(target)
    except _DAMAGE as error:
        raise DataError(f"{archive}: cannot be unpacked: {error}", fix="download it again") from error
    except NotImplementedError as error:  # zipfile: a packing method it does not know
        raise DataError(f"{archive}: cannot be unpacked: {error}", fix="pack it with deflate") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read: {error.strerror}", fix="check path and permission")


def _bad_entry(archive: Path, name: str, found: str) -> DataError:
    return DataError(
        f"{archive}: entry {name!r} is {found}; expected plain files and folders below the archive's root",
        fix="pack the files again without it, and check where the archive is from",
    )


def _place(folder: Path, name: str) -> Path:
    path = resolve_inside(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _copy(source: BinaryIO, path: Path) -> None:
    with path.open("xb") as file:
        shutil.copyfileobj(source, file)


def _decompressed(archive: Path) -> IO[bytes]:
    match archive.suffix.lower():
        case ".gz" | ".tgz":
            return cast("IO[bytes]", gzip.open(archive, "rb"))
        case ".bz2":
            return bz2.open(archive, "rb")
        case ".xz":
            return lzma.open(archive, "rb")
    return archive.open("rb")
