from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sarcurate.core.marginal import QUANTILE_LEVELS
from sarcurate.core.scorecard import COLUMNS, VECTOR
from sarcurate.errors import DataError, LeakageError
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.reference import TRAIN_SCORES, open_reference
from sarcurate.io.score_table import IDENTITY, measure_names, read_scores
from sarcurate.stages import score

BEYOND = ("physics_distance", "memorisation_ratio", "class_probability", "target_length_over_class")
PAIRS = ("content_retention", "content_z", "ghost_ncc", "ghost_z")


def _train(path: Path) -> ChipSet:
    return open_chipset(path, splits=("train",))


MADE = ("physics", "psd", "migrated", "migrated-generated")


def _outputs(folder: Path) -> score.Outputs:
    return score.Outputs(*(folder / field.name for field in fields(score.Outputs)))


@pytest.fixture(scope="module")
def inputs(tiny_sets: Any, tiny_judged: Any) -> score.Inputs:
    parts = tiny_sets.parts()
    references = tiny_judged.references()
    return score.Inputs(
        parts["source-train"],
        parts["target-train"],
        references["source"],
        references["target"],
        tiny_judged.generated(),
        tiny_judged.made(),
    )


@pytest.fixture(scope="module")
def scores(tiny_judged: Any) -> pd.DataFrame:
    return read_scores(tiny_judged.scores().scores)


@pytest.fixture(scope="module")
def quality(tiny_judged: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tiny_judged.scores().quality.read_text())
    return found


# --- tables


def test_every_made_chip_has_one_row_with_the_name_of_its_set(scores: pd.DataFrame, tiny_judged: Any) -> None:
    assert scores["set"].unique().tolist() == sorted(MADE)
    for name, path in tiny_judged.made().items():
        rows, manifest = scores[scores["set"] == name], _train(path).manifest
        for column in IDENTITY:
            assert rows[column].tolist() == manifest[column].tolist(), column


def test_columns_are_set_identity_measures_and_reasons(scores: pd.DataFrame) -> None:
    expected = ["set", *IDENTITY, *COLUMNS, *BEYOND, *PAIRS, "reasons"]
    assert list(scores.columns) == expected
    assert {str(scores[name].dtype) for name in measure_names(scores)} == {"float64"}


def test_source_chips_as_they_are_stand_apart(tiny_judged: Any, inputs: score.Inputs) -> None:
    table = read_scores(tiny_judged.scores().source_scores)
    assert set(table["set"]) == {"source"}
    assert table["chip_id"].tolist() == _train(inputs.source_train).manifest["chip_id"].tolist()
    assert not set(PAIRS) & set(table.columns)
    assert table[["physics_distance", "memorisation_ratio"]].notna().all().all()


def test_every_gap_has_a_reason_and_every_reason_a_gap(tiny_judged: Any) -> None:
    outputs = tiny_judged.scores()
    references = [folder / TRAIN_SCORES for folder in tiny_judged.references().values()]
    gaps = 0
    for path in (outputs.scores, outputs.source_scores, *references):
        table = pd.read_parquet(path)
        for _, row in table.iterrows():
            why = json.loads(row["reasons"]) if row["reasons"] else {}
            missing = {name for name in measure_names(table) if math.isnan(row[name])}
            assert set(why) == missing, path
            assert all(isinstance(text, str) and text for text in why.values())
            gaps += len(missing)
        assert np.isfinite(table[measure_names(table)]).to_numpy().sum() > 0
        assert not np.isinf(table[measure_names(table)]).to_numpy().any()
    assert gaps > 0


def test_made_chips_without_style_references_say_so(scores: pd.DataFrame) -> None:
    translated = scores["set"].isin(["physics", "psd"])
    why = [json.loads(text) for text in scores["reasons"][translated]]
    assert {row["ghost_ncc"] for row in why} == {"no style reference"}
    assert scores["ghost_ncc"][~translated].between(-1, 1).all()
    assert scores["content_retention"].between(-1, 1).all()


