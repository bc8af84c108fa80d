"""What came back of chips after a round trip, against what went in: spectrum, law, looks, grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.marginal import QUANTILE_LEVELS, ln_floor, ln_intensity, pooled_quantiles
from sarcurate.core.scorecard import ChipContext
from sarcurate.core.scorecard_columns import RING_COLUMNS
from sarcurate.core.spectrum import log_psd_distance, mean_power_spectrum
from sarcurate.io.scoring import measure_images

Image = NDArray[np.floating]

DB_PER_NEPER = float(10.0 / np.log(10.0))
_RARE = 0.01


@dataclass(frozen=True)
class Grid:
    """Regular grids in a set of chips, as a decoder leaves them; None where no chip is large enough.

    Args:
        checkerboard_ratio, latent_grid_ratio: median spike of period 2 and 8 px over its surroundings.
        checkerboard_fraction, latent_grid_fraction: of chips whose spike has p < 0.01; 0.01 by chance.
    """

    checkerboard_ratio: float | None
    checkerboard_fraction: float | None
    latent_grid_ratio: float | None
    latent_grid_fraction: float | None


@dataclass(frozen=True)
class RoundTrip:
    """What came back against what went in; None where no chip has the measure.

    Args:
        log_psd_distance: mean |difference| of the sets' mean ln power in 12 rings, of intensity; that of
            ``log_psd_distance`` in ``metrics/quality.json``.
        ln_log_psd_distance: the same of ln intensity, which no bright point rules.
        log_variance_ratio: of the mean variance of ln intensity.
        enl_ratio: of the median ENL.
        mean_abs_error_db: of pixels.
        wasserstein_ln: between the two laws of all pixels, nepers of intensity.
        grid: in what came back.
    """

    log_psd_distance: float | None
    ln_log_psd_distance: float | None
    log_variance_ratio: float | None
    enl_ratio: float | None
    mean_abs_error_db: float
    wasserstein_ln: float
    grid: Grid


def compare(images: Sequence[Image], again: Sequence[Image], context: ChipContext) -> RoundTrip:
    """What came back of linear intensity images (rows, cols), in the same order.

    Zeros, and whatever is darker than the pooled ``marginal.ln_floor`` of ``images``, are held there for
    logarithms, before and after alike.

    Raises:
        DataError: for no images, or none with a pixel above zero.
    """
    before, after = measure_images(images, context, None), measure_images(again, context, None)
    floor = ln_floor(images)
    ln_before = [ln_intensity(image, floor) for image in images]
    ln_after = [ln_intensity(image, floor) for image in again]
    errors = [np.abs(a - b).ravel() for a, b in zip(ln_before, ln_after, strict=True)]
    gap = np.abs(pooled_quantiles(ln_before) - pooled_quantiles(ln_after))
    return RoundTrip(
        log_psd_distance=_ring_distance(before, after),
        ln_log_psd_distance=_ln_psd_distance(ln_before, ln_after),
        log_variance_ratio=_variance_ratio(ln_before, ln_after),
        enl_ratio=_enl_ratio(before, after),
        mean_abs_error_db=float(np.concatenate(errors).mean() * DB_PER_NEPER),
        wasserstein_ln=float(np.trapezoid(gap, QUANTILE_LEVELS)),
        grid=grid_of(after),
    )


def grid_of(table: pd.DataFrame) -> Grid:
    """Grids in chips, from their scorecards."""
    return Grid(
        checkerboard_ratio=_median(table, "checkerboard_ratio"),
        checkerboard_fraction=_rare_fraction(table, "checkerboard_p_value"),
        latent_grid_ratio=_median(table, "latent_grid_ratio"),
        latent_grid_fraction=_rare_fraction(table, "latent_grid_p_value"),
    )


def _ring_distance(before: pd.DataFrame, after: pd.DataFrame) -> float | None:
    """Over chips that have rings before and after: none that came back constant."""
    rings = [table[list(RING_COLUMNS)].to_numpy(dtype=np.float64) for table in (before, after)]
    both = np.isfinite(rings[0]).all(axis=1) & np.isfinite(rings[1]).all(axis=1)
    if not both.any():
        return None
    return float(np.abs(rings[0][both].mean(axis=0) - rings[1][both].mean(axis=0)).mean())


def _ln_psd_distance(before: Sequence[Image], after: Sequence[Image]) -> float | None:
    if not any(np.ptp(image) > 0 for image in before) or not any(np.ptp(image) > 0 for image in after):
        return None
    return log_psd_distance(mean_power_spectrum(before), mean_power_spectrum(after))


def _variance_ratio(before: Sequence[Image], after: Sequence[Image]) -> float | None:
    was, now = (float(np.mean([image.var() for image in images])) for images in (before, after))
    return now / was if was > 0 else None


def _enl_ratio(before: pd.DataFrame, after: pd.DataFrame) -> float | None:
    looks, again = _median(before, "enl"), _median(after, "enl")
    return None if looks is None or again is None else again / looks


def _median(table: pd.DataFrame, name: str) -> float | None:
    values = table[name].to_numpy(dtype=np.float64)
    found = values[np.isfinite(values)]
    return float(np.median(found)) if found.size else None


def _rare_fraction(table: pd.DataFrame, name: str) -> float | None:
    values = table[name].to_numpy(dtype=np.float64)
    found = values[np.isfinite(values)]
    return float(np.mean(found < _RARE)) if found.size else None
