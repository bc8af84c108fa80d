"""A short measurement of a configured run at its real shapes: some updates, a sampling step, a decoding."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from sarcurate.models.base import load_scheduler, load_transformer, load_vae
from sarcurate.models.latent import Canvas, LatentSpace
from sarcurate.models.lora import attach_lora
from sarcurate.models.lora_batches import TrainingChips
from sarcurate.models.lora_settings import Callbacks, LoraSettings
from sarcurate.models.lora_training import train_lora
from sarcurate.models.pace import Pace, seconds_per_call
from sarcurate.models.pipeline_folder import PipelineFolder
from sarcurate.models.prompt_encoding import PromptEmbeddings
from sarcurate.models.sampling import SampleSettings, sample_latents

if TYPE_CHECKING:
    from diffusers import SD3Transformer2DModel
    from torch import Tensor

_WARM_UP, _CALLS = 2, 4


def probe(
    folder: PipelineFolder,
    told: PromptEmbeddings,
    canvas: Canvas,
    settings: LoraSettings,
    drawing: SampleSettings,
    device: str,
) -> Pace:
    """Time the parts of a run on noise in place of chips; the weights are the base's own.

    Args:
        folder: the base.
        told: embeddings of two prompts.
        canvas: of the chips.
        settings: of the tuning; drawing: of the generation.
        device: ``cpu`` or ``cuda``, the one that the stages take.
    """
    import torch

    torch.set_num_threads(settings.threads)
    transformer = load_transformer(folder, settings.precision)
    space = LatentSpace(load_vae(folder), int(transformer.config.patch_size))
    shape = (int(transformer.config.in_channels), *canvas.latent_shape(space.factor))
    chips = _noise_chips(settings.batch_size, shape, space.mask(canvas), told)
    update_s = _update_s(transformer, chips, settings)
    del transformer
    latents, sampling_step_s = _sampled(folder, told, shape, settings, drawing, device)
    decoding_s = seconds_per_call(lambda: space.decode(latents, canvas), device, warm_up=1, calls=_CALLS)
    return Pace(update_s, sampling_step_s, decoding_s)


def _noise_chips(n: int, shape: tuple[int, int, int], mask: Tensor, told: PromptEmbeddings) -> TrainingChips:
    import torch

    latents = torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))
    return TrainingChips(tuple(str(place) for place in range(n)), latents, mask, (1,) * n, told)


def _update_s(transformer: SD3Transformer2DModel, chips: TrainingChips, settings: LoraSettings) -> float:
    steps, stamps = _WARM_UP + _CALLS, list[float]()
    short = replace(settings, steps=steps, validate_every=steps, save_every=steps)
    one = TrainingChips(chips.chip_ids[:1], chips.latents[:1], chips.mask, (1,), chips.prompts)
    callbacks = Callbacks(
        lambda _step, _loss: stamps.append(perf_counter()), lambda _step, _loss, _model: None
    )
    with tempfile.TemporaryDirectory() as work:
        train_lora(transformer, chips, one, short, 0, Path(work), callbacks)
    return median(later - earlier for earlier, later in pairwise(stamps[_WARM_UP - 1 :]))


def _sampled(
    folder: PipelineFolder,
    told: PromptEmbeddings,
    shape: tuple[int, int, int],
    settings: LoraSettings,
    drawing: SampleSettings,
    device: str,
) -> tuple[Tensor, float]:
    """Latents of a batch, and the seconds of one noise level."""
    transformer = load_transformer(folder, drawing.precision)
    attach_lora(transformer, settings.preset, settings.rank, settings.alpha, 0)
    transformer.to(device)
    scheduler, n, one_level = load_scheduler(folder), drawing.batch_size, replace(drawing, steps=1)
    asked = PromptEmbeddings(told.tokens[[1] * n], told.pooled[[1] * n])
    negative = PromptEmbeddings(told.tokens[:1], told.pooled[:1]) if drawing.is_guided else None

    def sample() -> Tensor:
        return sample_latents(transformer, scheduler, asked, negative, list(range(n)), shape, one_level)

    return sample(), seconds_per_call(sample, device, warm_up=1, calls=_CALLS)
