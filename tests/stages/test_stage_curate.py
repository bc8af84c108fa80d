from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sarcurate.errors import DataError, ParamsError
from sarcurate.io.reference import Reference, open_reference
from sarcurate.io.score_table import read_scores
from sarcurate.io.selection import Choice, Selection, read_selection
from sarcurate.io.validated import write_validated
from sarcurate.io.verdicts import HEADER
from sarcurate.stages import curate

NO_GATES = {"curate.gates": []}
UTC = "2026-01-31T13:05:00Z"


@pytest.fixture(scope="module")
def inputs(tiny_judged: Any) -> curate.Inputs:
    reference = tiny_judged.references()["target"]
    scores = tiny_judged.scores().scores
    return curate.Inputs(tiny_judged.validated(), reference, scores, tiny_judged.verdicts())


@pytest.fixture(scope="module")
def scores(inputs: curate.Inputs) -> pd.DataFrame:
    return read_scores(inputs.scores)


@pytest.fixture(scope="module")
def reference(inputs: curate.Inputs) -> Reference:
    return open_reference(inputs.target_reference)


@pytest.fixture
def run(
    inputs: curate.Inputs, tiny_params: Callable[..., Any], tmp_path: Path
) -> Callable[..., tuple[Selection, dict[str, Any]]]:
    """``run(settings, *verdicts)``: Selection and metrics; a verdict is chip_id, pixels, ruling, label."""

    def call(settings: dict[str, Any], *verdicts: tuple[str, str, str, str]) -> Any:
        lines = [f"{chip},{pixels},{ruling},{label},,Ann,{UTC}" for chip, pixels, ruling, label in verdicts]
        (tmp_path / "verdicts.csv").write_text("\n".join([HEADER, *lines]) + "\n")
        asked = replace(inputs, verdicts=tmp_path / "verdicts.csv")
        out = tmp_path / "selection.parquet", tmp_path / "curation.json"
        curate.run(tiny_params(settings), asked, *out)
        return read_selection(out[0]), json.loads(out[1].read_text())

    return call


def _gate(measure: str, side: str, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"measure": measure, "side": side, "low": low, "high": high, "if_missing": "keep"}


def _plain_breaks(row: pd.Series, gate: Any, reference: Reference) -> bool:
    """Whether a chip breaks a gate of quick.yaml, where a missing value passes."""
    limits = reference.limits.get(gate.measure)
    ends = {"lower": (limits and limits.lower, None), "upper": (None, limits and limits.upper)}
    ends["both"] = (limits and limits.both_low, limits and limits.both_high)
    low, high = (limit.value if limit else None for limit in ends[gate.side])
    low, high = (gate.low if gate.low is not None else low), (gate.high if gate.high is not None else high)
    value = row[gate.measure]
    return bool(low is not None and value < low) or bool(high is not None and value > high)


def test_kept_are_the_chips_that_break_no_gate(
    tiny_judged: Any, scores: pd.DataFrame, reference: Reference, tiny_params: Callable[..., Any]
) -> None:
    gates = tiny_params().curate.gates
    fate = {choice.chip_id: choice for choice in read_selection(tiny_judged.selection()).choices}
    assert sorted(fate) == sorted(scores["chip_id"])
    rejected = 0
    for _, row in scores.iterrows():
        broken = [gate.measure for gate in gates if _plain_breaks(row, gate, reference)]
        choice = fate[row["chip_id"]]
        assert choice.kept is not bool(broken)
        assert choice.label == row["label"]
        assert len(choice.reason.split("; ")) == max(1, len(broken))
        assert ("bound of 16 real target train chips" in choice.reason) == bool(set(broken) - {"content_z"})
        rejected += len(broken)
    assert rejected > 0


def test_metrics_count_the_selection(tiny_judged: Any, scores: pd.DataFrame) -> None:
    numbers = json.loads(tiny_judged.curation().read_text())
    selection = read_selection(tiny_judged.selection())
    assert numbers["selection_revision"] == selection.revision
    assert (numbers["n_made"], numbers["n_kept"]) == (len(scores), len(selection.kept))
    assert list(numbers["funnel"]) == ["migrated", "migrated-generated", "physics", "psd"]
    for name, steps in numbers["funnel"].items():
        counts = list(steps.values())
        assert [next(iter(steps)), list(steps)[-1]] == ["made", "kept"]
        assert counts[0] == numbers[f"n_made.{name}"] == (scores["set"] == name).sum()
        assert counts[-1] == numbers[f"n_kept.{name}"]
        assert counts == sorted(counts, reverse=True)
        ids = scores["chip_id"][scores["set"] == name]
        assert counts[-1] == len(set(ids) & set(selection.kept))


