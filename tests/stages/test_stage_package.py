from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from sarcurate.errors import DataError, LeakageError
from sarcurate.io import lineage, raster
from sarcurate.io.chipset import ChipSetWriter, open_chipset
from sarcurate.io.hub import records, release
from sarcurate.io.hub.verifying import verify
from sarcurate.io.manifest import SCHEMA
from sarcurate.io.score_table import measure_names, read_scores
from sarcurate.io.selection import Choice, make_selection, read_selection, write_selection
from sarcurate.stages import package

CONFIGS = ("real", "generated", "migrated", "migrated-generated", "translated", "curated")
SIMULATED = "Apache-2.0 (simulated by sarcurate)"


def _table(folder: Path, config: str, split: str = "train") -> pa.Table:
    return pa.concat_tables(
        [pq.read_table(path) for path in sorted((folder / "data" / config).glob(f"{split}-*"))]
    )


def _front(folder: Path) -> Any:
    _, text, _ = (folder / release.CARD).read_text(encoding="utf-8").split("---\n", 2)
    return YAML(typ="safe", pure=True).load(text)


def _rules(**changes: Any) -> list[dict[str, Any]]:
    rule = {"id": "apache-2.0", "redistribute": True, "redistribute_made": True}
    return [{"source": SIMULATED, **rule, **changes}, {"source": "base sarcurate-tiny", **rule}]


def test_every_config_has_the_chips_of_its_sets(
    tiny_release: Path, package_inputs: Any, tiny_params: Callable[..., Any]
) -> None:
    told = release.read_release(tiny_release)
    sizes = {
        name: len(open_chipset(path, ("train",)).manifest)
        for name, path in {**package_inputs.made, "generated": package_inputs.generated}.items()
    }
    held = told.withheld
    for config in ("generated", "migrated", "migrated-generated"):
        found = told.configs.get(config, {}).get("train", 0)
        assert found == sizes[config] - held.get(config, 0)
    translated = sum(sizes[name] - held.get(name, 0) for name in ("physics", "psd"))
    assert told.configs["translated"] == {"train": translated}
    for split, paths in (("train", package_inputs.train), ("test", package_inputs.test)):
        ids = {
            str(chip_id)
            for path in paths.values()
            for chip_id in open_chipset(path, ("train", "test")).manifest["chip_id"]
        }
        table = _table(tiny_release, "real", split)
        assert set(table["chip_id"].to_pylist()) == ids
        assert set(table["split"].to_pylist()) == {split}
    assert [config for config, splits in told.configs.items() if "test" in splits] == ["real"]


def test_the_data_set_revision_is_that_of_evaluate(tiny_release: Path, package_inputs: Any) -> None:
    evaluated = json.loads(package_inputs.metrics.evaluation.read_text())["dataset_revision"]
    assert release.read_release(tiny_release).dataset_revision == evaluated
    assert evaluated in (tiny_release / release.CARD).read_text()


def test_pictures_are_the_chip_files_byte_for_byte_and_all_columns_are_there(
    tiny_release: Path, package_inputs: Any
) -> None:
    chips = open_chipset(package_inputs.made["psd"], ("train",))
    scores = read_scores(package_inputs.judgements.scores).set_index("chip_id")
    manifest = pq.read_table(chips.root / "metadata.parquet").to_pylist()
    known = {row["chip_id"]: row for row in manifest}
    rows = [row for row in _table(tiny_release, "translated").to_pylist() if row["set"] == "psd"]
    assert rows
    for row in rows:
        own = known[row["chip_id"]]
        assert row["image"]["bytes"] == (chips.root / own["file_name"]).read_bytes()
        assert row["preview"]["bytes"] == (chips.root / own["preview_file_name"]).read_bytes()
        for name in set(SCHEMA.names) - {"file_name", "preview_file_name", "label"}:
            expected = lineage.plain(own[name])
            assert row[name] == expected, name
        assert row["manifest_label"] == own["label"]
        for name in measure_names(scores.reset_index()):
            assert row[f"score_{name}"] == lineage.plain(scores.loc[row["chip_id"], name]), name
        assert row["is_made"] is True


