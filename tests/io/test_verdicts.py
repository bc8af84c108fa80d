from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.errors import DataError
from sarcurate.io.verdicts import (
    COLUMNS,
    HEADER,
    MAX_BYTES,
    Ruling,
    Standing,
    Verdict,
    Verdicts,
    read_verdicts,
    resolve,
)

REPOSITORY = Path(__file__).resolve().parents[2]
OLD, NEW = "0" * 64, "1" * 64
GOOD = {
    "chip_id": "a1",
    "pixels_sha256": NEW,
    "verdict": "reject",
    "new_label": "",
    "reason": "two wings missing",
    "reviewer": "Ann",
    "utc": "2026-01-31T13:05:00Z",
}


def _write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("".join(f"{line}\n" for line in (header, *lines)), encoding="utf-8")
    return path


def _line(**changes: str) -> str:
    return ",".join((GOOD | changes)[name] for name in COLUMNS)


def _refused(tmp_path: Path, *lines: str, header: str = HEADER) -> str:
    with pytest.raises(DataError) as error:
        read_verdicts(_write(tmp_path / "verdicts.csv", *lines, header=header))
    return str(error.value)


def _verdict(chip_id: str, reviewer: str, ruling: str, pixels: str = NEW, new_label: str = "") -> Verdict:
    where = "verdicts.csv line 2"
    return Verdict(chip_id, pixels, Ruling(ruling), new_label, "", reviewer, GOOD["utc"], where)


def _chips(standing: Standing) -> dict[str, set[str]]:
    return {name: set(chips) for name, chips in vars(standing).items() if chips}


def test_the_committed_file_is_the_header_alone() -> None:
    path = REPOSITORY / "data" / "verdicts.csv"
    assert path.read_bytes().startswith(HEADER.encode() + b"\n")
    read_verdicts(path)


def test_the_header_alone_has_no_verdicts(tmp_path: Path) -> None:
    assert read_verdicts(_write(tmp_path / "verdicts.csv")).rows == ()


def test_good_lines_are_read_in_order(tmp_path: Path) -> None:
    lines = (
        _line(),
        _line(reviewer="Åsa", reason='"blurred, twice"'),
        _line(verdict="relabel", new_label="B-52", reason="", utc="2026-01-31T13:05:00.25Z"),
        _line(verdict="keep"),
        _line(verdict="unsure", utc="2026-02-01T00:00:00Z"),
    )
    rows = read_verdicts(_write(tmp_path / "verdicts.csv", *lines[:3])).rows
    assert [row.ruling for row in rows] == [Ruling.REJECT, Ruling.REJECT, Ruling.RELABEL]
    assert rows[0] == Verdict(
        "a1",
        NEW,
        Ruling.REJECT,
        "",
        GOOD["reason"],
        "Ann",
        GOOD["utc"],
        f"{tmp_path / 'verdicts.csv'} line 2",
    )
    assert (rows[1].reviewer, rows[1].reason) == ("Åsa", "blurred, twice")
    assert rows[2].new_label == "B-52"
    assert len(read_verdicts(_write(tmp_path / "other.csv", lines[0], *lines[3:])).rows) == 3


def test_line_ends_of_other_systems_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.csv"
    path.write_bytes(f"{HEADER}\r\n{_line()}\r\n{_line()}".encode())
    assert [row.reviewer for row in read_verdicts(path).rows] == ["Ann", "Ann"]


def test_a_missing_file_names_the_header_to_write(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"verdicts\.csv: the verdicts file is missing\nFix: .*{HEADER}"):
        read_verdicts(tmp_path / "verdicts.csv")


def test_a_folder_is_no_verdicts_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        read_verdicts(tmp_path)


