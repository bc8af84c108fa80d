from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.core.bootstrap import bootstrap_scores, paired_difference
from sarcurate.core.statistics import smallest_detectable_difference
from sarcurate.errors import DataError
from sarcurate.io.evidence import COLUMNS, Resampling, arm_results, arm_scores, detectable_differences

CLASSES = ["a", "b", "c"]
TRUTH = "aaaabbbbcc"
GROUPS = "1122112212"
# seven, nine and ten of ten right
BASE, ADDED, PERFECT = "aaabbbabca", "aaaabbbacc", TRUTH
SAMPLING = Resampling(level=0.95, draws=500, seed=7)


def _runs(**arms: list[str]) -> pd.DataFrame:
    """Predictions of each arm, one string of classes per seed."""
    rows = [
        ("target-test", arm, seed, f"chip{i}", f"pass{GROUPS[i]}", TRUTH[i], guess, 0.5, f"key-{arm}-{seed}")
        for arm, seeds in arms.items()
        for seed, guesses in enumerate(seeds)
        for i, guess in enumerate(guesses)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _indices(guesses: str) -> list[int]:
    return ["abc".index(guess) for guess in guesses]


def test_scores_of_one_run_by_hand() -> None:
    (result,) = arm_results(_runs(base=[BASE]), CLASSES, SAMPLING)
    assert (result.arm, result.seeds, result.n_test, result.correct) == ("base", 1, 10, (7,))
    assert result.confusion.tolist() == [[3, 1, 0], [1, 3, 0], [1, 0, 1]]
    assert result.per_class_recall == {"a": 0.75, "b": 0.75, "c": 0.5}
    estimates = {name: interval.estimate for name, interval in result.scores.items()}
    assert estimates == pytest.approx(
        {
            "accuracy": 7 / 10,
            "macro_precision": (3 / 5 + 3 / 4 + 1 / 1) / 3,
            "macro_recall": (3 / 4 + 3 / 4 + 1 / 2) / 3,
            "macro_f1": (6 / 9 + 6 / 8 + 2 / 3) / 3,
            "balanced_accuracy": (3 / 4 + 3 / 4 + 1 / 2) / 3,
        }
    )
    assert (result.difference, result.p_holm) == (None, None)


def test_one_run_has_a_wilson_interval() -> None:
    (result,) = arm_results(_runs(base=[BASE]), CLASSES, SAMPLING)
    # Wilson (1927) for 7 of 10: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    z, n, p = 1.959964, 10, 0.7
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    ends = [(p + z**2 / (2 * n) + sign * half) / (1 + z**2 / n) for sign in (-1, 1)]
    assert [result.scores["accuracy"].low, result.scores["accuracy"].high] == pytest.approx(ends, abs=1e-6)
    assert ends == pytest.approx([0.3968, 0.8922], abs=1e-4)


def test_one_run_each_is_compared_by_mcnemar_and_corrected_by_holm() -> None:
    runs = _runs(base=[BASE], added=[ADDED], perfect=[PERFECT])
    _, added, perfect = arm_results(runs, CLASSES, SAMPLING)
    assert added.difference is not None
    assert perfect.difference is not None
    assert added.difference.estimate == pytest.approx(0.2)
    assert perfect.difference.estimate == pytest.approx(0.3)
    # added alone is right on 3 chips and base alone on 1: 2 (C(4,0) + C(4,1)) / 2^4
    assert added.difference.p_value == pytest.approx(10 / 16)
    # perfect alone is right on 3 chips: 2 / 2^3
    assert perfect.difference.p_value == pytest.approx(2 / 8)
    # Holm: the smaller p twice, the larger once but not below it
    assert perfect.p_holm == pytest.approx(4 / 8)
    assert added.p_holm == pytest.approx(10 / 16)


def test_several_seeds_are_bootstrapped_over_groups_and_seeds() -> None:
    base, other = [BASE, PERFECT, ADDED], [ADDED, ADDED, PERFECT]
    first, second = arm_results(_runs(base=base, other=other), CLASSES, SAMPLING)
    assert (first.seeds, first.correct, second.correct) == (3, (7, 10, 9), (9, 9, 10))
    assert first.scores["accuracy"].estimate == pytest.approx(26 / 30)
    assert first.confusion.sum() == 30
    truth, groups = _indices(TRUTH), [f"pass{group}" for group in GROUPS]
    one, two = ([_indices(run) for run in runs] for runs in (base, other))
    drawn = {"draws": SAMPLING.draws, "seed": SAMPLING.seed, "level": SAMPLING.level}
    assert first.scores == bootstrap_scores(truth, one, groups, n_classes=3, **drawn)
    difference = paired_difference(truth, two, one, groups, seeds_paired=True, **drawn)
    assert second.difference == difference
    assert second.p_holm == difference.p_value


def test_an_arm_that_is_always_right_against_one_that_never_is() -> None:
    wrong = TRUTH.translate(str.maketrans("abc", "bca"))
    _, result = arm_results(_runs(base=[wrong] * 2, perfect=[PERFECT] * 2), CLASSES, SAMPLING)
    assert result.difference is not None
    assert (result.difference.estimate, result.difference.low, result.difference.high) == (1, 1, 1)
    assert result.difference.p_value == pytest.approx(2 / (SAMPLING.draws + 1))
    # all draws agree, which is no certainty: Wilson's end for n of n is n / (n + z^2)
    assert result.scores["accuracy"].estimate == result.scores["accuracy"].high == 1
    assert result.scores["accuracy"].low == pytest.approx(10 / (10 + 1.959964**2))


def test_arms_with_other_seeds_are_compared_unpaired() -> None:
    runs = _runs(base=[BASE], other=[ADDED, PERFECT])
    _, result = arm_results(runs, CLASSES, SAMPLING)
    expected = paired_difference(
        _indices(TRUTH),
        [_indices(ADDED), _indices(PERFECT)],
        [_indices(BASE)],
        list(GROUPS),
        seeds_paired=False,
        draws=SAMPLING.draws,
        seed=SAMPLING.seed,
    )
    assert result.difference == expected


@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_the_order_of_rows_within_an_arm_does_not_matter(data: st.DataObject) -> None:
    runs = _runs(base=[BASE, ADDED], other=[ADDED, PERFECT])
    order = data.draw(st.permutations(range(len(runs))))
    # the arms' own order is the order of the report, the first one the baseline
    turned = runs.iloc[order].sort_values("arm", kind="stable")
    sampling = Resampling(0.95, 50, 7)
    assert arm_scores(turned, CLASSES, sampling) == arm_scores(runs, CLASSES, sampling)


def _fails(runs: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        arm_results(runs, CLASSES, SAMPLING)


@pytest.mark.parametrize(
    ("column", "value"), [("chip_id", "stranger"), ("group_id", "pass9"), ("label", "b")]
)
def test_arms_scored_on_other_chips_cannot_be_compared(column: str, value: str) -> None:
    runs = _runs(base=[BASE], other=[ADDED])
    runs.loc[(runs["arm"] == "other") & (runs["chip_id"] == "chip9"), column] = value
    _fails(runs, "arm other was scored on other test chips than base")


def test_an_arm_with_fewer_chips_cannot_be_compared() -> None:
    _fails(_runs(base=[BASE], other=[ADDED])[:-1], "arm other was scored on other test chips than base")


@pytest.mark.parametrize("row", [0, 12, 19])
def test_an_incomplete_run_is_an_error(row: int) -> None:
    runs = _runs(base=[BASE, ADDED])
    message = "arm base: its runs do not hold the same chips, once each\nFix: run evaluate again"
    _fails(runs.drop(index=row), message)
    _fails(pd.concat([runs, runs.iloc[[row]]]), message)


def test_a_chip_predicted_twice_in_every_run_is_an_error() -> None:
    runs = _runs(base=[BASE])
    _fails(pd.concat([runs, runs]), "once each")


@pytest.mark.parametrize("column", ["predicted", "label"])
def test_an_unknown_class_is_named(column: str) -> None:
    runs = _runs(base=[BASE])
    runs.loc[3, column] = "zebra"
    _fails(runs, r"predictions name classes \['zebra'\], expected some of \['a', 'b', 'c'\]")


def test_no_predictions_are_an_error() -> None:
    _fails(_runs(), "there are no predictions to score")


def test_flat_numbers_are_json_and_rounded() -> None:
    found = arm_scores(_runs(base=[BASE], added=[ADDED]), [*CLASSES, "never"], SAMPLING)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    base, added = found["base"], found["added"]
    assert list(found) == ["base", "added"]
    assert (base["n_seeds"], base["n_test"], base["n_correct"]) == (1, 10, [7])
    assert (base["accuracy"], base["accuracy_low"], base["accuracy_high"]) == (0.7, 0.396778, 0.892209)
    assert base["macro_precision"] == 0.783333
    assert base["per_class_recall"] == {"a": 0.75, "b": 0.75, "c": 0.5, "never": None}
    assert [row[:3] for row in base["confusion_sum_over_seeds"]][:3] == [[3, 1, 0], [1, 3, 0], [1, 0, 1]]
    assert "p_value" not in base
    assert (added["accuracy_minus_baseline"], added["p_value"], added["p_value_holm"]) == (0.2, 0.625, 0.625)


def test_detectable_differences_are_named_by_their_discordance() -> None:
    found = detectable_differences(91)
    assert list(found) == ["discordance_0.15", "discordance_0.25", "discordance_0.35"]
    for name, value in found.items():
        exact = smallest_detectable_difference(91, float(name[-4:]))
        assert exact is not None
        assert value == pytest.approx(exact, abs=1e-6)
    assert set(detectable_differences(3).values()) == {None}
