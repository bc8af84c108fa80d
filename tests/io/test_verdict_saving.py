from __future__ import annotations

from pathlib import Path

import pytest

from sarcurate.errors import DataError, ParamsError
from sarcurate.io.verdict_log import Journal, Ruled, extended
from sarcurate.io.verdict_saving import (
    MOST_NEWLY_REJECTED,
    difference,
    newly_rejected,
    reviewer_name,
    save,
    save_journal,
    split_known,
)
from sarcurate.io.verdicts import HEADER, Ruling, Verdicts, read_verdicts

PIXELS = "1" * 64
N = 8
KNOWN = {f"a{number}": PIXELS for number in range(N)}
LABELS = {chip_id: ("B-52", "F-16")[number % 2] for number, chip_id in enumerate(KNOWN)}
CLASSES = ("B-52", "F-16")
NOTHING = Verdicts(())


def _ruled(chip_id: str, ruling: str = "reject", **changed: str) -> Ruled:
    facts = {"pixels_sha256": PIXELS, "new_label": "", "reason": "", "reviewer": "Ann"} | changed
    return Ruled(chip_id=chip_id, ruling=Ruling(ruling), **facts)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "verdicts.csv"
    file.write_text(HEADER + "\n", encoding="utf-8")
    return file


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / ".sarcurate" / "pending_verdicts.csv")


# --- the limit


def test_a_quarter_may_be_rejected_at_once_and_no_more(path: Path) -> None:
    assert MOST_NEWLY_REJECTED == 0.25
    some = [_ruled(f"a{number}") for number in range(3)]
    before = path.read_bytes()
    with pytest.raises(
        DataError, match=r"3 of 8 judged chips would be newly rejected, more than 25 %.*\n.*--force"
    ):
        save(path, some, KNOWN, CLASSES, force=False)
    assert path.read_bytes() == before
    assert len(save(path, some[:2], KNOWN, CLASSES, force=False).appended) == 2
    # What is rejected already does not count again.
    assert len(save(path, some, KNOWN, CLASSES, force=False).appended) == 1
    everything = [_ruled(chip_id) for chip_id in KNOWN]
    assert len(save(path, everything, KNOWN, CLASSES, force=True).appended) == N - 3


def test_rejects_on_other_pixels_and_other_verdicts_do_not_count(path: Path) -> None:
    harmless = [_ruled(f"a{number}", "keep") for number in range(3)]
    harmless += [_ruled(f"a{number}", pixels_sha256="0" * 64) for number in range(3, N)]
    assert newly_rejected(NOTHING, harmless, KNOWN) == ()
    assert len(save(path, harmless, KNOWN, CLASSES, force=False).appended) == N


def test_a_dispute_counts_and_taking_a_reject_back_does_not() -> None:
    log = extended(NOTHING, [_ruled("a1", "keep"), _ruled("a2"), _ruled("gone")])
    said = [_ruled("a1", reviewer="Bob"), _ruled("a2", "keep"), _ruled("a3"), _ruled("a4", "unsure")]
    assert newly_rejected(log, said, KNOWN) == ("a1", "a3")


# --- the journal


def test_what_waits_is_saved(path: Path, journal: Journal) -> None:
    journal.add([_ruled("a1"), _ruled("a2", "relabel", new_label="B-52")])
    saved = save_journal(path, journal, KNOWN, CLASSES, force=False)
    assert saved.line() == "2 verdicts saved (1 reject, 1 relabel)"
    assert journal.ruled() == ()
    assert save_journal(path, journal, KNOWN, CLASSES, force=False).line() == "no verdict to save"


def test_past_the_limit_everything_keeps_waiting(path: Path, journal: Journal) -> None:
    journal.add([_ruled(chip_id) for chip_id in KNOWN])
    before = path.read_bytes(), journal.path.read_bytes()
    with pytest.raises(DataError, match="8 of 8 judged chips"):
        save_journal(path, journal, KNOWN, CLASSES, force=False)
    assert (path.read_bytes(), journal.path.read_bytes()) == before
    assert len(save_journal(path, journal, KNOWN, CLASSES, force=True).appended) == N


def test_verdicts_on_chips_of_no_set_stay_back(path: Path, journal: Journal) -> None:
    journal.add([_ruled("gone"), _ruled("a1")])
    saved = save_journal(path, journal, KNOWN, CLASSES, force=False)
    assert saved.left == ("gone",)
    assert saved.line() == ("1 verdicts saved (1 reject); 1 chips are in no set today and keep waiting: gone")
    assert [row.chip_id for row in read_verdicts(path).rows] == ["a1"]
    assert [item.chip_id for item in journal.ruled()] == ["gone"]


def test_verdicts_are_split_by_what_is_there() -> None:
    there, gone = split_known([_ruled("a1"), _ruled("gone"), _ruled("a2")], KNOWN)
    assert [item.chip_id for item in there] == ["a1", "a2"]
    assert [item.chip_id for item in gone] == ["gone"]


# --- the difference


def test_the_difference_is_told_by_kind_and_class() -> None:
    log = extended(NOTHING, [_ruled("a1", "keep")])
    said = [
        _ruled("a1", "keep"),
        _ruled("a0"),
        _ruled("a2"),
        _ruled("a3", reason="two noses", reviewer="Bob"),
        _ruled("a5", "relabel", new_label="B-52"),
        _ruled("gone", "unsure"),
    ]
    assert difference(log, said, LABELS) == [
        "5 verdicts to save (4 by Ann, 1 by Bob)",
        "  reject       3   B-52 2, F-16 1",
        "  unsure       1   in no set today 1",
        "  relabel      1   F-16 to B-52 1",
    ]
    assert difference(log, said[:1], LABELS) == ["no verdict that is not saved already"]


# --- who it is


def test_the_reviewer_is_named_or_known_to_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reviewer_name(" Ann ") == "Ann"
    (tmp_path / "config").write_text("[user]\n\tname = Åsa Öst\n", encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    assert reviewer_name(None) == "Åsa Öst"


@pytest.mark.parametrize("has_git", [True, False])
def test_nobody_is_an_error_that_says_what_to_do(
    has_git: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if not has_git:
        monkeypatch.setenv("PATH", str(tmp_path))
    for given in (None, " "):
        with pytest.raises(ParamsError, match=r"no reviewer was named.*\n.*git config user\.name"):
            reviewer_name(given)
