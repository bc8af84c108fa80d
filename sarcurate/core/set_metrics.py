"""Distances between sets of vectors: MMD, KID, Frechet, neighbours, and the closed part of a gap.

All but the Frechet distance hold a matrix over pairs of rows: about 100 MB for two sets of 2,000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.spatial.distance import cdist, pdist

from sarcurate.errors import DataError

Matrix = NDArray[np.float64]
Index = NDArray[np.intp]

FRECHET_CHIPS = 2048  # below this the bias of the Frechet distance is of the order of the distance


@dataclass(frozen=True, eq=False)
class KernelSums:
    """Kernel values of two sets, added up between units (a unit is a chip, or a whole group of chips).

    Args:
        xx, yy: (u, u) and (v, v) sums over pairs of chips of different units; 0 within a unit.
        xy: (u, v) sums over all pairs.
        chips_x, chips_y: (u,) and (v,) chips per unit.
    """

    xx: Matrix
    yy: Matrix
    xy: Matrix
    chips_x: Matrix
    chips_y: Matrix


@dataclass(frozen=True)
class Neighbours:
    """Precision and recall (k = 3), density and coverage (k = 5), as fractions; density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


@dataclass(frozen=True)
class Frechet:
    """A Frechet distance, the chips of the smaller set, and a warning before it is quoted ("" if none)."""

    value: float
    n: int
    warning: str


def median_distance(x: ArrayLike) -> float:
    """Median distance between different rows of (n, d): the usual bandwidth of an RBF kernel.

    Source: Gretton et al. (2012), Journal of Machine Learning Research 13:723-773, section 8.

    Raises:
        DataError: for fewer than 2 rows, values that are not finite, or rows that mostly coincide.
    """
    median = float(np.median(pdist(_rows(x, "x"))))
    if median == 0:
        raise DataError("MMD: half of the pairs of chips coincide", fix="look for repeated real train chips")
    return median


def rbf_kernel(x: Matrix, y: Matrix, bandwidth: float) -> Matrix:
    """exp(-|x - y|^2 / (2 bandwidth^2)) between rows: (n, m)."""
    return np.asarray(np.exp(cdist(x, y, "sqeuclidean") / (-2 * bandwidth**2)))


def polynomial_kernel(x: Matrix, y: Matrix) -> Matrix:
    """(x.y/d + 1)^3 between rows: (n, m), the kernel of KID."""
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def mmd2_rbf(x: ArrayLike, y: ArrayLike, bandwidth: float) -> float:
    """Unbiased squared maximum mean discrepancy of (n, d) and (m, d); about 0, also below, for equal laws.

    Source: Gretton et al. (2012), Journal of Machine Learning Research 13:723-773, eq. 3.

    Raises:
        DataError: for fewer than 2 rows, other shapes, or values that are not finite.
    """
    a, b = _two(x, y)
    xx, yy, xy = (rbf_kernel(first, second, bandwidth) for first, second in ((a, a), (b, b), (a, b)))
    return _chip_by_chip(xx, yy, xy)


def kid(x: ArrayLike, y: ArrayLike) -> float:
    """Unbiased squared MMD under the kernel (x.y/d + 1)^3.

    Source: Binkowski et al. (2018), ICLR, section 4.

    Raises:
        DataError: for fewer than 2 rows, other shapes, or values that are not finite.
    """
    a, b = _two(x, y)
    return _chip_by_chip(polynomial_kernel(a, a), polynomial_kernel(b, b), polynomial_kernel(a, b))


def kernel_sums(
    xx: Matrix, yy: Matrix, xy: Matrix, units_x: Index, units_y: Index, n_units: tuple[int, int]
) -> KernelSums:
    """Kernel matrices (n, n), (m, m), (n, m) added up by the unit of each chip, (n,) and (m,).

    ``n_units`` are those of both sets; a unit may have no chip.
    """
    a, b = _membership(units_x, n_units[0]), _membership(units_y, n_units[1])
    within_x, within_y = np.asarray(a.T @ xx @ a), np.asarray(b.T @ yy @ b)
    np.fill_diagonal(within_x, 0.0)
    np.fill_diagonal(within_y, 0.0)
    between = np.asarray(a.T @ xy @ b)
    return KernelSums(within_x, within_y, between, _sizes(a), _sizes(b))


def weighted_mmd2(sums: KernelSums, weights_x: Matrix, weights_y: Matrix) -> Matrix:
    """Unbiased MMD^2 (draws,) of units taken as often as the weights (draws, u) and (draws, v) say.

    Pairs of chips of one unit are left out, whether the unit was drawn once or several times: a chip
    beside its own copy, or beside a chip of its own scene, would say that a set is narrower than the
    population it was drawn from. Bootstrap draws then scatter around the estimate (all weights 1) instead
    of above it. Where sets hardly differ, they scatter more than the estimate itself does.
    NaN where a draw has no pair of different units.
    """
    within_x = _pair_mean(sums.xx, sums.chips_x, weights_x)
    within_y = _pair_mean(sums.yy, sums.chips_y, weights_y)
    crossed = np.einsum("bu,bu->b", weights_x @ sums.xy, weights_y)
    pairs = (weights_x @ sums.chips_x) * (weights_y @ sums.chips_y)
    return within_x + within_y - 2 * _ratio(crossed, pairs)


