"""Commands that tell where chips come from, what changed between revisions, and what git must not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sarcurate.cli.common import say

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="everything, for programs")]


@app.command(epilog="Example: sarcurate trace 014dc2d8, or sarcurate trace --down source-pass-05")
def trace(
    chip: Annotated[
        str,
        typer.Argument(
            help="chip id, unique beginning of one, or chip file; with --down also scene or group",
            show_default=False,
        ),
    ],
    down: Annotated[bool, typer.Option("--down", help="what was made from it, kept and used")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a chip was made from, down to source files, with code and params of every stage."""
    from sarcurate.io.tracing import trace as tracing

    root = Path.cwd()
    if down:
        found = tracing.trace_down(root, chip)
        typer.echo(tracing.down_json(found), nl=False) if as_json else say(tracing.down_lines(found))
        return
    up = tracing.trace_up(root, chip)
    typer.echo(tracing.up_json(up), nl=False) if as_json else say(tracing.up_lines(up))


@app.command(epilog="Example: sarcurate diff ds-v1 ds-v2 --html changes.html")
def diff(
    revision_a: Annotated[str, typer.Argument(help="commit, tag or branch", show_default=False)],
    revision_b: Annotated[
        str | None, typer.Argument(help="another one; the working tree where left out", show_default=False)
    ] = None,
    html: Annotated[Path | None, typer.Option(help="also write the comparison as one page")] = None,
) -> None:
    """Say what changed between two git revisions: chips, Selection, verdicts, params, physics, accuracy.

    What git keeps is read from git, what DVC keeps from its cache; nothing is checked out or downloaded.
    """
    from sarcurate.io.revisions.changes import change_lines, read_changes

    found = read_changes(Path.cwd(), revision_a, revision_b)
    say(change_lines(found))
    if html is not None:
        from sarcurate.io.revisions.changes_page import changes_page

        _write(html, changes_page(found).encode())


@app.command(epilog="Example: sarcurate history --png accuracy.png")
def history(
    html: Annotated[Path | None, typer.Option(help="also write table and figure as one page")] = None,
    png: Annotated[Path | None, typer.Option(help="also write the figure")] = None,
) -> None:
    """Show every arm's accuracy with its interval over the commits of metrics/evaluation.json."""
    from sarcurate.io.revisions import accuracy_history

    found = accuracy_history.read_history(Path.cwd())
    say(accuracy_history.history_lines(found))
    if html is not None:
        _write(html, accuracy_history.history_page(found).encode())
    if png is not None:
        _write(png, accuracy_history.history_figure(found))


@app.command(epilog="Example: sarcurate guard --install")
def guard(
    install: Annotated[
        bool, typer.Option("--install", help="guard every commit: write git's pre-commit hook")
    ] = False,
    tracked: Annotated[
        bool, typer.Option("--tracked", help="look at all files that git has, not at the staged ones alone")
    ] = False,
) -> None:
    """Refuse staged imagery, products and files over 1 MB outside docs/figures and tests/data.

    Further places may be named in .sarcurateallow, a path a line.
    """
    from sarcurate.errors import ParamsError
    from sarcurate.io import git_guard
    from sarcurate.io.git_hook import install_hook

    root = git_guard.root_of(Path.cwd())
    if root is None:
        raise ParamsError(f"{Path.cwd()} is in no git repository", fix="run in a workspace")
    if install:
        say([install_hook(root)])
    elif tracked:
        git_guard.refuse(git_guard.tracked_offences(root), "git")
    else:
        git_guard.refuse(git_guard.staged_offences(root), "this commit")


def _write(path: Path, data: bytes) -> None:
    """Write a file that a command was asked for, in place of an earlier one.

    Raises:
        ParamsError: where it cannot be written.
    """
    from sarcurate.errors import ParamsError
    from sarcurate.io.safe import atomic_write

    try:
        with atomic_write(path) as file:
            file.write(data)
    except OSError as error:
        raise ParamsError(
            f"{path} cannot be written: {error.strerror}", fix="name a file in an existing folder of yours"
        ) from error
    typer.echo(f"wrote {path}")
