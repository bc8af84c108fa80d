"""Report figures as PNG bytes, the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcurate.core.statistics import Interval
from sarcurate.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart by colour-blind readers; markers and line styles repeat the difference.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Curve:
    """One arm's training curve: values of shape (seeds, points) at ``steps`` of shape (points,)."""

    steps: NDArray[np.floating] | NDArray[np.integer]
    values: NDArray[np.floating]


@dataclass(frozen=True)
class Panel:
    """A chip in the overview: display levels (rows, cols), uint8, and its (azimuth, range) sides in metres.

    ``sides_m`` is None where the scale is not known; then the axes count pixels.
    """

    image: NDArray[np.uint8]
    sides_m: tuple[float, float] | None


def overview(
    panels: Sequence[Sequence[Panel]], row_names: Sequence[str], column_names: Sequence[str]
) -> bytes:
    """Chips on a table, classes down and sets across; sets with other pixel sizes keep one scale in metres.

    Args:
        panels: one row of panels per class, one panel per set.
        row_names: one per class.
        column_names: one per set.

    Raises:
        DataError: for no panel, another number than the names call for, or pixels that are not 2-D uint8.
    """
    flat = [panel for row in panels for panel in row]
    _check_grid([panel.image for panel in flat], [name for name in row_names for _ in column_names], 1)
    with canvas(1.9 * len(column_names) + 0.6, 1.75 * len(panels) + 0.5) as (figure, png):
        axes = figure.subplots(len(panels), len(column_names), squeeze=False, sharex="col", sharey=True)
        for axis, panel in zip(axes.ravel(), flat, strict=True):
            _draw_panel(axis, panel)
        unit = "px" if any(panel.sides_m is None for panel in flat) else "m"
        for axis, name in zip(axes[:, 0], row_names, strict=True):
            axis.set_ylabel(f"{printable(name, 22)}\nazimuth ({unit})", fontsize=8)
        for top, bottom, name in zip(axes[0], axes[-1], column_names, strict=True):
            top.set_title(printable(name), fontsize=9)
            bottom.set_xlabel(f"range ({unit})", fontsize=8)
        save(figure, png)
    return png.getvalue()


def _draw_panel(axis: Axes, panel: Panel) -> None:
    azimuth, range_ = panel.image.shape if panel.sides_m is None else panel.sides_m
    axis.imshow(
        panel.image, cmap="gray", vmin=0, vmax=255, interpolation="none", extent=(0, range_, azimuth, 0)
    )
    axis.tick_params(labelsize=7)


def chip_grid(images: Sequence[NDArray[np.uint8]], labels: Sequence[str], n_columns: int) -> bytes:
    """Chips side by side, row by row, each under its label; pixels are not smoothed.

    Args:
        images: display levels (rows, cols) = (azimuth, range), uint8; sizes may differ.
        labels: one per image.
        n_columns: chips per row.

    Raises:
        DataError: for no image, another number of labels, or pixels that are not 2-D uint8.
    """
    _check_grid(images, labels, n_columns)
    n_rows = -(-len(images) // n_columns)
    with canvas(1.5 * n_columns, 1.7 * n_rows) as (figure, png):
        axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, image, label in zip(axes, images, labels, strict=False):
            axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="none")
            axis.set_title(printable(label, 22), fontsize=7)
        save(figure, png)
    return png.getvalue()


def class_count_bars(counts: Mapping[str, Sequence[int]], class_names: Sequence[str]) -> bytes:
    """Chips per class, one bar per class stacked by origin (real, migrated, ...).

    Args:
        counts: chips per class, in the order of ``class_names``, by origin.
        class_names: one per class.

    Raises:
        DataError: for no origin or counts of another length.
    """
    table = np.array([_row(values, len(class_names), name) for name, values in counts.items()])
    if table.size == 0:
        raise DataError("class counts: found none, expected one origin and class", fix="count chips first")
    with canvas(6.0, 0.9 + 0.32 * len(class_names)) as (figure, png):
        axis = figure.subplots()
        starts = table.cumsum(axis=0) - table
        for i, origin in enumerate(counts):
            colour, label = COLOURS[i % len(COLOURS)], printable(origin)
            axis.barh(range(len(class_names)), table[i], left=starts[i], color=colour, label=label)
        for row, total in enumerate(table.sum(axis=0)):
            axis.annotate(f" {int(total)}", (total, row), va="center", fontsize=8)
        name_rows(axis, class_names)
        axis.set_xlabel("chips")
        axis.margins(x=0.1)
        legend_above(figure, len(counts))
        save(figure, png)
    return png.getvalue()


def training_curves(curves: Mapping[str, Curve], value_label: str) -> bytes:
    """One line per arm: the mean over training seeds, with a band from the lowest to the highest seed.

    Args:
        curves: by arm.
        value_label: name and unit of the values.

    Raises:
        DataError: for no arm, or values that are not (seeds, points).
    """
    if not curves:
        raise DataError("training curves: found no arm", fix="train at least one arm")
    with canvas(6.0, 3.4) as (figure, png):
        axis = figure.subplots()
        for i, (arm, curve) in enumerate(curves.items()):
            steps, values = np.asarray(curve.steps), np.asarray(curve.values)
            if values.ndim != 2 or values.size == 0 or values.shape[1:] != steps.shape:
                raise DataError(
                    f"training curve of {arm!r}: {values.shape} values at {steps.shape} steps",
                    fix="give values as (seeds, points) and steps as (points,)",
                )
            colour = COLOURS[i % len(COLOURS)]
            line = LINES[i % len(LINES)]
            axis.plot(steps, values.mean(axis=0), line, color=colour, label=printable(arm))
            axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, lw=0)
        axis.set_xlabel("update")
        axis.set_ylabel(printable(value_label))
        legend_above(figure, len(curves))
        save(figure, png)
    return png.getvalue()


