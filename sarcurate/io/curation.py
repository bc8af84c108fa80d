"""Curation: scores, gates, people's verdicts and quotas to a Selection, with the funnel that led there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sarcurate.errors import DataError, ParamsError
from sarcurate.io.gates import Gate, ReferenceLimits, display_name, judge
from sarcurate.io.selection import Choice, Selection, make_selection
from sarcurate.io.verdicts import Ruling, Standing, Verdicts, name_chips, resolve

# Medians of the kept chips' measures are metrics, so that a verdict shows what it did to a set's physics.
PHYSICS = ("enl", "log_psd_distance", "physics_distance")
NEEDED = ("set", "chip_id", "pixels_sha256", "label", "reasons")


@dataclass(frozen=True, eq=False)
class Curated:
    """What curation decided.

    Args:
        selection: every chip's fate.
        funnel: rows ``set``, ``step`` (made, the gates' measures, verdicts, quota, kept), ``remaining`` chips
            after the step, and how many it ``removed`` and ``restored``.
        kept_per_class: count of kept chips by set and class, 0 included.
        metrics: flat numbers for metrics/curation.json.
        standing: what the verdicts meant.
    """

    selection: Selection
    funnel: tuple[dict[str, str | int], ...]
    kept_per_class: dict[str, dict[str, int]]
    metrics: dict[str, str | int | float]
    standing: Standing


def curate(
    scores: pd.DataFrame,
    gates: Sequence[Gate],
    limits: Mapping[str, ReferenceLimits],
    verdicts: Verdicts,
    classes: Sequence[str],
    max_per_class: int | None,
) -> Curated:
    """Keep the chips that pass every gate, the verdicts and the quota.

    A person's keep overrides gates, not the quota; a reject and a dispute override passed gates; a relabel
    changes the label alone. The quota of a set and class takes chips in the order of ``chip_id``: a hash,
    hence a draw without preference. The order of the rows does not matter.

    Args:
        scores: one row per made chip: ``set, chip_id, pixels_sha256, label``, a column per measure,
            ``reasons``.
        gates: in the order of the funnel, one per measure.
        limits: the reference's, by measure, for gates without their own.
        verdicts: of data/verdicts.csv.
        classes: the labels there may be.
        max_per_class: chips kept at most per set and class; None for all.

    Raises:
        DataError: for a table that is inconsistent, a verdict on a chip that is in no set, and a relabel
            to what is no class.
        ParamsError: for a gate that cannot be applied; for a quota under 1.
    """
    if max_per_class is not None and max_per_class < 1:
        raise ParamsError(f"a quota of {max_per_class} chips per class", fix="give 1 or more, or null")
    table = _checked(scores, classes)
    standing = resolve(verdicts, dict(zip(table["chip_id"], table["pixels_sha256"], strict=True)))
    _check_labels(standing, classes)
    objections = judge(table, gates, limits)
    fates = _fates(table, objections, standing, max_per_class)
    choices = zip(fates["chip_id"], fates["kept"], fates["label"], fates["reason"], strict=True)
    selection = make_selection(Choice(chip_id, bool(kept), *said) for chip_id, kept, *said in choices)
    of_sets = [(str(name), rows) for name, rows in fates.groupby("set")]
    kept_per_class = {name: _kept_per_class(rows, classes) for name, rows in of_sets}
    metrics = _metrics(fates, objections, standing) | {"selection_revision": selection.revision}
    for name, rows in of_sets:
        metrics |= _set_metrics(name, rows, kept_per_class[name])
        metrics |= _physics_metrics(name, table.loc[rows.index[rows["kept"]]])
    funnel = tuple(row for name, rows in of_sets for row in _funnel(name, rows, list(objections)))
    return Curated(selection, funnel, kept_per_class, metrics, standing)


def funnel_lines(curated: Curated) -> list[str]:
    """The funnel of every set, kept chips per class, and what people should look at, for a terminal."""
    lines: list[str] = []
    for row in curated.funnel:
        if row["step"] == "made":
            lines.append(f"{row['set']}:")
        changes = [f"{sign}{row[key]}" for sign, key in (("-", "removed"), ("+", "restored")) if row[key]]
        name = display_name(str(row["step"]))
        lines.append(f"  {name:<36} {row['remaining']:>7}  {' '.join(changes)}".rstrip())
        if row["step"] == "kept":
            of_class = curated.kept_per_class[str(row["set"])]
            lines.append("    " + ", ".join(f"{label} {count}" for label, count in of_class.items()))
    return lines + _verdict_lines(curated.standing)


def funnel_of(curated: Curated) -> dict[str, dict[str, int]]:
    """Chips that remain, by set and step in their order: the funnel as metrics/curation.json holds it."""
    found: dict[str, dict[str, int]] = {}
    for row in curated.funnel:
        found.setdefault(str(row["set"]), {})[str(row["step"])] = int(row["remaining"])
    return found


def _verdict_lines(standing: Standing) -> list[str]:
    groups = (
        ("disputed, rejected until resolved", standing.disputed),
        ("reviewers unsure, nothing changed", standing.unsure),
        ("verdicts on other pixels than today's, look again", standing.stale),
    )
    return [f"{meaning}: {len(chips)} ({name_chips(chips)})" for meaning, chips in groups if chips]


def _checked(scores: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The table in the order of set and chip, every chip in it once and of a known class."""
    lacking = [name for name in NEEDED if name not in scores]
    if lacking:
        raise DataError(f"the scores have no column {', '.join(lacking)}", fix="rebuild them: `dvc repro`")
    twice = scores["chip_id"][scores["chip_id"].duplicated()]
    if len(twice):
        raise DataError(
            f"scores of chip {twice.iloc[0]} stand twice, expected one row per chip",
            fix="rebuild them: `dvc repro`",
        )
    odd = scores[~scores["label"].isin(classes)]
    if len(odd):
        raise DataError(
            f"chip {odd['chip_id'].iloc[0]} is of class {odd['label'].iloc[0]}, "
            f"expected one of {', '.join(classes)}",
            fix="name the class in dataset.classes, or rebuild the scores: `dvc repro`",
        )
    return scores.sort_values(["set", "chip_id"], ignore_index=True)


def _check_labels(standing: Standing, classes: Sequence[str]) -> None:
    for rows in (*standing.agreed.values(), *standing.disputed.values()):
        for row in rows:
            if row.ruling is Ruling.RELABEL and row.new_label not in classes:
                raise DataError(
                    f"{row.where}, column new_label: found {row.new_label!r}, "
                    f"expected one of {', '.join(classes)}",
                    fix="append a verdict of the same reviewer on this chip with a label of dataset.classes",
                )


def _fates(
    table: pd.DataFrame, objections: Mapping[str, list[str]], standing: Standing, max_per_class: int | None
) -> pd.DataFrame:
    """One row per chip: what spoke for and against it, and ``kept``, ``label`` and ``reason``."""
    count = len(table)
    fates = table[["set", "chip_id"]].assign(
        label=[_label(standing, *chip) for chip in zip(table["chip_id"], table["label"], strict=True)],
        broken=[_joined(said) for said in zip(*objections.values(), strict=True)] or [""] * count,
        first=_first_broken(objections, count),
        against=[_against(standing, chip_id) for chip_id in table["chip_id"]],
        human_keep=[_agreed(standing, chip_id) is Ruling.KEEP for chip_id in table["chip_id"]],
    )
    fates["stands"] = fates["human_keep"] | ((fates["broken"] == "") & (fates["against"] == ""))
    fates["over_quota"] = _over_quota(fates, max_per_class)
    fates["kept"] = fates["stands"] & ~fates["over_quota"]
    full = f"quota of {max_per_class} per class is full"
    fates["reason"] = [
        _joined(("" if human else gates, people, full if over else ""))
        for gates, people, human, over in zip(
            fates["broken"], fates["against"], fates["human_keep"], fates["over_quota"], strict=True
        )
    ]
    return fates


def _joined(sentences: Iterable[str]) -> str:
    return "; ".join(filter(None, sentences))


def _first_broken(objections: Mapping[str, list[str]], count: int) -> list[str]:
    """Per chip the first gate that it breaks; empty where it breaks none."""
    first = [""] * count
    for name, said in objections.items():
        first = [known or (name if why else "") for known, why in zip(first, said, strict=True)]
    return first


def _agreed(standing: Standing, chip_id: str) -> Ruling | None:
    rows = standing.agreed.get(chip_id)
    return rows[0].ruling if rows else None


def _label(standing: Standing, chip_id: str, label: str) -> str:
    return standing.agreed[chip_id][0].new_label if _agreed(standing, chip_id) is Ruling.RELABEL else label


def _against(standing: Standing, chip_id: str) -> str:
    """What people say against a chip; empty where they do not."""
    if chip_id in standing.disputed:
        rows = standing.disputed[chip_id]
        said = ", ".join(f"{row.reviewer} says {row.ruling} {row.new_label}".rstrip() for row in rows)
        return f"disputed, rejected until resolved: {said}"
    if _agreed(standing, chip_id) is not Ruling.REJECT:
        return ""
    return _joined(
        f"rejected by {row.reviewer}: {row.reason}" if row.reason else f"rejected by {row.reviewer}"
        for row in standing.agreed[chip_id]
    )


def _over_quota(fates: pd.DataFrame, max_per_class: int | None) -> pd.Series:
    """Chips that stand, but come after so many others of their set and class."""
    if max_per_class is None:
        return pd.Series(False, index=fates.index)
    rank = fates[fates["stands"]].groupby(["set", "label"]).cumcount()
    return (rank >= max_per_class).reindex(fates.index, fill_value=False)


def _funnel(name: str, rows: pd.DataFrame, gates: Sequence[str]) -> list[dict[str, str | int]]:
    passed = rows["broken"] == ""
    steps = [(gate, int((rows["first"] == gate).sum()), 0) for gate in gates]
    removed, restored = int((passed & ~rows["stands"]).sum()), int((~passed & rows["stands"]).sum())
    steps += [("verdicts", removed, restored), ("quota", int(rows["over_quota"].sum()), 0), ("kept", 0, 0)]
    remaining = len(rows)
    said: list[dict[str, str | int]] = [_step(name, "made", remaining, 0, 0)]
    for step, removed, restored in steps:
        remaining += restored - removed
        said.append(_step(name, step, remaining, removed, restored))
    return said


def _step(name: str, step: str, remaining: int, removed: int, restored: int) -> dict[str, str | int]:
    return {"set": name, "step": step, "remaining": remaining, "removed": removed, "restored": restored}


def _kept_per_class(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, int]:
    labels = rows["label"][rows["kept"]]
    return {label: int((labels == label).sum()) for label in classes}


def _metrics(
    fates: pd.DataFrame, objections: Mapping[str, list[str]], standing: Standing
) -> dict[str, str | int | float]:
    """Counts over all sets; of a gate's chips also those that no earlier (``first``), no other gate takes."""
    found: dict[str, str | int | float] = {"n_made": len(fates), "n_kept": int(fates["kept"].sum())}
    broken = np.array([[bool(why) for why in said] for said in objections.values()], dtype=bool)
    broken = broken.reshape(len(objections), len(fates))
    alone = broken.sum(axis=0) == 1
    for name, fails in zip(objections, broken, strict=True):
        found[f"rejected_by.{name}"] = int(fails.sum())
        found[f"rejected_first_by.{name}"] = int((fates["first"] == name).sum())
        found[f"rejected_only_by.{name}"] = int((fails & alone).sum())
    rulings = [rows[0].ruling for rows in standing.agreed.values()]
    return found | {
        "n_rejected_by_people": rulings.count(Ruling.REJECT),
        "n_kept_by_people": rulings.count(Ruling.KEEP),
        "n_relabelled": rulings.count(Ruling.RELABEL),
        "n_restored_by_people": int((fates["stands"] & (fates["broken"] != "")).sum()),
        "n_over_quota": int(fates["over_quota"].sum()),
        "n_disputed": len(standing.disputed),
        "n_unsure": len(standing.unsure),
        "n_stale_verdicts": sum(map(len, standing.stale.values())),
    }


def _set_metrics(name: str, rows: pd.DataFrame, of_class: Mapping[str, int]) -> dict[str, int | float]:
    found: dict[str, int | float] = {
        f"n_made.{name}": len(rows),
        f"n_kept.{name}": int(rows["kept"].sum()),
        f"kept_fraction.{name}": float(rows["kept"].mean()),
    }
    return found | {f"n_kept_of_class.{name}.{label}": count for label, count in of_class.items()}


def _physics_metrics(name: str, kept: pd.DataFrame) -> dict[str, float]:
    """Medians over the kept chips of a set, of the measures that some of them have."""
    medians = {measure: kept[measure].median() for measure in PHYSICS if measure in kept}
    return {
        f"median_{measure}_of_kept.{name}": float(value)
        for measure, value in medians.items()
        if not pd.isna(value)
    }
