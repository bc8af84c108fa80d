"""People's verdicts on made chips: the lines of data/verdicts.csv, and what they mean for today's chips."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sarcurate.errors import DataError
from sarcurate.io.safe import read_bounded

COLUMNS = ("chip_id", "pixels_sha256", "verdict", "new_label", "reason", "reviewer", "utc")
HEADER = ",".join(COLUMNS)
MAX_BYTES = 32 << 20  # about 200,000 verdicts
NAMED_CHIPS = 10  # in an error or a line for people

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UTC = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_FORMULA = tuple("=+-@\t＝＋－＠")  # what spreadsheets run, in full width too
# Control characters, line separators, and marks that turn the direction of shown text
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Ruling(StrEnum):
    """What a person says of a chip."""

    KEEP = "keep"
    REJECT = "reject"
    UNSURE = "unsure"
    RELABEL = "relabel"


@dataclass(frozen=True)
class Verdict:
    """One line: a person's ruling on the very pixels of a chip. ``where`` names file and line."""

    chip_id: str
    pixels_sha256: str
    ruling: Ruling
    new_label: str
    reason: str
    reviewer: str
    utc: str
    where: str


@dataclass(frozen=True)
class Verdicts:
    """All lines of a file, in time order."""

    rows: tuple[Verdict, ...]


@dataclass(frozen=True)
class Standing:
    """What the verdicts mean today, by chip id (sorted); a chip's verdicts are sorted by reviewer.

    Args:
        agreed: keep, reject or relabel, on which everyone who decided agrees.
        disputed: chips on which those who decided differ; they stay rejected until resolved.
        unsure: chips that a person was unsure of and nobody decided on; no effect.
        stale: verdicts on other pixels than today's, proposals to look again; no effect.
    """

    agreed: Mapping[str, tuple[Verdict, ...]]
    disputed: Mapping[str, tuple[Verdict, ...]]
    unsure: Mapping[str, tuple[Verdict, ...]]
    stale: Mapping[str, tuple[Verdict, ...]]


def read_verdicts(path: Path) -> Verdicts:
    """Every line of a verdicts file, checked; the header alone is a file without verdicts.

    Raises:
        DataError: where the file is missing, and naming line and column for anything odd in it.
    """
    if not path.exists():
        raise DataError(
            f"{path}: the verdicts file is missing",
            fix=f"restore it from git, or start one with this line alone: {HEADER}",
        )
    return Verdicts(tuple(_in_order(_rows(_text(path), str(path)))))


def resolve(verdicts: Verdicts, known: Mapping[str, str]) -> Standing:
    """What verdicts mean for chips that are there.

    The last row per chip and reviewer counts, and only on the pixels it was given for. Unsure is an
    abstention: it neither agrees nor differs. Relabels agree where their new labels do.

    Args:
        verdicts: in time order.
        known: ``pixels_sha256`` of every chip by ``chip_id``.

    Raises:
        DataError: naming chips that are in no set.
    """
    _refuse_unknown(verdicts, known)
    last = {(row.chip_id, row.reviewer): row for row in verdicts.rows}
    of_chip: dict[str, list[Verdict]] = {}
    for (chip_id, _), row in sorted(last.items()):
        of_chip.setdefault(chip_id, []).append(row)
    groups: dict[str, dict[str, tuple[Verdict, ...]]] = {field.name: {} for field in fields(Standing)}
    for chip_id, rows in of_chip.items():
        for name, members in _sorted_out(rows, known[chip_id]).items():
            groups[name][chip_id] = members
    return Standing(**groups)


def name_chips(chip_ids: Iterable[str]) -> str:
    """The first ids for a sentence, and how many more there are."""
    ids = list(chip_ids)
    more = f" and {len(ids) - NAMED_CHIPS} more" if len(ids) > NAMED_CHIPS else ""
    return ", ".join(ids[:NAMED_CHIPS]) + more


def _sorted_out(rows: list[Verdict], pixels_sha256: str) -> dict[str, tuple[Verdict, ...]]:
    """One chip's last verdicts by what they amount to; names as in :class:`Standing`."""
    fresh = [row for row in rows if row.pixels_sha256 == pixels_sha256]
    decided = tuple(row for row in fresh if row.ruling is not Ruling.UNSURE)
    agree = len({(row.ruling, row.new_label) for row in decided}) == 1
    found = {
        "agreed": decided if agree else (),
        "disputed": () if agree else decided,
        "unsure": () if decided else tuple(fresh),
        "stale": tuple(row for row in rows if row.pixels_sha256 != pixels_sha256),
    }
    return {name: members for name, members in found.items() if members}


