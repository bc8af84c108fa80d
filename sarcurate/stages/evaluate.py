"""evaluate: ResNet50 per arm and seed, scored on held-out target test chips."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from sarcurate.errors import ParamsError
from sarcurate.execution import progress
from sarcurate.io import arms_table, evidence, lineage
from sarcurate.io.added_sets import CURATED, MATCHED, ORACLE, whole
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.external import open_external
from sarcurate.io.selection import Selection, read_selection
from sarcurate.io.sensors import load_profile
from sarcurate.io.work_cache import WorkCache
from sarcurate.models.arm_data import LabelledChips
from sarcurate.models.arm_runs import ArmRun, FinishedRun, finish
from sarcurate.models.arm_sets import (
    REAL,
    ModelSpace,
    TestSet,
    left_over,
    predictions,
    training_images,
)
from sarcurate.models.resnet import TrainingSettings
from sarcurate.params import Params

SOURCE = "source"
GENERATED = "generated"
OWN_TEST = "target-test"
Runs = dict[tuple[str, int], ArmRun]


@dataclass(frozen=True)
class Inputs:
    """Folders and files that evaluate reads; ``made`` by set name.

    ``target`` holds all target chips and ``split`` what became of each: both for the set ``oracle`` alone.
    """

    target: Path
    split: Path
    source_train: Path
    target_train: Path
    target_test: Path
    generated: Path
    made: Mapping[str, Path]
    selection: Path


@dataclass(frozen=True)
class Outputs:
    """Files and folders that evaluate writes."""

    metrics: Path
    predictions: Path
    curves: Path
    confusion: Path


def run(params: Params, inputs: Inputs, outputs: Outputs, cache_root: Path) -> list[str]:
    """Train what is not in the cache, score every arm; one line per arm for the terminal."""
    cache = WorkCache(cache_root)
    train = _open_train(inputs)
    test = open_chipset(inputs.target_test, splits=("test",))
    selection = read_selection(inputs.selection)
    images = _images(params, inputs, train, selection)
    runs = _planned(params, images)
    with TemporaryDirectory() as scratch:
        tests = _tests(params, test, images[REAL].limits_db, Path(scratch))
        finished = _finish_all(params, runs, cache)
        table = predictions(finished, tests, params.dataset.classes, cache)
    revisions = [*(chips.revision for chips in (*train.values(), test)), selection.revision]
    if ORACLE in images:
        revisions.append(lineage.merkle_root(images[ORACLE].pixels_sha256))
    metrics = {
        "dataset_revision": lineage.dataset_revision(revisions),
        "evidence": params.dataset.evidence,
        "interval_level": params.evaluate.interval_level,
        "updates": params.evaluate.updates,
        "seeds": params.evaluate.seeds,
        **_scores(params, table, tests, images),
    }
    _write(outputs, metrics, table, finished)
    return [
        f"data set revision {metrics['dataset_revision']} ({metrics['evidence']})",
        *arms_table.lines(metrics["arms"]),
    ]


def run_keys(params: Params, inputs: Inputs) -> dict[tuple[str, int], str]:
    """Cache key of every (arm, seed), without training anything."""
    images = _images(params, inputs, _open_train(inputs), read_selection(inputs.selection))
    return {name: item.key() for name, item in _planned(params, images).items()}


def training_settings(params: Params) -> TrainingSettings:
    """The settings that every arm shares."""
    names = TrainingSettings.__dataclass_fields__
    return TrainingSettings(**{name: getattr(params.evaluate, name) for name in names})


def _open_train(inputs: Inputs) -> dict[str, ChipSet]:
    folders = {
        REAL: inputs.target_train,
        SOURCE: inputs.source_train,
        GENERATED: inputs.generated,
        **inputs.made,
    }
    return {name: open_chipset(path, splits=("train",)) for name, path in folders.items()}


def _space(params: Params) -> ModelSpace:
    return ModelSpace(params.dataset.classes, params.evaluate.image_px)


def _images(
    params: Params, inputs: Inputs, train: Mapping[str, ChipSet], selection: Selection
) -> dict[str, LabelledChips]:
    made = {name: chips for name, chips in train.items() if name not in (REAL, SOURCE, GENERATED)}
    like_source = {GENERATED: train[GENERATED]}
    source = (SOURCE, train[SOURCE])
    images = training_images(_space(params), train[REAL], source, like_source, made, selection)
    if any(ORACLE in arm.add for arm in params.evaluate.arms):
        target = open_chipset(inputs.target, splits=("all",))
        test = open_chipset(inputs.target_test, splits=("test",))
        chips = left_over(target, read_selection(inputs.split), test, params.evaluate.oracle_per_class)
        # Drawn into batches as added chips are, so that the arms differ in what was added alone.
        images[ORACLE] = _space(params).images(chips, images[REAL].limits_db, is_real=False)
    return images


def _planned(params: Params, images: Mapping[str, LabelledChips]) -> Runs:
    """Every arm with every seed; seeds outermost, so that a killed run leaves whole comparisons."""
    evaluate = params.evaluate
    made = {whole(name) for name in images} - {REAL, SOURCE, GENERATED, ORACLE}
    known = {SOURCE, GENERATED, ORACLE, *made, *(name + CURATED for name in made)}
    known |= {name for name in images if name.endswith(MATCHED)}
    for arm in evaluate.arms:
        unknown = sorted(set(arm.add) - known)
        if unknown:
            raise ParamsError(
                f"evaluate.arms: arm {arm.name} adds {unknown}; there are {sorted(known)}",
                fix="name sets that the stage reads (see dvc.yaml)",
            )
    settings = training_settings(params)
    # Of what a release holds too: an oracle would make its oversampled arms other training sets.
    largest = max(len(part.labels) for name, part in images.items() if name != ORACLE)
    return {
        (arm.name, index): ArmRun(
            settings=settings,
            real=images[REAL],
            # A set of which curation kept no chip adds none; its arm then is the baseline's training set.
            added=[images[name] for name in arm.add if name in images],
            repeat_to=largest if arm.oversample else None,
            classical=arm.classical,
            n_classes=len(params.dataset.classes),
            seed=evidence.run_seed(params.dataset.root_seed, index),
        )
        for index in range(evaluate.seeds)
        for arm in evaluate.arms
    }


def _tests(params: Params, test: ChipSet, limits_db: tuple[float, float], scratch: Path) -> list[TestSet]:
    chips = {OWN_TEST: test}
    profile = load_profile(params.dataset.target.profile)
    for external in params.evaluate.external_tests:
        path, workspace = Path(external.path), scratch / external.name
        chips[external.name] = open_external(path, params.dataset.classes, profile, test, workspace)
    space = _space(params)
    return [TestSet(name, each, space.images(each, limits_db, is_real=True)) for name, each in chips.items()]


def _finish_all(params: Params, runs: Runs, cache: WorkCache) -> dict[tuple[str, int], FinishedRun]:
    with progress("training", len(runs) * params.evaluate.updates) as advance:
        return {name: finish(item, cache, lambda: advance(1)) for name, item in runs.items()}


def _scores(
    params: Params, table: pd.DataFrame, tests: list[TestSet], images: Mapping[str, LabelledChips]
) -> dict[str, Any]:
    """Arms of the own test set, and apart from them those of each external one with its content hash."""
    evaluate = params.evaluate
    seed = lineage.seed_from(params.dataset.root_seed, "bootstrap")
    resampling = evidence.Resampling(evaluate.interval_level, evaluate.bootstrap_draws, seed)
    arms = {
        test.name: evidence.arm_scores(
            table[table["test_set"] == test.name], params.dataset.classes, resampling
        )
        for test in tests
    }
    for arm in evaluate.arms:
        added = sum(len(images[name].labels) for name in arm.add if name in images)
        arms[OWN_TEST][arm.name] = {"n_train": len(images[REAL].labels) + added} | arms[OWN_TEST][arm.name]
    return {
        "arms": arms[OWN_TEST],
        "smallest_detectable_difference": evidence.detectable_differences(len(tests[0].data.labels)),
        "external_tests": {
            test.name: {**_content(test, images), "arms": arms[test.name]} for test in tests[1:]
        },
    }


def _content(test: TestSet, images: Mapping[str, LabelledChips]) -> dict[str, Any]:
    """What an external test set holds, and how many of its chips some arm was trained on."""
    trained_on = {pixels for part in images.values() for pixels in part.pixels_sha256}
    return {
        "content_sha256": lineage.merkle_root(test.data.pixels_sha256),
        "n_also_in_training": sum(pixels in trained_on for pixels in test.data.pixels_sha256),
    }


def _write(
    outputs: Outputs,
    metrics: Mapping[str, Any],
    table: pd.DataFrame,
    finished: Mapping[tuple[str, int], FinishedRun],
) -> None:
    outputs.predictions.parent.mkdir(parents=True, exist_ok=True)
    table[list(evidence.COLUMNS)].to_parquet(outputs.predictions, index=False)
    losses = [
        pd.DataFrame({"arm": arm, "seed": seed, "update": range(len(done.losses)), "loss": done.losses})
        for (arm, seed), done in finished.items()
    ]
    pd.concat(losses).round(5).to_csv(outputs.curves, index=False)
    outputs.confusion.mkdir(parents=True, exist_ok=True)
    for arm, rows in table[table["test_set"] == OWN_TEST].groupby("arm"):
        rows[["label", "predicted"]].to_csv(outputs.confusion / f"{arm}.csv", index=False)
    outputs.metrics.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
