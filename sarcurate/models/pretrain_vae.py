"""Training of sarcurate-tiny's autoencoder on practice chips: sharp, and true in its power spectrum."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.models.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from sarcurate.models.tiny_base import new_vae

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import Tensor

_CONTRAST = (0.6, 1.3)
_OFFSET = (-0.2, 0.2)
_POWER_FLOOR = 1e-6


@dataclass(frozen=True)
class VaeSettings:
    """How the autoencoder is trained.

    Args:
        updates: of AdamW, its rate falling from ``learning_rate`` to 0 along half a cosine.
        batch_size: crops an update.
        crop_px: their edge; a multiple of the factor.
        spectrum_weight: of the mean |ln| ratio of the batch's power spectra, beside the mean |error|.
        checkerboard_weight: of each crop's mean |offset| between the four places of a 2 x 2 cell, which
            upsampling leaves behind and which shows as a spike of period 2.
        kl_weight: of the mean divergence from a unit Gaussian.
        save_every: updates between checkpoints.
    """

    updates: int
    batch_size: int
    crop_px: int
    learning_rate: float
    warmup: int
    spectrum_weight: float
    checkerboard_weight: float
    kl_weight: float
    save_every: int


@dataclass(frozen=True)
class PolishSettings:
    """How the decoder is trained on, alone and in float32, at the latents as they are stored.

    Fast training rounds to bfloat16, and what the decoder learns to mend there are errors of that rounding.

    Args:
        updates: of AdamW, its rate falling from ``learning_rate`` to 0 along half a cosine.
        batch_size: crops an update.
        crop_px: their edge; a multiple of the factor.
        most_contrast: largest factor on values of model space: chips quantised at low levels, such as
            8-bit amplitudes, have longer tails than practice chips.
        save_every: updates between checkpoints.
    """

    updates: int
    batch_size: int
    crop_px: int
    most_contrast: float
    learning_rate: float
    warmup: int
    save_every: int


def train_vae(
    pool: Sequence[NDArray[np.float16]],
    settings: VaeSettings,
    seed: int,
    work: Path,
    on_update: Callable[[int, float], None],
) -> AutoencoderKL:
    """Train from the last checkpoint in ``work`` on; its config tells the latents' mean and spread.

    Every update draws its batch and its noise from its own seed, so a resumed run is the uninterrupted one.

    Args:
        pool: shards of chips in model space, (n, rows, cols).
        work: folder of checkpoints.
        on_update: told the update's number and its loss.
    """
    import torch

    torch.manual_seed(seed)
    vae = new_vae()

    def loss(step: int, chips: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            law = vae.encode(chips).latent_dist
            noise = torch.randn(law.mean.shape, generator=torch.Generator().manual_seed(seed + step))
            again = vae.decode(law.mean + torch.exp(0.5 * law.logvar) * noise).sample
        return reconstruction_loss(again.float(), chips, settings) + settings.kl_weight * _divergence(law)

    draw = partial(draw_crops, pool, settings.batch_size, settings.crop_px, _CONTRAST)
    _train(vae, loss, draw, settings, seed, work, on_update)
    _declare_spread(vae, pool, seed)
    return vae


def polish_decoder(
    vae: AutoencoderKL,
    pool: Sequence[NDArray[np.float16]],
    settings: PolishSettings,
    terms: VaeSettings,
    seed: int,
    work: Path,
    on_update: Callable[[int, float], None],
) -> None:
    """Train the decoder on in place, from the last checkpoint in ``work`` on; no latent changes.

    Args:
        vae: trained; its encoder is rounded to bfloat16, as which it is stored.
        pool: shards of chips in model space, (n, rows, cols).
        settings: how.
        terms: whose weights the terms of the loss have.
        work: folder of checkpoints.
        on_update: told the update's number and its loss.
    """
    import torch

    vae.encoder.to(torch.bfloat16).to(torch.float32).requires_grad_(False)

    def loss(_step: int, chips: Tensor) -> Tensor:
        with torch.no_grad():
            latents = vae.encode(chips).latent_dist.mean
        return reconstruction_loss(vae.decode(latents).sample, chips, terms)

    contrast = (_CONTRAST[0], settings.most_contrast)
    draw = partial(draw_crops, pool, settings.batch_size, settings.crop_px, contrast)
    _train(vae.decoder, loss, draw, settings, seed + 1, work, on_update)


def _train(
    module: Any,
    loss_of: Callable[[int, Tensor], Tensor],
    draw: Callable[[np.random.Generator], NDArray[np.float32]],
    settings: VaeSettings | PolishSettings,
    seed: int,
    work: Path,
    on_update: Callable[[int, float], None],
) -> None:
    """Train a module from its last checkpoint on."""
    import torch

    parameters = dict(module.named_parameters())
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4
    )
    for step in range(_resume(work, module, optimizer), settings.updates):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, settings.updates, settings.warmup, settings.learning_rate)
        loss = loss_of(step, torch.from_numpy(draw(np.random.default_rng((seed, step)))))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        on_update(step, float(loss.detach()))
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.updates:
            tensors = {**module.state_dict(), **optimizer_tensors(optimizer, parameters)}
            save_checkpoint(work, Checkpoint(step + 1, tensors, {}))


def rate(step: int, updates: int, warmup: int, learning_rate: float) -> float:
    """Learning rate of an update: a linear rise over ``warmup``, then half a cosine down to 0."""
    return (
        learning_rate
        * min(1.0, (step + 1) / max(warmup, 1))
        * 0.5
        * (1.0 + math.cos(math.pi * step / updates))
    )


def draw_crops(
    pool: Sequence[NDArray[np.float16]],
    n: int,
    crop_px: int,
    contrast: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """(n, 1, crop_px, crop_px) random crops, turned, mirrored, and changed in contrast and level."""
    crops = np.empty((n, 1, crop_px, crop_px), dtype=np.float32)
    for i in range(n):
        shard = pool[int(rng.integers(len(pool)))]
        chip = shard[int(rng.integers(len(shard)))]
        row, col = (int(rng.integers(size - crop_px + 1)) for size in chip.shape)
        crop = chip[row : row + crop_px, col : col + crop_px].astype(np.float32)
        crop = np.rot90(crop, int(rng.integers(4)))
        crops[i, 0] = crop[::-1] if rng.uniform() < 0.5 else crop
    gain, offset = rng.uniform(*contrast, (n, 1, 1, 1)), rng.uniform(*_OFFSET, (n, 1, 1, 1))
    return np.clip(crops * gain + offset, -1.0, 1.0).astype(np.float32)


def _resume(work: Path, module: Any, optimizer: Any) -> int:
    saved = latest_checkpoint(work)
    if saved is None:
        return 0
    module.load_state_dict({name: saved.tensors[name] for name in module.state_dict()})
    restore_optimizer(optimizer, dict(module.named_parameters()), saved.tensors)
    return saved.step


def reconstruction_loss(again: Tensor, chips: Tensor, terms: VaeSettings) -> Tensor:
    """Mean |error|, and the weighted terms of spectrum and checkerboard, of images (n, 1, h, w)."""
    error = again - chips
    spectrum = (_ln_power(again) - _ln_power(chips)).abs().mean()
    total: Tensor = (
        error.abs().mean()
        + terms.spectrum_weight * spectrum
        + terms.checkerboard_weight * _checkerboard(error)
    )
    return total


def _divergence(law: Any) -> Tensor:
    mean, logvar = law.mean.float(), law.logvar.float()
    divergence: Tensor = 0.5 * (mean**2 + logvar.exp() - 1.0 - logvar).mean()
    return divergence


def _checkerboard(error: Tensor) -> Tensor:
    """Mean |offset| of the four places of a 2 x 2 cell, of images (n, 1, h, w) of even sizes."""
    n, _, rows, cols = error.shape
    places = error.reshape(n, rows // 2, 2, cols // 2, 2).mean((1, 3))
    offsets: Tensor = (places - places.mean((1, 2), keepdim=True)).abs().mean()
    return offsets


def _ln_power(images: Tensor) -> Tensor:
    """Logarithm of the batch's mean power spectrum; means removed, Hann window."""
    import torch

    window = torch.hann_window(images.shape[-1], periodic=False)
    centred = images - images.mean((-1, -2), keepdim=True)
    power: Tensor = torch.fft.rfft2(centred * window[:, None] * window, norm="ortho").abs() ** 2
    return torch.log(power.mean((0, 1)) + _POWER_FLOOR)


def _declare_spread(vae: Any, pool: Sequence[NDArray[np.float16]], seed: int) -> None:
    """Write the latents' mean and spread into the config, as diffusion models expect to find them."""
    import torch

    chips = draw_crops(pool, 256, pool[0].shape[-1], _CONTRAST, np.random.default_rng((seed, 1 << 32)))
    with torch.no_grad():
        latents = vae.encode(torch.from_numpy(chips)).latent_dist.mean
    vae.register_to_config(
        shift_factor=round(float(latents.mean()), 4), scaling_factor=round(1.0 / float(latents.std()), 4)
    )
