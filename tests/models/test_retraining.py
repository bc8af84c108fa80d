from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sarcurate.errors import DataError, ParamsError
from sarcurate.io.hub.loading import load_release
from sarcurate.io.hub.release import Release
from sarcurate.io.work_cache import WorkCache
from sarcurate.models.retraining import retrain

Retrain = Callable[..., Any]
PARTS = {"curated": "train", "real": "test"}


@pytest.fixture(scope="module")
def records(tiny_release: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    from datasets import load_dataset

    cache = str(tmp_path_factory.mktemp("cache"))
    return {
        config: list(load_dataset(str(tiny_release), config, split=split, cache_dir=cache))
        for config, split in PARTS.items()
    }


@pytest.fixture
def told(tiny_release: Path) -> Release:
    return load_release(str(tiny_release), None)


@pytest.fixture
def again(told: Release, records: dict[str, list[dict[str, Any]]], tmp_path: Path) -> Retrain:
    """Retrain the tiny release's first arm, but for what is given."""

    def run(arm: str = "real-only", release: Release = told, **given: Any) -> Any:
        found = {"curated": records["curated"], "test": records["real"], **given}
        return retrain(release, arm, found["curated"], found["test"], WorkCache(tmp_path / "cache"))

    return run


def test_the_release_states_settings_seeds_and_scores(
    told: Release, tiny_evaluation: Any, tiny_params: Callable[..., Any]
) -> None:
    params = tiny_params().evaluate
    scores = json.loads(tiny_evaluation.outputs.metrics.read_text())["arms"]
    assert told.training is not None
    assert [(arm.name, list(arm.add)) for arm in told.training.arms] == [(a.name, a.add) for a in params.arms]
    assert [list(arm.n_correct) for arm in told.training.arms] == [
        one["n_correct"] for one in scores.values()
    ]
    assert len(set(told.training.seeds)) == params.seeds
    assert told.training.settings["updates"] == params.updates
    assert "external_tests" not in told.training.settings  # paths of a person's machine


def test_an_arm_comes_out_as_evaluated_whatever_the_order_of_records(
    again: Retrain, records: dict[str, list[dict[str, Any]]], tiny_evaluation: Any
) -> None:
    found = again(curated=records["curated"][::-1], test=records["real"][::-1])
    kept = pd.read_parquet(tiny_evaluation.outputs.predictions)
    expected = kept[kept["arm"] == "real-only"].sort_values(["seed", "chip_id"], ignore_index=True)
    names = list(found.predictions.columns)
    pd.testing.assert_frame_equal(found.predictions, expected[names], check_dtype=False)
    assert found.is_same
    assert f"stated {np.mean(expected['label'] == expected['predicted']):.6f}" in found.lines()[0]
    other = replace(found, stated=replace(found.stated, n_correct=(99, 99)))
    assert not other.is_same


@pytest.mark.parametrize("arm", ["real+physics", "another"])
def test_only_arms_of_real_and_curated_chips_can_be_trained(again: Retrain, arm: str) -> None:
    with pytest.raises(ParamsError, match=r"no arm of real and curated chips; there are \['real-only'\]"):
        again(arm)


def test_weights_that_are_not_in_the_release_are_told(again: Retrain, told: Release) -> None:
    with pytest.raises(DataError, match="weights that are not in the release"):
        again(release=replace(told, training=None))


def test_chips_that_are_missing_or_changed_are_refused(
    again: Retrain, records: dict[str, list[dict[str, Any]]]
) -> None:
    curated, test = records["curated"], records["real"]
    target = [row for row in curated if row["set"] == "target"]
    with pytest.raises(DataError, match=f"found {len(target) - 1} train chips"):
        again(curated=target[1:])
    n_test = sum(row["set"] == "target" for row in test)
    with pytest.raises(DataError, match=f"found {n_test + len(target)} test chips"):
        again(test=test + target)
    with pytest.raises(DataError, match="no records of set 'target'"):
        again(test=[row for row in test if row["set"] == "source"])
    changed = {**target[0], "image": np.asarray(target[0]["image"]) * 2}
    with pytest.raises(DataError, match=f"chip {target[0]['chip_id']}: pixels"):
        again(curated=[changed, *target[1:]])