def neighbours(real: ArrayLike, made: ArrayLike, k_precision: int = 3, k_density: int = 5) -> Neighbours:
    """Precision, recall, density and coverage of made rows (m, d) around real rows (n, d).

    Sources: Kynkaanniemi et al. (2019), NeurIPS, eqs. 1-2; Naeem et al. (2020), ICML, eqs. 3-4.

    Raises:
        DataError: for fewer rows than k + 1, other shapes, or values that are not finite.
    """
    a, b = _two(real, made, least=max(k_precision, k_density) + 1)
    return neighbours_of(cdist(a, a), cdist(b, b), cdist(a, b), k_precision, k_density)


def neighbours_of(
    real: Matrix, made: Matrix, cross: Matrix, k_precision: int = 3, k_density: int = 5
) -> Neighbours:
    """As :func:`neighbours`, from distances (n, n), (m, m) and (n, m)."""
    near_real = cross <= _radius(real, k_precision)[:, None]
    near_made = cross <= _radius(made, k_precision)[None, :]
    ball = _radius(real, k_density)[:, None]
    return Neighbours(
        precision=float(near_real.any(axis=0).mean()),
        recall=float(near_made.any(axis=1).mean()),
        density=float((cross <= ball).sum() / (k_density * cross.shape[1])),
        coverage=float((cross.min(axis=1) <= ball[:, 0]).mean()),
    )


def frechet_distance(x: ArrayLike, y: ArrayLike) -> Frechet:
    """|mean difference|^2 + tr(Cx + Cy - 2 (Cx Cy)^(1/2)) of rows (n, d) and (m, d).

    Source: Dowson and Landau (1982), Journal of Multivariate Analysis 12:450-455; Heusel et al. (2017),
    NeurIPS (FID). Biased upwards, the more the fewer the chips, so a warning comes with fewer than 2,048.

    Raises:
        DataError: for fewer than 2 rows, other shapes, or values that are not finite.
    """
    a, b = _two(x, y)
    cov_a, cov_b = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    scales, axes = np.linalg.eigh(cov_a)
    root = (axes * np.sqrt(np.maximum(scales, 0.0))) @ axes.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0.0)).sum()
    apart = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    value = float(apart + np.trace(cov_a) + np.trace(cov_b) - 2 * shared)
    n = min(len(a), len(b))
    return Frechet(max(value, 0.0), n, _frechet_warning(n))


def signed_root(squared: ArrayLike) -> Matrix:
    """Root of squared distances, negative where their unbiased estimate is.

    A mixture of share p of one law and 1 - p of another has MMD p times theirs; MMD^2 is p^2 times. Parts
    of a gap are therefore taken of roots.
    """
    values = np.asarray(squared, dtype=np.float64)
    return np.asarray(np.sign(values) * np.sqrt(np.abs(values)))


def gap_closed(made: float, source: float, floor: float) -> tuple[float | None, str]:
    """1 - (made - floor)/(source - floor), or None and the reason.

    Args:
        made: distance of the made set to the real target chips.
        source: distance of the source chips as they are.
        floor: distance that real target chips have among themselves.
    """
    if not source > floor:
        return (
            None,
            f"source chips ({source:.3g}) are no farther than real chips from each other ({floor:.3g})",
        )
    return 1 - (made - floor) / (source - floor), ""


def _chip_by_chip(xx: Matrix, yy: Matrix, xy: Matrix) -> float:
    n, m = xy.shape
    sums = kernel_sums(xx, yy, xy, np.arange(n), np.arange(m), (n, m))
    return float(weighted_mmd2(sums, np.ones((1, n)), np.ones((1, m)))[0])


def _membership(units: Index, n_units: int) -> Any:
    """(n, units) ones where a chip belongs to a unit."""
    places = np.arange(units.size), units
    return sparse.csr_array((np.ones(units.size), places), shape=(units.size, n_units))


def _sizes(membership: Any) -> Matrix:
    return np.asarray(membership.sum(axis=0), dtype=np.float64)


def _pair_mean(sums: Matrix, chips: Matrix, weights: Matrix) -> Matrix:
    total = np.einsum("bu,bu->b", weights @ sums, weights)
    pairs = (weights @ chips) ** 2 - weights**2 @ chips**2
    return _ratio(total, pairs)


def _ratio(total: Matrix, pairs: Matrix) -> Matrix:
    return np.asarray(np.divide(total, pairs, out=np.full(total.shape, np.nan), where=pairs > 0))


def _radius(distances: Matrix, k: int) -> Matrix:
    """Distance of each row to its k-th neighbour; place 0 of its sorted distances is itself."""
    return np.asarray(np.partition(distances, k, axis=1)[:, k])


def _frechet_warning(n: int) -> str:
    if n >= FRECHET_CHIPS:
        return ""
    return f"biased upwards with {n} chips, fewer than {FRECHET_CHIPS:,}: compare equal n only, prefer KID"


def _two(x: ArrayLike, y: ArrayLike, least: int = 2) -> tuple[Matrix, Matrix]:
    a, b = _rows(x, "x", least), _rows(y, "y", least)
    if a.shape[1] != b.shape[1]:
        raise DataError(
            f"comparing sets: {a.shape[1]} and {b.shape[1]} columns",
            fix="describe both sets by the same measures",
        )
    return a, b


def _rows(x: ArrayLike, name: str, least: int = 2) -> Matrix:
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < least or rows.shape[1] == 0 or not np.isfinite(rows).all():
        raise DataError(
            f"comparing sets: {name} has shape {rows.shape}, expected finite (n, d), {least} rows or more",
            fix="leave out chips without a whole vector, and compare larger sets",
        )
    return rows
