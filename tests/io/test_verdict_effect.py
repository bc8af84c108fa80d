from __future__ import annotations

import pytest

from sarcurate.errors import DataError
from sarcurate.io.selection import Choice, Selection, make_selection
from sarcurate.io.verdict_effect import effect

SETS = {f"a{number}": "migrated" for number in range(5)} | {"b1": "psd"}
BEFORE = dict.fromkeys(SETS, (True, "F-16")) | {"a4": (False, "B-52")}


def _selection(fates: dict[str, tuple[bool, str]]) -> Selection:
    return make_selection(
        Choice(chip_id, kept, label, "" if kept else "why") for chip_id, (kept, label) in fates.items()
    )


def test_changed_fates_are_told_per_set_and_class() -> None:
    after = BEFORE | {
        "a1": (False, "F-16"),
        "a2": (False, "F-16"),
        "a3": (True, "B-52"),
        "a4": (True, "B-52"),
    }
    assert effect(_selection(BEFORE), _selection(after), SETS) == [
        "migrated: kept 4 -> 3 (B-52 0 -> 2, F-16 4 -> 1)",
        "  rejected: 2 (a1, a2)",
        "  kept: 1 (a4)",
        "  relabelled: 1 (a3)",
    ]


def test_a_relabelled_chip_that_stays_out_changes_no_count() -> None:
    after = BEFORE | {"a4": (False, "F-16")}
    assert effect(_selection(BEFORE), _selection(after), SETS) == [
        "migrated: kept 4 -> 4",
        "  relabelled: 1 (a4)",
    ]


def test_other_reasons_alone_are_no_change() -> None:
    after = make_selection(
        Choice(chip_id, kept, label, "" if kept else "another") for chip_id, (kept, label) in BEFORE.items()
    )
    assert effect(_selection(BEFORE), after, SETS) == ["no chip's fate changes"]


def test_selections_of_other_chips_are_refused() -> None:
    fewer = {chip_id: fate for chip_id, fate in BEFORE.items() if chip_id != "b1"}
    with pytest.raises(DataError, match=r"not of today's scores\nFix: .*dvc repro curate"):
        effect(_selection(fewer), _selection(BEFORE), SETS)
