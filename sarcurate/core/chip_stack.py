"""A stack of chips as measures take it: the fit ones for the computation, a reason for each of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcurate.core.measure import Measure
from sarcurate.errors import DataError

NON_FINITE = "non-finite pixels"
NEGATIVE = "negative intensity"
CONSTANT = "constant chip"


@dataclass(frozen=True, eq=False)
class ChipStack:
    """Chips fit for a measure, and why the others are not.

    Args:
        fit: (m, rows, cols) float64 linear intensity, finite, >= 0 and not constant.
        places: (m,) their places among all n chips.
        reasons: (n,) text; empty for the fit ones.
    """

    fit: NDArray[np.float64]
    places: NDArray[np.intp]
    reasons: NDArray[np.str_]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, rows, cols) of all chips."""
        return len(self.reasons), self.fit.shape[1], self.fit.shape[2]

    def measure(self, values: ArrayLike, missing: ArrayLike | None = None, reason: str = "") -> Measure:
        """Measure (n,) from values (m,) of the fit chips, but ``reason`` where ``missing`` (m,) is true."""
        all_values = np.full(len(self.reasons), np.nan)
        all_values[self.places] = values
        gone = self.places[:0] if missing is None else self.places[np.asarray(missing, dtype=bool)]
        if not len(gone):
            return Measure(all_values, self.reasons)
        reasons = self.reasons.astype(object)
        all_values[gone] = np.nan
        reasons[gone] = reason
        return Measure(all_values, reasons.astype(str))


def chip_stack(intensity: NDArray[np.floating] | ChipStack, least_px: int = 1) -> ChipStack:
    """Separate the chips of (n, rows, cols) linear intensity that a measure can be taken of.

    A stack that was separated before stays as it is, if its chips are large enough.

    Raises:
        DataError: for anything but a three-dimensional array of real numbers.
    """
    if isinstance(intensity, ChipStack):
        n, *sides = intensity.shape
        return intensity if min(sides) >= least_px else _too_small(n, sides, least_px)
    chips = np.asarray(intensity)
    if chips.ndim != 3 or chips.dtype.kind not in "fiu":
        raise DataError(
            f"measures: chips have shape {chips.shape} and type {chips.dtype}, expected (n, rows, cols) real",
            fix="give linear intensity chips of one size, stacked",
        )
    if min(chips.shape[1:]) < max(least_px, 1):
        return _too_small(len(chips), chips.shape[1:], least_px)
    low, high = chips.min(axis=(1, 2)), chips.max(axis=(1, 2))
    finite = np.isfinite(low) & np.isfinite(high)
    rules = [~finite, finite & (low < 0), finite & (low == high)]
    reasons = np.select(rules, [NON_FINITE, NEGATIVE, CONSTANT], "")
    places = np.flatnonzero(reasons == "")
    chosen = chips if len(places) == len(chips) else chips[places]
    return ChipStack(np.asarray(chosen, dtype=np.float64), places, reasons)


def _too_small(n: int, sides: Sequence[int], least_px: int) -> ChipStack:
    reasons = np.full(n, f"smaller than {least_px} px")
    return ChipStack(np.empty((0, *sides)), np.empty(0, np.intp), reasons)


def sorted_rows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, pixels) with every row in rising order."""
    narrow = values.astype(np.float32)
    # What came from float32 sorts as such, to the same numbers in half of the time.
    return np.sort(narrow if np.array_equal(narrow, values) else values, axis=1).astype(np.float64)
