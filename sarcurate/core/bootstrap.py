"""Bootstrap over test groups and training seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcurate.core.classification import Scores, class_indices, confusion_matrix, scores
from sarcurate.core.statistics import Interval, check_level
from sarcurate.errors import DataError, ParamsError

FloatArray = NDArray[np.float64]
SCORE_NAMES = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "balanced_accuracy")
# Bounds memory only; the draws come from their own streams, so results do not depend on it.
_CELLS_PER_BLOCK = 4_000_000


@dataclass(frozen=True)
class Difference:
    """Accuracy of arm a minus arm b: interval as fractions, and a two-sided bootstrap p-value."""

    estimate: float
    low: float
    high: float
    p_value: float


def hierarchical_bootstrap(
    values: ArrayLike, groups: ArrayLike, *, draws: int, seed: int, level: float = 0.95
) -> Interval:
    """Percentile interval of the mean of per-chip values (correctness, say) over training seeds.

    Every draw resamples whole test groups, then training seeds, with replacement. Every seed meets every
    chip, so the two are crossed and a draw uses one set of groups for all seeds; this errs on the wide side
    (Owen, 2007, Annals of Applied Statistics 1:386-411). With s seeds the seed part of the variance is low
    by (s - 1)/s, and is absent with one seed; with few groups percentile intervals are too narrow. In
    simulation, nominal 95 % intervals cover 91 % with 10 groups, and where the spread of seeds dominates
    80 % with 3 seeds, 88 % with 5 and 93 % with 10.

    Args:
        values: booleans or numbers, shape (seeds, n_test).
        groups: scene, pass or spatial group of each chip, shape (n_test,).
        draws: bootstrap draws.
        seed: of the resampling.
        level: confidence level.

    Raises:
        DataError: for shapes that do not match, values that are not finite, or fewer than 2 groups.
        ParamsError: for draws < 1 or a level outside (0, 1).
    """
    array = _checked_values(values)
    index, sizes = _grouped(groups, array.shape[1])
    sums = _group_sums(array, index, sizes.size)
    means = _resampled_means(sums, sizes, draws, seed)
    return _percentile(float(array.mean()), means, level)


def bootstrap_scores(
    truth: ArrayLike,
    predictions: ArrayLike,
    groups: ArrayLike,
    *,
    n_classes: int,
    draws: int,
    seed: int,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals of the scores of one arm, resampled as in :func:`hierarchical_bootstrap`.

    The estimate is the mean over training seeds of the score of one run, so the macro scores are those to
    expect of one run and not of pooled predictions. A draw without a chip of a class averages the others.

    Args:
        truth: class indices, shape (n_test,).
        predictions: class indices, shape (seeds, n_test).
        groups: scene, pass or spatial group of each chip, shape (n_test,).
        n_classes: number of classes.
        draws: bootstrap draws.
        seed: of the resampling.
        level: confidence level.

    Returns:
        One interval, as fractions, for each of ``SCORE_NAMES``.

    Raises:
        DataError: for shapes or indices that do not match, or fewer than 2 groups.
        ParamsError: for draws < 1 or a level outside (0, 1).
    """
    true, guess = _checked_predictions(truth, predictions, n_classes)
    index, sizes = _grouped(groups, true.size)
    whole = scores(confusion_matrix(true, guess, n_classes))
    counts = [_group_confusions(true, run, index, sizes.size, n_classes) for run in guess]
    blocks = [
        _block_scores(counts, group_weights, seed_weights, n_classes)
        for group_weights, seed_weights in _weights(sizes.size, len(counts), draws, seed, n_classes**2)
    ]
    drawn = np.concatenate(blocks)
    estimates = _stacked(whole).mean(axis=0)
    return {name: _percentile(float(estimates[i]), drawn[:, i], level) for i, name in enumerate(SCORE_NAMES)}


def paired_difference(
    truth: ArrayLike,
    predictions_a: ArrayLike,
    predictions_b: ArrayLike,
    groups: ArrayLike,
    *,
    seeds_paired: bool,
    draws: int,
    seed: int,
    level: float = 0.95,
) -> Difference:
    """Accuracy of arm a minus arm b on the same test chips, resampled over groups and then training seeds.

    The p-value is twice the smaller share of draws at or beyond zero, with one added to both counts so that
    it is never 0 (Davison and Hinkley, 1997, section 4.2); its smallest value is 2/(draws + 1).

    Args:
        truth: class indices, shape (n_test,).
        predictions_a: class indices, shape (seeds_a, n_test).
        predictions_b: class indices, shape (seeds_b, n_test).
        groups: scene, pass or spatial group of each chip, shape (n_test,).
        seeds_paired: True where row i of both arms was trained from the same seed; rows are drawn together.
        draws: bootstrap draws.
        seed: of the resampling.
        level: confidence level.

    Raises:
        DataError: for shapes that do not match, or fewer than 2 groups.
        ParamsError: for draws < 1 or a level outside (0, 1).
    """
    hits_a, hits_b = _hits(truth, predictions_a), _hits(truth, predictions_b)
    index, sizes = _grouped(groups, hits_a.shape[1])
    estimate = float(hits_a.mean() - hits_b.mean())
    if seeds_paired:
        if hits_a.shape != hits_b.shape:
            raise DataError(
                f"paired difference: {len(hits_a)} seeds of one arm cannot be paired with {len(hits_b)}",
                fix="train both arms from the same seeds, or say that seeds are not paired",
            )
        drawn = _resampled_means(_group_sums(hits_a - hits_b, index, sizes.size), sizes, draws, seed)
    else:
        drawn = _resampled_means(_group_sums(hits_a, index, sizes.size), sizes, draws, seed)
        other = _group_sums(hits_b, index, sizes.size)
        drawn = drawn - _resampled_means(other, sizes, draws, seed, seed_stream=2)
    interval = _percentile(estimate, drawn, level)
    return Difference(estimate, interval.low, interval.high, _two_sided_p(drawn))


