"""A measure of many chips: a number for each, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Measure:
    """One number per chip, or a reason.

    Args:
        values: (n,) float64; NaN exactly where a reason stands.
        reasons: (n,) text; empty where there is a value.

    Raises:
        ValueError: where a value is missing without a reason, not finite, or has a reason beside it.
    """

    values: NDArray[np.float64]
    reasons: NDArray[np.str_]

    def __post_init__(self) -> None:
        has_value, has_reason = np.isfinite(self.values), self.reasons != ""
        if self.values.shape != self.reasons.shape or not np.array_equal(has_value, ~has_reason):
            raise ValueError("every chip needs either a finite value or a reason")

    @classmethod
    def where(cls, values: ArrayLike, missing: ArrayLike, reason: str) -> Measure:
        """Values (n,), but ``reason`` where ``missing`` (n,) is true."""
        gone = np.asarray(missing, dtype=bool)
        return cls(np.where(gone, np.nan, np.asarray(values, dtype=np.float64)), np.where(gone, reason, ""))

    def column(self) -> list[float | None]:
        """Values for a table: None where there is none."""
        return [
            None if reason else float(value) for value, reason in zip(self.values, self.reasons, strict=True)
        ]
