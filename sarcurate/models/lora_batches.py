"""What an adapter is trained on, and what every step draws from it: all of it keyed by chip id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sarcurate.errors import DataError
from sarcurate.models.flow import TimeLaw
from sarcurate.models.prompt_encoding import PromptEmbeddings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# The empty prompt, which guidance steers away from.
UNCONDITIONAL = 0
VALIDATION_DRAWS = 2


@dataclass(frozen=True, eq=False)
class TrainingChips:
    """Latents and prompts of n chips, encoded once.

    Args:
        chip_ids: n different ids.
        latents: (n, c, h, w) float32, scaled; row i is of chip ``chip_ids[i]``.
        mask: (h, w), 1 where the chip is and 0 where it was padded.
        prompt_index: for each chip the row of ``prompts`` that describes it.
        prompts: embeddings of the different prompts; row 0 is the empty one.

    Raises:
        DataError: where these do not belong together, or a latent is not finite.
    """

    chip_ids: tuple[str, ...]
    latents: Tensor
    mask: Tensor
    prompt_index: tuple[int, ...]
    prompts: PromptEmbeddings

    def __post_init__(self) -> None:
        n = len(self.chip_ids)
        if not n or len(set(self.chip_ids)) != n:
            raise _unfit(f"{n} chips with {len(set(self.chip_ids))} different ids, expected one id each")
        if len(self.latents) != n or len(self.prompt_index) != n:
            raise _unfit(
                f"{n} chip ids, {len(self.latents)} latents and {len(self.prompt_index)} prompts, "
                "expected as many of each"
            )
        if self.mask.shape != self.latents.shape[-2:]:
            raise _unfit(f"mask {tuple(self.mask.shape)} for latents {tuple(self.latents.shape[-2:])}")
        for chip_id, index, latents in zip(self.chip_ids, self.prompt_index, self.latents, strict=True):
            if not UNCONDITIONAL < index < len(self.prompts.tokens):
                raise _unfit(f"chip {chip_id}: prompt {index} of {len(self.prompts.tokens)}")
            if not bool(latents.isfinite().all()):
                raise _unfit(f"chip {chip_id}: its latents are not finite")


def _unfit(problem: str) -> DataError:
    return DataError(f"training chips: {problem}", fix="encode the chips again")


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of one step: latents and noise (n, c, h, w), noise levels (n,), rows of the prompts (n,)."""

    chip_ids: tuple[str, ...]
    latents: Tensor
    noise: Tensor
    sigmas: Tensor
    prompt_rows: Tensor

    def parts(self, size: int) -> list[Batch]:
        """Cut into micro-batches of at most ``size``."""
        cuts = [slice(start, start + size) for start in range(0, len(self.chip_ids), size)]
        return [
            Batch(
                self.chip_ids[cut],
                self.latents[cut],
                self.noise[cut],
                self.sigmas[cut],
                self.prompt_rows[cut],
            )
            for cut in cuts
        ]


def training_batch(
    chips: TrainingChips, step: int, batch_size: int, law: TimeLaw, caption_dropout: float, seed: int
) -> Batch:
    """The samples of a step, a function of seed, step and chip ids alone.

    Args:
        chips: to draw from; their order does not matter.
        step: updates made before it.
        batch_size: samples.
        law: of the noise levels.
        caption_dropout: share of the samples that get the empty prompt.
        seed: of everything drawn.
    """
    rows = batch_rows(chips.chip_ids, step, batch_size, seed)
    keys = [f"train/{seed}/{step}/{place}/{chips.chip_ids[row]}" for place, row in enumerate(rows)]
    return _batch(chips, rows, keys, law, caption_dropout)


def validation_batch(chips: TrainingChips, law: TimeLaw, seed: int) -> Batch:
    """Every chip, ``VALIDATION_DRAWS`` times, at noise and levels that are the same at every validation."""
    rows = list(range(len(chips.chip_ids))) * VALIDATION_DRAWS
    keys = [
        f"validation/{seed}/{place // len(chips.chip_ids)}/{chips.chip_ids[row]}"
        for place, row in enumerate(rows)
    ]
    return _batch(chips, rows, keys, law, caption_dropout=0.0)


def batch_rows(chip_ids: Sequence[str], step: int, batch_size: int, seed: int) -> list[int]:
    """Rows of a step's chips: epoch after epoch without replacement, each in an order of its own."""
    n = len(chip_ids)
    by_id = sorted(range(n), key=chip_ids.__getitem__)
    positions = range(step * batch_size, (step + 1) * batch_size)
    orders = {
        epoch: np.random.default_rng((seed, epoch)).permutation(n) for epoch in {p // n for p in positions}
    }
    return [by_id[orders[position // n][position % n]] for position in positions]


def _batch(
    chips: TrainingChips, rows: Sequence[int], keys: Sequence[str], law: TimeLaw, caption_dropout: float
) -> Batch:
    import torch

    sigmas, noise, prompt_rows = [], [], []
    for row, key in zip(rows, keys, strict=True):
        generator = _generator(key)
        sigmas.append(law.draw(1, generator))
        dropped = float(torch.rand(1, generator=generator)) < caption_dropout
        prompt_rows.append(UNCONDITIONAL if dropped else chips.prompt_index[row])
        noise.append(torch.randn(chips.latents.shape[1:], generator=generator))
    return Batch(
        tuple(chips.chip_ids[row] for row in rows),
        chips.latents[list(rows)],
        torch.stack(noise),
        torch.cat(sigmas),
        torch.tensor(prompt_rows),
    )


def _generator(key: str) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big"))
