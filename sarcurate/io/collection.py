"""Everything known of every chip, real and made, as one table to look at: scores, gates, verdicts, kin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scorecard import VECTOR
from sarcurate.errors import DataError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.gates import Bound, Gate, bounds, judge
from sarcurate.io.reference import Reference, open_reference
from sarcurate.io.safe import sha256_file
from sarcurate.io.score_table import SET, measure_names, read_scores
from sarcurate.io.selection import read_selection
from sarcurate.io.verdicts import Standing, Verdict, name_chips, read_verdicts, resolve

SOURCE, TARGET, GENERATED = "source", "target", "generated"
NOT_JUDGED = (SOURCE, TARGET, GENERATED)  # sets that curate does not choose from
RESTORE = "restore it with `dvc checkout`, or rebuild it with `dvc repro`"
_OF_CHIP = ("origin", "group_id", "scene_id", "prompt", "adapter_sha256", "licence")


@dataclass(frozen=True)
class Layout:
    """Where a workspace keeps what is looked at."""

    data: Path

    @property
    def scores(self) -> Path:  # noqa: D102
        return self.data / "scores.parquet"

    @property
    def selection(self) -> Path:  # noqa: D102
        return self.data / "selection.parquet"

    @property
    def verdicts(self) -> Path:  # noqa: D102
        return self.data / "verdicts.csv"

    @property
    def reference(self) -> Path:  # noqa: D102
        return self.data / "reference" / TARGET

    def chips(self, name: str) -> Path:
        """Folder of a set: train chips of a sensor, generated, migrated or translated ones."""
        if name in (SOURCE, TARGET):
            return self.data / "real" / f"{name}-train"
        plain = self.data / name
        return plain if plain.is_dir() else self.data / "translated" / name


@dataclass(frozen=True, eq=False)
class Collection:
    """Chips to look at.

    Args:
        chips: one row per chip, sorted by set and chip_id: ``chip_id, pixels_sha256, set, label, origin,
            group_id, scene_id, prompt, adapter_sha256, licence``; ``file, preview`` absolute paths;
            ``content, style, peer`` chip ids ("" for none) of what it was made of, whose style it took and a
            real target chip of its class; ``judged`` whether curate chooses; ``kept, reason, new_label`` of
            the Selection; ``failed`` (tuple of measures) and ``sentences`` (one per failed gate);
            ``closest_gate, gate_margin``: the gate that decides, which the chip breaks most or passes least,
            and how far inside (+) or outside (-) its nearer limit it is in standard deviations of real chips,
            NaN where a missing value decides; ``nearest_in_set``: distance to the nearest chip of its set;
            ``enl_rank``: rank of ENL within set and class, 0 to 1;
            ``verdict`` (keep | reject | relabel | unsure | disputed | stale | none)
            and ``said``, who said what; then the measures.
        measures: names of the measures' columns.
        ends: lower and upper bound of every gate, by measure.
        windows_db: display window of each set; radiometries: what its pixels are.
        classes: all labels.
        revision: hash of all files that were read.
    """

    chips: pd.DataFrame
    measures: tuple[str, ...]
    ends: Mapping[str, tuple[Bound | None, Bound | None]]
    windows_db: Mapping[str, tuple[float, float]]
    radiometries: Mapping[str, Radiometry]
    reference: Reference
    classes: tuple[str, ...]
    revision: str

    @property
    def known(self) -> dict[str, str]:
        """``pixels_sha256`` by chip_id of the chips that verdicts may be given on."""
        judged = self.chips[self.chips["judged"]]
        return dict(zip(judged["chip_id"], judged["pixels_sha256"], strict=True))


def collect(layout: Layout, gates: Sequence[Gate], classes: Sequence[str]) -> Collection:
    """Read a workspace's train chips, made chips and all that was found out about them.

    Test chips are not among them: who prunes must not see them.

    Raises:
        DataError: where a file is missing or broken, or files are not of one run.
    """
    reference = open_reference(layout.reference)
    scores = _all_scores(layout, reference)
    sets = {str(name): open_chipset(layout.chips(str(name)), ("train",)) for name in scores[SET].unique()}
    table = pd.concat([_of_set(name, sets[name], scores) for name in sorted(sets)], ignore_index=True)
    measures = tuple(measure_names(scores))
    ends = {gate.measure: bounds(gate, reference.limits) for gate in gates}
    table["judged"] = ~table["set"].isin(NOT_JUDGED)
    table = _with_kin(table, sets[TARGET])
    table = _with_gates(table, gates, ends, reference)
    table = _with_selection(table, layout.selection)
    table = _with_verdicts(table, layout.verdicts)
    table["nearest_in_set"] = _nearest(table, reference)
    table["enl_rank"] = _ranks(table, "enl")
    return Collection(
        chips=table,
        measures=measures,
        ends=ends,
        windows_db={name: chips.header.display_db for name, chips in sets.items()},
        radiometries={name: chips.header.radiometry for name, chips in sets.items()},
        reference=reference,
        classes=tuple(classes),
        revision=revision(layout, gates),
    )


def revision(layout: Layout, gates: Sequence[Gate]) -> str:
    """Hash of the files that :func:`collect` reads, without reading a chip."""
    files = [layout.scores, layout.selection, layout.verdicts, layout.reference / "reference.json"]
    files += [layout.data / f"{name}_scores.parquet" for name in (SOURCE, GENERATED)]
    headers = sorted(layout.data.glob("*/chipset.json")) + sorted(layout.data.glob("*/*/chipset.json"))
    told = [[str(path), sha256_file(path)] for path in (*files, *headers) if path.is_file()]
    return lineage.sha256_text(lineage.canonical_json([told, [vars(gate) for gate in gates]]))


def _all_scores(layout: Layout, reference: Reference) -> pd.DataFrame:
    """Scores of made, generated, source and target chips under each other; gaps where a set has no such."""
    made = read_scores(layout.scores)
    others = [read_scores(layout.data / f"{name}_scores.parquet") for name in (SOURCE, GENERATED)]
    real = reference.train_scores.assign(**{SET: TARGET})
    whole = pd.concat([made, *others, real], ignore_index=True)
    return whole[list(made.columns)]


def _of_set(name: str, chips: ChipSet, scores: pd.DataFrame) -> pd.DataFrame:
    """Manifest facts and scores of one set, where they are of the same chips."""
    own = scores[scores[SET] == name].set_index("chip_id")
    rows = chips.manifest.set_index("chip_id")
    if set(own.index) != set(rows.index):
        raise DataError(
            f"{chips.root} has {len(rows)} chips, its scores {len(own)}, and not of the same ids",
            fix="rebuild the scores with `dvc repro score`",
        )
    own = own.loc[rows.index]
    changed = own.index[own["pixels_sha256"].to_numpy() != rows["pixels_sha256"].to_numpy()]
    if len(changed):
        raise DataError(
            f"{chips.root}: scores of {name_chips(changed)} are of other pixels than the chips",
            fix="rebuild the scores with `dvc repro score`",
        )
    root = chips.root.resolve()
    facts = pd.DataFrame(
        {
            "chip_id": rows.index,
            "file": [str(root / file) for file in rows["file_name"]],
            "preview": [str(root / file) for file in rows["preview_file_name"]],
            "content": [_first(ids) for ids in rows["parents"]],
            "style": [_first(ids) for ids in rows["style_ids"]],
            **{column: _texts(rows[column]) for column in _OF_CHIP},
        }
    )
    lost = [file for file in (*facts["file"], *facts["preview"]) if not Path(file).is_file()]
    if lost:
        raise DataError(f"{len(lost)} chip files are missing, the first is {lost[0]}", fix=RESTORE)
    own = own.drop(columns=["origin", "group_id"]).reset_index(drop=True)
    return pd.concat([facts, own], axis=1)


def _texts(values: pd.Series) -> list[str]:
    return ["" if pd.isna(value) else str(value) for value in values]


def _first(ids: NDArray[np.object_] | Sequence[str] | None) -> str:
    return str(ids[0]) if ids is not None and len(ids) else ""


def _with_kin(table: pd.DataFrame, target: ChipSet) -> pd.DataFrame:
    """A real chip of the target of the same class, by the id alone, beside each chip that is none."""
    of_class = {label: sorted(rows["chip_id"]) for label, rows in target.manifest.groupby("label")}
    peers = []
    for chip_id, label, name in zip(table["chip_id"], table["label"], table["set"], strict=True):
        ids = of_class.get(label, [])
        peers.append(ids[int(chip_id, 16) % len(ids)] if ids and name != TARGET else "")
    return table.assign(peer=peers)


def _with_gates(
    table: pd.DataFrame,
    gates: Sequence[Gate],
    ends: Mapping[str, tuple[Bound | None, Bound | None]],
    reference: Reference,
) -> pd.DataFrame:
    judged = table["judged"].to_numpy()
    said = judge(table[judged], gates, reference.limits)
    failed: list[tuple[str, ...]] = [()] * len(table)
    sentences: list[tuple[str, ...]] = [()] * len(table)
    for place, row in enumerate(np.flatnonzero(judged)):
        broken = [(name, texts[place]) for name, texts in said.items() if texts[place]]
        failed[row] = tuple(name for name, _ in broken)
        sentences[row] = tuple(text for _, text in broken)
    margins = np.full((len(table), max(1, len(gates))), np.nan)
    for column, gate in enumerate(gates):
        values = table[judged][gate.measure]
        margins[judged, column] = _margin(values, gate.measure, ends, reference)
        if gate.if_missing == "reject":
            margins[judged & table[gate.measure].isna().to_numpy(), column] = -np.inf
    none = np.isnan(margins).all(axis=1)
    closest = np.where(np.isnan(margins), np.inf, margins).argmin(axis=1)
    margin = margins[np.arange(len(table)), closest]
    return table.assign(
        failed=pd.Series(failed, dtype=object),
        sentences=pd.Series(sentences, dtype=object),
        closest_gate=[
            "" if empty else gates[k].measure for k, empty in zip(closest, none.tolist(), strict=True)
        ],
        gate_margin=np.where(np.isinf(margin), np.nan, margin),
    )


def _margin(
    values: pd.Series,
    measure: str,
    ends: Mapping[str, tuple[Bound | None, Bound | None]],
    reference: Reference,
) -> NDArray[np.float64]:
    """How far inside a gate's nearer limit, in standard deviations of real chips; negative outside."""
    if measure not in reference.train_scores:
        return np.full(len(values), np.nan)
    spread = float(reference.train_scores[measure].std())
    low, high = ends[measure]
    found = values.to_numpy(dtype=np.float64)
    inside = [np.full(len(found), np.nan)]
    inside += [found - low.value] if low else []
    inside += [high.value - found] if high else []
    nearest: NDArray[np.float64] = np.fmin.reduce(inside)
    return nearest / spread if spread > 0 else np.full(len(found), np.nan)


