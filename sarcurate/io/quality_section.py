"""What scores and curation say, as sections of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.scorecard import VECTOR
from sarcurate.io import quality_figures, set_figures
from sarcurate.io.gates import Gate, bounds
from sarcurate.io.measure_limits import limit_line
from sarcurate.io.reference import Reference
from sarcurate.io.report_html import Block, Cell, Figure, Paragraph, Section, Table
from sarcurate.io.score_table import DB_PER_NEPER, SET
from sarcurate.io.set_quality import SOURCE, TARGET

GAPS = {
    "mmd_physics": "MMD, physics vector",
    "kid_features": "KID, network features",
    "log_psd_distance": "log-PSD of the set",
    "wasserstein_ln": "Wasserstein, ln intensity",
    "median_enl_ln_ratio": "median ENL, ln ratio",
    "log_cumulant_2_ln_ratio": "log-cumulant 2, ln ratio",
}
NEIGHBOURS = ("precision", "recall", "density", "coverage")


def quality_section(
    reference: Reference,
    quality: Mapping[str, Any],
    scores: pd.DataFrame,
    source: pd.DataFrame,
    laws: pd.DataFrame,
    gates: Sequence[Mapping[str, Any]],
) -> Section:
    """Made sets against real train chips: distances with intervals, gaps closed, and where they differ.

    Args:
        reference: of the target.
        quality: of ``metrics/quality.json``.
        scores: of the made sets; source: of the source's chips as they are.
        laws: pooled laws of intensity, as :func:`sarcurate.io.score_table.pooled_law` makes them.
        gates: measure, side, low and high of each.
    """
    real, made = reference.train_scores, _by_set(scores)
    with_source = {**made, SOURCE: source}
    curves = {str(name): part["intensity_db"].to_numpy() / DB_PER_NEPER for name, part in laws.groupby(SET)}
    own = {gate["measure"]: gate["low"] for gate in gates if gate["low"] is not None}
    blocks: list[Block] = [
        Paragraph(
            f"Every number is taken against {reference.n_chips} real train chips of {reference.sensor}; no "
            "test chip was looked at. Distances of the real chips themselves are those of chips left out "
            "fold by fold. The floor is real against real, halves by groups: no made set can be expected "
            "below it. Gap closed: 0 % is the source as it is, 100 % the floor."
        ),
        Figure(
            set_figures.gap_closed({name: one for name, one in quality["sets"].items() if name != SOURCE}),
            "Gap closed by each made set, with intervals over groups of chips.",
            "Gap closed per measure and set",
        ),
        _distances(quality),
        _neighbours(quality),
        Figure(
            quality_figures.enl_bands(real, with_source),
            "ENL of the homogeneous part of each chip; chips without one are counted, not guessed.",
            "ENL of each set against the band of real chips",
        ),
        Figure(
            quality_figures.spectrum_bands(real, with_source),
            "Radial power spectra of intensity contrast, relative to their own mean.",
            "Radial log spectra of each set against the band of real chips",
        ),
        Figure(
            quality_figures.marginal_curves(
                curves[TARGET], {name: curve for name, curve in curves.items() if name != TARGET}
            ),
            "Pooled law of intensity of each set, all pixels.",
            "Density and tail of intensity of each set",
        ),
        Figure(
            quality_figures.ghost_against_retention(
                made, {name: low for name, low in own.items() if name in ("content_retention", "content_z")}
            ),
            "What a made chip kept of its parent, against other parents, and of its style reference.",
            "Content retention against style ghost",
        ),
        Figure(
            set_figures.physics_pca(
                _vectors(real), {name: _vectors(table) for name, table in made.items()}, _vectors(source)
            ),
            "Physics vectors in the two directions in which real chips vary most.",
            "Principal components of the physics vector of each set",
        ),
    ]
    return Section("Quality of the made sets", blocks)


def curation_section(
    reference: Reference, curation: Mapping[str, Any], gates: Sequence[Mapping[str, Any]]
) -> Section:
    """Which chips the gates, people and quotas kept, and what the limits rest on.

    Args:
        reference: of the target.
        curation: of ``metrics/curation.json``.
        gates: measure, side, low and high of each.
    """
    funnel = [
        {"set": name, "step": step, "remaining": count}
        for name, steps in curation["funnel"].items()
        for step, count in steps.items()
    ]
    passed = curation["real_chips_inside_all_gates"]
    promise = (
        "Real train chips cannot be held against these gates: none has a limit of the reference."
        if passed is None
        else f"Of the real train chips, left out fold by fold, {100 * passed:.1f} % "
        f"[{100 * curation['real_chips_inside_all_gates_low']:.1f}, "
        f"{100 * curation['real_chips_inside_all_gates_high']:.1f}] pass all gates with limits of the "
        "reference."
    )
    blocks: list[Block] = [
        Figure(
            set_figures.funnel(funnel),
            "Chips that remain after each step; a chip that breaks several gates falls at the first.",
            "Funnel of curation per set",
        ),
        Paragraph(promise),
        Table(["gate", "limit and its origin"], [_gate_row(reference, gate) for gate in gates], "Gates."),
    ]
    return Section("Curation", blocks)


def _gate_row(reference: Reference, gate: Mapping[str, Any]) -> list[Cell]:
    name = gate["measure"]
    if gate["low"] is None and gate["high"] is None:
        limits = reference.limits[name]
        about = reference.sensor, reference.n_chips, reference.confidence
        return [name, limit_line(name, limits, gate["side"], *about)]
    ends = zip(("at least", "at most"), bounds(Gate(**gate), reference.limits), strict=True)
    return [name, "; ".join(f"{word} {end.value:.4g}, {end.origin}" for word, end in ends if end)]


def _by_set(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(name): part for name, part in scores.groupby(SET, sort=True)}


def _vectors(table: pd.DataFrame) -> NDArray[np.float64]:
    return table[list(VECTOR)].to_numpy(np.float64)


def _distances(quality: Mapping[str, Any]) -> Table:
    level = 100 * quality["interval_level"]
    rows: list[list[Cell]] = []
    for measure, name in GAPS.items():
        rows.append([name, "floor, real against real", *_interval(quality["floor"], measure), "", ""])
        for made, entry in quality["sets"].items():
            gap = f"gap_closed_{measure}"
            rows.append([name, made, *_interval(entry, measure), *_interval(entry, gap, percent=True)])
    columns = ["distance to real", "set", "value", f"{level:g} % interval", "gap closed", "interval"]
    return Table(columns, rows, "Distances of whole sets. A dash: see metrics/quality.json.", columns[2:])


def _neighbours(quality: Mapping[str, Any]) -> Table:
    rows: list[list[Cell]] = [
        [made, entry["n_chips"], entry["n_without_vector"], *(entry.get(name) for name in NEIGHBOURS)]
        for made, entry in quality["sets"].items()
    ]
    rows.append(["real halves", "", "", *(quality["floor"].get(name) for name in NEIGHBOURS)])
    columns = ["set", "chips", "without vector", *NEIGHBOURS]
    return Table(columns, rows, "Neighbours in the physics vector: how real, how varied.", columns[1:])


def _interval(numbers: Mapping[str, Any], name: str, percent: bool = False) -> list[Cell]:
    value, low, high = (numbers.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if value is None:
        return [None, None]
    told, *ends = (None if x is None else _number(x, percent) for x in (value, low, high))
    return [told, None if None in ends else " to ".join(map(str, ends))]


def _number(value: float, percent: bool) -> str:
    return f"{100 * value:.0f} %" if percent else f"{value:.3g}"
