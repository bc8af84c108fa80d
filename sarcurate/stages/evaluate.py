"""evaluate: ResNet50 per arm and seed, scored on real target test chips."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, ParamsError
from sarcurate.execution import progress
from sarcurate.io import evidence, lineage
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.external import open_external
from sarcurate.io.sensors import load_profile
from sarcurate.io.work_cache import WorkCache
from sarcurate.models import arm_data, arm_runs, resnet
from sarcurate.params import Arm, Params

SOURCE = "source"


@dataclass(frozen=True)
class Inputs:
    """Folders that evaluate reads; ``made`` by set name."""

    source_train: Path
    target_train: Path
    target_test: Path
    made: Mapping[str, Path]


@dataclass(frozen=True)
class Outputs:
    """Files that evaluate writes."""

    metrics: Path
    predictions: Path
    curves: Path
    confusion: Path


@dataclass(frozen=True)
class _Test:
    """A test set in model space."""

    name: str
    chips: ChipSet
    data: arm_data.LabelledChips


def run(params: Params, inputs: Inputs, outputs: Outputs, cache_root: Path) -> dict[str, Any]:
    """Train what is not in the cache, score every arm, write metrics, predictions and curves.

    Returns:
        what was written to ``outputs.metrics``.
    """
    sets = {name: open_chipset(path, splits=("train",)) for name, path in inputs.made.items()}
    source = open_chipset(inputs.source_train, splits=("train",))
    target = open_chipset(inputs.target_train, splits=("train",))
    test = open_chipset(inputs.target_test, splits=("test",))
    _check_arms(params.evaluate.arms, [SOURCE, *sets])
    training = _training_data(params, target, {SOURCE: source, **sets})
    limits = training["real"].limits_db
    with TemporaryDirectory() as scratch:
        tests = [_test(evidence.OWN_TEST, test, limits, params)]
        for external in params.evaluate.external_tests:
            chips = open_external(
                Path(external.path),
                params.dataset.classes,
                load_profile(params.dataset.target.profile),
                test,
                Path(scratch) / external.name,
            )
            tests.append(_test(external.name, chips, limits, params))
    finished = _run_all(params, training, WorkCache(cache_root))
    predictions = _predictions(finished, tests, params, WorkCache(cache_root))
    revision = lineage.dataset_revision([target.revision, test.revision, source.revision, *(s.revision for s in sets.values())])
    metrics = _metrics(params, predictions, tests, training, revision)
    _write(outputs, metrics, predictions, finished)
    return metrics


def _check_arms(arms: Sequence[Arm], known: Sequence[str]) -> None:
    for arm in arms:
        unknown = sorted(set(arm.add) - set(known))
        if unknown:
            raise ParamsError(
                f"evaluate.arms: arm {arm.name} adds {unknown}; there are {sorted(known)}",
                fix="name sets that the stage reads (see dvc.yaml)",
            )


def _training_data(
    params: Params, target: ChipSet, added: Mapping[str, ChipSet]
) -> dict[str, arm_data.LabelledChips]:
    """Model-space chips: ``real``, and each addable set; made chips use the target's dB range."""
    intensities = {row["chip_id"]: target.intensity(row["chip_id"]) for row in target.rows()}
    limits = arm_data.limits_db(list(intensities.values()))
    data = {"real": _labelled(target, limits, params, is_real=True)}
    for name, chips in added.items():
        own = limits
        if name == SOURCE:
            own = arm_data.limits_db([chips.intensity(row["chip_id"]) for row in chips.rows()])
        data[name] = _labelled(chips, own, params, is_real=False)
    return data


def _labelled(chips: ChipSet, limits: tuple[float, float], params: Params, is_real: bool) -> arm_data.LabelledChips:
    rows = list(chips.rows())
    index = {name: position for position, name in enumerate(params.dataset.classes)}
    unknown = sorted({row["label"] for row in rows} - set(index))
    if unknown:
        raise DataError(f"{chips.root} holds classes {unknown} that dataset.classes does not name", fix="correct either")
    return arm_data.prepare(
        [chips.intensity(row["chip_id"]) for row in rows],
        [index[row["label"]] for row in rows],
        [row["pixels_sha256"] for row in rows],
        limits,
        params.evaluate.image_px,
        is_real,
    )


def _test(name: str, chips: ChipSet, limits: tuple[float, float], params: Params) -> _Test:
    return _Test(name, chips, _labelled(chips, limits, params, is_real=True))


def _settings(params: Params) -> resnet.TrainingSettings:
    names = resnet.TrainingSettings.__dataclass_fields__
    return resnet.TrainingSettings(**{name: getattr(params.evaluate, name) for name in names})


