"""Verdicts in the App's server: from samples to the journal, and from the journal to the log."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sarcurate.app import fields
from sarcurate.app.browse import REVIEWER, WORKSPACE, Place
from sarcurate.app.dataset import pending_words, show_pending
from sarcurate.app.pruning import Cut, taken
from sarcurate.errors import DataError, ParamsError
from sarcurate.io import verdict_saving
from sarcurate.io.verdict_log import Ruled, Saved
from sarcurate.io.verdicts import Ruling, Verdict, name_chips, read_verdicts
from sarcurate.params import read_params

if TYPE_CHECKING:
    import fiftyone as fo

APP_TAGS = tuple(ruling.value for ruling in (Ruling.KEEP, Ruling.REJECT, Ruling.UNSURE))
TAGGED = "tagged in the App"


@cache
def place() -> Place:
    """The workspace that this server was started for.

    Raises:
        ParamsError: where it was not started by `sarcurate browse`.
    """
    root = os.environ.get(WORKSPACE)
    if not root:
        raise ParamsError("this App was not started by sarcurate", fix="run `sarcurate browse`")
    return Place(Path(root), read_params(Path(root) / "params.yaml"))


@dataclass(frozen=True)
class Given:
    """What came of verdicts on samples: those taken, and how many chips were of sets without verdicts."""

    ruled: tuple[Ruled, ...]
    not_judged: int

    def line(self, waiting: int) -> str:
        """One line for people."""
        if not self.ruled and not self.not_judged:
            return "no chip is selected: nothing was done"
        kinds = sorted({pending_words(item) for item in self.ruled})
        text = f"{', '.join(kinds)}: {len(self.ruled)} chips; {waiting} verdicts wait to be saved"
        text = text if self.ruled else "no verdict was given"
        if self.not_judged:
            text += f"; {self.not_judged} real or generated chips were left out: curate does not choose them"
        return text


def give(
    dataset: fo.Dataset, ids: Sequence[str], ruling: Ruling, reason: str = "", new_label: str = ""
) -> Given:
    """Put verdicts on samples into the journal and show them; none for no ids."""
    if not ids:
        return Given((), 0)
    view = dataset.select(list(ids))
    names = [fields.CHIP_ID, "pixels_sha256", "judged"]
    rows = list(zip(*view.values(names), strict=True))
    reviewer = os.environ.get(REVIEWER, "")
    ruled = tuple(
        Ruled(chip, pixels, ruling, new_label if ruling is Ruling.RELABEL else "", reason.strip(), reviewer)
        for chip, pixels, judged in rows
        if judged
    )
    return Given(_took(dataset, ruled), len(rows) - len(ruled))


def prune(dataset: fo.Dataset, cut: Cut) -> Given:
    """Reject what a cut takes."""
    chips = judged_chips(dataset, cut.measure)
    gone = chips[taken(chips, cut)]
    reviewer = os.environ.get(REVIEWER, "")
    ruled = tuple(
        Ruled(chip, pixels, Ruling.REJECT, "", cut.words, reviewer)
        for chip, pixels in zip(gone[fields.CHIP_ID], gone["pixels_sha256"], strict=True)
    )
    return Given(_took(dataset, ruled), 0)


def judged_chips(dataset: fo.Dataset, measure: str) -> pd.DataFrame:
    """Chips that verdicts may be given on, with one measure."""
    names = [fields.CHIP_ID, "pixels_sha256", "set", "label", measure]
    columns = dataset.match({"judged": True}).values(names)
    return pd.DataFrame(dict(zip(names, columns, strict=True))).astype({measure: float})


def undo(dataset: fo.Dataset) -> tuple[Verdict, ...]:
    """Take back what was given last."""
    gone = place().journal.undo(os.environ.get(REVIEWER, ""))
    show_pending(dataset, place().journal.ruled())
    return gone


def tagged(dataset: fo.Dataset) -> tuple[Ruled, ...]:
    """Chips with one of the tags keep, reject and unsure, that the App's own button gives, as verdicts.

    Raises:
        DataError: for a chip that has two of them.
    """
    view = dataset.match({"judged": True}).match_tags(list(APP_TAGS))
    reviewer = os.environ.get(REVIEWER, "")
    rows = list(zip(*view.values([fields.CHIP_ID, "pixels_sha256", "tags"]), strict=True))
    torn = [chip for chip, _, tags in rows if len(set(tags) & set(APP_TAGS)) > 1]
    if torn:
        raise DataError(
            f"chips with more than one of the tags {', '.join(APP_TAGS)}: {name_chips(torn)}",
            fix="take the wrong tags off with the App's tag button",
        )
    return tuple(
        Ruled(chip, pixels, Ruling(name), "", TAGGED, reviewer)
        for chip, pixels, tags in rows
        for name in APP_TAGS
        if name in tags
    )


def take_tags(dataset: fo.Dataset) -> None:
    """Turn those tags into verdicts that wait, and take them off."""
    _took(dataset, tagged(dataset))
    dataset.match_tags(list(APP_TAGS)).untag_samples(list(APP_TAGS))


def difference(dataset: fo.Dataset) -> list[str]:
    """What saving would add to the log, in lines for people."""
    here = place()
    labels = dict(zip(*dataset.match({"judged": True}).values([fields.CHIP_ID, "label"]), strict=True))
    return verdict_saving.difference(read_verdicts(here.layout.verdicts), here.journal.ruled(), labels)


def save(dataset: fo.Dataset, force: bool) -> Saved:
    """Append what waits to data/verdicts.csv.

    Raises:
        DataError: past the limit of chips newly rejected at once, unless forced; all of it keeps waiting.
    """
    here = place()
    known = dict(zip(*dataset.match({"judged": True}).values([fields.CHIP_ID, "pixels_sha256"]), strict=True))
    classes = here.params.dataset.classes
    saved = verdict_saving.save_journal(here.layout.verdicts, here.journal, known, classes, force=force)
    show_pending(dataset, here.journal.ruled())
    return saved


def _took(dataset: fo.Dataset, ruled: tuple[Ruled, ...]) -> tuple[Ruled, ...]:
    place().journal.add(ruled)
    if ruled:
        words = {item.chip_id: pending_words(item) for item in ruled}
        dataset.set_values(fields.PENDING, words, key_field=fields.CHIP_ID)
    return ruled
