"""What the commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

InputFolder = Annotated[Path, typer.Argument(help="input folder", show_default=False)]


def mirror_folder() -> Path | None:
    """Folder of fetched public sets, from SARCURATE_MIRROR; relative to the caller's folder."""
    setting = os.environ.get("SARCURATE_MIRROR")
    return Path(setting) if setting else None


def say(lines: list[str]) -> None:
    """Lines for the terminal."""
    for line in lines:
        typer.echo(line)
