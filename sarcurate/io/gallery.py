"""A contact sheet of the made chips as a folder that any browser opens from disk: no server, no network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sarcurate.errors import DataError
from sarcurate.io.collection import RESTORE, Collection
from sarcurate.io.gallery_page import KIN, MARK, page, picture_path
from sarcurate.io.safe import atomic_write, read_bounded
from sarcurate.io.verdict_sheet import read_sheet, write_sheet
from sarcurate.io.verdicts import Verdicts

PAGE, SHEET, PICTURES = "index.html", "verdicts-sheet.csv", "chips"
MOST_PICTURE_BYTES = 16 << 20
_ID = re.compile(r"[0-9a-f]{2,128}")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Written:
    """A gallery on disk: its page, its sheet to fill in, and how many chips can be judged in it."""

    page: Path
    sheet: Path
    n_chips: int


def write_gallery(collection: Collection, log: Verdicts, out: Path, title: str) -> Written:
    """Write page, pictures and a sheet for verdicts; an earlier gallery in the folder is replaced.

    Nothing of it holds a clock time, so the same collection gives the same bytes.

    Args:
        collection: its judged chips are shown, others only as their content, style or peer.
        log: data/verdicts.csv; a sheet with verdicts that are not in it is not written over.
        out: missing, empty or an earlier gallery.
        title: of the page.

    Raises:
        DataError: where the folder holds something else or a sheet with verdicts that are not saved, and
            where a preview is missing or no PNG.
    """
    _check_folder(out)
    _keep_verdicts(out / SHEET, log)
    shown = _shown(collection)
    _write_pictures(out, shown)
    write_sheet(out / SHEET, shown[shown["judged"]])
    with atomic_write(out / PAGE) as file:
        file.write(page(collection, shown, title).encode("utf-8"))
    return Written(out / PAGE, out / SHEET, int(shown["judged"].sum()))


def _shown(collection: Collection) -> pd.DataFrame:
    """Judged chips and their kin."""
    chips = collection.chips
    judged = chips[chips["judged"]]
    kin = {chip_id for column in KIN for chip_id in judged[column]}
    shown = chips[chips["judged"] | chips["chip_id"].isin(kin)].reset_index(drop=True)
    odd = [chip_id for chip_id in shown["chip_id"] if not _ID.fullmatch(chip_id)]
    if odd:  # ids become file names
        raise DataError(f"chip id {odd[0][:80]!r} is no hash", fix="rebuild its set with `dvc repro`")
    return shown


def _check_folder(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out} is a file, expected a folder", fix="name another folder")
    start = (out / PAGE).read_bytes()[:1000] if (out / PAGE).is_file() else b""
    if any(out.iterdir()) and MARK.encode() not in start:
        raise DataError(f"{out} holds something else than a gallery", fix="name a new or empty folder")


def _keep_verdicts(sheet: Path, log: Verdicts) -> None:
    """Refuse to lose what a person wrote."""
    if not sheet.exists():
        return
    saved = {(row.chip_id, row.ruling.value, row.new_label, row.reason) for row in log.rows}
    filled = [(row.chip_id, row.verdict, row.new_label, row.reason) for row in read_sheet(sheet)]
    waiting = [row for row in filled if row not in saved]
    if waiting:
        raise DataError(
            f"{sheet} holds {len(waiting)} verdicts that are not in data/verdicts.csv",
            fix=f"save them (sarcurate verdicts add {sheet}), or move the file away",
        )


def _write_pictures(out: Path, shown: pd.DataFrame) -> None:
    wanted = set()
    for chip_id, preview in zip(shown["chip_id"], shown["preview"], strict=True):
        path = out / picture_path(PICTURES, chip_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png(Path(preview)))
        wanted.add(path)
    for path in (out / PICTURES).rglob("*.png"):
        if path not in wanted:
            path.unlink()


def _png(path: Path) -> bytes:
    data = read_bounded(path, MOST_PICTURE_BYTES)
    if not data.startswith(_PNG_SIGNATURE):
        raise DataError(f"{path} is no PNG, it starts {data[:8]!r}", fix=RESTORE)
    return data
