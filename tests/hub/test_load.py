"""The whole way: published, local files gone, loaded by tag with plain `datasets`, trained on the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.core.radiometry import Radiometry, to_intensity
from sarcurate.errors import LeakageError
from sarcurate.io.hub import release, upload
from sarcurate.io.hub.checks import check_release
from sarcurate.io.hub.loading import refuse_made_in_test
from sarcurate.io.hub.remote import client
from sarcurate.models import arm_data
from sarcurate.models.arm_runs import ArmRun
from sarcurate.stages import evaluate, package

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]
NAME, TAG = "ann/pair", "v0.1.0"
ARMS = [
    {"name": "real-only", "add": [], "oversample": False, "classical": False},
    {"name": "curated", "add": ["physics-curated", "psd-curated"], "oversample": False, "classical": False},
]
KEPT = ("set", "chip_id", "label", "is_made", "radiometry", "pixels_sha256", "manifest_label")
# Nothing of sarcurate in it: what any user of `datasets` writes.
LOAD = """
import json, sys
import numpy as np
from datasets import load_dataset
name, tag, config, out, *wanted = sys.argv[1:]
found = load_dataset(name, config, revision=tag)
for split, chips in found.items():
    kept = [{key: row[key] for key in wanted} for row in chips.remove_columns(["image", "preview"])]
    names = chips.features["label"].names
    open(f"{out}/{config}-{split}.json", "w").write(json.dumps({"names": names, "rows": kept}))
    np.savez(f"{out}/{config}-{split}.npz", *[np.asarray(row["image"]) for row in chips])
"""


@dataclass(frozen=True)
class Loaded:
    names: list[str]
    rows: list[dict[str, Any]]
    pixels: list[np.ndarray]


@pytest.fixture
def load(hub: Any, tmp_path: Path) -> Callable[..., Loaded]:
    def run(config: str, split: str = "train") -> Loaded:
        command = [sys.executable, "-c", LOAD, NAME, TAG, config, str(tmp_path), *KEPT]
        subprocess.run(command, check=True, env=os.environ.copy(), cwd=tmp_path, capture_output=True)
        told = json.loads((tmp_path / f"{config}-{split}.json").read_text())
        with np.load(tmp_path / f"{config}-{split}.npz") as arrays:
            pixels = [arrays[f"arr_{place}"] for place in range(len(told["rows"]))]
        return Loaded(told["names"], told["rows"], pixels)

    return run


def _publish(folder: Path) -> None:
    told, _ = check_release(folder, None)
    api = client(needs_token=True)
    plan = upload.make_plan(api, folder, told, NAME, private=True, allow_replace=False)
    upload.push(api, plan, lambda _: None)
    shutil.rmtree(folder)


def _images(found: Loaded, name: str, limits: tuple[float, float] | None, image_px: int) -> Any:
    """Training images of one set, as evaluate makes them of a ChipSet; limits None takes the set's own."""
    places = [place for place, row in enumerate(found.rows) if row["set"] == name]
    places.sort(key=lambda place: str(found.rows[place]["chip_id"]))
    rows = [found.rows[place] for place in places]
    intensities = [
        to_intensity(found.pixels[place], Radiometry(found.rows[place]["radiometry"])) for place in places
    ]
    labels = [row["label"] for row in rows]
    hashes = [row["pixels_sha256"] for row in rows]
    own = limits or arm_data.limits_db(intensities)
    return arm_data.prepare(intensities, labels, hashes, own, image_px, is_real=name == "target")


