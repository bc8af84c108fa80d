"""References that chips are compared with: a pool made ready for draws, the others read when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.pairs import Comparison, ReferenceBank, reference_bank
from sarcurate.io import lineage

Image = NDArray[np.floating]
Shape = tuple[int, int]

MOST_CROP_PX = 8  # chips that are larger than the common size by more are another product
POOL, POOL_BYTES = 1024, 2**28  # references that nulls are drawn from; more of them change no distribution
NO_GROUP = ""  # of references that are never drawn
_SIZE_SAMPLE = 64  # chips that are asked for their size


@dataclass(frozen=True)
class Facts:
    """What a draw needs to know of a chip."""

    chip_id: str
    label: str
    group: str
    own: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ReferencePool:
    """References of one kind, at one size.

    Args:
        what: their kind, for reasons.
        facts: of all references, by chip_id.
        ids: (m,) those that nulls are drawn from.
        labels, groups: (m,) of the same.
        bank: the same, made ready.
        read: linear intensity of any reference.
    """

    what: str
    facts: Mapping[str, Facts]
    ids: tuple[str, ...]
    labels: NDArray[np.str_]
    groups: NDArray[np.str_]
    bank: ReferenceBank
    read: Callable[[str], Image]

    def draw(self, facts: Facts, not_of: set[str], n: int, seed: int) -> NDArray[np.intp]:
        """Places of up to n references outside some groups, of the chip's class where there are n of it."""
        free = ~np.isin(self.groups, [*sorted(not_of), NO_GROUP])
        same = free & (self.labels == facts.label)
        places = np.flatnonzero(same if same.sum() >= n else free)
        rng = np.random.default_rng(lineage.seed_from(seed, self.what, facts.chip_id))
        return rng.choice(places, min(n, len(places)), replace=False)

    def of(self, chip_ids: Sequence[str]) -> ReferenceBank:
        """Bank of some references, in the pool or not."""
        banks = [
            self.bank.take(np.array([self.ids.index(chip_id)]))
            if chip_id in self.ids
            else self.fitted(self.read(chip_id))
            for chip_id in chip_ids
        ]
        return _joined(banks)

    def fitted(self, chip: Image) -> ReferenceBank:
        """Bank of one chip that is compared with these."""
        return _fitted(chip, self.bank.shape, self.bank.comparison)


def reference_pool(
    what: str,
    facts: Mapping[str, Facts],
    read: Callable[[str], Image],
    comparison: Comparison,
    made_shapes: Sequence[Shape],
    n_null: int,
    seed: int,
) -> ReferencePool:
    """The pool at the most common size, cut short where there are very many; the same for any order.

    Args:
        what: kind of the references, for reasons and draws.
        facts: of all references, by chip_id.
        read: linear intensity (rows, cols) of one of them.
        comparison: what they are made ready for.
        made_shapes: sizes of chips that are compared with them.
        n_null: references of a null.
        seed: of the draws.
    """
    order = _draw_order(facts, what, seed)
    shape = _common_shape(made_shapes, some_shapes(order, read))
    spectrum_bytes = 4 * (shape[0] + MOST_CROP_PX) * (shape[1] + MOST_CROP_PX)
    ids = tuple(order[: max(4 * n_null, min(POOL, POOL_BYTES // spectrum_bytes))])
    empty = reference_bank(np.zeros((0, *shape)), comparison)
    bank = _joined([empty, *(_fitted(read(chip_id), shape, comparison) for chip_id in ids)])
    labels = np.array([facts[chip_id].label for chip_id in ids], dtype=str)
    groups = np.array([facts[chip_id].group for chip_id in ids], dtype=str)
    return ReferencePool(what, facts, ids, labels, groups, bank, read)


def some_shapes(ids: Sequence[str], read: Callable[[str], Image]) -> list[Shape]:
    """Sizes of every few chips."""
    shapes = [np.shape(read(chip_id)) for chip_id in ids[:: max(1, len(ids) // _SIZE_SAMPLE)]]
    return [(shape[0], shape[1]) for shape in shapes]


def _draw_order(facts: Mapping[str, Facts], what: str, seed: int) -> list[str]:
    """Ids in an order by chance, the classes in turn, so that a pool cut short holds all of them."""
    chance = {i: lineage.seed_from(seed, "pool", what, i) for i in facts}
    seen: Counter[str] = Counter()
    turn = {}
    for chip_id in sorted(facts, key=chance.__getitem__):
        turn[chip_id] = seen[facts[chip_id].label]
        seen[facts[chip_id].label] += 1
    return sorted(facts, key=lambda i: (turn[i], chance[i]))


def _common_shape(made: Sequence[Shape], references: Sequence[Shape]) -> Shape:
    """The smaller of the most common size of both, side by side."""
    (rows, cols), *others = (
        max(Counter(shapes).items(), key=lambda item: (item[1], item[0]))[0]
        for shapes in (made, references)
        if shapes
    )
    for other in others:
        rows, cols = min(rows, other[0]), min(cols, other[1])
    return rows, cols


def _fitted(chip: Image, shape: Shape, comparison: Comparison) -> ReferenceBank:
    """Bank of one chip, of its centre where it is a few px larger; a reason where it is of another size."""
    excess = [have - wanted for have, wanted in zip(chip.shape, shape, strict=True)]
    if min(excess) < 0 or max(excess) > MOST_CROP_PX:
        reason = f"{chip.shape[0]} x {chip.shape[1]} px, compared are {shape[0]} x {shape[1]}"
        unfit = reference_bank(np.zeros((1, *shape)), comparison)
        return ReferenceBank(comparison, shape, unfit.spectra, np.array([reason]))
    row, col = excess[0] // 2, excess[1] // 2
    return reference_bank(chip[None, row : row + shape[0], col : col + shape[1]], comparison)


def _joined(banks: Sequence[ReferenceBank]) -> ReferenceBank:
    spectra, reasons = np.concatenate([b.spectra for b in banks]), np.concatenate([b.reasons for b in banks])
    return ReferenceBank(banks[0].comparison, banks[0].shape, spectra, reasons)
