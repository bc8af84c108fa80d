"""Levels of a chip: dynamic range, saturation, and its noise floor against the sensor's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.chip_stack import ChipStack, chip_stack, sorted_rows
from sarcurate.core.marginal import FLOOR_SHARE
from sarcurate.core.measure import Measure
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.window_statistics import SATURATED_PX
from sarcurate.errors import DataError

Values = NDArray[np.float64]

LOW_LEVEL, HIGH_LEVEL = 0.01, 0.999
UNCALIBRATED = "not calibrated: neither sigma0 nor beta0"
NO_NESZ = "the sensor's NESZ is not known"


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels of each chip.

    Args:
        dynamic_range_db: 99.9 % over 1 % quantile of the pixels above zero.
        saturated_fraction: share of pixels that have the chip's largest value; 0 where fewer than 4 do.
        noise_floor_db: 1 % quantile of the pixels above zero, 10 log10 of the intensity's own unit.
    """

    dynamic_range_db: Measure
    saturated_fraction: Measure
    noise_floor_db: Measure


def levels(intensity: NDArray[np.floating]) -> Levels:
    """Dynamic range, saturation and noise floor of each chip of (n, rows, cols) linear intensity.

    The 1 % quantile is the noise only where a chip has shadow or dark water; of speckle without any it
    follows the clutter (ln(1 / 0.99), -20 dB of the mean, for one look).

    Raises:
        DataError: for anything but such a stack.
    """
    chips = chip_stack(intensity)
    return levels_of_sorted(chips, sorted_pixels(chips))


def sorted_pixels(chips: ChipStack) -> Values:
    """(m, pixels) of the fit chips, in rising order."""
    return sorted_rows(chips.fit.reshape(len(chips.fit), -1) if len(chips.fit) else np.empty((0, 1)))


def levels_of_sorted(chips: ChipStack, ranked: Values) -> Levels:
    """As :func:`levels`, from chips whose pixels are sorted already, by :func:`sorted_pixels`."""
    empty = (ranked == 0).sum(axis=1)
    low, high = (_quantile(ranked, empty, level) for level in (LOW_LEVEL, HIGH_LEVEL))
    full = (ranked == ranked[:, -1:]).sum(axis=1)
    share = np.where(full >= SATURATED_PX, full / ranked.shape[1], 0.0)
    return Levels(
        dynamic_range_db=chips.measure(10 * np.log10(high / low)),
        saturated_fraction=chips.measure(share),
        noise_floor_db=chips.measure(10 * np.log10(low)),
    )


def floors_of_sorted(ranked: Values) -> Values:
    """:func:`sarcurate.core.marginal.ln_floor` of each chip alone (m,), from sorted pixels (m, pixels)."""
    empty = (ranked == 0).sum(axis=1)
    least = np.take_along_axis(ranked, empty[:, None], axis=1)[:, 0]
    return np.maximum(least / 4, FLOOR_SHARE * _quantile(ranked, empty, 0.5))


def noise_over_nesz(noise_floor_db: Measure, domain: Radiometry, nesz_db: float | None) -> Measure:
    """How far each chip's noise floor lies above the sensor's noise-equivalent backscatter, in dB.

    Only sigma0 and beta0 have the unit that the NESZ is given in; other kinds have a reason.

    Raises:
        DataError: for a NESZ that is not finite.
    """
    if nesz_db is not None and not np.isfinite(nesz_db):
        raise DataError(f"noise floor: the NESZ is {nesz_db} dB, expected finite", fix="correct the NESZ")
    calibrated = domain in (Radiometry.SIGMA0, Radiometry.BETA0)
    if nesz_db is None or not calibrated:
        why = NO_NESZ if calibrated else UNCALIBRATED
        reasons = np.where(noise_floor_db.reasons == "", why, noise_floor_db.reasons)
        return Measure(np.full(len(reasons), np.nan), reasons)
    return Measure(noise_floor_db.values - nesz_db, noise_floor_db.reasons)


def _quantile(ranked: Values, first: NDArray[np.intp], level: float) -> Values:
    """Quantile (m,) of the sorted pixels (m, pixels) from place ``first`` (m,) on."""
    last = ranked.shape[1] - 1
    place = first + level * (last - first)
    below = np.floor(place).astype(np.intp)
    pair = np.stack([below, np.minimum(below + 1, last)], axis=1)
    low, high = np.take_along_axis(ranked, pair, axis=1).T
    return np.asarray(low + (place - below) * (high - low))
