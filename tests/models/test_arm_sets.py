from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from sarcurate.errors import DataError, LeakageError
from sarcurate.io import evidence, lineage
from sarcurate.io.added_sets import CURATED, MATCHED
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.selection import Choice, Selection, make_selection
from sarcurate.io.work_cache import WorkCache
from sarcurate.models import arm_data
from sarcurate.models.arm_runs import FinishedRun
from sarcurate.models.arm_sets import (
    REAL,
    ModelSpace,
    TestSet,
    curated,
    left_over,
    matched,
    own_limits,
    predictions,
    training_images,
)

TestSet.__test__ = False  # type: ignore[attr-defined]  # no test class, whatever its name says
SPACE = ModelSpace(["B-52", "F-16"], 32)


def _train(tiny_sets: Any, name: str) -> ChipSet:
    path = tiny_sets.made()[name] if name in tiny_sets.made() else tiny_sets.parts()[name]
    return open_chipset(path, splits=("train",))


def _selection(chips: ChipSet, kept: dict[str, str]) -> Selection:
    """All chips of a set; those in ``kept`` under the label given there."""
    return make_selection(
        Choice(row["chip_id"], row["chip_id"] in kept, kept.get(row["chip_id"], row["label"]), "why not")
        for row in chips.rows()
    )


def test_images_come_in_order_of_chip_id_with_their_labels(tiny_sets: Any) -> None:
    chips = _train(tiny_sets, "target-train")
    images = SPACE.images(chips, (-25.0, 10.0), is_real=True)
    rows = list(chips.rows())
    assert [SPACE.classes[label] for label in images.labels] == [row["label"] for row in rows]
    assert images.pixels_sha256 == tuple(row["pixels_sha256"] for row in rows)
    assert images.images.shape == (len(rows), 32, 32)


def test_an_unknown_class_is_refused(tiny_sets: Any) -> None:
    with pytest.raises(DataError, match=r"classes \['F-16'\]"):
        ModelSpace(["B-52", "F-15"], 32).images(_train(tiny_sets, "target-train"), (-25.0, 10.0), True)


def test_source_chips_keep_their_own_range_and_made_chips_take_the_targets(tiny_sets: Any) -> None:
    target, source, physics = (
        _train(tiny_sets, name) for name in ("target-train", "source-train", "physics")
    )
    none = _selection(physics, {})
    images = training_images(SPACE, target, ("source", source), {}, {"physics": physics}, none)
    assert list(images) == [REAL, "source", "physics"]
    assert images[REAL].limits_db == own_limits(target) == images["physics"].limits_db
    assert images["source"].limits_db == own_limits(source) != own_limits(target)
    assert [part.is_real for part in images.values()] == [True, False, False]


def test_limits_are_those_of_all_train_chips(tiny_sets: Any) -> None:
    chips = _train(tiny_sets, "target-train")
    pooled = np.stack([chips.intensity(row["chip_id"]) for row in chips.rows()]).ravel()
    expected = np.percentile(10 * np.log10(pooled[pooled > 0].astype(float)), arm_data.LIMIT_PERCENTILES)
    np.testing.assert_allclose(own_limits(chips), expected)


# --- curated sets


@pytest.fixture
def physics(tiny_sets: Any) -> ChipSet:
    return _train(tiny_sets, "physics")


def test_kept_chips_keep_their_images_and_take_the_selections_labels(physics: ChipSet) -> None:
    whole = SPACE.images(physics, (-25.0, 10.0), is_real=False)
    ids = list(physics.manifest["chip_id"])
    places = [1, 4, 6]
    own = [physics.manifest["label"].iloc[place] for place in places]
    relabelled = "F-16" if own[1] == "B-52" else "B-52"
    labels = [own[0], relabelled, own[2]]
    selection = _selection(physics, dict(zip([ids[place] for place in places], labels, strict=True)))
    found = curated(SPACE, physics, whole, selection)
    assert found is not None
    np.testing.assert_array_equal(found.images, whole.images[places])
    assert [SPACE.classes[index] for index in found.labels] == labels
    assert found.pixels_sha256 == tuple(whole.pixels_sha256[place] for place in places)
    assert (found.limits_db, found.is_real) == (whole.limits_db, False)


