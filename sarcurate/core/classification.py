"""Classification scores from confusion matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcurate.errors import DataError


@dataclass(frozen=True)
class Scores:
    """Scores of one confusion matrix or a stack of them, all as fractions 0..1.

    ``per_class_recall`` has shape (..., n_classes), the rest (...). It is NaN for a class without true chips.
    """

    accuracy: NDArray[np.float64]
    macro_precision: NDArray[np.float64]
    macro_recall: NDArray[np.float64]
    macro_f1: NDArray[np.float64]
    balanced_accuracy: NDArray[np.float64]
    per_class_recall: NDArray[np.float64]


def confusion_matrix(truth: ArrayLike, predicted: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Counts of (true class, predicted class): rows are the truth, columns the predictions.

    Args:
        truth: class indices, shape (n,).
        predicted: class indices, shape (..., n); leading axes are runs of the same test set.
        n_classes: number of classes; indices run 0..n_classes - 1.

    Returns:
        Counts of shape (..., n_classes, n_classes).

    Raises:
        DataError: for other shapes, or an index that is not a class.
    """
    true = class_indices(truth, n_classes, "truth")
    guess = class_indices(predicted, n_classes, "predictions")
    if true.ndim != 1 or guess.ndim < 1 or guess.shape[-1] != true.size:
        raise DataError(
            f"confusion matrix: truth of shape {true.shape} does not match predictions {guess.shape}",
            fix="give truth as (n,) and predictions as (..., n), in the same chip order",
        )
    runs = guess.shape[:-1]
    n_runs = int(np.prod(runs))
    n_cells = n_classes * n_classes
    cells = np.arange(n_runs)[:, None] * n_cells + true * n_classes + guess.reshape(n_runs, true.size)
    counts = np.bincount(cells.ravel(), minlength=n_runs * n_cells)
    return counts.reshape(*runs, n_classes, n_classes).astype(np.int64)


def class_indices(values: ArrayLike, n_classes: int, name: str) -> NDArray[np.int64]:
    """Class indices as int64, checked to be whole numbers in 0..n_classes - 1.

    Raises:
        DataError: naming ``name`` and the first value that is not a class index.
    """
    array = np.asarray(values)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"{name}: expected integer class indices, found {array.dtype}",
            fix="map class names to indices of the class list first",
        )
    outside = array[(array < 0) | (array >= n_classes)] if array.size else array
    if outside.size:
        raise DataError(
            f"{name}: found class index {int(outside.flat[0])}, expected 0..{n_classes - 1}",
            fix="use one class list for training, prediction and truth",
        )
    return array.astype(np.int64)


def scores(confusion: ArrayLike) -> Scores:
    """Accuracy and macro scores of confusion matrices (rows truth, columns predictions).

    Macro averages run over the classes with true chips. A class never predicted has precision and F1 of 0
    (``zero_division=0``). Macro F1 is the mean of the class F1 values, not the F1 of the macro precision and
    recall (Opitz and Burst, 2019). Where every class has true chips this is the common definition.

    Args:
        confusion: counts or weights >= 0, shape (..., n_classes, n_classes).

    Raises:
        DataError: for a matrix that is not square, has negative entries or holds no chip.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    _check_confusion(counts)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    true = counts.sum(axis=-1)
    claimed = counts.sum(axis=-2)
    recall = _ratio(hits, true)
    present = true > 0
    macro_recall = _mean_over(present, recall)
    return Scores(
        accuracy=np.asarray(hits.sum(axis=-1) / true.sum(axis=-1)),
        macro_precision=_mean_over(present, _ratio(hits, claimed)),
        macro_recall=macro_recall,
        macro_f1=_mean_over(present, _ratio(2 * hits, true + claimed)),
        balanced_accuracy=macro_recall,
        per_class_recall=np.where(present, recall, np.nan),
    )


def _check_confusion(counts: NDArray[np.float64]) -> None:
    if counts.ndim < 2 or counts.shape[-1] != counts.shape[-2]:
        raise DataError(
            f"scores: expected confusion of shape (..., C, C), found {counts.shape}",
            fix="build it with confusion_matrix",
        )
    if not (counts >= 0).all() or not (counts.sum(axis=(-2, -1)) > 0).all():
        raise DataError(
            "scores: a confusion matrix has negative or NaN entries, or no chip at all",
            fix="score at least one test chip per run",
        )


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _mean_over(present: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((values * present).sum(axis=-1) / present.sum(axis=-1))
