"""A MongoDB for FiftyOne: the one that a URI names, or our own with its data in the workspace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from sarcurate.app.children import LOOPBACK, Child, answers, free_port
from sarcurate.errors import HardwareError

URI = "FIFTYONE_DATABASE_URI"
OLDEST = (6, 0)
START_S = 30.0
_VERSION = re.compile(r"db version v(\d+)\.(\d+)")
INSTALL = (
    "run `make env`, or install MongoDB and put mongod on the PATH, or set FIFTYONE_DATABASE_URI to a server"
)


@contextmanager
def database(folder: Path) -> Iterator[tuple[str, Child | None]]:
    """URI of a MongoDB that answers, and its process where we started it; that ends with the block.

    Args:
        folder: for data and log of our own instance.

    Raises:
        HardwareError: where the named server does not answer, or no mongod is there, it is too old
            or it does not start.
    """
    named = os.environ.get(URI)
    if named:
        _probe(named)
        yield named, None
        return
    mongod = find_mongod()
    data = folder / "mongo"
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command: list[str | Path] = [
        mongod,
        "--dbpath",
        data,
        "--bind_ip",
        LOOPBACK,
        "--port",
        str(port),
        "--nounixsocket",
    ]
    with Child("mongod", [*command, "--wiredTigerCacheSizeGB", "0.25"], folder / "mongod.log") as child:
        child.wait_until(lambda: answers(LOOPBACK, port), START_S)
        yield f"mongodb://{LOOPBACK}:{port}", child


def find_mongod() -> Path:
    """The mongod to start: FiftyOne's own, the environment's, or the one on the PATH.

    Raises:
        HardwareError: where there is none of version 6.0 or later.
    """
    places = [Path(sys.prefix) / "mongo/fiftyone/db/bin/mongod"]
    package = find_spec("fiftyone")
    if package is not None and package.origin is not None:
        places.insert(0, Path(package.origin).parent / "db/bin/mongod")
    on_path = shutil.which("mongod")
    places += [Path(on_path)] if on_path else []
    there = [place for place in places if place.is_file()]
    if not there:
        raise HardwareError(
            "no mongod: FiftyOne's install brought none (it says nothing when its download fails), "
            f"and none is at {places[-1]} or on the PATH",
            fix=INSTALL,
        )
    told = {place: _version(place) for place in there}
    fit = [place for place, version in told.items() if version is not None and version >= OLDEST]
    if not fit:
        found = ", ".join(f"{place} ({_words(version)})" for place, version in told.items())
        raise HardwareError(f"mongod {_words(OLDEST)} or later is needed, found {found}", fix=INSTALL)
    return fit[0]


def _version(mongod: Path) -> tuple[int, int] | None:
    """Major and minor; None where it does not run, as for want of a library."""
    try:
        told = subprocess.run([mongod, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(told.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _words(version: tuple[int, int] | None) -> str:
    return f"{version[0]}.{version[1]}" if version else "does not run"


def _probe(uri: str) -> None:
    """Refuse a server that does not answer at once; FiftyOne alone would wait half a minute."""
    try:
        place = urlsplit(uri)
        host, port = place.hostname or LOOPBACK, place.port or 27017
    except ValueError as error:
        raise HardwareError(
            f"{URI} is no address: {error}", fix="give mongodb://host:port, or unset it"
        ) from error
    if place.scheme == "mongodb" and "," not in place.netloc and not answers(host, port):
        raise HardwareError(
            f"{URI} names {host}:{port}, where nothing answers",
            fix="start that server, or unset the variable to have one started",
        )


if __name__ == "__main__":  # asked by `make env`: is one there?
    try:
        print(find_mongod())
    except HardwareError:
        raise SystemExit(1) from None
