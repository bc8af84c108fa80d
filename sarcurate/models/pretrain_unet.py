"""Training of sarcurate-tiny-unet, the extractor of migration, on the latents of practice chips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcurate.models.averaged_training import FlowSettings, train_averaged
from sarcurate.models.pretrain_flow import LatentShard, draw_batch
from sarcurate.models.prompt_encoding import last_states
from sarcurate.models.tiny_unet import new_schedule, new_unet

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from torch import Tensor


def train_unet(
    pool: Sequence[LatentShard],
    text: tuple[Any, Any],
    settings: FlowSettings,
    seed: int,
    work: Path,
    on_update: Callable[[int, float], None],
) -> UNet2DConditionModel:
    """Train from the last checkpoint in ``work`` on; the averaged weights come back.

    Noise is predicted at uniformly drawn times (Ho et al. 2020, arXiv:2006.11239, eq. 14).

    Args:
        text: a tokenizer and a frozen CLIP text encoder that prompts are read by.
    """
    import torch

    torch.manual_seed(seed)
    unet, kept = new_unet(), new_schedule().alphas_cumprod

    def loss(step: int) -> Tensor:
        latents, prompts = draw_batch(pool, settings, np.random.default_rng((seed, step)))
        with torch.no_grad():
            told = last_states(prompts, *text)
        return _loss(unet, told, torch.from_numpy(latents), kept, seed + step)

    train_averaged(unet, loss, settings, work, on_update)
    return unet


def _loss(unet: Any, told: Tensor, latents: Tensor, kept: Tensor, seed: int) -> Tensor:
    """Mean squared error of the noise; ``kept`` is the share of the data's power left at each time."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(latents.shape, generator=generator)
    times = torch.randint(0, len(kept), (len(latents),), generator=generator)
    share = kept[times][:, None, None, None]
    noisy = share.sqrt() * latents + (1.0 - share).sqrt() * noise
    with torch.autocast("cpu", torch.bfloat16):
        found = unet(noisy, times, told, return_dict=False)[0]
    error: Tensor = ((found.float() - noise) ** 2).mean()
    return error
