"""Random draws of whole groups of chips: bootstrap draws, and halvings of one set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcurate.errors import DataError, ParamsError

Weights = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Units:
    """What is drawn as a whole: groups of chips, or chips where groups are too few.

    Args:
        names: (u,) distinct, sorted.
        index: (n,) unit of each chip.
        are_groups: False where chips are drawn one by one.
    """

    names: NDArray[np.str_]
    index: NDArray[np.intp]
    are_groups: bool

    def __len__(self) -> int:
        return len(self.names)


def units_of(chip_ids: ArrayLike, group_ids: ArrayLike, least_groups: int) -> Units:
    """Groups of the chips, or every chip by itself where there are fewer than ``least_groups``.

    Args:
        chip_ids: (n,) text.
        group_ids: (n,) text; empty for a chip that belongs to no group and stands for itself.
        least_groups: fewest groups worth drawing from.

    Raises:
        DataError: for shapes that do not match.
    """
    chips, groups = np.asarray(chip_ids, dtype=np.str_), np.asarray(group_ids, dtype=np.str_)
    if chips.ndim != 1 or chips.shape != groups.shape:
        raise DataError(
            f"drawing groups: {chips.shape} chips with {groups.shape} groups", fix="give one group per chip"
        )
    names, index = np.unique(np.where(groups == "", chips, groups), return_inverse=True)
    if len(names) >= least_groups:
        return Units(names, index, are_groups=True)
    names, index = np.unique(chips, return_inverse=True)
    return Units(names, index, are_groups=False)


def bootstrap_weights(n_units: int, draws: int, seed: int | Sequence[int]) -> Weights:
    """How often each draw (draws, n_units) holds each unit: n_units drawn with replacement.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 8 (whole groups).

    Raises:
        ParamsError: for draws < 1.
    """
    if draws < 1:
        raise ParamsError(f"bootstrap: draws={draws}, expected at least 1", fix="use 1000 draws")
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=draws).astype(np.float64)


def halvings(n_units: int, count: int, seed: int | Sequence[int]) -> Weights:
    """1 for the units (count, n_units) in the first half, 0 for the others: random halves, one apart at most.

    Raises:
        DataError: for fewer than 4 units, since a half of one unit has no pairs.
    """
    if n_units < 4:
        raise DataError(
            f"halving a set: {n_units} groups or chips, expected at least 4",
            fix="real-versus-real floors need more real train chips",
        )
    rng = np.random.default_rng(seed)
    ranks = rng.permuted(np.tile(np.arange(n_units), (count, 1)), axis=1)
    return (ranks < n_units // 2).astype(np.float64)


def unit_means(values: Weights, units: Units, weights: Weights) -> Weights:
    """Mean (draws, k) over chips of values (n, k), each chip as often as its unit (draws, u) was drawn.

    A chip with NaN in any column is left out; NaN for a draw without any chip.
    """
    whole = ~np.isnan(values).any(axis=1)
    index, n_units = units.index[whole], len(units)
    sums = np.stack([_unit_sums(column, index, n_units) for column in values[whole].T], axis=1)
    counts = weights @ _unit_sums(np.ones(index.size), index, n_units)
    gone = np.full((len(weights), values.shape[1]), np.nan)
    return np.asarray(np.divide(weights @ sums, counts[:, None], out=gone, where=counts[:, None] > 0))


def unit_medians(values: Weights, units: Units, weights: Weights) -> Weights:
    """Median (draws,) over chips of values (n,), each chip as often as its unit (draws, u) was drawn.

    NaN values are left out; NaN for a draw without any value.
    """
    found = np.flatnonzero(~np.isnan(values))
    order = found[np.argsort(values[found], kind="stable")]
    if order.size == 0:
        return np.full(len(weights), np.nan)
    below = np.cumsum(weights[:, units.index[order]], axis=1)
    half = below[:, -1:] / 2
    first = (below < half).sum(axis=1)
    second = np.minimum((below <= half).sum(axis=1), order.size - 1)
    medians = (values[order[first]] + values[order[second]]) / 2
    return np.asarray(np.where(half[:, 0] > 0, medians, np.nan))


def _unit_sums(values: Weights, index: NDArray[np.intp], n_units: int) -> Weights:
    return np.asarray(np.bincount(index, weights=values, minlength=n_units))