def _refuse_unknown(verdicts: Verdicts, known: Mapping[str, str]) -> None:
    unknown = {row.chip_id: row.where for row in verdicts.rows if row.chip_id not in known}
    if unknown:
        raise DataError(
            f"verdicts on chips that are in no made set, {len(unknown)} of them: "
            + name_chips(f"{chip_id} ({where})" for chip_id, where in sorted(unknown.items())),
            fix="restore the sets they were given for, or take these lines out in a commit that says why",
        )


def _text(path: Path) -> str:
    data = read_bounded(path, MAX_BYTES)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} line {line}: not UTF-8 text: {error.reason}", fix="save the file as UTF-8"
        ) from error
    if text.startswith("\ufeff"):
        raise DataError(f"{path} line 1: starts with a byte order mark", fix="save it as UTF-8 without one")
    return text


def _rows(text: str, source: str) -> Iterator[Verdict]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            raise DataError(
                f"{source} line 1: found columns {', '.join(header)[:200] or 'none'}",
                fix=f"the first line must read exactly: {HEADER}",
            )
        for cells in reader:
            where = f"{source} line {reader.line_num}"
            if len(cells) != len(COLUMNS):
                raise DataError(
                    f"{where}: {len(cells)} cells, expected {len(COLUMNS)}",
                    fix=f"give {HEADER}; put text with commas in quotes; leave no line empty",
                )
            yield _verdict(dict(zip(COLUMNS, cells, strict=True)), where)
    except csv.Error as error:
        raise DataError(f"{source} line {reader.line_num}: {error}", fix="correct the line") from error


def _verdict(cells: dict[str, str], where: str) -> Verdict:
    for column, cell in cells.items():
        _check_text(cell, f"{where}, column {column}")
    for column in ("chip_id", "reviewer"):
        _demand(bool(cells[column]), cells, column, where, "some text", "fill it in")
    _demand(
        bool(_SHA256.fullmatch(cells["pixels_sha256"])),
        cells,
        "pixels_sha256",
        where,
        "64 digits of 0-9 and a-f",
        "copy it from the chip's manifest row",
    )
    _demand(cells["verdict"] in list(Ruling), cells, "verdict", where, " | ".join(Ruling), "take one of them")
    ruling = Ruling(cells.pop("verdict"))
    relabels = ruling is Ruling.RELABEL
    _demand(
        bool(cells["new_label"]) == relabels,
        cells,
        "new_label",
        where,
        f"{'a class' if relabels else 'nothing'} beside the verdict {ruling}",
        "only a relabel has a new label, and it needs one",
    )
    _demand(
        _is_utc(cells["utc"]),
        cells,
        "utc",
        where,
        "a UTC time as 2026-01-31T13:05:00Z",
        "write the time of the verdict so",
    )
    return Verdict(**cells, ruling=ruling, where=where)


def _demand(good: bool, cells: Mapping[str, str], column: str, where: str, expected: str, fix: str) -> None:
    if not good:
        raise DataError(
            f"{where}, column {column}: found {cells[column][:80]!r}, expected {expected}", fix=fix
        )


def _check_text(cell: str, where: str) -> None:
    shown = f"{cell[:80]!a}"
    if cell.startswith(_FORMULA):
        raise DataError(
            f"{where}: {shown} starts with a sign that makes a spreadsheet run the cell",
            fix="begin with another sign than = + - @ or tab",
        )
    if _CONTROL.search(cell):
        raise DataError(f"{where}: {shown} holds a control character or line break", fix="take it out")
    if cell != cell.strip():
        raise DataError(f"{where}: {shown} has blanks at its ends", fix="take them off")


def _is_utc(text: str) -> bool:
    try:
        return bool(_UTC.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:
        return False


def _in_order(rows: Iterable[Verdict]) -> Iterator[Verdict]:
    """The rows, where time never runs back and no reviewer's name is spelled in two ways."""
    before: Verdict | None = None
    spellings: dict[str, str] = {}
    for row in rows:
        if before and datetime.fromisoformat(row.utc) < datetime.fromisoformat(before.utc):
            raise DataError(
                f"{row.where}, column utc: {row.utc} is before {before.utc} of the line above it",
                fix="append verdicts at the end, in the order of time",
            )
        key = unicodedata.normalize("NFKC", row.reviewer).casefold()
        known = spellings.setdefault(key, row.reviewer)
        if known != row.reviewer:
            raise DataError(
                f"{row.where}, column reviewer: {row.reviewer!r} stands as {known!r} above",
                fix="spell a reviewer's name in one way, since their last verdict on a chip counts",
            )
        before = row
        yield row
