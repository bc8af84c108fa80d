from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import os
import threading
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from sarcurate.errors import DataError
from sarcurate.io.fetching import Fetched, fetch
from sarcurate.io.public_sets import SetDescriptor, load_set, packaged_lists, read_descriptor, read_set

PLACES = ["near/ship/Other Type_1.npy", "near/ship/b2.npy", "near/tank/c3.npy", "far/ship/b2.npy"]
MANIFEST = "path,domain,class\n" + "".join(f"{p},{p.split('/')[0]},{p.split('/')[1]}\n" for p in PLACES)
ORIGIN = {
    "base_url": "",
    "folders": {"ship": "Big Ships", "tank": "Tanks"},
    "suffix": ".npy",
    "conversion": "complex_npy_to_iq_int16",
}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _original(mirrored: bytes) -> bytes:
    """The complex .npy file that the int16 I and Q file was made from."""
    iq = np.load(io.BytesIO(mirrored)).astype(np.float32)
    return _npy((iq[..., 0] + 1j * iq[..., 1]).astype(np.complex64))


def _mirrored() -> dict[str, bytes]:
    random = np.random.default_rng(7)
    chips = {p: _npy(random.integers(-32768, 32768, (6, 5, 2), dtype=np.int16)) for p in PLACES}
    return {"README.md": b"a toy", "manifest.csv": MANIFEST.encode(), **chips}


def _sums(files: dict[str, bytes]) -> bytes:
    return "".join(f"{_sha256(data)}  {name}\n" for name, data in files.items()).encode()


def _fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _descriptor(folder: Path, origins: dict[str, Any], base_url: str | None = None) -> SetDescriptor:
    domain = {"sensor": "s", "measured": True, "band": "X", "polarisation": None, "classes": ["ship", "tank"]}
    raw = {
        "name": "toy",
        "title": "A toy",
        "citation": "none",
        "licence": "CC0",
        "terms": "free",
        "source_url": "https://example.org",
        "manifest": "manifest.csv",
        "sums": "SHA256SUMS",
        "sums_sha256": _sha256(_sums(_mirrored())),
        "base_url": base_url,
        "fetch_note": "far is not to be had",
        "domains": {name: {**domain, "origin": origins.get(name)} for name in ("near", "far")},
        "pixels": "iq",
        "radiometry": "intensity",
        "groups": {"warning": "none"},
        "traps": ["it is made up"],
    }
    path = folder / "toy.yaml"
    YAML(typ="safe", pure=True).dump(raw, path)
    return read_descriptor(path)