@pytest.mark.parametrize(
    "header", ["", HEADER + ",note", HEADER.replace("utc", "time"), "utc," + HEADER[:-4]]
)
def test_other_columns_are_refused(tmp_path: Path, header: str) -> None:
    said = _refused(tmp_path, header=header)
    assert "verdicts.csv line 1: found columns" in said
    assert f"must read exactly: {HEADER}" in said


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "verdicts.csv").touch()
    with pytest.raises(DataError, match="line 1: found columns none"):
        read_verdicts(tmp_path / "verdicts.csv")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "line 3: 0 cells, expected 7"),
        (_line() + ",more", "line 3: 8 cells, expected 7"),
        (_line().removesuffix("," + GOOD["utc"]), "line 3: 6 cells, expected 7"),
        (_line(reason='"left open'), "line 3: unexpected end of data"),
        (_line(reason='"so" so'), "line 3: ',' expected after '\"'"),
    ],
)
def test_odd_lines_are_refused(tmp_path: Path, line: str, expected: str) -> None:
    assert expected in _refused(tmp_path, _line(), line)


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("chip_id", "", "found '', expected some text"),
        ("reviewer", "", "found '', expected some text"),
        ("pixels_sha256", "1" * 63, "expected 64 digits of 0-9 and a-f"),
        ("pixels_sha256", "A" * 64, "expected 64 digits of 0-9 and a-f"),
        ("verdict", "Reject", "found 'Reject', expected keep | reject | unsure | relabel"),
        ("verdict", "", "expected keep | reject | unsure | relabel"),
        ("new_label", "B-52", "found 'B-52', expected nothing beside the verdict reject"),
        ("utc", "2026-01-31T13:05:00", "expected a UTC time as 2026-01-31T13:05:00Z"),
        ("utc", "2026-01-31T13:05:00+00:00", "expected a UTC time"),
        ("utc", "2026-01-31 13:05:00Z", "expected a UTC time"),
        ("utc", "2026-02-30T13:05:00Z", "expected a UTC time"),
        ("utc", "2026-01-31T25:05:00Z", "expected a UTC time"),
        ("utc", "٢٠٢٦-01-31T13:05:00Z", "expected a UTC time"),
        ("reason", "=HYPERLINK(1)", "makes a spreadsheet run the cell"),
        ("reason", "+1", "makes a spreadsheet run the cell"),
        ("reason", "-1", "makes a spreadsheet run the cell"),
        ("reviewer", "@Ann", "makes a spreadsheet run the cell"),
        ("reason", "\t=1", "makes a spreadsheet run the cell"),
        ("reason", "＝1", "makes a spreadsheet run the cell"),
        ("chip_id", "=a1", "makes a spreadsheet run the cell"),
        ("reason", "bell \x07", "holds a control character"),
        ("reason", "nul \x00 nul", "holds a control character"),
        ("reason", "turned \u202e round", "holds a control character"),
        ("reason", '"two\nlines"', "holds a control character or line break"),
        ("reviewer", "Ann ", "has blanks at its ends"),
        ("reason", " blurred", "has blanks at its ends"),
    ],
)
def test_one_broken_cell_is_refused_with_its_line_and_column(
    tmp_path: Path, column: str, cell: str, expected: str
) -> None:
    said = _refused(tmp_path, _line(), _line(**{column: cell}))
    line = 4 if "\n" in cell else 3  # where the record ends
    assert f"verdicts.csv line {line}, column {column}: " in said
    assert expected in said
    assert "\nFix: " in said


def test_a_relabel_needs_its_label(tmp_path: Path) -> None:
    said = _refused(tmp_path, _line(verdict="relabel"))
    assert "line 2, column new_label: found '', expected a class beside the verdict relabel" in said


def test_time_must_not_run_back(tmp_path: Path) -> None:
    said = _refused(tmp_path, _line(), _line(utc="2026-01-31T13:04:59.9Z"))
    assert "line 3, column utc: 2026-01-31T13:04:59.9Z is before 2026-01-31T13:05:00Z" in said


def test_a_reviewer_has_one_spelling(tmp_path: Path) -> None:
    said = _refused(tmp_path, _line(), _line(reviewer="ann"))
    assert "line 3, column reviewer: 'ann' stands as 'Ann' above" in said


