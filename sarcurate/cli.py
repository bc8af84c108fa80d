"""Command line: one command per stage of dvc.yaml, and the commands around them."""

from __future__ import annotations

import json
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
DATA_DOCS = Path(".sarcurate/data_docs")

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


def _require_validated(note: Path, source_train: Path, target_train: Path) -> None:
    from sarcurate.io.validated import require_validated

    require_validated(note, {"source": source_train, "target": target_train})


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


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro validate")
def validate(
    source_train: InputFolder,
    source_test: InputFolder,
    target_train: InputFolder,
    target_test: InputFolder,
    validated: Output,
    metrics: Output,
    page: Output,
) -> None:
    """Check the real chips against the expectations; an error stops the run (exit code 3)."""
    from sarcurate.stages import validate as stage

    sets = {
        "source-train": source_train,
        "source-test": source_test,
        "target-train": target_train,
        "target-test": target_test,
    }
    _say(stage.run(_stage_params(), sets, stage.Outputs(validated, metrics, page, DATA_DOCS)))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro reference")
def reference(
    validated: InputFile,
    source_train: InputFolder,
    target_train: InputFolder,
    source_out: Output,
    target_out: Output,
) -> None:
    """Learn from real train chips what each sensor's chips are like: limits, floors, a feature network."""
    from sarcurate.stages import reference as stage

    params = _stage_params()
    _require_validated(validated, source_train, target_train)
    train = {"source": source_train, "target": target_train}
    _say(stage.run(params, train, {"source": source_out, "target": target_out}))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro tune")
def tune(
    validated: InputFile,
    source_train: InputFolder,
    source_reference: InputFolder,
    adapter: Output,
    metrics: Output,
    curve: Output,
    previews: Output,
) -> None:
    """Tune a LoRA of the base on the source's train chips. Resumes where killed."""
    from sarcurate.stages import tune as stage

    inputs = stage.Inputs(validated, source_train, source_reference)
    outputs = stage.Outputs(adapter, metrics, curve, previews)
    _say(stage.run(_stage_params(), inputs, outputs, CACHE / "tune"))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro generate")
def generate(
    validated: InputFile,
    source_train: InputFolder,
    source_reference: InputFolder,
    adapter: InputFolder,
    out: Output,
    metrics: Output,
) -> None:
    """Draw class-controlled chips of the source sensor. Resumes where killed."""
    from sarcurate.stages import generate as stage

    inputs = stage.Inputs(validated, source_train, source_reference, adapter)
    _say(stage.run(_stage_params(), inputs, out, metrics, CACHE / "generate"))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro migrate")
def migrate(
    validated: InputFile,
    source_train: InputFolder,
    target_train: InputFolder,
    generated: InputFolder,
    source_reference: InputFolder,
    target_reference: InputFolder,
    migrated: Output,
    migrated_generated: Output,
    metrics: Output,
    losses: Output,
    curve: Output,
) -> None:
    """Restyle source and generated chips after real target chips (attention distillation). Resumes."""
    from sarcurate.stages import migrate as stage

    inputs = stage.Inputs(
        validated, source_train, target_train, generated, source_reference, target_reference
    )
    outputs = stage.Outputs(migrated, migrated_generated, metrics, losses, curve)
    _say(stage.run(_stage_params(), inputs, outputs, CACHE / "migrate"))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro translate")
def translate(
    validated: InputFile, source_train: InputFolder, target_train: InputFolder, physics: Output, psd: Output
) -> None:
    """Translate source train chips to the target sensor by physics and by spectrum transfer."""
    from sarcurate.stages import translate as stage

    params = _stage_params()
    _require_validated(validated, source_train, target_train)
    _say(stage.run(params, source_train, target_train, {"physics": physics, "psd": psd}))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro score")
def score(
    validated: InputFile,
    source_train: InputFolder,
    target_train: InputFolder,
    source_reference: InputFolder,
    target_reference: InputFolder,
    generated: InputFolder,
    physics: InputFolder,
    psd: InputFolder,
    migrated: InputFolder,
    migrated_generated: InputFolder,
    scores: Output,
    source_scores: Output,
    generated_scores: Output,
    quality: Output,
    generated_quality: Output,
    marginal: Output,
) -> None:
    """Measure every made chip, and every made set against the real one."""
    from sarcurate.stages import score as stage

    params = _stage_params()
    _require_validated(validated, source_train, target_train)
    made = _made(physics, psd, migrated, migrated_generated)
    inputs = stage.Inputs(source_train, target_train, source_reference, target_reference, generated, made)
    outputs = stage.Outputs(scores, source_scores, generated_scores, quality, generated_quality, marginal)
    _say(stage.run(params, inputs, outputs))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro curate")
