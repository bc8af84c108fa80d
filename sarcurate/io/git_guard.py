"""What git must not hold: imagery, products and large files outside the places that may have them."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from sarcurate.errors import DataError, ParamsError
from sarcurate.io.revisions.git_history import run_git
from sarcurate.io.terminal_text import printable

MOST_BYTES = 1_000_000
ALLOW_FILE = ".sarcurateallow"
# Drawn figures, invented products and the small models that come with the package
ALLOWED = ("docs/figures", "tests/data", "sarcurate/assets")
_PICTURES = ".tif .tiff .png .jpg .jpeg .jp2 .j2k .bmp .gif .webp"
_ARRAYS = ".npy .npz .mat .h5 .hdf5 .he5 .nc"
_PRODUCTS = ".nitf .ntf .nsf .cos .img .zip .tar .tgz .7z"
SUFFIXES = frozenset(f"{_PICTURES} {_ARRAYS} {_PRODUCTS}".split())
# First bytes of the same formats, whatever the file is called
_SIGNATURES = {
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"II+\0": "a TIFF",
    b"MM\0+": "a TIFF",
    b"\x89PNG": "a PNG",
    b"\xff\xd8\xff": "a JPEG",
    b"\0\0\0\x0cjP  ": "a JPEG 2000",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"NITF0": "a NITF",
    b"NSIF0": "a NITF",
}
_COSAR_AT, _COSAR = 28, b"CSAR"
# Pages and notebooks carry pictures as base64 text; a short one is an icon.
_EMBEDDED = re.compile(rb'(data:image/[a-z+.-]+;base64,|"image/(png|jpeg)": ?\[?\s*")[A-Za-z0-9+/]{500}')
_LINK, _SUBMODULE = "120000", "160000"
_PARQUET = ".parquet"


@dataclass(frozen=True)
class Offence:
    """A file that git must not hold, and why."""

    path: str
    why: str


@dataclass(frozen=True)
class _Entry:
    """A file in git's index: mode, hash of its content, path below the repository's root."""

    mode: str
    blob: str
    path: str


def root_of(folder: Path) -> Path | None:
    """Root of the git working tree around a folder; None outside of one."""
    done = run_git(folder, ["rev-parse", "--show-toplevel"])
    text = done.stdout.decode("utf-8", "surrogateescape").strip()
    return Path(text) if done.returncode == 0 and text else None


def staged_offences(root: Path) -> list[Offence]:
    """Files about to be committed that must not be.

    Raises:
        DataError: where git cannot say what is staged.
        ParamsError: for an allow file that allows everything or is not understood.
    """
    listing = ["diff", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--diff-filter=ACMT"]
    fields = _fields(root, listing)
    entries = [
        _Entry(mode=facts.split()[1], blob=facts.split()[3], path=path)
        for facts, path in zip(fields[::2], fields[1::2], strict=True)
    ]
    return list(_offences(root, entries))


def tracked_offences(root: Path) -> list[Offence]:
    """Files that git tracks already and must not; errors as :func:`staged_offences`."""
    entries = []
    for line in _fields(root, ["ls-files", "-s", "-z"]):
        facts, path = line.split("\t", 1)
        entries.append(_Entry(mode=facts.split()[0], blob=facts.split()[1], path=path))
    return list(_offences(root, entries))


def _fields(root: Path, arguments: list[str]) -> list[str]:
    done = run_git(root, arguments)
    if done.returncode != 0:
        told = done.stderr.decode("utf-8", "replace").strip()[:200]
        raise DataError(f"git cannot list the files of {root}: {told}", fix="run `git status` there")
    return [field for field in done.stdout.decode("utf-8", "surrogateescape").split("\0") if field]


def _offences(root: Path, entries: Iterable[_Entry]) -> Iterator[Offence]:
    allowed = (*ALLOWED, *read_allowed(root))
    with _blobs(root) as blobs:
        for entry in entries:
            if entry.mode in (_LINK, _SUBMODULE) or _is_below(entry.path, allowed):
                continue
            why = _by_name(entry.path) or blobs.judged(entry)
            if why:
                yield Offence(entry.path, why)


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _by_name(path: str) -> str:
    suffix = PurePosixPath(path).suffix.lower()
    return f"{suffix} files are imagery, arrays or products" if suffix in SUFFIXES else ""


def read_allowed(root: Path) -> list[str]:
    """Files and folders of the allow file, one a line, ``#`` for remarks; none where there is no file.

    Raises:
        ParamsError: for a line that is no plain path below the root.
    """
    path = root / ALLOW_FILE
    if not path.is_file():
        return []
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    names = [line.rstrip("/") for line in lines if line and not line.startswith("#")]
    for name, line in zip(names, [line for line in lines if line and not line.startswith("#")], strict=True):
        pure = PurePosixPath(name)
        if not pure.parts or pure.is_absolute() or pure.as_posix() != name or {"..", "."} & set(pure.parts):
            raise ParamsError(
                f"{path}: {line!r} is no file or folder below {root.name}",
                fix="write one path a line, as docs/pictures, without dots, stars or a leading slash",
            )
    return names


class _Blobs:
    """Contents of git's objects, one after the other through one git process."""

    def __init__(self, reads: IO[bytes], writes: IO[bytes]) -> None:
        self._reads, self._writes = reads, writes

    def judged(self, entry: _Entry) -> str:
        """Why a file's size or content must not be in git; empty where it may."""
        self._writes.write(entry.blob.encode() + b"\n")
        self._writes.flush()
        head = self._reads.readline().split()
        if len(head) != 3:  # an object that this clone lacks
            return ""
        size = int(head[2])
        if size > MOST_BYTES:
            self._skip(size + 1)
            return f"{size / 1e6:.1f} MB, more than the {MOST_BYTES / 1e6:.0f} MB that a file may have"
        data = self._reads.read(size + 1)[:size]
        return _by_content(entry.path, data)

    def _skip(self, count: int) -> None:
        while count > 0:
            count -= len(self._reads.read(min(count, 1 << 20)))


