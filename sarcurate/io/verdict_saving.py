"""Taking verdicts into data/verdicts.csv: what they change, and a limit on rejecting much at once."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sarcurate.errors import DataError, ParamsError
from sarcurate.io.verdict_log import Journal, Ruled, Saved, append, changes, extended
from sarcurate.io.verdicts import Ruling, Verdict, Verdicts, read_verdicts, resolve

MOST_NEWLY_REJECTED = 0.25  # of all judged chips, by one saving


def save(
    path: Path, ruled: Sequence[Ruled], known: Mapping[str, str], classes: Sequence[str], *, force: bool
) -> Saved:
    """Append verdicts to the file, unless they reject so much that it looks like a slip.

    Args:
        path: data/verdicts.csv.
        known: ``pixels_sha256`` of every judged chip by ``chip_id``.
        classes: labels that a relabel may give.
        force: takes them whatever they reject.

    Raises:
        DataError: past the limit, and as :func:`sarcurate.io.verdict_log.append`; the file keeps its bytes.
    """
    if not force:
        _refuse_a_slip(newly_rejected(read_verdicts(path), ruled, known), len(known))
    return append(path, ruled, known, classes)


def save_journal(
    path: Path, journal: Journal, known: Mapping[str, str], classes: Sequence[str], *, force: bool
) -> Saved:
    """Save what waits in the journal, as :func:`save`; where that raises, all of it keeps waiting.

    Verdicts on chips that are in no set today keep waiting, too; the result names them.
    """

    def save_known(waiting: tuple[Ruled, ...]) -> Saved:
        there, gone = split_known(waiting, known)
        saved = save(path, there, known, classes, force=force)
        return replace(saved, left=tuple(sorted({item.chip_id for item in gone})))

    return journal.take(save_known)


def split_known(
    ruled: Iterable[Ruled], known: Mapping[str, str]
) -> tuple[tuple[Ruled, ...], tuple[Ruled, ...]]:
    """Verdicts on chips that are there today, and on others."""
    items = tuple(ruled)
    there = tuple(item for item in items if item.chip_id in known)
    return there, tuple(item for item in items if item.chip_id not in known)


def newly_rejected(log: Verdicts, ruled: Sequence[Ruled], known: Mapping[str, str]) -> tuple[str, ...]:
    """Chips that people would reject or dispute with these verdicts, and do not yet; whatever gates say."""
    before = _against(log.rows, known)
    return tuple(sorted(_against(extended(log, ruled).rows, known) - before))


def difference(log: Verdicts, ruled: Sequence[Ruled], labels: Mapping[str, str]) -> list[str]:
    """What verdicts would add to the log, in lines for people: how many of each kind, by class.

    Args:
        labels: of every judged chip, by ``chip_id``.
    """
    new = changes(log, ruled)
    if not new:
        return ["no verdict that is not saved already"]
    reviewers = Counter(item.reviewer for item in new)
    by = ", ".join(f"{count} by {name}" for name, count in sorted(reviewers.items()))
    lines = [f"{len(new)} verdicts to save ({by})"]
    for ruling in Ruling:
        kinds = Counter(_kind(item, labels) for item in new if item.ruling is ruling)
        if kinds:
            told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
            lines.append(f"  {ruling.value:<8}{kinds.total():>6}   {told}")
    return lines


def reviewer_name(given: str | None) -> str:
    """The name that verdicts are given under: the given one, or git's ``user.name``.

    Raises:
        ParamsError: where there is none.
    """
    name = (given if given is not None else _git_user_name()).strip()
    if not name:
        raise ParamsError(
            "nobody to give the verdicts: no reviewer was named and git knows no user.name",
            fix='give --reviewer NAME, or set it once: git config user.name "NAME"',
        )
    return name


def _git_user_name() -> str:
    try:
        asked = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return ""
    return asked.stdout


def _kind(item: Ruled, labels: Mapping[str, str]) -> str:
    label = labels.get(item.chip_id, "in no set today")
    return f"{label} to {item.new_label}" if item.ruling is Ruling.RELABEL else label


def _against(rows: Iterable[Verdict], known: Mapping[str, str]) -> set[str]:
    """Chips of today that people reject or dispute."""
    standing = resolve(Verdicts(tuple(row for row in rows if row.chip_id in known)), known)
    agreed = {chip for chip, said in standing.agreed.items() if said[0].ruling is Ruling.REJECT}
    return agreed | set(standing.disputed)


def _refuse_a_slip(rejected: Sequence[str], judged: int) -> None:
    if len(rejected) > MOST_NEWLY_REJECTED * judged:
        raise DataError(
            f"{len(rejected)} of {judged} judged chips would be newly rejected, "
            f"more than {100 * MOST_NEWLY_REJECTED:.0f} %; nothing was saved",
            fix="look whether more was marked than meant; if all of it is meant, add --force",
        )
