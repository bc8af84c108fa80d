"""Arms table: from the kept predictions of all runs to scores, intervals and paired tests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.bootstrap import Difference, bootstrap_scores, paired_difference
from sarcurate.core.classification import confusion_matrix, scores
from sarcurate.core.statistics import (
    Interval,
    holm,
    mcnemar_exact,
    smallest_detectable_difference,
    wilson_interval,
)
from sarcurate.errors import DataError
from sarcurate.io import lineage

COLUMNS = ("test_set", "arm", "seed", "chip_id", "group_id", "label", "predicted", "confidence", "run_key")
DISCORDANCES = (0.15, 0.25, 0.35)


def run_seed(root_seed: int, number: int) -> int:
    """Seed of the training run of that number; one for all arms pairs their initial weights."""
    return lineage.seed_from(root_seed, "evaluate", number) % 2**31


@dataclass(frozen=True)
class ArmResult:
    """One arm on one test set.

    Args:
        correct: chips right per seed, of ``n_test`` each.
        confusion: summed over seeds, (classes, classes), rows are the truth.
        scores: accuracy and macro scores with intervals, as fractions.
        difference: accuracy minus that of the baseline arm; None for the baseline.
        p_holm: p-value of that difference, adjusted over all arms compared.
    """

    arm: str
    seeds: int
    n_test: int
    correct: tuple[int, ...]
    confusion: NDArray[np.int64]
    scores: dict[str, Interval]
    per_class_recall: dict[str, float]
    difference: Difference | None
    p_holm: float | None


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn."""

    level: float
    draws: int
    seed: int


@dataclass(frozen=True)
class _Runs:
    """Predictions of one arm as class indices, chips in one order for all arms."""

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]  # (seeds, n_test)
    groups: NDArray[np.str_]
    chips: tuple[str, ...]
    seeds: tuple[int, ...]


def arm_results(predictions: pd.DataFrame, classes: list[str], resampling: Resampling) -> list[ArmResult]:
    """Results of every arm of one test set; the first arm named is the baseline.

    Args:
        predictions: rows of one test set with ``COLUMNS``, arms in the order to report.

    Raises:
        DataError: when there are no predictions, arms were scored on different chips, a run is incomplete,
            or a class is unknown.
    """
    if predictions.empty:
        raise DataError("there are no predictions to score", fix="run evaluate first")
    arms = list(dict.fromkeys(predictions["arm"]))
    runs = {arm: _runs_of(predictions[predictions["arm"] == arm], classes, arm) for arm in arms}
    baseline = runs[arms[0]]
    for arm in arms[1:]:
        if not _same_chips(runs[arm], baseline):
            raise DataError(
                f"arm {arm} was scored on other test chips than {arms[0]}",
                fix="evaluate all arms on one test set",
            )
    differences = {arm: _difference(runs[arm], baseline, resampling) for arm in arms[1:]}
    adjusted = holm([item.p_value for item in differences.values()])
    p_holm = dict(zip(differences, [float(p) for p in adjusted], strict=True))
    return [
        _result(arm, runs[arm], classes, resampling, differences.get(arm), p_holm.get(arm)) for arm in arms
    ]


def _runs_of(rows: pd.DataFrame, classes: list[str], arm: str) -> _Runs:
    index = {name: position for position, name in enumerate(classes)}
    ordered = rows.sort_values(["seed", "chip_id"])
    seeds = tuple(int(seed) for seed in ordered["seed"].unique())
    first = ordered[ordered["seed"] == seeds[0]]
    chips = list(first["chip_id"])
    if list(ordered["chip_id"]) != chips * len(seeds) or len(set(chips)) < len(chips):
        raise DataError(
            f"arm {arm}: its runs do not hold the same chips, once each", fix="run evaluate again"
        )
    predicted = _indices(ordered["predicted"], index).reshape(len(seeds), len(chips))
    truth = _indices(first["label"], index)
    return _Runs(truth, predicted, first["group_id"].to_numpy(dtype=str), tuple(chips), seeds)


def _same_chips(one: _Runs, other: _Runs) -> bool:
    return (
        one.chips == other.chips
        and np.array_equal(one.truth, other.truth)
        and np.array_equal(one.groups, other.groups)
    )


