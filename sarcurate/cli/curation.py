"""Commands around people's verdicts: a gallery to look at chips, and verdicts saved, compared and counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sarcurate.cli.common import say

if TYPE_CHECKING:
    import pandas as pd

    from sarcurate.io.collection import Layout
    from sarcurate.io.gates import Gate
    from sarcurate.params import Params

app = typer.Typer()
verdicts = typer.Typer(help="Save, compare and count people's verdicts on made chips.", no_args_is_help=True)

Force = Annotated[
    bool, typer.Option("--force", help="also where more than a quarter of all chips gets rejected")
]


@app.command(epilog="Example: sarcurate gallery gallery")
def gallery(
    out: Annotated[Path, typer.Argument(help="folder to write: new, empty or an earlier gallery")] = Path(
        "gallery"
    ),
) -> None:
    """Write the made chips as a page that any browser opens from disk, with a sheet for verdicts."""
    from sarcurate.io.collection import collect
    from sarcurate.io.gallery import write_gallery
    from sarcurate.io.verdicts import read_verdicts

    params, layout = _workspace()
    collection = collect(layout, _gates(params), params.dataset.classes)
    log = read_verdicts(layout.verdicts)
    written = write_gallery(collection, log, out, f"{params.dataset.name}: made chips")
    say(
        [
            f"{written.n_chips} chips: open {written.page} in a browser, or fill in {written.sheet}",
            f"then: sarcurate verdicts add {written.sheet}",
        ]
    )


@verdicts.command(epilog="Example: sarcurate verdicts add gallery/verdicts-sheet.csv --reviewer Ann")
def add(
    sheet: Annotated[Path, typer.Argument(help="CSV with verdicts filled in", show_default=False)],
    reviewer: Annotated[
        str | None, typer.Option(help="who gave them; default git's user.name", show_default=False)
    ] = None,
    force: Force = False,
) -> None:
    """Save the verdicts of a filled sheet to data/verdicts.csv; rows without a verdict are left out.

    Columns chip_id, pixels_sha256 and verdict (keep, reject, unsure or relabel, this one with new_label)
    are needed, reason is welcome, and all others do not matter.
    """
    from sarcurate.io.verdict_saving import difference, reviewer_name, save
    from sarcurate.io.verdict_sheet import read_sheet, ruled_of
    from sarcurate.io.verdicts import read_verdicts

    params, layout = _workspace()
    known, labels = _judged(layout)
    classes = params.dataset.classes
    ruled = ruled_of(read_sheet(sheet), known, classes, reviewer_name(reviewer))
    say(difference(read_verdicts(layout.verdicts), ruled, labels))
    _said(save(layout.verdicts, ruled, known, classes, force=force).line())


@verdicts.command("save", epilog="Example: sarcurate verdicts save")
def save_waiting(force: Force = False) -> None:
    """Save the verdicts that were given in the App and wait to data/verdicts.csv."""
    from sarcurate.io.verdict_log import PENDING, Journal
    from sarcurate.io.verdict_saving import difference, save_journal
    from sarcurate.io.verdicts import read_verdicts

    params, layout = _workspace()
    known, labels = _judged(layout)
    journal = Journal(PENDING)
    say(difference(read_verdicts(layout.verdicts), journal.ruled(), labels))
    saved = save_journal(layout.verdicts, journal, known, params.dataset.classes, force=force)
    _said(saved.line())


@verdicts.command(epilog="Example: sarcurate verdicts diff")
def diff() -> None:
    """Say which verdicts wait, and which chips they would keep, reject or relabel. Writes nothing."""
    from sarcurate.io.curation import curate
    from sarcurate.io.reference import open_reference
    from sarcurate.io.score_table import read_scores
    from sarcurate.io.selection import read_selection
    from sarcurate.io.verdict_effect import effect
    from sarcurate.io.verdict_log import PENDING, Journal, extended
    from sarcurate.io.verdict_saving import difference, split_known
    from sarcurate.io.verdicts import name_chips, read_verdicts

    params, layout = _workspace()
    scores, (known, labels) = read_scores(layout.scores), _judged(layout)
    log, waiting = read_verdicts(layout.verdicts), Journal(PENDING).ruled()
    there, gone = split_known(waiting, known)
    say(difference(log, there, labels))
    if gone:
        say([f"on chips that are in no set today: {name_chips(sorted({item.chip_id for item in gone}))}"])
    after = curate(
        scores,
        _gates(params),
        open_reference(layout.reference).limits,
        extended(log, there),
        params.dataset.classes,
        params.curate.max_per_class,
    )
    sets = dict(zip(scores["chip_id"], scores["set"], strict=True))
    say(effect(read_selection(layout.selection), after.selection, sets))


@verdicts.command(epilog="Example: sarcurate verdicts stats")
def stats() -> None:
    """Count saved verdicts per set and class and per reviewer, and say how reviewers agree."""
    from sarcurate.io.score_table import read_scores
    from sarcurate.io.verdict_stats import progress_lines, reviewer_lines
    from sarcurate.io.verdicts import read_verdicts

    _, layout = _workspace()
    scores, log = read_scores(layout.scores), read_verdicts(layout.verdicts)
    say([*progress_lines(scores, log), "", *reviewer_lines(scores, log)])


def _said(line: str) -> None:
    say([line, "commit data/verdicts.csv, then `dvc repro` rebuilds the selection and what follows"])


def _workspace() -> tuple[Params, Layout]:
    from sarcurate.io.collection import Layout
    from sarcurate.params import read_params

    return read_params(Path("params.yaml")), Layout(Path("data"))


def _gates(params: Params) -> list[Gate]:
    from sarcurate.io.gates import Gate

    return [Gate(**gate.model_dump()) for gate in params.curate.gates]


def _judged(layout: Layout) -> tuple[dict[str, str], dict[str, str]]:
    """``pixels_sha256`` and label of every judged chip, by ``chip_id``."""
    from sarcurate.io.score_table import read_scores

    scores: pd.DataFrame = read_scores(layout.scores)
    known = dict(zip(scores["chip_id"], scores["pixels_sha256"], strict=True))
    return known, dict(zip(scores["chip_id"], scores["label"], strict=True))
