from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from sarcurate import doctor
from sarcurate.cli import app
from sarcurate.errors import DataError, ParamsError

COMMANDS = ("trace", "diff", "history", "guard")


def call(*arguments: str) -> list[str]:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


@pytest.fixture
def workspace(paper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small workspace on paper, committed as v1."""
    paper.write_small(tmp_path, previews=True)
    paper.begin(tmp_path)
    paper.commit(tmp_path, "v1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_trace_draws_the_tree_or_says_it_as_json(paper: Any, workspace: Path) -> None:
    lines = call("trace", paper.chip_id("mg0")[:12])
    assert lines[0].startswith(
        f"chip {paper.chip_id('mg0')} migrated B-52 in data/migrated-generated, by migrate"
    )
    assert [line.split()[:2] for line in lines if line.startswith(("├─", "└─"))] == [
        ["├─", "content"],
        ["└─", "style"],
    ]
    assert "  migrate.timesteps: 3" in lines
    told = json.loads("\n".join(call("trace", "--json", paper.chip_id("mg0"))))
    assert told["tree"]["facts"]["label"] == "B-52"
    file = f"data/generated/chips/{paper.chip_id('g0')[:2]}/{paper.chip_id('g0')}.tif"
    assert call("trace", file)[0].startswith(f"chip {paper.chip_id('g0')} generated")


def test_trace_down_lists_what_was_made(paper: Any, workspace: Path) -> None:
    assert call("trace", "--down", "scene-a")[0] == "scene scene-a: 3 chips, 7 made of them"
    told = json.loads("\n".join(call("trace", "--down", "--json", paper.chip_id("s4"))))
    assert {chip["chip_id"] for chip in told["made"]} == {paper.chip_id(n) for n in ("p4", "g0", "g1", "mg0")}
    with pytest.raises(ParamsError, match="no chip of this workspace"):
        call("trace", "nonsense")


def test_diff_prints_a_summary_and_writes_a_page(paper: Any, workspace: Path) -> None:
    rows = paper.small_sets("x")["data/generated"][:1]
    paper.write_set(workspace, "data/generated", rows)
    lines = call("diff", "v1", "--html", "changes.html")
    assert "    removed: 1 (F-16 1)" in lines
    assert lines[-1] == "wrote changes.html"
    assert "Revisions v1 → working tree" in (workspace / "changes.html").read_text(encoding="utf-8")
    before = (workspace / "changes.html").read_bytes()
    call("diff", "v1", "--html", "changes.html")
    assert (workspace / "changes.html").read_bytes() == before
    with pytest.raises(ParamsError, match="cannot be written"):
        call("diff", "v1", "--html", "nowhere/changes.html")
    with pytest.raises(ParamsError, match="git knows no revision 'v7'"):
        call("diff", "v7")


def test_a_written_page_of_chips_is_kept_out_of_git(paper: Any, workspace: Path) -> None:
    rows = paper.small_sets("x")["data/generated"]
    paper.write_set(workspace, "data/generated", rows[:1])
    call("diff", "v1", "--html", "changes.html")
    paper.git(workspace, "add", "changes.html")
    with pytest.raises(DataError, match=r"changes\.html: it holds pictures as base64 text"):
        call("guard")


def test_history_writes_figure_and_page(workspace: Path) -> None:
    lines = call("history", "--html", "history.html", "--png", "history.png")
    assert [line.split()[0] for line in lines[1:3]] == ["real-only", "real+physics"]
    assert lines[3:] == ["wrote history.html", "wrote history.png"]
    assert (workspace / "history.png").read_bytes().startswith(b"\x89PNG")
    assert (workspace / "history.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_guard_refuses_staged_files_and_installs_itself(paper: Any, workspace: Path) -> None:
    assert call("guard") == []
    assert call("guard", "--install")[0].endswith("commits are guarded")
    assert call("guard", "--install")[0].endswith("guards commits already")
    (workspace / "a.tif").write_text("x")
    paper.git(workspace, "add", "a.tif")
    with pytest.raises(DataError, match=r"this commit holds 1 files"):
        call("guard")
    paper.git(workspace, "commit", "-q", "--no-verify", "-m", "past the hook")
    assert call("guard") == []
    with pytest.raises(DataError, match=r"git holds 1 files"):
        call("guard", "--tracked")


def test_guard_outside_git_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match="in no git repository"):
        call("guard")


def test_doctor_finds_a_missing_hook_and_imagery_in_git(
    paper: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> dict[str, doctor.Finding]:
        return {finding.what: finding for finding in doctor.examine(workspace, None)}

    hook, imagery = found()["guard of commits"], found()["imagery in git"]
    assert (hook.ok, hook.needed, hook.fix) == (False, False, "sarcurate guard --install")
    assert imagery.ok
    call("guard", "--install")
    (workspace / "a.npy").write_text("x")
    paper.git(workspace, "add", "a.npy")
    assert found()["guard of commits"].ok
    imagery = found()["imagery in git"]
    assert (imagery.ok, imagery.needed) == (False, True)
    assert "a.npy" in imagery.found
    outside = workspace.parent
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(outside.parent))
    assert {"guard of commits", "imagery in git"}.isdisjoint(f.what for f in doctor.examine(outside, None))


def test_artifacts_are_outputs_and_reach_dvc_yaml(repository: Path) -> None:
    packaged, own = (
        YAML(typ="safe", pure=True).load(repository / path)
        for path in ("sarcurate/assets/workspace/pipeline.yaml", "dvc.yaml")
    )
    assert own["artifacts"] == packaged["artifacts"]
    outs = {out for stage in packaged["stages"].values() for out in stage.get("outs", [])}
    for artifact in packaged["artifacts"].values():
        assert artifact["path"] in outs
        assert artifact["type"] in ("model", "dataset")
        assert artifact["desc"]
        assert artifact["labels"]


def test_the_hook_for_pre_commit_calls_the_guard(repository: Path) -> None:
    (hook,) = YAML(typ="safe", pure=True).load(repository / ".pre-commit-hooks.yaml")
    assert (hook["id"], hook["entry"]) == ("sarcurate-guard", "sarcurate guard")
    assert (hook["pass_filenames"], hook["always_run"]) == (False, True)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str) -> None:
    assert f"Example: sarcurate {name}" in " ".join(" ".join(call(name, "--help")).split())


LOADED = "import sys; {}; print(sorted(sys.modules.keys() & {{'torch', 'pandas', 'dvc', 'matplotlib'}}))"


@pytest.mark.parametrize(
    ("what", "loaded"),
    [
        ("from sarcurate.cli import app; app(['guard'], standalone_mode=False)", []),
        ("from sarcurate.io.tracing import trace", ["pandas"]),
        ("from sarcurate.io.revisions import changes", ["pandas"]),
    ],
)
def test_heavy_packages_wait_until_they_are_needed(workspace: Path, what: str, loaded: list[str]) -> None:
    command = [sys.executable, "-c", LOADED.format(what)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(loaded)
