"""Fetching: filling the mirror of a public set from its original repository, or from another mirror."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sarcurate.errors import DataError
from sarcurate.execution import track
from sarcurate.io.conversions import convert
from sarcurate.io.public_sets import Conversion, SetDescriptor, packaged_lists, read_sums, read_table
from sarcurate.io.safe import atomic_write, resolve_inside, sha256_file

_MAX_FILE_BYTES = 1 << 30
_TIMEOUT_S = 60.0
_BUSY = (429, 503)

Opener = Callable[..., AbstractContextManager[BinaryIO]]


@dataclass(frozen=True)
class Fetched:
    """What a fetch did: files downloaded by this call (the lists aside), and domains nobody offers."""

    downloaded: int
    missing_domains: tuple[str, ...]


@dataclass(frozen=True)
class _Download:
    """One file of the mirror: its path below the set's folder, where it comes from, and what it must be."""

    path: str
    url: str
    conversion: Conversion
    sha256: str


def fetch(
    descriptor: SetDescriptor,
    mirror: Path,
    *,
    base_url: str | None = None,
    lists: Traversable | None = None,
    opener: Opener = urllib.request.urlopen,
) -> Fetched:
    """Fill ``mirror/<set>`` and check the SHA-256 of every file; shows progress on stderr.

    Chips come from a server that lays out the set as a mirror does, where one is given or described; else
    from the domains' original repositories, converted, beside the package's own manifest and sums file.
    Each file appears only when complete and verified, so that an interrupted fetch goes on where it was.

    Args:
        descriptor: the set.
        mirror: folder of all sets; made where missing.
        base_url: http(s) address of a mirror's folder of the set; the descriptor's own where None.
        lists: folder with the gzipped manifest and sums file; the package's own where None.
        opener: called as ``opener(url, timeout=seconds)``.

    Raises:
        DataError: no address known, a file that the server lacks, a broken transfer, a file that cannot be
            converted, a wrong SHA-256.
    """
    root = mirror / descriptor.name
    address = base_url if base_url is not None else descriptor.base_url
    if address is not None:
        downloads = _from_mirror(descriptor, root, address, opener)
        return Fetched(_fetch_all(root, downloads, descriptor.name, opener), ())
    missing = tuple(name for name, domain in descriptor.domains.items() if domain.origin is None)
    if len(missing) == len(descriptor.domains):
        fix = f"`sarcurate fetch {descriptor.name} --from URL` (a server of the mirror folder), or copy it"
        raise DataError(f"set {descriptor.name} has no automatic source: {descriptor.fetch_note}", fix=fix)
    downloads = _from_origins(descriptor, root, lists or packaged_lists(descriptor.name))
    return Fetched(_fetch_all(root, downloads, descriptor.name, opener), missing)


def _from_mirror(descriptor: SetDescriptor, root: Path, address: str, opener: Opener) -> list[_Download]:
    """What to download from another mirror, the sums file of which is fetched at once."""
    base = address.rstrip("/")
    _check_address(base)
    root.mkdir(parents=True, exist_ok=True)
    sums = _Download(descriptor.sums, f"{base}/{descriptor.sums}", "none", descriptor.sums_sha256)
    _fetch_file(root, sums, opener)
    return [
        _Download(path, f"{base}/{urllib.parse.quote(path)}", "none", sha256)
        for path, sha256 in read_sums(descriptor, root).items()
    ]


def _from_origins(descriptor: SetDescriptor, root: Path, lists: Traversable) -> list[_Download]:
    """What to download from the original repositories; writes manifest and sums file, which they lack."""
    root.mkdir(parents=True, exist_ok=True)
    _write_list(root, descriptor.sums, lists, descriptor.sums_sha256)
    sums = read_sums(descriptor, root)
    _write_list(root, descriptor.manifest, lists, sums[descriptor.manifest])
    table = read_table(descriptor, root, sums)
    downloads = []
    for path, domain, label in zip(table["path"], table["domain"], table["class"], strict=True):
        origin = descriptor.domains[domain].origin
        if origin is not None:
            original = f"{origin.folders[label]}/{PurePosixPath(path).stem}{origin.suffix}"
            url = f"{origin.base_url.rstrip('/')}/{urllib.parse.quote(original)}"
            _check_address(url)
            downloads.append(_Download(path, url, origin.conversion, sums[path]))
    return downloads


def _write_list(root: Path, name: str, lists: Traversable, sha256: str) -> None:
    data = gzip.decompress((lists / f"{name}.gz").read_bytes())
    _check_sha256(data, sha256, f"{lists / name}.gz", "install the package again")
    _write(resolve_inside(root, name), data)


def _check_address(address: str) -> None:
    if not address.startswith(("http://", "https://")):
        raise DataError(f"cannot fetch from {address!r}", fix="give an http:// or https:// address")


def _fetch_all(root: Path, downloads: Sequence[_Download], name: str, opener: Opener) -> int:
    return sum(_fetch_file(root, one, opener) for one in track(downloads, f"fetch {name}", len(downloads)))


def _fetch_file(root: Path, wanted: _Download, opener: Opener) -> int:
    """Download one file unless it is there already; 1 where it was downloaded."""
    place = resolve_inside(root, wanted.path)
    if place.is_file() and sha256_file(place) == wanted.sha256:
        return 0
    data = convert(wanted.conversion, _get(wanted.url, opener), wanted.url)
    source = wanted.url if wanted.conversion == "none" else f"{wanted.url} after {wanted.conversion}"
    fix = "run the fetch again; if it stays, the server holds another version: try another mirror (--from)"
    _check_sha256(data, wanted.sha256, source, fix)
    _write(place, data)
    return 1


def _get(url: str, opener: Opener) -> bytes:
    try:
        with opener(url, timeout=_TIMEOUT_S) as answer:
            return answer.read(_MAX_FILE_BYTES)
    except urllib.error.HTTPError as error:
        error.close()
        fix = "check the address; with --from it must serve the set's mirror folder"
        if error.code in _BUSY:
            fix = "the server limits the rate: wait some minutes and run the fetch again; files are kept"
        raise DataError(f"{url}: the server answered {error.code} {error.reason}", fix=fix) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        fix = "run the fetch again; files that are there already are kept"
        raise DataError(f"{url}: the transfer broke off: {error!r}", fix=fix) from error


def _check_sha256(data: bytes, expected: str, source: str, fix: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise DataError(f"{source}: found SHA-256 {found} ({len(data)} bytes), expected {expected}", fix=fix)


def _write(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(place) as file:
        file.write(data)
