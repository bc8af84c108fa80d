from __future__ import annotations

import ast
import inspect
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from ruamel.yaml import YAML

from sarcurate import cli
from sarcurate.params import Params, read_params
from sarcurate.workspace import HEAD, module_deps, pipeline_text

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGED = REPOSITORY / "sarcurate" / "assets" / "workspace"
MAY_SEE_TEST = {"validate", "evaluate", "package"}
# measuring is a command that prints: what it sees reaches no output of the pipeline
TEST_READERS = {"sarcurate/io/external.py", "sarcurate/io/measuring.py"}
# results of adapters look at test chips of the source alone, and reach no output of the pipeline either
TEST_READERS |= {"sarcurate/adapter_results.py"}
TEST_READERS |= {f"sarcurate/stages/{name}.py" for name in MAY_SEE_TEST}
IMAGERY = {".tif", ".tiff", ".npy", ".npz", ".png", ".jpg", ".jpeg", ".parquet"}
MOST_BYTES = 20_000  # of a tracked picture or array outside of docs


def _stages(path: Path) -> dict[str, Any]:
    pipeline: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return dict(pipeline["stages"])


def _paths(entries: Any) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else str(entry) for entry in entries or []]


def _outs(stage: dict[str, Any]) -> list[str]:
    return [path for kind in ("outs", "metrics", "plots") for path in _paths(stage.get(kind))]


PIPELINE = _stages(PACKAGED / "pipeline.yaml")


# --- imports