def _run_all(
    params: Params, training: Mapping[str, arm_data.LabelledChips], cache: WorkCache
) -> dict[tuple[str, int], arm_runs.FinishedRun]:
    """Every arm with every seed, seeds outermost, so that a killed run leaves whole comparisons."""
    arms, settings = params.evaluate.arms, _settings(params)
    largest = max(len(data.labels) for data in training.values())
    finished: dict[tuple[str, int], arm_runs.FinishedRun] = {}
    with progress("training", len(arms) * params.evaluate.seeds * settings.updates) as advance:
        for index in range(params.evaluate.seeds):
            for arm in arms:
                run = arm_runs.ArmRun(
                    settings=settings,
                    real=training["real"],
                    added=[training[name] for name in arm.add],
                    repeat_to=largest if arm.oversample else None,
                    classical=arm.classical,
                    n_classes=len(params.dataset.classes),
                    # The same seed for every arm pairs initial weights across arms.
                    seed=lineage.seed_from(params.dataset.root_seed, "evaluate", index) % 2**31,
                )
                finished[arm.name, index] = arm_runs.finish(run, cache, lambda: advance(1))
    return finished


def _predictions(
    finished: Mapping[tuple[str, int], arm_runs.FinishedRun],
    tests: Sequence[_Test],
    params: Params,
    cache: WorkCache,
) -> pd.DataFrame:
    """One row per test set, arm, seed and chip; arms in the order of params."""
    parts: list[pd.DataFrame] = []
    classes = np.asarray(params.dataset.classes, dtype=object)
    for test in tests:
        rows = list(test.chips.rows())
        for arm in params.evaluate.arms:
            for seed in range(params.evaluate.seeds):
                done = finished[arm.name, seed]
                probabilities = done.probabilities(test.data, cache)
                best = probabilities.argmax(axis=1)
                part = pd.DataFrame(
                    {
                        "chip_id": [row["chip_id"] for row in rows],
                        "group_id": [row["group_id"] for row in rows],
                        "label": [row["label"] for row in rows],
                        "predicted": classes[best],
                        "confidence": np.round(probabilities.max(axis=1), 4),
                    }
                ).assign(test_set=test.name, arm=arm.name, seed=seed, run_key=done.key)
                parts.append(part[list(evidence.COLUMNS)])
    return pd.concat(parts, ignore_index=True)


def _metrics(
    params: Params,
    predictions: pd.DataFrame,
    tests: Sequence[_Test],
    training: Mapping[str, arm_data.LabelledChips],
    revision: str,
) -> dict[str, Any]:
    evaluate = params.evaluate
    resampling = evidence.Resampling(
        evaluate.interval_level, evaluate.bootstrap_draws, lineage.seed_from(params.dataset.root_seed, "bootstrap")
    )
    metrics: dict[str, Any] = {
        "dataset_revision": revision,
        "evidence": params.dataset.evidence,
        "interval_level": evaluate.interval_level,
        "updates": evaluate.updates,
        "seeds": evaluate.seeds,
    }
    for test in tests:
        results = evidence.arm_results(
            predictions[predictions["test_set"] == test.name], params.dataset.classes, resampling
        )
        arms = {result.arm: evidence.flat(result) for result in results}
        if test.name == evidence.OWN_TEST:
            for arm in evaluate.arms:
                arms[arm.name]["n_train"] = _n_train(arm, training)
            metrics["arms"] = arms
            metrics["smallest_detectable_difference"] = {
                f"discordance_{share:.2f}": evidence.detectable_difference(len(test.data.labels), share)
                for share in (0.15, 0.25, 0.35)
            }
        else:
            content = lineage.merkle_root(test.data.pixels_sha256)
            metrics.setdefault("external_tests", {})[test.name] = {"content_sha256": content, "arms": arms}
    return metrics


def _n_train(arm: Arm, training: Mapping[str, arm_data.LabelledChips]) -> int:
    """Distinct training chips of an arm; repeats of an oversampled chip do not count."""
    return len(training["real"].labels) + sum(len(training[name].labels) for name in arm.add)


def _write(
    outputs: Outputs,
    metrics: Mapping[str, Any],
    predictions: pd.DataFrame,
    finished: Mapping[tuple[str, int], arm_runs.FinishedRun],
) -> None:
    for path in (outputs.metrics, outputs.predictions, outputs.curves, outputs.confusion):
        path.parent.mkdir(parents=True, exist_ok=True)
    predictions.to_parquet(outputs.predictions, index=False)
    curves = [
        {"arm": arm, "seed": seed, "update": update, "loss": round(loss, 5)}
        for (arm, seed), done in finished.items()
        for update, loss in enumerate(done.losses)
    ]
    pd.DataFrame(curves).to_csv(outputs.curves, index=False)
    own = predictions[predictions["test_set"] == evidence.OWN_TEST]
    own[["arm", "label", "predicted"]].to_csv(outputs.confusion, index=False)
    outputs.metrics.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
