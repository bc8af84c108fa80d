"""What migration did, as a section of the report: chips beside their contents and styles, and the losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sarcurate.core.display import to_uint8_db
from sarcurate.io import migration_figures
from sarcurate.io.chipset import ChipSet
from sarcurate.io.migration_figures import Shown
from sarcurate.io.report_html import Block, Cell, Figure, Paragraph, Section, Table

MIGRATED, MIGRATED_GENERATED = "migrated", "migrated-generated"
_TERMS = {
    "distillation_median": "distillation",
    "content_median": "content",
    "speckle_median": "speckle",
    "spectrum_median": "spectrum",
}
_COLUMNS = ("source", MIGRATED, "generated", MIGRATED_GENERATED, "target")


def migration_section(
    sets: Mapping[str, ChipSet],
    measured: pd.DataFrame,
    numbers: Mapping[str, Any],
    curve: pd.DataFrame,
    classes: Sequence[str],
) -> Section:
    """Migrated chips as they came out.

    Args:
        sets: ``source``, ``target``, ``generated``, ``migrated`` and ``migrated-generated``; train chips.
        measured: a row per chip of all of them, with ``chip_id``, ``enl`` and ``log_psd_distance``.
        numbers: of ``metrics/migration.json``; curve: of ``metrics/migration_losses.csv``.
        classes: a row of chips for each.
    """
    blocks: list[Block] = [
        Paragraph(
            "Each migrated chip started from the content on its left; the target chip is the style of the "
            "source chip's, a real train chip and another object. Under a chip stand its ENL and its log-PSD "
            "distance to the target's real train chips; generated chips' to the source's. " + _room(numbers)
        ),
        Figure(
            migration_figures.grid([_row(sets, measured, label) for label in classes], classes, _COLUMNS),
            "Contents, what migration made of them, and a style; one chip of each class.",
            "Source, generated, migrated and target chips by class",
        ),
        Table(["set", "chips", "updates", *_TERMS.values()], _rows(numbers), "Losses at the end, medians."),
        Figure(migration_figures.losses(curve), "Losses over updates, medians of chips.", "Losses by update"),
    ]
    return Section("Migrated chips", blocks)


def _room(numbers: Mapping[str, Any]) -> str:
    found = numbers["log_psd_distance"]
    alone = found["autoencoder_alone"]
    told = "is not known" if alone is None else f"alone makes {alone:.3f}"
    return (
        f"Mean spectra of ln intensity of both sensors are {found['source_to_target']:.3f} apart in log-PSD "
        f"distance; the extractor's autoencoder {told}, and nothing nearer than that can be migrated."
    )


def _row(sets: Mapping[str, ChipSet], measured: pd.DataFrame, label: str) -> list[Shown | None]:
    """What stands in each of the columns for a class; None where a set has no such chip."""
    first, drawn = (_first(sets[name], label) for name in (MIGRATED, MIGRATED_GENERATED))
    ids: dict[str, Any] = {
        "source": first and first["parents"][0],
        MIGRATED: first and first["chip_id"],
        "generated": drawn and drawn["parents"][0],
        MIGRATED_GENERATED: drawn and drawn["chip_id"],
        "target": first and first["style_ids"][0],
    }
    known = measured.set_index("chip_id")
    return [_shown(sets[name], ids[name], known) for name in _COLUMNS]


def _first(chips: ChipSet, label: str) -> dict[str, Any] | None:
    return next((row for row in chips.rows() if row["label"] == label), None)


def _shown(chips: ChipSet, chip_id: str | None, measured: pd.DataFrame) -> Shown | None:
    if chip_id is None:
        return None
    enl, distance = measured.reindex([chip_id])[["enl", "log_psd_distance"]].to_numpy(np.float64)[0]
    image = to_uint8_db(chips.intensity(chip_id), *chips.header.display_db)
    return Shown(image, float(enl), float(distance))


def _rows(numbers: Mapping[str, Any]) -> list[Sequence[Cell]]:
    return [
        [
            name,
            str(one["n_chips"]),
            f"{one['updates_median']:g}",
            *(f"{one[term]:.3f}" if term in one else "n/a" for term in _TERMS),
        ]
        for name, one in numbers["sets"].items()
    ]
