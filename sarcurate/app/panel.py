"""The App's panel: funnel, ENL and spectrum of the view against real chips, progress, and buttons."""

from __future__ import annotations

import json
from typing import Any

import fiftyone.operators as foo
import numpy as np
import pandas as pd
from fiftyone.operators import types

from sarcurate.app import fields, judging, panel_data
from sarcurate.core.scorecard_columns import RING_COLUMNS
from sarcurate.errors import SarcurateError
from sarcurate.io.collection import TARGET
from sarcurate.io.gates import bounds
from sarcurate.io.reference import open_reference
from sarcurate.io.verdicts import Ruling

Context = Any
BUTTONS = (Ruling.KEEP, Ruling.REJECT, Ruling.UNSURE)
KEYS_HELP = "Keys: **k** keep, **d** reject, **u** unsure, **b** undo, on the open chip or the selected ones."


class Curation(foo.Panel):
    """Beside the grid."""

    @property
    def config(self) -> Any:
        return foo.PanelConfig(name="curation", label="SAR curation", icon="fact_check", surfaces="grid")

    def on_load(self, ctx: Context) -> None:
        self._fill(ctx)

    def on_change_view(self, ctx: Context) -> None:
        self._fill(ctx)

    def on_change_selected(self, ctx: Context) -> None:
        ctx.panel.set_state("selected", _selected(ctx))

    def keep(self, ctx: Context) -> None:
        self._give(ctx, Ruling.KEEP)

    def reject(self, ctx: Context) -> None:
        self._give(ctx, Ruling.REJECT)

    def unsure(self, ctx: Context) -> None:
        self._give(ctx, Ruling.UNSURE)

    def undo(self, ctx: Context) -> None:
        gone = judging.undo(ctx.dataset)
        ctx.ops.notify(f"{len(gone)} verdicts taken back", variant="info")
        self._changed(ctx)

    def save(self, ctx: Context) -> None:
        ctx.prompt("@sarcurate/curate/save", on_success=self.on_load)

    def refill(self, ctx: Context) -> None:
        self._fill(ctx)

    def render(self, ctx: Context) -> Any:
        panel = types.Object()
        panel.md(ctx.panel.get_state("selected", _selected(ctx)), name="selected_text")
        row = panel.h_stack("rulings", gap=1)
        for ruling in BUTTONS:
            row.btn(ruling.value, label=f"{ruling.value} selected", on_click=getattr(self, ruling.value))
        row = panel.h_stack("steps", gap=1)
        row.btn("undo", label="undo", on_click=self.undo)
        row.btn("save", label="save verdicts", on_click=self.save)
        row.btn("refill", label="refresh numbers", on_click=self.refill)
        panel.md(KEYS_HELP, name="keys_help")
        panel.md(ctx.panel.get_state("progress", ""), name="progress_text")
        panel.plot("enl", layout=_layout("ENL", "chips, %", ctx.panel.get_state("enl_limits", [])))
        panel.plot("spectrum", layout=_layout("cycles/px", "ln power of contrast, nepers", []))
        panel.md(ctx.panel.get_state("funnel", ""), name="funnel_text")
        return types.Property(panel, view=types.GridView(orientation="vertical", gap=2))

    def _give(self, ctx: Context, ruling: Ruling) -> None:
        try:
            given = judging.give(ctx.dataset, ctx.selected, ruling)
            ctx.ops.notify(given.line(len(judging.place().journal.ruled())), variant="info")
        except SarcurateError as error:
            ctx.ops.notify(str(error), variant="error")
        self._changed(ctx)

    def _changed(self, ctx: Context) -> None:
        ctx.ops.clear_selected_samples()
        ctx.ops.reload_samples()
        self._fill(ctx)

    def _fill(self, ctx: Context) -> None:
        place = judging.place()
        shown = _table(ctx.view.match({"judged": True}))
        real = _table(ctx.dataset.match({"set": TARGET}))
        whole = _table(ctx.dataset.match({"judged": True}))
        gates = [gate for gate in place.gates if gate.measure == "enl"]
        limits = open_reference(place.layout.reference).limits
        shapes = panel_data.limit_shapes(bounds(gates[0], limits)) if gates else []
        told = place.root / "metrics/curation.json"
        funnel = json.loads(told.read_text(encoding="utf-8"))["funnel"] if told.is_file() else {}
        ctx.panel.set_state("selected", _selected(ctx))
        ctx.panel.set_state("enl_limits", shapes)
        ctx.panel.set_state("progress", panel_data.progress_table(whole, place.params.dataset.classes))
        ctx.panel.set_state("funnel", panel_data.funnel_table(funnel))
        ctx.panel.set_data("enl", panel_data.enl_traces(list(shown["enl"]), list(real["enl"])))
        ctx.panel.set_data("spectrum", panel_data.spectrum_traces(_rings(shown), _rings(real)))


def _selected(ctx: Context) -> str:
    count = len(ctx.selected)
    return f"**{count}** selected" if count else "nothing selected: buttons will do nothing"


def _table(view: Any) -> pd.DataFrame:
    names = ["label", "verdict", "kept", fields.PENDING, "enl", *RING_COLUMNS]
    return pd.DataFrame(dict(zip(names, view.values(names), strict=True)))


def _rings(table: pd.DataFrame) -> np.ndarray[Any, Any]:
    return table[list(RING_COLUMNS)].astype(float).to_numpy()


def _layout(x: str, y: str, shapes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
        "barmode": "overlay",
        "height": 260,
        "margin": {"t": 36, "b": 40, "l": 60, "r": 10},
        "showlegend": True,
        "legend": {"orientation": "h", "y": 1.15},
        "shapes": shapes,
    }
