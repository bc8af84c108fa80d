"""Distances of one score table to another, as functions of how often each group of chips is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.group_draws import Units, unit_means, unit_medians, units_of
from sarcurate.core.physics_vector import centre_and_spread
from sarcurate.core.scorecard_columns import RING_COLUMNS, VECTOR
from sarcurate.core.set_metrics import (
    kernel_sums,
    median_distance,
    polynomial_kernel,
    rbf_kernel,
    signed_root,
    weighted_mmd2,
)
from sarcurate.errors import DataError

Matrix = NDArray[np.float64]
Weighted = Callable[[Matrix, Matrix], Matrix]  # weights (draws, u) of x and (draws, v) of y to (draws,)

LEAST_CHIPS = 8  # real chips with a whole vector: two halves with pairs, and 5 neighbours for each chip
LEAST_REAL_GROUPS, LEAST_MADE_GROUPS = 4, 2
NEEDED = ("chip_id", "group_id", "enl", "log_cumulant_2", "wasserstein_ln", *RING_COLUMNS, *VECTOR)


@dataclass(frozen=True, eq=False)
class Scale:
    """Mean (d,) and standard deviation (d,) of the real chips' physics vectors, which give z-scores."""

    mean: Matrix
    std: Matrix


@dataclass(frozen=True, eq=False)
class Sample:
    """A set as it is compared: all of it, or a random choice of chips where it is larger than the cap.

    Args:
        n_chips, n_without_vector: of the whole set.
        table: (n, columns) the chips compared.
        units: groups (or chips) of those.
        whole: (m,) places of chips with a whole physics vector, and ``z`` (m, d) their z-scores.
        features: (n, f) of a network, or None.
    """

    name: str
    n_chips: int
    n_without_vector: int
    table: pd.DataFrame
    units: Units
    whole: NDArray[np.intp]
    z: Matrix
    features: Matrix | None

    def column(self, name: str) -> Matrix:
        """(n,) values, NaN where a chip has none."""
        return self.table[name].to_numpy(dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Distance:
    """A distance between two samples.

    Args:
        name: of the number in the result.
        between: prepares the distance of two samples as a function of the weights of their units.
        root: whether it is a squared distance, whose root tells what part of a gap is closed.
        folded: whether it is an absolute value, which the noise of a draw can only raise.
    """

    name: str
    between: Callable[[Sample, Sample], Weighted]
    root: bool = False
    folded: bool = False

    def centred(self, draws: Matrix, estimate: float) -> Matrix:
        """The draws (draws,), moved to the estimate where their own noise has lifted them off it."""
        if not self.folded or not np.isfinite(draws).any():
            return draws
        return np.maximum(draws - (np.nanmean(draws) - estimate), 0.0)

    def for_gap(self, values: Matrix) -> Matrix:
        """The values in which a half-and-half mixture closes half of a gap."""
        return signed_root(values) if self.root else values


def real_scale(real: pd.DataFrame) -> Scale:
    """Scale of the real chips' physics vectors.

    Raises:
        DataError: for a table without a needed column, or too few chips with a whole vector.
    """
    vectors = _vectors("real", real)
    whole = vectors[~np.isnan(vectors).any(axis=1)]
    if len(whole) < LEAST_CHIPS:
        raise DataError(
            f"quality of sets: {len(whole)} of {len(real)} real train chips have a whole physics vector, "
            f"expected {LEAST_CHIPS} or more",
            fix="add real train chips, of 32 px or more",
        )
    return Scale(*centre_and_spread(whole))


def sample(
    name: str,
    table: pd.DataFrame,
    features: NDArray[np.floating] | None,
    scale: Scale,
    least_groups: int,
    cap: int,
    seed: int,
) -> Sample:
    """The set, or ``cap`` chips of it chosen at random by ``seed``.

    Raises:
        DataError: for a table without a needed column, or features that do not fit its rows.
    """
    vectors = _vectors(name, table)
    if features is not None and (features.ndim != 2 or len(features) != len(table)):
        raise DataError(
            f"quality of sets: features {features.shape} of {name}, which has {len(table)} chips",
            fix="give one row of features per chip, in the order of the table",
        )
    kept = np.arange(len(table))
    if len(table) > cap:
        kept = np.sort(np.random.default_rng([seed, 3]).choice(len(table), cap, replace=False))
    used = table.iloc[kept].reset_index(drop=True)
    missing = np.asarray(np.isnan(vectors).any(axis=1))
    whole = np.flatnonzero(~missing[kept])
    return Sample(
        name=name,
        n_chips=len(table),
        n_without_vector=int(missing.sum()),
        table=used,
        units=units_of(used["chip_id"], used["group_id"].fillna(""), least_groups),
        whole=whole,
        z=(vectors[kept][whole] - scale.mean) / scale.std,
        features=None if features is None else np.asarray(features, dtype=np.float64)[kept],
    )


def distances(bandwidth: float, with_features: bool) -> list[Distance]:
    """All distances of sets, MMD first; ``bandwidth`` is that of its kernel."""
    learned = [Distance("kid_features", _kid, root=True)] if with_features else []
    return [
        Distance("mmd_physics", partial(_mmd, bandwidth)),
        *learned,
        Distance("log_psd_distance", _log_psd, folded=True),
        Distance("median_enl_ln_ratio", _median_enl_ratio, folded=True),
        Distance("log_cumulant_2_ln_ratio", _log_cumulant_ratio, folded=True),
        Distance("wasserstein_ln", _wasserstein),
    ]


def physics_bandwidth(real: Sample) -> float:
    """Median distance of the real chips' z-scores.

    Raises:
        DataError: where most of them coincide.
    """
    return median_distance(real.z)


def median_enl(one: Sample, weights: Matrix) -> Matrix:
    """Median ENL (draws,) over the chips that have one."""
    return unit_medians(one.column("enl"), one.units, weights)


def _mmd(bandwidth: float, x: Sample, y: Sample) -> Weighted:
    """Signed root of MMD^2 of the z-scores."""
    squared = _kernel_distance(x, y, x.z, y.z, x.whole, y.whole, partial(_rbf, bandwidth))
    return lambda weights_x, weights_y: signed_root(squared(weights_x, weights_y))


def _rbf(bandwidth: float, a: Matrix, b: Matrix) -> Matrix:
    return rbf_kernel(a, b, bandwidth)


def _kid(x: Sample, y: Sample) -> Weighted:
    if x.features is None or y.features is None:
        raise ValueError("KID of a set without features")
    rows = np.arange(len(x.features)), np.arange(len(y.features))
    return _kernel_distance(x, y, x.features, y.features, *rows, polynomial_kernel)


def _kernel_distance(
    x: Sample,
    y: Sample,
    a: Matrix,
    b: Matrix,
    rows_a: NDArray[np.intp],
    rows_b: NDArray[np.intp],
    kernel: Callable[[Matrix, Matrix], Matrix],
) -> Weighted:
    units = x.units.index[rows_a], y.units.index[rows_b]
    sums = kernel_sums(kernel(a, a), kernel(b, b), kernel(a, b), *units, (len(x.units), len(y.units)))
    return partial(weighted_mmd2, sums)


def _log_psd(x: Sample, y: Sample) -> Weighted:
    """Mean absolute difference of the sets' mean rings, ln of relative power."""

    def rings(one: Sample, weights: Matrix) -> Matrix:
        return unit_means(one.table[list(RING_COLUMNS)].to_numpy(dtype=np.float64), one.units, weights)

    return lambda weights_x, weights_y: np.abs(rings(x, weights_x) - rings(y, weights_y)).mean(axis=1)


def _median_enl_ratio(x: Sample, y: Sample) -> Weighted:
    return lambda weights_x, weights_y: _ln_ratio(median_enl(x, weights_x), median_enl(y, weights_y))


def _log_cumulant_ratio(x: Sample, y: Sample) -> Weighted:
    def mean(one: Sample, weights: Matrix) -> Matrix:
        return unit_means(one.column("log_cumulant_2")[:, None], one.units, weights)[:, 0]

    return lambda weights_x, weights_y: _ln_ratio(mean(x, weights_x), mean(y, weights_y))


def _wasserstein(x: Sample, y: Sample) -> Weighted:
    """Mean over y's chips of their own distance to the pooled real law; x is already in that law."""
    values = y.column("wasserstein_ln")[:, None]
    return lambda _, weights_y: unit_means(values, y.units, weights_y)[:, 0]


def _ln_ratio(a: Matrix, b: Matrix) -> Matrix:
    """|ln(a/b)|; NaN unless both are above 0."""
    fit = (a > 0) & (b > 0)
    return np.where(fit, np.abs(np.log(np.where(fit, a, 1.0)) - np.log(np.where(fit, b, 1.0))), np.nan)


def _vectors(name: str, table: pd.DataFrame) -> Matrix:
    gone = [column for column in NEEDED if column not in table]
    if gone:
        raise DataError(
            f"quality of sets: the score table of {name} has no columns {', '.join(gone[:5])}",
            fix="run `dvc repro reference score`",
        )
    return table[list(VECTOR)].to_numpy(dtype=np.float64)
