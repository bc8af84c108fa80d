"""Scores against a plain per-class count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.core.classification import confusion_matrix, scores
from sarcurate.errors import DataError


def plain_scores(truth: list[int], predicted: list[int]) -> dict[str, float]:
    precision, recall, f1 = [], [], []
    for c in sorted(set(truth)):
        tp = sum(t == c and p == c for t, p in zip(truth, predicted, strict=True))
        fp = sum(t != c and p == c for t, p in zip(truth, predicted, strict=True))
        fn = sum(t == c and p != c for t, p in zip(truth, predicted, strict=True))
        precision.append(tp / (tp + fp) if tp + fp else 0.0)
        recall.append(tp / (tp + fn))
        f1.append(2 * tp / (2 * tp + fp + fn))
    n_hits = sum(t == p for t, p in zip(truth, predicted, strict=True))
    return {
        "accuracy": n_hits / len(truth),
        "macro_precision": sum(precision) / len(precision),
        "macro_recall": sum(recall) / len(recall),
        "macro_f1": sum(f1) / len(f1),
        "balanced_accuracy": sum(recall) / len(recall),
    }


pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(deadline=None)
@given(pairs)
def test_scores_equal_plain_counts(chips: list[tuple[int, int]]) -> None:
    truth, predicted = [t for t, _ in chips], [p for _, p in chips]
    found = scores(confusion_matrix(truth, predicted, 4))
    for name, expected in plain_scores(truth, predicted).items():
        assert float(getattr(found, name)) == pytest.approx(expected), name


@settings(deadline=None)
@given(pairs, st.permutations(range(4)))
def test_macro_scores_do_not_depend_on_class_order(chips: list[tuple[int, int]], order: list[int]) -> None:
    truth, predicted = np.array(chips).T
    renamed = np.array(order)
    before = scores(confusion_matrix(truth, predicted, 4))
    after = scores(confusion_matrix(renamed[truth], renamed[predicted], 4))
    assert float(after.macro_f1) == pytest.approx(float(before.macro_f1))
    assert float(after.macro_precision) == pytest.approx(float(before.macro_precision))


def test_confusion_has_truth_in_rows() -> None:
    assert confusion_matrix([0, 0, 1], [1, 0, 1], 2).tolist() == [[1, 1], [0, 1]]


def test_macro_recall_is_accuracy_on_a_balanced_test_set() -> None:
    truth = np.repeat(np.arange(7), 13)
    predicted = np.where(np.arange(91) < 78, truth, (truth + 1) % 7)
    found = scores(confusion_matrix(truth, predicted, 7))
    assert float(found.accuracy) == pytest.approx(78 / 91)
    assert float(found.macro_recall) == pytest.approx(78 / 91)


def test_class_never_predicted_has_zero_precision_and_f1() -> None:
    found = scores([[5, 0], [5, 0]])
    assert float(found.macro_precision) == pytest.approx(0.25)
    assert float(found.macro_f1) == pytest.approx((10 / 15) / 2)
    assert found.per_class_recall.tolist() == [1.0, 0.0]


def test_class_without_true_chips_is_left_out() -> None:
    found = scores([[4, 1], [0, 0]])
    assert float(found.balanced_accuracy) == pytest.approx(0.8)
    assert float(found.macro_precision) == pytest.approx(1.0)
    assert np.isnan(found.per_class_recall[1])


def test_stacks_score_as_their_members() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, 30), rng.integers(0, 3, (2, 5, 30))
    confusions = confusion_matrix(truth, predicted, 3)
    found = scores(confusions)
    assert confusions.shape == (2, 5, 3, 3)
    assert found.per_class_recall.shape == (2, 5, 3)
    member = scores(confusion_matrix(truth, predicted[1, 3], 3))
    assert float(found.macro_f1[1, 3]) == float(member.macro_f1)


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([0, 1], [0, 2], "predictions: found class index 2, expected 0..1"),
        ([0, -1], [0, 1], "truth: found class index -1"),
        ([0, 1], [0.0, 1.0], "expected integer class indices, found float64"),
        ([0, 1], [0, 1, 1], "does not match"),
    ],
)
def test_broken_indices_are_refused(truth: list[int], predicted: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        confusion_matrix(truth, predicted, 2)


@pytest.mark.parametrize("confusion", [np.zeros((2, 2)), [[1, -1], [0, 1]], np.ones((2, 3)), [1.0]])
def test_broken_confusions_are_refused(confusion: object) -> None:
    with pytest.raises(DataError):
        scores(confusion)  # type: ignore[arg-type]