def test_curated_is_the_targets_train_chips_and_what_the_selection_kept_under_its_labels(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    first, second, *others = read_selection(package_inputs.judgements.selection).choices
    other = {"B-52": "F-16", "F-16": "B-52"}[first.label]
    chosen = make_selection(
        [
            Choice(first.chip_id, True, other, ""),
            Choice(second.chip_id, False, second.label, "rejected by Ann: two noses"),
            *(replace(choice, kept=True, reason="") for choice in others),
        ]
    )
    inputs = _with_selection(package_inputs, chosen, tmp_path)
    out = tmp_path / "hub"
    package.run(tiny_params({"package.gates": [], "package.reasons": True}), inputs, out)
    table = _table(out, "curated").to_pylist()
    target = open_chipset(package_inputs.train["target"], ("train",)).manifest
    expected = set(target["chip_id"]) | set(chosen.kept)
    assert {row["chip_id"] for row in table} == expected
    found = {row["chip_id"]: row for row in table}
    assert ["B-52", "F-16"][found[first.chip_id]["label"]] == other
    assert found[first.chip_id]["manifest_label"] == first.label
    assert [row["is_made"] for row in table] == [row["chip_id"] in chosen.kept for row in table]
    for config in ("translated", "migrated", "migrated-generated"):
        for row in _table(out, config).to_pylist():
            if row["chip_id"] == second.chip_id:
                assert (row["kept"], row["kept_reason"]) == (False, "rejected by Ann: two noses")
                return
    pytest.fail("the rejected chip is in no config")


def _with_selection(inputs: Any, chosen: Any, folder: Path) -> Any:
    """The inputs with another Selection, and an evaluation of it."""
    write_selection(folder / "selection.parquet", chosen)
    evaluation = json.loads(inputs.metrics.evaluation.read_text())
    revisions = [
        open_chipset(path, ("train",)).revision for path in (*inputs.train.values(), inputs.generated)
    ]
    revisions += [open_chipset(path, ("train",)).revision for path in inputs.made.values()]
    revisions += [open_chipset(inputs.test["target"], ("test",)).revision, chosen.revision]
    evaluation["dataset_revision"] = lineage.dataset_revision(revisions)
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return replace(
        inputs,
        judgements=replace(inputs.judgements, selection=folder / "selection.parquet"),
        metrics=replace(inputs.metrics, evaluation=folder / "evaluation.json"),
    )


def test_reviewers_are_named_only_where_asked_for(tiny_release: Path) -> None:
    for config in ("translated", "migrated"):
        assert set(_table(tiny_release, config)["kept_reason"].to_pylist()) <= {""}


def test_the_same_inputs_give_the_same_bytes(
    tiny_params: Callable[..., Any], package_inputs: Any, tiny_release: Path, tmp_path: Path
) -> None:
    package.run(tiny_params(), package_inputs, tmp_path / "again")
    assert release.read_files(tmp_path / "again") == release.read_files(tiny_release)
    names = release.files_below(tiny_release)
    assert release.files_below(tmp_path / "again") == names
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (tiny_release / name).read_bytes()


def test_small_shards_hold_every_chip_once(
    tiny_params: Callable[..., Any], package_inputs: Any, tiny_release: Path, tmp_path: Path
) -> None:
    from sarcurate.io.hub import shards

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "MEBIBYTE", 1 << 14)  # so that a few chips fill a shard
        package.run(tiny_params({"package.shard_mb": 4}), package_inputs, tmp_path / "hub")
    files = sorted((tmp_path / "hub" / "data" / "real").glob("train-*"))
    assert len(files) > 3
    assert files[0].name == f"train-00000-of-{len(files):05d}.parquet"
    small, large = _table(tmp_path / "hub", "real"), _table(tiny_release, "real")
    assert small.equals(large)
    verify(tmp_path / "hub")


