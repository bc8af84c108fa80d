from __future__ import annotations

import csv
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.errors import DataError
from sarcurate.io.verdict_log import Journal, Ruled, Saved, append, changes, extended
from sarcurate.io.verdicts import HEADER, Ruling, Verdicts, read_verdicts

PIXELS = "1" * 64
KNOWN = {f"a{number}": PIXELS for number in range(10)}
CLASSES = ("B-52", "F-16")


def _ruled(chip_id: str = "a1", ruling: str = "reject", **changed: str) -> Ruled:
    facts = {"pixels_sha256": PIXELS, "new_label": "", "reason": "", "reviewer": "Ann"} | changed
    return Ruled(chip_id=chip_id, ruling=Ruling(ruling), **facts)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "verdicts.csv"
    file.write_text(HEADER + "\n", encoding="utf-8")
    return file


def _append(path: Path, *ruled: Ruled) -> Saved:
    return append(path, ruled, KNOWN, CLASSES)


# --- the log


def test_what_is_saved_is_read_back(path: Path) -> None:
    before = datetime.now(UTC)
    saved = _append(path, _ruled("a1", reason="two noses"), _ruled("a2", "relabel", new_label="F-16"))
    assert saved.line() == "2 verdicts saved (1 reject, 1 relabel)"
    rows = read_verdicts(path).rows
    assert [(row.chip_id, row.ruling, row.new_label, row.reason) for row in rows] == [
        ("a1", Ruling.REJECT, "", "two noses"),
        ("a2", Ruling.RELABEL, "F-16", ""),
    ]
    assert {row.reviewer for row in rows} == {"Ann"}
    times = {datetime.fromisoformat(row.utc) for row in rows}
    assert all(before <= time <= datetime.now(UTC) for time in times)


def test_a_save_that_changes_nothing_leaves_the_bytes(path: Path) -> None:
    _append(path, _ruled(reason="two noses"), _ruled("a2", "keep"))
    before = path.read_bytes(), path.stat().st_mtime_ns
    saved = _append(path, _ruled(reason="two noses"), _ruled("a2", "keep"))
    assert saved.appended == ()
    assert saved.line() == "no verdict to save"
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_old_bytes_stay_in_front(path: Path, end: str) -> None:
    line = f"a1,{PIXELS},keep,,,Ann,2026-01-31T13:05:00Z"
    path.write_bytes(f"{HEADER}\r\n{line}{end}".encode())
    before = path.read_bytes()
    _append(path, _ruled("a1"), _ruled("a2"))
    assert path.read_bytes().startswith(before)
    assert [row.ruling.value for row in read_verdicts(path).rows] == ["keep", "reject", "reject"]


def test_a_changed_mind_is_a_further_line(path: Path) -> None:
    for ruling in ("keep", "reject", "keep"):
        _append(path, _ruled("a1", ruling))
    assert [row.ruling.value for row in read_verdicts(path).rows] == ["keep", "reject", "keep"]


def test_the_last_said_in_one_save_counts(path: Path) -> None:
    saved = _append(path, _ruled("a1", "keep"), _ruled("a1", "unsure"), _ruled("a1", reviewer="Bob"))
    assert [(row.reviewer, row.ruling.value) for row in saved.appended] == [
        ("Ann", "unsure"),
        ("Bob", "reject"),
    ]


