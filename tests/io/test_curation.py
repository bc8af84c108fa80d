from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.errors import DataError, ParamsError
from sarcurate.io.curation import Curated, curate, funnel_lines, funnel_of
from sarcurate.io.gates import Gate
from sarcurate.io.selection import Choice, read_selection, write_selection
from sarcurate.io.verdicts import Ruling, Verdict, Verdicts

CLASSES = ("B-52", "F-16")
GATES = (Gate("enl", "upper", None, 4.0, "reject"), Gate("ghost_z", "upper", None, 3.0, "keep"))
NO_VERDICTS = Verdicts(())
TODAY, BEFORE = "1" * 64, "0" * 64
OWN = "own limit of the params"


def _scores(*rows: tuple[str, str, str, float, float]) -> pd.DataFrame:
    """Rows of set, chip_id, label, enl and ghost_z."""
    table = pd.DataFrame(rows, columns=["set", "chip_id", "label", "enl", "ghost_z"])
    why = {"enl": "no homogeneous area", "ghost_z": "no style reference"}
    gaps = [{name: why[name] for name in why if math.isnan(row[name])} for _, row in table.iterrows()]
    reasons = [json.dumps(gap, sort_keys=True) if gap else "" for gap in gaps]
    return table.assign(pixels_sha256=TODAY, origin="translated", fold=1.0, reasons=reasons)


def _verdict(chip_id: str, ruling: str, reviewer: str = "Ann", *, why: str = "", label: str = "") -> Verdict:
    return Verdict(
        chip_id, TODAY, Ruling(ruling), label, why, reviewer, "2026-01-31T13:05:00Z", "v.csv line 2"
    )


def _curate(
    scores: pd.DataFrame, *verdicts: Verdict, gates: tuple[Gate, ...] = GATES, quota: int | None = None
) -> Curated:
    return curate(scores, gates, {}, Verdicts(verdicts), CLASSES, quota)


def _fates(curated: Curated) -> dict[str, tuple[bool, str, str]]:
    return {
        choice.chip_id: (choice.kept, choice.label, choice.reason) for choice in curated.selection.choices
    }


GOOD = _scores(("psd", "a1", "F-16", 3.0, 1.0))
BAD = _scores(("psd", "a1", "F-16", 9.1, 1.0))
# One chip for each thing that can happen; what must come of it stands in the test below.
EXAMPLE = _scores(
    ("physics", "a1", "B-52", 3.0, math.nan),
    ("physics", "a2", "B-52", 3.1, math.nan),
    ("physics", "a3", "B-52", 3.2, math.nan),
    ("physics", "a4", "F-16", 9.1, math.nan),
    ("psd", "b1", "F-16", math.nan, 1.0),
    ("psd", "b2", "F-16", 9.1, 8.0),
    ("psd", "b3", "F-16", 3.0, 8.0),
    ("psd", "b4", "F-16", 9.0, 1.0),
    ("psd", "b5", "F-16", 3.0, 1.0),
    ("psd", "b6", "F-16", 3.0, 1.0),
    ("psd", "b7", "B-52", 3.0, 1.0),
    ("psd", "b8", "F-16", 3.0, 1.0),
    ("psd", "b9", "F-16", 3.0, 1.0),
)
SAID = (
    _verdict("b4", "keep"),
    _verdict("b5", "reject", why="two noses"),
    _verdict("b6", "keep"),
    _verdict("b6", "reject", "Bob"),
    _verdict("b7", "relabel", label="F-16"),
    _verdict("b8", "unsure"),
    replace(_verdict("b9", "reject"), pixels_sha256=BEFORE),
)


