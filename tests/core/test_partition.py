from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.core.partition import grouped_folds, hold_out
from sarcurate.errors import DataError

Chips = tuple[list[str], list[str]]
SEEDS = st.integers(0, 2**63 - 1)


@st.composite
def own_groups(draw: st.DrawFn) -> Chips:
    """Two to four classes, each in two to five groups of its own, in any order."""
    chips = [
        (f"class{label}", f"group{label}-{group}")
        for label in range(draw(st.integers(2, 4)))
        for group in range(draw(st.integers(2, 5)))
        for _ in range(draw(st.integers(1, 6)))
    ]
    labels, groups = zip(*draw(st.permutations(chips)), strict=True)
    return list(labels), list(groups)


@st.composite
def mixed_groups(draw: st.DrawFn) -> Chips:
    """Chips whose groups may hold several classes."""
    chips = draw(
        st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("123456")), min_size=1, max_size=40)
    )
    labels, groups = zip(*chips, strict=True)
    return list(labels), list(groups)


def _sides(labels: list[str], groups: list[str], is_test: np.ndarray) -> tuple[Counter[str], Counter[str]]:
    """Chips per class in train and in test; fails where a group is on both sides."""
    chips = list(zip(labels, groups, is_test.tolist(), strict=True))
    assert not {g for _, g, test in chips if test} & {g for _, g, test in chips if not test}
    return (
        Counter(label for label, _, test in chips if not test),
        Counter(label for label, _, test in chips if test),
    )