def confusion_figure(confusion: ArrayLike, class_names: Sequence[str]) -> bytes:
    """Confusion matrix shaded by share of the true class, every cell that has chips annotated k/n.

    Args:
        confusion: counts (C, C), rows truth and columns predictions.
        class_names: C names.

    Raises:
        DataError: for another shape or negative counts.
    """
    counts, n_classes = np.asarray(confusion), len(class_names)
    if counts.shape != (n_classes, n_classes) or not counts.size or (counts < 0).any():
        raise DataError(
            f"confusion figure: found shape {counts.shape} for {n_classes} classes, or negative counts",
            fix="give counts (C, C) and C class names",
        )
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    with canvas(2.2 + 0.55 * n_classes, 1.8 + 0.5 * n_classes) as (figure, png):
        axis = figure.subplots()
        axis.imshow(shares, cmap="Greys", vmin=0, vmax=1, interpolation="none", aspect="auto")
        for row, column in np.argwhere(counts > 0):
            ink = "white" if shares[row, column] > 0.55 else "black"
            note = f"{counts[row, column]:g}/{totals[row]:g}"
            axis.annotate(note, (column, row), color=ink, fontsize=7, ha="center", va="center")
        names = [printable(name) for name in class_names]
        axis.set_xticks(range(n_classes), names, rotation=45, ha="right")
        axis.set_yticks(range(n_classes), names)
        axis.set_xlabel("predicted")
        axis.set_ylabel("true")
        save(figure, png)
    return png.getvalue()


def arms_intervals(arms: Mapping[str, Interval], reference_arm: str) -> bytes:
    """Accuracy of every arm with its interval, the reference arm (real only) as a dashed line.

    Args:
        arms: accuracy as a fraction, top to bottom.
        reference_arm: one of them.

    Raises:
        DataError: where the reference is not among the arms.
    """
    if reference_arm not in arms:
        raise DataError(
            f"arms figure: reference arm {reference_arm!r} is not among {list(arms)}",
            fix="evaluate the reference arm too",
        )
    estimates = 100 * np.array([i.estimate for i in arms.values()])
    lows = 100 * np.array([i.low for i in arms.values()])
    highs = 100 * np.array([i.high for i in arms.values()])
    with canvas(6.0, 1.0 + 0.36 * len(arms)) as (figure, png):
        axis = figure.subplots()
        axis.axvline(100 * arms[reference_arm].estimate, color="0.5", linestyle="--", linewidth=1)
        # Drawn from low to high, since a percentile interval need not hold its estimate.
        axis.hlines(range(len(arms)), lows, highs, color=COLOURS[0], linewidth=2)
        axis.plot(estimates, range(len(arms)), "o", color=COLOURS[0], markersize=5)
        name_rows(axis, list(arms))
        axis.set_xlabel("accuracy (%)")
        axis.grid(axis="x", color="0.9")
        axis.set_axisbelow(True)
        save(figure, png)
    return png.getvalue()


def printable(text: str, max_characters: int = 40) -> str:
    """One short line of text that the figure's own font can draw; anything else becomes U+FFFD."""
    from matplotlib.font_manager import findfont, get_font

    drawable = get_font(findfont("DejaVu Sans")).get_charmap()
    shown = "".join(c if c.isprintable() and ord(c) in drawable else "\ufffd" for c in text)
    return shown if len(shown) <= max_characters else shown[: max_characters - 1] + "…"


@contextmanager
def canvas(width_in: float, height_in: float) -> Iterator[tuple[Figure, BytesIO]]:
    """An empty figure under fixed settings; a reader's own matplotlib settings must not change bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        # A $ in a class name is a dollar sign, not the start of a formula.
        mpl.rcParams["text.parse_math"] = False
        mpl.rcParams["font.family"] = "DejaVu Sans"
        mpl.rcParams["font.size"] = 9
        figure = Figure(figsize=(width_in, height_in), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, BytesIO()


def save(figure: Figure, png: BytesIO) -> None:
    """Write the figure as PNG without a word of who drew it."""
    figure.savefig(png, format="png", metadata={"Software": None})


def name_rows(axis: Axes, names: Sequence[str]) -> None:
    """Rows from top to bottom with a name each."""
    axis.set_yticks(range(len(names)), [printable(name) for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.spines[["top", "right"]].set_visible(False)


def legend_above(figure: Figure, n_entries: int) -> None:
    """One legend over the axes, out of the way of what is drawn."""
    figure.legend(loc="outside upper left", ncols=min(n_entries, 4), frameon=False, fontsize=8)


def _row(values: Sequence[int], n_classes: int, origin: str) -> Sequence[int]:
    if len(values) != n_classes:
        raise DataError(
            f"class counts of {origin!r}: found {len(values)}, expected {n_classes}",
            fix="count every class, with 0 for an absent one",
        )
    return values


def _check_grid(images: Sequence[NDArray[np.uint8]], labels: Sequence[str], n_columns: int) -> None:
    if not images or len(images) != len(labels) or n_columns < 1:
        raise DataError(
            f"chip grid: found {len(images)} images, {len(labels)} labels and {n_columns} columns",
            fix="give at least one image, one label for each and one column or more",
        )
    for label, image in zip(labels, images, strict=True):
        if image.ndim != 2 or image.dtype != np.uint8:
            raise DataError(
                f"chip grid: {label!r} is {image.dtype} {image.shape}, expected 2-D uint8",
                fix="convert with to_uint8_db",
            )
