"""What the Selection and people's verdicts say otherwise at a later revision."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from sarcurate.io.revisions.snapshot import FOLDER, Snapshot, cells
from sarcurate.io.verdicts import Verdict

NOW_KEPT, NOW_REJECTED, NEW_LABEL = "now kept", "now rejected", "other label"
FATES = (NOW_KEPT, NOW_REJECTED, NEW_LABEL)
COLUMNS = ("fate", FOLDER, "chip_id", "label", "to_label", "reason")
UNKNOWN = "unknown set"


@dataclass(frozen=True, eq=False)
class FateChanges:
    """Fates of chips that both Selections choose from, and how many each keeps.

    Args:
        changes: ``COLUMNS``; ``reason`` is that of the revision that rejects.
        kept: chips kept by set and class: folder, label, earlier, later.
    """

    changes: pd.DataFrame
    kept: pd.DataFrame


@dataclass(frozen=True)
class VerdictChanges:
    """Lines of the verdict file that only one revision has; ``lost`` ones should not be, as it only grows."""

    given: tuple[Verdict, ...]
    lost: tuple[Verdict, ...]


def fate_changes(earlier: Snapshot, later: Snapshot) -> FateChanges | None:
    """Compare two Selections; None where one of them cannot be read."""
    if earlier.fates is None or later.fates is None:
        return None
    both = earlier.fates.merge(later.fates, on="chip_id", suffixes=("", "_to"))
    both = both.assign(**{FOLDER: _folders(both["chip_id"], later, earlier)})
    picked = {
        NOW_KEPT: both[~both["kept"] & both["kept_to"]],
        NOW_REJECTED: both[both["kept"] & ~both["kept_to"]],
        NEW_LABEL: both[(both["kept"] == both["kept_to"]) & (both["label"] != both["label_to"])],
    }
    parts = [
        pd.DataFrame(
            {
                "fate": [fate] * len(rows),
                FOLDER: rows[FOLDER].tolist(),
                "chip_id": rows["chip_id"].tolist(),
                "label": rows["label"].tolist(),
                "to_label": rows["label_to"].tolist(),
                "reason": rows["reason" if fate == NOW_KEPT else "reason_to"].tolist(),
            }
        )
        for fate, rows in picked.items()
    ]
    changes = pd.concat(parts, ignore_index=True).sort_values(["fate", FOLDER, "chip_id"], ignore_index=True)
    return FateChanges(changes, _kept(earlier, later))


def _kept(earlier: Snapshot, later: Snapshot) -> pd.DataFrame:
    sizes = []
    for snapshot in (earlier, later):
        assert snapshot.fates is not None
        rows = snapshot.fates[snapshot.fates["kept"]]
        rows = rows.assign(**{FOLDER: _folders(rows["chip_id"], snapshot, snapshot)})
        sizes.append(rows.groupby([FOLDER, "label"]).size())
    table = pd.concat(sizes, axis=1, keys=["earlier", "later"]).fillna(0).astype(int)
    return table.reset_index().sort_values([FOLDER, "label"], ignore_index=True)


def _folders(ids: pd.Series, first: Snapshot, other: Snapshot) -> list[str]:
    """Set of each chip, by the first revision that has it."""
    known = dict(cells(other.chips, "chip_id", FOLDER)) | dict(cells(first.chips, "chip_id", FOLDER))
    return [known.get(chip_id, UNKNOWN) for chip_id in ids.tolist()]


def verdict_changes(earlier: Snapshot, later: Snapshot) -> VerdictChanges:
    """Lines that were added, and lines that were taken out; the same line twice counts twice."""
    old, new = Counter(map(_key, earlier.verdicts)), Counter(map(_key, later.verdicts))
    return VerdictChanges(_only(later.verdicts, new - old), _only(earlier.verdicts, old - new))


def _key(verdict: Verdict) -> tuple[str, ...]:
    return (
        *(verdict.chip_id, verdict.pixels_sha256, verdict.ruling.value, verdict.new_label),
        *(verdict.reason, verdict.reviewer, verdict.utc),
    )


def _only(verdicts: tuple[Verdict, ...], counts: Counter[tuple[str, ...]]) -> tuple[Verdict, ...]:
    found = []
    for verdict in verdicts:
        if counts[_key(verdict)] > 0:
            counts[_key(verdict)] -= 1
            found.append(verdict)
    return tuple(found)
