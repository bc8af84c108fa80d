"""Held-out chips looked for among train chips: themselves, their pixels, and what was made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sarcurate.errors import LeakageError

SHOWN = 3


@dataclass(frozen=True)
class TrainChip:
    """A chip that a model may be trained on, and the chips that it comes from."""

    chip_id: str
    pixels_sha256: str
    parents: tuple[str, ...]
    style_ids: tuple[str, ...]


def refuse_leaks(train: Iterable[TrainChip], test: Collection[tuple[str, str]], what: str) -> None:
    """Refuse train chips that are, show or come from held-out chips.

    Args:
        test: ids and pixel hashes of held-out chips; what: is looked through, for the message.

    Raises:
        LeakageError: naming how many, in which way, and the first ones.
    """
    ids, pixels = {chip_id for chip_id, _ in test}, {digest for _, digest in test}
    found: dict[str, list[str]] = {}
    for chip in train:
        ways = {
            "are held-out chips": chip.chip_id in ids,
            "have a held-out chip's pixels": chip.pixels_sha256 in pixels,
            "have a held-out chip as parent": not ids.isdisjoint(chip.parents),
            "have a held-out chip as style": not ids.isdisjoint(chip.style_ids),
        }
        for way, holds in ways.items():
            if holds:
                found.setdefault(way, []).append(chip.chip_id)
    if found:
        told = "; ".join(f"{len(chips)} {way} ({', '.join(chips[:SHOWN])})" for way, chips in found.items())
        raise LeakageError(
            f"{what}: of the train chips {told}",
            fix="rebuild the data set from the split on with `dvc repro`; nothing was published",
        )