@contextmanager
def _blobs(root: Path) -> Iterator[_Blobs]:
    command = ["git", "cat-file", "--batch"]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield _Blobs(process.stdout, process.stdin)
        process.stdin.close()


def _by_content(path: str, data: bytes) -> str:
    for start, what in _SIGNATURES.items():
        if data.startswith(start):
            return f"its content is {what}"
    if data[_COSAR_AT : _COSAR_AT + len(_COSAR)] == _COSAR:
        return "its content is a COSAR product"
    if path.lower().endswith(_PARQUET) and _has_bytes(data):
        return "a column holds bytes, as tables of pictures do"
    if _EMBEDDED.search(data):
        return "it holds pictures as base64 text"
    return ""


def _has_bytes(data: bytes) -> bool:
    """Whether a parquet file has a column of bytes, alone or inside a structure."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(io.BytesIO(data))
    except (pa.ArrowInvalid, OSError):
        return False
    waiting = [field.type for field in schema]
    while waiting:
        kind = waiting.pop()
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return True
        waiting += [kind.field(place).type for place in range(kind.num_fields)]
    return False


def refuse(offences: list[Offence], deed: str) -> None:
    """Raise where there are offences.

    Args:
        deed: what is refused, as "this commit".

    Raises:
        DataError: naming every file and why.
    """
    if not offences:
        return
    lines = [f"  {printable(offence.path)}: {offence.why}" for offence in offences]
    raise DataError(
        f"{deed} holds {len(offences)} files that git must not hold:\n" + "\n".join(lines),
        fix="take them out with `git restore --staged FILE` (`git rm --cached FILE` where they are tracked), "
        f"keep them with `dvc add FILE`; what may be public is named in {ALLOW_FILE}, a path a line",
    )
