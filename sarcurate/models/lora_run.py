"""The state of an adapter's training: made, saved, and taken up again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarcurate.models.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from sarcurate.models.lora import attach_lora, lora_parameters
from sarcurate.models.lora_settings import HistoryRow, LoraSettings

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


@dataclass
class TrainingRun:
    """What changes while an adapter is trained."""

    transformer: Any
    accelerator: Any
    parameters: dict[str, Tensor]
    optimizer: Optimizer
    ema: dict[str, Tensor]
    best: dict[str, Tensor]
    micro_batch: int
    step: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    waited: int = 0
    history: list[HistoryRow] = field(default_factory=list)


def new_run(transformer: Any, settings: LoraSettings, seed: int) -> TrainingRun:
    """A run before its first update, the adapter attached and on the device."""
    import torch
    from accelerate import Accelerator  # type: ignore[import-untyped]
    from accelerate.state import AcceleratorState  # type: ignore[import-untyped]

    # Accelerate keeps the first precision asked for in a process and refuses a second one.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(mixed_precision="bf16" if settings.precision == "bf16" else "no")
    attach_lora(transformer, settings.preset, settings.rank, settings.alpha, seed)
    transformer.to(accelerator.device)
    if settings.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    parameters: dict[str, Tensor] = dict(lora_parameters(transformer))
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    first = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    best = {name: value.clone() for name, value in first.items()}
    return TrainingRun(transformer, accelerator, parameters, optimizer, first, best, settings.micro_batch)


@contextmanager
def bearing(run: TrainingRun, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """For a while, other weights in the transformer."""
    own = {name: parameter.detach().clone() for name, parameter in run.parameters.items()}
    copy_weights(weights, run.parameters)
    try:
        yield
    finally:
        copy_weights(own, run.parameters)


def copy_weights(weights: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    """Copy weights in place, by name."""
    import torch

    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def save_run(run: TrainingRun, work: Path) -> None:
    """Write a checkpoint of the run."""
    tensors = {
        f"{kind}.{name}": value.detach()
        for kind, weights in _weights(run).items()
        for name, value in weights.items()
    }
    notes = {
        "micro_batch": run.micro_batch,
        "best_step": run.best_step,
        "best_loss": run.best_loss if math.isfinite(run.best_loss) else None,
        "waited": run.waited,
        "history": [astuple(row) for row in run.history],
    }
    moments = optimizer_tensors(run.optimizer, run.parameters)
    save_checkpoint(work, Checkpoint(run.step, tensors | moments, notes))


def _weights(run: TrainingRun) -> dict[str, dict[str, Tensor]]:
    # No slash in these names: it marks the optimiser's.
    return {"lora": run.parameters, "ema": run.ema, "best": run.best}


def resume_run(run: TrainingRun, work: Path) -> None:
    """Take up the newest checkpoint of a folder, if it has one."""
    saved = latest_checkpoint(work)
    if saved is None:
        return
    for kind, weights in _weights(run).items():
        copy_weights({name: saved.tensors[f"{kind}.{name}"] for name in weights}, weights)
    moments = {name: value for name, value in saved.tensors.items() if "/" in name}
    restore_optimizer(run.optimizer, run.parameters, moments)
    run.step, run.micro_batch = saved.step, saved.notes["micro_batch"]
    run.best_step, run.waited = saved.notes["best_step"], saved.notes["waited"]
    run.best_loss = math.inf if saved.notes["best_loss"] is None else saved.notes["best_loss"]
    run.history = [HistoryRow(*row) for row in saved.notes["history"]]
