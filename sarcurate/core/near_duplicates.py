"""Chips that show the same picture, whatever its speckle, brightness curve, orientation or small shift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from sarcurate.core.picture_code import Code, frequencies, picture_code, search_keys, turned_codes
from sarcurate.errors import DataError
from sarcurate.execution import run_map

SAME_PICTURE = 0.78  # similarity from which two chips are called one picture: see docs/duplicates.md
NEIGHBOURS = 12  # chips looked at for each chip
KEY_CYCLES, KEY_DIMENSIONS = 10, 24
TREE_SLACK = (
    1.0  # the k-th neighbour found is at most 1 + this times as far as the true one; five times faster
)
LARGEST_SHIFT, SHIFT_STEP = 1 / 16, 1 / 96  # of the chip's side
BATCH = 1024  # pairs compared at once; part of the result to the last bit, so never a setting


@dataclass(frozen=True, eq=False)
class Pairs:
    """Near-duplicate pairs, ``first < second``, in rising order; similarity from 0 to 1."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    similarity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)


def picture_codes(chips: Sequence[NDArray[np.generic]], workers: int = 1) -> Code:
    """Codes (n_chips, n) of chips of any sizes; a sequence that loads on access keeps memory small.

    Args:
        chips: (rows, cols) each, linear or any monotone function of intensity.
    """
    coded = run_map(partial(_code_of, chips), range(len(chips)), "describing chips", workers)
    return np.array(coded, dtype=np.complex64).reshape(len(coded), len(frequencies()))


def _code_of(chips: Sequence[NDArray[np.generic]], index: int) -> Code:
    return picture_code(chips[index])


def near_duplicate_pairs(codes: Code, min_similarity: float = SAME_PICTURE, workers: int = 1) -> Pairs:
    """Pairs of chips that show the same picture.

    Candidates are neighbours in a tree over orientation-free keys; each is verified by the correlation of
    the codes at eight orientations and shifts up to a sixteenth of the side. A chip is compared with its
    nearest ``NEIGHBOURS`` only, so in a large family not every pair is listed, but the family is connected.

    Args:
        codes: (n_chips, n) from :func:`picture_codes`; all-zero codes are like no other.
    """
    if not 0 < min_similarity <= 1:
        raise DataError(f"min_similarity is {min_similarity}, expected 0 < it <= 1", fix="give a correlation")
    first, second = _candidates(codes, workers)
    similarity = np.zeros(len(first))
    for start in range(0, len(first), BATCH):
        part = slice(start, start + BATCH)
        similarity[part] = similarities(codes[first[part]], codes[second[part]])
    same = similarity >= min_similarity
    return Pairs(first[same], second[same], similarity[same])


def near_duplicate_groups(pairs: Pairs, n_chips: int) -> NDArray[np.int64]:
    """Group number of each chip: chips linked by pairs share one, all others are alone."""
    links = coo_array((np.ones(len(pairs)), (pairs.first, pairs.second)), shape=(n_chips, n_chips))
    groups: NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
    return groups


def similarities(one: Code, other: Code) -> NDArray[np.float64]:
    """Largest correlation (n,) of each pair of codes (n, n_coefficients) over orientations and shifts.

    Correlation of two real band-limited pictures from their coefficients (Parseval): the phase ramp of a
    shift is applied in frequency, so that shifts need not be whole pixels. Rounded to 1e-4, so that the
    order of a sum decides nothing.
    """
    ramps = _shift_ramps()
    best = np.full(len(one), -1.0, dtype=np.float32)
    for view in turned_codes(other):
        product = one * view.conj()
        surface = np.concatenate([product.real, product.imag], axis=1) @ ramps
        np.maximum(best, surface.max(axis=1), out=best)
    return np.asarray(np.round(best.astype(np.float64), 4), dtype=np.float64)


@lru_cache(maxsize=1)
def _shift_ramps() -> NDArray[np.float32]:
    """(2 n, shifts): cosines and sines that a product of codes is summed with at each shift."""
    steps = round(LARGEST_SHIFT / SHIFT_STEP)
    shift = np.arange(-steps, steps + 1) * SHIFT_STEP
    row, col = frequencies().T
    turn = 2.0 * np.pi * (row[:, None, None] * shift[:, None] + col[:, None, None] * shift)
    flat = turn.reshape(len(row), -1)
    return np.concatenate([np.cos(flat), -np.sin(flat)]).astype(np.float32)


def _candidates(codes: Code, workers: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs worth verifying, first < second, each once, sorted."""
    coded = np.flatnonzero(codes.any(axis=1))
    if len(coded) < 2:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    keys = _reduced(search_keys(codes[coded], KEY_CYCLES))
    distinct, copies_of = _collapse(keys)
    near = _neighbours(keys[distinct], workers)
    known = near < len(distinct)
    rows = np.repeat(np.arange(len(distinct)), known.sum(axis=1))
    linked = np.stack([distinct[rows], distinct[near[known]]], axis=1)
    copied = np.stack([distinct[copies_of], np.arange(len(keys))], axis=1)
    pairs = np.sort(coded[np.concatenate([linked, copied])], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
    return pairs[:, 0], pairs[:, 1]


def _neighbours(keys: NDArray[np.float32], workers: int) -> NDArray[np.int64]:
    """(n, NEIGHBOURS + 1) nearest keys of each, itself among them; n where there are no more."""
    wanted = list(range(1, NEIGHBOURS + 2))
    _, near = cKDTree(keys).query(keys, k=wanted, eps=TREE_SLACK, workers=workers)
    return np.asarray(near, dtype=np.int64)


def _collapse(keys: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First of each run of equal keys, and for every key the run it is in.

    Without it a picture copied more often than there are neighbours would fall apart into cliques.
    """
    _, first, run = np.unique(np.round(keys, 3), axis=0, return_index=True, return_inverse=True)
    return first.astype(np.int64), run.reshape(-1).astype(np.int64)


def _reduced(keys: NDArray[np.float32]) -> NDArray[np.float32]:
    """Principal components: what a tree can search."""
    centred = keys - keys.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    return np.asarray(centred @ axes[:, ::-1][:, :KEY_DIMENSIONS], dtype=np.float32)
