from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sarcurate.errors import DataError, LeakageError, ParamsError
from sarcurate.io import evidence, lineage
from sarcurate.io.chipset import open_chipset
from sarcurate.io.selection import Choice, Selection, make_selection, read_selection, write_selection
from sarcurate.models import arm_runs, resnet
from sarcurate.stages import evaluate


@pytest.fixture
def count_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    calls: list[int] = []
    real = resnet.train

    def counted(*args: Any) -> Any:
        calls.append(1)
        return real(*args)

    monkeypatch.setattr(resnet, "train", counted)
    return lambda: len(calls)


def _metrics(paths: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(paths.outputs.metrics.read_text())
    return found


def _arm(name: str, add: list[str], oversample: bool = False, classical: bool = False) -> dict[str, Any]:
    return {"name": name, "add": add, "oversample": oversample, "classical": classical}


def _runs(params: Any, paths: Any, selection: Selection) -> dict[str, arm_runs.ArmRun]:
    """The planned runs of seed 0 by arm."""
    images = evaluate._images(params, paths.inputs, evaluate._open_train(paths.inputs), selection)
    return {arm: run for (arm, seed), run in evaluate._planned(params, images).items() if seed == 0}


def _class_folders(root: Path, tiny_sets: Any) -> Path:
    """Test chips of the target once more, as class folders of files in its radiometry."""
    chips = open_chipset(tiny_sets.parts()["target-test"], splits=("test",))
    for row in chips.rows():
        (root / row["label"]).mkdir(parents=True, exist_ok=True)
        np.save(root / row["label"] / f"{row['chip_id']}.npy", chips.pixels(row["chip_id"]))
    return root


def test_predictions_hold_every_run_and_test_chip(
    tiny_evaluation: Any, tiny_params: Callable[..., Any]
) -> None:
    table = pd.read_parquet(tiny_evaluation.outputs.predictions)
    test = open_chipset(tiny_evaluation.inputs.target_test, splits=("test",))
    assert list(table.columns) == list(evidence.COLUMNS)
    assert set(table["arm"]) == {arm.name for arm in tiny_params().evaluate.arms}
    for _, run in table.groupby(["arm", "seed"]):
        assert sorted(run["chip_id"]) == sorted(test.manifest["chip_id"])
        assert run["run_key"].nunique() == 1
    assert table["run_key"].nunique() == 2 * 2


def test_metrics_are_those_of_the_kept_predictions(tiny_evaluation: Any) -> None:
    table = pd.read_parquet(tiny_evaluation.outputs.predictions)
    arms = _metrics(tiny_evaluation)["arms"]
    assert list(arms) == ["real-only", "real+physics"]
    for name, numbers in arms.items():
        rows = table[table["arm"] == name]
        right = (rows["label"] == rows["predicted"]).groupby(rows["seed"]).sum().tolist()
        assert numbers["n_correct"] == right
        assert numbers["accuracy"] == pytest.approx(sum(right) / len(rows), abs=1e-6)
        assert np.sum(numbers["confusion_sum_over_seeds"]) == len(rows)
    assert "p_value_holm" in arms["real+physics"]
    assert "p_value_holm" not in arms["real-only"]


def test_training_counts_are_those_of_the_sets(tiny_evaluation: Any) -> None:
    train = open_chipset(tiny_evaluation.inputs.target_train, splits=("train",))
    physics = open_chipset(tiny_evaluation.inputs.made["physics"], splits=("train",))
    arms = _metrics(tiny_evaluation)["arms"]
    assert arms["real-only"]["n_train"] == len(train.manifest)
    assert arms["real+physics"]["n_train"] == len(train.manifest) + len(physics.manifest)


def test_curves_and_confusion_are_plots_of_every_arm(tiny_evaluation: Any) -> None:
    curves = pd.read_csv(tiny_evaluation.outputs.curves)
    assert len(curves) == 2 * 2 * 1  # arms, seeds, updates
    assert {path.stem for path in tiny_evaluation.outputs.confusion.iterdir()} == {
        "real-only",
        "real+physics",
    }


def test_a_second_evaluate_trains_nothing_and_writes_the_same(
    tiny_evaluation: Any,
    evaluate_paths: Callable[[Path], Any],
    tiny_params: Callable[..., Any],
    tmp_path: Path,
    count_training: Callable[[], int],
) -> None:
    again = evaluate_paths(tmp_path).outputs
    evaluate.run(tiny_params(), tiny_evaluation.inputs, again, tiny_evaluation.cache)
    assert count_training() == 0
    for name in ("metrics", "predictions", "curves"):
        assert getattr(again, name).read_bytes() == getattr(tiny_evaluation.outputs, name).read_bytes()


def test_an_empty_cache_gives_the_same_predictions(
    tiny_evaluation: Any,
    evaluate_paths: Callable[[Path], Any],
    tiny_params: Callable[..., Any],
    tmp_path: Path,
    count_training: Callable[[], int],
) -> None:
    again = evaluate_paths(tmp_path)
    evaluate.run(tiny_params(), again.inputs, again.outputs, again.cache)
    assert count_training() == 4
    assert again.outputs.predictions.read_bytes() == tiny_evaluation.outputs.predictions.read_bytes()


def test_run_keys_name_the_runs_without_training(
    tiny_evaluation: Any, tiny_params: Callable[..., Any], count_training: Callable[[], int]
) -> None:
    keys = evaluate.run_keys(tiny_params(), tiny_evaluation.inputs)
    table = pd.read_parquet(tiny_evaluation.outputs.predictions)
    assert {(arm, seed): key for arm, seed, key in table[["arm", "seed", "run_key"]].to_numpy()} == keys
    assert count_training() == 0


def test_seeds_are_outermost_and_shared_by_the_arms(
    tiny_evaluation: Any, tiny_params: Callable[..., Any]
) -> None:
    selection = read_selection(tiny_evaluation.inputs.selection)
    inputs = tiny_evaluation.inputs
    images = evaluate._images(tiny_params(), inputs, evaluate._open_train(inputs), selection)
    runs = evaluate._planned(tiny_params(), images)
    assert list(runs) == [("real-only", 0), ("real+physics", 0), ("real-only", 1), ("real+physics", 1)]
    seeds = [run.seed for run in runs.values()]
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]