def test_lists_name_every_chip_and_every_held_out_chip(tiny_release: Path, package_inputs: Any) -> None:
    with (tiny_release / release.CHIPS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = release.read_release(tiny_release)
    assert len(rows) == sum(sum(splits.values()) for splits in told.configs.values())
    assert {row["is_made"] for row in rows if row["config"] == "real"} == {"false"}
    assert {row["is_made"] for row in rows if row["config"] == "migrated-generated"} <= {"true"}
    held_out = dict(release.read_test_chips(tiny_release))
    expected = {}
    for path in package_inputs.test.values():
        manifest = open_chipset(path, ("test",)).manifest
        expected |= dict(zip(manifest["chip_id"], manifest["pixels_sha256"], strict=True))
    assert held_out == expected


# --- licences


def test_chips_that_may_not_be_given_on_are_left_out_and_named(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    params = tiny_params({"package.licences": _rules(redistribute=False)})
    said = package.run(params, package_inputs, tmp_path / "hub")
    told = release.read_release(tmp_path / "hub")
    assert set(told.configs) == set(CONFIGS) - {"real"}
    assert {row["is_made"] for row in _table(tmp_path / "hub", "curated").to_pylist()} == {True}
    assert told.sets["target-train"].n_released == 0
    assert any("left out of source-train" in line for line in said)
    card = (tmp_path / "hub" / release.CARD).read_text()
    assert f"| target-test | {told.sets['target-test'].n_chips} | {SIMULATED} |" in card
    assert not (tmp_path / "hub" / "overview.png").exists()  # it would show real chips
    assert "overview.png" not in card
    verify(tmp_path / "hub")


def test_made_chips_need_the_permission_of_the_base_too(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    params = tiny_params({"package.licences": _rules()[:1]})
    package.run(params, package_inputs, tmp_path / "hub")
    told = release.read_release(tmp_path / "hub")
    assert set(told.configs) == {"real", "migrated", "translated", "curated"}
    assert told.left_out == ("base sarcurate-tiny",)
    assert "migrated-generated" not in _table(tmp_path / "hub", "curated")["set"].to_pylist()


def test_where_nothing_may_go_the_folder_says_so_and_holds_no_chip(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    said = package.run(tiny_params({"package.licences": []}), package_inputs, tmp_path / "hub")
    assert "nothing may be released" in said[-1]
    assert release.read_release(tmp_path / "hub").configs == {}
    assert not (tmp_path / "hub" / "data").exists()
    assert "Nothing here may be released" in (tmp_path / "hub" / release.CARD).read_text()
    assert _front(tmp_path / "hub")["license"] == "other"


# --- gates


def test_a_made_chip_that_breaks_a_gate_is_in_no_config(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    scores = read_scores(package_inputs.judgements.scores)
    limit = float(scores["memorisation_ratio"].median())
    gate = {
        "measure": "memorisation_ratio",
        "side": "lower",
        "low": limit,
        "high": None,
        "if_missing": "keep",
    }
    package.run(tiny_params({"package.gates": [gate]}), package_inputs, tmp_path / "hub")
    broken = set(scores["chip_id"][scores["memorisation_ratio"] < limit])
    assert broken
    listed = {chip.chip_id for chip in release.read_chips(tmp_path / "hub")}
    assert not broken & listed
    told = release.read_release(tmp_path / "hub")
    assert sum(told.withheld.values()) >= len(broken)
    assert "Withheld: " in (tmp_path / "hub" / release.CARD).read_text()


# --- refusals


def test_an_evaluation_of_another_state_is_refused(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    evaluation = json.loads(package_inputs.metrics.evaluation.read_text())
    (tmp_path / "e.json").write_text(json.dumps(evaluation | {"dataset_revision": "0" * 16}))
    inputs = replace(package_inputs, metrics=replace(package_inputs.metrics, evaluation=tmp_path / "e.json"))
    with pytest.raises(DataError, match=r"e\.json is of data set revision 0000") as caught:
        package.run(tiny_params(), inputs, tmp_path / "hub")
    assert "dvc repro evaluate" in caught.value.fix


def test_train_chips_that_did_not_pass_validation_are_refused(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    (tmp_path / "v.json").write_text(json.dumps({"passed": True, "train_revisions": {"source": "0"}}))
    with pytest.raises(DataError, match="passed validation"):
        package.run(tiny_params(), replace(package_inputs, validated=tmp_path / "v.json"), tmp_path / "hub")


def test_a_made_chip_styled_after_a_held_out_chip_is_refused(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    chips = open_chipset(package_inputs.made["psd"], ("train",))
    held_out = str(open_chipset(package_inputs.test["target"], ("test",)).manifest["chip_id"].iloc[0])
    with ChipSetWriter(tmp_path / "psd", chips.header) as writer:
        for number, row in enumerate(chips.rows()):
            writer.copy(chips, row | ({"style_ids": [held_out]} if number == 0 else {}))
    inputs = replace(package_inputs, made={**package_inputs.made, "psd": tmp_path / "psd"})
    with pytest.raises(LeakageError, match="1 have a held-out chip as style"):
        package.run(tiny_params(), inputs, tmp_path / "hub")


def test_a_chip_whose_file_changed_is_refused(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(package_inputs.made["psd"], tmp_path / "psd"))
    path = next(folder.rglob("*.tif"))
    raster.write_tiff(path, raster.read_tiff(path) + np.float32(1))
    inputs = replace(package_inputs, made={**package_inputs.made, "psd": folder})
    with pytest.raises(DataError, match="are not those of the manifest"):
        package.run(tiny_params(), inputs, tmp_path / "hub")


def test_an_id_that_is_no_hash_is_refused(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    chips = open_chipset(package_inputs.test["source"], ("test",))
    with ChipSetWriter(tmp_path / "test", chips.header) as writer:
        for number, row in enumerate(chips.rows()):
            pixels = chips.pixels(row["chip_id"])
            writer.add(row | ({"chip_id": "=1+1"} if number == 0 else {}), pixels)
    inputs = replace(package_inputs, test={**package_inputs.test, "source": tmp_path / "test"})
    with pytest.raises(DataError, match="'=1\\+1' or its pixel hash is not hexadecimal"):
        package.run(tiny_params(), inputs, tmp_path / "hub")


def test_scores_of_other_chips_are_refused(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    scores = pd.read_parquet(package_inputs.judgements.scores)
    scores.loc[0, "pixels_sha256"] = "0" * 64
    scores.to_parquet(tmp_path / "s.parquet", index=False)
    inputs = replace(
        package_inputs, judgements=replace(package_inputs.judgements, scores=tmp_path / "s.parquet")
    )
    with pytest.raises(DataError, match="are of other chips than it holds"):
        package.run(tiny_params(), inputs, tmp_path / "hub")


# --- what `datasets` reads


def test_datasets_reads_the_features_from_the_schema_of_a_shard(tiny_release: Path) -> None:
    datasets = pytest.importorskip("datasets")
    schema = pq.read_schema(next((tiny_release / "data" / "real").glob("train-*")))
    features = datasets.Features.from_arrow_schema(schema)
    assert features["image"] == datasets.Image()
    assert features["preview"] == datasets.Image()
    assert features["label"] == datasets.ClassLabel(names=["B-52", "F-16"])
    assert features["is_made"] == datasets.Value("bool")
    assert features["parents"] == datasets.List(datasets.Value("string"))
    assert features["score_enl"] == datasets.Value("float64")
    assert features.arrow_schema.equals(schema, check_metadata=False)
    columns = records.Columns(("B-52", "F-16"), ())
    assert set(columns.types) <= set(features)


def test_the_card_names_configs_splits_licence_and_sizes(tiny_release: Path) -> None:
    front, told = _front(tiny_release), release.read_release(tiny_release)
    assert front["license"] == "apache-2.0"
    assert front["task_categories"] == ["image-classification"]
    assert front["size_categories"] == ["n<1K"]
    configs = {entry["config_name"]: entry for entry in front["configs"]}
    assert set(configs) == set(told.configs)
    assert [name for name, entry in configs.items() if entry.get("default")] == ["curated"]
    for entry in front["configs"]:
        for files in entry["data_files"]:
            assert list(tiny_release.glob(files["path"])), files
    for entry in front["dataset_info"]:
        sizes = {split["name"]: split["num_examples"] for split in entry["splits"]}
        assert sizes == told.configs[entry["config_name"]]


def test_the_card_says_what_people_need(tiny_release: Path) -> None:
    text = (tiny_release / release.CARD).read_text(encoding="utf-8")
    for words in (
        "Share of made chips",
        "scattering centres",
        "Licences",
        "Excluded: made chips in a test set",
        "physics distance",
        "| real-only |",
        "arms.png",
        "smoke run",
        "fucheng1-sim",
        "Withheld",
    ):
        assert words in text, words


def test_training_is_told_only_where_it_can_be_repeated(
    tiny_params: Callable[..., Any], package_inputs: Any, tmp_path: Path
) -> None:
    weights = tiny_params({"evaluate.initial_weights": "w.safetensors"})
    package.run(weights, package_inputs, tmp_path / "weights")
    assert release.read_release(tmp_path / "weights").training is None
    arms = [{"name": name, "add": [], "oversample": False, "classical": False} for name in ("real-only", "x")]
    with pytest.raises(DataError, match=r"has no scores of arms \['x'\]"):
        package.run(tiny_params({"evaluate.arms": arms}), package_inputs, tmp_path / "arms")
