"""Fit of a reference: what a left-out chip can and cannot move, limits as order statistics, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sarcurate.errors import DataError
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.measure_limits import MeasureLimits
from sarcurate.io.reference import Reference
from sarcurate.io.sensors import load_profile
from sarcurate.models.made_scores import NOT_TRAINED
from sarcurate.models.reference_fit import (
    TRAINED_ON,
    FitSettings,
    _left_out_lengths,
    fit_reference,
    measure_limits,
)
from sarcurate.models.reference_network import NetworkSettings

DISTANCES = ("log_psd_distance", "polar_psd_distance", "wasserstein_ln", "correlation_distance")
NETWORK = NetworkSettings(updates=1, batch_size=4, learning_rate=1e-3, threads=1)
SETTINGS = FitSettings(("B-52", "F-16"), content=0.99, confidence=0.9, null_references=5, network=NETWORK)


@pytest.fixture(scope="module")
def chips(tiny_sets: Any) -> ChipSet:
    return open_chipset(tiny_sets.parts()["target-train"], splits=("train",))


def _fit(chips: ChipSet, params: Any, settings: FitSettings = SETTINGS) -> Reference:
    profile = load_profile(params.dataset.target.profile)
    return fit_reference(chips, profile, settings, 7, 1, lambda *_: None)[0]


@pytest.fixture(scope="module")
def before(chips: ChipSet, tiny_params: Callable[..., Any]) -> Reference:
    return _fit(chips, tiny_params())


def _with_changed_chip(chips: ChipSet, changed: str, folder: Path) -> ChipSet:
    """The same set, where one chip's pixels are other speckle of ten times the level."""
    with ChipSetWriter(folder, chips.header) as writer:
        for row in chips.rows():
            if row["chip_id"] == changed:
                speckle = 10 * np.random.default_rng(1).exponential(size=chips.pixels(changed).shape)
                facts = {name: value for name, value in row.items() if name not in _WRITTEN}
                writer.add(facts, speckle.astype(np.float32))
            else:
                writer.copy(chips, row)
    return open_chipset(folder, splits=("train",))


_WRITTEN = ("file_name", "preview_file_name", "pixels_sha256")


