"""What docs/remotes.md promises: push and pull, artifacts by tag, revisions compared after a fetch."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sarcurate.io.revisions.changes import change_lines, read_changes

REPOSITORY = Path(__file__).resolve().parents[1]
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
PATIENCE_S = 60
pytestmark = pytest.mark.slow


def call(folder: Path, *command: str, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def dvc(folder: Path, *arguments: str, **env: str) -> str:
    return call(folder, sys.executable, "-m", "dvc", *arguments, env=os.environ | env)


def packaged_artifacts() -> dict[str, Any]:
    yaml = YAML(typ="safe", pure=True)
    found: dict[str, Any] = yaml.load(REPOSITORY / "sarcurate" / "assets" / "workspace" / "pipeline.yaml")
    return dict(found["artifacts"])


def save(paper: Any, root: Path, tag: str, params: Mapping[str, Any]) -> None:
    """A revision by DVC itself: outputs hashed and cached, dvc.lock written, all of git's committed."""
    paper.write_params(root, params)
    dvc(root, "commit", "-f", "-q")
    paper.git(root, "add", "-A")
    paper.git(root, "commit", "-q", "-m", tag)
    paper.git(root, "tag", "-a", "-m", tag, tag)


@pytest.fixture(scope="module")
def two_revisions(paper: Any, tmp_path_factory: pytest.TempPathFactory, quiet_environment: None) -> Path:
    """A workspace under git and DVC with a remote in a folder, nothing pushed; not to be written to."""
    base: Path = tmp_path_factory.mktemp("remotes")
    root = base / "work"
    sets = paper.write_small(root, previews=True)
    paper.git(root, "init", "-q", "-b", "main")
    dvc(root, "init", "-q")
    dvc(root, "remote", "add", "-q", "-d", "store", str(base / "store"))
    ignored = ["/data/*", "!/data/verdicts.csv", "/models/*", "/metrics/predictions.parquet"]
    (root / ".gitignore").write_text("\n".join(ignored) + "\n")
    stages = {}
    for name, outs in paper.STAGES.items():
        tracked = [{out: {"cache": False}} if out.endswith(".json") else out for out in outs]
        stages[name] = {"cmd": f"sarcurate {name}", "params": ["code", "dataset", name], "outs": tracked}
    pipeline = {"stages": stages, "artifacts": {"adapter": packaged_artifacts()["adapter"]}}
    with (root / "dvc.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(pipeline, file)
    save(paper, root, "v1", paper.PARAMS)
    paper.write_set(root, "data/generated", sets["data/generated"][:1], previews=True)
    save(paper, root, "v2", paper.PARAMS | {"generate": {"per_class": 1}})
    return base


@pytest.fixture
def own(two_revisions: Path, tmp_path: Path) -> Path:
    """The workspace, to write to; its remote is a folder beside it."""
    root = Path(shutil.copytree(two_revisions / "work", tmp_path / "work", symlinks=True))
    dvc(root, "remote", "modify", "store", "url", str(tmp_path / "store"))
    return root


def _bytes(root: Path) -> dict[str, bytes]:
    folders = ("data", "models", "metrics")
    files = [path for name in folders for path in (root / name).rglob("*") if path.is_file()]
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in files if path.name != ".gitignore"
    }


def _clone(root: Path, place: Path) -> Path:
    call(root.parent, "git", "clone", "-q", str(root), str(place))
    return place


def test_push_to_a_folder_and_pull_in_a_clone(paper: Any, own: Path, tmp_path: Path) -> None:
    paper.git(own, "commit", "-q", "-a", "-m", "remote")
    dvc(own, "push", "-q", "--all-tags")
    clone = _clone(own, tmp_path / "clone")
    assert not (clone / "data" / "generated").exists()
    dvc(clone, "pull", "-q")
    assert _bytes(clone) == _bytes(own)
    assert "up to date" in dvc(clone, "status")
    assert "Everything is up to date" in dvc(own, "push")


