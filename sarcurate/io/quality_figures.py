"""Figures on the quality of made chips against real ones, as PNG bytes like those of ``figures``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.marginal import QUANTILE_LEVELS
from sarcurate.core.scorecard_columns import RING_COLUMNS
from sarcurate.errors import DataError
from sarcurate.io.figures import canvas, legend_above, printable, save
from sarcurate.io.set_figures import (
    MOST_POINTS,
    WIDTH_IN,
    SetStyle,
    counted,
    faint_grid,
    set_styles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = NDArray[np.float64]
Tables = Mapping[str, pd.DataFrame]

DB_PER_LN = 10 / math.log(10)
_RING_EDGES = np.linspace(0.05, 0.5, len(RING_COLUMNS) + 1)  # cycles/px, as the scorecard's
_NO_RING_COLUMNS = np.full((3, len(RING_COLUMNS)), np.nan)
_LEAST_STEP_DB = 0.25


def enl_bands(real: pd.DataFrame, made: Tables) -> bytes:
    """ENL of each set's chips: points, quartile box, 95 % whiskers, over the band of 95 % of real chips.

    Args:
        real: score table of real train chips, with the column ``enl``.
        made: score tables of made sets, by name.

    Raises:
        DataError: where a table has no column ``enl``.
    """
    sets = {"real": real, **made}
    found = {name: _column(table, "enl", name) for name, table in sets.items()}
    styles = set_styles(made)
    with canvas(WIDTH_IN, 1.1 + 0.55 * len(sets)) as (figure, png):
        axis = figure.subplots()
        for row, (name, values) in enumerate(found.items()):
            _strip(axis, row, values[np.isfinite(values)], styles[name].colour)
        known = found["real"][np.isfinite(found["real"])]
        if known.size:
            low, high = np.quantile(known, [0.025, 0.975])
            label = f"95 % of real chips: {low:.2g} to {high:.2g}"
            axis.axvspan(low, high, color="0.88", lw=0, zorder=0, label=label)
            legend_above(figure, 1)
        _log_ticks(axis)
        axis.set_xlabel("ENL of the homogeneous area (looks)")
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_yticks(range(len(sets)), [counted(name, found[name]).replace(", n", "\nn") for name in sets])
        axis.set_ylim(len(sets) - 0.5, -0.5)
        save(figure, png)
    return png.getvalue()


def spectrum_bands(real: pd.DataFrame, made: Tables) -> bytes:
    """Radial log power spectra: median and 5 to 95 % of the chips of each set.

    Args:
        real: score table of real train chips, with the columns ``log_psd_00`` to ``log_psd_11``.
        made: score tables of made sets, by name.

    Raises:
        DataError: where a table lacks a ring.
    """
    centres, styles = (_RING_EDGES[1:] + _RING_EDGES[:-1]) / 2, set_styles(made)
    with canvas(WIDTH_IN, 3.9) as (figure, png):
        axis = figure.subplots()
        for name, table in {"real": real, **made}.items():
            rings = DB_PER_LN * np.stack([_column(table, ring, name) for ring in RING_COLUMNS], axis=1)
            whole = rings[np.isfinite(rings).all(axis=1)]
            style, label = styles[name], counted(name, rings.sum(axis=1))
            low, middle, high = (
                np.quantile(whole, [0.05, 0.5, 0.95], axis=0) if len(whole) else _NO_RING_COLUMNS
            )
            axis.plot(centres, middle, style.line, color=style.colour, lw=2, label=label, zorder=3)
            if name == "real":
                axis.fill_between(centres, low, high, color="0.85", lw=0, label="real, 5 to 95 % of chips")
            else:
                ends = np.stack([low, high], axis=1)
                axis.plot(centres, ends, style.line, color=style.colour, lw=0.7, zorder=2)
        axis.set_xlim(_RING_EDGES[0], _RING_EDGES[-1])
        axis.set_xlabel("spatial frequency (cycles/px)")
        axis.set_ylabel("power relative to the mean (dB)")
        faint_grid(axis)
        legend_above(figure, 2)
        save(figure, png)
    return png.getvalue()


def marginal_curves(real: Values, made: Mapping[str, Values]) -> bytes:
    """Density of intensity in dB, and the share of pixels above a level, where the bright tail shows.

    Args:
        real: (512,) pooled quantiles of ln intensity at ``core.marginal.QUANTILE_LEVELS``.
        made: the same of made sets, by name.

    Raises:
        DataError: for quantiles of another number, not finite, or falling.
    """
    curves, styles = {"real": real, **made}, set_styles(made)
    with canvas(WIDTH_IN, 3.6) as (figure, png):
        density, tail = figure.subplots(1, 2)
        for name, quantiles in curves.items():
            level_db = DB_PER_LN * _checked_quantiles(quantiles, name)
            style: dict[str, Any] = {"color": styles[name].colour, "label": printable(name)}
            style |= {"lw": 3.0 if name == "real" else 1.6, "ls": styles[name].line}
            density.plot(*_density(level_db), **style)
            tail.plot(level_db, 1 - QUANTILE_LEVELS, **style)
        density.set_ylabel("density (1/dB)")
        density.set_ylim(bottom=0)
        tail.set_yscale("log")
        tail.set_ylim(1e-4, 1.3)
        tail.set_yticks([1, 0.1, 0.01, 1e-3, 1e-4], ["1", "0.1", "0.01", "0.001", "0.0001"])
        tail.set_ylabel("share of pixels above")
        for axis in (density, tail):
            axis.set_xlabel("intensity (dB)")
            faint_grid(axis)
        figure.legend(
            *tail.get_legend_handles_labels(), loc="outside upper left", ncols=4, frameon=False, fontsize=8
        )
        save(figure, png)
    return png.getvalue()


def ghost_against_retention(made: Tables, limits: Mapping[str, float]) -> bytes:
    """Content kept from the parent against what came along from the style reference.

    Sets without any style reference stand in a panel of their own: retention and its z against other parents.

    Args:
        made: score tables by set, with content_retention, content_z, ghost_ncc and ghost_z.
        limits: by measure, lower ones for content and upper ones for ghosts. A limit on an axis is a line;
            chips beyond any of them are crosses.

    Raises:
        DataError: where a table lacks a measure, or a limit is of none of the four.
    """
    unknown = set(limits) - set(_PAIR_MEASURES)
    if unknown or not made:
        problem = f"limits of {sorted(unknown)}, {len(made)} sets"
        raise DataError(f"ghost figure: found {problem}", fix=f"one set or more, limits of {_PAIR_MEASURES}")
    found = {
        name: {measure: _column(table, measure, name) for measure in _PAIR_MEASURES}
        for name, table in made.items()
    }
    styled = {name for name, values in found.items() if np.isfinite(values["ghost_ncc"]).any()}
    panels = [("ghost_ncc", styled)] * bool(styled) + [("content_z", set(found) - styled)] * (
        found.keys() != styled
    )
    with canvas(WIDTH_IN, 3.9) as (figure, png):
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        styles = set_styles(found)
        for axis, (measure, names) in zip(axes, panels, strict=True):
            for name in [name for name in found if name in names]:
                _pair_points(axis, found[name], measure, limits, name, styles[name])
            for limit, draw in ((measure, axis.axhline), ("content_retention", axis.axvline)):
                if limit in limits:
                    draw(limits[limit], color="0.4", lw=1, ls="--")
            axis.set_xlabel("content retention (correlation with the parent)")
            axis.set_ylabel(_PAIR_AXES[measure])
            faint_grid(axis)
        if limits:
            axes[0].plot([], [], "x", ms=4, color="black", label="beyond a limit")
        legend_above(figure, 2)
        save(figure, png)
    return png.getvalue()


_PAIR_MEASURES = ("content_retention", "content_z", "ghost_ncc", "ghost_z")
_PAIR_AXES = {
    "ghost_ncc": "style ghost (residual correlation)",
    "content_z": "content z (sd of other parents)",
}


def _column(table: pd.DataFrame, measure: str, name: str) -> Values:
    if measure not in table.columns:
        raise DataError(f"scores of {name!r} lack the column {measure!r}", fix="score the set again")
    return table[measure].to_numpy(dtype=np.float64, na_value=np.nan)


def _strip(axis: Axes, row: int, values: Values, colour: str) -> None:
    """Points spread evenly over the row's height, under a box of quartiles with 95 % whiskers."""
    if not values.size:
        return
    shown = values[:MOST_POINTS]
    # Multiples of the golden ratio fill the height without a draw, so the bytes stay the same.
    height = row + 0.5 * (np.arange(len(shown)) * 0.618034 % 1 - 0.5)
    axis.plot(shown, height, ".", color=colour, ms=3, mec="none", alpha=0.45, zorder=1)
    low, first, middle, third, high = np.quantile(values, [0.025, 0.25, 0.5, 0.75, 0.975])
    axis.hlines(row, low, first, color="black", lw=1.2)
    axis.hlines(row, third, high, color="black", lw=1.2)
    axis.fill_betweenx(
        [row - 0.16, row + 0.16], first, third, color="white", ec="black", lw=1.2, alpha=0.85, zorder=2
    )
    axis.vlines(middle, row - 0.16, row + 0.16, color=colour, lw=2.5, zorder=3)