def test_time_does_not_run_back_where_the_clock_does(path: Path) -> None:
    ahead = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    path.write_text(f"{HEADER}\na1,{PIXELS},keep,,,Ann,{ahead}\n", encoding="utf-8")
    _append(path, _ruled("a2"))
    first, second = (datetime.fromisoformat(row.utc) for row in read_verdicts(path).rows)
    assert second - first == timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("ruled", "expected"),
    [
        (_ruled("b1"), "verdicts on chips that are in no made set, 1 of them: b1"),
        (_ruled(ruling="relabel", new_label="tank"), "a relabel to 'tank', which is no class"),
        (_ruled(reason="=HYPERLINK(1)"), "verdicts.csv line 3, column reason: .* run the cell"),
        (_ruled(reason="turned \u202e round"), "verdicts.csv line 3, column reason: .* control character"),
        (_ruled(reviewer="@Ann"), "verdicts.csv line 3, column reviewer: .* run the cell"),
        (_ruled(reviewer="ANN"), "verdicts.csv line 3, column reviewer: 'ANN' stands as 'Ann' above"),
        (_ruled(pixels_sha256="0"), "verdicts.csv line 3, column pixels_sha256: found '0'"),
        (_ruled(ruling="keep", new_label="F-16"), "verdicts.csv line 3, column new_label"),
    ],
)
def test_what_the_file_must_not_hold_is_refused_and_the_file_untouched(
    path: Path, ruled: Ruled, expected: str
) -> None:
    _append(path, _ruled("a9", "keep"))
    before = path.read_bytes()
    with pytest.raises(DataError, match=expected):
        _append(path, ruled)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir() if not file.name.startswith(".")] == [path.name]


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the verdicts file is missing"):
        _append(tmp_path / "verdicts.csv", _ruled())
    assert not (tmp_path / "verdicts.csv").exists()


