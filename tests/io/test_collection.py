from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sarcurate.core.scorecard import VECTOR
from sarcurate.errors import DataError, LeakageError
from sarcurate.io.collection import Collection, Layout, collect, revision, verdict_of
from sarcurate.io.gates import Gate
from sarcurate.io.score_table import read_scores
from sarcurate.io.selection import make_selection, read_selection, write_selection
from sarcurate.io.verdict_log import Ruled, append
from sarcurate.io.verdicts import HEADER, Ruling, Standing, Verdict

CLASSES = ("B-52", "F-16")
SETS = {"generated", "migrated", "migrated-generated", "physics", "psd", "source", "target"}
JUDGED = SETS - {"source", "target", "generated"}


@pytest.fixture(scope="module")
def gates(tiny_params: Callable[..., Any]) -> list[Gate]:
    return [Gate(**gate.model_dump()) for gate in tiny_params().curate.gates]


@pytest.fixture(scope="module")
def good(tiny_workspace: Path, gates: list[Gate]) -> Collection:
    return collect(Layout(tiny_workspace / "data"), gates, CLASSES)


@pytest.fixture
def layout(own_workspace: Path) -> Layout:
    return Layout(own_workspace / "data")


def _rewrite(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_parquet(path)).to_parquet(path, index=False)


# --- what is in it


def test_every_train_and_made_chip_is_in_it_once(good: Collection) -> None:
    chips = good.chips
    assert set(chips["set"]) == SETS
    assert chips["chip_id"].is_unique
    assert list(zip(chips["set"], chips["chip_id"], strict=True)) == sorted(
        zip(chips["set"], chips["chip_id"], strict=True)
    )
    assert set(chips["set"][chips["judged"]]) == JUDGED
    for column in ("file", "preview"):
        assert all(Path(path).is_absolute() and Path(path).is_file() for path in chips[column])
    assert set(good.measures) <= set(chips.columns)
    assert good.windows_db.keys() == SETS
    judged = chips[chips["judged"]]
    assert good.known == dict(zip(judged["chip_id"], judged["pixels_sha256"], strict=True))


def test_scores_are_those_of_the_tables(good: Collection, tiny_workspace: Path) -> None:
    scores = read_scores(tiny_workspace / "data" / "scores.parquet").set_index("chip_id")
    found = good.chips[good.chips["judged"]].set_index("chip_id").loc[scores.index]
    for name in good.measures:
        np.testing.assert_array_equal(found[name], scores[name])


def test_kin_are_chips_of_the_right_sets_and_class(good: Collection) -> None:
    chips = good.chips.set_index("chip_id")
    of = {"psd": "source", "physics": "source", "migrated": "source", "migrated-generated": "generated"}
    for name, parents in of.items():
        rows = chips[chips["set"] == name]
        assert set(chips.loc[rows["content"], "set"]) == {parents}
        assert list(chips.loc[rows["content"], "label"]) == list(rows["label"])
        assert list(chips.loc[rows["peer"], "set"]) == ["target"] * len(rows)
        assert list(chips.loc[rows["peer"], "label"]) == list(rows["label"])
    migrated = chips[chips["set"] == "migrated"]
    assert set(chips.loc[migrated["style"], "set"]) == {"target"}
    assert set(chips[chips["set"] == "target"]["peer"]) == {""}


def test_the_selection_is_told(good: Collection, tiny_workspace: Path) -> None:
    chips = good.chips.set_index("chip_id")
    for choice in read_selection(tiny_workspace / "data" / "selection.parquet").choices:
        assert chips.loc[choice.chip_id, "kept"] == choice.kept
        assert chips.loc[choice.chip_id, "reason"] == choice.reason
    assert all(kept is None for kept in chips["kept"][~chips["judged"]])


# --- gates


@pytest.fixture(scope="module")
def strict(tiny_workspace: Path) -> Collection:
    """Gates of our own, of which some chips break none, one or several."""
    own = [
        Gate("enl", "both", 1.5, 3.0, "keep"),
        Gate("mean_db", "upper", None, -14.0, "keep"),
        Gate("log_psd_distance", "upper", None, 0.3, "keep"),
        Gate("ghost_z", "upper", None, 1.0, "reject"),
    ]
    return collect(Layout(tiny_workspace / "data"), own, CLASSES)


