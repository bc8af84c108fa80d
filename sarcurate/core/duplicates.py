"""Chips that are the same picture: exactly, under the eight flips and quarter turns."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def orientation_free_key(pixels: NDArray[np.generic]) -> str:
    """A hash of a chip (rows, cols) that its eight flips and quarter turns share."""
    turned = [np.rot90(side, turns) for side in (pixels, pixels.T) for turns in range(4)]
    return min(_hash(np.ascontiguousarray(view)) for view in turned)


def _hash(array: NDArray[np.generic]) -> str:
    return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()


def join_groups(groups: Sequence[str], keys: Sequence[Hashable]) -> list[str]:
    """Group names after joining every two groups that share a key (transitively).

    Args:
        groups: (n,) group of each chip; keys: (n,) equal for chips that must stay together.

    Returns:
        (n,) the alphabetically first name of each joined group.
    """
    leader: dict[Hashable, Hashable] = {}

    def find(node: Hashable) -> Hashable:
        while leader.setdefault(node, node) != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for group, key in zip(groups, keys, strict=True):
        leader[find(("key", key))] = find(("group", group))
    first: dict[Hashable, str] = {}
    for group in sorted(set(groups)):
        first.setdefault(find(("group", group)), group)
    return [first[find(("group", group))] for group in groups]
