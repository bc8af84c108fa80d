"""Physics of sets and accuracy of arms at two revisions, and whether the difference is significant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sarcurate.core.bootstrap import paired_difference
from sarcurate.core.interval_difference import difference_of_intervals, holds_zero
from sarcurate.core.statistics import Interval
from sarcurate.errors import DataError
from sarcurate.io import lineage
from sarcurate.io.revisions.snapshot import Snapshot

# Measures of whole sets in quality.json and generated_quality.json
PHYSICS = ("mmd_physics", "log_psd_distance", "median_enl")
QUALITY = {"quality": "target train", "generated_quality": "source train"}  # and whose chips are "real"
OWN_TEST = "target-test"
PAIRED = "paired bootstrap over test groups and seeds"
COMBINED = "intervals of each revision combined, as if independent"
SAME, NOT_SIGNIFICANT, SIGNIFICANT = "unchanged", "no significant change", "significant change"
CANNOT_TELL = "cannot tell"
_MOST_DRAWS = 10_000  # more would not move the limits by what a reader sees


@dataclass(frozen=True)
class Shift:
    """One number at two revisions.

    Args:
        name: of the set or arm; measure: of it.
        earlier, later: with the intervals that each revision gives; None where it has none.
        difference: later minus earlier; None where it cannot be told.
        comparison: how its interval came about, or why there is none.
        verdict: unchanged, (no) significant change, or cannot tell.
    """

    name: str
    measure: str
    earlier: Interval | None
    later: Interval | None
    difference: Interval | None
    comparison: str
    verdict: str


def physics_shifts(earlier: Snapshot, later: Snapshot) -> list[Shift]:
    """Shifts of MMD, log-PSD distance and median ENL of every set that both or one of them has."""
    found: list[Shift] = []
    for part in QUALITY:
        old, new = (_content(snapshot, part) for snapshot in (earlier, later))
        real = QUALITY[part]
        reasons = _not_comparable(old, new)
        for name in dict.fromkeys([*_sets(new, real), *_sets(old, real)]):
            for measure in PHYSICS:
                a, b = (_interval(_sets(side, real).get(name), measure) for side in (old, new))
                if a or b:
                    found.append(_combined(name, measure, a, b, reasons.get(measure, reasons.get("", ""))))
    return found


def _content(snapshot: Snapshot, part: str) -> Mapping[str, Any]:
    content = snapshot.metrics.get(part)
    return content if isinstance(content, Mapping) else {}


def _sets(content: Mapping[str, Any], real: str) -> dict[str, Any]:
    """Numbers of all sets, the real train chips among them under the name ``real``."""
    found = {real: content["real"]} if isinstance(content.get("real"), Mapping) else {}
    sets = content.get("sets")
    return found | dict(sets if isinstance(sets, Mapping) else {})


def _not_comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Why measures of two revisions do not compare; the key "" stands for all."""
    reasons = {}
    if old and new and old.get("interval_level") != new.get("interval_level"):
        reasons[""] = "intervals are of other levels"
    if old and new and old.get("bandwidth_physics") != new.get("bandwidth_physics"):
        reasons["mmd_physics"] = reasons.get("", "") or "the kernel's bandwidth is another one"
    return reasons


def _interval(numbers: Any, name: str) -> Interval | None:
    """A number with its limits; None where one of the three is missing."""
    if not isinstance(numbers, Mapping):
        return None
    values = [numbers.get(f"{name}{end}") for end in ("", "_low", "_high")]
    if not all(isinstance(value, int | float) for value in values):
        return None
    return Interval(*map(float, values))  # type: ignore[arg-type]


def _combined(name: str, measure: str, a: Interval | None, b: Interval | None, reason: str) -> Shift:
    if a is None or b is None:
        only = "only the later revision has it" if a is None else "only the earlier revision has it"
        return Shift(name, measure, a, b, None, only, CANNOT_TELL)
    if a == b:
        return Shift(name, measure, a, b, Interval(0.0, 0.0, 0.0), "the same numbers", SAME)
    if reason:
        return Shift(name, measure, a, b, None, reason, CANNOT_TELL)
    difference = difference_of_intervals(b, a)
    return Shift(name, measure, a, b, difference, COMBINED, _told(difference))


