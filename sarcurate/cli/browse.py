"""The command that shows a workspace's chips in FiftyOne."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command(epilog="Example: sarcurate browse --port 5151 --reviewer 'A. Person'")
def browse(
    port: Annotated[int, typer.Option(help="port on 127.0.0.1; 0 takes a free one")] = 5151,
    reviewer: Annotated[
        str | None,
        typer.Option(help="whose verdicts they are; else SARCURATE_REVIEWER, else git's user.name"),
    ] = None,
    sync_only: Annotated[
        bool, typer.Option("--sync-only", help="bring the App's database up to date, draw pictures, and end")
    ] = False,
) -> None:
    """Look at chips in the FiftyOne App, give verdicts, and save them to data/verdicts.csv.

    Ctrl+C ends it; verdicts that were not saved wait in .sarcurate.
    """
    from sarcurate.app import browse as app_browse
    from sarcurate.io.verdict_saving import reviewer_name
    from sarcurate.params import read_params

    name = reviewer_name(reviewer or os.environ.get(app_browse.REVIEWER))
    root = Path.cwd()
    place = app_browse.Place(root, read_params(root / "params.yaml"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as by Ctrl+C
    try:
        with app_browse.served(place, port, name, typer.echo) as running:
            typer.echo(f"ready: {running.address}")
            app_browse.draw_pictures(place)
            while not sync_only:
                running.check()
                time.sleep(0.5)
    except KeyboardInterrupt:
        typer.echo("ended")
    waiting = len(place.journal.ruled())
    if waiting:
        typer.echo(f"{waiting} verdicts wait: `sarcurate verdicts save` or the App's button saves them")
