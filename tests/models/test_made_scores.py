"""Scores of a set against a reference: what each column is, by a plain computation beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sarcurate.core.physics_vector import physics_distance
from sarcurate.core.scorecard import COLUMNS, VECTOR, scorecard
from sarcurate.io import scoring
from sarcurate.io.chip_grid import ParentsOnGrid, chip_grid
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.pair_scores import pair_scores
from sarcurate.io.reference import NETWORK, open_reference
from sarcurate.io.sensors import load_profile
from sarcurate.models import made_scores
from sarcurate.models.made_scores import (
    NO_LENGTH,
    NOT_TRAINED,
    Judge,
    length_over_class,
    own_class,
    with_pairs,
)
from sarcurate.models.reference_network import load_network, outputs

PAIRS = list(made_scores.PAIR_COLUMNS)


def _train(path: Any) -> ChipSet:
    return open_chipset(path, splits=("train",))


@pytest.fixture(scope="module")
def judge(tiny_sets: Any, tiny_judged: Any, tiny_params: Callable[..., Any]) -> Judge:
    parts, folder = tiny_sets.parts(), tiny_judged.references()["target"]
    source, target = _train(parts["source-train"]), _train(parts["target-train"])
    dataset = tiny_params().dataset
    profiles = load_profile(dataset.source.profile), load_profile(dataset.target.profile)
    grids = chip_grid(source, profiles[0]), chip_grid(target, profiles[1])
    return Judge(
        reference=open_reference(folder),
        network=load_network(folder / NETWORK),
        profile=profiles[1],
        parents=ParentsOnGrid([source], grids, same_pixels=False),
        styles=target,
        null_references=5,
        seed=11,
        workers=1,
    )


@pytest.fixture(scope="module")
def psd(tiny_sets: Any) -> ChipSet:
    return _train(tiny_sets.made()["psd"])


@pytest.fixture(scope="module")
def scored(judge: Judge, psd: ChipSet) -> made_scores.ScoredSet:
    return judge.score(psd)


def test_measures_are_those_of_the_scorecard_against_the_reference(
    scored: made_scores.ScoredSet, judge: Judge, psd: ChipSet
) -> None:
    row = scored.table.iloc[3]
    chip = psd.intensity(row["chip_id"])[None]
    card = scorecard(chip, scoring.context_of(psd, judge.profile), judge.reference.yardstick)
    for name in COLUMNS:
        np.testing.assert_allclose(row[name], card[name].values[0], rtol=1e-9, err_msg=name)


def test_distances_are_to_the_references_chips(scored: made_scores.ScoredSet, judge: Judge) -> None:
    """Memorisation: nearest train features, over the median of train chips to the nearest of other folds."""
    train, folds = judge.reference.features.astype(float), judge.reference.train_scores["fold"].to_numpy()
    to_others = [
        min(np.linalg.norm(one - other) for other, f in zip(train, folds, strict=True) if f != fold)
        for one, fold in zip(train, folds, strict=True)
    ]
    nearest = [min(np.linalg.norm(mine - other) for other in train) for mine in scored.features.astype(float)]
    expected = np.array(nearest) / np.median(to_others)
    np.testing.assert_allclose(scored.table["memorisation_ratio"], expected, rtol=1e-9)
    distance = physics_distance(scored.table[list(VECTOR)], judge.reference.standard)
    np.testing.assert_array_equal(scored.table["physics_distance"], distance)


def test_features_and_probabilities_are_the_networks(
    scored: made_scores.ScoredSet, judge: Judge, psd: ChipSet
) -> None:
    features, probabilities = outputs(judge.network, [psd.intensity(c) for c in psd.manifest["chip_id"]])
    np.testing.assert_array_equal(scored.features, features)
    expected = [
        row[judge.network.classes.index(label)]
        for row, label in zip(probabilities, psd.manifest["label"], strict=True)
    ]
    np.testing.assert_array_equal(scored.table["class_probability"], np.array(expected, np.float64))


def test_pairs_are_those_of_the_chip(scored: made_scores.ScoredSet, judge: Judge, psd: ChipSet) -> None:
    expected = pair_scores(psd, judge.parents, judge.styles, 5, 11)
    assert scored.table["chip_id"].tolist() == expected["chip_id"].tolist()
    pd.testing.assert_frame_equal(scored.table[PAIRS], expected[PAIRS])
    assert "ghost_z" in json.loads(scored.table["reasons"].iloc[0])


def test_real_chips_are_measured_without_pairs(judge: Judge) -> None:
    """Train chips against the reference that they are part of: copies of themselves."""
    table = judge.measure(judge.styles).table
    assert not set(PAIRS) & set(table.columns)
    assert (table["memorisation_ratio"] == 0).all()
    assert np.median(table["physics_distance"]) < judge.reference.floors["physics_distance"]


def test_workers_and_blocks_do_not_matter(
    judge: Judge, psd: ChipSet, scored: made_scores.ScoredSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "BLOCK_CHIPS", 3)
    one, two = (replace(judge, workers=workers).measure(psd).table for workers in (1, 2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    pd.testing.assert_frame_equal(one[list(COLUMNS)], scored.table[list(COLUMNS)], rtol=1e-9)


def test_a_class_that_the_network_does_not_know_has_no_probability(judge: Judge, psd: ChipSet) -> None:
    first = psd.manifest["chip_id"].iloc[0]
    labels = psd.manifest["label"].mask(psd.manifest["chip_id"] == first, "F-15")
    table = judge.measure(replace(psd, manifest=psd.manifest.assign(label=labels))).table
    assert table["class_probability"].isna().tolist() == (table["chip_id"] == first).tolist()
    assert json.loads(table["reasons"].iloc[0])["class_probability"] == NOT_TRAINED


def test_a_probability_is_that_of_the_own_label() -> None:
    rows = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    np.testing.assert_array_equal(own_class(rows, ["b", "b", "c"], ["a", "b"]), [0.1, 0.8, np.nan])


def _real(lengths: dict[str, list[float]]) -> pd.DataFrame:
    rows = [(label, value) for label, values in lengths.items() for value in values]
    return pd.DataFrame(rows, columns=["label", "target_length_m"])


def test_lengths_are_held_against_the_median_of_their_class() -> None:
    real = _real({"a": [9.0, 10.0, 11.0, 10.0, np.nan, 50.0], "b": [4.0] * 4, "c": [4.0] * 5})
    made = _real({"a": [20.0, np.nan], "b": [4.0], "c": [1.0], "d": [3.0]})
    expected = [2.0, np.nan, np.nan, 0.25, np.nan]  # of b four real chips have a length, of d none is there
    np.testing.assert_array_equal(length_over_class(made, real), expected)
    assert "too few real chips of the class" in NO_LENGTH


def test_pairs_are_matched_by_chip() -> None:
    table = pd.DataFrame({"chip_id": ["a", "b"], "reasons": ['{"enl":"small"}', ""]})
    pairs = pd.DataFrame(
        {
            "chip_id": ["b", "x", "a"],
            "ghost_z": [2.0, 9.0, np.nan],
            "pair_reasons": ["", "", '{"ghost_z":"no"}'],
        }
    )
    found = with_pairs(table, pairs, ["ghost_z"])
    np.testing.assert_array_equal(found["ghost_z"], [np.nan, 2.0])
    assert found["reasons"].tolist() == ['{"enl":"small","ghost_z":"no"}', ""]
