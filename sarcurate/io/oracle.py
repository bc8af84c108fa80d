"""The set ``oracle``: real target chips that the split drew neither for training nor for testing."""

from __future__ import annotations

from collections.abc import Mapping

from sarcurate.io import lineage

ORACLE = "oracle"


def drawn(left_over: Mapping[str, str], per_class: int | None) -> set[str]:
    """Ids of the chips that the set holds.

    Args:
        left_over: label of every chip that the split left over, by id.
        per_class: chips taken of each class, by the hash of their ids; None for all.
    """
    by_class: dict[str, list[str]] = {}
    for chip_id in sorted(left_over, key=lineage.sha256_text):
        by_class.setdefault(left_over[chip_id], []).append(chip_id)
    return {chip_id for ids in by_class.values() for chip_id in ids[:per_class]}
