"""params/paper.yaml as its reader uses it: a TerraSAR-X product beside a Fucheng-1 product, every stage."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[1]
STAGES = [
    *("acquire", "ingest", "split", "validate", "reference", "tune", "generate"),
    *("migrate", "translate", "score", "curate", "evaluate", "report", "package"),
]
FOOTPRINT_M = 72.0  # 32 px or more on both sensors, as the reference needs
CLASSES = ["B-52", "F-16"]
BLOCKS, PER_BLOCK = 8, 4  # groups of neighbouring targets, and targets in each


def _maker(name: str) -> ModuleType:
    path = REPOSITORY / "tests" / "data" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_of_products_pipeline", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _boxes(path: Path, step_px: tuple[int, int]) -> None:
    """Points that lie ``step_px`` apart, one row of the scene per group, classes in turns."""
    places = [(block, place) for block in range(BLOCKS) for place in range(PER_BLOCK)]
    rows = [
        {
            "row": round((block + 0.5) * step_px[0]),
            "col": round((place + 0.5) * step_px[1]),
            "label": CLASSES[(block + place) % 2],
            "group_id": f"stand-{block}",
        }
        for block, place in places
    ]
    pd.DataFrame(rows).to_csv(path, index=False)


def _products(boxes: str, **settings: Any) -> dict[str, Any]:
    return {
        "kind": "products",
        "scenes": None,
        "polarisation": None,
        "boxes": boxes,
        "labels": None,
        "footprint_m": FOOTPRINT_M,
        "margin_m": None,
        "margin_share": None,
        "border": "error",
        "radiometry": "sigma0",
        "licence": "made for a test",
        **settings,
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_data: Callable[..., dict[str, Any]]) -> Path:
    """What `sarcurate init --params params/paper.yaml` makes, edited at YOURS, on the small base."""
    folder = tmp_path_factory.mktemp("products")
    terrasarx, fucheng = _maker("make_products"), _maker("make_other_products")
    ssc = terrasarx.make_tsx(folder / "old", 7, terrasarx.TsxSpec(rows=592, cols=368))
    slc = fucheng.make_fucheng(folder / "new", 8, fucheng.FuchengSpec(rows=304, cols=304))
    _boxes(folder / "old.csv", (74, 90))
    _boxes(folder / "new.csv", (38, 75))
    root = folder / "my"
    command = ["sarcurate", "init", str(root), "--params", str(REPOSITORY / "params" / "paper.yaml")]
    subprocess.run(command, check=True)
    yaml = YAML()
    params = yaml.load(root / "params.yaml")
    params["dataset"] |= {"classes": CLASSES, "footprint_m": FOOTPRINT_M}
    params["acquire"] = {
        "source": _products(str(folder / "old.csv"), path=str(ssc)),
        "target": _products(str(folder / "new.csv"), path=str(slc)),
    }
    params["split"]["target"]["train_per_class"] = 5
    params |= {name: tiny_data()[name] for name in ("tune", "generate", "migrate")}
    params["evaluate"] |= {"seeds": 1, "image_px": 32, "updates": 2, "batch_size": 4, "threads": 1}
    params["evaluate"]["bootstrap_draws"] = 200
    yaml.dump(params, root / "params.yaml")
    subprocess.run(["sarcurate", "init", str(root), "--refresh"], check=True)
    return root


@pytest.mark.slow
def test_products_of_two_sensors_go_through_every_stage(workspace: Path) -> None:
    done = subprocess.run(
        ["dvc", "repro"],
        cwd=workspace,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert [name for name in STAGES if f"Running stage '{name}'" in done.stdout] == STAGES
    chips = {
        side: pd.read_parquet(workspace / "data" / "chips" / side / "metadata.parquet")
        for side in ("source", "target")
    }
    for side, sensor in (("source", "terrasarx"), ("target", "fucheng1")):
        table = chips[side]
        assert len(table) == BLOCKS * PER_BLOCK
        assert set(table["sensor"]) == {sensor}
        assert set(table["radiometry"]) == {"sigma0"}
        assert set(table["geometry"]) == {"slant"}
        assert set(table["look_direction"]) == {"right"}
        assert table["group_id"].nunique() == BLOCKS
        assert table[["incidence_deg", "scene_id", "acquired_utc", "polarisation"]].notna().all().all()
    assert json.loads((workspace / "metrics" / "validation.json").read_text())["passed"] is True
    scores = json.loads((workspace / "metrics" / "evaluation.json").read_text())
    assert set(scores["arms"]) >= {"real-only", "real+source", "real+physics", "real+psd"}


@pytest.mark.slow
def test_the_products_and_boxes_are_dependencies(workspace: Path) -> None:
    stages = YAML(typ="safe", pure=True).load(workspace / "dvc.yaml")["stages"]
    names = {Path(path).name for path in stages["acquire"]["deps"]}
    assert {"old.csv", "new.csv", "FC1_SM_20240531T120000"} <= names