def test_a_worked_example() -> None:
    curated = _curate(EXAMPLE, *SAID, quota=2)
    assert _fates(curated) == {
        "a1": (True, "B-52", ""),
        "a2": (True, "B-52", ""),
        "a3": (False, "B-52", "quota of 2 per class is full"),
        "a4": (False, "F-16", f"ENL 9.1 > 4, {OWN}"),
        "b1": (False, "F-16", "ENL: no homogeneous area"),
        "b2": (False, "F-16", f"ENL 9.1 > 4, {OWN}; style ghost z 8 > 3, {OWN}"),
        "b3": (False, "F-16", f"style ghost z 8 > 3, {OWN}"),
        "b4": (True, "F-16", ""),
        "b5": (False, "F-16", "rejected by Ann: two noses"),
        "b6": (False, "F-16", "disputed, rejected until resolved: Ann says keep, Bob says reject"),
        "b7": (True, "F-16", ""),
        "b8": (False, "F-16", "quota of 2 per class is full"),
        "b9": (False, "F-16", "quota of 2 per class is full"),
    }
    steps = [
        (row["set"], row["step"], row["remaining"], row["removed"], row["restored"]) for row in curated.funnel
    ]
    assert steps == [
        ("physics", "made", 4, 0, 0),
        ("physics", "enl", 3, 1, 0),
        ("physics", "ghost_z", 3, 0, 0),
        ("physics", "verdicts", 3, 0, 0),
        ("physics", "quota", 2, 1, 0),
        ("physics", "kept", 2, 0, 0),
        ("psd", "made", 9, 0, 0),
        ("psd", "enl", 6, 3, 0),
        ("psd", "ghost_z", 5, 1, 0),
        ("psd", "verdicts", 4, 2, 1),
        ("psd", "quota", 2, 2, 0),
        ("psd", "kept", 2, 0, 0),
    ]
    assert list(funnel_of(curated)) == ["physics", "psd"]
    assert list(funnel_of(curated)["psd"].items()) == [(row[1], row[2]) for row in steps[6:]]
    assert curated.kept_per_class == {"physics": {"B-52": 2, "F-16": 0}, "psd": {"B-52": 0, "F-16": 2}}
    assert curated.metrics == {
        "n_made": 13,
        "n_kept": 4,
        "rejected_by.enl": 4,
        "rejected_first_by.enl": 4,
        "rejected_only_by.enl": 3,
        "rejected_by.ghost_z": 2,
        "rejected_first_by.ghost_z": 1,
        "rejected_only_by.ghost_z": 1,
        "n_rejected_by_people": 1,
        "n_kept_by_people": 1,
        "n_relabelled": 1,
        "n_restored_by_people": 1,
        "n_over_quota": 3,
        "n_disputed": 1,
        "n_unsure": 1,
        "n_stale_verdicts": 1,
        "n_made.physics": 4,
        "n_kept.physics": 2,
        "kept_fraction.physics": 0.5,
        "n_kept_of_class.physics.B-52": 2,
        "n_kept_of_class.physics.F-16": 0,
        "median_enl_of_kept.physics": pytest.approx(3.05),
        "median_enl_of_kept.psd": 6.0,
        "n_made.psd": 9,
        "n_kept.psd": 2,
        "kept_fraction.psd": pytest.approx(2 / 9),
        "n_kept_of_class.psd.B-52": 0,
        "n_kept_of_class.psd.F-16": 2,
        "selection_revision": curated.selection.revision,
    }
    assert json.loads(json.dumps(curated.metrics)) == curated.metrics
    assert json.loads(json.dumps(curated.funnel)) == list(curated.funnel)


def test_the_funnel_is_shown_with_what_to_look_at() -> None:
    lines = funnel_lines(_curate(EXAMPLE, *SAID, quota=2))
    assert [line.split() for line in lines[:-3]] == [
        ["physics:"],
        ["made", "4"],
        ["ENL", "3", "-1"],
        ["style", "ghost", "z", "3"],
        ["verdicts", "3"],
        ["quota", "2", "-1"],
        ["kept", "2"],
        ["B-52", "2,", "F-16", "0"],
        ["psd:"],
        ["made", "9"],
        ["ENL", "6", "-3"],
        ["style", "ghost", "z", "5", "-1"],
        ["verdicts", "4", "-2", "+1"],
        ["quota", "2", "-2"],
        ["kept", "2"],
        ["B-52", "0,", "F-16", "2"],
    ]
    assert lines[-3:] == [
        "disputed, rejected until resolved: 1 (b6)",
        "reviewers unsure, nothing changed: 1 (b8)",
        "verdicts on other pixels than today's, look again: 1 (b9)",
    ]


def test_a_selection_of_curated_chips_is_written_and_read(tmp_path: Path) -> None:
    selection = _curate(EXAMPLE, *SAID).selection
    write_selection(tmp_path / "selection.parquet", selection)
    assert read_selection(tmp_path / "selection.parquet") == selection


@pytest.mark.parametrize("table", [GOOD, BAD], ids=["passes the gates", "breaks a gate"])
@pytest.mark.parametrize(
    ("verdicts", "fate"),
    [
        ([_verdict("a1", "keep")], (True, "F-16", "")),
        ([_verdict("a1", "reject")], (False, "F-16", "rejected by Ann")),
        ([_verdict("a1", "reject", why="ghost")], (False, "F-16", "rejected by Ann: ghost")),
        (
            [_verdict("a1", "reject", why="ghost"), _verdict("a1", "reject", "Bob")],
            (False, "F-16", "rejected by Ann: ghost; rejected by Bob"),
        ),
        (
            [_verdict("a1", "relabel", label="B-52"), _verdict("a1", "keep", "Bob")],
            (False, "F-16", "disputed, rejected until resolved: Ann says relabel B-52, Bob says keep"),
        ),
        ([_verdict("a1", "relabel", label="B-52")], (True, "B-52", "")),
        ([_verdict("a1", "unsure")], (True, "F-16", "")),
        ([replace(_verdict("a1", "reject"), pixels_sha256=BEFORE)], (True, "F-16", "")),
        ([_verdict("a1", "reject"), _verdict("a1", "keep")], (True, "F-16", "")),
        ([], (True, "F-16", "")),
    ],
)
def test_what_people_say_beside_gates(
    table: pd.DataFrame, verdicts: list[Verdict], fate: tuple[bool, str, str]
) -> None:
    kept, label, reason = fate
    if table is BAD and not (verdicts and verdicts[-1].ruling is Ruling.KEEP and kept):
        gate = f"ENL 9.1 > 4, {OWN}"
        kept, reason = False, f"{gate}; {reason}" if reason else gate
    assert _fates(_curate(table, *verdicts)) == {"a1": (kept, label, reason)}