@given(chips=own_groups(), fraction=st.floats(0.05, 0.95), seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_groups_stay_whole_and_every_class_is_on_both_sides(chips: Chips, fraction: float, seed: int) -> None:
    labels, groups = chips
    train, test = _sides(labels, groups, hold_out(labels, groups, fraction, 1, seed))
    assert set(train) == set(test) == set(labels)


@given(chips=mixed_groups(), fraction=st.floats(0.05, 0.95), keep=st.integers(1, 4), seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_what_is_returned_keeps_its_promises_or_nothing_is(
    chips: Chips, fraction: float, keep: int, seed: int
) -> None:
    labels, groups = chips
    try:
        is_test = hold_out(labels, groups, fraction, keep, seed)
    except DataError:
        return
    train, test = _sides(labels, groups, is_test)
    assert set(test) == set(labels)
    assert all(train[label] >= keep for label in labels)


@given(chips=own_groups(), seed=SEEDS, shuffle=st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_order_of_chips_does_not_matter(chips: Chips, seed: int, shuffle: object) -> None:
    labels, groups = chips
    order = list(range(len(labels)))
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    turned = [labels[i] for i in order], [groups[i] for i in order]
    np.testing.assert_array_equal(
        hold_out(labels, groups, 0.3, 1, seed)[order], hold_out(*turned, 0.3, 1, seed)
    )
    np.testing.assert_array_equal(
        grouped_folds(labels, groups, 3, seed)[order], grouped_folds(*turned, 3, seed)
    )


CLASSES = ("B-52", "Boeing-747", "Boeing-767", "C-130", "C-17", "F-15", "F-16")


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 2606])
def test_fifty_chips_over_eleven_passes_give_37_and_13(seed: int) -> None:
    # 50 = 6 * 5 + 5 * 4, and 13 = 5 + 4 + 4; every pass sees all classes
    labels = [name for name in CLASSES for _ in range(50)]
    groups = [f"pass{i % 11}" for _ in CLASSES for i in range(50)]
    train, test = _sides(labels, groups, hold_out(labels, groups, 0.26, 37, seed))
    assert train == dict.fromkeys(CLASSES, 37)
    assert test == dict.fromkeys(CLASSES, 13)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_passes_of_one_class_each_come_within_a_chip(seed: int) -> None:
    labels = [name for name in CLASSES for _ in range(50)]
    groups = [f"{name} pass{i % 11}" for name in CLASSES for i in range(50)]
    train, _ = _sides(labels, groups, hold_out(labels, groups, 0.26, 37, seed))
    assert set(train) == set(CLASSES)
    assert set(train.values()) <= {37, 38}


def _cost(labels: list[str], groups: list[str], test_groups: set[str], fraction: float) -> float:
    """Sum over classes of the squared distance of the test share, infinite without a chip on one side."""
    cost = 0.0
    for name in set(labels):
        sides = [group in test_groups for label, group in zip(labels, groups, strict=True) if label == name]
        cost += (sum(sides) / len(sides) - fraction) ** 2 if 0 < sum(sides) < len(sides) else np.inf
    return cost


@pytest.mark.parametrize("seed", range(8))
def test_no_single_group_could_be_moved_to_come_nearer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = [str(name) for name in rng.choice(["a", "b", "c"], 70)]
    groups = [str(name) for name in rng.integers(0, 8, 70)]
    is_test = hold_out(labels, groups, 0.3, 1, seed)
    chosen = {group for group, test in zip(groups, is_test, strict=True) if test}
    cost = _cost(labels, groups, chosen, 0.3)
    assert cost < 3 * 0.05**2
    assert all(_cost(labels, groups, chosen ^ {group}, 0.3) >= cost - 1e-9 for group in set(groups))


def test_the_seed_chooses_among_equals() -> None:
    labels, groups = ["a"] * 20, [str(i) for i in range(20)]
    drawn = {tuple(hold_out(labels, groups, 0.5, 1, seed)) for seed in range(6)}
    assert len(drawn) > 1
    assert {sum(sides) for sides in drawn} == {10}
    assert (hold_out(labels, groups, 0.5, 1, 3) == hold_out(labels, groups, 0.5, 1, 3)).all()


def test_a_class_in_one_group_is_an_error() -> None:
    with pytest.raises(DataError, match=r"class b lies in a single group; .*both sides\nFix: .*group_id"):
        hold_out(["a", "a", "b", "b"], ["1", "2", "3", "3"], 0.5, 1, 0)


def test_too_few_train_chips_are_an_error() -> None:
    labels, groups = ["a"] * 12, [str(i // 4) for i in range(12)]
    train, _ = _sides(labels, groups, hold_out(labels, groups, 0.3, 8, 0))
    assert train["a"] == 8
    with pytest.raises(
        DataError, match=r"class a: of 12 chips .* expected at least 9 and 1\nFix: lower split"
    ):
        hold_out(labels, groups, 0.3, 9, 0)


def test_a_class_is_never_left_without_test_chips() -> None:
    # keeping all 12 for training would leave none to test on
    labels, groups = ["a"] * 12 + ["b"] * 12, [str(i % 6) for i in range(24)]
    with pytest.raises(DataError, match="12 remain for training and 0 for test"):
        hold_out(labels, groups, 0.3, 12, 0)


def test_classes_that_no_partition_can_serve_are_an_error() -> None:
    # three groups, each holding two of three classes: one side always lacks a class
    labels, groups = ["a", "a", "b", "b", "c", "c"], ["1", "2", "2", "3", "3", "1"]
    with pytest.raises(DataError, match=r"class [abc]: of 2 chips"):
        hold_out(labels, groups, 0.4, 1, 0)


@given(chips=mixed_groups(), folds=st.integers(2, 6), seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_folds_are_made_of_whole_groups(chips: Chips, folds: int, seed: int) -> None:
    labels, groups = chips
    found = grouped_folds(labels, groups, folds, seed)
    assert found.shape == (len(labels),)
    assert 0 <= found.min() <= found.max() < folds
    fold_of = {}
    for group, fold in zip(groups, found.tolist(), strict=True):
        assert fold_of.setdefault(group, fold) == fold
    assert len(set(found.tolist())) == min(folds, len(fold_of))


@pytest.mark.parametrize("seed", range(5))
def test_equal_groups_make_equal_folds(seed: int) -> None:
    # ten passes, each with three chips of both classes, in five folds
    labels = ["a", "b"] * 30
    groups = [f"pass{i // 6}" for i in range(60)]
    found = grouped_folds(labels, groups, 5, seed)
    assert Counter(zip(labels, found.tolist(), strict=True)) == {
        (label, fold): 6 for label in "ab" for fold in range(5)
    }


def test_folds_depend_on_the_seed() -> None:
    labels, groups = ["a"] * 20, [str(i) for i in range(20)]
    drawn = {tuple(grouped_folds(labels, groups, 5, seed).tolist()) for seed in range(4)}
    assert len(drawn) == 4