def test_a_selection_of_all_chips_is_the_whole_set(physics: ChipSet) -> None:
    whole = SPACE.images(physics, (-25.0, 10.0), is_real=False)
    labels = dict(zip(physics.manifest["chip_id"], physics.manifest["label"], strict=True))
    found = curated(SPACE, physics, whole, _selection(physics, labels))
    assert found is not None
    np.testing.assert_array_equal(found.images, whole.images)
    np.testing.assert_array_equal(found.labels, whole.labels)


def test_without_a_kept_chip_there_is_no_curated_set(physics: ChipSet) -> None:
    whole = SPACE.images(physics, (-25.0, 10.0), is_real=False)
    assert curated(SPACE, physics, whole, _selection(physics, {})) is None


def test_a_chip_that_the_selection_does_not_know_is_refused(physics: ChipSet) -> None:
    whole = SPACE.images(physics, (-25.0, 10.0), is_real=False)
    lacking = make_selection(_selection(physics, {}).choices[2:])
    first = physics.manifest["chip_id"].iloc[0]
    with pytest.raises(DataError, match=f"the selection knows nothing of 2 chips, such as {first}") as caught:
        curated(SPACE, physics, whole, lacking)
    assert "dvc repro" in caught.value.fix


def test_a_label_that_is_no_class_is_refused_only_on_a_kept_chip(physics: ChipSet) -> None:
    whole = SPACE.images(physics, (-25.0, 10.0), is_real=False)
    first, second = physics.manifest["chip_id"].iloc[:2]
    with pytest.raises(DataError, match=r"labels \['F-15'\] that dataset\.classes does not name"):
        curated(SPACE, physics, whole, _selection(physics, {first: "F-15"}))
    rejected = Choice(first, False, "F-15", "no such class")
    others = [c for c in _selection(physics, {second: "F-16"}).choices if c.chip_id != first]
    found = curated(SPACE, physics, whole, make_selection([rejected, *others]))
    assert found is not None
    assert found.labels.tolist() == [1]


def test_curated_sets_stand_beside_the_whole_ones_where_a_chip_is_kept(tiny_sets: Any) -> None:
    target, source = (_train(tiny_sets, name) for name in ("target-train", "source-train"))
    made = {name: _train(tiny_sets, name) for name in ("physics", "psd")}
    kept = dict.fromkeys(made["physics"].manifest["chip_id"].iloc[:3], "B-52")
    choices = [c for chips in made.values() for c in _selection(chips, kept).choices]
    images = training_images(SPACE, target, ("source", source), {}, made, make_selection(choices))
    assert list(images) == [REAL, "source", "physics", "physics" + CURATED, "psd"]
    assert len(images["physics" + CURATED].labels) == 3
    assert len(images["physics"].labels) == len(made["physics"].manifest)


class _Known:
    """A finished run that always predicts one class."""

    def __init__(self, answer: int) -> None:
        self.key = f"key-{answer}"
        self._answer = answer

    def probabilities(self, test: arm_data.LabelledChips, _cache: WorkCache) -> NDArray[np.float32]:
        found = np.full((len(test.labels), 2), 0.25, np.float32)
        found[:, self._answer] = 0.75
        return found


def test_predictions_hold_one_row_per_test_set_run_and_chip(tiny_sets: Any, tmp_path: Path) -> None:
    chips = _train(tiny_sets, "target-train")
    images = SPACE.images(chips, (-25.0, 10.0), is_real=True)
    tests = [TestSet("own", chips, images), TestSet("far", chips, images)]
    finished = {("real-only", 0): _Known(0), ("real-only", 1): _Known(1), ("real+x", 0): _Known(1)}
    table = predictions(
        cast("dict[tuple[str, int], FinishedRun]", finished), tests, SPACE.classes, WorkCache(tmp_path)
    )
    assert set(table.columns) == set(evidence.COLUMNS)
    assert len(table) == 2 * 3 * len(chips.manifest)
    assert set(table["confidence"]) == {0.75}
    answers = table.groupby(["arm", "seed"])["predicted"].unique().map(list).to_dict()
    assert answers == {("real-only", 0): ["B-52"], ("real-only", 1): ["F-16"], ("real+x", 0): ["F-16"]}
    own = table[(table["test_set"] == "own") & (table["arm"] == "real+x")]
    assert own["chip_id"].tolist() == chips.manifest["chip_id"].tolist()
    assert own["label"].tolist() == chips.manifest["label"].tolist()


# --- what the split left over


