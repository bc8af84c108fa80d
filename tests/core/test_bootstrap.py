"""Bootstrap intervals against plain loops, normal theory and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sarcurate.core import bootstrap
from sarcurate.core.bootstrap import bootstrap_scores, hierarchical_bootstrap, paired_difference
from sarcurate.core.classification import confusion_matrix, scores
from sarcurate.errors import DataError, ParamsError


def runs(n_seeds: int, n_test: int, n_classes: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Truth and predictions that are right about 70 % of the time."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n_test) % n_classes
    wrong = rng.integers(0, n_classes, (n_seeds, n_test))
    return truth, np.where(rng.random((n_seeds, n_test)) < 0.65, truth, wrong)


def plain_draws(
    truth: NDArray[np.int64], predictions: NDArray[np.int64], groups: NDArray[np.int64], draws: int
) -> NDArray[np.float64]:
    """Macro F1 of every draw, chip by chip: collect the chips of the drawn groups for each drawn seed."""
    rng = np.random.default_rng(99)
    names = np.unique(groups)
    found = []
    for _ in range(draws):
        chips = np.concatenate([np.flatnonzero(groups == g) for g in rng.choice(names, names.size)])
        drawn = rng.integers(0, len(predictions), len(predictions))
        n_classes = int(truth.max()) + 1
        f1 = [
            scores(confusion_matrix(truth[chips], predictions[s, chips], n_classes)).macro_f1 for s in drawn
        ]
        found.append(float(np.mean(f1)))
    return np.array(found)


def test_scores_interval_equals_chip_by_chip_resampling() -> None:
    truth, predictions = runs(3, 90, 3, seed=1)
    groups = np.arange(90) // 3
    expected = np.quantile(plain_draws(truth, predictions, groups, 1500), [0.025, 0.975])
    found = bootstrap_scores(truth, predictions, groups, n_classes=3, draws=20000, seed=1)["macro_f1"]
    # 1500 plain draws place an end of the interval within about 6 % of a standard deviation.
    assert (found.low, found.high) == pytest.approx(expected, abs=0.2 * (expected[1] - expected[0]) / 3.92)


def test_estimates_are_means_over_seeds() -> None:
    truth, predictions = runs(4, 60, 5, seed=2)
    found = bootstrap_scores(truth, predictions, np.arange(60), n_classes=5, draws=10, seed=0)
    each = [scores(confusion_matrix(truth, run, 5)) for run in predictions]
    for name in bootstrap.SCORE_NAMES:
        assert found[name].estimate == pytest.approx(np.mean([float(getattr(s, name)) for s in each]))


def test_accuracy_interval_is_the_interval_of_correctness() -> None:
    truth, predictions = runs(3, 80, 4, seed=3)
    groups = np.arange(80) // 2
    one = bootstrap_scores(truth, predictions, groups, n_classes=4, draws=500, seed=5)["accuracy"]
    other = hierarchical_bootstrap(predictions == truth, groups, draws=500, seed=5)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-12)


def test_interval_has_the_normal_width_for_independent_chips() -> None:
    correct = np.zeros((1, 400), bool)
    correct[0, :280] = True
    found = hierarchical_bootstrap(correct, np.arange(400), draws=20000, seed=0)
    width = 2 * 1.96 * np.sqrt(0.7 * 0.3 / 400)
    assert found.high - found.low == pytest.approx(width, rel=0.05)
    assert found.estimate == pytest.approx(0.7)


def test_copies_within_groups_widen_the_interval_by_the_root_of_their_number() -> None:
    once = np.random.default_rng(0).random((1, 100)) < 0.7
    copied = np.repeat(once, 9, axis=1)
    groups = np.repeat(np.arange(100), 9)
    whole_groups = hierarchical_bootstrap(copied, groups, draws=20000, seed=0)
    as_if_independent = hierarchical_bootstrap(copied, np.arange(900), draws=20000, seed=0)
    ratio = (whole_groups.high - whole_groups.low) / (as_if_independent.high - as_if_independent.low)
    assert ratio == pytest.approx(3.0, rel=0.06)


def test_seed_spread_widens_the_interval() -> None:
    """All chips of a seed right or wrong: the spread is that of the mean of 40 coin-like seeds."""
    correct = np.repeat((np.arange(40) % 2 == 0)[:, None], 50, axis=1)
    found = hierarchical_bootstrap(correct, np.arange(50), draws=20000, seed=0)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 40), rel=0.08)


def covered_share(n_worlds: int, group_sd: float, seed_sd: float, n_seeds: int) -> float:
    rng = np.random.default_rng(11)
    groups = np.repeat(np.arange(80), 3)
    hits = 0
    for world in range(n_worlds):
        of_groups = np.repeat(rng.normal(0, group_sd, 80), 3)
        of_seeds = rng.normal(0, seed_sd, (n_seeds, 1))
        values = 0.5 + of_groups + of_seeds + rng.normal(0, 0.1, (n_seeds, 240))
        found = hierarchical_bootstrap(values, groups, draws=300, seed=world)
        hits += found.low <= 0.5 <= found.high
    return hits / n_worlds


def test_interval_covers_the_truth_with_one_seed() -> None:
    # 600 worlds place a share of 0.95 within 0.018 (two standard errors); 300 draws cost about 0.01.
    assert covered_share(600, group_sd=0.2, seed_sd=0.0, n_seeds=1) == pytest.approx(0.945, abs=0.025)


def test_interval_covers_the_truth_with_seed_spread() -> None:
    assert covered_share(400, group_sd=0.2, seed_sd=0.1, n_seeds=30) == pytest.approx(0.945, abs=0.03)


def test_draw_without_a_class_averages_over_the_others() -> None:
    """One group per class, everything right: every draw scores 1 although most draws miss a class."""
    truth = np.repeat(np.arange(4), 5)
    found = bootstrap_scores(truth, truth[None], truth, n_classes=4, draws=200, seed=0)
    assert (found["macro_f1"].low, found["macro_recall"].low) == (1.0, 1.0)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(30)))
def test_order_of_chips_does_not_matter(order: list[int]) -> None:
    truth, predictions = runs(2, 30, 3, seed=4)
    groups = np.array([f"scene-{i // 3}" for i in range(30)])
    before = bootstrap_scores(truth, predictions, groups, n_classes=3, draws=50, seed=7)
    after = bootstrap_scores(
        truth[order], predictions[:, order], groups[order], n_classes=3, draws=50, seed=7
    )
    assert before == after


def test_result_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, predictions = runs(3, 40, 4, seed=5)
    arguments = {"n_classes": 4, "draws": 101, "seed": 3}
    whole = bootstrap_scores(truth, predictions, np.arange(40), **arguments)
    monkeypatch.setattr(bootstrap, "_CELLS_PER_BLOCK", 40 * 7)
    assert bootstrap_scores(truth, predictions, np.arange(40), **arguments) == whole


def test_paired_difference_ignores_what_both_arms_share() -> None:
    """Arm b is arm a with 20 of 200 chips broken: only those 20 spread the difference."""
    truth, predictions = runs(1, 200, 5, seed=6)
    worse = predictions.copy()
    broken = np.flatnonzero(predictions[0] == truth)[:20]
    worse[0, broken] = (truth[broken] + 1) % 5
    found = paired_difference(
        truth, predictions, worse, np.arange(200), seeds_paired=True, draws=20000, seed=0
    )
    assert found.estimate == pytest.approx(0.1)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.1 * 0.9 / 200), rel=0.06)
    assert found.p_value == 2 / 20001


def test_paired_seeds_cancel_and_unpaired_seeds_do_not() -> None:
    """Same runs in both arms: paired, nothing is left; unpaired, the spread of two means of seeds."""
    truth = np.zeros(50, np.int64)
    predictions = np.repeat((np.arange(30) % 2)[:, None], 50, axis=1)
    paired, unpaired = (
        paired_difference(
            truth, predictions, predictions, np.arange(50), seeds_paired=flag, draws=5000, seed=0
        )
        for flag in (True, False)
    )
    assert (paired.low, paired.high, paired.p_value) == (0.0, 0.0, 1.0)
    assert unpaired.high - unpaired.low == pytest.approx(2 * 1.96 * np.sqrt(2 * 0.25 / 30), rel=0.1)


def test_difference_changes_sign_with_the_arms() -> None:
    truth, a = runs(3, 60, 4, seed=8)
    _, b = runs(3, 60, 4, seed=9)
    one, other = (
        paired_difference(truth, x, y, np.arange(60) // 2, seeds_paired=True, draws=999, seed=1)
        for x, y in ((a, b), (b, a))
    )
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)
    assert one.p_value == other.p_value


def test_p_values_are_not_too_small_when_arms_are_equal() -> None:
    p_values = []
    for world in range(300):
        truth, a = runs(1, 120, 4, seed=1000 + world)
        _, b = runs(1, 120, 4, seed=5000 + world)
        found = paired_difference(truth, a, b, np.arange(120), seeds_paired=True, draws=300, seed=world)
        p_values.append(found.p_value)
    # 300 worlds place a share of 0.05 within 0.025 (two standard errors).
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_different_numbers_of_seeds_cannot_be_paired() -> None:
    truth, a = runs(3, 20, 4, seed=0)
    with pytest.raises(DataError, match="3 seeds of one arm cannot be paired with 2"):
        paired_difference(truth, a, a[:2], np.arange(20), seeds_paired=True, draws=10, seed=0)
    found = paired_difference(truth, a, a[:2], np.arange(20), seeds_paired=False, draws=10, seed=0)
    assert found.low <= found.high


@pytest.mark.parametrize(
    ("values", "groups", "message"),
    [
        (np.ones((2, 3)), ["a", "a", "a"], "found 1 test group"),
        (np.ones((2, 3)), ["a", "b"], "one group per test chip"),
        (np.ones(3), ["a", "b", "c"], "shape \\(seeds, n_test\\)"),
        (np.full((1, 2), np.nan), ["a", "b"], "finite"),
    ],
)
def test_broken_input_is_refused(values: NDArray[np.float64], groups: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        hierarchical_bootstrap(values, groups, draws=10, seed=0)


def test_predictions_of_other_chips_are_refused() -> None:
    with pytest.raises(DataError, match="does not match predictions"):
        bootstrap_scores([0, 1], [[0, 1, 1]], [0, 1], n_classes=2, draws=10, seed=0)
    with pytest.raises(DataError, match="does not match predictions"):
        paired_difference([0, 1], [[0, 1, 1]], [[0, 1]], [0, 1], seeds_paired=True, draws=10, seed=0)


def test_draws_and_level_are_checked() -> None:
    with pytest.raises(ParamsError, match="draws=0"):
        hierarchical_bootstrap(np.ones((1, 2)), [0, 1], draws=0, seed=0)
    with pytest.raises(ParamsError, match="confidence level"):
        hierarchical_bootstrap(np.ones((1, 2)), [0, 1], draws=5, seed=0, level=1.5)
