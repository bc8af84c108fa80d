"""Log-cumulants: mean, variance and third cumulant of ln intensity over a chip or an area of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.chip_stack import ChipStack, chip_stack, sorted_rows
from sarcurate.core.measure import Measure
from sarcurate.errors import DataError

Values = NDArray[np.float64]

LEAST_AREA_PX = 64  # one 8 x 8 window; the third cumulant of fewer pixels is mostly noise


@dataclass(frozen=True, eq=False)
class LnArea:
    """Sorted ln intensity of the measured area of each chip that has one.

    Args:
        ln: (m, pixels) in rising order, +inf behind the last pixel of the area.
        count_px: (m,) pixels in each area.
        chips: which of all chips they are, and why the others are not there.
    """

    ln: Values
    count_px: NDArray[np.intp]
    chips: ChipStack

    def quantiles(self, levels: Values) -> Values:
        """(m, levels) quantiles at probabilities in 0..1, linear between order statistics."""
        place = levels * (self.count_px[:, None] - 1)
        below = np.floor(place).astype(np.intp)
        above = np.minimum(below + 1, self.count_px[:, None] - 1)
        low = np.take_along_axis(self.ln, below, axis=1)
        high = np.take_along_axis(self.ln, above, axis=1)
        return np.asarray(low + (place - below) * (high - low))


@dataclass(frozen=True, eq=False)
class LogCumulants:
    """First three log-cumulants of the areas of an :class:`LnArea`, each (m,): ln intensity to its power."""

    k1: Values
    k2: Values
    k3: Values
    area: LnArea

    def measures(self) -> tuple[Measure, Measure, Measure]:
        """k1, k2 and k3 of all n chips."""
        k1, k2, k3 = (self.area.chips.measure(k) for k in (self.k1, self.k2, self.k3))
        return k1, k2, k3


def ln_area(intensity: NDArray[np.floating] | ChipStack, mask: NDArray[np.bool_] | None = None) -> LnArea:
    """Ln intensity of the pixels of each chip where ``mask`` is true, everywhere without a mask.

    A pixel of zero in the area has no logarithm, so the chip has a reason instead. Who wants empty pixels
    held at a floor does so before, with :func:`sarcurate.core.marginal.ln_floor`.

    Args:
        intensity: (n, rows, cols), linear, >= 0.
        mask: (n, rows, cols), true inside the area.

    Raises:
        DataError: for chips that are no such stack, or a mask of another shape.
    """
    chips = chip_stack(intensity)
    if mask is not None and mask.shape != np.shape(intensity):
        raise DataError(
            f"log-cumulants: the mask has shape {mask.shape}, the chips {np.shape(intensity)}",
            fix="give one mask per chip, of the chips' size",
        )
    flat = chips.fit.reshape(len(chips.fit), chips.fit.shape[1] * chips.fit.shape[2])
    if mask is None:
        inside = np.ones((1, 1), dtype=np.bool_)
        count = np.full(len(flat), flat.shape[1], dtype=np.intp)
        values = sorted_rows(flat)
    else:
        inside = np.asarray(mask, dtype=np.bool_)[chips.places].reshape(flat.shape)
        count = inside.sum(axis=1)
        values = sorted_rows(np.where(inside, flat, np.inf))
    return _logarithms(values, count, chips)


def ln_area_of_sorted(chips: ChipStack, ranked: Values) -> LnArea:
    """As :func:`ln_area` of whole chips, whose pixels (m, pixels) are sorted already."""
    return _logarithms(ranked, np.full(len(ranked), ranked.shape[1], dtype=np.intp), chips)


def _logarithms(values: Values, count: NDArray[np.intp], chips: ChipStack) -> LnArea:
    last = np.take_along_axis(values, np.maximum(count - 1, 0)[:, None], axis=1)[:, 0]
    rules = [count < LEAST_AREA_PX, values[:, 0] == 0, values[:, 0] == last]
    texts = [f"area below {LEAST_AREA_PX} px", "pixels of zero in the area", "constant area"]
    why = np.select(rules, texts, "")
    reasons = chips.reasons.astype(object)
    reasons[chips.places] = why
    good = why == ""
    kept = values if good.all() else values[good]
    left = ChipStack(chips.fit[good], chips.places[good], reasons.astype(str))
    return LnArea(np.log(kept), count[good], left)


def log_cumulants(area: LnArea) -> LogCumulants:
    """Unbiased log-cumulants (k-statistics) of each area.

    For speckle of L looks and mean m: k1 = psi(L) - ln L + ln m, k2 = psi'(L), k3 = psi''(L). The
    k-statistics are unbiased for independent pixels.

    Source: Nicolas 2002, Traitement du Signal 19(3), second-kind cumulants; Fisher 1930 for k-statistics.
    """
    n = area.count_px.astype(np.float64)
    inside = np.isfinite(area.ln)
    k1 = np.sum(area.ln, axis=1, where=inside) / n
    centred = np.where(inside, area.ln - k1[:, None], 0.0)
    squared = centred * centred
    k2 = squared.sum(axis=1) / (n - 1)
    k3 = np.einsum("ij,ij->i", squared, centred) * n / ((n - 1) * (n - 2))
    return LogCumulants(k1, k2, k3, area)
