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
