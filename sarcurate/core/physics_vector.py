"""How far a chip's vector of measures lies from those of one sensor's real train chips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcurate.errors import DataError

Matrix = NDArray[np.float64]

LEAST_CHIPS = 4  # of fewer, shrinkage leaves nothing of what they say
_CONSTANT = 1e-12  # spread of a column below this share of its largest value is rounding dust


@dataclass(frozen=True, eq=False)
class VectorStandard:
    """Where real train chips lie in the space of d measures.

    Args:
        mean: (d,) in the units of the measures.
        std: (d,) in the units of the measures; 1 where all chips agree.
        inverse_covariance: (d, d) of the z-scores, after shrinkage.
    """

    mean: Matrix
    std: Matrix
    inverse_covariance: Matrix


def fit_standard(values: ArrayLike) -> VectorStandard:
    """Standard of real train chips; chips with a missing measure are left out.

    The covariance of the z-scores is shrunk towards a multiple of the identity, since chips are few beside
    measures; see :func:`shrunk_covariance`.

    Args:
        values: (n, d), NaN where a chip has no value.

    Raises:
        DataError: for fewer than 4 whole rows, infinite values, or rows that are all equal.
    """
    table = _vectors(values)
    whole = table[~np.isnan(table).any(axis=1)]
    n, d = len(whole), table.shape[1]
    if n < LEAST_CHIPS:
        raise DataError(
            f"physics vector: {n} of {len(table)} chips have all {d} measures, "
            f"expected {LEAST_CHIPS} or more",
            fix="add real train chips, use chips of 32 px or more, or choose fewer measures",
        )
    mean, std = centre_and_spread(whole)
    covariance = shrunk_covariance((whole - mean) / std)
    scales = np.linalg.eigvalsh(covariance)
    if scales[0] <= _CONSTANT * max(scales[-1], _CONSTANT):
        raise DataError(
            f"physics vector: {n} chips show no spread in some direction of {d} measures",
            fix="look for repeated chips, or leave out measures that follow from others",
        )
    return VectorStandard(mean, std, np.asarray(np.linalg.inv(covariance), dtype=np.float64))


def centre_and_spread(values: Matrix) -> tuple[Matrix, Matrix]:
    """Mean (d,) and standard deviation (d,) of whole rows (n, d); the latter 1 where all rows agree."""
    mean, std = values.mean(axis=0), values.std(axis=0)
    return mean, np.where(std > _CONSTANT * np.abs(values).max(axis=0), std, 1.0)


def shrunk_covariance(values: Matrix) -> Matrix:
    """Covariance (d, d) of rows (n, d), pulled towards m I with m its mean variance.

    With S the covariance (divided by n) and |A|^2 = tr(A A')/d: m = tr(S)/d, d^2 = |S - m I|^2,
    b^2 = min(d^2, sum_k |x_k x_k' - S|^2 / n^2), and the result is b^2/d^2 m I + (1 - b^2/d^2) S.
    The sum needs no loop: sum_k |x_k x_k' - S|^2 = sum_k (x_k'x_k)^2 / d - n |S|^2.
    Source: Ledoit and Wolf (2004), Journal of Multivariate Analysis 88:365-411, lemmas 3.2 to 3.5.
    """
    n, d = values.shape
    centred = values - values.mean(axis=0)
    sample = centred.T @ centred / n
    mean_variance = np.trace(sample) / d
    target = mean_variance * np.eye(d)
    apart = float(((sample - target) ** 2).sum()) / d
    if apart == 0:
        return np.asarray(sample)
    lengths = np.einsum("ij,ij->i", centred, centred)
    noise = (float((lengths**2).sum()) - n * float((sample**2).sum())) / d / n**2
    share = min(max(noise, 0.0), apart) / apart
    return np.asarray(share * target + (1 - share) * sample)


def standardise(values: ArrayLike, standard: VectorStandard) -> Matrix:
    """z-scores (n, d) of measures (n, d); NaN stays.

    Raises:
        DataError: for another number of measures, or infinite values.
    """
    table = _vectors(values)
    if table.shape[1] != standard.mean.size:
        raise DataError(
            f"physics vector: {table.shape[1]} measures, the standard has {standard.mean.size}",
            fix="measure both with the same version: run `dvc repro reference score`",
        )
    return np.asarray((table - standard.mean) / standard.std)


def physics_distance(values: ArrayLike, standard: VectorStandard) -> Matrix:
    """Mahalanobis distance (n,) divided by sqrt(d): root mean square 1 for chips like the real ones.

    NaN for a chip with a missing measure. Source: Mahalanobis (1936), Proceedings of the National
    Institute of Sciences of India 2:49-55.

    Raises:
        DataError: as :func:`standardise`.
    """
    z = standardise(values, standard)
    squared = np.einsum("ij,ij->i", z @ standard.inverse_covariance, z)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0) / z.shape[1]))


def left_out_distances(values: ArrayLike, folds: ArrayLike) -> Matrix:
    """Distance (n,) of each real train chip to the standard of the other folds.

    A chip pulls a standard that it is part of towards itself, so its distance there is too small to be
    compared with a made chip's.

    Args:
        values: (n, d), NaN where a chip has no value.
        folds: (n,) fold of each chip.

    Raises:
        DataError: for folds that do not match, one fold alone, or as :func:`fit_standard`.
    """
    table, of_chip = _vectors(values), np.asarray(folds)
    names = np.unique(of_chip)
    if of_chip.shape != (len(table),) or names.size < 2:
        raise DataError(
            f"physics vector: {len(table)} chips with {of_chip.shape} folds, {names.size} distinct",
            fix="give one fold per chip and at least 2 folds",
        )
    distances = np.full(len(table), np.nan)
    for name in names:
        out = of_chip == name
        distances[out] = physics_distance(table[out], fit_standard(table[~out]))
    return distances


def _vectors(values: ArrayLike) -> Matrix:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] == 0 or np.isinf(table).any():
        raise DataError(
            f"physics vector: shape {table.shape} with {int(np.isinf(table).sum())} infinite values, "
            "expected finite (n, d) or NaN",
            fix="give one row per chip and one column per measure",
        )
    return table
