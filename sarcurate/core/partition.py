"""Leak-free partitions: whole groups of chips go to one side, classes stay balanced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sarcurate.errors import DataError

RESTARTS = 200
FORBIDDEN = 1e6  # cost of a side without a class, far above any imbalance


def hold_out(
    labels: Sequence[str], groups: Sequence[str], test_fraction: float, keep_per_class: int, seed: int
) -> NDArray[np.bool_]:
    """Which chips to hold out for test, by whole groups.

    Among seeded random starts improved by moving single groups, the partition whose test share per
    class is nearest to ``test_fraction`` wins, given that ``keep_per_class`` chips remain for training.

    Args:
        labels: (n,) class of each chip; groups: (n,) group of each chip.

    Returns:
        (n,) True for test.

    Raises:
        DataError: when a class lies in one group, or no partition found has enough train chips and at least
            one test chip of every class.
    """
    counts, group_index, class_names = _count(labels, groups)
    spread = (counts > 0).sum(axis=0)
    for name, n_groups in zip(class_names, spread, strict=True):
        if n_groups < 2:
            raise DataError(
                f"class {name} lies in a single group; a split would put look-alikes on both sides",
                fix="add chips of another scene or pass, or correct the group_id column",
            )
    total = counts.sum(axis=0)
    rng = np.random.default_rng(seed)
    best, best_cost = np.zeros(len(counts), dtype=bool), np.inf
    for _ in range(RESTARTS):
        chosen = _descend(
            rng.random(len(counts)) < test_fraction, counts, total, test_fraction, keep_per_class
        )
        cost = float(_cost(chosen @ counts, total, test_fraction, keep_per_class))
        if cost < best_cost:
            best, best_cost = chosen, cost
        if best_cost <= np.sum((0.5 / total) ** 2):
            break
    _check_sides(best @ counts, total, keep_per_class, class_names)
    held_out: NDArray[np.bool_] = best[group_index]
    return held_out


def _count(
    labels: Sequence[str], groups: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    class_names, class_index = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    group_names, group_index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    counts = np.zeros((len(group_names), len(class_names)), dtype=np.int64)
    np.add.at(counts, (group_index, class_index), 1)
    return counts, group_index, [str(name) for name in class_names]


def _cost(
    test: NDArray[np.int64], total: NDArray[np.int64], fraction: float, keep: int
) -> NDArray[np.float64]:
    """Squared distance of test shares (..., classes) from ``fraction``, plus what is forbidden."""
    short = np.maximum(0, keep - (total - test)) + (test == 0) + (test == total)
    cost: NDArray[np.float64] = ((test / total - fraction) ** 2 + FORBIDDEN * short).sum(axis=-1)
    return cost


def _descend(
    chosen: NDArray[np.bool_], counts: NDArray[np.int64], total: NDArray[np.int64], fraction: float, keep: int
) -> NDArray[np.bool_]:
    """Move one group at a time, always the one that helps most, until none helps."""
    chosen = chosen.copy()
    current = float(_cost(chosen @ counts, total, fraction, keep))
    while True:
        moved = chosen @ counts + np.where(chosen, -1, 1).astype(np.int64)[:, None] * counts
        costs = _cost(moved, total, fraction, keep)
        step = int(np.argmin(costs))
        if costs[step] >= current - 1e-12:
            return chosen
        chosen[step] = not chosen[step]
        current = float(costs[step])


def _check_sides(
    test: NDArray[np.int64], total: NDArray[np.int64], keep: int, class_names: Sequence[str]
) -> None:
    for name, held_out, count in zip(class_names, test, total, strict=True):
        kept = count - held_out
        if held_out < 1 or kept < max(keep, 1):
            raise DataError(
                f"class {name}: of {count} chips {kept} remain for training and {held_out} for test when "
                f"whole groups are held out; expected at least {max(keep, 1)} and 1",
                fix="lower split train_per_class or test_fraction, or add chips of more groups",
            )


def grouped_folds(labels: Sequence[str], groups: Sequence[str], folds: int, seed: int) -> NDArray[np.int64]:
    """A fold number 0..folds-1 for each chip, by whole groups, classes spread as evenly as groups allow.

    Large groups are placed first, each where it leaves class counts per fold most even.

    Args:
        labels: (n,); groups: (n,).
    """
    counts, group_index, _ = _count(labels, groups)
    share = counts / counts.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    filled = np.zeros((folds, counts.shape[1]))
    fold_of_group = np.zeros(len(counts), dtype=np.int64)
    for group in order:
        after = filled[None] + np.eye(folds)[:, :, None] * share[group]
        unevenness = after.std(axis=1).sum(axis=1)
        fold = int(np.argmin(unevenness + 1e-9 * filled.sum(axis=1)))
        filled[fold] += share[group]
        fold_of_group[group] = fold
    result: NDArray[np.int64] = fold_of_group[group_index]
    return result