REASONS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")) | st.sampled_from(",\"';é漢🛩")
)
PLAIN = REASONS.map(str.strip).filter(lambda text: not text.startswith(tuple("=+-@＝＋－＠")))
MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@settings(max_examples=60, deadline=None)
@given(reasons=st.lists(PLAIN.filter(lambda text: not set(text) & set(MARKS)), min_size=1, max_size=10))
def test_reasons_come_back_as_they_were(reasons: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("log") / "verdicts.csv"
    path.write_text(HEADER + "\n", encoding="utf-8")
    _append(path, *(_ruled(f"a{number}", reason=text) for number, text in enumerate(reasons)))
    assert [row.reason for row in read_verdicts(path).rows] == reasons
    with path.open(encoding="utf-8", newline="") as file:  # as any other reader of CSV sees it
        assert [row["reason"] for row in csv.DictReader(file)] == reasons


RULED = st.builds(
    _ruled,
    st.sampled_from(["a1", "a2"]),
    st.sampled_from(["keep", "reject", "unsure"]),
    reviewer=st.sampled_from(["Ann", "Bob"]),
)


@settings(max_examples=60)
@given(first=st.lists(RULED, max_size=6), second=st.lists(RULED, max_size=6))
def test_changes_are_what_a_plain_reading_says(first: list[Ruled], second: list[Ruled]) -> None:
    log = extended(Verdicts(()), first)
    last = {(item.chip_id, item.reviewer): item.ruling for item in first}
    said = {(item.chip_id, item.reviewer): item.ruling for item in second}
    expected = {key: ruling for key, ruling in said.items() if last.get(key) != ruling}
    assert {(item.chip_id, item.reviewer): item.ruling for item in changes(log, second)} == expected
    whole = extended(log, second)
    assert whole.rows[: len(log.rows)] == log.rows
    assert changes(whole, second) == ()


# --- the journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / ".sarcurate" / "pending_verdicts.csv")


def test_a_journal_without_a_file_is_empty(journal: Journal) -> None:
    assert journal.rows() == journal.ruled() == journal.undo("Ann") == ()
    journal.add([])
    assert not journal.path.exists()


def test_undo_takes_back_what_was_added_at_once(journal: Journal) -> None:
    journal.add([_ruled("a1")])
    journal.add([_ruled("a2"), _ruled("a3")])
    assert [row.chip_id for row in journal.undo("Ann")] == ["a2", "a3"]
    assert [item.chip_id for item in journal.ruled()] == ["a1"]
    assert [row.chip_id for row in journal.undo("Ann")] == ["a1"]
    assert journal.undo("Ann") == ()


def test_undo_leaves_what_others_added(journal: Journal) -> None:
    journal.add([_ruled("a1"), _ruled("a2", reviewer="Bob")])
    journal.add([_ruled("a3", reviewer="Bob")])
    assert [row.chip_id for row in journal.undo("Ann")] == ["a1"]
    assert [row.chip_id for row in journal.rows()] == ["a2", "a3"]
    assert journal.undo("Ann") == ()


def test_the_last_per_chip_and_reviewer_waits(journal: Journal) -> None:
    journal.add([_ruled("a1", "keep"), _ruled("a1", reviewer="Bob")])
    journal.add([_ruled("a1", "unsure")])
    assert [(item.reviewer, item.ruling.value) for item in journal.ruled()] == [
        ("Ann", "unsure"),
        ("Bob", "reject"),
    ]


def test_odd_text_does_not_reach_the_journal(journal: Journal) -> None:
    journal.add([_ruled("a1")])
    with pytest.raises(DataError, match="run the cell"):
        journal.add([_ruled("a2", reason="=1+1")])
    assert [item.chip_id for item in journal.ruled()] == ["a1"]


def test_what_is_taken_waits_no_longer_unless_saving_fails(journal: Journal, path: Path) -> None:
    journal.add([_ruled("a1"), _ruled("b1")])
    with pytest.raises(DataError, match="in no made set"):
        journal.take(lambda waiting: append(path, waiting, KNOWN, CLASSES))
    assert [item.chip_id for item in journal.ruled()] == ["a1", "b1"]
    assert read_verdicts(path).rows == ()
    journal.undo("Ann")
    journal.add([_ruled("a1")])
    assert len(journal.take(lambda waiting: append(path, waiting, KNOWN, CLASSES)).appended) == 1
    assert journal.ruled() == ()
    assert len(read_verdicts(path).rows) == 1


def test_a_kill_after_saving_saves_nothing_twice(journal: Journal, path: Path) -> None:
    journal.add([_ruled("a1")])

    def save_and_die(waiting: tuple[Ruled, ...]) -> Saved:
        append(path, waiting, KNOWN, CLASSES)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.take(save_and_die)
    assert len(journal.ruled()) == 1
    assert journal.take(lambda waiting: append(path, waiting, KNOWN, CLASSES)).appended == ()
    assert len(read_verdicts(path).rows) == 1


def test_log_and_journal_may_lie_in_one_folder(path: Path) -> None:
    journal = Journal(path.with_name("pending.csv"))
    journal.add([_ruled("a1")])
    done = threading.Thread(
        target=journal.take, args=[lambda waiting: append(path, waiting, KNOWN, CLASSES)], daemon=True
    )
    done.start()
    done.join(10)
    assert not done.is_alive()
    assert len(read_verdicts(path).rows) == 1


ADDING = """
import os, sys
from pathlib import Path
from sarcurate.io.verdict_log import Journal, Ruled
from sarcurate.io.verdicts import Ruling

path, reviewer, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(count):
    Journal(path).add([Ruled(f"a{number}", "1" * 64, Ruling.REJECT, "", "", reviewer)])
os._exit(9)  # as a kill: nothing is flushed or closed
"""


def _adding(path: Path, reviewer: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", ADDING, str(path), reviewer, str(count)])


def test_a_kill_between_verdict_and_save_loses_nothing(journal: Journal, path: Path) -> None:
    assert _adding(journal.path, "Ann", 3).wait(30) == 9
    assert [item.chip_id for item in journal.ruled()] == ["a0", "a1", "a2"]
    assert len(journal.take(lambda waiting: append(path, waiting, KNOWN, CLASSES)).appended) == 3


def test_two_processes_at_once_lose_nothing(journal: Journal) -> None:
    both = [_adding(journal.path, reviewer, 25) for reviewer in ("Ann", "Bob")]
    assert [process.wait(60) for process in both] == [9, 9]
    found = {(item.reviewer, item.chip_id) for item in journal.ruled()}
    assert found == {(name, f"a{number}") for name in ("Ann", "Bob") for number in range(25)}
