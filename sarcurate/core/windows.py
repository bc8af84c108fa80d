"""Rectangles of pixels in one scene: grids of them, which overlap, by how much, and which hang together."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Windows = NDArray[np.int64]  # (n, 4): row, col, rows, cols


def side_px(length_m: float, spacing_m: float) -> int:
    """Whole pixels nearest to a length; at least one."""
    return max(1, round(length_m / spacing_m))


def grid_count(shape: tuple[int, int], size: tuple[int, int], step: tuple[int, int]) -> tuple[int, int]:
    """How many windows of ``size`` fit ``shape`` along (rows, cols) when each is ``step`` after the last."""
    down, across = (
        max(0, (whole - side) // stride + 1) for whole, side, stride in zip(shape, size, step, strict=True)
    )
    return down, across


def grid_windows(shape: tuple[int, int], size: tuple[int, int], step: tuple[int, int]) -> Windows:
    """Windows (n, 4) of a regular grid from the first pixel on, all inside; rest at the far sides is left."""
    down, across = grid_count(shape, size, step)
    rows, cols = np.meshgrid(np.arange(down) * step[0], np.arange(across) * step[1], indexing="ij")
    corners = np.stack([rows.ravel(), cols.ravel()], axis=1)
    return np.hstack([corners, np.broadcast_to(np.array(size), (len(corners), 2))]).astype(np.int64)


def overlapping_pairs(windows: Windows) -> NDArray[np.int64]:
    """Pairs (k, 2) of indices i < j whose windows share at least one pixel, sorted.

    Windows are swept in order of their rows, so only those that share rows are compared.
    """
    order = np.argsort(windows[:, 0], kind="stable")
    row, col, rows, cols = windows[order].T
    last = np.searchsorted(row, row + rows, side="left")
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for here in range(len(order)):
        later = slice(here + 1, last[here])
        meet = (col[later] < col[here] + cols[here]) & (col[later] + cols[later] > col[here])
        others = np.flatnonzero(meet) + here + 1
        pairs.append(np.stack([np.full(len(others), order[here]), order[others]], axis=1))
    found = np.sort(np.concatenate(pairs), axis=1)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def connected_sets(windows: Windows) -> NDArray[np.int64]:
    """For each window the lowest index of the set it hangs together with by overlaps, (n,)."""
    first, second = overlapping_pairs(windows).T
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(windows), len(windows)))
    _, sets = connected_components(links, directed=False)
    _, lowest = np.unique(sets, return_index=True)
    return lowest[sets].astype(np.int64)


def overlap_fractions(windows: Windows) -> NDArray[np.float64]:
    """Share of each window's pixels that at least one other window holds too, (n,) in 0..1."""
    pairs = overlapping_pairs(windows)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    starts = np.searchsorted(both[:, 0], np.arange(len(windows) + 1))
    fractions = np.zeros(len(windows))
    for here in np.unique(both[:, 0]):
        others = windows[both[starts[here] : starts[here + 1], 1]]
        fractions[here] = _covered_px(windows[here], others) / math.prod(map(int, windows[here, 2:]))
    return fractions


def _covered_px(window: NDArray[np.int64], others: Windows) -> int:
    """Pixels of ``window`` in the union of ``others``, counted on the grid of their edges."""
    edges, cells = [], []
    for axis in (0, 1):
        low, side = window[axis], window[axis + 2]
        spans = np.clip(np.stack([others[:, axis], others[:, axis] + others[:, axis + 2]]), low, low + side)
        edges.append(np.unique(spans))
        cells.append(np.searchsorted(edges[axis], spans))
    covered = np.zeros((len(edges[0]) - 1, len(edges[1]) - 1), dtype=bool)
    for top, bottom, left, right in zip(*cells[0], *cells[1], strict=True):
        covered[top:bottom, left:right] = True
    return int(np.diff(edges[0]) @ covered @ np.diff(edges[1]))