def _margins(collection: Collection, row: pd.Series) -> dict[str, float]:
    """The plain version: distance to the nearer end of each gate in standard deviations of real chips."""
    found = {}
    for measure, (low, high) in collection.ends.items():
        spread = collection.reference.train_scores[measure].std() if measure != "ghost_z" else 1.0
        ends = ([row[measure] - low.value] if low else []) + ([high.value - row[measure]] if high else [])
        found[measure] = min(ends) / spread
    return found


def test_the_margin_is_negative_just_where_a_gate_failed(strict: Collection) -> None:
    judged = strict.chips[strict.chips["judged"]]
    assert {len(failed) for failed in judged["failed"]} >= {1, 2}
    told = judged[judged["gate_margin"].notna()]
    assert len(told)
    assert list(told["gate_margin"] < 0) == [len(failed) > 0 for failed in told["failed"]]
    missing = judged[judged["gate_margin"].isna()]
    assert set(missing["closest_gate"]) == {"ghost_z"}  # rejected since it has no value
    assert all("ghost_z" in failed for failed in missing["failed"])


def test_the_margin_is_that_of_the_gate_that_decides(tiny_workspace: Path) -> None:
    own = [Gate("enl", "both", 1.5, 3.0, "keep"), Gate("mean_db", "upper", None, -14.0, "keep")]
    collection = collect(Layout(tiny_workspace / "data"), own, CLASSES)
    for _, row in collection.chips[collection.chips["judged"]].iterrows():
        margins = {name: value for name, value in _margins(collection, row).items() if not np.isnan(value)}
        closest = min(margins, key=lambda name: margins[name])
        assert row["closest_gate"] == closest
        assert row["gate_margin"] == pytest.approx(margins[closest])


def test_every_failed_gate_has_its_sentence(strict: Collection) -> None:
    for _, row in strict.chips.iterrows():
        assert len(row["failed"]) == len(row["sentences"])
        assert row["judged"] or row["failed"] == ()


def test_without_gates_nothing_fails(tiny_workspace: Path) -> None:
    chips = collect(Layout(tiny_workspace / "data"), [], CLASSES).chips
    assert set(chips["failed"]) == {()}
    assert chips["gate_margin"].isna().all()
    assert set(chips["closest_gate"]) == {""}


# --- distance within a set


def test_nearest_in_set_is_what_a_slow_search_finds(good: Collection) -> None:
    spread = good.reference.train_scores[list(VECTOR)].std().to_numpy()
    z = good.chips[list(VECTOR)].to_numpy() / np.where(spread > 0, spread, 1)
    for name in ("psd", "target"):
        rows = np.flatnonzero((good.chips["set"] == name).to_numpy() & np.isfinite(z).all(axis=1))
        for row in rows:
            distances = [np.sqrt(np.mean((z[row] - z[other]) ** 2)) for other in rows if other != row]
            expected = min(distances) if distances else np.nan
            assert good.chips["nearest_in_set"].iloc[row] == pytest.approx(expected, nan_ok=True)


# --- verdicts


def _ruled(chip: pd.Series, ruling: str, reviewer: str = "Ann", **changed: str) -> Ruled:
    facts = {"pixels_sha256": chip["pixels_sha256"], "new_label": "", "reason": ""} | changed
    return Ruled(chip_id=chip["chip_id"], ruling=Ruling(ruling), reviewer=reviewer, **facts)


def test_a_word_for_every_way_verdicts_stand(layout: Layout, gates: list[Gate], good: Collection) -> None:
    chips = [row for _, row in good.chips[good.chips["judged"]].iterrows()][:7]
    ruled = [
        _ruled(chips[0], "keep"),
        _ruled(chips[1], "reject", reason="two noses"),
        _ruled(chips[2], "relabel", new_label="F-16"),
        _ruled(chips[3], "unsure"),
        _ruled(chips[4], "keep"),
        _ruled(chips[4], "reject", "Bob"),
        _ruled(chips[5], "reject", pixels_sha256="0" * 64),
    ]
    append(layout.verdicts, ruled, good.known, CLASSES)
    found = collect(layout, gates, CLASSES).chips.set_index("chip_id")
    told = [(found.loc[chip["chip_id"], "verdict"], found.loc[chip["chip_id"], "said"]) for chip in chips]
    assert told == [
        ("keep", "Ann: keep"),
        ("reject", "Ann: reject (two noses)"),
        ("relabel", "Ann: relabel F-16"),
        ("unsure", "Ann: unsure"),
        ("disputed", "Ann: keep; Bob: reject"),
        ("stale", "on other pixels: Ann: reject"),
        ("none", ""),
    ]


