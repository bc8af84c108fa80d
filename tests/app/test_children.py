from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sarcurate.app import mongo
from sarcurate.app.children import LOOPBACK, Child, answers, free_port, require_free
from sarcurate.errors import HardwareError

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]


def test_a_child_ends_with_its_block(tmp_path: Path) -> None:
    with Child("sleeper", SLEEP, tmp_path / "log") as child:
        child.wait_until(lambda: "here" in child.log_tail(), 30)
        assert not child.ended
    assert child.ended


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
@pytest.mark.parametrize("last_signal", ["SIGTERM", "SIGKILL"])
def test_a_child_ends_where_its_parent_is_killed(tmp_path: Path, last_signal: str) -> None:
    code = (
        "import signal, sys, time; from pathlib import Path; from sarcurate.app.children import Child\n"
        f"child = Child('sleeper', {SLEEP!r}, Path('log'), last_signal=signal.{last_signal})\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.wait(30)
    parent.stdout.close()
    child.wait(30)


def test_a_child_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no disk left')"]
    with (
        Child("writer", command, tmp_path / "log") as child,
        pytest.raises(HardwareError, match="no disk left"),
    ):
        child.wait_until(lambda: False, 30)


def test_a_taken_port_is_refused_with_the_next() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        assert answers(LOOPBACK, port)
        with pytest.raises(HardwareError, match=f"(?s)port {port}.*--port {port + 1}"):
            require_free(port)
    require_free(free_port())


def _mongod(folder: Path, says: str) -> Path:
    path = folder / "mongo/fiftyone/db/bin/mongod"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without a mongod of its own."""
    monkeypatch.setattr(mongo, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path


def test_no_mongod_says_what_to_do(bare: Path) -> None:
    with pytest.raises(HardwareError, match=r"(?s)no mongod.*make env.*FIFTYONE_DATABASE_URI"):
        mongo.find_mongod()


@pytest.mark.parametrize(("says", "told"), [("db version v5.0.3", "5.0"), ("loader error", "does not run")])
def test_an_old_or_broken_mongod_is_named(bare: Path, says: str, told: str) -> None:
    path = _mongod(bare, says)
    with pytest.raises(HardwareError, match=f"6.0 or later is needed.*{path} .{told}"):
        mongo.find_mongod()


def test_a_fit_mongod_is_taken(bare: Path) -> None:
    path = _mongod(bare, "db version v7.0.28")
    assert mongo.find_mongod() == path


def test_a_named_server_that_does_not_answer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv(mongo.URI, f"mongodb://user:secret@127.0.0.1:{port}")
    with pytest.raises(HardwareError, match=f"127.0.0.1:{port}, where nothing answers") as refused:
        mongo.database(tmp_path).__enter__()
    assert "secret" not in str(refused.value)
