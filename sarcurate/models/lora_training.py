"""Training of a low-rank adapter by rectified flow, from the last checkpoint on."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sarcurate.errors import DataError, HardwareError
from sarcurate.models.flow import STEPS_PER_UNIT, flow_losses
from sarcurate.models.lora_batches import Batch, TrainingChips, training_batch, validation_batch
from sarcurate.models.lora_run import TrainingRun, bearing, copy_weights, new_run, resume_run, save_run
from sarcurate.models.lora_settings import Callbacks as Callbacks
from sarcurate.models.lora_settings import HistoryRow as HistoryRow
from sarcurate.models.lora_settings import LoraResult as LoraResult
from sarcurate.models.lora_settings import LoraSettings as LoraSettings
from sarcurate.models.no_memory import is_no_memory

if TYPE_CHECKING:
    from diffusers import SD3Transformer2DModel
    from torch import Tensor

_CLIP_NORM = 1.0
Made = TypeVar("Made")


def train_lora(
    transformer: SD3Transformer2DModel,
    train: TrainingChips,
    validation: TrainingChips,
    settings: LoraSettings,
    seed: int,
    work: Path,
    callbacks: Callbacks,
) -> LoraResult:
    """Attach an adapter and train it, from the last checkpoint in ``work`` on.

    A resumed run ends in the bytes of an uninterrupted one. Afterwards the transformer bears the result.

    Args:
        transformer: of a base, without an adapter; loaded in bfloat16 or float32.
        train: chips to learn.
        validation: held-back chips, for the choice of the best weights and for stopping.
        settings: how.
        seed: of the adapter's first weights and of every draw.
        work: folder for checkpoints, of this run alone.
        callbacks: for progress, previews and curves.

    Raises:
        DataError: where the loss or its gradient is not finite, or the disk is full.
        HardwareError: where a single sample does not fit into memory.
        ParamsError: for a preset that does not fit the base.
    """
    import torch

    torch.set_num_threads(settings.threads)
    run = new_run(transformer, settings, seed)
    resume_run(run, work)
    held_back = validation_batch(validation, settings.law, seed)
    if not run.history:
        loss = _validated(run, held_back, validation, settings, callbacks)
        run.history.append(HistoryRow(0, None, loss, run.micro_batch))
    while run.step < settings.steps and not _stops(run, settings):
        loss = _update(run, train, settings, seed)
        callbacks.on_step(run.step, loss)
        validated = None
        if run.step % settings.validate_every == 0 or run.step == settings.steps:
            validated = _validated(run, held_back, validation, settings, callbacks)
            _remember(run, validated)
        run.history.append(HistoryRow(run.step, loss, validated, run.micro_batch))
        if run.step % settings.save_every == 0 or run.step == settings.steps or _stops(run, settings):
            save_run(run, work)
    kept, kept_step = (run.best, run.best_step) if settings.keep == "best" else (run.ema, run.step)
    copy_weights(kept, run.parameters)
    ema_state = {name: value.cpu().clone() for name, value in kept.items()}
    stopped = _stops(run, settings) and run.step < settings.steps
    return LoraResult(ema_state, kept_step, run.step, stopped, tuple(run.history))


def _update(run: TrainingRun, train: TrainingChips, settings: LoraSettings, seed: int) -> float:
    """One update of the adapter and of its average; returns the loss."""
    step = run.step
    batch = training_batch(train, step, settings.batch_size, settings.law, settings.caption_dropout, seed)
    for group in run.optimizer.param_groups:
        group["lr"] = settings.learning_rate * _share_of_rate(step, settings)
    loss = _fitting(run, train, lambda: _gradients(run, batch, train, settings))
    norm = float(run.accelerator.clip_grad_norm_(run.parameters.values(), _CLIP_NORM))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise DataError(
            f"training diverged at step {step + 1}: loss {loss}, norm of its gradient {norm}",
            fix=f"lower tune.learning_rate ({settings.learning_rate}) or raise tune.warmup",
        )
    run.optimizer.step()
    decay = min(settings.ema_decay, (1 + step) / (10 + step))
    for name, average in run.ema.items():
        average.lerp_(run.parameters[name].detach(), 1.0 - decay)
    run.step += 1
    return loss


def _share_of_rate(step: int, settings: LoraSettings) -> float:
    """Rises from the first update on, and falls so that the one after the last would have 0."""
    rises = (step + 1) / max(settings.warmup, 1)
    falls = (settings.steps - step) / max(settings.cooldown, 1)
    return min(1.0, rises, falls)


def _gradients(run: TrainingRun, batch: Batch, chips: TrainingChips, settings: LoraSettings) -> float:
    """Gradient of the batch's mean loss, micro-batch by micro-batch; returns that loss."""
    run.optimizer.zero_grad()
    total = 0.0
    for part in batch.parts(run.micro_batch):
        summed = _losses(run, part, chips, settings).sum() / len(batch.chip_ids)
        run.accelerator.backward(summed)
        total += float(summed.detach())
    return total


