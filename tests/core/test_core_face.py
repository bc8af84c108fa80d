from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sarcurate.core
from sarcurate.io.lineage import module_closure

FACE = Path(sarcurate.core.__file__)
NAMES = sorted(sarcurate.core.__all__)


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_that_of_its_module(name: str) -> None:
    value = getattr(sarcurate.core, name)
    assert value.__name__ == name
    assert value.__module__.startswith("sarcurate.core.")
    assert name in dir(sarcurate.core)


def test_functions_named_like_their_module_are_found_whatever_was_imported_before() -> None:
    late = "from sarcurate.core import enl, scorecard; print(callable(enl), callable(scorecard))"
    early = "import sarcurate.core.scorecard, sarcurate.core.enl"
    other = "from sarcurate.core import radiometry; print(type(radiometry).__name__)"
    again = "from sarcurate.core.enl import enl as same; print(same is enl)"
    assert python(f"{early}\n{late}\n{other}\n{again}").split() == ["True", "True", "module", "True"]
    assert python(f"{late}\n{early}\n{late}").split() == ["True"] * 4


def test_type_checkers_are_told_the_same_names() -> None:
    tree = ast.parse(FACE.with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == {f"sarcurate.core.{home}.{name}" for name, home in sarcurate.core._HOMES.items()}
    told = next(node.value for node in tree.body if isinstance(node, ast.Assign))
    assert sorted(ast.literal_eval(told)) == NAMES


def test_the_face_costs_no_import_and_no_dependency() -> None:
    loaded = "import sys; import sarcurate.core; print([m for m in ('numpy', 'scipy') if m in sys.modules])"
    assert python(loaded) == "[]"
    assert module_closure("sarcurate.core") == [FACE]


def test_another_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'looks'"):
        sarcurate.core.looks  # noqa: B018
