"""Command line: one command per stage of dvc.yaml, and the commands around them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sarcurate import __version__
from sarcurate.errors import ParamsError, SarcurateError

if TYPE_CHECKING:
    from sarcurate.params import Params

CACHE = Path(".sarcurate/cache")

app = typer.Typer(
    name="sarcurate",
    help="Versioned, curated SAR training sets: from real chips to a scored dataset revision.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
STAGES = "Pipeline stages (run by dvc repro)"

InputFolder = Annotated[Path, typer.Argument(help="input folder", show_default=False)]
InputFile = Annotated[Path, typer.Argument(help="input file", show_default=False)]
Output = Annotated[Path, typer.Argument(help="output", show_default=False)]


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


def mirror_folder() -> Path | None:
    """Folder of fetched public sets, from SARCURATE_MIRROR; relative to the caller's folder."""
    setting = os.environ.get("SARCURATE_MIRROR")
    return Path(setting) if setting else None


def _stage_params() -> Params:
    from sarcurate.params import read_params
    from sarcurate.workspace import check_code

    params = read_params(Path("params.yaml"))
    check_code(params)
    return params


def _say(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro acquire")
def acquire(source_out: Output, target_out: Output) -> None:
    """Bring raw chips of both sensors: simulated, from a fetched public set, or from your folders."""
    from sarcurate.stages import acquire as stage

    _say(stage.run(_stage_params(), {"source": source_out, "target": target_out}, mirror_folder()))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro ingest")
def ingest(source_raw: InputFolder, target_raw: InputFolder, source_out: Output, target_out: Output) -> None:
    """Turn raw chips into ChipSets: decoded, checked and described."""
    from sarcurate.stages import ingest as stage

    raw = {"source": source_raw, "target": target_raw}
    _say(stage.run(_stage_params(), raw, {"source": source_out, "target": target_out}))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro split")
def split(
    source: InputFolder,
    target: InputFolder,
    source_train: Output,
    source_test: Output,
    target_train: Output,
    target_test: Output,
    selection: Output,
) -> None:
    """Split real chips by whole groups into train (with folds) and test."""
    from sarcurate.stages import split as stage

    outputs = {
        "source-train": source_train,
        "source-test": source_test,
        "target-train": target_train,
        "target-test": target_test,
    }
    _say(stage.run(_stage_params(), {"source": source, "target": target}, outputs, selection))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro translate")
def translate(source_train: InputFolder, target_train: InputFolder, physics: Output, psd: Output) -> None:
    """Translate source train chips to the target sensor by physics and by spectrum transfer."""
    from sarcurate.stages import translate as stage

    _say(stage.run(_stage_params(), source_train, target_train, {"physics": physics, "psd": psd}))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro evaluate")
def evaluate(
    source_train: InputFolder,
    target_train: InputFolder,
    target_test: InputFolder,
    physics: InputFolder,
    psd: InputFolder,
    metrics: Output,
    predictions: Output,
    curves: Output,
    confusion: Output,
) -> None:
    """Train ResNet50 per arm and seed, and score it on target test chips. Resumes where killed."""
    from sarcurate.stages import evaluate as stage

    inputs = stage.Inputs(source_train, target_train, target_test, {"physics": physics, "psd": psd})
    outputs = stage.Outputs(metrics, predictions, curves, confusion)
    _say(stage.run(_stage_params(), inputs, outputs, CACHE / "evaluate"))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro report")
def report(
    metrics: InputFile,
    curves: InputFile,
    source_train: InputFolder,
    target_train: InputFolder,
    physics: InputFolder,
    psd: InputFolder,
    out: Output,
) -> None:
    """Write the self-contained HTML report."""
    from sarcurate.stages import report as stage

    sets = {"source": source_train, "target": target_train, "physics": physics, "psd": psd}
    _say(stage.run(_stage_params(), stage.Inputs(metrics, curves, sets), out))


def _setting(text: str) -> tuple[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path, equals, value = text.partition("=")
    fix = "for example --set split.target.train_per_class=10"
    if not equals:
        raise ParamsError(f"--set {text}: expected PATH=VALUE", fix=fix)
    try:
        return path, YAML(typ="safe", pure=True).load(value)
    except YAMLError as error:
        raise ParamsError(f"--set {text}: the value is not valid YAML: {error}", fix=fix) from error


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="the workspace", show_default=False)],
    params: Annotated[Path | None, typer.Option("--params", help="params file to start from")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="replace one value: PATH=VALUE (repeatable)")
    ] = None,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="bring an existing workspace up to its edited (or the given) params"),
    ] = False,
) -> None:
    """Make a workspace (git, DVC, pipeline, params), or refresh one after editing its params.

    Examples:
        sarcurate init my --params params/paper.yaml

        sarcurate init my --refresh
    """
    from sarcurate import workspace

    workspace.init(folder, params, dict(_setting(text) for text in settings or []), refresh)
    typer.echo(f"{folder} is ready: {folder / 'params.yaml'} says what runs, {folder / 'dvc.yaml'} how")
    typer.echo(f"after editing params: sarcurate init {folder} --refresh; to run: cd {folder} && dvc repro")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="public set, for example tsx-s1-slc", show_default=False)],
    mirror: Annotated[Path | None, typer.Option(help="mirror folder; default SARCURATE_MIRROR")] = None,
    base_url: Annotated[
        str | None,
        typer.Option("--from", help="server that lays out the set as a mirror; default the set's origin"),
    ] = None,
) -> None:
    """Download a public set into the mirror folder and check every file's SHA-256. Resumes.

    Example:
        sarcurate fetch tsx-s1-slc --mirror mirror
    """
    from sarcurate.io.fetching import fetch as fill
    from sarcurate.io.public_sets import load_set

    folder = mirror or mirror_folder()
    if folder is None:
        raise ParamsError("no mirror folder", fix="give --mirror DIR or set SARCURATE_MIRROR")
    described = load_set(name)
    done = fill(described, folder, base_url=base_url)
    typer.echo(f"{name}: {done.downloaded} files downloaded, all verified, in {folder / name}")
    if done.missing_domains:
        typer.echo(f"not there: {', '.join(done.missing_domains)}. {described.fetch_note}")


