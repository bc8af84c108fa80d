from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sarcurate.app.mongo import find_mongod
from sarcurate.errors import HardwareError


def _driver() -> ModuleType:
    spec = importlib.util.spec_from_file_location("app_driver", Path(__file__).with_name("driver.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["app_driver"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def needs_mongod() -> None:
    if importlib.util.find_spec("fiftyone") is None:  # an import would fix its settings
        pytest.skip("needs the extra app")
    try:
        find_mongod()
    except HardwareError as error:
        pytest.skip(f"needs a mongod: {error}")


@pytest.fixture(scope="session")
def driver(needs_mongod: None) -> ModuleType:
    pytest.importorskip("playwright", reason="needs playwright")
    module = _driver()
    if module.chromium() is None:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    return module
