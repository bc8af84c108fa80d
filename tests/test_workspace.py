from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sarcurate import __version__, workspace
from sarcurate.errors import ParamsError
from sarcurate.io.verdicts import HEADER, read_verdicts
from sarcurate.params import read_params

QUICK = Path(__file__).resolve().parents[1] / "params" / "quick.yaml"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, quiet_environment: None) -> Path:
    folder = tmp_path_factory.mktemp("workspaces") / "fresh"
    workspace.init(folder, QUICK, {}, refresh=False)
    return folder


@pytest.fixture
def own(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path / "own"))


def _yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def _edit(folder: Path, text: str, replacement: str) -> None:
    path = folder / "params.yaml"
    before = path.read_text()
    assert text in before
    path.write_text(before.replace(text, replacement))


def test_init_makes_git_dvc_pipeline_params_and_gitignore(fresh: Path) -> None:
    assert (fresh / ".git").is_dir()
    assert (fresh / ".dvc" / "config").is_file()
    assert "analytics = false" in (fresh / ".dvc" / "config").read_text()
    assert "/data/*" in (fresh / ".gitignore").read_text()
    assert next(iter(_yaml(fresh / "dvc.yaml")["stages"])) == "acquire"


def test_params_keep_their_comments_and_learn_the_code(fresh: Path) -> None:
    assert "# smoke | simulated_target | real" in (fresh / "params.yaml").read_text()
    params = read_params(fresh / "params.yaml")
    assert (params.code.version, params.code.source_sha256) == (__version__, workspace.package_sha256())
    workspace.check_code(params)


def test_set_replaces_values(own: Path) -> None:
    settings = {"split.target.train_per_class": 5, "evaluate.initial_weights": "w.safetensors"}
    workspace.init(own, None, settings, refresh=True)
    params = read_params(own / "params.yaml")
    assert params.split.target.train_per_class == 5
    assert params.evaluate.initial_weights == "w.safetensors"


@pytest.mark.parametrize("path", ["split.target.train_per_clas", "splitt.folds", "split.folds.x", "nothing"])
def test_set_of_an_unknown_value_is_refused_and_changes_nothing(own: Path, path: str) -> None:
    before = (own / "params.yaml").read_bytes()
    with pytest.raises(ParamsError, match=path):
        workspace.init(own, None, {path: 3}, refresh=True)
    assert (own / "params.yaml").read_bytes() == before


def test_set_of_a_value_out_of_bounds_is_refused_and_changes_nothing(own: Path) -> None:
    before = (own / "params.yaml").read_bytes(), (own / "dvc.yaml").read_bytes()
    with pytest.raises(ParamsError, match=r"split\.folds"):
        workspace.init(own, None, {"split.folds": 1}, refresh=True)
    assert ((own / "params.yaml").read_bytes(), (own / "dvc.yaml").read_bytes()) == before


def test_wrong_params_make_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"evaluate\.seeds"):
        workspace.init(tmp_path / "new", QUICK, {"evaluate.seeds": 0}, refresh=False)
    assert not (tmp_path / "new").exists()


def test_init_on_a_workspace_is_refused(own: Path) -> None:
    with pytest.raises(ParamsError, match="workspace already") as caught:
        workspace.init(own, QUICK, {}, refresh=False)
    assert "--refresh" in caught.value.fix


def test_refresh_of_no_workspace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"there is no .*params\.yaml"):
        workspace.init(tmp_path / "nowhere", None, {}, refresh=True)
    assert not (tmp_path / "nowhere").exists()


def test_init_without_git_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ParamsError, match="git is not on PATH"):
        workspace.init(tmp_path / "new", QUICK, {}, refresh=False)
    assert not (tmp_path / "new").exists()


def test_init_without_dvc_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "find_spec", lambda _: None)
    with pytest.raises(ParamsError, match="DVC is not installed"):
        workspace.init(tmp_path / "new", QUICK, {}, refresh=False)
    assert not (tmp_path / "new").exists()


def test_refresh_repeats_byte_for_byte(own: Path) -> None:
    names = ("params.yaml", "dvc.yaml", ".gitignore", ".dvc/config")
    before = [(own / name).read_bytes() for name in names]
    workspace.init(own, None, {}, refresh=True)
    assert [(own / name).read_bytes() for name in names] == before