def test_a_second_run_writes_the_same_bytes(
    inputs: curate.Inputs, tiny_judged: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    said = curate.run(tiny_params(), inputs, tmp_path / "s.parquet", tmp_path / "deep" / "c.json")
    assert (tmp_path / "s.parquet").read_bytes() == tiny_judged.selection().read_bytes()
    assert (tmp_path / "deep" / "c.json").read_bytes() == tiny_judged.curation().read_bytes()
    assert [line for line in said if line.endswith(":")] == [
        "migrated:",
        "migrated-generated:",
        "physics:",
        "psd:",
    ]


def test_without_gates_all_are_kept_and_nothing_is_promised(
    run: Callable[..., Any], scores: pd.DataFrame
) -> None:
    selection, numbers = run(NO_GATES)
    assert sorted(selection.kept) == sorted(scores["chip_id"])
    assert numbers["real_chips_inside_all_gates"] is None
    assert {len(steps) for steps in numbers["funnel"].values()} == {4}  # made, verdicts, quota, kept


def test_an_own_limit_takes_the_place_of_the_references(
    run: Callable[..., Any], scores: pd.DataFrame
) -> None:
    middle = float(scores["mean_db"].median())
    selection, numbers = run({"curate.gates": [_gate("mean_db", "lower", low=middle)]})
    assert set(selection.kept) == set(scores["chip_id"][scores["mean_db"] >= middle])
    assert len(selection.kept) == len(scores) / 2
    assert numbers["rejected_by.mean_db"] == len(scores) / 2
    assert all("own limit of the params" in c.reason for c in selection.choices if not c.kept)


def test_the_promise_is_that_of_the_gates(run: Callable[..., Any], reference: Reference) -> None:
    _, numbers = run({"curate.gates": [_gate("enl", "upper"), _gate("content_z", "lower", low=3.0)]})
    rates = reference.limits["enl"].left_out_pass_rate
    assert rates is not None
    assert rates.upper is not None
    assert numbers["real_chips_inside.enl"] == pytest.approx(rates.upper.estimate)
    assert numbers["real_chips_inside_all_gates"] == pytest.approx(rates.upper.estimate)
    assert numbers["real_chips_inside_all_gates_low"] == pytest.approx(rates.upper.low)
    assert "real_chips_inside.content_z" not in numbers


def test_a_quota_holds_per_set_and_class(run: Callable[..., Any], scores: pd.DataFrame) -> None:
    selection, numbers = run(NO_GATES | {"curate.max_per_class": 1})
    kept = scores[scores["chip_id"].isin(selection.kept)]
    assert (kept.groupby(["set", "label"]).size() == 1).all()
    assert numbers["n_over_quota"] == len(scores) - 8


# --- verdicts


def _chip(scores: pd.DataFrame, place: int = 0) -> tuple[str, str]:
    row = scores.iloc[place]
    return row["chip_id"], row["pixels_sha256"]


def _fate(selection: Selection, chip_id: str) -> Choice:
    return next(choice for choice in selection.choices if choice.chip_id == chip_id)


def test_a_reject_takes_one_chip_out_and_changes_the_revision(
    run: Callable[..., Any], scores: pd.DataFrame
) -> None:
    chip_id, pixels = _chip(scores)
    before, _ = run(NO_GATES)
    after, numbers = run(NO_GATES, (chip_id, pixels, "reject", ""))
    assert set(before.kept) - set(after.kept) == {chip_id}
    assert _fate(after, chip_id).reason == "rejected by Ann"
    assert numbers["n_rejected_by_people"] == 1
    assert numbers["selection_revision"] == after.revision != before.revision


def test_a_verdict_on_other_pixels_counts_as_stale_and_has_no_effect(
    run: Callable[..., Any], scores: pd.DataFrame
) -> None:
    before, _ = run(NO_GATES)
    after, numbers = run(NO_GATES, (_chip(scores)[0], _chip(scores, 1)[1], "reject", ""))
    assert after == before
    assert (numbers["n_stale_verdicts"], numbers["n_rejected_by_people"]) == (1, 0)


def test_a_keep_overrides_the_gates(run: Callable[..., Any], scores: pd.DataFrame, tiny_judged: Any) -> None:
    rejected = next(c.chip_id for c in read_selection(tiny_judged.selection()).choices if not c.kept)
    pixels = scores.set_index("chip_id").loc[rejected, "pixels_sha256"]
    selection, numbers = run({}, (rejected, str(pixels), "keep", ""))
    assert rejected in selection.kept
    assert numbers["n_restored_by_people"] == 1


def test_a_relabel_reaches_the_selection(run: Callable[..., Any], scores: pd.DataFrame) -> None:
    chip_id, pixels = _chip(scores)
    other = {"B-52": "F-16", "F-16": "B-52"}[scores["label"].iloc[0]]
    selection, _ = run(NO_GATES, (chip_id, pixels, "relabel", other))
    assert selection.kept[chip_id] == other
    with pytest.raises(DataError, match="expected one of B-52, F-16"):
        run(NO_GATES, (chip_id, pixels, "relabel", "F-15"))


# --- refusals


def _refused(error: type[Exception], match: str, inputs: curate.Inputs, params: Any, folder: Path) -> None:
    """Refused, and nothing is written."""
    with pytest.raises(error, match=match):
        curate.run(params, inputs, folder / "out" / "s.parquet", folder / "out" / "c.json")
    assert not (folder / "out").exists()


def test_chips_that_were_not_validated_are_refused(
    inputs: curate.Inputs, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    write_validated(tmp_path / "validated.json", {"target": 64 * "0"})
    other = replace(inputs, validated=tmp_path / "validated.json")
    _refused(DataError, "the target train set has revision", other, tiny_params(), tmp_path)
    missing = replace(inputs, validated=tmp_path / "none.json")
    _refused(DataError, "no note of a passed validation", missing, tiny_params(), tmp_path)


def test_missing_files_are_refused(
    inputs: curate.Inputs, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    params, nothing = tiny_params(), tmp_path / "nothing"
    _refused(DataError, "verdicts file is missing", replace(inputs, verdicts=nothing), params, tmp_path)
    _refused(DataError, "cannot read the scores", replace(inputs, scores=nothing), params, tmp_path)
    _refused(DataError, r"reference\.json", replace(inputs, target_reference=nothing), params, tmp_path)


def test_a_gate_that_nothing_can_be_held_against_is_refused(
    inputs: curate.Inputs, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    for measure, match in (
        ("beauty", "a gate on beauty, which no chip has; measures are enl"),
        ("content_z", "the reference has no lower limit"),
    ):
        params = tiny_params({"curate.gates": [_gate(measure, "lower")]})
        _refused(ParamsError, match, inputs, params, tmp_path)


def test_a_verdict_on_a_chip_of_no_set_is_refused(
    inputs: curate.Inputs, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    line = f"nobody,{64 * '0'},reject,,,Ann,{UTC}"
    (tmp_path / "verdicts.csv").write_text(f"{HEADER}\n{line}\n")
    strange = replace(inputs, verdicts=tmp_path / "verdicts.csv")
    _refused(DataError, "chips that are in no made set", strange, tiny_params(), tmp_path)


def test_missing_values_follow_if_missing(run: Callable[..., Any], scores: pd.DataFrame) -> None:
    """Translated chips have no style reference: whether ghosts are gated is up to if_missing alone."""
    without = scores["set"].isin(["physics", "psd"])
    assert np.isnan(scores["ghost_z"][without]).all()
    gate = _gate("ghost_z", "upper")
    kept, _ = run({"curate.gates": [gate]})
    none, numbers = run({"curate.gates": [gate | {"if_missing": "reject"}]})
    ids = set(scores["chip_id"][without])
    assert ids <= set(kept.kept)
    assert not ids & set(none.kept)
    reasons = {choice.reason for choice in none.choices if choice.chip_id in ids}
    assert reasons == {"style ghost z: no style reference"}
    assert set(numbers["funnel"]["psd"].values()) == {8, 0}
