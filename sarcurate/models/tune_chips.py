"""A source's train chips as what an adapter is trained on: latents and prompts, encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sarcurate.core.model_space import ModelSpace
from sarcurate.errors import DataError
from sarcurate.execution import progress
from sarcurate.io.chipset import ChipSet
from sarcurate.io.prompts import PromptField, prompt_of
from sarcurate.models.base import BaseRef, encode_prompts
from sarcurate.models.latent import Canvas, LatentSpace
from sarcurate.models.lora_batches import TrainingChips
from sarcurate.models.pipeline_folder import PipelineFolder

if TYPE_CHECKING:
    from torch import Tensor

HELD_BACK_FOLD = 0
_BATCH = 16


@dataclass(frozen=True, eq=False)
class TuneChips:
    """Chips to learn, chips held back (fold 0), and what it took to bring them into model space.

    Args:
        train, held_back: as the training takes them, the same prompts in both.
        prompts: those whose embeddings they hold, the empty one first.
        canvas: of every chip.
        clipped_low, clipped_high: train pixels outside the model space; pixels: all of them.
    """

    train: TrainingChips
    held_back: TrainingChips
    prompts: tuple[str, ...]
    canvas: Canvas
    clipped_low: int
    clipped_high: int
    pixels: int


def tune_chips(
    chips: ChipSet,
    space: ModelSpace,
    latent_space: LatentSpace,
    model_px: int | None,
    base: tuple[PipelineFolder, BaseRef],
    fields: Sequence[PromptField],
    more_prompts: Sequence[str],
) -> TuneChips:
    """Encode a train ChipSet; fold 0 is held back.

    Args:
        chips: with folds, all of one size.
        space: of their sensor.
        latent_space: of the base.
        model_px: longer side on the model's grid; None keeps the chips' own.
        base: for its text encoders.
        fields: what prompts tell after the class.
        more_prompts: to be encoded too.

    Raises:
        DataError: for chips of several sizes, or where one of the two parts is empty.
        ParamsError: for prompts that the base would cut.
    """
    rows = list(chips.rows())
    canvas = latent_space.canvas(one_size(chips), model_px)
    prompts = [prompt_of(row["label"], row, fields) for row in rows]
    known = ["", *sorted({*prompts, *more_prompts} - {""})]
    embeddings = encode_prompts(base[0], base[1], known, "cpu")
    latents, clipped = _encode(chips, space, latent_space, canvas)
    mask = latent_space.mask(canvas)
    held = np.array([row["fold"] == HELD_BACK_FOLD for row in rows])
    if held.all() or not held.any():
        raise DataError(
            f"{chips.root}: {int(held.sum())} of {len(rows)} chips are in fold {HELD_BACK_FOLD}, "
            "expected some, and some outside",
            fix="split with more groups, so that fold 0 holds chips of each class",
        )

    def part(chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> TrainingChips:
        places = np.flatnonzero(chosen)
        return TrainingChips(
            tuple(rows[place]["chip_id"] for place in places),
            latents[places.tolist()],
            mask,
            tuple(known.index(prompts[place]) for place in places),
            embeddings,
        )

    pixels = len(rows) * canvas.chip_px[0] * canvas.chip_px[1]
    return TuneChips(part(~held), part(held), tuple(known), canvas, *clipped, pixels)


def one_size(chips: ChipSet) -> tuple[int, int]:
    """(rows, cols) of all chips.

    Raises:
        DataError: for chips of several sizes.
    """
    sizes: dict[tuple[int, int], str] = {}
    for row in chips.rows():
        rows, cols = chips.intensity(row["chip_id"]).shape
        sizes.setdefault((rows, cols), row["chip_id"])
    if len(sizes) > 1:
        told = ", ".join(f"{rows} x {cols} ({chip})" for (rows, cols), chip in sorted(sizes.items())[:3])
        raise DataError(
            f"{chips.root}: chips are of {len(sizes)} sizes, such as {told}; an adapter learns one",
            fix="set dataset.footprint_m, or ingest.size: centre_crop, so that all chips agree",
        )
    return next(iter(sizes))


def _encode(
    chips: ChipSet, space: ModelSpace, latent_space: LatentSpace, canvas: Canvas
) -> tuple[Tensor, tuple[int, int]]:
    import torch

    ids = [row["chip_id"] for row in chips.rows()]
    latents, low, high = [], 0, 0
    with progress("encoding source chips", len(ids)) as advance:
        for start in range(0, len(ids), _BATCH):
            images = [chips.intensity(chip_id) for chip_id in ids[start : start + _BATCH]]
            values = np.stack([space.to_model(image) for image in images])
            latents.append(latent_space.encode(values, canvas))
            for image in images:
                below, above = space.clipped(image)
                low, high = low + below, high + above
            advance(len(images))
    return torch.cat(latents), (low, high)