def test_a_fresh_verdict_goes_before_a_stale_one() -> None:
    old = Verdict("a1", "0" * 64, Ruling.REJECT, "", "", "Ann", "2026-01-31T13:05:00Z", "")
    new = replace(old, pixels_sha256="1" * 64, ruling=Ruling.KEEP, reviewer="Bob")
    standing = Standing(agreed={"a1": (new,)}, disputed={}, unsure={}, stale={"a1": (old,)})
    assert verdict_of(standing, "a1") == ("keep", "Bob: keep")


def test_the_revision_changes_with_every_file(layout: Layout, gates: list[Gate]) -> None:
    seen = {revision(layout, gates), revision(layout, gates[1:])}
    layout.verdicts.write_text(HEADER + f"\na1,{'1' * 64},keep,,,Ann,2026-01-31T13:05:00Z\n")
    seen.add(revision(layout, gates))
    header = layout.chips("psd") / "chipset.json"
    header.write_text(header.read_text() + " ")
    seen.add(revision(layout, gates))
    assert len(seen) == 4


# --- what is refused


def test_test_chips_are_refused(layout: Layout, gates: list[Gate], tiny_sets: Any) -> None:
    shutil.rmtree(layout.chips("target"))
    shutil.copytree(tiny_sets.parts()["target-test"], layout.chips("target"))
    with pytest.raises(LeakageError, match=r"target-train holds \['test'\] chips"):
        collect(layout, gates, CLASSES)


@pytest.mark.parametrize("kind", ["preview", "file"])
def test_a_missing_picture_is_named(
    layout: Layout, gates: list[Gate], tiny_workspace: Path, good: Collection, kind: str
) -> None:
    row = good.chips[good.chips["set"] == "psd"].iloc[2]
    lost = layout.data / Path(row[kind]).relative_to(tiny_workspace / "data")
    lost.unlink()
    with pytest.raises(
        DataError, match=f"1 chip files are missing, the first is {lost}\nFix: .*dvc checkout"
    ):
        collect(layout, gates, CLASSES)


def test_scores_of_other_pixels_are_refused(layout: Layout, gates: list[Gate]) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        first = table.index[table["set"] == "psd"][0]
        table.loc[first, "pixels_sha256"] = "0" * 64
        return table

    _rewrite(layout.scores, change)
    changed = pd.read_parquet(layout.scores).query("pixels_sha256 == '" + "0" * 64 + "'")["chip_id"].item()
    with pytest.raises(DataError, match=f"psd: scores of {changed} are of other pixels than the chips"):
        collect(layout, gates, CLASSES)


def test_scores_of_other_chips_are_refused(layout: Layout, gates: list[Gate]) -> None:
    _rewrite(layout.scores, lambda table: table.drop(table.index[table["set"] == "physics"][0]))
    with pytest.raises(DataError, match=r"physics has \d+ chips, its scores \d+, and not of the same ids"):
        collect(layout, gates, CLASSES)


def test_a_selection_of_other_chips_is_refused(layout: Layout, gates: list[Gate]) -> None:
    choices = read_selection(layout.selection).choices
    write_selection(layout.selection, make_selection(choices[1:]))
    with pytest.raises(
        DataError, match=r"selection\.parquet is not of today's scores\nFix: .*dvc repro curate"
    ):
        collect(layout, gates, CLASSES)


@pytest.mark.parametrize("name", ["scores", "selection", "verdicts"])
def test_a_missing_table_is_named(layout: Layout, gates: list[Gate], name: str) -> None:
    path: Path = getattr(layout, name)
    path.unlink()
    with pytest.raises(DataError, match=str(path)):
        collect(layout, gates, CLASSES)
