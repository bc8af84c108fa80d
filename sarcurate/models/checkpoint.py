"""Training checkpoints as safetensors and JSON: a resumed run ends in the bytes of an uninterrupted one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarcurate.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

KEPT = 2
# What Adam and AdamW remember of a parameter.
_ADAM = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What was saved after a step.

    Args:
        step: updates made so far.
        tensors: by name.
        notes: plain values, such as the history of the loss.
    """

    step: int
    tensors: dict[str, Tensor]
    notes: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint beside the older ones, whole or not at all, and keep the last ``KEPT``.

    Raises:
        DataError: where it cannot be written, such as on a full disk; older checkpoints stay.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{checkpoint.step:08d}"
    part = folder / f".{final.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    contiguous = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    try:
        with writing(f"checkpoint {final}"):
            part.mkdir()
            save_file(contiguous, part / "tensors.safetensors")
            (part / "notes.json").write_text(json.dumps({"step": checkpoint.step, **checkpoint.notes}))
            shutil.rmtree(final, ignore_errors=True)
            part.rename(final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for old in _saved(folder)[:-KEPT]:
        shutil.rmtree(old)


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn a failure to write ``what`` into a DataError; safetensors has its own error for a full disk."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"cannot write {what}: {error}",
            fix="free some space, or give a folder that may be written to, and run again; "
            "the run goes on from what is there",
        ) from error


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint of a folder, or None.

    Raises:
        DataError: where it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    saved = _saved(folder)
    if not saved:
        return None
    try:
        notes = json.loads((saved[-1] / "notes.json").read_text())
        tensors = load_file(saved[-1] / "tensors.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(
            f"checkpoint {saved[-1]} cannot be read: {error}",
            fix="remove it; the run goes on from the one before",
        ) from error
    return Checkpoint(int(notes.pop("step")), tensors, notes)


def _saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def optimizer_tensors(optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of Adam or AdamW by parameter name, such as ``exp_avg/blocks.0.weight``."""
    return {
        f"{key}/{name}": value.detach().clone()
        for name, parameter in parameters.items()
        for key, value in optimizer.state[parameter].items()
        if key in _ADAM
    }


def restore_optimizer(
    optimizer: Optimizer, parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """Put back what :func:`optimizer_tensors` gave; other names, such as ``ema/...``, are left alone."""
    for full_name, value in tensors.items():
        key, _, name = full_name.partition("/")
        if key in _ADAM and name in parameters:
            home = value.device if key == "step" else parameters[name].device
            optimizer.state[parameters[name]][key] = value.to(home)
