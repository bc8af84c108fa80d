from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from typer.testing import CliRunner

from sarcurate import __version__, cli
from sarcurate.errors import DataError, HardwareError, HubError, ParamsError, SarcurateError

COMMANDS = [str(c.name or c.callback.__name__) for c in cli.app.registered_commands if c.callback]
STAGES = (
    *("acquire", "ingest", "split", "validate", "reference", "tune", "generate"),
    *("translate", "score", "curate", "evaluate", "report", "package"),
)
HEAVY = ("torch", "transformers", "pandas", "pydantic", "pyarrow", "rasterio", "matplotlib", "dvc", "numpy")


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Exit code and all output of ``sarcurate ...``, as its entry point gives them."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["sarcurate", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out + said.err

    return run


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _write(folder: Path, data: dict[str, Any]) -> None:
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(data, file)


def test_help_lists_every_command() -> None:
    said = _plain(CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "200"}).output)
    assert set(STAGES) | {"init", "fetch", "doctor"} <= set(COMMANDS)
    for name in COMMANDS:
        assert re.search(rf"^\W*{name}\s+\w", said, re.MULTILINE), name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(name: str) -> None:
    done = CliRunner().invoke(cli.app, [name, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert f"sarcurate {name}" in _plain(done.output).replace("root", "sarcurate")


def test_version(call: Callable[..., tuple[int, str]]) -> None:
    assert call("--version") == (0, f"{__version__}\n")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['sarcurate', '--help']\n"
        "from sarcurate.cli import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code\n"
        f"print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(SarcurateError, 1), (ParamsError, 2), (DataError, 3), (HardwareError, 4), (HubError, 5)],
)
def test_errors_raised_on_purpose_become_message_and_exit_code(
    error: type[SarcurateError],
    exit_code: int,
    call: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise error("chip 7 is broken", fix="mend it")

    monkeypatch.setattr(cli, "app", fail)
    code, said = call()
    assert code == exit_code
    assert said == "error: chip 7 is broken\nFix: mend it\n"


def test_a_missing_extra_is_named(
    call: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch.nn")

    monkeypatch.setattr(cli, "app", fail)
    code, said = call()
    assert code == 2
    assert "needs torch" in said
    assert "sarcurate[train]" in said


@pytest.mark.parametrize("error", [IndexError(), ModuleNotFoundError("x", name="sarcurate.nothing")])
def test_other_errors_keep_their_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(type(error)):
        cli.main()


def test_a_stage_outside_of_a_workspace_says_how_to_make_one(
    call: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = call("acquire", "a", "b")
    assert code == 2
    assert "params.yaml" in said
    assert "sarcurate init" in said


def test_an_unknown_and_a_missing_param_are_both_named(
    call: Callable[..., tuple[int, str]],
    tiny_data: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tiny_data()
    data["evaluate"]["updatez"] = data["evaluate"].pop("updates")
    _write(tmp_path, data)
    monkeypatch.chdir(tmp_path)
    code, said = call("acquire", "a", "b")
    assert code == 2
    assert "evaluate.updatez: unknown field" in said
    assert "evaluate.updates: missing" in said


def test_a_workspace_of_other_code_is_refused(
    call: Callable[..., tuple[int, str]],
    tiny_data: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _write(tmp_path, tiny_data({"code.source_sha256": "f" * 64}))
    monkeypatch.chdir(tmp_path)
    code, said = call("acquire", "a", "b")
    assert code == 2
    assert "init . --refresh" in said
    assert not (tmp_path / "a").exists()


def test_missing_input_is_a_data_error(
    call: Callable[..., tuple[int, str]],
    tiny_data: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _write(tmp_path, tiny_data())
    monkeypatch.chdir(tmp_path)
    code, said = call("ingest", "nowhere", "nowhere", "a", "b")
    assert code == 3
    assert "nowhere is not a raw folder" in said


@pytest.mark.parametrize("setting", ["split.folds", "split.folds=[1", "split.foldz=3"])
def test_a_wrong_setting_is_a_params_error(
    setting: str, call: Callable[..., tuple[int, str]], repository: Path, tmp_path: Path
) -> None:
    quick = str(repository / "params" / "quick.yaml")
    code, said = call("init", str(tmp_path / "w"), "--params", quick, "--set", setting)
    assert code == 2
    assert "split.fold" in said
    assert not (tmp_path / "w").exists()


def test_fetch_without_a_mirror_is_a_params_error(
    call: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SARCURATE_MIRROR", raising=False)
    code, said = call("fetch", "tsx-s1-slc")
    assert code == 2
    assert "SARCURATE_MIRROR" in said


def test_wrong_usage_is_exit_code_2(call: Callable[..., tuple[int, str]]) -> None:
    assert call("nonsense")[0] == 2


def test_chip_makes_a_chipset_and_refuses_what_does_not_fit(
    call: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (100, 80), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    given = ["chip", str(tmp_path / "scene.png"), str(tmp_path / "chips"), "--grid", "--footprint", "40"]
    given += ["--step", "40", "--sensor", "gaofen3-spotlight", "--licence", "mine"]
    assert call(*given, "--radiometry", "uint8_relative")[0] == 2  # no label
    exit_code, said = call(*given, "--label", "clutter")
    assert exit_code == 3
    assert "sigma0 was asked for" in said
    assert not (tmp_path / "chips").exists()
    exit_code, said = call(*given, "--label", "clutter", "--radiometry", "uint8_relative")
    assert exit_code == 0
    assert "chips: 4 chips, 1 labels, 4 groups, radiometry uint8_relative" in said