def _log_ticks(axis: Axes) -> None:
    """Logarithmic x axis with plain numbers."""
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    decades = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [1, 1.5, 2, 3, 5, 7] if high / low < 20 else [1, 3] if high / low < 1e4 else [1]
    ticks = [tick for tick in np.outer(decades, steps).ravel() if low <= tick <= high]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlim(low, high)


def _checked_quantiles(quantiles: Values, name: str) -> Values:
    found = np.asarray(quantiles, dtype=np.float64)
    if found.shape != QUANTILE_LEVELS.shape or not np.isfinite(found).all() or (np.diff(found) < 0).any():
        raise DataError(
            f"marginal figure: quantiles of {name!r} are {found.shape}, expected {QUANTILE_LEVELS.shape}, "
            "finite and not falling",
            fix="take core.marginal.pooled_quantiles of ln intensity",
        )
    return found


def _density(level_db: Values) -> tuple[Values, Values]:
    """Places and density per dB, between levels a step apart that hold all but the outer 0.1 %."""
    low, high = np.interp([1e-3, 1 - 1e-3], QUANTILE_LEVELS, level_db)
    step = max((high - low) / 60, _LEAST_STEP_DB)
    edges = np.arange(low - step, high + 2 * step, step)
    share = np.interp(edges, level_db, QUANTILE_LEVELS, left=0.0, right=1.0)
    return (edges[1:] + edges[:-1]) / 2, np.diff(share) / step


def _pair_points(
    axis: Axes,
    values: Mapping[str, Values],
    measure: str,
    limits: Mapping[str, float],
    name: str,
    style: SetStyle,
) -> None:
    """Markers of the chips within all limits, crosses of those beyond one."""
    x, y = values["content_retention"], values[measure]
    beyond = np.zeros(len(x), dtype=bool)
    for limited, limit in limits.items():
        beyond |= values[limited] > limit if limited.startswith("ghost") else values[limited] < limit
    there = np.isfinite(x) & np.isfinite(y)
    label = counted(name, np.where(there, x, np.nan)) + f", {(beyond & there).sum()} beyond" * bool(limits)
    for part, marker in ((there & ~beyond, style.marker), (there & beyond, "x")):
        points = x[part][:MOST_POINTS], y[part][:MOST_POINTS]
        axis.plot(*points, marker, ms=4, color=style.colour, alpha=0.7, mew=1.0 if marker == "x" else 0.0)
    axis.plot([], [], style.marker, ms=4, color=style.colour, label=label)
