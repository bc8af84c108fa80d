"""What the App's panel shows, as plain tables and Plotly traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sarcurate.core.scorecard_columns import RING_COLUMNS
from sarcurate.io.gates import Bound, display_name

BAND = (5, 95)  # percent of real target chips inside the band that is drawn
BINS = 30
_LOW, _HIGH = 0.05, 0.5  # cycles/px of the rings' first and last edge

Trace = dict[str, Any]


def funnel_table(funnel: Mapping[str, Mapping[str, int]]) -> str:
    """Chips that remain after each step, by set: a Markdown table from metrics/curation.json."""
    if not funnel:
        return "no funnel yet: run `dvc repro curate`"
    steps = list(dict.fromkeys(step for of_set in funnel.values() for step in of_set))
    head = "| step | " + " | ".join(funnel) + " |\n|---|" + "---:|" * len(funnel)
    rows = [
        f"| {display_name(step)} | "
        + " | ".join(str(of_set.get(step, "")) for of_set in funnel.values())
        + " |"
        for step in steps
    ]
    return "\n".join([head, *rows])


def progress_table(chips: pd.DataFrame, classes: Sequence[str]) -> str:
    """Made chips of each class: all, looked at, kept by the Selection, waiting to be saved.

    Args:
        chips: ``label, verdict, kept, pending`` of judged chips.
        classes: rows, in order.
    """
    seen = (chips["verdict"].fillna("none") != "none") | chips["pending"].notna()
    rows = ["| class | chips | looked at | kept | waiting |\n|---|---:|---:|---:|---:|"]
    for label in classes:
        own = chips["label"] == label
        kept = (chips["kept"][own] == True).sum()  # noqa: E712 - None is neither
        waiting = chips["pending"][own].notna().sum()
        rows.append(f"| {label} | {own.sum()} | {(seen & own).sum()} | {kept} | {waiting} |")
    return "\n".join(rows)


def enl_traces(shown: Sequence[float | None], real: Sequence[float | None]) -> list[Trace]:
    """Histograms of ENL: the view's chips, and the target's real chips; each as shares of its chips."""
    values = [_finite(shown), _finite(real)]
    both = np.concatenate(values)
    if not both.size:
        return []
    low, high = float(both.min()), float(both.max())
    bins = {"start": low, "end": high + 1e-9, "size": max((high - low) / BINS, 1e-9)}
    names = ("chips in view", "real target chips")
    return [
        {
            "type": "histogram",
            "x": one.tolist(),
            "name": name,
            "histnorm": "percent",
            "xbins": bins,
            "opacity": 0.6,
        }
        for one, name in zip(values, names, strict=True)
    ]


def limit_shapes(ends: tuple[Bound | None, Bound | None]) -> list[dict[str, Any]]:
    """Dashed lines at a gate's limits."""
    return [
        {
            "type": "line",
            "x0": end.value,
            "x1": end.value,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"dash": "dash", "color": "#ff6d04"},
        }
        for end in ends
        if end is not None
    ]


def spectrum_traces(shown: np.ndarray[Any, Any], real: np.ndarray[Any, Any]) -> list[Trace]:
    """Mean ln power by ring of the view's chips, and the band of the target's real chips.

    Args:
        shown: (n, 12) of the view; real: (m, 12); NaN where a chip has no spectrum.
    """
    edges = np.linspace(_LOW, _HIGH, len(RING_COLUMNS) + 1)
    cycles = ((edges[:-1] + edges[1:]) / 2).round(4).tolist()
    traces: list[Trace] = []
    if np.isfinite(real).any():
        low, high = np.nanpercentile(real, BAND, axis=0)
        traces += [
            {
                "type": "scatter",
                "x": cycles,
                "y": low.tolist(),
                "mode": "lines",
                "line": {"width": 0},
                "showlegend": False,
                "hoverinfo": "skip",
            },
            {
                "type": "scatter",
                "x": cycles,
                "y": high.tolist(),
                "mode": "lines",
                "line": {"width": 0},
                "fill": "tonexty",
                "name": f"real target chips, {BAND[0]} to {BAND[1]} %",
            },
        ]
    if np.isfinite(shown).any():
        mean = np.nanmean(shown, axis=0)
        traces.append(
            {
                "type": "scatter",
                "x": cycles,
                "y": mean.tolist(),
                "mode": "lines+markers",
                "name": "mean of the chips in view",
            }
        )
    return traces


def _finite(values: Sequence[float | None]) -> np.ndarray[Any, Any]:
    found = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return found[np.isfinite(found)]
