"""Figures of migration: chips with their measures under them, and losses over updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.io.figures import canvas, printable, save


@dataclass(frozen=True, eq=False)
class Shown:
    """A chip as display levels (rows, cols), uint8, and two of its measures; NaN where it has none."""

    image: NDArray[np.uint8]
    enl: float
    log_psd_distance: float


def grid(rows: Sequence[Sequence[Shown | None]], labels: Sequence[str], columns: Sequence[str]) -> bytes:
    """A row of chips per class, a column per set, each with its ENL and log-PSD distance under it.

    Args:
        rows: one per label, with a chip or None per column.
    """
    with canvas(1.5 * len(columns) + 0.3, 1.75 * len(labels) + 0.3) as (figure, png):
        axes = figure.subplots(len(labels), len(columns), squeeze=False)
        for axis, column in zip(axes[0], columns, strict=True):
            axis.set_title(printable(column), fontsize=8)
        for across, own, label in zip(axes, rows, labels, strict=True):
            for axis, shown in zip(across, own, strict=True):
                axis.set_xticks([])
                axis.set_yticks([])
                if shown is None:
                    axis.set_axis_off()
                    continue
                axis.imshow(shown.image, cmap="gray", vmin=0, vmax=255, interpolation="none")
                axis.set_xlabel(_told(shown), fontsize=7)
            across[0].set_ylabel(printable(label, 16), fontsize=8)
        save(figure, png)
    return png.getvalue()


def losses(curve: pd.DataFrame) -> bytes:
    """A panel per term with a line per set.

    Args:
        curve: ``set, update, term, loss``.
    """
    terms = list(dict.fromkeys(curve["term"]))
    with canvas(7.0, 1.3 * len(terms) + 0.4) as (figure, png):
        axes = figure.subplots(len(terms), 1, sharex=True, squeeze=False)[:, 0]
        for axis, term in zip(axes, terms, strict=True):
            for name, part in curve[curve["term"] == term].groupby("set"):
                axis.plot(part["update"], part["loss"], lw=1, label=str(name))
            axis.set_ylabel(term, fontsize=8)
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].legend(frameon=False, fontsize=7)
        axes[-1].set_xlabel("update")
        save(figure, png)
    return png.getvalue()


def _told(shown: Shown) -> str:
    parts = (f"ENL {shown.enl:.2f}", f"PSD {shown.log_psd_distance:.2f}")
    values = (shown.enl, shown.log_psd_distance)
    return "  ".join("n/a" if math.isnan(value) else text for text, value in zip(parts, values, strict=True))