def _indices(names: pd.Series, index: dict[str, int]) -> NDArray[np.int64]:
    unknown = sorted(set(names) - set(index))
    if unknown:
        raise DataError(
            f"predictions name classes {unknown}, expected some of {sorted(index)}",
            fix="score predictions with the class list that they were made with",
        )
    return np.array([index[name] for name in names], dtype=np.int64)


def _difference(runs: _Runs, baseline: _Runs, resampling: Resampling) -> Difference:
    """Paired difference in accuracy; with one run each the p-value is McNemar's exact one."""
    drawn = paired_difference(
        runs.truth,
        runs.predicted,
        baseline.predicted,
        runs.groups,
        seeds_paired=runs.seeds == baseline.seeds,
        draws=resampling.draws,
        seed=resampling.seed,
        level=resampling.level,
    )
    if len(runs.seeds) > 1 or len(baseline.seeds) > 1:
        return drawn
    test = mcnemar_exact(runs.predicted[0] == runs.truth, baseline.predicted[0] == baseline.truth)
    return Difference(drawn.estimate, drawn.low, drawn.high, test.p_value)


def _result(
    arm: str,
    runs: _Runs,
    classes: list[str],
    resampling: Resampling,
    difference: Difference | None,
    p_holm: float | None,
) -> ArmResult:
    n_classes, n_test = len(classes), len(runs.truth)
    confusion = confusion_matrix(runs.truth, runs.predicted, n_classes).sum(axis=0)
    correct = (runs.predicted == runs.truth).sum(axis=1)
    intervals = bootstrap_scores(
        runs.truth,
        runs.predicted,
        runs.groups,
        n_classes=n_classes,
        draws=resampling.draws,
        seed=resampling.seed,
        level=resampling.level,
    )
    if len(runs.seeds) == 1 or intervals["accuracy"].low == intervals["accuracy"].high:
        # Where every group scored alike the bootstrap has no width, which is no certainty.
        intervals["accuracy"] = wilson_interval(round(float(correct.mean())), n_test, resampling.level)
    recall = scores(confusion).per_class_recall
    return ArmResult(
        arm=arm,
        seeds=len(runs.seeds),
        n_test=n_test,
        correct=tuple(int(k) for k in correct),
        confusion=confusion,
        scores=intervals,
        per_class_recall={name: float(value) for name, value in zip(classes, recall, strict=True)},
        difference=difference,
        p_holm=p_holm,
    )


def arm_scores(
    predictions: pd.DataFrame, classes: list[str], resampling: Resampling
) -> dict[str, dict[str, Any]]:
    """Numbers of each arm of one test set, as flat JSON; fractions in 0..1."""
    return {result.arm: flat(result) for result in arm_results(predictions, classes, resampling)}


def detectable_differences(n_test: int) -> dict[str, float | None]:
    """Smallest accuracy difference (fraction) that ``n_test`` independent chips show with 80 % power."""
    return {
        f"discordance_{share:.2f}": None if found is None else round(found, 6)
        for share in DISCORDANCES
        for found in [smallest_detectable_difference(n_test, share)]
    }


def flat(result: ArmResult) -> dict[str, Any]:
    """One arm's numbers as flat JSON; recall is null for a class without test chips."""
    numbers: dict[str, Any] = {
        "n_seeds": result.seeds,
        "n_test": result.n_test,
        "n_correct": list(result.correct),
    }
    for name, interval in result.scores.items():
        numbers |= _rounded(name, interval)
    numbers["per_class_recall"] = {
        name: None if math.isnan(value) else round(value, 6)
        for name, value in result.per_class_recall.items()
    }
    numbers["confusion_sum_over_seeds"] = result.confusion.tolist()
    if result.difference is not None and result.p_holm is not None:
        numbers |= _rounded("accuracy_minus_baseline", result.difference)
        numbers["p_value"] = round(result.difference.p_value, 6)
        numbers["p_value_holm"] = round(result.p_holm, 6)
    return numbers


def _rounded(name: str, interval: Interval | Difference) -> dict[str, float]:
    ends = (("", interval.estimate), ("_low", interval.low), ("_high", interval.high))
    return {f"{name}{end}": round(value, 6) for end, value in ends}