def _losses(run: TrainingRun, part: Batch, chips: TrainingChips, settings: LoraSettings) -> Tensor:
    device = run.accelerator.device
    dtype = next(weight.dtype for weight in run.transformer.parameters() if not weight.requires_grad)
    tokens, pooled = (
        embedding[part.prompt_rows].to(device, dtype)
        for embedding in (chips.prompts.tokens, chips.prompts.pooled)
    )

    def velocity(noisy: Tensor, levels: Tensor) -> Tensor:
        predicted: Tensor = run.transformer(
            hidden_states=noisy.to(dtype),
            encoder_hidden_states=tokens,
            pooled_projections=pooled,
            timestep=levels * STEPS_PER_UNIT,
            return_dict=False,
        )[0]
        return predicted

    with run.accelerator.autocast():
        return flow_losses(
            velocity,
            part.latents.to(device),
            part.noise.to(device),
            part.sigmas.to(device),
            settings.weighting,
            chips.mask.to(device),
        )


def _validated(
    run: TrainingRun, held_back: Batch, chips: TrainingChips, settings: LoraSettings, callbacks: Callbacks
) -> float:
    """Mean loss of the held-back chips under the averaged weights."""
    with bearing(run, run.ema):
        loss = _fitting(run, chips, lambda: _mean_loss(run, held_back, chips, settings))
        if not math.isfinite(loss):
            raise DataError(
                f"validation loss after step {run.step} is {loss}",
                fix=f"lower tune.learning_rate ({settings.learning_rate})",
            )
        callbacks.on_validation(run.step, loss, run.transformer)
    return loss


def _mean_loss(run: TrainingRun, batch: Batch, chips: TrainingChips, settings: LoraSettings) -> float:
    import torch

    with torch.no_grad():
        sums = [float(_losses(run, part, chips, settings).sum()) for part in batch.parts(run.micro_batch)]
    return math.fsum(sums) / len(batch.chip_ids)


def _remember(run: TrainingRun, loss: float) -> None:
    """Keep the averaged weights where they are the best so far."""
    if loss < run.best_loss:
        run.best_loss, run.best_step, run.waited = loss, run.step, 0
        copy_weights(run.ema, run.best)
    else:
        run.waited += 1


def _stops(run: TrainingRun, settings: LoraSettings) -> bool:
    return settings.patience is not None and run.waited >= settings.patience


def _fitting(run: TrainingRun, chips: TrainingChips, work: Callable[[], Made]) -> Made:
    """The result of ``work``, done again with half the micro-batch until it fits into memory."""
    import torch

    while True:
        try:
            return work()
        except RuntimeError as error:
            if not is_no_memory(error):
                raise
            told = str(error).splitlines()[0]
        run.optimizer.zero_grad()
        if run.micro_batch == 1:
            raise _too_small(run, chips, told)
        run.micro_batch //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _too_small(run: TrainingRun, chips: TrainingChips, told: str) -> HardwareError:
    weights = sum(weight.numel() * weight.element_size() for weight in run.transformer.parameters())
    shape = " x ".join(str(edge) for edge in chips.latents.shape[1:])
    return HardwareError(
        f"step {run.step + 1} does not fit into the memory of {run.accelerator.device} even one sample at a "
        f"time: weights of {weights / 2**20:.0f} MiB, latents of {shape}: {told}",
        fix="turn on tune.gradient_checkpointing, take a smaller tune.model_px or base, or a larger device",
    )
