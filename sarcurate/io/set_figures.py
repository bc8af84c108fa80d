"""Figures of whole sets: the funnel of curation, physics vectors in a plane, the gap closed; PNG bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.errors import DataError
from sarcurate.io.figures import COLOURS, LINES, canvas, legend_above, name_rows, printable, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = NDArray[np.float64]

WIDTH_IN = 6.9
_MARKERS = "sD^vP*o"
MOST_POINTS = 400  # chips of a set drawn one by one


def funnel(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Chips that remain after each step of curation, one panel of bars per set.

    Args:
        rows: in order, each with ``set``, ``step`` and ``remaining`` (chips).

    Raises:
        DataError: for no row, or one without these.
    """
    if not rows or any(key not in row for row in rows for key in ("set", "step", "remaining")):
        raise DataError("funnel figure: no rows, or rows without set, step, remaining", fix="curate first")
    sets = list(dict.fromkeys(str(row["set"]) for row in rows))
    steps = list(dict.fromkeys(str(row["step"]) for row in rows))
    across, styles = min(len(sets), 3), set_styles(sets)
    down = -(-len(sets) // across)
    with canvas(WIDTH_IN, 0.5 + down * (0.6 + 0.26 * len(steps))) as (figure, png):
        axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
        for axis in axes[len(sets) :]:
            axis.set_axis_off()
        for axis, name in zip(axes, sets, strict=False):
            left = {str(row["step"]): int(row["remaining"]) for row in rows if str(row["set"]) == name}
            _funnel_bars(axis, left, steps, styles[name].colour)
            axis.set_title(printable(name), fontsize=9)
        for axis in axes[::across]:
            name_rows(axis, steps)
        save(figure, png)
    return png.getvalue()


def physics_pca(real: Values, made: Mapping[str, Values], source: Values | None) -> bytes:
    """Physics vectors in the two directions in which real chips vary most.

    Components of the real chips' z-scores; ellipses of a normal law with their spread: 1 sigma and 95 %.
    Chips beyond the frame stand on its edge. Chips without a whole vector are left out and counted.

    Args:
        real: (n, d) measures of real train chips.
        made: (m, d) of made sets, by name.
        source: (k, d) of the source chips as they are, None to leave them out.

    Raises:
        DataError: for fewer than 3 real chips with a whole vector, or another number of measures.
    """
    sets = ({} if source is None else {"source": source}) | dict(made)
    seen, sigma, share = _plane(real, sets)
    styles = set_styles(made)
    with canvas(WIDTH_IN, 5.0) as (figure, png):
        axis = figure.subplots()
        frame = _frame(seen.values(), sigma)
        for name, places in seen.items():
            shown = np.clip(places[np.isfinite(places).all(axis=1)][:MOST_POINTS], *frame)
            look: dict[str, Any] = {
                "marker": styles[name].marker,
                "color": styles[name].colour,
                "label": counted(name, places[:, 0]),
            }
            axis.plot(*shown.T, ls="", ms=4, mec="none", alpha=0.6, clip_on=False, **look)
        _ellipses(axis, sigma)
        axis.set_xlim(*frame[:, 0])
        axis.set_ylim(*frame[:, 1])
        axis.set_xlabel(f"first component ({100 * share[0]:.0f} % of the real chips' variance)")
        axis.set_ylabel(f"second component ({100 * share[1]:.0f} %)")
        faint_grid(axis)
        legend_above(figure, 2)
        save(figure, png)
    return png.getvalue()


def _plane(real: Values, sets: Mapping[str, Values]) -> tuple[dict[str, Values], Values, Values]:
    """Places (n, 2) of real and other chips, the real ones' spread along both axes, shares of variance."""
    whole = real[np.isfinite(real).all(axis=1)]
    if len(whole) < 3 or real.shape[1] < 2 or any(v.shape[1:] != real.shape[1:] for v in sets.values()):
        shapes = {name: values.shape for name, values in sets.items()}
        raise DataError(
            f"physics PCA: {len(whole)} whole real vectors of {real.shape[1:]} measures, sets of {shapes}",
            fix="give 3 real chips or more, and the same 2 measures or more for all sets",
        )
    mean, spread = whole.mean(axis=0), whole.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    _, sizes, directions = np.linalg.svd((whole - mean) / scale, full_matrices=False)
    # An SVD's signs are free; fixed here, so that the picture does not depend on the machine.
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    turned = (directions * np.sign(largest)[:, None])[:2].T
    places = {name: ((values - mean) / scale) @ turned for name, values in {"real": real, **sets}.items()}
    return places, sizes[:2] / math.sqrt(len(whole) - 1), sizes**2 / max((sizes**2).sum(), 1e-300)


def gap_closed(quality: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Share of the gap between source and target that each made set closes, by measure, with intervals.

    0 is the source as it is, 1 real against real. Where there is no share, none is drawn, and the label
    counts it. A share beyond -1.5 or 2 stands on the frame as an arrow with its number.

    Args:
        quality: by set, with ``gap_closed_<measure>`` (fraction or None) and the same name with ``_low`` and
            ``_high``; what has another name is left alone.

    Raises:
        DataError: where no set has a gap closed.
    """
    shares = {name: _gaps(values) for name, values in quality.items() if isinstance(values, Mapping)}
    shares = {name: gaps for name, gaps in shares.items() if gaps}
    measures = list(dict.fromkeys(measure for gaps in shares.values() for measure in gaps))
    if not measures:
        fix = "compare made sets with the target"
        raise DataError(f"gap figure: no gap closed in {list(quality)}", fix=fix)
    styles = set_styles(shares)
    with canvas(WIDTH_IN, 1.1 + len(measures) * (0.25 + 0.17 * len(shares))) as (figure, png):
        axis = figure.subplots()
        for value, word in ((0.0, "source"), (1.0, "real")):
            axis.axvline(value, color="0.5", lw=1, ls="--", zorder=1)
            above: Any = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axis.annotate(word, (value, 1), (0, 3), ha="center", fontsize=8, **above)
        for k, (name, gaps) in enumerate(shares.items(), start=1):
            rows = np.arange(len(measures), dtype=np.float64) + 0.7 * (k / (len(shares) + 1) - 0.5)
            _gap_marks(axis, rows, [gaps.get(measure, _NO_GAP) for measure in measures], name, styles[name])
        name_rows(axis, [measure.replace("_", " ") for measure in measures])
        axis.set_xlabel("share of the gap between source and real target closed")
        faint_grid(axis)
        legend_above(figure, len(shares))
        save(figure, png)
    return png.getvalue()


_Gap = tuple[float | None, float | None, float | None]
_GAP_FRAME = (-1.5, 2.0)
_NO_GAP: _Gap = (None, None, None)


def _gaps(values: Mapping[str, Any]) -> dict[str, _Gap]:
    """Share, low and high by measure."""
    names = [
        key
        for key in values
        if key.startswith("gap_closed_") and not key.endswith(("_low", "_high", "_reason"))
    ]
    return {
        name.removeprefix("gap_closed_"): (
            values[name],
            values.get(f"{name}_low"),
            values.get(f"{name}_high"),
        )
        for name in names
    }


def _gap_marks(axis: Axes, rows: Values, gaps: Sequence[_Gap], name: str, style: SetStyle) -> None:
    missing = sum(share is None for share, _, _ in gaps)
    label = printable(name) + f" ({missing} n/a)" * bool(missing)
    axis.plot([], [], marker=style.marker, color=style.colour, label=label)
    for row, (share, low, high) in zip(rows, gaps, strict=True):
        if share is None:
            continue
        if low is not None and high is not None:
            axis.hlines(row, *np.clip([low, high], *_GAP_FRAME), color=style.colour, lw=2)
        shown = min(max(share, _GAP_FRAME[0]), _GAP_FRAME[1])
        marker = "<" if share < shown else ">" if share > shown else style.marker
        axis.plot(shown, row, marker, ms=5.5, color=style.colour, clip_on=False)
        if shown != share:
            side = "left" if share < shown else "right"
            axis.annotate(
                f"{share:.3g}", (shown, row), (0, 5), textcoords="offset points", ha=side, fontsize=7
            )


@dataclass(frozen=True)
class SetStyle:
    """How a set looks in every figure: colour, marker and line."""

    colour: str
    marker: str
    line: str


def set_styles(made: Iterable[str]) -> dict[str, SetStyle]:
    """Styles by name: real dark grey, the source as it is light grey, made sets in their order."""
    styles = {"real": SetStyle("0.25", "o", "-"), "source": SetStyle("0.6", "X", ":")}
    for k, name in enumerate(name for name in made if name not in ("real", "source")):
        looks = (COLOURS[k % len(COLOURS)], _MARKERS[k % len(_MARKERS)], LINES[k % len(LINES)])
        styles.setdefault(name, SetStyle(*looks))
    return styles


def counted(name: str, values: Values) -> str:
    """A set's name, its chips, and how many of them have no value."""
    missing = int((~np.isfinite(values)).sum())
    return f"{printable(name, 24)}, n = {len(values)}" + f" ({missing} n/a)" * bool(missing)


def faint_grid(axis: Axes) -> None:
    """Thin lines behind the data, open to the top and right."""
    axis.grid(color="0.92")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _funnel_bars(axis: Axes, left: Mapping[str, int], steps: Sequence[str], colour: str) -> None:
    """Bars of what remains, in grey behind them what the step before had."""
    before = None
    for row, step in enumerate(steps):
        if step not in left:
            continue
        if before is not None:
            axis.barh(row, before, color="0.88", height=0.7)
        axis.barh(row, left[step], color=colour, height=0.7)
        lost = f" {left[step]}" if before in (None, left[step]) else f" {left[step]} (−{before - left[step]})"
        axis.annotate(lost, (max(left[step], before or 0), row), va="center", fontsize=8)
        before = left[step]
    axis.set_xlabel("chips that remain")
    axis.margins(x=0.35)
    axis.spines[["top", "right"]].set_visible(False)


def _ellipses(axis: Axes, sigma: Values) -> None:
    turn = np.linspace(0, 2 * np.pi, 181)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for radius, line, word in ((1.0, "-", "1 sigma"), (math.sqrt(-2 * math.log(0.05)), "--", "95 %")):
        axis.plot(*(radius * sigma * circle).T, line, color="black", lw=1.2, label=f"real, {word}", zorder=4)


def _frame(sets: Iterable[Values], sigma: Values) -> Values:
    """(2, 2) low and high corner that hold the real ellipse and 98 % of each set along both axes."""
    held = [np.stack([-3 * sigma, 3 * sigma])]
    for places in sets:
        whole = places[np.isfinite(places).all(axis=1)]
        if len(whole):
            held.append(np.quantile(whole, [0.01, 0.99], axis=0))
    corners = np.stack([np.min(held, axis=(0, 1)), np.max(held, axis=(0, 1))])
    return np.asarray(corners + 0.05 * np.ptp(corners, axis=0) * [[-1.0], [1.0]])