def curate(
    validated: InputFile,
    target_reference: InputFolder,
    scores: InputFile,
    verdicts: InputFile,
    selection: Output,
    metrics: Output,
) -> None:
    """Decide which made chips are kept: gates, people's verdicts, quotas; a sentence per failed gate."""
    from sarcurate.stages import curate as stage

    inputs = stage.Inputs(validated, target_reference, scores, verdicts)
    _say(stage.run(_stage_params(), inputs, selection, metrics))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro evaluate")
def evaluate(
    validated: InputFile,
    source_train: InputFolder,
    target_train: InputFolder,
    target_test: InputFolder,
    generated: InputFolder,
    physics: InputFolder,
    psd: InputFolder,
    migrated: InputFolder,
    migrated_generated: InputFolder,
    selection: InputFile,
    metrics: Output,
    predictions: Output,
    curves: Output,
    confusion: Output,
) -> None:
    """Train ResNet50 per arm and seed, and score it on target test chips. Resumes where killed."""
    from sarcurate.stages import evaluate as stage

    made = _made(physics, psd, migrated, migrated_generated)
    inputs = stage.Inputs(source_train, target_train, target_test, generated, made, selection)
    outputs = stage.Outputs(metrics, predictions, curves, confusion)
    params = _stage_params()
    _require_validated(validated, source_train, target_train)
    _say(stage.run(params, inputs, outputs, CACHE / "evaluate"))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro report")
def report(
    validated: InputFile,
    metrics: InputFile,
    curves: InputFile,
    quality: InputFile,
    curation: InputFile,
    marginal: InputFile,
    scores: InputFile,
    source_scores: InputFile,
    target_reference: InputFolder,
    previews: InputFolder,
    generation: InputFile,
    generated_quality: InputFile,
    generated_scores: InputFile,
    source_reference: InputFolder,
    source_train: InputFolder,
    target_train: InputFolder,
    generated: InputFolder,
    physics: InputFolder,
    psd: InputFolder,
    migrated: InputFolder,
    migrated_generated: InputFolder,
    migration: InputFile,
    migration_losses: InputFile,
    out: Output,
) -> None:
    """Write the self-contained HTML report."""
    from sarcurate.stages import report as stage

    sets = {
        "source": source_train,
        "target": target_train,
        "generated": generated,
        **_made(physics, psd, migrated, migrated_generated),
    }
    params = _stage_params()
    _require_validated(validated, source_train, target_train)
    judged = stage.Quality(quality, curation, marginal, scores, source_scores, target_reference)
    made = stage.Generation(previews, generation, generated_quality, generated_scores, source_reference)
    moved = stage.Migration(migration, migration_losses)
    _say(stage.run(params, stage.Inputs(metrics, curves, judged, made, moved, sets), out))


def _made(physics: Path, psd: Path, migrated: Path, migrated_generated: Path) -> dict[str, Path]:
    """Sets that claim to be the target's, by name."""
    return {
        "physics": physics,
        "psd": psd,
        "migrated": migrated,
        "migrated-generated": migrated_generated,
    }


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


@app.command()
def chip(
    paths: Annotated[
        list[Path], typer.Argument(help="products or images: files or folders", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="ChipSet folder to make", show_default=False)],
    sensor: Annotated[str, typer.Option(help="sensor profile: packaged name, or a YAML file")],
    licence: Annotated[str, typer.Option(help="licence of the chips, carried into every manifest")],
    boxes: Annotated[Path | None, typer.Option(help="CSV or GeoJSON of targets: a chip about each")] = None,
    grid: Annotated[bool, typer.Option("--grid", help="instead: all windows of a regular grid")] = False,
    footprint: Annotated[float | None, typer.Option(help="side of a chip, m in the scene's pixels")] = None,
    step: Annotated[float | None, typer.Option(help="with --grid: from one window to the next, m")] = None,
    label: Annotated[str | None, typer.Option(help="with --grid: label of every chip")] = None,
    margin: Annotated[float | None, typer.Option(help="with --boxes: added on all sides, m")] = None,
    margin_share: Annotated[float | None, typer.Option(help="or as a share of the box's sides")] = None,
    radiometry: Annotated[
        str, typer.Option(help="sigma0, beta0, intensity, amplitude, uint8_relative or unknown")
    ] = "sigma0",
    polarisation: Annotated[str | None, typer.Option(help="which one, where products hold several")] = None,
    border: Annotated[
        str, typer.Option(help="chips that leave the scene or hold no samples: skip (counted) or error")
    ] = "skip",
    display_db: Annotated[
        tuple[float, float] | None, typer.Option(help="dB window of the previews; for eyes only")
    ] = None,
) -> None:
    """Cut chips out of scenes, into a ChipSet folder that appears complete or not at all.

    Examples:
        sarcurate chip TSX1_SAR__SSC_x chips --boxes boxes.csv --footprint 96 --sensor terrasarx
        --licence mine

        sarcurate chip scenes/*.tif chips --grid --footprint 100 --step 50 --label clutter --sensor my.yaml
        --licence mine
    """
    from functools import partial

    from sarcurate.io.cutting import chip_command
    from sarcurate.io.scenes.products import open_scene
    from sarcurate.io.sensors import load_profile

    profile = load_profile(sensor)
    cut = chip_command.cutter(
        paths,
        partial(open_scene, profile=profile, polarisation=polarisation),
        chip_command.order_of(radiometry, profile, border, licence),
        chip_command.boxes_of(boxes, footprint, margin, margin_share, given=not grid),
        chip_command.grid_of(footprint, step, label, given=grid),
    )
    _say(list(chip_command.make_chipset(cut, profile, display_db, out)))


