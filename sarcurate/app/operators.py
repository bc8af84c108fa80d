"""Operators of the App: thin forms over sarcurate.app.judging."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from sarcurate.app import judging
from sarcurate.app.browse import bring_up
from sarcurate.app.pruning import EVERY, Cut, taken
from sarcurate.errors import SarcurateError
from sarcurate.io.collection import NOT_JUDGED
from sarcurate.io.gates import display_name
from sarcurate.io.verdicts import Ruling

Context = Any  # fiftyone.operators.executor.ExecutionContext, which is not typed
SHARE, LIMITS = "share of each class", "limits"


class _Verdict(foo.Operator):
    """A verdict on the selected chips, with a reason."""

    ruling: Ruling
    icon: str

    @property
    def config(self) -> Any:
        name = self.ruling.value
        return foo.OperatorConfig(name=name, label=f"SAR: {name} the selected chips", icon=self.icon)

    def resolve_placement(self, ctx: Context) -> Any:
        button = types.Button(label=f"{self.ruling.value} selected", icon=self.icon, prompt=True)
        return types.Placement(types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, button)

    def resolve_input(self, ctx: Context) -> Any:
        form = types.Object()
        count = len(ctx.selected)
        if not count:
            form.view("nothing", types.Warning(label="No chip is selected: nothing will be done"))
        form.str("reason", label="Reason", description="goes into data/verdicts.csv", default="")
        if self.ruling is Ruling.RELABEL:
            classes = list(judging.place().params.dataset.classes)
            form.enum("new_label", classes, label="New class", required=True)
        return types.Property(form, view=types.View(label=f"{self.ruling.value}: {count} chips"))

    def execute(self, ctx: Context) -> dict[str, Any]:
        return _given(ctx, ctx.selected, self.ruling)

    def resolve_output(self, ctx: Context) -> Any:
        return _line_output()


class Keep(_Verdict):
    """Keep, whatever the gates say."""

    ruling, icon = Ruling.KEEP, "check_circle"


class Reject(_Verdict):
    """Reject, whatever the gates say."""

    ruling, icon = Ruling.REJECT, "delete"


class Unsure(_Verdict):
    """Looked at, and no decision."""

    ruling, icon = Ruling.UNSURE, "help"


class Relabel(_Verdict):
    """Another class."""

    ruling, icon = Ruling.RELABEL, "label"


class Judge(foo.Operator):
    """A verdict by key or by the panel's buttons: on the open chip, or on the selected ones."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(name="judge", label="SAR: verdict by key", unlisted=True)

    def execute(self, ctx: Context) -> dict[str, Any]:
        is_open = ctx.params.get("open") and ctx.current_sample
        ids = [ctx.current_sample] if is_open else ctx.selected
        return _given(ctx, ids, Ruling(ctx.params["verdict"]), reload=not is_open)


class _Prune(foo.Operator):
    """Reject by one measure: limits, or a share of each class."""

    measure: str
    name: str

    @property
    def config(self) -> Any:
        label = f"SAR: prune by {display_name(self.measure)}"
        return foo.OperatorConfig(name=self.name, label=label, dynamic=True, icon="content_cut")

    def resolve_input(self, ctx: Context) -> Any:
        form = types.Object()
        sets = [name for name in ctx.dataset.distinct("set") if name not in NOT_JUDGED]
        classes = list(judging.place().params.dataset.classes)
        form.enum("set", [EVERY, *sets], label="Set", default=EVERY, required=True)
        form.enum("label", [EVERY, *classes], label="Class", default=EVERY, required=True)
        form.enum("by", [SHARE, LIMITS], label="Cut by", default=SHARE, required=True)
        if ctx.params.get("by", SHARE) == SHARE:
            form.float("lowest_percent", label="lowest, % of each set and class", default=0.0)
            form.float("highest_percent", label="highest, % of each set and class", default=0.0)
        else:
            form.float("low", label=f"reject {display_name(self.measure)} below")
            form.float("high", label=f"reject {display_name(self.measure)} above")
        self._count(ctx, form)
        return types.Property(form, view=types.View(label=f"Prune by {display_name(self.measure)}"))

    def execute(self, ctx: Context) -> dict[str, Any]:
        try:
            given = judging.prune(ctx.dataset, self._cut(ctx))
        except SarcurateError as error:
            return _refused(ctx, error)
        return _told(ctx, given.line(_waiting()) if given.ruled else "no chip lies beyond: nothing was done")

    def resolve_output(self, ctx: Context) -> Any:
        return _line_output()

    def _cut(self, ctx: Context) -> Cut:
        said = ctx.params
        where = (self.measure, said.get("set", EVERY), said.get("label", EVERY))
        if said.get("by", SHARE) == LIMITS:
            return Cut(*where, low=said.get("low"), high=said.get("high"))
        lowest, highest = (float(said.get(name) or 0) for name in ("lowest_percent", "highest_percent"))
        return Cut(*where, lowest_percent=lowest, highest_percent=highest)

    def _count(self, ctx: Context, form: Any) -> None:
        """The live count."""
        try:
            chips = judging.judged_chips(ctx.dataset, self.measure)
            count = int(taken(chips, self._cut(ctx)).sum())
            form.view("count", types.Notice(label=f"{count} of {len(chips)} chips will be rejected"))
        except SarcurateError as error:
            form.view("count", types.Error(label=str(error)))


