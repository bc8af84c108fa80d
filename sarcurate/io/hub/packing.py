"""A data set packed for the Hub: which chip goes into which config, what stays out and why."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sarcurate.errors import DataError
from sarcurate.io.chipset import ChipSet
from sarcurate.io.gates import Gate, ReferenceLimits, judge
from sarcurate.io.hub.leaks import TrainChip, refuse_leaks
from sarcurate.io.hub.licences import MADE, LicenceRule, Provenance, provenance
from sarcurate.io.hub.records import Columns
from sarcurate.io.hub.release import CHIP_COLUMNS, CHIPS, HEXADECIMAL, TEST_CHIPS, TEST_COLUMNS, SetNote
from sarcurate.io.hub.shards import Part, WrittenSplit, write_split
from sarcurate.io.score_table import measure_names
from sarcurate.io.selection import Choice, Selection

CURATED = "curated"
# Sets of each split of each config; curated takes real target chips, and of made sets what curation kept.
SPLITS_OF: dict[str, dict[str, tuple[str, ...]]] = {
    "real": {"train": ("source-train", "target-train"), "test": ("source-test", "target-test")},
    "generated": {"train": ("generated",)},
    "migrated": {"train": ("migrated",)},
    "migrated-generated": {"train": ("migrated-generated",)},
    "translated": {"train": ("physics", "psd")},
    CURATED: {"train": ("target-train", "physics", "psd", "migrated", "migrated-generated")},
}
CONFIGS = tuple(SPLITS_OF)
TESTS = ("source-test", "target-test")


@dataclass(frozen=True)
class Judged:
    """Scores of a made set, and what gates hold its chips to."""

    scores: pd.DataFrame
    limits: Mapping[str, ReferenceLimits] | None


@dataclass(frozen=True)
class Contents:
    """All that a release is packed from.

    Args:
        sets: opened ChipSets by name: ``source-train, source-test, target-train, target-test, generated``
            and the made sets.
        judged: by set name, of the sets that have scores.
        rules: of licences; gates: a made chip that breaks one is left out of every config.
        curate_gates, target_limits: of curation, for the card.
        reasons: whether records say why curation kept or rejected a chip; such sentences name reviewers.
    """

    sets: Mapping[str, ChipSet]
    judged: Mapping[str, Judged]
    selection: Selection
    rules: tuple[LicenceRule, ...]
    gates: tuple[Gate, ...]
    classes: tuple[str, ...]
    reasons: bool
    curate_gates: tuple[Gate, ...]
    target_limits: Mapping[str, ReferenceLimits]

    @cached_property
    def provenance(self) -> Provenance:
        """Licences of all chips."""
        real = [chips for name, chips in self.sets.items() if name in SPLITS_OF["real"]["train"] + TESTS]
        return provenance(real, self.sets["source-train"], self.sets["generated"], self.rules)

    @cached_property
    def choices(self) -> dict[str, Choice]:
        """The Selection by chip_id; sentences that name people only where asked for."""
        found = self.selection.choices
        if not self.reasons:
            found = tuple(replace(choice, reason="") for choice in found)
        return {choice.chip_id: choice for choice in found}

    @cached_property
    def columns(self) -> Columns:
        """Columns of the records: measures of all score tables, in order of first mention."""
        names = {name: None for one in self.judged.values() for name in measure_names(one.scores)}
        return Columns(self.classes, tuple(names))


@dataclass(frozen=True)
class Packed:
    """What went into the folder.

    Args:
        splits: by config and split; sets: every set with how many of its chips are in some config.
        withheld: made chips that break a gate, by set.
        left_out: chips left out by set and by the sources that do not allow it.
        released: ids of the chips that may go, by set; sources: of licences of these chips.
    """

    splits: Mapping[str, Mapping[str, WrittenSplit]]
    sets: Mapping[str, SetNote]
    withheld: Mapping[str, int]
    left_out: Mapping[str, Mapping[str, int]]
    released: Mapping[str, frozenset[str]]
    sources: frozenset[str]


def pack(contents: Contents, configs: Sequence[str], shard_mb: int, out: Path) -> Packed:
    """Write shards and lists of chips into ``out``.

    Raises:
        LeakageError: where a train chip is, shows or comes from a held-out one.
        DataError: for files that are missing or changed, scores of other chips, labels that are no class.
    """
    tests = [pair for name in TESTS for pair in _identities(contents.sets[name])]
    for name, chips in contents.sets.items():
        if name not in TESTS:
            refuse_leaks(_train_chips(chips), tests, str(chips.root))
    sorted_out = {name: _sort(name, contents) for name in contents.sets}
    out.mkdir(parents=True, exist_ok=True)
    splits: dict[str, dict[str, WrittenSplit]] = {}
    with _list(out / CHIPS, CHIP_COLUMNS) as listing:
        for config in configs:
            for split, names in SPLITS_OF[config].items():
                parts = [_part(config, name, contents, sorted_out[name]) for name in names]
                parts = [part for part in parts if part.rows]
                if parts:
                    found = write_split(out, config, split, parts, contents.columns, shard_mb)
                    splits.setdefault(config, {})[split] = found
                    listing.writerows(_lines(config, split, parts))
    with _list(out / TEST_CHIPS, TEST_COLUMNS) as listing:
        listing.writerows(tests)
    return Packed(
        splits,
        _notes(contents, sorted_out, splits),
        {name: one.n_withheld for name, one in sorted_out.items() if one.n_withheld},
        {name: dict(sorted(one.left_out.items())) for name, one in sorted_out.items() if one.left_out},
        {name: frozenset(one.sources) for name, one in sorted_out.items()},
        frozenset(
            source for one in sorted_out.values() for told in set(one.sources.values()) for source in told
        ),
    )


@dataclass(frozen=True)
class _Sorted:
    """Rows of a set that may go, with their sources; what stays, and why."""

    rows: tuple[int, ...]
    sources: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, int]
    n_withheld: int


def _sort(name: str, contents: Contents) -> _Sorted:
    chips, rows, sources = contents.sets[name], [], {}
    broken = _breaking(name, contents)
    left_out: Counter[str] = Counter()
    columns = [chips.manifest[column] for column in ("chip_id", "origin", "licence", "parents", "style_ids")]
    keys = ("chip_id", "origin", "licence", "parents", "style_ids")
    n_withheld = 0
    for place, cells in enumerate(zip(*columns, strict=True)):
        row = dict(zip(keys, cells, strict=True))
        row["licence"] = None if pd.isna(row["licence"]) else row["licence"]
        found = contents.provenance.sources(row)
        is_made = row["origin"] in MADE
        if not contents.provenance.may_go(found, is_made):
            refusing = (one for one in found if not contents.provenance.may_go((one,), is_made))
            left_out.update(refusing)
        elif row["chip_id"] in broken:
            n_withheld += 1
        else:
            rows.append(place)
            sources[str(row["chip_id"])] = found
    return _Sorted(tuple(rows), sources, left_out, n_withheld)


def _breaking(name: str, contents: Contents) -> set[str]:
    """Made chips that break a gate of the release; gates on what the set is not measured by do not count."""
    judged = contents.judged.get(name)
    if judged is None or judged.limits is None:
        return set()
    gates = [gate for gate in contents.gates if gate.measure in judged.scores]
    said = judge(judged.scores, gates, judged.limits)
    ids = list(judged.scores["chip_id"])
    return {ids[place] for texts in said.values() for place, text in enumerate(texts) if text}


def _part(config: str, name: str, contents: Contents, found: _Sorted) -> Part:
    chips = contents.sets[name]
    rows: Sequence[int] = found.rows
    if config == CURATED and name != "target-train":
        ids = chips.manifest["chip_id"].astype(str).to_numpy()
        rows = [row for row in rows if (choice := contents.choices.get(ids[row])) and choice.kept]
    return Part(
        set_name=name.removesuffix("-train").removesuffix("-test"),
        chips=chips,
        rows=rows,
        scores=_scores_of(name, contents),
        choices=contents.choices,
        relabel=config == CURATED,
        licences=found.sources,
    )


def _scores_of(name: str, contents: Contents) -> pd.DataFrame:
    judged = contents.judged.get(name)
    if judged is None:
        return pd.DataFrame()
    chips, table = contents.sets[name], judged.scores.set_index("chip_id")
    expected = dict(_identities(chips))
    if dict(zip(table.index, table["pixels_sha256"], strict=True)) != expected:
        raise DataError(
            f"the scores of {chips.root} are of other chips than it holds",
            fix="rebuild them with `dvc repro score`",
        )
    return table


def _notes(
    contents: Contents, found: Mapping[str, _Sorted], splits: Mapping[str, Mapping[str, WrittenSplit]]
) -> dict[str, SetNote]:
    """Sets with how many of their chips the configs hold whole; curated alone takes some of them."""
    whole = {
        name
        for config in splits
        if config != CURATED
        for names in SPLITS_OF[config].values()
        for name in names
    }
    return {
        name: SetNote(chips.revision, len(chips.manifest), len(found[name].rows) if name in whole else 0)
        for name, chips in contents.sets.items()
    }


def _identities(chips: ChipSet) -> Iterator[tuple[str, str]]:
    manifest = chips.manifest
    return zip(manifest["chip_id"].astype(str), manifest["pixels_sha256"].astype(str), strict=True)


def _train_chips(chips: ChipSet) -> Iterator[TrainChip]:
    columns = [chips.manifest[name] for name in ("chip_id", "pixels_sha256", "parents", "style_ids")]
    for chip_id, pixels, parents, styles in zip(*columns, strict=True):
        yield TrainChip(str(chip_id), str(pixels), tuple(parents), tuple(styles))


def _lines(config: str, split: str, parts: Sequence[Part]) -> Iterator[list[str]]:
    for part in parts:
        names = ("chip_id", "pixels_sha256", "origin")
        columns = [part.chips.manifest[name].astype(str).to_list() for name in names]
        for row in part.rows:
            chip_id, pixels, origin = (column[row] for column in columns)
            if not HEXADECIMAL.fullmatch(chip_id + pixels):
                raise DataError(
                    f"{part.chips.root}: chip_id {chip_id[:40]!r} or its pixel hash is not hexadecimal",
                    fix="rebuild the set with `dvc repro`; ids are hashes, never names",
                )
            yield [config, split, chip_id, pixels, "true" if origin in MADE else "false"]


@contextmanager
def _list(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    with path.open("w", encoding="utf-8", newline="") as file:
        listing = csv.writer(file, lineterminator="\n")
        listing.writerow(columns)
        yield listing
