"""The marginal law of ln intensity: pooled quantiles, and a monotone map from one law to another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from sarcurate.errors import DataError

Image = NDArray[np.floating]
Levels = NDArray[np.float64]

# 512 levels, dense in both tails: a target's few brightest pixels are what it is recognised by.
QUANTILE_LEVELS: Levels = np.asarray(ndtr(np.linspace(-4.0, 4.0, 512)))
# Logarithm of empty pixels: at least this share of the median (-60 dB), and a quarter of the smallest value.
FLOOR_SHARE = 1e-6


def ln_floor(chips: Sequence[Image]) -> float:
    """Intensity that empty pixels take before the logarithm.

    Below every measured value, yet not so far that empty pixels own the spectrum.

    Raises:
        DataError: when no pixel is above zero.
    """
    positive = np.concatenate([chip[chip > 0] for chip in chips])
    if not positive.size:
        raise DataError("ln intensity: all pixels are zero", fix="leave out empty chips")
    return float(max(positive.min() / 4, FLOOR_SHARE * np.median(positive)))


def ln_intensity(chip: Image, floor: float) -> NDArray[np.float64]:
    """Natural logarithm of linear intensity, values below ``floor`` held there."""
    return np.asarray(np.log(np.maximum(np.asarray(chip, dtype=np.float64), floor)))


def pooled_quantiles(images: Sequence[Image]) -> Levels:
    """Quantiles of the pixels of all images together, at ``QUANTILE_LEVELS``."""
    pooled = np.concatenate([image.ravel() for image in images])
    return np.asarray(np.quantile(pooled, QUANTILE_LEVELS), dtype=np.float64)


def match_quantiles(values: Image, source: Levels, target: Levels) -> NDArray[np.float64]:
    """Monotone map taking the ``source`` quantiles to the ``target`` quantiles (same levels, both sorted).

    Equal source quantiles (values that many pixels share) go to the middle of their target quantiles;
    values beyond the ends are shifted as the end is, a constant gain for logarithms.
    """
    knots, inverse = np.unique(source, return_inverse=True)
    images = np.bincount(inverse, weights=target) / np.bincount(inverse)
    inside = np.interp(values, knots, images)
    beyond = np.clip(values - knots[-1], 0, None) + np.clip(values - knots[0], None, 0)
    return np.asarray(inside + beyond, dtype=np.float64)
