"""Figures of an adapter's training: its losses, and its previews with what they measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.display import to_uint8_db
from sarcurate.io.figures import canvas, printable, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMOOTHED = 20  # updates in the running mean of the training loss
_SHOWN_STEPS = 6
_CAPTION_IN = 0.2  # left free under the last row


@dataclass(frozen=True)
class Told:
    """What is written under one validation's previews; None where no preview has the measure."""

    step: int
    enl: float | None
    log_psd_distance: float | None
    recognised: int
    shown: int


def curves(table: pd.DataFrame) -> bytes:
    """Losses over updates; below them the previews' ENL, spectrum and nearness to train chips.

    Args:
        table: columns ``step, loss, validation_loss, preview_enl, log_psd_distance, memorisation_ratio``.
    """
    with canvas(7.0, 6.0) as (figure, png):
        axes = figure.subplots(4, 1, sharex=True, height_ratios=(2.2, 1, 1, 1))
        smooth = table["loss"].rolling(_SMOOTHED, min_periods=1).mean()
        axes[0].plot(table["step"], smooth, color="0.6", lw=1, label=f"train, mean of {_SMOOTHED} updates")
        _points(axes[0], table, "validation_loss", "held back, fixed noise")
        axes[0].set_ylabel("loss")
        axes[0].legend(frameon=False, fontsize=7)
        for axis, (column, label) in zip(
            axes[1:],
            (
                ("preview_enl", "ENL"),
                ("log_psd_distance", "log-PSD\ndistance"),
                ("memorisation_ratio", "nearest\ntrain chip"),
            ),
            strict=True,
        ):
            _points(axis, table, column, "")
            axis.set_ylabel(label, fontsize=7)
        axes[-1].set_xlabel("update")
        for axis in axes:
            axis.spines[["top", "right"]].set_visible(False)
        save(figure, png)
    return png.getvalue()


def previews(
    shown: Sequence[tuple[Told, NDArray[np.float32]]],
    labels: Sequence[str],
    display_db: tuple[float, float],
) -> bytes:
    """A row of chips per validation, first and last included, with ENL and spectrum at its head.

    Args:
        shown: what each validation measured, and its chips (n, rows, cols), linear intensity.
        labels: n classes.
        display_db: window of the pictures.
    """
    places = np.unique(np.linspace(0, len(shown) - 1, min(_SHOWN_STEPS, len(shown))).round().astype(int))
    with canvas(1.3 * len(labels), 1.5 * len(places)) as (figure, png):
        axes = figure.subplots(len(places), len(labels), squeeze=False)
        for row, place in enumerate(places):
            told, images = shown[place]
            for axis, label, image in zip(axes[row], labels, images, strict=True):
                axis.imshow(
                    to_uint8_db(image, *display_db), cmap="gray", vmin=0, vmax=255, interpolation="none"
                )
                axis.set_axis_off()
                if row == 0:
                    axis.set_title(printable(label, 16), fontsize=7)
            line = axes[row][0].text(
                0.0, -0.06, _told(told), transform=axes[row][0].transAxes, fontsize=6, va="top"
            )
            line.set_in_layout(False)  # it runs on under the row's other chips
        share = _CAPTION_IN / figure.get_size_inches()[1]
        figure.get_layout_engine().set(rect=(0, share, 1, 1 - share))  # type: ignore[union-attr, call-arg]
        save(figure, png)
    return png.getvalue()


def _points(axis: Axes, table: pd.DataFrame, column: str, label: str) -> None:
    found = table[table[column].notna()]
    axis.plot(found["step"], found[column], "o-", ms=3, lw=1, label=label or None)


def _told(row: Told) -> str:
    enl = "n/a" if row.enl is None else f"{row.enl:.2f}"
    spectrum = "n/a" if row.log_psd_distance is None else f"{row.log_psd_distance:.2f}"
    seen = f"class seen {row.recognised} of {row.shown}"
    return f"update {row.step}: ENL {enl}, log-PSD distance {spectrum}, {seen}"