def test_a_clone_compares_revisions_as_far_as_its_cache_goes(paper: Any, own: Path, tmp_path: Path) -> None:
    paper.git(own, "commit", "-q", "-a", "-m", "remote")
    dvc(own, "push", "-q", "--all-tags")
    clone = _clone(own, tmp_path / "clone")
    bare = read_changes(clone, "v1", "v2")
    assert bare.chips.changes.empty
    assert any("v1: data/generated is not in DVC's cache; `dvc fetch" in gap for gap in bare.gaps)
    assert [change.path for change in bare.params] == ["generate.per_class"]
    dvc(clone, "fetch", "-q", "--all-commits")
    whole = read_changes(clone, "v1", "v2")
    assert whole.gaps == ()
    assert list(whole.chips.changes[["kind", "chip_id"]].itertuples(index=False, name=None)) == [
        ("removed", paper.chip_id("g1"))
    ]
    assert {one.stage: one.what for one in whole.stages} == {"generate": ("params", "outputs")}
    here = change_lines(read_changes(own, "v1", "v2"))
    assert change_lines(whole) == here


def test_dvc_writes_the_lock_that_workspaces_on_paper_have(paper: Any, own: Path) -> None:
    """The fast tests write dvc.lock and the cache by hand: that is DVC's own form."""
    yaml = YAML(typ="safe", pure=True)
    by_dvc = yaml.load(own / "dvc.lock")["stages"]
    paper.write_lock(own, paper.PARAMS | {"generate": {"per_class": 1}})
    by_hand = yaml.load(own / "dvc.lock")["stages"]
    for name, stage in by_hand.items():
        assert stage["params"] == by_dvc[name]["params"]
        hashes = [{out["path"]: out["md5"] for out in side["outs"]} for side in (stage, by_dvc[name])]
        assert hashes[0] == hashes[1]


def test_an_artifact_is_found_and_fetched_by_its_tag(paper: Any, own: Path, tmp_path: Path) -> None:
    import dvc.api

    paper.git(own, "commit", "-q", "-a", "-m", "remote")
    paper.git(own, "tag", "-a", "-m", "first adapter", "adapter@v1.0.0")
    dvc_push = [sys.executable, "-m", "dvc", "push", "-q"]
    call(own, *dvc_push)
    shown = dvc.api.artifacts_show("adapter", repo=str(own))
    assert shown == {"rev": paper.git(own, "rev-parse", "HEAD").strip(), "path": "models/adapter"}
    place = tmp_path / "got"
    call(tmp_path, sys.executable, "-m", "dvc", "artifacts", "get", str(own), "adapter", "-o", str(place))
    wanted = own / "models" / "adapter"
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {
        path.name: path.read_bytes() for path in wanted.iterdir()
    }


# --- S3


@contextmanager
def _s3_server() -> Iterator[str]:
    """An S3 server of moto on this machine, with a bucket ``chips``; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        make = f"import boto3; boto3.client('s3', endpoint_url='{address}').create_bucket(Bucket='chips')"
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run(
            [sys.executable, "-c", make], env=os.environ | CREDENTIALS, capture_output=True
        ).returncode:
            assert time.monotonic() < deadline, "the S3 server did not start"
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


def test_push_to_s3_and_pull_in_a_clone(paper: Any, own: Path, tmp_path: Path) -> None:
    with _s3_server() as address:
        dvc(own, "remote", "add", "-q", "-d", "-f", "s3", "s3://chips/sar")
        dvc(own, "remote", "modify", "s3", "endpointurl", address)
        paper.git(own, "commit", "-q", "-a", "-m", "remote")
        dvc(own, "push", "-q", "--all-tags", **CREDENTIALS)
        clone = _clone(own, tmp_path / "clone")
        dvc(clone, "pull", "-q", **CREDENTIALS)
        assert _bytes(clone) == _bytes(own)
        dvc(clone, "fetch", "-q", "--all-commits", **CREDENTIALS)
        assert read_changes(clone, "v1", "v2").gaps == ()
    # Secrets stay in the environment.
    assert "testing" not in (own / ".dvc" / "config").read_text()
