"""report: one self-contained HTML page of what the data set holds and what it was worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sarcurate.core.display import to_uint8_db
from sarcurate.io import arms_table, figures, overview
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.generation_section import generation_section
from sarcurate.io.migration_section import MIGRATED_GENERATED, migration_section
from sarcurate.io.quality_section import curation_section, quality_section
from sarcurate.io.reference import open_reference
from sarcurate.io.report_html import Block, Figure, Paragraph, Section, Table, render
from sarcurate.io.score_table import read_scores
from sarcurate.params import Params

EVIDENCE_NOTES = {
    "smoke": "A smoke run: it shows that the loop works, and is no evidence for or against any method.",
    "simulated_target": "The target sensor is simulated: these are no cross-sensor results.",
    "real": "Both sensors are real.",
}
SENSORS = ("source", "target")
GENERATED = "generated"
OVERVIEW_CLASSES = 4  # more rows would not be read


@dataclass(frozen=True)
class Quality:
    """What score and curate wrote, and the target's reference."""

    quality: Path
    curation: Path
    marginal: Path
    scores: Path
    source_scores: Path
    target_reference: Path


@dataclass(frozen=True)
class Generation:
    """What tune, generate and score wrote of the generated chips, and the source's reference."""

    previews: Path
    generation: Path
    quality: Path
    scores: Path
    source_reference: Path


@dataclass(frozen=True)
class Migration:
    """What migrate wrote: numbers, and medians of losses."""

    numbers: Path
    curve: Path


@dataclass(frozen=True)
class Inputs:
    """What the report is made of; ``sets`` holds ``source``, ``target`` and every made set by name."""

    metrics: Path
    curves: Path
    judged: Quality
    made: Generation
    moved: Migration
    sets: Mapping[str, Path]