def test_a_chip_is_kept_by_people_within_the_quota_only() -> None:
    table = _scores(*(("psd", chip, "F-16", 9.1, 1.0) for chip in ("a1", "a2")))
    fates = _fates(_curate(table, _verdict("a1", "keep"), _verdict("a2", "keep"), quota=1))
    assert fates == {"a1": (True, "F-16", ""), "a2": (False, "F-16", "quota of 1 per class is full")}


def test_the_quota_counts_each_set_and_class_alone() -> None:
    table = _scores(
        ("physics", "c1", "F-16", 3.0, 1.0), ("psd", "a1", "F-16", 3.0, 1.0), ("psd", "b1", "B-52", 3.0, 1.0)
    )
    assert all(kept for kept, _, _ in _fates(_curate(table, quota=1)).values())


def test_without_gates_verdicts_and_quota_every_chip_is_kept() -> None:
    curated = _curate(EXAMPLE, gates=())
    assert all(choice.kept for choice in curated.selection.choices)
    assert [row["step"] for row in curated.funnel][:4] == ["made", "verdicts", "quota", "kept"]


def test_no_chips_are_an_empty_selection() -> None:
    curated = _curate(GOOD.iloc[:0])
    assert curated.selection.choices == ()
    assert (curated.metrics["n_made"], curated.metrics["rejected_by.enl"]) == (0, 0)
    assert funnel_lines(curated) == []


def test_verdicts_on_chips_in_no_set_are_refused() -> None:
    with pytest.raises(DataError, match=r"chips that are in no made set, 1 of them: z9 \(v\.csv line 2\)"):
        _curate(GOOD, _verdict("z9", "keep"))


@pytest.mark.parametrize("others", [[], [_verdict("a1", "keep", "Bob")]])
def test_a_relabel_to_what_is_no_class_is_refused(others: list[Verdict]) -> None:
    with pytest.raises(
        DataError, match=r"v\.csv line 2, column new_label: found 'MiG', expected one of B-52, F-16"
    ):
        _curate(GOOD, _verdict("a1", "relabel", label="MiG"), *others)


def test_a_stale_relabel_is_not_held_against_todays_classes() -> None:
    old = replace(_verdict("a1", "relabel", label="MiG"), pixels_sha256=BEFORE)
    assert _curate(GOOD, old).selection.choices == (Choice("a1", True, "F-16", ""),)


@pytest.mark.parametrize("column", ["set", "chip_id", "pixels_sha256", "label", "reasons"])
def test_a_table_without_a_column_is_refused(column: str) -> None:
    with pytest.raises(DataError, match=f"the scores have no column {column}"):
        _curate(GOOD.drop(columns=column))


def test_a_chip_scored_twice_is_refused() -> None:
    with pytest.raises(DataError, match="scores of chip a1 stand twice"):
        _curate(pd.concat([GOOD, GOOD.assign(set="physics")]))


def test_a_chip_of_no_class_is_refused() -> None:
    with pytest.raises(DataError, match="chip a1 is of class MiG, expected one of B-52, F-16"):
        _curate(GOOD.assign(label="MiG"))


def test_a_gate_that_cannot_be_applied_is_refused() -> None:
    with pytest.raises(ParamsError, match="a gate on psd, which no chip has; measures are enl, ghost_z"):
        _curate(GOOD, gates=(Gate("psd", "upper", None, 1.0, "keep"),))


def test_a_quota_of_nothing_is_refused() -> None:
    with pytest.raises(ParamsError, match="a quota of 0 chips per class"):
        _curate(GOOD, quota=0)


VALUE = st.one_of(st.just(math.nan), st.sampled_from([1.0, 3.0, 4.0, 9.0]))
CHIPS = st.lists(
    st.tuples(
        st.sampled_from(["physics", "psd"]),
        st.text("abc", min_size=1, max_size=2),
        st.sampled_from(CLASSES),
        VALUE,
        VALUE,
    ),
    unique_by=lambda row: row[1],
    min_size=1,
    max_size=10,
)
RULING = st.tuples(st.sampled_from(["keep", "reject", "unsure", "relabel"]), st.sampled_from(["Ann", "Bob"]))
QUOTA = st.one_of(st.none(), st.integers(1, 3))


