from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from sarcurate.cli import app
from sarcurate.errors import ParamsError


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    path = tmp_path / "chip.npy"
    np.save(path, np.random.default_rng(0).gamma(3, 1 / 3, (64, 64)).astype(np.float32))
    return path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["measure", *arguments], catch_exceptions=False)


def test_json_has_one_line_per_chip(chip: Path) -> None:
    done = call(str(chip), str(chip), "--radiometry", "sigma0", "--spacing", "0.9", "1.2", "--json")
    assert done.exit_code == 0
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first == second
    assert first["chip"] == str(chip)
    assert {"enl", "enl_stderr", "enl_domain", "hf_energy_ratio", "reasons"} <= set(first)
    assert abs(first["enl"] - 3) < 4 * first["enl_stderr"]
    assert [path.name for path in chip.parent.iterdir()] == ["chip.npy"]


def test_the_table_is_for_people(chip: Path) -> None:
    lines = call(str(chip.parent), "--radiometry", "intensity").stdout.splitlines()
    assert lines[0] == "1 chips, radiometry intensity"
    assert lines[2].startswith("enl ")


def test_radiometry_is_required_and_decibels_are_none(chip: Path) -> None:
    done = call(str(chip))
    assert done.exit_code == 2
    assert "--radiometry" in done.stderr
    with pytest.raises(ParamsError, match="convert first"):
        call(str(chip), "--radiometry", "db")


def test_help_has_examples() -> None:
    assert "sarcurate measure chips/ --radiometry sigma0" in " ".join(call("--help").stdout.split())