def run(params: Params, inputs: Inputs, out: Path) -> list[str]:
    """Write ``index.html``, ``summary.txt`` and ``overview.png`` to ``out``; one line for the terminal."""
    metrics = json.loads(inputs.metrics.read_text(encoding="utf-8"))
    sets = {name: open_chipset(path, splits=("train",)) for name, path in inputs.sets.items()}
    sections = [
        _summary(params, metrics),
        _chips(params, sets),
        _generation(inputs.made),
        _migration(params, inputs, sets),
        *_quality(params, inputs.judged),
        _arms(metrics),
        _training(pd.read_csv(inputs.curves)),
        _confusions(params, metrics),
    ]
    page = render(
        f"sarcurate report: {params.dataset.name}",
        sections,
        dataset_revision=metrics["dataset_revision"],
        is_smoke_run=params.dataset.evidence == "smoke",
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(page, encoding="utf-8")
    (out / "overview.png").write_bytes(_overview(params, sets))
    said = [f"data set revision {metrics['dataset_revision']} ({metrics['evidence']})"]
    said += [*arms_table.lines(metrics["arms"]), f"report: {out / 'index.html'}"]
    (out / "summary.txt").write_text("\n".join(said) + "\n", encoding="utf-8")
    return said[-1:]


def _quality(params: Params, judged: Quality) -> list[Section]:
    reference = open_reference(judged.target_reference)
    gates = [gate.model_dump() for gate in params.curate.gates]
    quality, curation = (
        json.loads(path.read_text(encoding="utf-8")) for path in (judged.quality, judged.curation)
    )
    scores, source = read_scores(judged.scores), read_scores(judged.source_scores)
    laws = pd.read_csv(judged.marginal)
    return [
        quality_section(reference, quality, scores, source, laws, gates),
        curation_section(reference, curation, gates),
    ]


def _generation(made: Generation) -> Section:
    numbers, quality = (
        json.loads(path.read_text(encoding="utf-8")) for path in (made.generation, made.quality)
    )
    return generation_section(
        open_reference(made.source_reference),
        numbers,
        quality,
        read_scores(made.scores),
        (made.previews / "curves.png").read_bytes(),
        (made.previews / "previews.png").read_bytes(),
    )


def _migration(params: Params, inputs: Inputs, sets: Mapping[str, ChipSet]) -> Section:
    judged = inputs.judged
    scored = [read_scores(path) for path in (judged.scores, judged.source_scores, inputs.made.scores)]
    real = open_reference(judged.target_reference).train_scores
    names = ["chip_id", "enl", "log_psd_distance"]
    measured = pd.concat([table[names] for table in (*scored, real)])
    numbers = json.loads(inputs.moved.numbers.read_text(encoding="utf-8"))
    return migration_section(sets, measured, numbers, pd.read_csv(inputs.moved.curve), params.dataset.classes)


def _overview(params: Params, sets: Mapping[str, ChipSet]) -> bytes:
    # Rows follow a source chip through the sets; generated chips, and what is made of them, come from none.
    made = [name for name in sets if name not in (*SENSORS, GENERATED, MIGRATED_GENERATED)]
    ordered = {_title(name, sets[name]): sets[name] for name in ("source", *made, "target")}
    classes = params.dataset.classes
    shown = np.linspace(0, len(classes) - 1, min(len(classes), OVERVIEW_CLASSES)).round().astype(int)
    in_metres = params.dataset.footprint_m is not None
    return overview.draw(ordered, [classes[index] for index in shown], in_metres)


def _summary(params: Params, metrics: Mapping[str, Any]) -> Section:
    dataset = params.dataset
    blocks: list[Block] = [
        Paragraph(EVIDENCE_NOTES[dataset.evidence]),
        Paragraph(
            f"Source sensor {dataset.source.profile}, target sensor {dataset.target.profile}, "
            f"{len(dataset.classes)} classes. Test chips touch nothing but the scores below."
        ),
        Figure(
            figures.arms_intervals(
                arms_table.accuracy_intervals(metrics["arms"]), next(iter(metrics["arms"]))
            ),
            "Accuracy on held-out target test chips; the dashed line is the baseline.",
            "Accuracy of each arm with its interval",
        ),
    ]
    return Section("What it was worth", blocks)


def _chips(params: Params, sets: Mapping[str, ChipSet]) -> Section:
    classes = params.dataset.classes
    counts = {_title(name, chips): _counts(chips, classes) for name, chips in sets.items()}
    blocks: list[Block] = [
        Figure(
            figures.class_count_bars(counts, classes),
            "Train chips per class and set.",
            "Bars of train chips per class",
        ),
        Table(
            ["set", "chips", "revision", "radiometry", *classes],
            [_set_row(name, chips, classes) for name, chips in sets.items()],
            "Train sets. Radiometry uint8_relative and unknown have no declared linear scale.",
        ),
    ]
    for name, chips in sets.items():
        many = f"{params.report.grid_chips} train chips of each class"
        caption = f"{_title(name, chips)}: {many}, dB {_window(chips)}."
        blocks.append(Figure(_grid(params, chips), caption, f"Chips of {name} by class"))
    return Section("Chips", blocks)


def _title(name: str, chips: ChipSet) -> str:
    """A made set by its name, a sensor's own chips with the profile, which says where it is simulated."""
    return f"{name} ({chips.header.sensor})" if name in SENSORS else name


def _counts(chips: ChipSet, classes: list[str]) -> list[int]:
    return [int((chips.manifest["label"] == name).sum()) for name in classes]


def _set_row(name: str, chips: ChipSet, classes: list[str]) -> list[str | int]:
    head: list[str | int] = [
        _title(name, chips),
        len(chips.manifest),
        chips.revision[:16],
        chips.header.radiometry.value,
    ]
    return head + _counts(chips, classes)


def _window(chips: ChipSet) -> str:
    low, high = chips.header.display_db
    return f"{low:g} to {high:g}"


def _grid(params: Params, chips: ChipSet) -> bytes:
    """The first chips of each class by id; a made set is sorted by parent, so that grids line up."""
    low_db, high_db = chips.header.display_db
    images, labels = [], []
    for label in params.dataset.classes:
        rows = [row for row in chips.rows() if row["label"] == label]
        rows.sort(key=lambda row: (row["parents"] or [row["chip_id"]])[0])
        for row in rows[: params.report.grid_chips]:
            images.append(to_uint8_db(chips.intensity(row["chip_id"]), low_db, high_db))
            labels.append(label)
    return figures.chip_grid(images, labels, n_columns=2 * params.report.grid_chips)


def _arms(metrics: Mapping[str, Any]) -> Section:
    figure_columns = arms_table.COLUMNS[1:]
    blocks: list[Block] = [
        Table(
            arms_table.COLUMNS, arms_table.rows(metrics["arms"]), arms_table.caption(metrics), figure_columns
        ),
        Paragraph(arms_table.detectable(metrics["smallest_detectable_difference"])),
    ]
    for name, external in metrics.get("external_tests", {}).items():
        caption = (
            f"External test {name}, content {external['content_sha256'][:16]}; seen by no other stage. "
            f"{external['n_also_in_training']} of its chips are also training chips."
        )
        blocks.append(Table(arms_table.COLUMNS, arms_table.rows(external["arms"]), caption, figure_columns))
    return Section("Arms", blocks)


def _training(curves: pd.DataFrame) -> Section:
    by_arm = {str(arm): figures.Curve(*_pivot(part)) for arm, part in curves.groupby("arm", sort=False)}
    picture = figures.training_curves(by_arm, "training loss (cross entropy, nats)")
    return Section("Training", [Figure(picture, "Mean and range over seeds.", "Training loss of each arm")])


def _pivot(part: pd.DataFrame) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    table = part.pivot(index="seed", columns="update", values="loss")
    return table.columns.to_numpy(), table.to_numpy()


def _confusions(params: Params, metrics: Mapping[str, Any]) -> Section:
    blocks: list[Block] = [
        Figure(
            figures.confusion_figure(numbers["confusion_sum_over_seeds"], params.dataset.classes),
            f"{arm}: rows are the truth, summed over {numbers['n_seeds']} seeds.",
            f"Confusion matrix of {arm}",
        )
        for arm, numbers in metrics["arms"].items()
    ]
    return Section("Confusion", blocks)
