"""The sheet of chips that people fill in with verdicts in a spreadsheet or a gallery."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sarcurate.errors import DataError
from sarcurate.io.safe import atomic_write, read_bounded
from sarcurate.io.verdict_log import Ruled
from sarcurate.io.verdicts import MAX_BYTES, Ruling

COLUMNS = (
    *("chip_id", "pixels_sha256", "set", "label", "kept", "enl", "log_psd_distance", "reason_rejected"),
    *("verdict", "new_label", "reason"),
)
NEEDED = ("chip_id", "pixels_sha256", "verdict")
FORMULA_SIGNS = "=+-@\t\r＝＋－＠"  # at the start of a cell spreadsheets run it, in full width too
_NUMBER = re.compile(r"[0-9]+([.,][0-9]+)?[eE]\+?[0-9]+")


@dataclass(frozen=True)
class FilledRow:
    """A row with a verdict, its cells without blanks around them; ``where`` names file and line."""

    where: str
    chip_id: str
    pixels_sha256: str
    verdict: str
    new_label: str
    reason: str


def write_sheet(path: Path, judged: pd.DataFrame) -> None:
    """Write a sheet to fill in, a row per judged chip of a Collection; verdict cells are empty.

    Texts that a spreadsheet would run as a formula get an apostrophe before them.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in judged.to_dict("records"):
        numbers = [_number(row[name]) for name in ("enl", "log_psd_distance")]
        kept = "kept" if row["kept"] else "rejected"
        texts = [guarded(row[name]) for name in ("chip_id", "pixels_sha256", "set", "label")]
        writer.writerow([*texts, kept, *numbers, guarded(row["reason"]), "", "", ""])
    with atomic_write(path) as file:
        file.write(out.getvalue().encode("utf-8"))


def guarded(text: str) -> str:
    """A text that no spreadsheet runs as a formula."""
    return f"'{text}" if text.startswith(tuple(FORMULA_SIGNS)) else text


def read_sheet(path: Path) -> tuple[FilledRow, ...]:
    """The rows of a sheet that have a verdict; further columns and rows without one do not matter.

    A byte order mark, which spreadsheets write, is taken off, and so are blanks around cells.

    Raises:
        DataError: naming line and column, where the file is no such sheet.
    """
    return tuple(_filled(_text(path), str(path)))


def ruled_of(
    rows: Iterable[FilledRow], known: Mapping[str, str], classes: Sequence[str], reviewer: str
) -> tuple[Ruled, ...]:
    """The verdicts of filled rows.

    Args:
        rows: of one sheet.
        known: ``pixels_sha256`` of every judged chip by ``chip_id``.
        classes: labels that a relabel may give.
        reviewer: who filled the sheet in.

    Raises:
        DataError: naming line and column: for what is no verdict, a chip in no set, other pixels than
            today's, and a chip with two verdicts.
    """
    found: dict[str, tuple[FilledRow, Ruled]] = {}
    for row in rows:
        item = _ruled(row, known, classes, reviewer)
        before, known_item = found.setdefault(row.chip_id, (row, item))
        if known_item != item:
            raise DataError(
                f"{row.where}, column verdict: chip {row.chip_id} has another verdict in {before.where}",
                fix="leave one row with a verdict per chip",
            )
    return tuple(item for _, item in found.values())


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.4g}"


def _text(path: Path) -> str:
    data = read_bounded(path, MAX_BYTES)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} line {line}: not UTF-8 text: {error.reason}",
            fix="save the sheet as CSV in UTF-8",
        ) from error


def _filled(text: str, source: str) -> Iterator[FilledRow]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, f"{source} line 1")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{source} line {reader.line_num}"
            if len(cells) != len(header):
                raise DataError(
                    f"{where}: {len(cells)} cells, expected {len(header)} as in the first line",
                    fix="put text with commas in quotes, as a spreadsheet does when it saves CSV",
                )
            row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            if row["verdict"]:
                asked = {name: row.get(name, "") for name in (*NEEDED, "new_label", "reason")}
                yield FilledRow(where, **asked)
    except csv.Error as error:
        raise DataError(f"{source} line {reader.line_num}: {error}", fix="correct the line") from error


def _check_header(header: Sequence[str], where: str) -> None:
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and sign in header[0]:
            raise DataError(
                f"{where}: columns are separated by {name}, expected commas",
                fix="save the sheet again as CSV with a comma between cells",
            )
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise DataError(
            f"{where}: no column {', '.join(missing)}; found {', '.join(header)[:200] or 'none'}",
            fix="keep the first line of the sheet as it was written",
        )
    twice = [name for name in (*NEEDED, "new_label", "reason") if header.count(name) > 1]
    if twice:
        raise DataError(f"{where}: column {twice[0]} stands twice", fix="leave one of them")


def _ruled(row: FilledRow, known: Mapping[str, str], classes: Sequence[str], reviewer: str) -> Ruled:
    if row.verdict not in list(Ruling):
        raise _odd(row, "verdict", " | ".join(Ruling), "take one of these words, or leave the cell empty")
    _check_chip(row, known)
    ruling = Ruling(row.verdict)
    if ruling is Ruling.RELABEL and row.new_label not in classes:
        raise _odd(row, "new_label", f"one of {', '.join(classes)}", "a relabel needs the class it gives")
    if ruling is not Ruling.RELABEL and row.new_label:
        raise _odd(row, "new_label", f"nothing beside {ruling}", "write relabel, or empty the cell")
    if row.reason.startswith(tuple(FORMULA_SIGNS)):
        raise _odd(row, "reason", "no sign that makes a spreadsheet run the cell", "begin with a word")
    if len(row.reason.splitlines()) > 1:
        raise _odd(row, "reason", "one line", "take the line break out")
    return Ruled(row.chip_id, row.pixels_sha256, ruling, row.new_label, row.reason, reviewer)


def _check_chip(row: FilledRow, known: Mapping[str, str]) -> None:
    if row.chip_id not in known:
        fix = "copy chip_id from the sheet as it was written; verdicts are given on made chips of today"
        if _NUMBER.fullmatch(row.chip_id):
            fix = "the spreadsheet took the id for a number: import this column as text"
        raise _odd(row, "chip_id", "a chip of a made set", fix)
    if row.pixels_sha256 != known[row.chip_id]:
        raise _odd(
            row,
            "pixels_sha256",
            f"{known[row.chip_id]}, the hash of the pixels that chip {row.chip_id} has today",
            "the chip was made anew since the sheet was written: look at it again in a new gallery",
        )


def _odd(row: FilledRow, column: str, expected: str, fix: str) -> DataError:
    found = getattr(row, column)
    return DataError(f"{row.where}, column {column}: found {found[:80]!r}, expected {expected}", fix=fix)
