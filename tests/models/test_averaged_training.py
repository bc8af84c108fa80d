"""Averaged training: its rate, its averages against a slow plain sum, and a kill between checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import Linear

from sarcurate.models import averaged_training
from sarcurate.models.averaged_training import FlowSettings, train_averaged

SETTINGS = FlowSettings(
    updates=12,
    batch_size=1,
    crop_latents=(4,),
    learning_rate=0.1,
    warmup=3,
    decay_fraction=0.5,
    ema_decay=0.4,
    save_every=5,
)


class KilledError(Exception):
    pass


def run(
    work: Path,
    on_update: Callable[[Linear, int], None] = lambda module, made: None,
    settings: FlowSettings = SETTINGS,
) -> Linear:
    """A line fitted to points that each update's number decides."""
    torch.manual_seed(0)
    module = Linear(2, 1)

    def loss(step: int) -> torch.Tensor:
        points = torch.randn(8, 2, generator=torch.Generator().manual_seed(step))
        error: torch.Tensor = module(points)[:, 0] - 3 * points[:, 0] + 1
        return (error**2).mean()

    train_averaged(module, loss, settings, work, lambda made, _: on_update(module, made))
    return module


def numbers(module: Linear) -> list[float]:
    return [*module.weight.detach().ravel().tolist(), *module.bias.detach().tolist()]


def test_share_of_the_rate_rises_stays_and_falls_to_nothing() -> None:
    settings = replace(SETTINGS, updates=100, warmup=10, decay_fraction=0.2)
    shares = [averaged_training._share_of_rate(step, settings) for step in range(100)]
    assert shares[:10] == pytest.approx(np.arange(0.1, 1.05, 0.1))
    assert set(shares[10:81]) == {1.0}
    assert shares[80:] == pytest.approx(np.arange(1.0, 0.0, -0.05))
    at_once = replace(settings, warmup=0, decay_fraction=0.0)
    assert {averaged_training._share_of_rate(step, at_once) for step in range(100)} == {1.0}


def test_first_updates_have_the_size_of_their_rate(tmp_path: Path) -> None:
    """AdamW's first update moves every weight by the learning rate, whatever its gradient."""
    moved: list[list[float]] = []
    torch.manual_seed(0)
    start = numbers(Linear(2, 1))
    run(tmp_path, lambda module, made: moved.append(numbers(module)))
    assert np.abs(np.subtract(moved[0], start)) == pytest.approx(0.1 / 3, rel=0.05)


def test_result_is_the_average_of_the_weights(tmp_path: Path) -> None:
    weights: list[list[float]] = []
    result = run(tmp_path, lambda module, made: weights.append(numbers(module)))
    torch.manual_seed(0)
    average = np.array(numbers(Linear(2, 1)))
    for made, step in enumerate(weights):
        decay = min(0.4, (made + 1) / (made + 10))
        average = decay * average + (1 - decay) * np.array(step)
    assert len(weights) == 12
    assert numbers(result) == pytest.approx(average, rel=1e-5)
    assert numbers(result) != pytest.approx(weights[-1], rel=1e-5)


@pytest.mark.parametrize("killed", [0, 4, 5, 11])
def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path, killed: int) -> None:
    made: list[int] = []

    def kill(_: Linear, update: int) -> None:
        made.append(update)
        if len(made) == killed + 1:
            raise KilledError

    whole = run(tmp_path / "whole")
    with pytest.raises(KilledError):
        run(tmp_path / "parts", kill)
    resumed = run(tmp_path / "parts", kill)
    assert made[killed + 1 :] == list(range(killed // 5 * 5, 12))
    assert numbers(resumed) == numbers(whole)
    for name in ("tensors.safetensors", "notes.json"):
        one, other = (tmp_path / run_ / "step-00000012" / name for run_ in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes()


def test_the_last_update_is_saved_whenever_it_comes(tmp_path: Path) -> None:
    run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000012"]
