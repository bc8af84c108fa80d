"""Commands of the stages of dvc.yaml, which `dvc repro` calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sarcurate.cli.common import InputFolder, mirror_folder, say

if TYPE_CHECKING:
    from sarcurate.params import Params

CACHE = Path(".sarcurate/cache")
DATA_DOCS = Path(".sarcurate/data_docs")
STAGES = "Pipeline stages (run by dvc repro)"

InputFile = Annotated[Path, typer.Argument(help="input file", show_default=False)]
Output = Annotated[Path, typer.Argument(help="output", show_default=False)]

app = typer.Typer()


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro acquire")
def acquire(source_out: Output, target_out: Output) -> None:
    """Bring raw chips of both sensors: simulated, from a fetched public set, or from your folders."""
    from sarcurate.stages import acquire as stage

    say(stage.run(_stage_params(), {"source": source_out, "target": target_out}, mirror_folder()))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro ingest")
def ingest(source_raw: InputFolder, target_raw: InputFolder, source_out: Output, target_out: Output) -> None:
    """Turn raw chips into ChipSets: decoded, checked and described."""
    from sarcurate.stages import ingest as stage

    raw = {"source": source_raw, "target": target_raw}
    say(stage.run(_stage_params(), raw, {"source": source_out, "target": target_out}))


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
    say(stage.run(_stage_params(), {"source": source, "target": target}, outputs, selection))


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
    say(stage.run(_stage_params(), sets, stage.Outputs(validated, metrics, page, DATA_DOCS)))


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
    say(stage.run(params, train, {"source": source_out, "target": target_out}))


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
    say(stage.run(_stage_params(), inputs, outputs, CACHE / "tune"))


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
    say(stage.run(_stage_params(), inputs, out, metrics, CACHE / "generate"))


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
    say(stage.run(_stage_params(), inputs, outputs, CACHE / "migrate"))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro translate")
def translate(
    validated: InputFile, source_train: InputFolder, target_train: InputFolder, physics: Output, psd: Output
) -> None:
    """Translate source train chips to the target sensor by physics and by spectrum transfer."""
    from sarcurate.stages import translate as stage

    params = _stage_params()
    _require_validated(validated, source_train, target_train)
    say(stage.run(params, source_train, target_train, {"physics": physics, "psd": psd}))


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
    say(stage.run(params, inputs, outputs))


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
    say(stage.run(_stage_params(), inputs, selection, metrics))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro evaluate")
def evaluate(
    validated: InputFile,
    target: InputFolder,
    split: InputFile,
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
    inputs = stage.Inputs(target, split, source_train, target_train, target_test, generated, made, selection)
    outputs = stage.Outputs(metrics, predictions, curves, confusion)
    params = _stage_params()
    _require_validated(validated, source_train, target_train)
    say(stage.run(params, inputs, outputs, CACHE / "evaluate"))


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
    say(stage.run(params, stage.Inputs(metrics, curves, judged, made, moved, sets), out))


@app.command(rich_help_panel=STAGES, epilog="Example: dvc repro package")
def package(
    validated: InputFile,
    evaluation: InputFile,
    curation: InputFile,
    scores: InputFile,
    source_scores: InputFile,
    generated_scores: InputFile,
    selection: InputFile,
    source_reference: InputFolder,
    target_reference: InputFolder,
    source_train: InputFolder,
    source_test: InputFolder,
    target_train: InputFolder,
    target_test: InputFolder,
    generated: InputFolder,
    physics: InputFolder,
    psd: InputFolder,
    migrated: InputFolder,
    migrated_generated: InputFolder,
    out: Output,
) -> None:
    """Pack the data set as a folder for the Hub: shards, card, lists of chips and files."""
    from sarcurate.stages import package as stage

    judgements = stage.Judgements(
        scores, source_scores, generated_scores, selection, source_reference, target_reference
    )
    inputs = stage.Inputs(
        validated=validated,
        metrics=stage.Metrics(evaluation, curation),
        judgements=judgements,
        train={"source": source_train, "target": target_train},
        test={"source": source_test, "target": target_test},
        generated=generated,
        made=_made(physics, psd, migrated, migrated_generated),
    )
    say(stage.run(_stage_params(), inputs, out))


def _made(physics: Path, psd: Path, migrated: Path, migrated_generated: Path) -> dict[str, Path]:
    """Sets that claim to be the target's, by name."""
    return {
        "physics": physics,
        "psd": psd,
        "migrated": migrated,
        "migrated-generated": migrated_generated,
    }


def _stage_params() -> Params:
    from sarcurate.params import read_params
    from sarcurate.workspace import check_code

    params = read_params(Path("params.yaml"))
    check_code(params)
    return params


def _require_validated(note: Path, source_train: Path, target_train: Path) -> None:
    from sarcurate.io.validated import require_validated

    require_validated(note, {"source": source_train, "target": target_train})
