from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def making() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_products", HERE / "make_products.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_products"] = module
    spec.loader.exec_module(module)
    return module


def test_committed_products_are_what_the_script_makes(
    making: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert making.main(["--check"]) == 0, capsys.readouterr().out


def test_a_changed_missing_or_added_file_is_named(making: ModuleType, tmp_path: Path) -> None:
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        for name in ("same", "changed"):
            (tmp_path / side / name).write_text("x")
    (tmp_path / "b" / "changed").write_text("y")
    (tmp_path / "a" / "missing").write_text("x")
    (tmp_path / "b" / "added").write_text("x")
    assert making.differences(tmp_path / "a", tmp_path / "b") == ["added", "changed", "missing"]


def test_committed_products_are_small() -> None:
    sizes = [path.stat().st_size for path in (HERE / "products").rglob("*") if path.is_file()]
    assert sum(sizes) < 1_000_000
