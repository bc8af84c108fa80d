"""How an adapter is trained, what is heard meanwhile, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sarcurate.models.flow import LossWeighting, TimeLaw

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LoraSettings:
    """How an adapter is trained.

    Args:
        preset: which layers, a name of ``TARGETS``.
        rank: of the pairs of matrices.
        alpha: their product is scaled by ``alpha / rank``.
        steps: updates of AdamW at most.
        batch_size: samples of an update.
        micro_batch: samples at a time; halved where memory does not suffice.
        learning_rate: after the warm-up.
        warmup: updates over which the rate rises; cooldown: the last updates, over which it falls to 0.
        weight_decay: of AdamW.
        ema_decay: of the averaged weights, which are the result.
        caption_dropout: share of samples trained with the empty prompt.
        weighting: of the loss over noise levels.
        law: which noise levels are trained.
        gradient_checkpointing: less memory for one more forward pass.
        precision: of the arithmetic; the adapter itself is float32 in both.
        validate_every: updates between validations; the last update is validated too.
        patience: validations without a better one before stopping; None never stops.
        save_every: updates between checkpoints.
        keep: averaged weights of the ``best`` validation or of the ``last`` update.
        threads: of the processor.
    """

    preset: str
    rank: int
    alpha: float
    steps: int
    batch_size: int
    micro_batch: int
    learning_rate: float
    warmup: int
    cooldown: int
    weight_decay: float
    ema_decay: float
    caption_dropout: float
    weighting: LossWeighting
    law: TimeLaw
    gradient_checkpointing: bool
    precision: Literal["bf16", "fp32"]
    validate_every: int
    patience: int | None
    save_every: int
    keep: Literal["best", "last"]
    threads: int


@dataclass(frozen=True)
class HistoryRow:
    """After ``step`` updates: the last update's loss, the validation's where one was due, the micro-batch."""

    step: int
    loss: float | None
    validation_loss: float | None
    micro_batch: int


@dataclass(frozen=True, eq=False)
class LoraResult:
    """A trained adapter.

    Args:
        ema_state: the averaged weights kept, float32 on the CPU, as ``lora_parameters`` names.
        kept_step: updates behind them.
        steps_made: updates made in all.
        stopped_early: whether patience ended the training.
        history: a row for each update, and one before the first.
    """

    ema_state: dict[str, Tensor]
    kept_step: int
    steps_made: int
    stopped_early: bool
    history: tuple[HistoryRow, ...]


@dataclass(frozen=True)
class Callbacks:
    """Called while an adapter is trained; a resumed run repeats those after its checkpoint.

    Args:
        on_step: with updates made and the loss.
        on_validation: with updates made, the validation loss, and the transformer, which for this moment
            bears the averaged weights; also before the first update, when the adapter changes nothing.
    """

    on_step: Callable[[int, float], None] = lambda step, loss: None
    on_validation: Callable[[int, float, Any], None] = lambda step, loss, transformer: None
