"""What tuning and generation did, as a section of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sarcurate.io import quality_figures
from sarcurate.io.reference import Reference
from sarcurate.io.report_html import Block, Cell, Figure, Paragraph, Section, Table
from sarcurate.io.score_table import SET

DISTANCES = {
    "mmd_physics": "MMD, physics vector",
    "kid_features": "KID, network features",
    "log_psd_distance": "log-PSD of the set",
    "wasserstein_ln": "Wasserstein, ln intensity",
    "median_enl_ln_ratio": "median ENL, ln ratio",
}
_SHARES = {
    "yield": "pass the gates",
    "recognised": "taken for their class by the source's reference network",
    "recognised_held_back": "the same of held-back real chips",
}


def generation_section(
    reference: Reference,
    numbers: Mapping[str, Any],
    quality: Mapping[str, Any],
    scores: pd.DataFrame,
    curves_png: bytes,
    previews_png: bytes,
) -> Section:
    """Generated chips against the source's real ones, and the training that made them.

    Args:
        reference: of the source.
        numbers: of ``metrics/generation.json``; quality: of ``metrics/generated_quality.json``.
        scores: of the generated chips.
        curves_png, previews_png: as tune drew them.
    """
    made = {str(name): part for name, part in scores.groupby(SET)}
    blocks: list[Block] = [
        Paragraph(
            f"Generated chips are the source sensor's ({reference.sensor}), so they are held against its "
            f"{reference.n_chips} real train chips. The floor is real against real, halves by groups."
        ),
        Table(["set", *DISTANCES.values()], _distance_rows(quality), "Distances, with intervals."),
        Table(["share", "value", "interval"], _share_rows(numbers), "Yield and agreement of classes."),
        Figure(
            quality_figures.enl_bands(reference.train_scores, made),
            "ENL of the homogeneous part of each chip; chips without one are counted, not guessed.",
            "ENL of generated chips against the band of the source's real chips",
        ),
        Figure(
            quality_figures.spectrum_bands(reference.train_scores, made),
            "Radial power spectra of intensity contrast, relative to their own mean.",
            "Radial log spectra of generated chips against the band of the source's real chips",
        ),
        Figure(
            curves_png, "The adapter's training; chips held back are real.", "Losses and previews' measures"
        ),
        Figure(previews_png, "Previews at fixed seeds while the adapter was trained.", "Previews by update"),
    ]
    return Section("Generated chips", blocks)


def _distance_rows(quality: Mapping[str, Any]) -> list[Sequence[Cell]]:
    rows: list[Sequence[Cell]] = [["real halves", *_cells(quality["floor"])]]
    return rows + [[name, *_cells(entry)] for name, entry in quality["sets"].items()]


def _cells(entry: Mapping[str, Any]) -> list[str]:
    return [_with_interval(entry, name) for name in DISTANCES]


def _with_interval(entry: Mapping[str, Any], name: str) -> str:
    value, low, high = (entry.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "n/a"
    return f"{value:.3f}" if low is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _share_rows(numbers: Mapping[str, Any]) -> list[Sequence[Cell]]:
    rows: list[Sequence[Cell]] = []
    for name, told in _SHARES.items():
        if name in numbers:
            low, high = numbers[f"{name}_low"], numbers[f"{name}_high"]
            rows.append([told, f"{100 * numbers[name]:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %"])
    return rows
