"""Chips that came, went, were relabelled, redrawn or moved between two revisions."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from sarcurate.io.revisions.snapshot import FOLDER, Snapshot

ADDED, REMOVED, RELABELLED, REDRAWN, MOVED = "added", "removed", "relabelled", "other pixels", "moved"
KINDS = (ADDED, REMOVED, RELABELLED, REDRAWN, MOVED)
COLUMNS = ("kind", "folder", "to_folder", "chip_id", "to_chip_id", "label", "to_label", "picture")


@dataclass(frozen=True, eq=False)
class ChipChanges:
    """What happened to chips.

    Args:
        changes: ``COLUMNS``; a chip of the earlier revision on the left, of the later one (``to_``) on the
            right, "" where there is none. ``picture`` is the preview to look at, below its set's folder.
            Relabelled chips have the same pixels; with a new id where the label is part of their path.
        counts: chips of each set and class before and after: folder, label, earlier, later.
        not_compared: sets of which only one manifest could be read, though both revisions have them.
    """

    changes: pd.DataFrame
    counts: pd.DataFrame
    not_compared: tuple[str, ...]


def chip_changes(earlier: Snapshot, later: Snapshot) -> ChipChanges:
    """Compare the manifests of two revisions, set by set."""
    apart = _not_compared(earlier, later)
    old = earlier.chips[~earlier.chips[FOLDER].isin(apart)]
    new = later.chips[~later.chips[FOLDER].isin(apart)]
    both = old.merge(new, on=[FOLDER, "chip_id"], how="outer", suffixes=("", "_to"), indicator=True)
    there = both["_merge"] == "both"
    relabelled = there & (both["label"] != both["label_to"])
    redrawn = there & ~relabelled & (both["pixels_sha256"] != both["pixels_sha256_to"])
    gone, come = both[both["_merge"] == "left_only"], both[both["_merge"] == "right_only"]
    renamed = _renamed(gone, come)
    gone = gone[~gone.index.isin(renamed["gone"])]
    come = come[~come.index.isin(renamed["come"])]
    moved = gone.reset_index().merge(come.reset_index(), on="chip_id", suffixes=("", "_come"))
    parts = [
        _rows(RELABELLED, both[relabelled], both[relabelled]),
        _rows(REDRAWN, both[redrawn], both[redrawn]),
        _paired(RELABELLED, both, renamed["gone"], renamed["come"]),
        _paired(MOVED, both, moved["index"], moved["index_come"]),
        _rows(REMOVED, gone[~gone.index.isin(moved["index"])], None),
        _rows(ADDED, None, come[~come.index.isin(moved["index_come"])]),
    ]
    changes = pd.concat(parts, ignore_index=True).sort_values(["kind", "folder", "to_folder", "chip_id"])
    return ChipChanges(changes.reset_index(drop=True), _counts(old, new), tuple(apart))


def _not_compared(earlier: Snapshot, later: Snapshot) -> list[str]:
    """Sets that a revision has by its dvc.lock, and that could not be read there."""
    unread = set()
    for one, other in ((earlier, later), (later, earlier)):
        unread |= {
            folder for folder in other.folders if folder in one.files.outs and folder not in one.folders
        }
    return sorted(unread)


def _renamed(gone: pd.DataFrame, come: pd.DataFrame) -> pd.DataFrame:
    """Places of chips whose pixels, alone in their set, came back under another id and label."""
    left = gone.drop_duplicates([FOLDER, "pixels_sha256"], keep=False).reset_index(names="gone")
    right = come.drop_duplicates([FOLDER, "pixels_sha256_to"], keep=False).reset_index(names="come")
    pairs = left[["gone", FOLDER, "pixels_sha256", "label"]].merge(
        right[["come", FOLDER, "pixels_sha256_to", "label_to"]],
        left_on=[FOLDER, "pixels_sha256"],
        right_on=[FOLDER, "pixels_sha256_to"],
    )
    return pairs.loc[pairs["label"] != pairs["label_to"], ["gone", "come"]]


def _paired(kind: str, both: pd.DataFrame, gone: pd.Series, come: pd.Series) -> pd.DataFrame:
    return _rows(kind, both.loc[list(gone)], both.loc[list(come)])


def _rows(kind: str, before: pd.DataFrame | None, after: pd.DataFrame | None) -> pd.DataFrame:
    """Changes from rows of the joined manifests, the earlier and the later side in the same order."""
    side = before if before is not None else after
    assert side is not None
    none = [""] * len(side)

    def column(rows: pd.DataFrame | None, name: str) -> list[str]:
        return none if rows is None else rows[name].fillna("").astype(str).tolist()

    picture = "preview_file_name_to" if after is not None else "preview_file_name"
    return pd.DataFrame(
        {
            "kind": [kind] * len(side),
            "folder": column(before, FOLDER),
            "to_folder": column(after, FOLDER),
            "chip_id": column(before, "chip_id"),
            "to_chip_id": column(after, "chip_id"),
            "label": column(before, "label"),
            "to_label": column(after, "label_to"),
            "picture": column(side if after is None else after, picture),
        }
    )


def _counts(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    sizes = [rows.groupby([FOLDER, "label"]).size() for rows in (old, new)]
    table = pd.concat(sizes, axis=1, keys=["earlier", "later"]).fillna(0).astype(int)
    return table.reset_index().sort_values([FOLDER, "label"], ignore_index=True)


def changed_counts(found: ChipChanges) -> pd.DataFrame:
    """Counts of changes: folder, label, kind, chips; by the later side where there is one."""
    table = found.changes
    folder = table["to_folder"].where(table["to_folder"] != "", table["folder"])
    label = table["to_label"].where(table["to_label"] != "", table["label"])
    keyed = table.assign(folder=folder, label=label)
    return keyed.groupby(["folder", "label", "kind"]).size().rename("chips").reset_index()