@dataclass
class Server:
    """A web server of one folder that counts what it is asked for, and can break or be busy."""

    url: str
    folder: Path
    asked: list[str] = field(default_factory=list)
    breaks_at: str = "-"
    busy_at: str = "-"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    state = Server("", tmp_path / "server")
    state.folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            if self.path.endswith(state.busy_at):
                return self.send_error(429)
            if not self.path.endswith(state.breaks_at):
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
            return None

        def log_message(self, format: str, *args: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=str(state.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{web.server_port}"
        yield state
        web.shutdown()
        thread.join()


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return tmp_path / "mirror"


@pytest.fixture
def toy(tmp_path: Path) -> SetDescriptor:
    """A set with no origin."""
    return _descriptor(tmp_path, {})


@pytest.fixture
def other(server: Server) -> str:
    """Address of another mirror's folder of the toy."""
    files = _mirrored()
    _fill(server.folder / "toy", {**files, "SHA256SUMS": _sums(files)})
    return f"{server.url}/toy"


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """The toy's lists, as a package holds them."""
    files = _mirrored()
    packed = {"SHA256SUMS.gz": _sums(files), "manifest.csv.gz": files["manifest.csv"]}
    _fill(tmp_path / "lists", {name: gzip.compress(data) for name, data in packed.items()})
    return tmp_path / "lists"


@pytest.fixture
def half(tmp_path: Path, server: Server) -> SetDescriptor:
    """A set of which an original repository, in its own layout, holds the domain near alone."""
    folders = {"ship": "Big Ships", "tank": "Tanks"}
    for path, data in _mirrored().items():
        if path.startswith("near/"):
            name = f"{folders[path.split('/')[1]]}/{Path(path).name}"
            _fill(server.folder / "repo/0123abc", {name: _original(data)})
    return _descriptor(tmp_path, {"near": {**ORIGIN, "base_url": f"{server.url}/repo/0123abc"}})


# from another mirror


def test_fetch_from_a_mirror_copies_it(toy: SetDescriptor, mirror: Path, other: str, server: Server) -> None:
    assert fetch(toy, mirror, base_url=other + "/") == Fetched(6, ())
    for name, data in _mirrored().items():
        assert (mirror / "toy" / name).read_bytes() == data
    assert len(read_set(toy, mirror, "near", ["ship", "tank"])) == 3
    assert not list(mirror.rglob("*.part"))
    server.asked.clear()
    assert fetch(toy, mirror, base_url=other).downloaded == 0
    assert server.asked == []


def test_fetch_shows_progress(
    toy: SetDescriptor, mirror: Path, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(toy, mirror, base_url=other)
    said = capsys.readouterr()
    assert said.out == ""
    assert "fetch toy: 6/6" in said.err


def test_the_descriptor_may_name_the_address(tmp_path: Path, mirror: Path, other: str) -> None:
    assert fetch(_descriptor(tmp_path, {}, base_url=other), mirror).downloaded == 6


def test_an_interrupted_fetch_goes_on_where_it_was(
    toy: SetDescriptor, mirror: Path, other: str, server: Server
) -> None:
    server.breaks_at = "c3.npy"
    with pytest.raises(DataError, match=r"c3\.npy: (the transfer broke off|found SHA-256)") as caught:
        fetch(toy, mirror, base_url=other)
    assert "run the fetch again" in caught.value.fix
    assert not list(mirror.rglob("*.part"))
    assert not (mirror / "toy/near/tank/c3.npy").exists()
    server.breaks_at, server.asked = "-", []
    assert fetch(toy, mirror, base_url=other).downloaded == 2
    assert server.asked == ["/toy/near/tank/c3.npy", "/toy/far/ship/b2.npy"]


def test_a_damaged_file_in_the_mirror_is_fetched_again(toy: SetDescriptor, mirror: Path, other: str) -> None:
    fetch(toy, mirror, base_url=other)
    (mirror / "toy/near/ship/b2.npy").write_bytes(b"damaged")
    assert fetch(toy, mirror, base_url=other).downloaded == 1
    read_set(toy, mirror, "near", ["ship"])


@pytest.mark.parametrize("name", ["SHA256SUMS", "near/ship/b2.npy"])
def test_another_version_on_the_server_is_refused(
    toy: SetDescriptor, mirror: Path, other: str, server: Server, name: str
) -> None:
    (server.folder / "toy" / name).write_bytes(b"another version")
    with pytest.raises(DataError, match=f"{name}: found SHA-256 .* expected"):
        fetch(toy, mirror, base_url=other)
    assert not (mirror / "toy" / name).exists()


def test_a_file_the_server_lacks_is_named(
    toy: SetDescriptor, mirror: Path, other: str, server: Server
) -> None:
    (server.folder / "toy/near/ship/b2.npy").unlink()
    with pytest.raises(DataError, match=r"b2\.npy: the server answered 404"):
        fetch(toy, mirror, base_url=other)


def test_a_busy_server_asks_for_patience(
    toy: SetDescriptor, mirror: Path, other: str, server: Server
) -> None:
    server.busy_at = "b2.npy"
    with pytest.raises(DataError, match=r"b2\.npy: the server answered 429") as caught:
        fetch(toy, mirror, base_url=other)
    assert "wait some minutes" in caught.value.fix


def test_a_server_that_is_not_there(toy: SetDescriptor, mirror: Path) -> None:
    with pytest.raises(DataError, match="the transfer broke off"):
        fetch(toy, mirror, base_url="http://127.0.0.1:1/toy")


@pytest.mark.parametrize("address", ["file:///etc", "ftp://x/y", "toy"])
def test_other_addresses_are_refused(
    tmp_path: Path, toy: SetDescriptor, mirror: Path, lists: Path, address: str
) -> None:
    with pytest.raises(DataError, match="cannot fetch from"):
        fetch(toy, mirror, base_url=address)
    from_origin = _descriptor(tmp_path, {"near": {**ORIGIN, "base_url": address}})
    with pytest.raises(DataError, match="cannot fetch from"):
        fetch(from_origin, mirror, lists=lists)


# from the original repository


def test_originals_become_the_mirrors_bytes(half: SetDescriptor, mirror: Path, lists: Path) -> None:
    assert fetch(half, mirror, lists=lists) == Fetched(3, ("far",))
    expected = {n: d for n, d in _mirrored().items() if n.startswith("near/") or n == "manifest.csv"}
    expected["SHA256SUMS"] = _sums(_mirrored())
    files = {p.relative_to(mirror / "toy").as_posix(): p for p in mirror.rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in files.items()} == expected
    assert read_set(half, mirror, "near", ["ship", "tank"])["path"].tolist() == sorted(PLACES[:3])
    with pytest.raises(DataError, match="1 of 1 chips of domain far are missing") as caught:
        read_set(half, mirror, "far", ["ship"])
    assert "far is not to be had" in caught.value.fix
    (mirror / "toy/near/ship/b2.npy").unlink()
    with pytest.raises(DataError, match="1 of 2 chips of domain near are missing") as caught:
        read_set(half, mirror, "near", ["ship"])
    assert caught.value.fix == "run `sarcurate fetch toy`"


def test_a_broken_fetch_of_originals_goes_on(
    half: SetDescriptor, mirror: Path, lists: Path, server: Server
) -> None:
    server.breaks_at = "c3.npy"
    with pytest.raises(DataError, match=r"c3\.npy"):
        fetch(half, mirror, lists=lists)
    server.breaks_at, server.asked = "-", []
    assert fetch(half, mirror, lists=lists).downloaded == 1
    assert server.asked == ["/repo/0123abc/Tanks/c3.npy"]


def test_other_originals_never_enter_the_mirror(
    half: SetDescriptor, mirror: Path, lists: Path, server: Server
) -> None:
    place = server.folder / "repo/0123abc/Big Ships/b2.npy"
    samples = np.load(place)
    samples[0, 0] = -samples[0, 0] - 1  # one sample, still an integer that fits
    for data, message in (
        (_npy(samples), "after complex_npy_to_iq_int16: found SHA-256"),
        (b"x", "found unr"),
    ):
        place.write_bytes(data)
        with pytest.raises(DataError, match=message) as caught:
            fetch(half, mirror, lists=lists)
        assert "Big%20Ships/b2.npy" in caught.value.problem
        assert not (mirror / "toy/near/ship/b2.npy").exists()


@pytest.mark.parametrize("name", ["SHA256SUMS", "manifest.csv"])
def test_lists_of_another_version_are_refused(
    half: SetDescriptor, mirror: Path, lists: Path, name: str
) -> None:
    (lists / f"{name}.gz").write_bytes(gzip.compress(b"another"))
    with pytest.raises(DataError, match=rf"{name}\.gz: found SHA-256") as caught:
        fetch(half, mirror, lists=lists)
    assert caught.value.fix == "install the package again"


def test_a_set_without_any_origin_says_what_to_do(toy: SetDescriptor, mirror: Path) -> None:
    with pytest.raises(DataError, match="no automatic source: far is not to be had") as caught:
        fetch(toy, mirror)
    assert "--from URL" in caught.value.fix
    assert not mirror.exists()


@pytest.mark.parametrize(
    ("name", "chips", "missing", "some_url"),
    [
        # chips: the counts that the sets' own README files state
        (
            "tsx-s1-slc",
            1613 + 1143,
            (),
            "Alien9427/SAR_specific_models/5cc25821d3c540c169f6fd3bd2fedb88744157a9/data/slc_data/"
            "industrialbuilding/industrialbuilding_4312_HH_15834_17660.npy",
        ),
        (
            "ships-s1-slc",
            842,
            (),
            "Alien9427/DSN/d4923ebf76d54a470ce4f030276fd1bdce782507/data/slc_OpenSARShip/"
            "Bulk%20Carrier/Other%20Type_x49098_y5773.npy",
        ),
        ("sar-acd", 2113, (), "AICyberTeam/SAR-ACD/HEAD/images/A320321/001.jpg"),
        (
            "mstar-simshift",
            1500,
            ("sim-coarse",),
            "hunterlew/mstar_with_machine_learning/213195c3aa544b2630533fdc7bf21c51b4ab573f/"
            "MSTAR-10/train/BRDM_2/hb20012.jpeg",
        ),
    ],
)
def test_the_addresses_of_the_packaged_sets(
    tmp_path: Path, name: str, chips: int, missing: tuple[str, ...], some_url: str
) -> None:
    """Asked in turn, with every answer cut off after the address; the named files are in the repositories."""
    descriptor = load_set(name)
    asked: list[str] = []

    def opener(url: str, timeout: float) -> Any:
        asked.append(url)
        raise urllib.error.HTTPError(url, 404, "not here", Message(), None)

    for path in _paths(name, missing):
        before = len(asked)
        only = _cut(descriptor, tmp_path, {path: _line(name, path)})
        with pytest.raises(DataError, match="the server answered 404"):
            fetch(only, tmp_path / "mirror", lists=tmp_path / "cut", opener=opener)
        assert len(asked) == before + 1
    assert f"https://raw.githubusercontent.com/{some_url}" in asked
    assert len(_paths(name, missing, every=True)) == chips


def _list(name: str, file: str) -> str:
    return gzip.decompress((packaged_lists(name) / f"{file}.gz").read_bytes()).decode()


def _line(name: str, path: str) -> str:
    return next(line for line in _list(name, "manifest.csv").splitlines() if line.startswith(path + ","))


def _paths(name: str, missing: tuple[str, ...], every: bool = False) -> list[str]:
    """Paths of chips that an origin has: all, or the first and last of each class's names."""
    paths = [line.split(",")[0] for line in _list(name, "manifest.csv").splitlines()[1:]]
    paths = [path for path in paths if path.split("/")[0] not in missing]
    if every:
        return paths
    classes: dict[str, list[str]] = {}
    for path in paths:
        classes.setdefault(path.rsplit("/", 1)[0], []).append(path)
    return [path for of_class in classes.values() for path in (min(of_class), max(of_class))]


def _cut(descriptor: SetDescriptor, folder: Path, rows: dict[str, str]) -> SetDescriptor:
    """The set cut to a few chips, with its lists, cut too, in ``folder/cut``."""
    head = _list(descriptor.name, "manifest.csv").splitlines()[0]
    manifest = "\n".join([head, *rows.values()]) + "\n"
    known = dict(line.split("  ", 1)[::-1] for line in _list(descriptor.name, "SHA256SUMS").splitlines())
    sums = f"{_sha256(manifest.encode())}  manifest.csv\n" + "".join(f"{known[p]}  {p}\n" for p in rows)
    packed = {
        "SHA256SUMS.gz": gzip.compress(sums.encode()),
        "manifest.csv.gz": gzip.compress(manifest.encode()),
    }
    _fill(folder / "cut", packed)
    return dataclasses.replace(descriptor, sums_sha256=_sha256(sums.encode()))


@pytest.mark.real
@pytest.mark.parametrize("name", ["tsx-s1-slc", "ships-s1-slc", "sar-acd"])
def test_real_chips_come_back_from_rebuilt_originals(tmp_path: Path, name: str, server: Server) -> None:
    held = Path(os.environ.get("SARCURATE_MIRROR", "")) / name
    if not held.joinpath("SHA256SUMS").is_file():
        pytest.skip(f"{name} is not in SARCURATE_MIRROR")
    paths = _paths(name, ())
    descriptor = _cut(load_set(name), tmp_path, {path: _line(name, path) for path in paths})
    for domain, part in descriptor.domains.items():
        assert part.origin is not None
        origin = part.origin
        for path in (path for path in paths if path.startswith(f"{domain}/")):
            label, file = path.split("/")[1:]
            data = (held / path).read_bytes()
            data = data if origin.conversion == "none" else _original(data)
            _fill(server.folder / domain, {f"{origin.folders[label]}/{file}": data})
        local = dataclasses.replace(origin, base_url=f"{server.url}/{domain}")
        descriptor.domains[domain] = dataclasses.replace(part, origin=local)
    assert fetch(descriptor, tmp_path / "mirror", lists=tmp_path / "cut") == Fetched(len(paths), ())
    for path in paths:
        assert (tmp_path / "mirror" / name / path).read_bytes() == (held / path).read_bytes()


@pytest.mark.real
@pytest.mark.parametrize("name", ["tsx-s1-slc", "ships-s1-slc"])
def test_every_real_chip_survives_its_round_trip(name: str) -> None:
    from sarcurate.io.conversions import convert

    held = Path(os.environ.get("SARCURATE_MIRROR", "")) / name
    if not held.is_dir():
        pytest.skip(f"{name} is not in SARCURATE_MIRROR")
    for path in _paths(name, (), every=True):
        data = (held / path).read_bytes()
        assert convert("complex_npy_to_iq_int16", _original(data), path) == data