@pytest.fixture(scope="module")
def target(tiny_sets: Any) -> ChipSet:
    return open_chipset(tiny_sets.chips()["target"], splits=("all",))


@pytest.fixture(scope="module")
def target_test(tiny_sets: Any) -> ChipSet:
    return open_chipset(tiny_sets.parts()["target-test"], splits=("test",))


def _split_without(chips: ChipSet, ids: list[str]) -> Selection:
    return make_selection(
        Choice(row["chip_id"], row["chip_id"] not in ids, row["label"], "not drawn") for row in chips.rows()
    )


def _train_ids(tiny_sets: Any, per_class: int) -> list[str]:
    train = _train(tiny_sets, "target-train").manifest
    return list(train.groupby("label").head(per_class)["chip_id"])


def test_the_oracle_holds_what_the_split_drew_for_nothing(
    tiny_sets: Any, target: ChipSet, target_test: ChipSet
) -> None:
    free = _train_ids(tiny_sets, 3)
    every = left_over(target, _split_without(target, free), target_test, None)
    assert list(every.manifest["chip_id"]) == sorted(free)
    two = left_over(target, _split_without(target, free), target_test, 2).manifest
    assert two.groupby("label").size().to_dict() == {"B-52": 2, "F-16": 2}
    for label, rows in every.manifest.groupby("label"):
        expected = sorted(rows["chip_id"], key=lineage.sha256_text)[:2]
        assert sorted(two.loc[two["label"] == label, "chip_id"]) == sorted(expected)


def test_the_oracle_takes_no_chip_of_a_tested_group(
    tiny_sets: Any, target: ChipSet, target_test: ChipSet
) -> None:
    free = [*_train_ids(tiny_sets, 2), target_test.manifest["chip_id"].iloc[0]]
    with pytest.raises(LeakageError, match=r"has chips in .*target-test and others"):
        left_over(target, _split_without(target, free), target_test, None)


def test_an_oracle_of_too_few_chips_is_refused(tiny_sets: Any, target: ChipSet, target_test: ChipSet) -> None:
    free = _train_ids(tiny_sets, 2)[:-1]
    with pytest.raises(DataError, match="the split left 1 chips of class F-16") as caught:
        left_over(target, _split_without(target, free), target_test, 2)
    assert "evaluate.oracle_per_class" in caught.value.fix
    with pytest.raises(DataError, match="the split left 0 chips"):
        left_over(target, _split_without(target, []), target_test, None)


# --- sets of the same contents


def _of_contents(chips: ChipSet, contents: set[str]) -> ChipSet:
    """A set cut to the chips of some contents."""
    shown = [row["chip_id"] for row in chips.rows() if row["parents"][0] in contents]
    rows = chips.manifest[chips.manifest["chip_id"].isin(shown)].reset_index(drop=True)
    return replace(chips, manifest=rows)


def test_matched_sets_hold_the_contents_that_were_migrated(tiny_sets: Any) -> None:
    target, source, physics, psd = (
        _train(tiny_sets, name) for name in ("target-train", "source-train", "physics", "psd")
    )
    contents = set(source.manifest["chip_id"].iloc[[0, 3, 4]])
    made = {"physics": physics, "migrated": _of_contents(psd, contents)}
    none = make_selection(
        Choice(row["chip_id"], False, row["label"], "no") for chips in (physics, psd) for row in chips.rows()
    )
    images = training_images(SPACE, target, ("source", source), {}, made, none)
    assert set(images) == {REAL, "source", *made, *(name + MATCHED for name in ("source", *made))}
    for name, chips in {"source": source, "physics": physics}.items():
        rows = list(chips.rows())
        wanted = [row for row in rows if (row["parents"] or [row["chip_id"]])[0] in contents]
        assert len(wanted) == 3 < len(rows)
        assert images[name + MATCHED].pixels_sha256 == tuple(row["pixels_sha256"] for row in wanted)
        assert [SPACE.classes[index] for index in images[name + MATCHED].labels] == [
            row["label"] for row in wanted
        ]
        assert images[name + MATCHED].limits_db == images[name].limits_db
    assert images["migrated" + MATCHED].identity() == images["migrated"].identity()


def test_a_set_of_other_contents_has_no_matched_part(physics: ChipSet) -> None:
    images = SPACE.images(physics, (-25.0, 10.0), is_real=False)
    assert matched(physics, images, {"of no chip"}) is None
