"""What an arm may add beside whole sets: the kept chips of one, those of migrated contents, an oracle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sarcurate.io import lineage

# Real target chips that the split drew neither for training nor for testing.
ORACLE = "oracle"
# Ends of set names: the chips that curation kept, and those whose content stage migrate took too.
CURATED, MATCHED = "-curated", "-matched"
MIGRATED = "migrated"  # of source chips; its contents are those that matched sets hold


def whole(name: str) -> str:
    """The set that a part is of: ``physics`` for ``physics-curated`` and ``physics-matched``."""
    return name.removesuffix(CURATED).removesuffix(MATCHED)


def content(row: Mapping[str, Any]) -> str:
    """Id of the chip that a manifest row shows the content of: its first parent's, or its own."""
    return str(next(iter(row["parents"]), row["chip_id"]))


def drawn(left_over: Mapping[str, str], per_class: int | None) -> set[str]:
    """Ids of the chips that the oracle holds.

    Args:
        left_over: label of every chip that the split left over, by id.
        per_class: chips taken of each class, by the hash of their ids; None for all.
    """
    by_class: dict[str, list[str]] = {}
    for chip_id in sorted(left_over, key=lineage.sha256_text):
        by_class.setdefault(left_over[chip_id], []).append(chip_id)
    return {chip_id for ids in by_class.values() for chip_id in ids[:per_class]}
