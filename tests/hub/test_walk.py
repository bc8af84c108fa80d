"""The whole walk: repro, published, all local files gone, loaded by tag, verified, trained again alike."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.slow
NAME, TAG, ARM = "ann/pair", "v0.1.0", "real+curated"
MADE = ("physics", "psd", "migrated", "migrated-generated")
PLAIN = {"oversample": False, "classical": False}
ARMS = [
    {"name": "real-only", "add": [], **PLAIN},
    {"name": ARM, "add": [f"{name}-curated" for name in MADE], **PLAIN},
]
SETTINGS = {
    "evaluate.arms": ARMS,
    "evaluate.updates": 48,  # enough for predictions that differ from chip to chip
    "evaluate.learning_rate": 1e-3,
    "evaluate.threads": 1,
    "reference.network.threads": 1,
    "tune.steps": 6,  # what is made need not be good, only be kept or rejected
    "tune.validate_every": 3,
    "tune.save_every": 3,
    "tune.threads": 1,
    "generate.steps": 6,
    "generate.threads": 1,
    "migrate.threads": 1,
}
# Loading is what any user of `datasets` writes; sarcurate comes in only to train.
RETRAIN = """
import json, sys
from pathlib import Path
from datasets import load_dataset
name, tag, arm, out = sys.argv[1:]
curated = load_dataset(name, "curated", revision=tag)
real = load_dataset(name, "real", revision=tag)
assert "sarcurate" not in sys.modules
sizes = {split: len(chips) for split, chips in real.items()} | {"curated": len(curated["train"])}
from sarcurate.io.hub.loading import load_release
from sarcurate.io.work_cache import WorkCache
from sarcurate.models.retraining import retrain
told = load_release(name, tag)
found = retrain(told, arm, curated["train"], real["test"], WorkCache(Path(out) / "cache"))
found.predictions.to_parquet(Path(out) / "predictions.parquet")
print(json.dumps({"sizes": sizes, "n_correct": found.n_correct, "dataset_revision": told.dataset_revision}))
"""


def _say(*command: str, cwd: Path) -> str:
    """What a command says on stdout; it must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def _made_workspace(folder: Path, repository: Path) -> None:
    pairs = [f"{path}={json.dumps(value)}" for path, value in SETTINGS.items()]
    chosen = [word for pair in pairs for word in ("--set", pair)]
    params = str(repository / "params" / "quick.yaml")
    _say("sarcurate", "init", str(folder), "--params", params, *chosen, cwd=folder.parent)
    _say("dvc", "repro", cwd=folder)


def test_a_published_revision_alone_gives_the_same_classifier(
    hub: Any, repository: Path, tmp_path: Path
) -> None:
    workspace, elsewhere = tmp_path / "workspace", tmp_path / "elsewhere"
    _made_workspace(workspace, repository)
    assert "published ann/pair at v0.1.0" in _say("sarcurate", "publish", NAME, cwd=workspace)
    metrics = json.loads((workspace / "metrics" / "evaluation.json").read_text())
    predictions = pd.read_parquet(workspace / "metrics" / "predictions.parquet")
    expected = predictions[(predictions["arm"] == ARM) & (predictions["test_set"] == "target-test")]
    shutil.rmtree(workspace)
    shutil.rmtree(tmp_path / "home", ignore_errors=True)  # caches of the Hub's clients
    elsewhere.mkdir()

    assert metrics["dataset_revision"] in _say("sarcurate", "verify", NAME, "--revision", TAG, cwd=elsewhere)
    found = json.loads(
        _say(sys.executable, "-c", RETRAIN, NAME, TAG, ARM, str(elsewhere), cwd=elsewhere).splitlines()[-1]
    )
    stated = metrics["arms"][ARM]
    assert found["dataset_revision"] == metrics["dataset_revision"]
    assert found["sizes"]["curated"] == stated["n_train"] > metrics["arms"]["real-only"]["n_train"]
    assert found["n_correct"] == stated["n_correct"]
    again = pd.read_parquet(elsewhere / "predictions.parquet")
    accuracy = (again["label"] == again["predicted"]).mean()
    assert round(float(accuracy), 6) == stated["accuracy"]
    # Chip by chip: class and confidence as kept, and the run's key, which is of code, settings, seed and
    # every training chip's pixels and label.
    names = list(again.columns)
    order = ["seed", "chip_id"]
    pd.testing.assert_frame_equal(
        again.sort_values(order, ignore_index=True),
        expected[names].sort_values(order, ignore_index=True),
        check_dtype=False,
    )
    assert again["predicted"].nunique() > 1
    assert again["confidence"].nunique() > len(again) // 2

    said = _say("sarcurate", "retrain", NAME, "--revision", TAG, "--arm", ARM, cwd=elsewhere)
    assert f"accuracy {stated['accuracy']:.6f}, stated {stated['accuracy']:.6f}" in said
