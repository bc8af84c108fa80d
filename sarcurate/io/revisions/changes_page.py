"""The comparison of two revisions as one self-contained page, with thumbnails of chips that changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from sarcurate.io import figures
from sarcurate.io.report_html import Block, Figure, Paragraph, Section, Table, render
from sarcurate.io.revisions.changes import Changes, interval_text, short, verdict_text
from sarcurate.io.revisions.chip_changes import KINDS
from sarcurate.io.revisions.fate_changes import FATES
from sarcurate.io.revisions.metric_shifts import COMBINED, PAIRED, SAME, Shift
from sarcurate.io.revisions.snapshot import FOLDER, Snapshot, cells

THUMBNAILS = 16  # of each kind of change
MOST_ROWS = 200  # of a table
_COLUMNS = 8
_NO_PICTURES = "-test"  # who prunes must not see test chips
_HOW = (
    f"A difference is significant where its interval leaves out zero. “{PAIRED}”: the predictions of both "
    f"revisions on the same test chips, as evaluate compares arms. “{COMBINED}”: only the intervals of each "
    "revision exist; their distances are squared and added, which is on the wide side for revisions that "
    "share real chips. No correction for the number of comparisons."
)


def changes_page(found: Changes) -> str:
    """HTML text of the comparison; see :func:`sarcurate.io.report_html.render`."""
    sections = [
        Section("Chips", [*_chip_tables(found), *_pictures(found)]),
        Section("Selection", [*_fate_tables(found)]),
        Section("Verdicts", [*_verdict_tables(found)]),
        Section("Params and stages", [*_setting_tables(found)]),
        Section("Physics", [_shift_table(found.physics, "Sets against real train chips.")]),
        Section(
            "Accuracy",
            [_shift_table(found.arms, "Accuracy (fraction) of arms on held-out target test chips.")],
        ),
    ]
    if found.gaps:
        sections.append(Section("Not compared", [Paragraph("\n".join(found.gaps))]))
    names = f"{found.earlier.name} → {found.later.name}"
    revisions = f"{found.earlier.dataset_revision} → {found.later.dataset_revision}"
    is_smoke = (found.later.metrics.get("evaluation") or {}).get("evidence") == "smoke"
    return render(f"Revisions {names}", sections, dataset_revision=revisions, is_smoke_run=is_smoke)


def _chip_tables(found: Changes) -> Iterator[Block]:
    changes = found.chips.changes
    if not found.has_chips:
        yield Paragraph("The chips cannot be compared; see the last section.")
        return
    rows = [
        [folder, label, was, now, now - was]
        for folder, label, was, now in cells(found.chips.counts, FOLDER, "label", "earlier", "later")
    ]
    yield Table(["set", "class", "before", "after", "difference"], rows, "Chips of each set and class.")
    if changes.empty:
        yield Paragraph("No chip was added, removed, relabelled, redrawn or moved.")
        return
    names = ["change", "set", "chip", "class", "now in", "now", "now of class"]
    columns = ("kind", "folder", "chip_id", "label", "to_folder", "to_chip_id", "to_label")
    listed = cells(changes.head(MOST_ROWS), *columns)
    yield Table(names, listed, _caption("Chips that changed.", len(changes)))


def _caption(text: str, count: int) -> str:
    return f"{text} {count} in all" + (f", the first {MOST_ROWS} of them." if count > MOST_ROWS else ".")


def _pictures(found: Changes) -> Iterator[Block]:
    changes = found.chips.changes
    for kind in KINDS:
        rows = changes[changes["kind"] == kind]
        snapshot = found.earlier if kind == "removed" else found.later
        side = "" if kind == "removed" else "to_"
        shown = pd.DataFrame(
            {
                FOLDER: rows["folder" if kind == "removed" else "to_folder"],
                "chip_id": rows[f"{side}chip_id"],
                "label": rows[f"{side}label"],
                "picture": rows["picture"],
            }
        )
        yield from _sheet(kind, shown, snapshot)
    if found.fates is not None:
        known = found.later.chips[["chip_id", "preview_file_name"]].drop_duplicates("chip_id")
        table = found.fates.changes.merge(known, on="chip_id", how="inner")
        table = table.rename(columns={"preview_file_name": "picture"})
        for fate in FATES:
            yield from _sheet(fate, table[table["fate"] == fate], found.later)


def _sheet(kind: str, rows: pd.DataFrame, snapshot: Snapshot) -> Iterator[Block]:
    """Thumbnails of a kind of change, spread evenly over its chips; none of test chips."""
    shown = [not str(folder).endswith(_NO_PICTURES) for folder in rows[FOLDER]]
    rows = rows[np.array(shown, dtype=np.bool_)]
    places = np.linspace(0, len(rows) - 1, min(len(rows), THUMBNAILS)).round().astype(int)
    images, labels, ids = [], [], []
    for folder, picture, label, chip_id in cells(rows.iloc[places], FOLDER, "picture", "label", "chip_id"):
        image = _picture(snapshot, f"{folder}/{picture}")
        if image is not None:
            images.append(image)
            labels.append(str(label))
            ids.append(str(chip_id))
    if images:
        caption = f"Chips {kind} ({snapshot.name}), {len(images)} of {len(rows)}: {', '.join(ids)}. "
        caption += "Each sensor over its own fixed dB window."
        png = figures.chip_grid(images, labels, min(_COLUMNS, len(images)))
        yield Figure(png, caption, f"{len(images)} chips that were {kind}, each over its class")


def _picture(snapshot: Snapshot, path: str) -> NDArray[np.uint8] | None:
    """A preview as display levels (rows, cols); None where it is neither on disk nor in DVC's cache."""
    place = snapshot.files.data(path)
    if place is None:
        return None
    with Image.open(BytesIO(place.read_bytes()), formats=("PNG",)) as image:
        levels: NDArray[np.uint8] = np.asarray(image.convert("L"), dtype=np.uint8)
    return levels