def test_all_have_a_physics_vector_and_its_distance(scores: pd.DataFrame) -> None:
    assert scores[list(VECTOR)].notna().all().all()
    assert (scores["physics_distance"] > 0).all()


# --- numbers of sets


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        else:
            yield tree, name, value


def test_numbers_are_finite_or_absent_with_a_reason(quality: dict[str, Any]) -> None:
    absent = 0
    for siblings, name, value in _leaves(quality):
        if value is None:
            absent += 1
            base = name.removesuffix("_low").removesuffix("_high")
            assert siblings[f"{base}_reason"], name
        elif not isinstance(value, str):
            assert math.isfinite(value), name
    assert absent > 0


def test_sets_are_the_made_ones_and_the_source_as_the_gap(
    quality: dict[str, Any], inputs: score.Inputs, tiny_params: Callable[..., Any]
) -> None:
    assert list(quality["sets"]) == ["source", *MADE]
    section = tiny_params().score
    assert (quality["interval_level"], quality["draws"]) == (section.interval_level, section.bootstrap_draws)
    assert quality["real"]["n_chips"] == len(_train(inputs.target_train).manifest)
    assert quality["sets"]["source"]["n_chips"] == len(_train(inputs.source_train).manifest)
    for name, value in quality["sets"]["source"].items():
        if name.startswith("gap_closed_") and name.count("_low") + name.count("_high") == 0:
            assert value in (0, None) or name.endswith("_reason")


def test_the_median_looks_are_those_of_the_tables(
    quality: dict[str, Any], scores: pd.DataFrame, inputs: score.Inputs
) -> None:
    train = open_reference(inputs.target_reference).train_scores
    assert quality["real"]["median_enl"] == pytest.approx(train["enl"].median(), rel=0.1)
    for name, rows in scores.groupby("set"):
        assert quality["sets"][name]["median_enl"] == pytest.approx(rows["enl"].median(), rel=0.1)


def test_pooled_laws_are_those_of_every_set(tiny_judged: Any, tiny_sets: Any) -> None:
    laws = pd.read_csv(tiny_judged.scores().marginal)
    assert laws["set"].unique().tolist() == ["target", "source", *MADE]
    for name, law in laws.groupby("set"):
        np.testing.assert_allclose(law["probability"], QUANTILE_LEVELS)
        assert law["intensity_db"].is_monotonic_increasing
        path = tiny_judged.made().get(str(name)) or tiny_sets.parts()[f"{name}-train"]
        chips = _train(path)
        pooled = np.stack([chips.intensity(chip_id) for chip_id in chips.manifest["chip_id"]]).astype(float)
        level = 10 * np.log10(np.quantile(pooled, QUANTILE_LEVELS[300]))
        assert law["intensity_db"].iloc[300] == pytest.approx(level, abs=0.01)


# --- generated chips


def test_generated_chips_are_held_against_the_source(
    tiny_judged: Any, inputs: score.Inputs, tiny_sets: Any
) -> None:
    """Their distances are to the source's train chips, and no gap is spoken of: there is nothing to close."""
    table = read_scores(tiny_judged.scores().generated_scores)
    assert table["set"].unique().tolist() == ["generated"]
    assert table["chip_id"].tolist() == _train(inputs.generated).manifest["chip_id"].tolist()
    assert not set(PAIRS) & set(table.columns)
    quality = json.loads(tiny_judged.scores().generated_quality.read_text())
    assert list(quality["sets"]) == ["generated"]
    assert not [name for name in quality["sets"]["generated"] if name.startswith("gap_closed")]
    assert quality["real"]["n_chips"] == len(_train(inputs.source_train).manifest)