@pytest.mark.parametrize("fold", [0, 1])
def test_a_chip_moves_the_distances_of_other_folds_alone(
    fold: int, chips: ChipSet, before: Reference, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    changed = chips.manifest["chip_id"][chips.manifest["fold"] == fold].iloc[2]
    after = _fit(_with_changed_chip(chips, changed, tmp_path / "chips"), tiny_params()).train_scores
    was = before.train_scores
    same = (was["fold"] == fold) & (was["chip_id"] != changed)
    others = was["fold"] != fold
    for name in DISTANCES:
        np.testing.assert_array_equal(after[name][same], was[name][same], name)
        assert (after[name][others] != was[name][others]).all(), name
        assert (after[name] != was[name])[was["chip_id"] == changed].all(), name


def test_features_and_yardstick_are_of_all_chips(before: Reference, chips: ChipSet) -> None:
    assert before.features.shape == (len(chips.manifest), 64)
    pooled = np.stack([chips.intensity(chip_id) for chip_id in chips.manifest["chip_id"]]).astype(float)
    expected = np.percentile(10 * np.log10(pooled[pooled > 0]), [0.1, 99.9])
    np.testing.assert_allclose(before.intensity_limits_db, expected, rtol=1e-6)
    middle = np.quantile(np.log(np.maximum(pooled, before.yardstick.ln_floor)), 0.5)
    assert np.interp(middle, before.yardstick.ln_quantiles, range(512)) == pytest.approx(255.5, abs=1)


def test_lengths_are_held_against_chips_of_other_folds() -> None:
    """Five of the class or more have to be there; the chip's own fold does not count."""
    table = pd.DataFrame({"label": ["a"] * 12 + ["b"] * 4, "target_length_m": [*range(1, 13), *range(4)]})
    folds = np.arange(16) % 2
    found = _left_out_lengths(table, folds)
    even, odd = np.median([1, 3, 5, 7, 9, 11]), np.median([2, 4, 6, 8, 10, 12])
    lengths = np.arange(1.0, 13.0)
    np.testing.assert_allclose(found[:12], np.where(folds[:12] == 0, lengths / odd, lengths / even))
    assert np.isnan(found[12:]).all()


# --- limits


@pytest.mark.parametrize(("content", "confidence"), [(0.99, 0.9), (0.5, 0.9), (0.8, 0.6)])
def test_limits_are_order_statistics_with_the_binomials_confidence(content: float, confidence: float) -> None:
    """The r-th of n from the end with the largest r that P(Binomial(n, 1 - content) >= r) allows."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=40)
    values[[3, 17]] = np.nan
    known = np.sort(values[~np.isnan(values)])
    n = len(known)
    wanted = replace(SETTINGS, content=content, confidence=confidence)
    found = measure_limits(pd.Series(values), np.arange(40) % 4, wanted)
    for ends, low, high in ((1, found.lower, found.upper), (2, found.both_low, found.both_high)):
        assert low is not None
        assert high is not None
        sure = {r: float(stats.binom.sf(ends * r - 1, n, 1 - content)) for r in range(1, n // ends)}
        rank = max([r for r, p in sure.items() if p >= confidence], default=1)
        assert (low.value, high.value) == (known[rank - 1], known[-rank])
        assert (low.n, high.n) == (n, n)
        assert low.confidence == pytest.approx(sure[rank])
        assert high.confidence == pytest.approx(sure[rank])


def test_pass_rates_are_shares_of_left_out_chips_inside_the_others_limits() -> None:
    values, folds = np.random.default_rng(4).normal(size=30), np.arange(30) % 3
    inside = 0
    for fold in range(3):
        others = values[folds != fold]
        inside += int((values[folds == fold] <= others.max()).sum())  # 20 chips: the limit is the largest
    rates = measure_limits(pd.Series(values), folds, SETTINGS).left_out_pass_rate
    assert rates is not None
    assert rates.upper is not None
    assert rates.upper.estimate == pytest.approx(inside / 30)
    assert inside < 30


def test_limits_that_too_few_chips_would_set_are_absent() -> None:
    folds = np.array([0, 0, 1, 1])
    none = measure_limits(pd.Series([np.nan] * 4), folds, SETTINGS)
    assert none == MeasureLimits(None, None, None, None, None)
    one = measure_limits(pd.Series([np.nan, 3.0, np.nan, np.nan]), folds, SETTINGS)
    assert one.lower is not None
    assert one.upper is not None
    assert (one.lower.value, one.upper.value, one.both_low, one.left_out_pass_rate) == (3.0, 3.0, None, None)
    one_fold = measure_limits(pd.Series([1.0, 2.0, np.nan, np.nan]), folds, SETTINGS)
    assert one_fold.both_high is not None
    assert one_fold.left_out_pass_rate is None


# --- reasons


def test_chips_that_the_network_saw_have_no_probability(before: Reference) -> None:
    reasons = [json.loads(text).get("class_probability") for text in before.train_scores["reasons"]]
    seen = (before.train_scores["fold"] != 0).tolist()
    assert reasons == [TRAINED_ON if mine else None for mine in seen]


def test_a_class_that_is_held_back_alone_has_no_probability(
    chips: ChipSet, tiny_params: Callable[..., Any]
) -> None:
    rows = chips.manifest
    held = rows["fold"] == 0
    odd = rows.assign(label=rows["label"].mask(held & (rows["label"] == "F-16"), "C-130"))
    settings = replace(SETTINGS, classes=("B-52", "C-130", "F-16"))
    found = _fit(replace(chips, manifest=odd), tiny_params(), settings).train_scores
    reasons = [json.loads(text).get("class_probability") for text in found["reasons"]]
    expected = [
        TRAINED_ON if fold != 0 else (NOT_TRAINED if label == "C-130" else None)
        for fold, label in zip(odd["fold"], odd["label"], strict=True)
    ]
    assert reasons == expected


# --- refusals


@pytest.mark.parametrize(
    ("folds", "match"),
    [
        (lambda folds: folds * np.nan, "0 folds and 16 chips without one"),
        (lambda folds: folds * 0, "1 folds and 0 chips without one"),
        (lambda folds: folds.where(folds.index > 0), "2 folds and 1 chips without one"),
    ],
    ids=["none", "one", "gap"],
)
def test_chips_without_folds_are_refused(
    folds: Callable[..., Any], match: str, chips: ChipSet, tiny_params: Callable[..., Any]
) -> None:
    rows = chips.manifest.reset_index(drop=True)
    odd = rows.assign(fold=folds(rows["fold"].astype(float)))
    with pytest.raises(DataError, match=match) as caught:
        _fit(replace(chips, manifest=odd), tiny_params())
    assert "dvc repro split" in caught.value.fix


def test_too_few_chips_are_refused(chips: ChipSet, tiny_params: Callable[..., Any]) -> None:
    few = chips.manifest.groupby(["fold", "label"]).head(1)
    with pytest.raises(DataError, match=r"physics vector: 2 of 2 chips .* expected 4 or more"):
        _fit(replace(chips, manifest=few), tiny_params())