class PruneEnl(_Prune):
    """By the equivalent number of looks."""

    measure, name = "enl", "prune_enl"


class PruneSpectrum(_Prune):
    """By the distance of log power spectra."""

    measure, name = "log_psd_distance", "prune_spectrum"


class Undo(foo.Operator):
    """Take back the verdicts that were given last."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(name="undo", label="SAR: undo the last verdicts", icon="undo")

    def execute(self, ctx: Context) -> dict[str, Any]:
        try:
            gone = judging.undo(ctx.dataset)
        except SarcurateError as error:
            return _refused(ctx, error)
        text = (
            f"{len(gone)} verdicts taken back, {_waiting()} wait to be saved" if gone else "nothing to undo"
        )
        return _told(ctx, text)


class Save(foo.Operator):
    """Append what waits to data/verdicts.csv."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(name="save", label="SAR: save verdicts", dynamic=True, icon="save")

    def resolve_placement(self, ctx: Context) -> Any:
        button = types.Button(label="Save verdicts", icon="save", prompt=True)
        return types.Placement(types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, button)

    def resolve_input(self, ctx: Context) -> Any:
        form = types.Object()
        for number, line in enumerate(judging.difference(ctx.dataset)):
            form.view(f"line_{number}", types.Notice(label=line))
        tags = _tags(ctx, form)
        if tags:
            label = f"also take {tags} chips tagged {', '.join(judging.APP_TAGS)} by the App's own button"
            form.bool("take_tags", label=label, default=False)
        form.bool("force", label="save even where many chips are newly rejected", default=False)
        return types.Property(form, view=types.View(label="Save verdicts to data/verdicts.csv"))

    def execute(self, ctx: Context) -> dict[str, Any]:
        try:
            if ctx.params.get("take_tags"):
                judging.take_tags(ctx.dataset)
            saved = judging.save(ctx.dataset, force=bool(ctx.params.get("force")))
        except SarcurateError as error:
            return _refused(ctx, error)
        return _told(ctx, saved.line() + "; now `dvc repro` makes a new selection")

    def resolve_output(self, ctx: Context) -> Any:
        return _line_output()


class Refresh(foo.Operator):
    """Bring the App up to the workspace's files, as after `dvc repro`."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(name="refresh", label="SAR: refresh from the workspace", icon="refresh")

    def execute(self, ctx: Context) -> dict[str, Any]:
        lines: list[str] = []
        try:
            bring_up(judging.place(), lines.append)
        except SarcurateError as error:
            return _refused(ctx, error)
        ctx.ops.reload_dataset()
        return _told(ctx, " ".join(lines))

    def resolve_output(self, ctx: Context) -> Any:
        return _line_output()


OPERATORS = (Judge, Keep, Reject, Unsure, Relabel, PruneEnl, PruneSpectrum, Undo, Save, Refresh)


def _given(ctx: Context, ids: list[str], ruling: Ruling, reload: bool = True) -> dict[str, Any]:
    said = ctx.params
    try:
        given = judging.give(ctx.dataset, ids, ruling, said.get("reason") or "", said.get("new_label") or "")
    except SarcurateError as error:
        return _refused(ctx, error)
    return _told(ctx, given.line(_waiting()), reload)


def _tags(ctx: Context, form: Any) -> int:
    """Chips that were tagged with the App's own button; 0 where their tags contradict each other."""
    try:
        return len(judging.tagged(ctx.dataset))
    except SarcurateError as error:
        form.view("torn", types.Warning(label=str(error)))
        return 0


def _waiting() -> int:
    return len(judging.place().journal.ruled())


def _told(ctx: Context, line: str, reload: bool = True) -> dict[str, Any]:
    if reload:
        ctx.ops.clear_selected_samples()  # so that the next verdict is not on the same chips
        ctx.ops.reload_samples()
    ctx.ops.notify(line, variant="info")
    return {"line": line}


def _refused(ctx: Context, error: SarcurateError) -> dict[str, Any]:
    ctx.ops.notify(str(error), variant="error")
    return {"line": f"refused: {error}"}


def _line_output() -> Any:
    out = types.Object()
    out.str("line", label="Result")
    return types.Property(out)