def _drawn(data: st.DataObject, rows: list[tuple[str, str, str, float, float]]) -> list[Verdict]:
    chips = data.draw(st.lists(st.tuples(st.sampled_from([row[1] for row in rows]), RULING), max_size=6))
    return [
        _verdict(chip_id, ruling, reviewer, label="B-52" if ruling == "relabel" else "")
        for chip_id, (ruling, reviewer) in chips
    ]


@settings(max_examples=50)
@given(CHIPS, QUOTA, st.data())
def test_the_order_of_rows_does_not_matter(
    rows: list[tuple[str, str, str, float, float]], quota: int | None, data: st.DataObject
) -> None:
    verdicts = _drawn(data, rows)
    one = _curate(_scores(*rows), *verdicts, quota=quota)
    other = _curate(_scores(*data.draw(st.permutations(rows))), *verdicts, quota=quota)
    assert one.selection == other.selection
    assert (one.funnel, one.metrics, one.kept_per_class) == (
        other.funnel,
        other.metrics,
        other.kept_per_class,
    )
    assert funnel_lines(one) == funnel_lines(other)


@settings(max_examples=50)
@given(CHIPS, QUOTA, st.data())
def test_the_numbers_add_up(
    rows: list[tuple[str, str, str, float, float]], quota: int | None, data: st.DataObject
) -> None:
    curated = _curate(_scores(*rows), *_drawn(data, rows), quota=quota)
    of_set = {row[1]: row[0] for row in rows}
    metrics = curated.metrics
    for name in set(of_set.values()):
        steps = [row for row in curated.funnel if row["set"] == name]
        for before, after in pairwise(steps):
            assert after["remaining"] == before["remaining"] - after["removed"] + after["restored"]
        kept = [item for item in curated.selection.choices if item.kept and of_set[item.chip_id] == name]
        assert steps[0]["remaining"] == metrics[f"n_made.{name}"] == list(of_set.values()).count(name)
        assert steps[-1]["remaining"] == metrics[f"n_kept.{name}"] == len(kept)
        labels = [item.label for item in kept]
        assert curated.kept_per_class[name] == {label: labels.count(label) for label in CLASSES}
        assert quota is None or max(curated.kept_per_class[name].values()) <= quota
    for gate in GATES:
        removed = [row["removed"] for row in curated.funnel if row["step"] == gate.measure]
        assert metrics[f"rejected_first_by.{gate.measure}"] == sum(map(int, removed))
    assert metrics["n_kept"] == len(curated.selection.kept)
    assert all(bool(item.reason) != item.kept for item in curated.selection.choices)


@given(CHIPS, st.data())
def test_just_what_passes_or_is_kept_by_people_and_is_not_rejected_by_them_is_kept(
    rows: list[tuple[str, str, str, float, float]], data: st.DataObject
) -> None:
    verdicts = _drawn(data, rows)
    kept = _curate(_scores(*rows), *verdicts).selection.kept
    for _, chip_id, label, enl, ghost_z in rows:
        last = {row.reviewer: row.ruling.value for row in verdicts if row.chip_id == chip_id}
        said = set(last.values()) - {"unsure"}
        passes = enl <= 4.0 and not ghost_z > 3.0  # a missing ENL rejects, a missing ghost does not
        stands = said == {"keep"} or (passes and said in (set(), {"relabel"}))
        assert (chip_id in kept) == stands
        if stands:
            assert kept[chip_id] == ("B-52" if said == {"relabel"} else label)


def test_a_quota_takes_the_first_ids() -> None:
    ids = [f"{number:02x}" for number in np.random.default_rng(0).permutation(20)]
    table = _scores(*(("psd", chip, "F-16", 3.0, 1.0) for chip in ids))
    assert sorted(_curate(table, quota=7).selection.kept) == sorted(ids)[:7]


def test_medians_of_the_kept_chips_are_metrics() -> None:
    scores = _scores(
        ("psd", "a1", "F-16", 1.0, 1.0),
        ("psd", "a2", "F-16", 2.0, 1.0),
        ("psd", "a3", "F-16", 3.5, 1.0),
        ("psd", "a4", "F-16", 9.0, 1.0),
        ("physics", "b1", "F-16", 9.0, 1.0),
    )
    metrics = _curate(scores).metrics
    assert metrics["median_enl_of_kept.psd"] == 2.0
    assert "median_enl_of_kept.physics" not in metrics
    assert _curate(scores, _verdict("a3", "reject")).metrics["median_enl_of_kept.psd"] == 1.5