def _with_selection(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The Selection's choice; chips it does not choose from are neither kept nor rejected."""
    choices = {choice.chip_id: choice for choice in read_selection(path).choices}
    judged = set(table["chip_id"][table["judged"]])
    if judged != set(choices):
        raise DataError(f"{path} is not of today's scores", fix="rebuild it with `dvc repro curate`")
    rows = list(zip(table["chip_id"], table["label"], strict=True))
    return table.assign(
        kept=pd.Series([choices[chip].kept if chip in choices else None for chip, _ in rows], dtype=object),
        reason=[choices[chip].reason if chip in choices else "" for chip, _ in rows],
        new_label=[
            choices[chip].label if chip in choices and choices[chip].label != label else ""
            for chip, label in rows
        ],
    )


def _with_verdicts(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    judged = table[table["judged"]]
    known = dict(zip(judged["chip_id"], judged["pixels_sha256"], strict=True))
    standing = resolve(read_verdicts(path), known)
    found = [verdict_of(standing, chip_id) for chip_id in table["chip_id"]]
    return table.assign(verdict=[word for word, _ in found], said=[text for _, text in found])


def verdict_of(standing: Standing, chip_id: str) -> tuple[str, str]:
    """A word for what people's verdicts on a chip come to, and who said what."""
    for word, group in (("", standing.agreed), ("disputed", standing.disputed), ("unsure", standing.unsure)):
        if chip_id in group:
            rows = group[chip_id]
            return word or rows[0].ruling.value, "; ".join(map(_saying, rows))
    if chip_id in standing.stale:
        rows = standing.stale[chip_id]
        return "stale", "on other pixels: " + "; ".join(map(_saying, rows))
    return "none", ""


def _saying(row: Verdict) -> str:
    told = f"{row.reviewer}: {row.ruling.value} {row.new_label}".rstrip()
    return f"{told} ({row.reason})" if row.reason else told


def _nearest(table: pd.DataFrame, reference: Reference) -> NDArray[np.float64]:
    """Distance to the nearest other chip of the set in the physics vector.

    RMS over its columns, in standard deviations of real chips; NaN where a chip lacks a column or is alone.
    """
    columns = list(VECTOR)
    spread = reference.train_scores[columns].std().to_numpy()
    z = table[columns].to_numpy(dtype=np.float64) / np.where(spread > 0, spread, 1.0)
    found = np.full(len(table), np.nan)
    whole = np.isfinite(z).all(axis=1)
    for _, rows in table[whole].groupby("set"):
        places = rows.index.to_numpy()
        if len(places) > 1:
            distances = np.asarray(cKDTree(z[places]).query(z[places], k=2)[0])
            found[places] = distances[:, 1] / np.sqrt(len(columns))
    return found


def _ranks(table: pd.DataFrame, measure: str) -> pd.Series:
    """Rank of a measure within set and class, 0 the lowest to 1 the highest; NaN without a value."""
    groups = table.groupby(["set", "label"])[measure]
    counts = groups.transform("count")
    return (groups.rank(method="average") - 1) / (counts - 1).where(counts > 1)