def test_only_utf_8_without_a_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.csv"
    path.write_bytes(f"{HEADER}\n{_line()}\n{_line(reviewer='Åsa')}\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"verdicts\.csv line 3: not UTF-8 text"):
        read_verdicts(path)
    path.write_text(HEADER + "\n", encoding="utf-8-sig")
    with pytest.raises(DataError, match="starts with a byte order mark"):
        read_verdicts(path)


def test_a_file_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.csv"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DataError, match="more than"):
        read_verdicts(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "verdicts.csv"
    path.write_bytes(HEADER.encode() + b"\n" + data)
    try:
        assert len(read_verdicts(path).rows) <= data.count(b"Z")
    except DataError as error:
        assert "verdicts.csv line" in error.problem  # noqa: PT017


def test_reviewers_who_agree_stand() -> None:
    rows = (_verdict("a1", "Bob", "reject"), _verdict("a1", "Ann", "reject"))
    standing = resolve(Verdicts(rows), {"a1": NEW})
    assert [row.reviewer for row in standing.agreed["a1"]] == ["Ann", "Bob"]
    assert _chips(standing) == {"agreed": {"a1"}}


@pytest.mark.parametrize(
    "other", [_verdict("a1", "Bob", "reject"), _verdict("a1", "Bob", "relabel", new_label="B-52")]
)
def test_reviewers_who_differ_dispute(other: Verdict) -> None:
    standing = resolve(Verdicts((_verdict("a1", "Ann", "keep"), other)), {"a1": NEW})
    assert _chips(standing) == {"disputed": {"a1"}}


def test_relabels_agree_on_one_label_alone() -> None:
    ann, bob = (_verdict("a1", name, "relabel", new_label="B-52") for name in ("Ann", "Bob"))
    assert set(resolve(Verdicts((ann, bob)), {"a1": NEW}).agreed) == {"a1"}
    bob = _verdict("a1", "Bob", "relabel", new_label="F-16")
    assert set(resolve(Verdicts((ann, bob)), {"a1": NEW}).disputed) == {"a1"}


def test_the_last_row_per_chip_and_reviewer_counts() -> None:
    rows = (
        _verdict("a1", "Ann", "reject"),
        _verdict("a1", "Bob", "keep"),
        _verdict("b2", "Ann", "reject"),
        _verdict("a1", "Ann", "keep"),
    )
    standing = resolve(Verdicts(rows), {"a1": NEW, "b2": NEW})
    assert {chip: {row.ruling for row in said} for chip, said in standing.agreed.items()} == {
        "a1": {Ruling.KEEP},
        "b2": {Ruling.REJECT},
    }


def test_unsure_alone_is_listed_and_abstains_beside_others() -> None:
    rows = (_verdict("a1", "Ann", "unsure"), _verdict("b2", "Ann", "unsure"), _verdict("b2", "Bob", "reject"))
    standing = resolve(Verdicts(rows), {"a1": NEW, "b2": NEW})
    assert _chips(standing) == {"agreed": {"b2"}, "unsure": {"a1"}}
    assert [row.reviewer for row in standing.agreed["b2"]] == ["Bob"]


def test_a_verdict_on_other_pixels_is_a_proposal_to_look_again() -> None:
    rows = (
        _verdict("a1", "Ann", "reject", OLD),
        _verdict("b2", "Ann", "keep", OLD),
        _verdict("b2", "Bob", "reject"),
    )
    standing = resolve(Verdicts(rows), {"a1": NEW, "b2": NEW})
    assert _chips(standing) == {"agreed": {"b2"}, "stale": {"a1", "b2"}}
    assert [row.reviewer for row in standing.agreed["b2"]] == ["Bob"]


def test_chips_in_no_set_are_named() -> None:
    rows = tuple(_verdict(f"z{number:02}", "Ann", "keep") for number in range(12))
    with pytest.raises(DataError) as error:
        resolve(Verdicts((_verdict("a1", "Ann", "keep"), *rows)), {"a1": NEW})
    assert "verdicts on chips that are in no made set, 12 of them: z00 (verdicts.csv line 2), z01" in str(
        error.value
    )
    assert "z09 (verdicts.csv line 2) and 2 more" in str(error.value)
    assert "a1" not in str(error.value)


@given(
    st.lists(
        st.builds(
            _verdict,
            st.sampled_from(["a1", "b2"]),
            st.sampled_from(["Ann", "Bob", "Cy"]),
            st.sampled_from(["keep", "reject", "unsure"]),
            st.sampled_from([OLD, NEW]),
        ),
        max_size=12,
    )
)
def test_every_chip_is_resolved_as_a_plain_reading_says(rows: list[Verdict]) -> None:
    standing = resolve(Verdicts(tuple(rows)), {"a1": NEW, "b2": NEW})
    for chip_id in ("a1", "b2"):
        last: dict[str, Verdict] = {}
        for row in rows:
            if row.chip_id == chip_id:
                last[row.reviewer] = row
        fresh = [row.ruling for row in last.values() if row.pixels_sha256 == NEW]
        keeps, rejects = fresh.count(Ruling.KEEP), fresh.count(Ruling.REJECT)
        assert (chip_id in standing.agreed) == ((keeps > 0) != (rejects > 0))
        assert (chip_id in standing.disputed) == (keeps > 0 and rejects > 0)
        assert (chip_id in standing.unsure) == (bool(fresh) and keeps == rejects == 0)
        assert (chip_id in standing.stale) == (len(fresh) < len(last))
