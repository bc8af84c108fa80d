"""Everything made from some chips: whether it is kept, and which evaluation arms trained on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.io.added_sets import CURATED, MATCHED, ORACLE, content
from sarcurate.io.tracing.adapter_facts import SOURCE_TRAIN, AdapterFacts
from sarcurate.io.tracing.ancestry import training_set
from sarcurate.io.tracing.chip_index import FOLDER, RELATIONS, ChipIndex

TARGET_TRAIN, GENERATED = "data/real/target-train", "data/generated"
# How a chip comes from another one; learnt and held back go through the adapter, to all generated chips.
LEARNT, HELD_BACK = "learnt", "held back"


@dataclass(frozen=True)
class Descendant:
    """One chip made from those asked for.

    Args:
        relation: of the first step that led here: content, style, learnt or held back.
        through: the parents, styles or "adapter" that it comes from, sorted.
        steps: how many steps down.
        kept: by the Selection; None where it does not choose from the chip's set.
        arms: that trained on it.
    """

    chip_id: str
    folder: str
    label: str
    relation: str
    through: tuple[str, ...]
    steps: int
    kept: bool | None
    arms: tuple[str, ...]


@dataclass(frozen=True)
class Descent:
    """What came of some chips.

    Args:
        start: the chips themselves, with ``steps`` 0 and no relation.
        made: chips made of them, in order of steps, set and id.
        learnt, held_back: how many of them taught the adapter, or only judged its training.
        training_unknown: True where an adapter is used whose training chips are not known here.
    """

    start: tuple[Descendant, ...]
    made: tuple[Descendant, ...]
    learnt: int
    held_back: int
    training_unknown: bool


@dataclass(frozen=True)
class Usage:
    """Fates by chip id, the sets that every arm adds by its name, ids of the oracle's chips.

    ``contents`` are ids of the source chips that were migrated, where some arm adds a matched set.
    """

    kept: Mapping[str, bool]
    arms: Mapping[str, Sequence[str]]
    oracle: Collection[str] = ()
    contents: Collection[str] = ()

    def of(self, row: Mapping[str, Any]) -> tuple[bool | None, tuple[str, ...]]:
        """Whether a chip is kept, and which arms trained on it."""
        chip_id, folder = str(row["chip_id"]), str(row[FOLDER])
        kept = self.kept.get(chip_id)
        name = ORACLE if chip_id in self.oracle else _set_of(folder)
        ends = ["", *([CURATED] if kept else []), *([MATCHED] if content(row) in self.contents else [])]
        names = {name + end for end in ends} if name else set[str]()
        arms = [arm for arm, added in self.arms.items() if folder == TARGET_TRAIN or names & set(added)]
        return kept, tuple(arms)


def _set_of(folder: str) -> str | None:
    """Name under which arms may add the chips of a folder."""
    if folder == SOURCE_TRAIN:
        return "source"
    if not folder.startswith("data/") or folder.startswith(("data/real/", "data/chips/")):
        return None
    return folder.rpartition("/")[2]


def descent(
    index: ChipIndex, start: Sequence[Mapping[str, Any]], adapter: AdapterFacts | None, usage: Usage
) -> Descent:
    """All chips that come from those of ``start``: by content, by style and through the adapter."""
    ids = {str(row["chip_id"]) for row in start}
    chips = training_set(index, adapter)
    learnt = ids & set(chips.learnt) if chips else set()
    held_back = ids & set(chips.held_back) if chips else set()
    seen: dict[str, Descendant] = {}
    waiting, steps = ids, 0
    through_adapter = LEARNT if learnt else HELD_BACK if held_back else None
    while waiting:
        steps += 1
        found = _children(index, waiting)
        if through_adapter and adapter and steps == 1:
            found = _drawn_by(index, adapter.sha256, through_adapter) | found
        known = seen.keys() | ids
        fresh = {chip_id: child for chip_id, child in found.items() if chip_id not in known}
        for chip_id, (row, relation, parents) in fresh.items():
            seen[chip_id] = _descendant(row, relation, parents, steps, usage)
        waiting = set(fresh)
    uses = any(row["adapter_sha256"] for row in start)
    unknown = chips is None and not uses and _has_generated(index) and _is_source(start)
    made = sorted(seen.values(), key=lambda child: (child.steps, child.folder, child.chip_id))
    own = sorted((_descendant(row, "", (), 0, usage) for row in start), key=lambda chip: chip.chip_id)
    return Descent(tuple(own), tuple(made), len(learnt), len(held_back), unknown)


_Child = tuple[Mapping[str, Any], str, tuple[str, ...]]


def _children(index: ChipIndex, ids: Iterable[str]) -> dict[str, _Child]:
    """Chips one step down; where a chip is of several relations, content counts first."""
    asked = set(ids)
    found: dict[str, _Child] = {}
    for relation, column in RELATIONS.items():
        for row in index.rows(index.made_of(relation, asked)):
            parents = tuple(sorted(asked & set(row[column])))
            found.setdefault(str(row["chip_id"]), (row, relation, parents))
    return found


def _drawn_by(index: ChipIndex, sha256: str, relation: str) -> dict[str, _Child]:
    """Generated chips of an adapter; what was migrated from them comes a step later, by its content."""
    drawn: NDArray[np.bool_] = index.is_any("adapter_sha256", [sha256])
    drawn = drawn & index.is_any("origin", ["generated"])
    return {str(row["chip_id"]): (row, relation, ("adapter",)) for row in index.rows(drawn)}


def _descendant(
    row: Mapping[str, Any], relation: str, through: tuple[str, ...], steps: int, usage: Usage
) -> Descendant:
    kept, arms = usage.of(row)
    chip_id, folder, label = (str(row[column]) for column in ("chip_id", FOLDER, "label"))
    return Descendant(chip_id, folder, label, relation, through, steps, kept, arms)


def _has_generated(index: ChipIndex) -> bool:
    return bool(index.is_any("origin", ["generated"]).any())


def _is_source(start: Sequence[Mapping[str, Any]]) -> bool:
    return any(row[FOLDER] == SOURCE_TRAIN for row in start)