def test_source_chips_given_as_generated_are_copies(
    inputs: score.Inputs, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    outputs = _outputs(tmp_path)
    score.run(tiny_params(), replace(inputs, generated=inputs.source_train), outputs)
    assert (read_scores(outputs.generated_scores)["memorisation_ratio"] == 0).all()
    entry = json.loads(outputs.generated_quality.read_text())["sets"]["generated"]
    assert entry["log_psd_distance"] == pytest.approx(0, abs=1e-9)


# --- what a copy scores


@pytest.fixture(scope="module")
def copies(
    inputs: score.Inputs, tiny_params: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> score.Outputs:
    """Scores of a "made" set that is the real target train set itself."""
    outputs = _outputs(tmp_path_factory.mktemp("copies"))
    score.run(tiny_params(), replace(inputs, made={"copies": inputs.target_train}), outputs)
    return outputs


def test_copies_of_train_chips_are_found(copies: score.Outputs) -> None:
    table = read_scores(copies.scores)
    assert (table["memorisation_ratio"] == 0).all()


def test_copies_of_train_chips_close_the_gap(copies: score.Outputs, inputs: score.Inputs) -> None:
    """A set that is the real one is nearer than halves of it are, so no gap is left; medians agree."""
    quality = json.loads(copies.quality.read_text())
    entry = quality["sets"]["copies"]
    for name in ("mmd_physics", "log_psd_distance", "median_enl_ln_ratio", "log_cumulant_2_ln_ratio"):
        assert entry[f"gap_closed_{name}"] >= 0.9, name
    assert entry["gap_closed_mmd_physics"] == pytest.approx(1, abs=0.2)
    assert entry["log_psd_distance"] == pytest.approx(0, abs=1e-9)
    assert entry["median_enl_ln_ratio"] == pytest.approx(0, abs=1e-9)
    assert entry["median_enl"] == quality["real"]["median_enl"]
    assert (entry["precision"], entry["recall"], entry["coverage"]) == (1, 1, 1)


# --- repetition


def test_a_second_run_writes_the_same_bytes_for_any_number_of_workers(
    inputs: score.Inputs,
    tiny_judged: Any,
    tiny_params: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(score, "cpu_count", lambda: 1)
    said = score.run(tiny_params(), inputs, _outputs(tmp_path))
    for field in fields(score.Outputs):
        again, first = (getattr(made, field.name) for made in (_outputs(tmp_path), tiny_judged.scores()))
        assert again.read_bytes() == first.read_bytes(), field.name
    firsts = [line.split()[0] for line in said]
    assert firsts == [
        "against",
        "set",
        "real",
        "source",
        *MADE,
        "against",
        "set",
        "real",
        "generated",
    ]


# --- refusals


def test_a_reference_of_other_chips_is_refused(
    inputs: score.Inputs, tiny_judged: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    other = replace(inputs, target_reference=tiny_judged.references()["source"])
    revisions = [_train(path).revision[:16] for path in (inputs.source_train, inputs.target_train)]
    with pytest.raises(
        DataError, match=rf"fitted on revision {revisions[0]}, .* is {revisions[1]}"
    ) as caught:
        score.run(tiny_params(), other, _outputs(tmp_path))
    assert "dvc repro reference" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "swap",
    [
        {"source_train": "source-test"},
        {"target_train": "target-test"},
        {"target_train": "target-all"},
        {"generated": "source-test"},
        {"generated": "source-all"},
        {"made": "target-test"},
        {"made": "target-all"},
    ],
    ids=lambda swap: "-as-".join(reversed([*swap.keys(), *swap.values()])),
)
def test_nothing_but_train_chips_is_scored(
    swap: dict[str, str],
    inputs: score.Inputs,
    tiny_sets: Any,
    tiny_params: Callable[..., Any],
    tmp_path: Path,
) -> None:
    known = tiny_sets.parts() | {f"{side}-all": path for side, path in tiny_sets.chips().items()}
    changes: dict[str, Any] = {name: known[other] for name, other in swap.items()}
    if "made" in changes:
        changes["made"] = {**inputs.made, "physics": changes["made"]}
    with pytest.raises(LeakageError, match=r"only \['train'\] may be read here"):
        score.run(tiny_params(), replace(inputs, **changes), _outputs(tmp_path))
    assert list(tmp_path.iterdir()) == []
