"""What the chips of ChipSets show: keys that the same picture shares, exactly and nearly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sarcurate.core.duplicates import orientation_free_key
from sarcurate.core.near_duplicates import near_duplicate_groups, near_duplicate_pairs
from sarcurate.core.picture_code import Code, picture_code
from sarcurate.execution import run_map
from sarcurate.io.chipset import ChipSet


@dataclass(frozen=True)
class PictureKeys:
    """``exact``: shared by the eight orientations of equal pixels; ``near``: by near duplicates too."""

    exact: str
    near: str


def picture_keys(chipsets: Mapping[str, ChipSet], near: bool) -> dict[str, list[PictureKeys]]:
    """Keys of every chip, in order of chip_id, comparable across the ChipSets.

    Args:
        chipsets: searched together; their radiometry may differ, as ranks of grey levels are compared.
        near: search near duplicates; without, ``near`` is the exact key again.
    """
    described = {name: _describe(chipset, near) for name, chipset in chipsets.items()}
    exact = [key for chips in described.values() for key, _ in chips]
    groups = exact
    if near:
        codes = np.stack([code for chips in described.values() for _, code in chips])
        groups = [str(group) for group in near_duplicate_groups(near_duplicate_pairs(codes), len(codes))]
    keys = iter([PictureKeys(one, other) for one, other in zip(exact, groups, strict=True)])
    return {name: [next(keys) for _ in chips] for name, chips in described.items()}


def _describe(chipset: ChipSet, near: bool) -> list[tuple[str, Code]]:
    def describe(chip_id: str) -> tuple[str, Code]:
        pixels = chipset.pixels(chip_id)
        return orientation_free_key(pixels), picture_code(pixels) if near else np.empty(0, dtype=np.complex64)

    return run_map(describe, list(chipset.manifest["chip_id"]), "finding duplicates")