@app.command(epilog="Example: sarcurate doctor")
def doctor() -> None:
    """Say what this machine and workspace have, what is missing and how to get it."""
    from sarcurate.doctor import examine

    findings = examine(Path.cwd(), mirror_folder())
    for finding in findings:
        mark = "ok     " if finding.ok else ("MISSING" if finding.needed else "absent ")
        typer.echo(
            f"{mark} {finding.what}: {finding.found}" + ("" if finding.ok else f"\n        {finding.fix}")
        )
    if any(not finding.ok and finding.needed for finding in findings):
        raise typer.Exit(ParamsError.exit_code)


results_app = typer.Typer(
    help="Collect finished runs and assemble the page of results from them.", no_args_is_help=True
)
app.add_typer(results_app, name="results")


@results_app.command()
def collect(
    workspace: Annotated[Path, typer.Argument(help="workspace whose runs are finished", show_default=False)],
    runs: Annotated[Path, typer.Argument(help="folder of run files", show_default=False)],
    params: Annotated[Path, typer.Option("--params", help="params file that the workspace was made from")],
) -> None:
    """Keep the predictions of a workspace's finished runs.

    Example: sarcurate results collect workspaces/table1 docs/results/runs --params params/table1.yaml
    """
    from sarcurate import results

    typer.echo(f"{len(results.collect(workspace, params, runs))} run files in {runs / workspace.name}")


@results_app.command()
def table(
    runs: Annotated[Path, typer.Argument(help="folder of run files", show_default=False)],
    params: Annotated[Path, typer.Argument(help="folder of params files", show_default=False)],
    page: Annotated[Path, typer.Argument(help="page to write", show_default=False)],
    workspaces: Annotated[
        Path | None,
        typer.Option(help="also recompute cache keys from the chips of the workspaces found here"),
    ] = None,
) -> None:
    """Assemble the page of arms tables; refuses run files whose code, params or chips are not today's.

    Example: sarcurate results table docs/results/runs params docs/results.md
    """
    from sarcurate import results

    text = results.assemble(runs, params, workspaces)
    page.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {page}")
