"""The pretrain command: what is wrong with a recipe is told before anything is made."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from sarcurate import cli
from sarcurate.io.recipe_file import PACKAGED
from sarcurate.models.base import BaseRef
from sarcurate.models.pretrain import load_recipe


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str]]:
    """Exit code and all output of ``sarcurate pretrain ...`` with folders for work and weights."""

    def run(*arguments: str) -> tuple[int, str]:
        folders = ("--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"))
        monkeypatch.setattr(sys, "argv", ["sarcurate", "pretrain", *folders, *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out + said.err

    return run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, ...]]:
    """What the command asks to be made, in this order; nothing is."""
    asked: dict[str, tuple[Any, ...]] = {}
    for name in ("pretrain", "pretrain_unet"):
        monkeypatch.setattr(
            f"sarcurate.models.pretrain.{name}", lambda *given, name=name: asked.update({name: given})
        )
    monkeypatch.setattr("sarcurate.models.base.resolve_base", lambda ref: ref)
    return asked


def with_changed(tmp_path: Path, old: str, new: str) -> str:
    """Path of the packaged recipe with one line changed."""
    written = files("sarcurate").joinpath(PACKAGED).read_text(encoding="utf-8")
    assert written.count(old) == 1
    (tmp_path / "bad.yaml").write_text(written.replace(old, new))
    return str(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: 2606", "seed: x", "recipe {file}: seed is 'x', expected a whole number >= 0"),
        ("seed: 2606", "sead: 2606", "recipe {file}: the recipe lacks seed; expected exactly flow, "),
        ("seed: 2606", "seed: [2606", "recipe {file} is not valid YAML: "),
        ("chip_px: 96", "chip_px: 100", "recipe: pool.chip_px is 100, expected a multiple of 8, at most 384"),
        (
            "sensors: 600",
            "sensors: 20",
            "recipe: pool.sensors is 20, expected more than the 20 ",
        ),
    ],
)
def test_a_bad_recipe_is_told_and_nothing_is_made(
    old: str,
    new: str,
    message: str,
    asked: dict[str, tuple[Any, ...]],
    call: Callable[..., tuple[int, str]],
    tmp_path: Path,
) -> None:
    bad = with_changed(tmp_path, old, new)
    code, said = call("--recipe", bad)
    assert code == 2
    assert said.startswith("error: " + message.format(file=bad))
    assert "\nFix: correct " in said or "\nFix: compare " in said
    assert not asked
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_a_missing_recipe_is_told(
    asked: dict[str, tuple[Any, ...]], call: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, said = call("--recipe", str(tmp_path / "none.yaml"))
    assert code == 2
    assert said.startswith(f"error: recipe {tmp_path / 'none.yaml'} cannot be read: ")
    assert said.endswith("\nFix: name a recipe file\n")
    assert not asked


@pytest.mark.parametrize("wrong", [("--workers", "0"), ("--workers", "many"), ("--recipes", "mine.yaml")])
def test_wrong_usage_is_exit_code_2(
    wrong: tuple[str, str], asked: dict[str, tuple[Any, ...]], call: Callable[..., tuple[int, str]]
) -> None:
    assert call(*wrong)[0] == 2
    assert not asked


def test_base_and_then_its_extractor_are_made(
    asked: dict[str, tuple[Any, ...]], call: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    recipe = with_changed(tmp_path, "seed: 2606", "seed: 7")
    assert call("--recipe", recipe, "--workers", "3") == (0, "")
    work, out, loaded = tmp_path / "work", tmp_path / "out", load_recipe(Path(recipe))
    base = BaseRef(str(out / "sarcurate-tiny"), None, 0, use_t5=False)
    assert list(asked) == ["pretrain", "pretrain_unet"]
    assert asked["pretrain"] == (loaded, work, out / "sarcurate-tiny", 3)
    assert asked["pretrain_unet"] == (loaded, base, work, out / "sarcurate-tiny-unet", 3)


def test_a_finished_base_is_not_made_again(
    asked: dict[str, tuple[Any, ...]], call: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    assert call("--base", "mine") == (0, "")
    base = BaseRef("mine", None, 0, use_t5=False)
    assert asked == {
        "pretrain_unet": (load_recipe(None), base, tmp_path / "work", tmp_path / "out/sarcurate-tiny-unet", 2)
    }