def _told(difference: Interval) -> str:
    return NOT_SIGNIFICANT if holds_zero(difference) else SIGNIFICANT


def arm_shifts(earlier: Snapshot, later: Snapshot) -> list[Shift]:
    """Shift in accuracy (fraction) of every arm on the target's test chips.

    Paired where the predictions of both revisions can be read and are of the same test chips, from the
    intervals of both otherwise.
    """
    old, new = _content(earlier, "evaluation"), _content(later, "evaluation")
    arms = [_arms(old), _arms(new)]
    reason = (
        "intervals are of other levels"
        if old and new and old.get("interval_level") != new.get("interval_level")
        else ""
    )
    found = []
    for arm in dict.fromkeys([*arms[1], *arms[0]]):
        a, b = (_interval(side.get(arm), "accuracy") for side in arms)
        if a is None and b is None:
            continue
        paired = _paired(earlier, later, arm, a, b) if a and b else None
        found.append(paired or _combined(arm, "accuracy", a, b, reason))
    return found


def _arms(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    arms = evaluation.get("arms")
    return arms if isinstance(arms, Mapping) else {}


def _paired(earlier: Snapshot, later: Snapshot, arm: str, a: Interval, b: Interval) -> Shift | None:
    """The paired comparison of an arm; None where it cannot be made."""
    old, new = _runs(earlier, arm), _runs(later, arm)
    if old is None or new is None or not _same_chips(old, new):
        return None
    if old.equals(new):
        return Shift(arm, "accuracy", a, b, Interval(0.0, 0.0, 0.0), "the same predictions", SAME)
    settings = _content(later, "evaluation"), later.files.book.section("evaluate")
    seeds = [snapshot.files.book.section("dataset").get("root_seed") for snapshot in (earlier, later)]
    truth, groups = new["label"].iloc[0], new["group_id"].iloc[0]
    try:
        drawn = paired_difference(
            truth,
            np.stack(list(new["predicted"])),
            np.stack(list(old["predicted"])),
            groups,
            seeds_paired=seeds[0] == seeds[1] and list(old.index) == list(new.index),
            draws=min(int(settings[1].get("bootstrap_draws") or _MOST_DRAWS), _MOST_DRAWS),
            seed=lineage.seed_from(seeds[1], "bootstrap"),
            level=float(settings[0].get("interval_level") or 0.95),
        )
    except DataError:  # fewer than two groups: one group has no spread to draw from
        return None
    difference = Interval(drawn.estimate, drawn.low, drawn.high)
    if drawn.low == drawn.high:  # every group changed alike, which is no certainty
        return None
    return Shift(arm, "accuracy", a, b, difference, PAIRED, _told(difference))


def _runs(snapshot: Snapshot, arm: str) -> pd.DataFrame | None:
    """One row per seed of an arm: arrays label, group_id, predicted and chip_id, in order of chip_id."""
    if snapshot.runs is None:
        return None
    rows = snapshot.runs
    rows = rows[(rows["test_set"] == OWN_TEST) & (rows["arm"] == arm)].sort_values(["seed", "chip_id"])
    if rows.empty:
        return None
    columns = ("chip_id", "label", "group_id", "predicted")
    by_seed = {
        str(seed): {name: tuple(part[name].astype(str)) for name in columns}
        for seed, part in rows.groupby("seed")
    }
    return pd.DataFrame.from_dict(by_seed, orient="index", columns=list(columns))


def _same_chips(old: pd.DataFrame, new: pd.DataFrame) -> bool:
    """Whether all runs of both were scored on the same chips under the same labels and groups."""
    names = ["chip_id", "label", "group_id"]
    kinds: set[tuple[Any, ...]] = {tuple(row) for table in (old, new) for row in table[names].to_numpy()}
    return len(kinds) == 1
