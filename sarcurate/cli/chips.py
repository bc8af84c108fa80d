"""Commands around chips: workspaces, public sets, products, measures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sarcurate.cli.common import mirror_folder, say
from sarcurate.errors import ParamsError

app = typer.Typer()


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
    say(list(chip_command.make_chipset(cut, profile, display_db, out)))


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
    say([f"wrote {path}" for path in write_mosaics(folder / name, table, out)])


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
        say(as_table(found))


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
    say(list(measuring.as_lines(records)) if as_json else measuring.as_table(records, declared))


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
    say([json.dumps(found.numbers(), indent=2)] if as_json else duplicate_report.summary(found))
