"""Writing data/verdicts.csv: verdicts wait in a journal, and are appended when a person saves them."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sarcurate.errors import DataError
from sarcurate.io.verdicts import COLUMNS, HEADER, Ruling, Verdict, Verdicts, name_chips, read_verdicts

PENDING = Path(".sarcurate/pending_verdicts.csv")  # a workspace's journal, below its folder


@dataclass(frozen=True)
class Ruled:
    """What a person says of a chip now: the line to be, without its time."""

    chip_id: str
    pixels_sha256: str
    ruling: Ruling
    new_label: str
    reason: str
    reviewer: str


@dataclass(frozen=True)
class Saved:
    """What saving did: the lines that were appended, and chips that are in no set today and stayed back."""

    appended: tuple[Verdict, ...]
    left: tuple[str, ...] = ()

    def line(self) -> str:
        """One line for people."""
        counts = Counter(row.ruling for row in self.appended)
        kinds = ", ".join(f"{counts[ruling]} {ruling}" for ruling in Ruling if counts[ruling])
        said = f"{len(self.appended)} verdicts saved ({kinds})" if self.appended else "no verdict to save"
        gone = f"; {len(self.left)} chips are in no set today and keep waiting: {name_chips(self.left)}"
        return said + (gone if self.left else "")


def changes(log: Verdicts, ruled: Iterable[Ruled]) -> tuple[Ruled, ...]:
    """Those of ``ruled`` that differ from their reviewer's last line on the chip, the last per reviewer."""
    now = {(item.chip_id, item.reviewer): item for item in ruled}
    before = {(row.chip_id, row.reviewer): _without_time(row) for row in log.rows}
    return tuple(item for key, item in now.items() if before.get(key) != item)


def extended(log: Verdicts, ruled: Iterable[Ruled]) -> Verdicts:
    """The log as it would be with what changes something at its end; no file is touched."""
    return Verdicts((*log.rows, *_rows_of(log, changes(log, ruled))))


def append(path: Path, ruled: Sequence[Ruled], known: Mapping[str, str], classes: Sequence[str]) -> Saved:
    """Append what changes something; where nothing does, the file keeps its bytes.

    The new file is checked whole before it takes the place of the old one, in one step: a kill leaves
    either. A line's time is that of saving, or the last line's where that is later.

    Args:
        path: data/verdicts.csv.
        known: ``pixels_sha256`` of every made chip by ``chip_id``.
        classes: labels that a relabel may give.

    Raises:
        DataError: for a chip in no set, a label that is no class, a file that is broken, and text that the
            file cannot hold.
    """
    unknown = sorted({item.chip_id for item in ruled} - set(known))
    if unknown:
        raise DataError(
            f"verdicts on chips that are in no made set, {len(unknown)} of them: {name_chips(unknown)}",
            fix="give them on chips of today's sets",
        )
    odd = sorted({item.new_label for item in ruled if item.ruling is Ruling.RELABEL} - set(classes))
    if odd:
        raise DataError(
            f"a relabel to {odd[0]!r}, which is no class", fix=f"give one of {', '.join(classes)}"
        )
    with _locked(path):
        log = read_verdicts(path)
        new = changes(log, ruled)
        return Saved(_write_behind(path, log, new) if new else ())


class Journal:
    """Verdicts that were given and not yet saved, in a file beside the log: a killed App loses none.

    Every call reads and writes the file under a lock, so that two browsers can work at once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> tuple[Verdict, ...]:
        """All lines, in the order they were given."""
        return read_verdicts(self.path).rows if self.path.exists() else ()

    def ruled(self) -> tuple[Ruled, ...]:
        """The same as they would be saved: the last per chip and reviewer."""
        last = {(row.chip_id, row.reviewer): _without_time(row) for row in self.rows()}
        return tuple(last.values())

    def add(self, ruled: Sequence[Ruled]) -> None:
        """Take verdicts given at once; :meth:`undo` takes them back at once.

        Raises:
            DataError: for text that the file cannot hold, such as a reason that starts with "=".
        """
        if ruled:
            with _locked(self.path):
                _write_behind(self.path, Verdicts(self.rows()), ruled)

    def undo(self, reviewer: str) -> tuple[Verdict, ...]:
        """Take back what a reviewer added last; those lines."""
        with _locked(self.path):
            rows = self.rows()
            own = [row for row in rows if row.reviewer == reviewer]
            last = tuple(row for row in own if row.utc == own[-1].utc)
            if last:
                _replace_file(self.path, _text(row for row in rows if row not in last))
            return last

    def take(self, save: Callable[[tuple[Ruled, ...]], Saved]) -> Saved:
        """Hand what waits to ``save`` and forget it once that returned; nothing is added meanwhile.

        Lines on chips that ``save`` left back keep waiting.
        """
        with _locked(self.path):
            saved = save(self.ruled())
            left = [row for row in self.rows() if row.chip_id in saved.left]
            if left:
                _replace_file(self.path, _text(left))
            else:
                self.path.unlink(missing_ok=True)
            return saved


def _without_time(row: Verdict) -> Ruled:
    return Ruled(row.chip_id, row.pixels_sha256, row.ruling, row.new_label, row.reason, row.reviewer)


def _write_behind(path: Path, log: Verdicts, new: Sequence[Ruled]) -> tuple[Verdict, ...]:
    """Write the file with new lines of one time at its end; those lines."""
    rows = _rows_of(log, new)
    before = _bytes_as_text(path) if path.exists() else HEADER + "\n"
    _replace_file(path, before + ("" if before.endswith("\n") else "\n") + _lines(rows))
    return rows


def _rows_of(log: Verdicts, new: Sequence[Ruled]) -> tuple[Verdict, ...]:
    utc = _next_time(log)
    return tuple(Verdict(**vars(item), utc=utc, where="a verdict not yet saved") for item in new)


def _bytes_as_text(path: Path) -> str:
    """Text with its line ends as they are."""
    return path.read_bytes().decode("utf-8")


def _next_time(log: Verdicts) -> str:
    """Now, or just after the last line where the clock is behind it."""
    now = datetime.now(UTC)
    if log.rows:
        now = max(now, datetime.fromisoformat(log.rows[-1].utc) + timedelta(microseconds=1))
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _text(rows: Iterable[Verdict]) -> str:
    return HEADER + "\n" + _lines(rows)


def _lines(rows: Iterable[Verdict]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    for row in rows:
        cells = vars(row) | {"verdict": row.ruling.value}
        writer.writerow([cells[name] for name in COLUMNS])
    return out.getvalue()


def _replace_file(path: Path, text: str) -> None:
    """Write beside, read back as verdicts, then put in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        read_verdicts(beside)
    except DataError as error:
        beside.unlink()
        # The lines are those that the file would have had.
        raise DataError(error.problem.replace(str(beside), str(path)), fix=error.fix) from error
    beside.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