def test_oversampling_and_classical_reach_the_runs(
    tiny_evaluation: Any, tiny_params: Callable[..., Any]
) -> None:
    arms = [_arm("real-only", []), _arm("more", [], oversample=True), _arm("jitter", [], classical=True)]
    params = tiny_params({"evaluate.arms": arms, "evaluate.seeds": 1})
    selection = read_selection(tiny_evaluation.inputs.selection)
    inputs = tiny_evaluation.inputs
    images = evaluate._images(params, inputs, evaluate._open_train(inputs), selection)
    runs = {name: run for (name, _seed), run in evaluate._planned(params, images).items()}
    assert runs["more"].repeat_to == max(len(part.labels) for part in images.values())
    assert [run.classical for run in runs.values()] == [False, False, True]
    assert len({run.key() for run in runs.values()}) == 3


@pytest.mark.parametrize(
    "name", ["gan", "gan-curated", "source-curated", "real", "real-curated", "migrated-generated-matched"]
)
def test_an_arm_of_an_unknown_set_is_refused(
    name: str, tiny_evaluation: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    params = tiny_params({"evaluate.arms": [_arm("real-only", []), _arm("real+x", ["physics", name])]})
    with pytest.raises(ParamsError, match=rf"arm real\+x adds \['{name}'\]; there are .*'physics-curated'"):
        evaluate.run(params, tiny_evaluation.inputs, tiny_evaluation.outputs, tmp_path)


# --- curated sets

CURATED_ARMS = [
    _arm("real-only", []),
    _arm("real+physics", ["physics"]),
    _arm("kept", ["physics-curated"]),
    _arm("none-kept", ["psd-curated"]),
]


@pytest.fixture(scope="module")
def some_kept(tiny_judged: Any) -> Selection:
    """Three physics chips are kept, the last of them under the other label; no psd chip is."""
    choices = []
    for name, path in tiny_judged.made().items():
        rows = list(open_chipset(path, splits=("train",)).rows())
        keep = [row["chip_id"] for row in rows if name == "physics"][1:4]
        for row in rows:
            kept = row["chip_id"] in keep
            other = {"B-52": "F-16", "F-16": "B-52"}[row["label"]]
            label = other if row["chip_id"] in keep[-1:] else row["label"]
            choices.append(Choice(row["chip_id"], kept, label, "" if kept else "too bright"))
    return make_selection(choices)


@pytest.fixture(scope="module")
def with_curated(
    some_kept: Selection,
    evaluate_paths: Callable[[Path], Any],
    tiny_params: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """An evaluate of one seed with arms of curated sets, on a Selection of its own."""
    folder = tmp_path_factory.mktemp("curated")
    write_selection(folder / "selection.parquet", some_kept)
    made = evaluate_paths(folder)
    made = replace(made, inputs=replace(made.inputs, selection=folder / "selection.parquet"))
    evaluate.run(_curated_params(tiny_params), made.inputs, made.outputs, made.cache)
    return made


def _curated_params(tiny_params: Callable[..., Any]) -> Any:
    return tiny_params({"evaluate.arms": CURATED_ARMS, "evaluate.seeds": 1})


def test_a_curated_arm_is_trained_on_kept_chips_alone_under_the_selections_labels(
    with_curated: Any, some_kept: Selection, tiny_params: Callable[..., Any]
) -> None:
    params = _curated_params(tiny_params)
    runs = _runs(params, with_curated, some_kept)
    physics = {row["chip_id"]: row for row in _chips(with_curated.inputs.made["physics"])}
    (added,) = runs["kept"].added
    expected = {physics[chip_id]["pixels_sha256"]: label for chip_id, label in some_kept.kept.items()}
    names = [params.dataset.classes[index] for index in added.labels]
    assert dict(zip(added.pixels_sha256, names, strict=True)) == expected
    assert len(expected) == 3
    assert sum(physics[chip_id]["label"] != label for chip_id, label in some_kept.kept.items()) == 1
    (whole,) = runs["real+physics"].added
    for pixels, image in zip(added.pixels_sha256, added.images, strict=True):
        np.testing.assert_array_equal(image, whole.images[whole.pixels_sha256.index(pixels)])


def _chips(path: Path) -> list[dict[str, Any]]:
    return list(open_chipset(path, splits=("train",)).rows())


def test_training_counts_are_those_of_the_kept_chips(with_curated: Any) -> None:
    arms = _metrics(with_curated)["arms"]
    real, physics = (
        len(_chips(with_curated.inputs.target_train)),
        len(_chips(with_curated.inputs.made["physics"])),
    )
    found = {name: numbers["n_train"] for name, numbers in arms.items()}
    assert found == {"real-only": real, "real+physics": real + physics, "kept": real + 3, "none-kept": real}


def test_a_curated_set_without_a_kept_chip_is_the_baseline(with_curated: Any) -> None:
    table = pd.read_parquet(with_curated.outputs.predictions)
    keys = table.groupby("arm")["run_key"].unique().map(list)
    assert keys["none-kept"] == keys["real-only"]
    assert len({*keys.map(tuple)}) == 3
    baseline, none = (
        table[table["arm"] == name].reset_index(drop=True) for name in ("real-only", "none-kept")
    )
    pd.testing.assert_series_equal(baseline["predicted"], none["predicted"])


def test_a_selection_changes_the_revision_and_the_curated_arms_alone(
    with_curated: Any,
    some_kept: Selection,
    evaluate_paths: Callable[[Path], Any],
    tiny_params: Callable[..., Any],
    tmp_path: Path,
    count_training: Callable[[], int],
) -> None:
    first = next(iter(some_kept.kept))
    fewer = make_selection(
        replace(choice, kept=False, reason="rejected by Ann") if choice.chip_id == first else choice
        for choice in some_kept.choices
    )
    write_selection(tmp_path / "selection.parquet", fewer)
    again = evaluate_paths(tmp_path)
    inputs = replace(with_curated.inputs, selection=tmp_path / "selection.parquet")
    evaluate.run(_curated_params(tiny_params), inputs, again.outputs, with_curated.cache)
    assert count_training() == 1
    before, after = _metrics(with_curated), _metrics(again)
    assert after["arms"]["kept"]["n_train"] == before["arms"]["kept"]["n_train"] - 1
    for name in ("real-only", "real+physics", "none-kept"):
        assert after["arms"][name]["n_correct"] == before["arms"][name]["n_correct"]
    assert after["dataset_revision"] != before["dataset_revision"]


def test_the_revision_is_the_hash_of_all_sets_and_the_selection(
    tiny_evaluation: Any, with_curated: Any, some_kept: Selection
) -> None:
    inputs = tiny_evaluation.inputs
    train = [inputs.target_train, inputs.source_train, inputs.generated, *inputs.made.values()]
    revisions = [open_chipset(path, splits=("train",)).revision for path in train]
    revisions.append(open_chipset(inputs.target_test, splits=("test",)).revision)
    for made, selection in ((tiny_evaluation, read_selection(inputs.selection)), (with_curated, some_kept)):
        expected = lineage.dataset_revision([*revisions, selection.revision])
        assert _metrics(made)["dataset_revision"] == expected


def test_a_selection_of_other_chips_is_refused_before_any_training(
    with_curated: Any,
    some_kept: Selection,
    evaluate_paths: Callable[[Path], Any],
    tiny_params: Callable[..., Any],
    tmp_path: Path,
    count_training: Callable[[], int],
) -> None:
    write_selection(tmp_path / "selection.parquet", make_selection(some_kept.choices[1:]))
    paths = evaluate_paths(tmp_path / "out")
    inputs = replace(paths.inputs, selection=tmp_path / "selection.parquet")
    with pytest.raises(DataError, match=f"knows nothing of 1 chips, such as {some_kept.choices[0].chip_id}"):
        evaluate.run(_curated_params(tiny_params), inputs, paths.outputs, paths.cache)
    assert count_training() == 0
    assert not (tmp_path / "out").exists()


# --- the oracle


def test_an_oracle_arm_adds_real_chips_that_the_split_left_over(
    tiny_evaluation: Any,
    evaluate_paths: Callable[[Path], Any],
    tiny_params: Callable[..., Any],
    tmp_path: Path,
    count_training: Callable[[], int],
) -> None:
    inputs = tiny_evaluation.inputs
    free = open_chipset(inputs.target_train, splits=("train",)).manifest.groupby("label").head(2)
    rows = open_chipset(inputs.target, splits=("all",)).rows()
    drawn = [Choice(r["chip_id"], r["chip_id"] not in set(free["chip_id"]), r["label"], "no") for r in rows]
    write_selection(tmp_path / "split.parquet", make_selection(drawn))
    arms = [_arm("real-only", []), _arm("real+physics", ["physics"]), _arm("real+oracle", ["oracle"])]
    params = tiny_params({"evaluate.arms": arms, "evaluate.seeds": 1, "evaluate.oracle_per_class": 1})
    paths = replace(evaluate_paths(tmp_path), inputs=replace(inputs, split=tmp_path / "split.parquet"))
    evaluate.run(params, paths.inputs, paths.outputs, tiny_evaluation.cache)
    assert count_training() == 1  # the other arms are those of the run without an oracle
    metrics = _metrics(paths)
    found = {name: arm["n_train"] for name, arm in metrics["arms"].items()}
    assert found["real+oracle"] == found["real-only"] + 2
    assert metrics["dataset_revision"] != _metrics(tiny_evaluation)["dataset_revision"]
    images = evaluate._images(
        params, paths.inputs, evaluate._open_train(inputs), read_selection(inputs.selection)
    )
    assert set(images["oracle"].pixels_sha256) <= set(free["pixels_sha256"])
    assert images["oracle"].limits_db == images["real"].limits_db


def test_an_oracle_leaves_oversampled_arms_alone(
    tiny_evaluation: Any, tiny_params: Callable[..., Any]
) -> None:
    params = tiny_params({"evaluate.arms": [_arm("real-only", []), _arm("more", [], oversample=True)]})
    inputs = tiny_evaluation.inputs
    images = evaluate._images(params, inputs, evaluate._open_train(inputs), read_selection(inputs.selection))
    before = evaluate._planned(params, images)["more", 0].key()
    whole = images["real"]
    many = replace(whole, images=np.concatenate([whole.images] * 9), labels=np.tile(whole.labels, 9))
    assert len(many.labels) > max(len(part.labels) for part in images.values())
    assert evaluate._planned(params, images | {"oracle": many})["more", 0].key() == before


# --- external tests


@pytest.fixture(scope="module")
def with_external(
    tiny_evaluation: Any,
    evaluate_paths: Callable[[Path], Any],
    tiny_params: Callable[..., Any],
    tiny_sets: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """An evaluate with an external test set, on the cache of the one without."""
    folder = tmp_path_factory.mktemp("external")
    external = _class_folders(folder / "far", tiny_sets)
    params = tiny_params({"evaluate.external_tests": [{"name": "far", "path": str(external)}]})
    made = replace(evaluate_paths(folder), cache=tiny_evaluation.cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet, "train", None)  # a call would fail: nothing may be trained again
        evaluate.run(params, made.inputs, made.outputs, made.cache)
    return made


def test_an_external_test_is_scored_apart_and_changes_nothing_else(
    with_external: Any, tiny_evaluation: Any
) -> None:
    before, after = _metrics(tiny_evaluation), _metrics(with_external)
    assert list(after["external_tests"]) == ["far"]
    assert after["arms"] == before["arms"]
    assert after["dataset_revision"] == before["dataset_revision"]
    table = pd.read_parquet(with_external.outputs.predictions)
    own = table[table["test_set"] == "target-test"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, pd.read_parquet(tiny_evaluation.outputs.predictions))


def test_the_same_chips_elsewhere_score_the_same(with_external: Any) -> None:
    metrics = _metrics(with_external)
    for name, numbers in metrics["external_tests"]["far"]["arms"].items():
        assert numbers["n_correct"] == metrics["arms"][name]["n_correct"]


def test_the_content_hash_is_that_of_the_pixels(with_external: Any) -> None:
    chips = open_chipset(with_external.inputs.target_test, splits=("test",))
    found = _metrics(with_external)["external_tests"]["far"]["content_sha256"]
    assert found == lineage.merkle_root(chips.manifest["pixels_sha256"])


# --- leakage


@pytest.mark.parametrize(
    "swap",
    [
        {"target_train": "target-test"},
        {"source_train": "source-test"},
        {"target_train": "target-all"},
        {"target_test": "target-train"},
        {"target_test": "target-all"},
        {"made": "target-test"},
    ],
    ids=lambda swap: "-as-".join(reversed([*swap.keys(), *swap.values()])),
)
def test_chips_of_another_split_are_refused_before_any_training(
    swap: dict[str, str],
    tiny_sets: Any,
    evaluate_paths: Callable[[Path], Any],
    tiny_params: Callable[..., Any],
    tmp_path: Path,
    count_training: Callable[[], int],
) -> None:
    known = tiny_sets.parts() | {f"{side}-all": path for side, path in tiny_sets.chips().items()}
    paths = evaluate_paths(tmp_path)
    changes: dict[str, Any] = {name: known[other] for name, other in swap.items()}
    if "made" in changes:
        changes["made"] = {**paths.inputs.made, "physics": changes["made"]}
    with pytest.raises(LeakageError) as caught:
        evaluate.run(tiny_params(), replace(paths.inputs, **changes), paths.outputs, paths.cache)
    assert caught.value.exit_code == 3
    assert count_training() == 0
    assert list(tmp_path.iterdir()) == []


def test_made_chips_are_no_external_test(
    tiny_sets: Any, evaluate_paths: Callable[[Path], Any], tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    made = str(tiny_sets.made()["physics"])
    params = tiny_params({"evaluate.external_tests": [{"name": "made", "path": made}]})
    paths = evaluate_paths(tmp_path)
    with pytest.raises(LeakageError, match="translated"):
        evaluate.run(params, paths.inputs, paths.outputs, paths.cache)
    assert not paths.outputs.metrics.exists()


def test_a_class_that_params_do_not_name_is_refused(
    evaluate_paths: Callable[[Path], Any], tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    paths, params = evaluate_paths(tmp_path), tiny_params()
    dataset = params.dataset.model_copy(update={"classes": ["B-52", "F-15"]})
    with pytest.raises(DataError, match=r"\['F-16'\]"):
        evaluate.run(params.model_copy(update={"dataset": dataset}), paths.inputs, paths.outputs, paths.cache)


def test_the_key_of_the_code_covers_training_and_images() -> None:
    one = lineage.own_code_sha256("sarcurate.models.resnet")
    assert arm_runs.code_key() not in (one, lineage.own_code_sha256("sarcurate.models.arm_data"))
