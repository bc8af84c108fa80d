"""The tree of what a chip was made of, down to real chips and their source files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io.tracing.adapter_facts import ADAPTER, HELD_BACK_FOLD, SOURCE_TRAIN, AdapterFacts
from sarcurate.io.tracing.chip_index import FOLDER, ChipIndex
from sarcurate.io.tracing.stage_records import StageBook, StageRecord

REAL_ORIGINS = ("real", "simulated")
_REAL = (
    *("file_name", "label", "split", "fold", "source_path", "scene_id", "group_id", "acquired_utc", "sensor"),
    *("band", "mode", "polarisation", "radiometry", "licence", "seed", "recipe_sha256", "pixels_sha256"),
)
_MADE = (
    *("file_name", "label", "prompt", "seed", "recipe_sha256", "pixels_sha256", "group_id", "scene_id"),
    *("sensor", "radiometry", "licence"),
)


@dataclass(frozen=True)
class Node:
    """One ancestor, or the chip itself at the root.

    Args:
        role: chip, content, style, adapter or training set.
        name: what it is, in a few words.
        facts: what is known of it; empty values are left out.
        made_by: stages that wrote it, last first.
        sources: what it was made of.
        folder: of the set that a chip is in, "" for what is no chip.
    """

    role: str
    name: str
    facts: Mapping[str, Any]
    made_by: tuple[StageRecord, ...]
    sources: tuple[Node, ...]
    folder: str = ""

    def nodes(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for source in self.sources:
            yield from source.nodes()


@dataclass(frozen=True)
class TrainingSet:
    """Source train chips of an adapter: those it learnt from, and those that only judged its training."""

    learnt: tuple[str, ...]
    held_back: tuple[str, ...]


def training_set(index: ChipIndex, adapter: AdapterFacts | None) -> TrainingSet | None:
    """Which chips taught the workspace's adapter; None where its train set is not the one that is here."""
    if adapter is None or not adapter.train_is_here:
        return None
    rows = index.table.filter(index.is_any(FOLDER, [SOURCE_TRAIN]))
    pairs = list(zip(rows["chip_id"].to_pylist(), rows["fold"].to_pylist(), strict=True))
    return TrainingSet(
        tuple(sorted(chip_id for chip_id, fold in pairs if fold != HELD_BACK_FOLD)),
        tuple(sorted(chip_id for chip_id, fold in pairs if fold == HELD_BACK_FOLD)),
    )


@dataclass(frozen=True, eq=False)
class Ancestry:
    """What trees are grown from."""

    index: ChipIndex
    book: StageBook
    adapter: AdapterFacts | None

    def tree(self, row: Mapping[str, Any]) -> Node:
        """The tree of one chip.

        Raises:
            DataError: where a chip is its own ancestor, which only a damaged manifest says.
        """
        return self._chip("chip", row, ())

    def _chip(self, role: str, row: Mapping[str, Any], above: tuple[str, ...]) -> Node:
        chip_id = str(row["chip_id"])
        if chip_id in above:
            raise DataError(
                f"chip {chip_id} is its own ancestor, by way of {', '.join(above[1:]) or 'itself'}",
                fix="a manifest was damaged: restore it with `dvc checkout`, or rebuild it with `dvc repro`",
            )
        line = (*above, chip_id)
        name = f"{chip_id} {row['origin']} {row['label']} in {row[FOLDER]}"
        if row["origin"] in REAL_ORIGINS:
            stages = self.book.chain_of(str(row[FOLDER]))
            return Node(role, name, _real_facts(row), tuple(stages), (), str(row[FOLDER]))
        writer = self.book.writer_of(str(row[FOLDER]))
        sources = [self._named("content", parent, line) for parent in row["parents"] or []]
        sources += [self._named("style", style, line) for style in row["style_ids"] or []]
        if row["adapter_sha256"] and not row["parents"]:  # a migrated chip has it from its content
            sources.append(self._adapter(str(row["adapter_sha256"])))
        made_by = (writer,) if writer else ()
        return Node(role, name, _made_facts(row), made_by, tuple(sources), str(row[FOLDER]))

    def _named(self, role: str, chip_id: str, above: tuple[str, ...]) -> Node:
        row = self.index.row(chip_id)
        if row is None:
            return Node(role, f"{chip_id}, which is in no set of this workspace", {}, (), ())
        return self._chip(role, row, above)

    def _adapter(self, sha256: str) -> Node:
        if self.adapter is None or self.adapter.sha256 != sha256:
            here = "there is none" if self.adapter is None else f"that is {self.adapter.sha256[:12]}"
            name = f"{sha256[:12]}, which is not the one in {ADAPTER} now ({here})"
            return Node("adapter", name, {"sha256": sha256}, (), ())
        facts = {
            "sha256": sha256,
            "base": self.adapter.base,
            "rank": self.adapter.side_file.get("rank"),
            "steps": self.adapter.side_file.get("steps"),
            "parameters": self.adapter.n_parameters,
            "tensors": self.adapter.n_tensors,
        }
        writer = self.book.writer_of(ADAPTER)
        sources = (self._training(self.adapter),)
        return Node("adapter", f"{sha256[:12]} in {ADAPTER}", facts, (writer,) if writer else (), sources)

    def _training(self, adapter: AdapterFacts) -> Node:
        chips = training_set(self.index, adapter)
        revision = adapter.train_revision
        if chips is None:
            name = f"source train chips of revision {revision[:16]}, which are not those in {SOURCE_TRAIN}"
            return Node("training set", name, {"revision": revision}, (), ())
        rows = self.index.rows(self.index.is_any(FOLDER, [SOURCE_TRAIN]))
        facts = {
            "revision": revision,
            "learnt": list(chips.learnt),
            "held_back": list(chips.held_back),
            "source_paths": len({row["source_path"] for row in rows}),
            "groups": sorted({str(row["group_id"]) for row in rows}),
            "licences": sorted({str(row["licence"] or "unknown licence") for row in rows}),
        }
        name = (
            f"{SOURCE_TRAIN}: {len(chips.learnt)} chips learnt from, {len(chips.held_back)} held back "
            f"(fold {HELD_BACK_FOLD}: they chose the step that was kept)"
        )
        return Node("training set", name, facts, tuple(self.book.chain_of(SOURCE_TRAIN)), ())


def _real_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    facts = _held(row, _REAL)
    if row["first_row_px"] is not None and row["first_col_px"] is not None:
        facts["window"] = f"from row {row['first_row_px']}, column {row['first_col_px']} of its source"
    return facts


def _made_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    facts = _held(row, _MADE)
    if row["source_path"]:
        name, _, rest = str(row["source_path"]).partition(" ")
        # Written by the stages as "extractor NAME@HASH" and "base NAME@HASH, adapter HASH".
        facts |= {name: rest} if rest else {"source_path": name}
    return facts


def _held(row: Mapping[str, Any], columns: tuple[str, ...]) -> dict[str, Any]:
    """The row's values of some columns, the file relative to the workspace; empty ones left out."""
    facts = {name: row[name] for name in columns if row[name] is not None and row[name] != ""}
    facts["file_name"] = f"{row[FOLDER]}/{row['file_name']}"
    return facts