def test_import_contracts_hold() -> None:
    done = subprocess.run(["lint-imports", "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert ", 0 broken" in done.stdout


# --- one name for stage, command, module and section


@pytest.mark.parametrize("name", PIPELINE)
def test_stage_name_is_command_module_and_section(name: str) -> None:
    stage = PIPELINE[name]
    words = stage["cmd"].split()
    assert words[:2] == ["sarcurate", name]
    assert (REPOSITORY / "sarcurate" / "stages" / f"{name}.py").is_file()
    assert name in Params.model_fields
    assert {command.callback.__name__ for command in cli.app.registered_commands if command.callback} >= {
        name
    }
    assert stage["params"][:3] == ["code", "dataset", name]


@pytest.mark.parametrize("name", PIPELINE)
def test_stage_takes_its_deps_then_its_outs_as_arguments(name: str) -> None:
    stage = PIPELINE[name]
    arguments = stage["cmd"].split()[2:]
    deps, outs = _paths(stage.get("deps")), _outs(stage)
    assert arguments[: len(deps)] == deps
    assert sorted(arguments[len(deps) :]) == sorted(outs)
    assert len(arguments) == len(inspect.signature(getattr(cli.stages, name)).parameters)


def test_every_stage_module_is_a_stage_of_the_pipeline() -> None:
    modules = {path.stem for path in (REPOSITORY / "sarcurate" / "stages").glob("*.py")} - {"__init__"}
    assert modules == set(PIPELINE)


def test_no_output_is_persisted() -> None:
    assert "persist" not in (PACKAGED / "pipeline.yaml").read_text()


# --- test chips


@pytest.mark.parametrize(
    "path", [REPOSITORY / "dvc.yaml", PACKAGED / "pipeline.yaml"], ids=["root", "packaged"]
)
def test_only_the_stages_that_judge_depend_on_test_chips(path: Path) -> None:
    seen = {
        name for name, stage in _stages(path).items() if any("-test" in d for d in _paths(stage.get("deps")))
    }
    assert seen <= MAY_SEE_TEST
    assert {"evaluate", "validate", "package"} <= seen


@pytest.mark.parametrize(
    "path", [REPOSITORY / "dvc.yaml", PACKAGED / "pipeline.yaml"], ids=["root", "packaged"]
)
def test_every_stage_after_validate_waits_for_it_and_sees_only_its_note(path: Path) -> None:
    stages = _stages(path)
    later = list(stages)[list(stages).index("validate") + 1 :]
    assert later == [
        "reference",
        "tune",
        "generate",
        "migrate",
        "translate",
        "score",
        "curate",
        "evaluate",
        "report",
        "package",
    ]
    for name in later:
        deps = set(_paths(stages[name].get("deps")))
        assert set(_outs(stages["validate"])) & deps == {"data/validated.json"}, name


def _splits_named(tree: ast.AST) -> Iterator[list[str] | None]:
    """Splits that each call of open_chipset names; None where they are not written out."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or "open_chipset" not in ast.unparse(node.func):
            continue
        splits = [word.value for word in node.keywords if word.arg == "splits"] or node.args[1:2]
        try:
            yield list(ast.literal_eval(splits[0]))
        except ValueError:
            yield None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("open_chipset(p, splits=('test',))", [["test"]]),
        ("chipset.open_chipset(p, ('train', 'test'))", [["train", "test"]]),
        ("open_chipset(p, splits=anything)", [None]),
        ("open(p)", []),
    ],
)
def test_the_search_for_readers_of_test_chips_finds_them(source: str, expected: list[Any]) -> None:
    assert list(_splits_named(ast.parse(source))) == expected


def test_only_stages_that_judge_ask_for_test_chips() -> None:
    asking = set()
    for path in sorted((REPOSITORY / "sarcurate").rglob("*.py")):
        name = path.relative_to(REPOSITORY).as_posix()
        for splits in _splits_named(ast.parse(path.read_text(encoding="utf-8"))):
            assert splits is not None, f"{name}: splits must be written out, so that they can be checked"
            if "test" in splits:
                asking.add(name)
    assert asking <= TEST_READERS
    assert {"sarcurate/stages/evaluate.py", "sarcurate/stages/validate.py"} <= asking


# --- the repository as a workspace


def test_dvc_yaml_names_every_module_of_every_stage() -> None:
    stages = _stages(REPOSITORY / "dvc.yaml")
    missing = {
        name: sorted(set(module_deps(name)) - set(_paths(stage.get("deps"))))
        for name, stage in stages.items()
    }
    assert not any(missing.values()), f"missing deps, run `make deps`: {missing}"


def test_dvc_yaml_is_what_a_refresh_writes() -> None:
    expected = pipeline_text(read_params(REPOSITORY / "params.yaml"), in_repository=True)
    found = (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8")
    assert found.startswith(HEAD)
    assert found == expected, "dvc.yaml is not up to date: run `make deps`"


def test_module_deps_hold_modules_imported_inside_functions_and_assets() -> None:
    deps = module_deps("report")
    assert {"sarcurate/stages/report.py", "sarcurate/io/figures.py", "sarcurate/errors.py"} <= set(deps)
    assert "sarcurate/assets/report.html.j2" in deps
    assert "sarcurate/cli/stages.py" not in deps
    assert "sarcurate/models/resnet.py" in module_deps("evaluate")


@pytest.mark.parametrize("place", ["repository", "workspace"])
def test_gitignore_covers_every_out_and_nothing_that_git_keeps(place: str, tmp_path: Path) -> None:
    folder = REPOSITORY
    if place == "workspace":
        folder = tmp_path
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        (folder / ".gitignore").write_text((PACKAGED / "gitignore").read_text())
    cached = [
        path for stage in PIPELINE.values() for kind in ("outs", "plots") for path in _paths(stage.get(kind))
    ]
    in_git = [f"metrics/{name}.json" for name in ("curation", "evaluation", "quality", "validation")]
    in_git += ["data/verdicts.csv", "params.yaml", "dvc.yaml", "dvc.lock"]
    asked = [*cached, ".sarcurate/cache/x", *in_git]
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", *asked], cwd=folder, capture_output=True, text=True
    )
    assert set(done.stdout.split()) == {*cached, ".sarcurate/cache/x"}


def test_tracked_files_hold_no_imagery() -> None:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True)
    tracked = [PurePosixPath(name) for name in done.stdout.decode().split("\0") if name]
    assert len(tracked) > 50
    large = [
        str(path)
        for path in tracked
        if path.suffix.lower() in IMAGERY
        and path.parts[0] != "docs"
        and (REPOSITORY / path).is_file()
        and (REPOSITORY / path).stat().st_size > MOST_BYTES
    ]
    assert large == []


@pytest.mark.parametrize("path", sorted((REPOSITORY / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_variant_is_valid(path: Path) -> None:
    params = read_params(path)
    assert params.evaluate.arms[0].name == "real-only"
    assert json.loads(params.model_dump_json())["dataset"]["root_seed"] == 2606
