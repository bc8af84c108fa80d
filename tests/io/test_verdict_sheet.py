from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.errors import DataError
from sarcurate.io.verdict_log import Ruled
from sarcurate.io.verdict_sheet import COLUMNS, guarded, read_sheet, ruled_of, write_sheet
from sarcurate.io.verdicts import Ruling

PIXELS = "1" * 64
KNOWN = {"a1": PIXELS, "b2": PIXELS, "c3": PIXELS}
CLASSES = ("B-52", "F-16")
GOOD = {"chip_id": "a1", "pixels_sha256": PIXELS, "verdict": "reject", "new_label": "", "reason": "blurred"}


def _sheet(tmp_path: Path, *rows: dict[str, str], columns: tuple[str, ...] = tuple(GOOD)) -> Path:
    path = tmp_path / "sheet.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\r\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _read(path: Path) -> tuple[Ruled, ...]:
    return ruled_of(read_sheet(path), KNOWN, CLASSES, "Ann")


def _refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        _read(path)
    return str(error.value)


# --- written


@pytest.fixture
def judged() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "chip_id": ["a1", "b2"],
            "pixels_sha256": PIXELS,
            "set": ["psd", "=set"],
            "label": ["F-16, two", "@SUM(1)"],
            "kept": pd.Series([True, False], dtype=object),
            "enl": [3.14159, float("nan")],
            "log_psd_distance": [0.25, 12345.6],
            "reason": ["", '-1 is "low"'],
        }
    )


def test_a_sheet_has_a_row_per_chip_and_no_formula(tmp_path: Path, judged: pd.DataFrame) -> None:
    write_sheet(tmp_path / "s.csv", judged)
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert rows == [
        ["a1", PIXELS, "psd", "F-16, two", "kept", "3.142", "0.25", "", "", "", ""],
        ["b2", PIXELS, "'=set", "'@SUM(1)", "rejected", "", "1.235e+04", '\'-1 is "low"', "", "", ""],
    ]


@given(st.text(max_size=5))
def test_no_guarded_text_starts_as_a_formula(text: str) -> None:
    assert not guarded(text).startswith(tuple("=+-@\t\r＝＋－＠"))
    assert guarded(text).endswith(text)


def test_an_untouched_sheet_has_no_verdict(tmp_path: Path, judged: pd.DataFrame) -> None:
    write_sheet(tmp_path / "s.csv", judged)
    assert read_sheet(tmp_path / "s.csv") == ()


def test_a_sheet_filled_in_by_hand_is_read(tmp_path: Path, judged: pd.DataFrame) -> None:
    path = tmp_path / "s.csv"
    write_sheet(path, judged)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[1, ["verdict", "new_label", "reason"]] = ["relabel", "B-52", "four engines"]
    table.to_csv(path, index=False)
    assert _read(path) == (Ruled("b2", PIXELS, Ruling.RELABEL, "B-52", "four engines", "Ann"),)


# --- read


def test_rows_without_a_verdict_and_further_columns_do_not_matter(tmp_path: Path) -> None:
    columns = ("note", "verdict", "chip_id", "pixels_sha256")
    rows = [GOOD | {"note": "x"}, GOOD | {"chip_id": "b2", "verdict": " "}, {}, GOOD | {"chip_id": "c3"}]
    found = _read(_sheet(tmp_path, *rows, columns=columns))
    assert [(item.chip_id, item.reason) for item in found] == [("a1", ""), ("c3", "")]


def test_a_mark_of_spreadsheets_and_blanks_are_taken_off(tmp_path: Path) -> None:
    path = _sheet(tmp_path, GOOD | {"verdict": " reject ", "reason": " blurred  "})
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert [(item.ruling, item.reason) for item in _read(path)] == [(Ruling.REJECT, "blurred")]


def test_the_same_row_twice_is_one_verdict(tmp_path: Path) -> None:
    assert len(_read(_sheet(tmp_path, GOOD, GOOD))) == 1


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"verdict": "rejct"}, "column verdict: found 'rejct', expected keep | reject | unsure | relabel"),
        ({"verdict": "Reject"}, "column verdict: found 'Reject', expected keep | reject"),
        ({"verdict": "relabel"}, "column new_label: found '', expected one of B-52, F-16"),
        ({"verdict": "relabel", "new_label": "tank"}, "column new_label: found 'tank', expected one of"),
        ({"new_label": "F-16"}, "column new_label: found 'F-16', expected nothing beside reject"),
        ({"chip_id": "z9"}, "column chip_id: found 'z9', expected a chip of a made set"),
        ({"chip_id": "1.23E+23"}, "import this column as text"),
        ({"chip_id": "1,23E+23"}, "import this column as text"),
        ({"chip_id": ""}, "column chip_id: found ''"),
        ({"pixels_sha256": "0" * 64}, f"column pixels_sha256: found '{'0' * 64}', expected {PIXELS}"),
        ({"reason": "=1+1"}, "column reason: found '=1+1', expected no sign that makes a spreadsheet run"),
        ({"reason": "two\nlines"}, "column reason: found 'two\\nlines', expected one line"),
    ],
)
def test_one_odd_cell_is_refused_with_its_line_and_column(
    tmp_path: Path, changed: dict[str, str], expected: str
) -> None:
    said = _refused(_sheet(tmp_path, GOOD | {"chip_id": "b2"}, GOOD | changed))
    line = 4 if "\n" in changed.get("reason", "") else 3  # where the record ends
    assert f"sheet.csv line {line}, column" in said
    assert expected in said
    assert "\nFix: " in said


@pytest.mark.parametrize("other", [{"verdict": "keep"}, {"reason": "other"}])
def test_two_verdicts_on_one_chip_are_refused(tmp_path: Path, other: dict[str, str]) -> None:
    said = _refused(_sheet(tmp_path, GOOD, GOOD | {"chip_id": "b2"}, GOOD | other))
    assert "sheet.csv line 4, column verdict: chip a1 has another verdict in" in said
    assert "sheet.csv line 2" in said


@pytest.mark.parametrize(("sign", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_named(tmp_path: Path, sign: str, name: str) -> None:
    path = _sheet(tmp_path, GOOD)
    path.write_text(path.read_text(encoding="utf-8").replace(",", sign), encoding="utf-8")
    assert f"line 1: columns are separated by {name}, expected commas" in _refused(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: no column chip_id, pixels_sha256, verdict; found none"),
        ("chip_id,verdict\n", "line 1: no column pixels_sha256; found chip_id, verdict"),
        ("chip_id,pixels_sha256,verdict,verdict\n", "line 1: column verdict stands twice"),
        ("chip_id,pixels_sha256,verdict\na1,x\n", "line 2: 2 cells, expected 3"),
        ('chip_id,pixels_sha256,verdict\na1,"x" y,keep\n', "line 2: ',' expected after '\"'"),
    ],
)
def test_what_is_no_sheet_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "sheet.csv").write_text(text, encoding="utf-8")
    assert expected in _refused(tmp_path / "sheet.csv")


def test_only_utf_8_is_read(tmp_path: Path) -> None:
    path = _sheet(tmp_path, GOOD, GOOD | {"reason": "é"})
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    assert "sheet.csv line 3: not UTF-8 text" in _refused(path)


def test_a_missing_sheet_is_named(tmp_path: Path) -> None:
    assert "sheet.csv" in _refused(tmp_path / "sheet.csv")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "sheet.csv"
    path.write_bytes(f"chip_id,pixels_sha256,verdict\n{text}".encode("utf-8", "surrogatepass"))
    try:
        read_sheet(path)
    except DataError as error:
        assert "sheet.csv line" in error.problem  # noqa: PT017
