"""Two revisions of a workspace compared: everything that changed, as lines for a terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sarcurate.core.statistics import Interval
from sarcurate.errors import ParamsError
from sarcurate.io.revisions.chip_changes import KINDS, RELABELLED, ChipChanges, changed_counts, chip_changes
from sarcurate.io.revisions.fate_changes import (
    FATES,
    FateChanges,
    VerdictChanges,
    fate_changes,
    verdict_changes,
)
from sarcurate.io.revisions.git_history import open_history
from sarcurate.io.revisions.metric_shifts import SAME, Shift, arm_shifts, physics_shifts
from sarcurate.io.revisions.revision_files import WORKING_TREE, RevisionFiles, open_cache
from sarcurate.io.revisions.setting_changes import ParamChange, StageChange, param_changes, stage_changes
from sarcurate.io.revisions.snapshot import FOLDER, Snapshot, cells, read_snapshot
from sarcurate.io.terminal_text import printable
from sarcurate.io.verdicts import NAMED_CHIPS, Verdict, name_chips

_CANNOT = "cannot be compared, see below"
_MOST_SIGNS = 160  # of a value in a terminal line


@dataclass(frozen=True, eq=False)
class Changes:
    """All that two revisions differ in."""

    earlier: Snapshot
    later: Snapshot
    chips: ChipChanges
    fates: FateChanges | None
    verdicts: VerdictChanges
    params: Sequence[ParamChange]
    stages: Sequence[StageChange]
    physics: Sequence[Shift]
    arms: Sequence[Shift]

    @property
    def has_chips(self) -> bool:
        """Whether manifests of both revisions could be read."""
        return bool(self.earlier.folders and self.later.folders)

    @property
    def gaps(self) -> tuple[str, ...]:
        """What could not be read or compared, in sentences."""
        apart = [f"chips of {folder} were not compared" for folder in self.chips.not_compared]
        return (*self.earlier.gaps, *self.later.gaps, *apart)


def read_changes(root: Path, revision_a: str, revision_b: str | None) -> Changes:
    """Compare two revisions of the workspace in ``root``; None stands for its working tree.

    Raises:
        ParamsError: outside git or a workspace, and for a revision that git does not know.
        DataError: for files that are there and cannot be understood.
    """
    history = open_history(root)
    names = (revision_a, revision_b)
    commits = [None if name is None else history.commit(name) for name in names]
    cache = open_cache(root)
    sides = [
        RevisionFiles(root, WORKING_TREE if name is None else name, commit, history, cache)
        for name, commit in zip(names, commits, strict=True)
    ]
    if not any(side.book.params for side in sides):
        raise ParamsError(
            f"{root} has no params.yaml in either revision, so it is no workspace",
            fix="cd into the workspace, the folder with params.yaml and dvc.yaml",
        )
    return compare(*map(read_snapshot, sides))


def compare(earlier: Snapshot, later: Snapshot) -> Changes:
    """Everything that differs between two snapshots."""
    return Changes(
        earlier=earlier,
        later=later,
        chips=chip_changes(earlier, later),
        fates=fate_changes(earlier, later),
        verdicts=verdict_changes(earlier, later),
        params=param_changes(earlier, later),
        stages=stage_changes(earlier, later),
        physics=physics_shifts(earlier, later),
        arms=arm_shifts(earlier, later),
    )


def change_lines(found: Changes) -> list[str]:
    """The summary for a terminal."""
    sides = [f"{side.name} (data set {side.dataset_revision})" for side in (found.earlier, found.later)]
    parts = {
        "chips": list(_chip_lines(found.chips)) if found.has_chips else [_CANNOT],
        "selection": list(_fate_lines(found.fates)),
        "verdicts": list(_verdict_lines(found.verdicts)),
        "params": [f"{c.path}: {short(c.earlier)} -> {short(c.later)}" for c in found.params],
        "stages in dvc.lock": [f"{c.stage}: {', '.join(c.what)}" for c in found.stages],
        "physics": list(_shift_lines(found.physics)),
        "accuracy": list(_shift_lines(found.arms)),
        "not compared": list(found.gaps),
    }
    lines = [" -> ".join(sides)]
    for heading, told in parts.items():
        if told or heading != "not compared":
            lines += [f"{heading}:" + ("" if told else " no change"), *(f"  {line}" for line in told)]
    return [printable(line) for line in lines]


def _chip_lines(chips: ChipChanges) -> Iterator[str]:
    counts = changed_counts(chips)
    totals = {
        str(folder): (int(rows["earlier"].sum()), int(rows["later"].sum()))
        for folder, rows in chips.counts.groupby(FOLDER)
    }
    for folder, rows in counts.groupby("folder"):
        was, now = totals.get(str(folder), (0, 0))
        yield f"{folder}: {was} -> {now} chips"
        for kind in KINDS:
            of_kind = rows[rows["kind"] == kind]
            if len(of_kind):
                yield f"  {kind}: {int(of_kind['chips'].sum())} ({_per_class(of_kind)})"
    relabelled = chips.changes[chips.changes["kind"] == RELABELLED].head(NAMED_CHIPS)
    for chip_id, to_chip_id, label, to_label in cells(
        relabelled, "chip_id", "to_chip_id", "label", "to_label"
    ):
        now_named = "" if chip_id == to_chip_id else f", now {to_chip_id}"
        yield f"{chip_id}{now_named}: {label} -> {to_label}"


def _per_class(rows: pd.DataFrame) -> str:
    return ", ".join(f"{label} {count}" for label, count in cells(rows, "label", "chips"))


def _fate_lines(fates: FateChanges | None) -> Iterator[str]:
    if fates is None:
        yield _CANNOT
        return
    changed = fates.kept[fates.kept["earlier"] != fates.kept["later"]]
    for folder, rows in changed.groupby(FOLDER):
        whole = fates.kept[fates.kept[FOLDER] == folder]
        of_class = ", ".join(
            f"{label} {was} -> {now}" for label, was, now in cells(rows, "label", "earlier", "later")
        )
        yield f"{folder}: kept {whole['earlier'].sum()} -> {whole['later'].sum()} ({of_class})"
    for fate in FATES:
        rows = fates.changes[fates.changes["fate"] == fate]
        for folder, part in rows.groupby(FOLDER):
            yield f"{folder}: {fate} {len(part)} ({name_chips(part['chip_id'])})"


def _verdict_lines(verdicts: VerdictChanges) -> Iterator[str]:
    counts = Counter((verdict.reviewer, verdict.ruling.value) for verdict in verdicts.given)
    for (reviewer, ruling), count in sorted(counts.items()):
        yield f"given by {reviewer}: {ruling} {count}"
    for verdict in verdicts.lost[:NAMED_CHIPS]:
        yield f"taken out of the log, which only grows: {verdict_text(verdict)}"


def verdict_text(verdict: Verdict) -> str:
    """A verdict in a few words."""
    why = f" ({verdict.reason})" if verdict.reason else ""
    return (
        f"{verdict.chip_id} {verdict.ruling.value} {verdict.new_label}".rstrip()
        + f", {verdict.reviewer}{why}"
    )


def _shift_lines(shifts: Sequence[Shift]) -> Iterator[str]:
    """A line for each number that changed, and how many did not."""
    moved = [shift for shift in shifts if shift.verdict != SAME]
    yield from map(shift_line, moved)
    if len(moved) < len(shifts):
        yield f"{len(shifts) - len(moved)} {'others ' if moved else ''}unchanged"


def shift_line(shift: Shift) -> str:
    """One number at both revisions, their difference, and what that comes to."""
    sides = " -> ".join(interval_text(side) for side in (shift.earlier, shift.later))
    told = f"{shift.name} {shift.measure}: {sides}"
    if shift.difference is None or shift.verdict == SAME:
        return f"{told}: {shift.verdict}, {shift.comparison}"
    return f"{told}; difference {interval_text(shift.difference, '+')}: {shift.verdict} ({shift.comparison})"


def interval_text(interval: Interval | None, sign: str = "") -> str:
    """An estimate with its limits, four significant digits; a dash where there is none."""
    if interval is None:
        return "–"
    return f"{interval.estimate:{sign}.4g} ({interval.low:{sign}.4g} to {interval.high:{sign}.4g})"


def short(value: Any) -> str:
    """A value on one line of limited length."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST_SIGNS else text[: _MOST_SIGNS - 1] + "…"