@app.command()
def mosaic(
    name: Annotated[str, typer.Argument(help="public set whose chips overlap", show_default=False)],
    domain: Annotated[str, typer.Argument(help="its domain, such as tsx-x", show_default=False)],
    out: Annotated[Path, typer.Argument(help="folder for one GeoTIFF per scene", show_default=False)],
) -> None:
    """Put overlapping chips of a fetched public set together to scenes, which `sarcurate chip` can cut.

    Example:
        sarcurate mosaic tsx-s1-slc tsx-x scenes
    """
    from sarcurate.io.public_sets import load_set, read_set
    from sarcurate.io.scenes.mosaic import write_mosaics

    folder = mirror_folder()
    if folder is None:
        raise ParamsError("no mirror folder", fix="set SARCURATE_MIRROR to where the set was fetched")
    described = load_set(name)
    classes = described.domains[domain].classes if domain in described.domains else ()
    table = read_set(described, folder, domain, classes)
    _say([f"wrote {path}" for path in write_mosaics(folder / name, table, out)])


@app.command(epilog="Example: sarcurate unpack TSX1_SAR__SSC_x.tar.gz product")
def unpack(
    archive: Annotated[Path, typer.Argument(help="ZIP or tar product", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="folder to make", show_default=False)],
) -> None:
    """Unpack a delivered product, all of it or nothing; refuses links, escaping names and bombs."""
    from sarcurate.io.scenes import products

    typer.echo(f"product: {products.unpack(archive, folder)}")


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="product, scene, chip or ChipSet folder", show_default=False)],
    sensor: Annotated[
        str | None, typer.Option("--sensor", help="sensor profile: a packaged name or a .yaml file")
    ] = None,
    polarisation: Annotated[
        str | None, typer.Option("--polarisation", help="HH, HV, VH or VV; default the first there is")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object instead of the table")] = False,
) -> None:
    """Say what a file or product is: sensor, size, spacing, calibration, warnings. Reads only, never writes.

    Examples:
        sarcurate inspect TSX1_SAR__SSC______SM_S_SRA_20240101T000000_20240101T000008

        sarcurate inspect fucheng/ --sensor fucheng1 --polarisation VV --json
    """
    from sarcurate.io.scenes.inspection import as_table, examine
    from sarcurate.io.sensors import load_profile

    found = examine(path, load_profile(sensor) if sensor else None, polarisation)
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        _say(as_table(found))


