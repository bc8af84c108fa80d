"""Command line: one command per stage of dvc.yaml, and the commands around them."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from sarcurate import __version__
from sarcurate.cli import browse, chips, curation, lineage, models, publishing, results, stages
from sarcurate.errors import ParamsError, SarcurateError

app = typer.Typer(
    name="sarcurate",
    help="Versioned, curated SAR training sets: from real chips to a scored dataset revision.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (stages, chips, browse, curation, lineage, models, publishing):
    app.registered_commands.extend(commands.app.registered_commands)
app.add_typer(results.app, name="results")
app.add_typer(curation.verdicts, name="verdicts")


def main() -> None:
    """Entry point: errors raised on purpose become a message and an exit code, all others a traceback."""
    try:
        app()
    except SarcurateError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        from sarcurate.doctor import EXTRAS

        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        fix = f"pip install 'sarcurate[{EXTRAS[package]}]', or `make env`"
        _fail(ParamsError(f"this command needs {package}, which is not installed", fix=fix))


def _fail(error: SarcurateError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code) from None


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