def _two_sided_p(drawn: FloatArray) -> float:
    below, above = int((drawn <= 0).sum()), int((drawn >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + drawn.size))


def _hits(truth: ArrayLike, predictions: ArrayLike) -> FloatArray:
    true, guess = np.asarray(truth), np.asarray(predictions)
    if true.ndim != 1 or guess.ndim != 2 or guess.shape[1] != true.size:
        raise _shape_error(true.shape, guess.shape)
    return _checked_values(guess == true)


def _checked_values(values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all():
        raise DataError(
            f"bootstrap: expected finite values of shape (seeds, n_test), found shape {array.shape}",
            fix="give one row per training seed and one column per test chip",
        )
    return array


def _checked_predictions(
    truth: ArrayLike, predictions: ArrayLike, n_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    true = class_indices(truth, n_classes, "truth")
    guess = class_indices(predictions, n_classes, "predictions")
    if true.ndim != 1 or guess.ndim != 2 or guess.shape[1] != true.size or guess.size == 0:
        raise _shape_error(true.shape, guess.shape)
    return true, guess


def _shape_error(truth: tuple[int, ...], predictions: tuple[int, ...]) -> DataError:
    return DataError(
        f"bootstrap: truth of shape {truth} does not match predictions of shape {predictions}",
        fix="give truth as (n_test,) and predictions as (seeds, n_test), in the same chip order",
    )


def _grouped(groups: ArrayLike, n_test: int) -> tuple[NDArray[np.intp], FloatArray]:
    """Group number of each chip and chips per group."""
    names = np.asarray(groups)
    if names.shape != (n_test,):
        raise DataError(
            f"bootstrap: expected one group per test chip, shape ({n_test},), found {names.shape}",
            fix="take group_id of the test manifest in the order of the predictions",
        )
    _, index, sizes = np.unique(names, return_inverse=True, return_counts=True)
    if sizes.size < 2:
        raise DataError(
            f"bootstrap: found {sizes.size} test group, expected at least 2",
            fix="test on chips of several scenes, passes or spatial groups; one group has no spread",
        )
    return index, sizes.astype(np.float64)


def _group_sums(values: FloatArray, index: NDArray[np.intp], n_groups: int) -> FloatArray:
    return np.stack([np.bincount(index, weights=row, minlength=n_groups) for row in values])


def _group_confusions(
    true: NDArray[np.int64], run: NDArray[np.int64], index: NDArray[np.intp], n_groups: int, n_classes: int
) -> FloatArray:
    """Confusion counts of one run, shape (groups, n_classes^2)."""
    cells = (index * n_classes + true) * n_classes + run
    counts = np.bincount(cells, minlength=n_groups * n_classes**2)
    return counts.reshape(n_groups, n_classes**2).astype(np.float64)


def _weights(
    n_groups: int, n_seeds: int, draws: int, seed: int, width: int, seed_stream: int = 1
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """How often each draw holds each group and each seed, in blocks of draws: (k, groups), (k, seeds)."""
    if draws < 1:
        raise ParamsError(f"bootstrap: draws={draws}, expected at least 1", fix="use 10000 draws")
    of_groups = np.random.default_rng([seed, 0])
    of_seeds = np.random.default_rng([seed, seed_stream])
    block = max(1, _CELLS_PER_BLOCK // max(n_groups, width))
    for start in range(0, draws, block):
        k = min(block, draws - start)
        group_weights = of_groups.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=k)
        seed_weights = of_seeds.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=k)
        yield group_weights.astype(np.float64), seed_weights.astype(np.float64)


def _resampled_means(
    sums: FloatArray, sizes: FloatArray, draws: int, seed: int, seed_stream: int = 1
) -> FloatArray:
    """Mean over chips and seeds in every draw; sums are (seeds, groups), sizes (groups,)."""
    n_seeds, n_groups = sums.shape
    means = []
    for group_weights, seed_weights in _weights(n_groups, n_seeds, draws, seed, n_seeds, seed_stream):
        totals = ((group_weights @ sums.T) * seed_weights).sum(axis=1)
        means.append(totals / (n_seeds * (group_weights @ sizes)))
    return np.concatenate(means)


def _block_scores(
    counts: list[FloatArray], group_weights: FloatArray, seed_weights: FloatArray, n_classes: int
) -> FloatArray:
    """Scores of a block of draws, averaged over the drawn seeds, shape (draws, scores)."""
    total = np.zeros((len(group_weights), len(SCORE_NAMES)))
    for i, run_counts in enumerate(counts):
        # Sums of whole numbers are exact in float64: the same result for any number of BLAS threads.
        confusions = (group_weights @ run_counts).reshape(-1, n_classes, n_classes)
        total += seed_weights[:, i, None] * _stacked(scores(confusions))
    return total / len(counts)


def _stacked(of_runs: Scores) -> FloatArray:
    return np.stack([getattr(of_runs, name) for name in SCORE_NAMES], axis=-1)


def _percentile(estimate: float, drawn: FloatArray, level: float) -> Interval:
    check_level(level)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))