@app.command()
def measure(
    paths: Annotated[
        list[Path], typer.Argument(help="images, folders of them, or ChipSet folders", show_default=False)
    ],
    radiometry: Annotated[
        str,
        typer.Option(
            help="what a pixel value means: sigma0, beta0, intensity, amplitude, uint8_relative or unknown",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON line per chip, all measures")] = False,
    spacing: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="RANGE_M AZIMUTH_M", help="pixel spacing of files, for lengths in metres"),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes; the result is the same")] = 1,
) -> None:
    """Measure looks (ENL with its error), laws, spectrum, responses and target of chips; n/a with a reason.

    Looks depend on what a pixel is, so its radiometry must be declared; with unknown, what rests on it is
    n/a. Values of uint8_relative are comparable within one data set alone. Reads only, never writes.

    Examples:
        sarcurate measure chips/ --radiometry sigma0

        sarcurate measure chip.tif --radiometry amplitude --spacing 0.9 1.2 --json
    """
    from sarcurate.io import measuring

    declared = measuring.radiometry_of(radiometry)
    records = measuring.measure_paths(paths, declared, spacing, workers)
    _say(list(measuring.as_lines(records)) if as_json else measuring.as_table(records, declared))


@app.command()
def duplicates(
    folder: Annotated[Path, typer.Argument(help="class folders, or a ChipSet", show_default=False)],
    csv: Annotated[Path | None, typer.Option("--csv", help="also list every chip of a group here")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead")] = False,
    workers: Annotated[int, typer.Option(min=1, help="processes; the result is the same")] = 1,
) -> None:
    """Find chips that show the same picture, and pictures filed under two labels.

    Example:
        sarcurate duplicates data/chips/source --csv duplicates.csv
    """
    from sarcurate.io import duplicate_report

    found = duplicate_report.find_duplicates(duplicate_report.list_chips(folder), workers)
    if csv:
        duplicate_report.write_csv(found, csv)
    _say([json.dumps(found.numbers(), indent=2)] if as_json else duplicate_report.summary(found))


@app.command(epilog="Example: sarcurate audit data/real/source-train data/reference/source")
def audit(
    chips: InputFolder,
    reference: InputFolder,
    base: Annotated[str, typer.Option(help="base as in tune.base; a hub id is given as its folder")] = (
        "sarcurate-tiny"
    ),
    headroom_db: Annotated[tuple[float, float], typer.Option(help="as tune.headroom_db")] = (3.0, 12.0),
    most_chips: Annotated[int, typer.Option(min=1, help="chips looked at, spread evenly")] = 200,
) -> None:
    """Measure what a base's autoencoder alone does to a sensor's real train chips."""
    from sarcurate.core.model_space import model_space
    from sarcurate.io.chipset import open_chipset
    from sarcurate.io.reference import open_reference
    from sarcurate.models.base import BaseRef, load_vae, resolve_base
    from sarcurate.models.latent import LatentSpace
    from sarcurate.models.vae_floor import audit_chipset, failures, floor_table

    space = model_space(open_reference(reference).intensity_limits_db, headroom_db)
    vae = load_vae(resolve_base(BaseRef(base, None, 0, False)))
    opened = open_chipset(chips, splits=("train",))
    floor = audit_chipset(
        LatentSpace(vae, 1), opened, space, model_px=None, most_chips=most_chips, batch_size=16
    )
    print(floor_table(floor))
    _say(failures(floor))


@app.command(epilog="Example: sarcurate plan --device cuda")
def plan(
    chips: Annotated[Path, typer.Argument(help="the source's train ChipSet")] = Path(
        "data/real/source-train"
    ),
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    timed: Annotated[
        bool, typer.Option("--time/--no-time", help="also time a few updates and sampling steps")
    ] = True,
) -> None:
    """Say what tune and generate will take here: parameters, memory and time; refuse what cannot fit."""
    from sarcurate.io.chipset import open_chipset
    from sarcurate.params import read_params
    from sarcurate.planning import as_lines, forecast

    opened = open_chipset(chips, splits=("train",))
    _say(as_lines(forecast(read_params(Path("params.yaml")), opened, device, timed=timed)))


@app.command(epilog="Example: sarcurate pretrain --work /data/pretrain --out my-models")
def pretrain(
    work: Annotated[Path, typer.Option(help="folder for practice chips and checkpoints, a few GB")],
    out: Annotated[Path, typer.Option(help="folder that gets a folder of weights per model")],
    recipe: Annotated[Path | None, typer.Option(help="YAML; the packaged recipe where left out")] = None,
    base: Annotated[
        Path | None, typer.Option(help="finished base: make only the extractor, for its autoencoder")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes that render practice chips")] = 2,
) -> None:
    """Make sarcurate-tiny and sarcurate-tiny-unet from their recipe: hours on two cores. Resumes."""
    from sarcurate.models import pretrain as making
    from sarcurate.models.base import BUNDLED, BaseRef, resolve_base
    from sarcurate.models.extractor import BUNDLED as BUNDLED_EXTRACTOR

    loaded = making.load_recipe(recipe)
    if base is None:
        base = out / BUNDLED
        making.pretrain(loaded, work, base, workers)
    found = resolve_base(BaseRef(str(base), None, 0, use_t5=False))
    making.pretrain_unet(loaded, found, work, out / BUNDLED_EXTRACTOR, workers)


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
def adapter(
    workspace: Annotated[Path, typer.Argument(help="workspace whose tune has finished", show_default=False)],
    params: Annotated[Path, typer.Option("--params", help="params file that the workspace was made from")],
    folder: Annotated[Path, typer.Option(help="folder of kept numbers")] = Path("docs/results/adapters"),
    per_class: Annotated[int, typer.Option(min=2, help="chips drawn of each class")] = 30,
) -> None:
    """Draw chips with a workspace's adapter and with its base alone, and hold both against real test chips.

    Example: sarcurate results adapter workspaces/table1 --params params/table1.yaml
    """
    from sarcurate.adapter_results import collect_adapter

    typer.echo(f"wrote {collect_adapter(workspace, params, folder, per_class)}")


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
