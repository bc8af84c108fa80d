from __future__ import annotations

import shutil
import sys
from collections import namedtuple
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sarcurate import __version__, cli, doctor

Usage = namedtuple("Usage", "total used free")


def _findings(folder: Path, mirror: Path | None = None) -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.examine(folder, mirror)}


def test_every_missing_thing_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(2**40, 2**40, 2**30))
    (tmp_path / "params.yaml").write_text("{}")
    bad = [finding for finding in doctor.examine(tmp_path, tmp_path) if not finding.ok]
    assert {finding.what for finding in bad} >= {"command git", "command dvc", "disk", "workspace"}
    assert all(finding.fix for finding in bad)


def test_this_environment_is_complete(tmp_path: Path, quiet_environment: None) -> None:
    needed = [f for f in _findings(tmp_path).values() if f.needed and not f.ok and f.what != "disk"]
    assert needed == []
    assert __version__ in _findings(tmp_path)["sarcurate"].found


def test_no_workspace_is_no_failure_but_a_broken_one_is(tmp_path: Path) -> None:
    assert not _findings(tmp_path)["workspace"].needed
    (tmp_path / "params.yaml").write_text("code: 3\n")
    broken = _findings(tmp_path)["workspace"]
    assert broken.needed
    assert "wrong value" in broken.found


def test_the_repository_is_a_valid_workspace(repository: Path) -> None:
    found = _findings(repository)["workspace"]
    assert found.ok
    assert "simulated-pair" in found.found


def test_missing_package_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", absent)
    found = _findings(tmp_path)
    assert (found["torch"].ok, found["torch"].needed) == (False, True)
    assert "sarcurate[train]" in found["torch"].fix
    assert found["torchvision"].ok


def test_a_broken_torchvision_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda _name: "1.0")
    monkeypatch.setitem(sys.modules, "torchvision", None)  # what an import that fails leaves
    found = _findings(tmp_path)["torchvision"]
    assert not found.ok
    assert "pip uninstall torchvision" in found.fix


def test_little_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free_gib, ok in ((5.9, False), (6.1, True)):
        usage = Usage(2**40, 0, int(free_gib * 2**30))
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, usage=usage: usage)
        assert _findings(tmp_path)["disk"].ok is ok


def test_mirror_says_which_sets_are_there(tmp_path: Path) -> None:
    (tmp_path / "mstar-simshift").mkdir()
    found = _findings(tmp_path, tmp_path)
    assert found["public set mstar-simshift"].ok
    absent = found["public set tsx-s1-slc"]
    assert (absent.ok, absent.needed) == (False, False)
    assert "sarcurate fetch tsx-s1-slc" in absent.fix
    assert not _findings(tmp_path, None)["mirror"].needed


@pytest.mark.parametrize(("text", "exit_code"), [(None, 0), ("code: 3\n", 2)])
def test_the_command_fails_only_for_what_is_needed(
    text: str | None, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = Usage(2**40, 0, 2**39)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    monkeypatch.delenv("SARCURATE_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "params.yaml").write_text(text)
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert done.exit_code == exit_code, done.output
    assert ("MISSING workspace" in done.output) == bool(exit_code)
