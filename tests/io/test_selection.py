from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.errors import DataError
from sarcurate.io.selection import Choice, make_selection, read_selection, write_selection

CHOICES = st.lists(
    st.builds(Choice, st.text(min_size=1, max_size=4), st.booleans(), st.text(max_size=3), st.just("why")),
    unique_by=lambda choice: choice.chip_id,
    max_size=8,
)
ONE = Choice("a1", True, "ship", "")
OTHER = Choice("b2", False, "tank", "ENL 9.1 is above the limit 4.0")


@given(choices=CHOICES, shuffle=st.randoms(use_true_random=False))
def test_the_order_of_choices_does_not_matter(choices: list[Choice], shuffle: object) -> None:
    turned = list(choices)
    shuffle.shuffle(turned)  # type: ignore[attr-defined]
    found = make_selection(turned)
    assert found == make_selection(choices)
    assert found.revision == make_selection(choices).revision
    assert [choice.chip_id for choice in found.choices] == sorted(choice.chip_id for choice in choices)


@pytest.mark.parametrize(
    "other",
    [
        Choice("a2", True, "ship", ""),
        Choice("a1", False, "ship", "no"),
        Choice("a1", True, "tank", ""),
        Choice("a1", True, "ship", "seen by a person"),
    ],
)
def test_every_part_of_a_choice_is_in_the_revision(other: Choice) -> None:
    assert make_selection([ONE, OTHER]).revision != make_selection([other, OTHER]).revision


def test_a_selection_is_read_back_from_the_same_bytes(tmp_path: Path) -> None:
    selection = make_selection([OTHER, ONE])
    for name in ("one/s.parquet", "other/s.parquet"):
        write_selection(tmp_path / name, selection)
        assert read_selection(tmp_path / name) == selection
    assert (tmp_path / "one/s.parquet").read_bytes() == (tmp_path / "other/s.parquet").read_bytes()


def test_an_empty_selection_is_one(tmp_path: Path) -> None:
    write_selection(tmp_path / "s.parquet", make_selection([]))
    assert read_selection(tmp_path / "s.parquet").choices == ()


def test_labels_of_kept_chips() -> None:
    other = Choice("c3", True, "tank", "")
    assert make_selection([other, OTHER, ONE]).kept == {"a1": "ship", "c3": "tank"}


def test_a_chip_chosen_twice_is_an_error() -> None:
    with pytest.raises(DataError, match=r"chip a1 is chosen twice\nFix: give one choice per chip"):
        make_selection([ONE, OTHER, Choice("a1", False, "ship", "no")])


def test_a_rejection_needs_a_reason() -> None:
    with pytest.raises(DataError, match=r"chip b2 is rejected without a reason\nFix: say why"):
        make_selection([ONE, Choice("b2", False, "tank", "")])


def test_what_is_no_selection_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    with pytest.raises(DataError, match=r"cannot read the selection .*s\.parquet"):
        read_selection(path)
    path.write_text("chip_id,kept\n")
    with pytest.raises(DataError, match=r"cannot read the selection .*s\.parquet"):
        read_selection(path)


@pytest.mark.parametrize(
    "table",
    [
        {"chip_id": ["a"], "kept": [True]},
        {"chip_id": ["a"], "kept": ["yes"], "label": ["x"], "reason": [""]},
        {"kept": [True], "chip_id": ["a"], "label": ["x"], "reason": [""]},
    ],
)
def test_other_columns_are_an_error(tmp_path: Path, table: dict[str, list[object]]) -> None:
    path = tmp_path / "s.parquet"
    pd.DataFrame(table).to_parquet(path)
    with pytest.raises(DataError, match=r"s\.parquet: columns .*expected chip_id \(string\), kept \(bool\)"):
        read_selection(path)


def test_a_selection_edited_by_hand_is_checked_again(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    write_selection(path, make_selection([ONE, OTHER]))
    table = pd.read_parquet(path)
    table["reason"] = ""
    table.astype("object").assign(kept=table["kept"].astype(bool)).to_parquet(path)
    with pytest.raises(DataError, match="b2 is rejected without a reason"):
        read_selection(path)
