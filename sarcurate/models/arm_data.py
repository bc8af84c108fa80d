"""From chips to the training and test images of an arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.errors import DataError
from sarcurate.models.resnet import FloatImages, Labels, TrainingSet, to_model_space

LIMIT_PERCENTILES = (0.1, 99.9)


@dataclass(frozen=True)
class LabelledChips:
    """Chips of one set in model space, with what identifies them.

    Args:
        images: (n, image_px, image_px) in -1..1 over ``limits_db``.
        labels: (n,) class indices; pixels_sha256: (n,) of the chips as stored.
        limits_db: dB range that the images span; is_real: True for real chips of the target sensor.
    """

    images: FloatImages
    labels: Labels
    pixels_sha256: tuple[str, ...]
    limits_db: tuple[float, float]
    is_real: bool

    def identity(self) -> list[list[object]]:
        """What decides the network's input, one plain list per chip."""
        return [
            [pixels, int(label), list(self.limits_db), self.is_real]
            for pixels, label in zip(self.pixels_sha256, self.labels, strict=True)
        ]


def limits_db(intensities: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """DB range of a sensor: 0.1 and 99.9 percentile over the positive pixels of its train chips.

    Raises:
        DataError: when all pixels are the same or none is positive.
    """
    pooled = np.concatenate([chip.ravel() for chip in intensities])
    pooled = pooled[pooled > 0]
    if pooled.size == 0 or pooled.min() == pooled.max():
        raise DataError(
            "the train chips are constant, so no dB range exists", fix="check the chips and their radiometry"
        )
    low, high = np.percentile(10.0 * np.log10(pooled.astype(np.float64)), LIMIT_PERCENTILES)
    return float(low), float(high)


def prepare(
    intensities: Sequence[NDArray[np.float32]],
    labels: Sequence[int],
    pixels_sha256: Sequence[str],
    limits: tuple[float, float],
    image_px: int,
    is_real: bool,
) -> LabelledChips:
    """Chips of one set in model space; see :class:`LabelledChips`."""
    images = np.stack([to_model_space(chip, limits, image_px) for chip in intensities])
    return LabelledChips(images, np.asarray(labels, dtype=np.int64), tuple(pixels_sha256), limits, is_real)


def compose(real: LabelledChips, added: Sequence[LabelledChips], repeat_to: int | None) -> TrainingSet:
    """Training set of an arm: real chips (repeated whole to at least ``repeat_to``) and added sets."""
    repeats = 1 if repeat_to is None else max(1, -(-repeat_to // len(real.labels)))
    parts = [real] * repeats + list(added)
    return TrainingSet(
        images=np.concatenate([part.images for part in parts])[:, None],
        labels=np.concatenate([part.labels for part in parts]),
        is_real=np.concatenate([np.full(len(part.labels), part.is_real) for part in parts]),
        db_per_unit=np.concatenate(
            [
                np.full(len(part.labels), (part.limits_db[1] - part.limits_db[0]) / 2, np.float32)
                for part in parts
            ]
        ),
    )