def _fate_tables(found: Changes) -> Iterator[Block]:
    if found.fates is None:
        yield Paragraph("The Selections cannot be compared; see the last section.")
        return
    kept, changes = found.fates.kept, found.fates.changes
    rows = cells(kept, FOLDER, "label", "earlier", "later")
    yield Table(["set", "class", "kept before", "kept after"], rows, "Chips that the Selection keeps.")
    names = ["change", "set", "chip", "class", "class after", "reason of the rejection"]
    listed = cells(changes.head(MOST_ROWS), "fate", FOLDER, "chip_id", "label", "to_label", "reason")
    yield Table(names, listed, _caption("Chips with another fate.", len(changes)))


def _verdict_tables(found: Changes) -> Iterator[Block]:
    given, lost = found.verdicts.given, found.verdicts.lost
    rows = [
        [one.chip_id, one.ruling.value, one.new_label, one.reason, one.reviewer, one.utc]
        for one in given[:MOST_ROWS]
    ]
    names = ["chip", "verdict", "new label", "reason", "reviewer", "time"]
    yield Table(names, rows, _caption("Verdicts given.", len(given)))
    if lost:
        told = "\n".join(verdict_text(verdict) for verdict in lost[:MOST_ROWS])
        yield Paragraph(f"Taken out of the log, which should only grow:\n{told}")


def _setting_tables(found: Changes) -> Iterator[Block]:
    params = [[change.path, short(change.earlier), short(change.later)] for change in found.params]
    yield Table(["param", "before", "after"], params, "Values of params.yaml that differ.")
    stages = [[change.stage, ", ".join(change.what)] for change in found.stages]
    yield Table(["stage", "what differs"], stages, "Records of dvc.lock that differ.")


def _shift_table(shifts: Sequence[Shift], caption: str) -> Table:
    names = ["of", "measure", "before", "after", "difference", "change", "comparison"]
    rows = [
        [
            *(shift.name, shift.measure, interval_text(shift.earlier), interval_text(shift.later)),
            "0" if shift.verdict == SAME else interval_text(shift.difference, "+"),
            *(shift.verdict, shift.comparison),
        ]
        for shift in shifts
    ]
    return Table(names, rows, f"{caption} {_HOW}")