def test_refresh_keeps_edited_params_and_their_comments(own: Path) -> None:
    _edit(own, "train_per_class: 8", "train_per_class: 7   # fewer")
    workspace.init(own, None, {}, refresh=True)
    assert "train_per_class: 7   # fewer" in (own / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("found", "other"),
    [(f"version: {__version__}", "version: 0.0.9"), (workspace.package_sha256(), "f" * 64)],
)
def test_other_code_is_refused_until_a_refresh(own: Path, found: str, other: str) -> None:
    _edit(own, found, other)
    with pytest.raises(ParamsError, match="made for sarcurate") as caught:
        workspace.check_code(read_params(own / "params.yaml"))
    assert "init . --refresh" in caught.value.fix
    assert caught.value.exit_code == 2
    workspace.init(own, None, {}, refresh=True)
    workspace.check_code(read_params(own / "params.yaml"))


def test_external_inputs_become_deps_of_the_stages_that_read_them(own: Path) -> None:
    folder = {
        "kind": "folder",
        "path": "in/target",
        "manifest": "in/target.csv",
        "radiometry": "sigma0",
        "licence": "mine",
    }
    settings = {
        "acquire.target": folder,
        "dataset.target.profile": "my-sensor.yaml",
        "evaluate.external_tests": [{"name": "far-away", "path": "in/far"}],
        "evaluate.initial_weights": "backbone.safetensors",
        "validate.expectations": ["in/rules.yaml"],
    }
    workspace.init(own, None, settings, refresh=True)
    stages = _yaml(own / "dvc.yaml")["stages"]
    assert stages["acquire"]["deps"] == ["in/target", "in/target.csv", "my-sensor.yaml"]
    for name in ("ingest", "reference", "translate", "score"):
        assert "my-sensor.yaml" in stages[name]["deps"], name
    assert "in/rules.yaml" in stages["validate"]["deps"]
    assert {"in/far", "backbone.safetensors", "my-sensor.yaml"} <= set(stages["evaluate"]["deps"])
    for name in ("split", "curate", "report"):
        assert not {"in/far", "in/rules.yaml", "in/target", "my-sensor.yaml"} & set(stages[name]["deps"])


def test_products_and_their_boxes_become_deps_of_acquire(own: Path) -> None:
    products = {
        "kind": "products",
        "path": "in/products",
        "scenes": None,
        "polarisation": None,
        "boxes": "in/boxes.geojson",
        "labels": None,
        "footprint_m": 96.0,
        "margin_m": None,
        "margin_share": None,
        "border": "skip",
        "radiometry": "sigma0",
        "licence": "mine",
    }
    workspace.init(own, None, {"acquire.source": products}, refresh=True)
    assert _yaml(own / "dvc.yaml")["stages"]["acquire"]["deps"] == ["in/products", "in/boxes.geojson"]


def test_packaged_names_are_no_deps(fresh: Path) -> None:
    text = (fresh / "dvc.yaml").read_text()
    assert "terrasarx-sim" not in text
    assert "sarcurate/" not in text


def test_package_hash_is_stable_within_a_run() -> None:
    assert workspace.package_sha256() == workspace.package_sha256()
    assert len(workspace.package_sha256()) == 64


def test_refresh_keeps_lines_that_were_added_to_gitignore(own: Path) -> None:
    path = own / ".gitignore"
    before = path.read_text()
    path.write_text(before + "/incoming\n")
    workspace.init(own, None, {}, refresh=True)
    assert path.read_text() == before + "/incoming\n"


def test_a_new_workspace_has_a_file_of_verdicts_and_a_refresh_keeps_it(fresh: Path, own: Path) -> None:
    path = own / "data" / "verdicts.csv"
    assert (fresh / "data" / "verdicts.csv").read_text() == HEADER + "\n"
    assert read_verdicts(path).rows == ()
    line = f"abc,{64 * '0'},reject,,two noses,Ann,2026-01-31T13:05:00Z\n"
    path.write_text(HEADER + "\n" + line)
    workspace.init(own, None, {}, refresh=True)
    assert path.read_text() == HEADER + "\n" + line
    done = subprocess.run(["git", "check-ignore", "data/verdicts.csv"], cwd=own, capture_output=True)
    assert done.stdout == b""  # it is for git
