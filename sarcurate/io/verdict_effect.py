"""What verdicts change in the Selection: chips kept or rejected otherwise, per set and class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sarcurate.errors import DataError
from sarcurate.io.selection import Choice, Selection
from sarcurate.io.verdicts import name_chips


def effect(before: Selection, after: Selection, sets: Mapping[str, str]) -> list[str]:
    """The difference of two Selections of the same chips, in lines for people.

    Args:
        before: as it is; after: as it would be.
        sets: name of the set of every chip, by ``chip_id``.

    Raises:
        DataError: where they are of different chips.
    """
    old = {choice.chip_id: choice for choice in before.choices}
    new = {choice.chip_id: choice for choice in after.choices}
    if not set(old) == set(new) == set(sets):
        raise DataError("the selection is not of today's scores", fix="rebuild it with `dvc repro curate`")
    lines: list[str] = []
    for name in sorted(set(sets.values())):
        ids = sorted(chip_id for chip_id, of_set in sets.items() if of_set == name)
        lines += _of_set(name, [(old[chip_id], new[chip_id]) for chip_id in ids])
    return lines or ["no chip's fate changes"]


def _of_set(name: str, pairs: Sequence[tuple[Choice, Choice]]) -> list[str]:
    moved = {
        "rejected": [one.chip_id for one, other in pairs if one.kept and not other.kept],
        "kept": [one.chip_id for one, other in pairs if other.kept and not one.kept],
        "relabelled": [one.chip_id for one, other in pairs if one.label != other.label],
    }
    if not any(moved.values()):
        return []
    named = [f"  {fate}: {len(ids)} ({name_chips(ids)})" for fate, ids in moved.items() if ids]
    return [_counts(name, pairs), *named]


def _counts(name: str, pairs: Sequence[tuple[Choice, Choice]]) -> str:
    """Kept chips of a set, and of the classes where they change."""
    was = Counter(one.label for one, _ in pairs if one.kept)
    now = Counter(other.label for _, other in pairs if other.kept)
    changed = [label for label in sorted({*was, *now}) if was[label] != now[label]]
    of_class = ", ".join(f"{label} {was[label]} -> {now[label]}" for label in changed)
    return f"{name}: kept {was.total()} -> {now.total()}" + (f" ({of_class})" if of_class else "")
