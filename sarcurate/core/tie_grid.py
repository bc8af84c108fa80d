"""A quantity known at the nodes of a grid of pixel positions, and between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class TieGrid:
    """Values at the crossings of some rows and columns, bilinear between them and held beyond the outer ones.

    Args:
        rows_px: (m,) rows of the nodes, rising; one is enough for a value that does not change along rows.
        cols_px: (n,) columns of the nodes, rising.
        values: (m, n) finite.

    Raises:
        ValueError: where rows or columns do not rise, or shapes do not agree.
    """

    rows_px: NDArray[np.float64]
    cols_px: NDArray[np.float64]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        rising = all(np.all(np.diff(axis) > 0) for axis in (self.rows_px, self.cols_px))
        if self.values.shape != (len(self.rows_px), len(self.cols_px)) or not self.values.size or not rising:
            raise ValueError(
                f"grid of {self.values.shape} values for {len(self.rows_px)} rising rows "
                f"and {len(self.cols_px)} rising columns"
            )

    @classmethod
    def constant(cls, value: float) -> TieGrid:
        """The same value everywhere."""
        return cls(np.zeros(1), np.zeros(1), np.array([[float(value)]]))

    def at(self, rows_px: ArrayLike, cols_px: ArrayLike) -> NDArray[np.float64]:
        """Values (len(rows_px), len(cols_px)) at the crossings of these rows and columns."""
        along_rows = _weights(self.rows_px, np.atleast_1d(np.asarray(rows_px, dtype=np.float64)))
        along_cols = _weights(self.cols_px, np.atleast_1d(np.asarray(cols_px, dtype=np.float64)))
        return along_rows @ self.values @ along_cols.T

    def at_points(self, rows_px: ArrayLike, cols_px: ArrayLike) -> NDArray[np.float64]:
        """Values (n,) at n positions, given as n rows and n columns."""
        along_rows = _weights(self.rows_px, np.atleast_1d(np.asarray(rows_px, dtype=np.float64)))
        along_cols = _weights(self.cols_px, np.atleast_1d(np.asarray(cols_px, dtype=np.float64)))
        values: NDArray[np.float64] = ((along_rows @ self.values) * along_cols).sum(axis=1)
        return values

    def at_point(self, row_px: float, col_px: float) -> float:
        """The value at one position."""
        return float(self.at(row_px, col_px)[0, 0])


def _weights(nodes: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(points, nodes) weights of linear interpolation."""
    weights = np.zeros((len(points), len(nodes)))
    if len(nodes) == 1:
        weights[:] = 1.0
        return weights
    held = np.clip(points, nodes[0], nodes[-1])
    left = np.clip(np.searchsorted(nodes, held, side="right") - 1, 0, len(nodes) - 2)
    share = (held - nodes[left]) / (nodes[left + 1] - nodes[left])
    index = np.arange(len(points))
    weights[index, left] = 1.0 - share
    weights[index, left + 1] = share
    return weights
