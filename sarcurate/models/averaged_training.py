"""Training by AdamW whose averaged weights are the result; a resumed run ends in the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarcurate.errors import DataError
from sarcurate.models.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_EMA = "ema/"


@dataclass(frozen=True)
class FlowSettings:
    """How a denoiser is trained on latents.

    Args:
        updates: of AdamW; the rate rises over ``warmup``, stays, and falls to 0 over the last
            ``decay_fraction``.
        batch_size: chips an update.
        crop_latents: edges of the latents trained on, one drawn for each update.
        ema_decay: of the averaged weights, which are the result.
        save_every: updates between checkpoints.
    """

    updates: int
    batch_size: int
    crop_latents: tuple[int, ...]
    learning_rate: float
    warmup: int
    decay_fraction: float
    ema_decay: float
    save_every: int


def train_averaged(
    module: Module,
    loss_of: Callable[[int], Tensor],
    settings: FlowSettings,
    work: Path,
    on_update: Callable[[int, float], None],
) -> None:
    """Train a module in place, from the last checkpoint in ``work`` on; it ends with its averaged weights.

    Args:
        loss_of: the loss of an update, drawn from that update's number alone.
        work: folder of checkpoints.
        on_update: told the update's number and its loss.

    Raises:
        DataError: for a loss that is not finite, or a checkpoint that cannot be written.
    """
    import torch

    parameters = dict(module.named_parameters())
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    averages = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    for step in range(_resume(work, module, optimizer, averages), settings.updates):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _share_of_rate(step, settings)
        loss = loss_of(step)
        if not torch.isfinite(loss):
            raise DataError(
                f"training in {work}: the loss of update {step + 1} is {float(loss)}",
                fix="lower the learning rate in the recipe",
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        _average(averages, parameters, min(settings.ema_decay, (step + 1) / (step + 10)))
        on_update(step, float(loss.detach()))
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.updates:
            _save(work, step + 1, parameters, optimizer, averages)
    module.load_state_dict({**module.state_dict(), **averages})


def _share_of_rate(step: int, settings: FlowSettings) -> float:
    left = (settings.updates - step) / max(1.0, settings.decay_fraction * settings.updates)
    return min(1.0, (step + 1) / max(settings.warmup, 1), left)


def _average(averages: dict[str, Tensor], parameters: dict[str, Any], decay: float) -> None:
    for name, parameter in parameters.items():
        averages[name].lerp_(parameter.detach(), 1.0 - decay)


def _save(
    work: Path, step: int, parameters: dict[str, Any], optimizer: Any, averages: dict[str, Tensor]
) -> None:
    tensors = {name: parameter.detach() for name, parameter in parameters.items()}
    tensors |= {_EMA + name: value for name, value in averages.items()}
    save_checkpoint(work, Checkpoint(step, tensors | optimizer_tensors(optimizer, parameters), {}))


def _resume(work: Path, module: Any, optimizer: Any, averages: dict[str, Tensor]) -> int:
    saved = latest_checkpoint(work)
    if saved is None:
        return 0
    parameters = dict(module.named_parameters())
    module.load_state_dict({**module.state_dict(), **{name: saved.tensors[name] for name in parameters}})
    for name in averages:
        averages[name].copy_(saved.tensors[_EMA + name])
    restore_optimizer(optimizer, parameters, saved.tensors)
    return saved.step
