from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from sarcurate.io.work_cache import WorkCache
from sarcurate.models import arm_runs, resnet
from sarcurate.models.arm_data import LabelledChips
from sarcurate.models.arm_runs import ArmRun, FinishedRun

SETTINGS = resnet.TrainingSettings(
    image_px=32,
    updates=2,
    batch_size=4,
    learning_rate=3e-4,
    weight_decay=0.05,
    label_smoothing=0.1,
    warmup_fraction=0.1,
    crop_jitter=0.1,
    real_fraction=0.5,
    flips=False,
    gain_jitter_db=1.5,
    speckle_jitter_looks=8.0,
    precision="bf16",
    threads=1,
    initial_weights=None,
)
OTHER_VALUES = {"real_fraction": 0.25, "flips": True, "precision": "fp32"}


def _chips(seed: int, n: int = 6, is_real: bool = True) -> LabelledChips:
    images = np.random.default_rng(seed).uniform(-1, 1, (n, 32, 32)).astype(np.float32)
    hashes = tuple(f"{seed}-{index}" for index in range(n))
    return LabelledChips(images, np.arange(n, dtype=np.int64) % 2, hashes, (-20.0, 0.0), is_real)


RUN = ArmRun(SETTINGS, _chips(0), [_chips(1, 4, False)], None, False, 2, 5)


def _ignore() -> None:
    pass


@dataclass
class Trained:
    cache: WorkCache
    run: FinishedRun


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    cache = WorkCache(tmp_path_factory.mktemp("cache"))
    return Trained(cache, arm_runs.finish(RUN, cache, _ignore))


@pytest.fixture
def never_train(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(resnet, "train", refuse)


# --- keys


@pytest.mark.parametrize("name", [f.name for f in fields(SETTINGS) if f.name != "initial_weights"])
def test_every_setting_is_in_the_key(name: str) -> None:
    value = OTHER_VALUES.get(name)
    if value is None:
        value = getattr(SETTINGS, name) * 2
    assert replace(RUN, settings=replace(SETTINGS, **{name: value})).key() != RUN.key()


@pytest.mark.parametrize(
    "change",
    [
        {"real": _chips(2)},
        {"real": _chips(0, 5)},
        {"added": []},
        {"added": [_chips(1, 4, True)]},
        {"added": [_chips(3, 4, False)]},
        {"repeat_to": 12},
        {"classical": True},
        {"n_classes": 3},
        {"seed": 6},
    ],
)
def test_every_ingredient_is_in_the_key(change: dict[str, Any]) -> None:
    assert replace(RUN, **change).key() != RUN.key()


def test_the_key_repeats_and_follows_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert replace(RUN).key() == RUN.key()
    before = RUN.key()
    monkeypatch.setattr(arm_runs, "code_key", lambda: "other code")
    assert RUN.key() != before


def test_the_key_follows_the_content_of_initial_weights_not_their_place(tmp_path: Path) -> None:
    keys = []
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
        keys.append(replace(RUN, settings=replace(SETTINGS, initial_weights=str(tmp_path / name))).key())
    assert keys[0] == keys[1]
    assert len({RUN.key(), *keys}) == 3


# --- runs


def test_a_finished_run_is_served_without_training(trained: Trained, never_train: None) -> None:
    told: list[int] = []
    again = arm_runs.finish(replace(RUN), trained.cache, lambda: told.append(1))
    assert again == trained.run
    assert len(told) == SETTINGS.updates
    assert len(again.losses) == SETTINGS.updates


def test_a_run_that_fails_leaves_nothing_to_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_model: object) -> None:
        raise KeyboardInterrupt

    cache = WorkCache(tmp_path)
    monkeypatch.setattr(resnet, "half_precision", stop)
    with pytest.raises(KeyboardInterrupt):
        arm_runs.finish(RUN, cache, _ignore)
    assert cache.entry(RUN.key()) is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_kept_weights_are_half_precision(trained: Trained) -> None:
    weights = load_file(trained.run.folder / arm_runs.WEIGHTS)
    assert str(weights["classifier.1.weight"].dtype) == "torch.float16"


# --- predictions


@pytest.fixture
def count_predictions(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    calls: list[int] = []
    real = resnet.predict

    def counted(*args: Any) -> Any:
        calls.append(1)
        return real(*args)

    monkeypatch.setattr(resnet, "predict", counted)
    return lambda: len(calls)


def test_predictions_from_the_cache_are_those_of_the_restored_weights(
    trained: Trained, count_predictions: Callable[[], int]
) -> None:
    test = _chips(8)
    first = trained.run.probabilities(test, trained.cache)
    second = trained.run.probabilities(test, trained.cache)
    assert count_predictions() == 1
    np.testing.assert_array_equal(first, second)
    model = resnet.restore(load_file(trained.run.folder / arm_runs.WEIGHTS), 2)
    np.testing.assert_array_equal(first, resnet.predict(model, test.images[:, None], SETTINGS))


def test_other_chips_are_scored_by_the_same_weights(
    trained: Trained, never_train: None, count_predictions: Callable[[], int]
) -> None:
    one = trained.run.probabilities(_chips(10), trained.cache)
    other = trained.run.probabilities(_chips(11), trained.cache)
    assert count_predictions() == 2
    assert (one != other).any()
