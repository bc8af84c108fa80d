"""Memorisation: how near made chips come to single train chips, against train chips among themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from sarcurate.core.measure import Measure
from sarcurate.errors import DataError

Values = NDArray[np.float64]
Folds = NDArray[np.generic]

NON_FINITE = "features are missing"
_CELLS_PER_BLOCK = 2_000_000  # distances held at once


@dataclass(frozen=True, eq=False)
class Memorisation:
    """Nearest train chip of each made chip.

    Args:
        ratio: distance to it over the typical distance of a train chip to the nearest of other folds; 0 is a
            copy, about 1 a new chip.
        nearest: (m,) its place among the train chips; -1 where there is a reason.
    """

    ratio: Measure
    nearest: NDArray[np.intp]


def memorisation_ratio(made: ArrayLike, train: ArrayLike, train_folds: ArrayLike) -> Memorisation:
    """Nearest-neighbour ratio of made chips in a feature space, Euclidean.

    A made chip has all n train chips to be near to, a train chip of k folds only n (k - 1) / k: a new chip
    of the train chips' own law reads somewhat below 1, about ((k - 1) / k)^(1 / d') in d' effective
    dimensions. Fitness of the space, its scaling say, is the caller's.

    Args:
        made: (m, d) features; rows that are not finite have a reason.
        train: (n, d) features of real train chips; rows that are not finite are left out.
        train_folds: (n,) grouped folds, so that no chip of another fold shows the same ground.

    Raises:
        DataError: for shapes that do not fit, fewer than two folds, or train chips that mostly have a copy in
            another fold, so that their typical distance is 0.

    Source: after Meehan, Chaudhuri and Dasgupta 2020, AISTATS, "A non-parametric test to detect
    data-copying": distances of made chips to train are held against those of real chips to train.
    """
    points, known, folds = _checked(made, train, train_folds)
    typical = _typical(_to_other_folds(known, folds))
    fit, usable = np.isfinite(points).all(axis=1), np.flatnonzero(np.isfinite(known).all(axis=1))
    distance, nearest = np.zeros(len(points)), np.full(len(points), -1, dtype=np.intp)
    distance[fit], place = _nearest(points[fit], known[usable])
    nearest[fit] = usable[place]
    return Memorisation(Measure.where(distance / typical, ~fit, NON_FINITE), nearest)


def train_ratios(train: ArrayLike, folds: ArrayLike) -> Values:
    """(n,) the same ratio for train chips to the nearest of other folds: the null; its median is 1.

    NaN for rows that are not finite. Arguments and errors as for :func:`memorisation_ratio`.
    """
    _, known, checked_folds = _checked(train, train, folds)
    distance = _to_other_folds(known, checked_folds)
    return np.asarray(distance / _typical(distance))


def _checked(made: ArrayLike, train: ArrayLike, folds: ArrayLike) -> tuple[Values, Values, Folds]:
    points, known = np.asarray(made, dtype=np.float64), np.asarray(train, dtype=np.float64)
    fold = np.asarray(folds)
    shapes_fit = points.ndim == known.ndim == 2 and points.shape[1] == known.shape[1] > 0
    if not shapes_fit or fold.shape != known.shape[:1]:
        raise DataError(
            f"memorisation: features of shape {points.shape}, train {known.shape}, folds {fold.shape}",
            fix="give (m, d), (n, d) and (n,)",
        )
    usable = np.isfinite(known).all(axis=1)
    if len(np.unique(fold[usable])) < 2:
        raise DataError(
            f"memorisation: {int(usable.sum())} train chips with features lie in fewer than two folds",
            fix="give the grouped folds of the split, two at least",
        )
    return points, known, fold


def _to_other_folds(train: Values, folds: Folds) -> Values:
    """(n,) distance of each train chip to the nearest of other folds; NaN without features."""
    usable = np.isfinite(train).all(axis=1)
    distance = np.full(len(train), np.nan)
    for fold in np.unique(folds[usable]):
        mine, others = usable & (folds == fold), usable & (folds != fold)
        distance[mine] = _nearest(train[mine], train[others])[0]
    return distance


def _typical(distance: Values) -> float:
    typical = float(np.nanmedian(distance))
    if typical <= 0:
        raise DataError(
            "memorisation: most train chips have an equal one in another fold, so no distance is typical",
            fix="take features that tell chips apart, and keep copies in one group when splitting",
        )
    return typical


def _nearest(points: Values, others: Values) -> tuple[Values, NDArray[np.intp]]:
    """Distance (m,) to and place (m,) of the nearest of ``others``, in blocks so that memory stays flat."""
    distance, place = np.empty(len(points)), np.empty(len(points), dtype=np.intp)
    block = max(1, _CELLS_PER_BLOCK // len(others))
    for start in range(0, len(points), block):
        part = slice(start, start + block)
        table = cdist(points[part], others)
        place[part] = table.argmin(axis=1)
        distance[part] = table[np.arange(len(table)), place[part]]
    return distance, place
