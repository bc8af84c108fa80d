"""Commands around generating models and the machine they run on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sarcurate.cli.common import InputFolder, mirror_folder, say
from sarcurate.errors import ParamsError

app = typer.Typer()


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
    say(failures(floor))


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
    say(as_lines(forecast(read_params(Path("params.yaml")), opened, device, timed=timed)))


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
