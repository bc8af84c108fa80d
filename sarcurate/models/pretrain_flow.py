"""Training of sarcurate-tiny's transformer and text encoders on the latents of practice chips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.io.prompts import PromptField, prompt_of
from sarcurate.models.averaged_training import FlowSettings, train_averaged
from sarcurate.models.flow import STEPS_PER_UNIT, LossWeighting, TimeLaw, flow_losses
from sarcurate.models.prompt_encoding import clip_embeddings
from sarcurate.models.tiny_base import new_text_encoders, new_tokenizer, new_transformer

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import ModuleDict

_BARE_GROUND = "ground"
_CAPTION_DROPOUT = 0.1
_FIELD_SHARE = 0.3  # of the chips that tell a given field
_KNOWN_FIELDS = (PromptField.BAND, PromptField.SPACING, PromptField.INCIDENCE, PromptField.AZIMUTH)


@dataclass(frozen=True, eq=False)
class LatentShard:
    """Scaled latents of one sensor's chips, float16, (n, channels, h, w), and their manifest rows."""

    latents: NDArray[np.float16]
    rows: Sequence[dict[str, Any]]


def train_flow(
    pool: Sequence[LatentShard],
    settings: FlowSettings,
    law: TimeLaw,
    seed: int,
    work: Path,
    on_update: Callable[[int, float], None],
) -> ModuleDict:
    """Train from the last checkpoint in ``work`` on; the averaged weights come back.

    Every update draws chips, prompts, times and noise from its own seed, so a resumed run is the
    uninterrupted one.

    Returns:
        modules ``transformer``, ``text_encoder`` and ``text_encoder_2``.
    """
    import torch

    torch.manual_seed(seed)
    modules, tokenizer = _new_modules(), new_tokenizer()

    def loss(step: int) -> Tensor:
        latents, prompts = draw_batch(pool, settings, np.random.default_rng((seed, step)))
        return _loss(modules, tokenizer, torch.from_numpy(latents), prompts, law, seed + step)

    train_averaged(modules, loss, settings, work, on_update)
    return modules


def draw_batch(
    pool: Sequence[LatentShard], settings: FlowSettings, rng: np.random.Generator
) -> tuple[NDArray[np.float32], list[str]]:
    """Random chips of random sensors, cut to one size, and a prompt for each."""
    size = int(rng.choice(settings.crop_latents))
    latents, prompts = [], []
    for _ in range(settings.batch_size):
        shard = pool[int(rng.integers(len(pool)))]
        index = int(rng.integers(len(shard.rows)))
        row, col = (int(rng.integers((edge - size) // 2 + 1)) * 2 for edge in shard.latents.shape[-2:])
        latents.append(shard.latents[index, :, row : row + size, col : col + size].astype(np.float32))
        prompts.append(_prompt(shard.rows[index], rng))
    return np.stack(latents), prompts


def _prompt(row: dict[str, Any], rng: np.random.Generator) -> str:
    if rng.uniform() < _CAPTION_DROPOUT:
        return ""
    fields = [field for field in _KNOWN_FIELDS if rng.uniform() < _FIELD_SHARE]
    return prompt_of(row["label"] or _BARE_GROUND, row, fields)


def _new_modules() -> ModuleDict:
    from torch.nn import ModuleDict

    one, two = new_text_encoders()
    return ModuleDict({"transformer": new_transformer(), "text_encoder": one, "text_encoder_2": two})


def _loss(
    modules: Any, tokenizer: Any, latents: Tensor, prompts: Sequence[str], law: TimeLaw, seed: int
) -> Tensor:
    import torch

    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(latents.shape, generator=generator)
    sigmas = law.draw(len(latents), generator)
    with torch.autocast("cpu", torch.bfloat16):
        told = clip_embeddings(prompts, tokenizer, (modules["text_encoder"], modules["text_encoder_2"]))

        def velocity(noisy: Tensor, levels: Tensor) -> Tensor:
            predicted: Tensor = modules["transformer"](
                hidden_states=noisy,
                encoder_hidden_states=told.tokens,
                pooled_projections=told.pooled,
                timestep=levels * STEPS_PER_UNIT,
                return_dict=False,
            )[0]
            return predicted

        return flow_losses(velocity, latents, noise, sigmas, LossWeighting.VELOCITY).mean()
