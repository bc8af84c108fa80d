"""What the transformer is trained on: crops of latents, and prompts that tell of their own chip."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sarcurate.models import pretrain_flow
from sarcurate.models.averaged_training import FlowSettings
from sarcurate.models.flow import LossWeighting, TimeLaw, flow_losses
from sarcurate.models.pretrain_flow import LatentShard, draw_batch, train_flow

FLOW = FlowSettings(
    updates=5,
    batch_size=2,
    crop_latents=(8, 4),
    learning_rate=3e-3,
    warmup=2,
    decay_fraction=0.2,
    ema_decay=0.3,
    save_every=5,
)


def labelled(n: int, label: Callable[[int], str] = lambda chip: f"object {chip}") -> list[dict[str, Any]]:
    return [
        {
            "label": label(chip),
            "sensor": "untold",
            "polarisation": "untold",
            "band": "X",
            "azimuth_spacing_m": 1.5,
            "range_spacing_m": 1.5,
            "incidence_deg": 35.2,
            "azimuth_deg": 10.0 + chip,
        }
        for chip in range(n)
    ]


def numbered_latents() -> list[LatentShard]:
    """Two shards of three latents (2, 12, 12), every number another one, exact in float16."""
    numbers = np.arange(2 * 3 * 2 * 12 * 12).reshape(2, 3, 2, 12, 12).astype(np.float16)
    return [
        LatentShard(numbers[shard], labelled(3, lambda chip, shard=shard: f"object {3 * shard + chip}."))  # type: ignore[misc]
        for shard in range(2)
    ]


def batches(
    pool: Sequence[LatentShard], n: int, **changes: Any
) -> list[tuple[NDArray[np.float32], list[str]]]:
    settings = replace(FLOW, **changes)
    return [draw_batch(pool, settings, np.random.default_rng((3, step))) for step in range(n)]


def test_latents_are_whole_crops_at_even_places_of_any_chip() -> None:
    corners: dict[int, set[tuple[int, ...]]] = {4: set(), 8: set()}
    for latents, prompts in batches(numbered_latents(), 400, batch_size=4, crop_latents=(4, 8)):
        assert latents.dtype == np.float32
        assert len(prompts) == len(latents) == 4
        size = latents.shape[-1]
        piece = np.add.outer(np.array([0, 144]), np.add.outer(12 * np.arange(size), np.arange(size)))
        for crop in latents:
            np.testing.assert_array_equal(crop, crop[0, 0, 0] + piece)
            chip, place = divmod(int(crop[0, 0, 0]), 2 * 12 * 12)
            corners[size].add((chip, *divmod(place, 12)))
    for size, found in corners.items():
        evens = range(0, 12 - size + 1, 2)
        assert found == {(chip, row, col) for chip in range(6) for row in evens for col in evens}


def test_one_size_is_drawn_for_each_batch_by_its_share() -> None:
    n, share = 900, 2 / 3
    drawn = [latents.shape[-2:] for latents, _ in batches(numbered_latents(), n, crop_latents=(8, 4, 8))]
    assert set(drawn) == {(8, 8), (4, 4)}
    assert abs(drawn.count((8, 8)) - n * share) < 4.5 * math.sqrt(n * share * (1 - share))


def test_every_latent_is_told_by_its_own_chip() -> None:
    told = 0
    for latents, prompts in batches(numbered_latents(), 100, batch_size=4):
        for crop, prompt in zip(latents, prompts, strict=True):
            chip = int(crop[0, 0, 0]) // (2 * 12 * 12)
            assert prompt == "" or f"SAR image, object {chip}." in prompt
            told += bool(prompt)
    assert told > 300


def test_prompts_tell_each_field_by_its_share_and_drop_out_by_theirs() -> None:
    """Both binomial, within 4.5 deviations."""
    n = 4000
    prompts = [prompt for _, told in batches(numbered_latents(), n // 4, batch_size=4) for prompt in told]
    kept = [prompt for prompt in prompts if prompt]
    assert abs(n - len(kept) - 0.1 * n) < 4.5 * math.sqrt(n * 0.1 * 0.9)
    for words in ("X band", "1.5 m", "incidence 35", "azimuth 1"):
        share = sum(f", {words}" in prompt for prompt in kept) / len(kept)
        assert abs(share - 0.3) < 4.5 * math.sqrt(0.3 * 0.7 / len(kept)), words
    both = sum("X band" in prompt and "incidence" in prompt for prompt in kept) / len(kept)
    assert abs(both - 0.09) < 4.5 * math.sqrt(0.09 * 0.91 / len(kept))
    assert not any("untold" in prompt for prompt in prompts)


def test_chips_without_an_object_are_told_as_ground() -> None:
    pool = [LatentShard(np.zeros((2, 4, 8, 8), np.float16), labelled(2, lambda chip: ""))]
    prompts = {prompt for _, told in batches(pool, 50) for prompt in told if prompt}
    assert len(prompts) > 5
    assert all(prompt.split(", ")[:2] == ["SAR image", "ground"] for prompt in prompts)


def test_every_update_draws_other_chips_noise_and_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[torch.Tensor]] = []

    def spy(velocity: Any, *given: Any) -> torch.Tensor:
        *tensors, weighting = given
        drawn.append(tensors)
        assert weighting is LossWeighting.VELOCITY
        return flow_losses(velocity, *given)

    monkeypatch.setattr(pretrain_flow, "flow_losses", spy)
    values = np.random.default_rng(0).normal(size=(500, 4, 8, 8)).astype(np.float16)
    settings = replace(FLOW, crop_latents=(8,))
    train_flow(
        [LatentShard(values, labelled(500))],
        settings,
        TimeLaw(0.0, 1.0, 1.0),
        5,
        tmp_path,
        lambda made, loss: None,
    )
    for kind, expected in zip(zip(*drawn, strict=True), ((4, 8, 8), (4, 8, 8), ()), strict=True):
        assert all(tensor.shape == (2, *expected) for tensor in kind)
        assert len({tensor.numpy().tobytes() for tensor in kind}) == FLOW.updates
    assert {chip.numpy().tobytes() for latents, _, _ in drawn for chip in latents} <= {
        chip.astype(np.float32).tobytes() for chip in values
    }