def test_a_loaded_revision_trains_the_same(
    hub: Any,
    load: Callable[..., Loaded],
    tiny_params: Callable[..., Any],
    package_inputs: Any,
    tiny_evaluation: Any,
    tmp_path: Path,
) -> None:
    # Two chips of a gate on memorisation would be withheld from the release, not of the evaluation.
    gate = {"measure": "memorisation_ratio", "side": "lower", "low": 0.0, "high": None, "if_missing": "keep"}
    params = tiny_params({"evaluate.arms": ARMS})
    package.run(tiny_params({"package.gates": [gate]}), package_inputs, tmp_path / "hub")
    _publish(tmp_path / "hub")
    curated, image_px = load("curated"), params.evaluate.image_px
    assert curated.names == params.dataset.classes
    real = _images(curated, "target", None, image_px)
    added = [_images(curated, name, real.limits_db, image_px) for name in ("physics", "psd")]
    expected = evaluate._images(
        params,
        tiny_evaluation.inputs,
        evaluate._open_train(tiny_evaluation.inputs),
        evaluate.read_selection(tiny_evaluation.inputs.selection),
    )
    made = ("physics-curated", "psd-curated")
    for found, other in zip(
        [real, *added], [expected["real"], *(expected[name] for name in made)], strict=True
    ):
        np.testing.assert_array_equal(found.images, other.images)
        np.testing.assert_array_equal(found.labels, other.labels)
        assert found.identity() == other.identity()
    seed = next(
        item.seed for (name, _), item in evaluate._planned(params, expected).items() if name == "curated"
    )
    own = ArmRun(evaluate.training_settings(params), real, added, None, False, 2, seed)
    assert own.key() == evaluate.run_keys(params, tiny_evaluation.inputs)["curated", 0]


def test_every_chip_of_real_comes_back_with_its_label(
    hub: Any, load: Callable[..., Loaded], own_release: Path, package_inputs: Any
) -> None:
    from sarcurate.io.chipset import open_chipset

    _publish(own_release)
    load("real", "train")
    for split, paths in (("train", package_inputs.train), ("test", package_inputs.test)):
        found = load("real", split)
        n_chips = 0
        for side, path in paths.items():
            chips = open_chipset(path, ("train", "test"))
            for row, pixels in zip(found.rows, found.pixels, strict=True):
                if row["set"] == side:
                    n_chips += 1
                    stored = chips.pixels(row["chip_id"])
                    assert pixels.dtype == stored.dtype
                    np.testing.assert_array_equal(pixels, stored)
                    assert found.names[row["label"]] == row["manifest_label"]
        assert n_chips == len(found.rows)


def test_made_chips_in_a_test_split_are_refused() -> None:
    from datasets import Dataset, DatasetDict

    def part(*made: bool, **more: Any) -> Dataset:
        origins = ["psd" if one else "real" for one in made]
        return Dataset.from_dict({"is_made": list(made), "origin": origins, **more})

    good = DatasetDict(train=part(False, True), test=part(False, False))
    assert refuse_made_in_test(good) is good
    with pytest.raises(LeakageError, match="split test holds 1 made chips"):
        refuse_made_in_test(DatasetDict(test=part(False, True)))
    with pytest.raises(LeakageError, match="holds 2 made chips"):
        refuse_made_in_test(part(True, True), split="test")
    forged = Dataset.from_dict({"is_made": [False], "origin": ["generated"]})
    with pytest.raises(LeakageError, match="holds 1 made chips"):
        refuse_made_in_test(forged, split="test")
    with pytest.raises(LeakageError, match="cannot be told"):
        refuse_made_in_test(Dataset.from_dict({"origin": ["real"]}), split="test")
    assert refuse_made_in_test(part(True), split="train") is not None


def test_training_again_from_a_folder_and_from_a_release_without_test_chips(
    tiny_params: Callable[..., Any], package_inputs: Any, own_release: Path, tmp_path: Path
) -> None:
    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        command = ["sarcurate", "retrain", str(folder), "--arm", "real-only"]
        environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = run(own_release)
    assert done.returncode == 0, done.stderr
    assert "real-only: accuracy" in done.stdout
    record = own_release / release.REVISION
    told = json.loads(record.read_text())
    told["training"]["arms"][0]["n_correct"][0] += 1
    record.write_text(json.dumps(told))
    done = run(own_release)
    assert done.returncode == 3
    assert "recognise other chips than the release states" in done.stderr
    package.run(tiny_params({"package.configs": ["curated"]}), package_inputs, tmp_path / "part")
    done = run(tmp_path / "part")
    assert done.returncode == 3
    assert "training needs curated and the test chips of real" in done.stderr
