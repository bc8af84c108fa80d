"""Counts of people's verdicts: how far every set has been looked at, and how reviewers agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd

from sarcurate.core.agreement import cohen_kappa
from sarcurate.io.collection import verdict_of
from sarcurate.io.score_table import SET
from sarcurate.io.verdicts import Ruling, Verdict, Verdicts, resolve

FEWEST_FOR_KAPPA = 10  # chips that both decided; under it kappa is mostly chance
STALE = "stale"
LOOKED_AT = (*("keep", "reject", "relabel", "unsure"), "disputed")
TOTAL = "all"


def progress_lines(scores: pd.DataFrame, log: Verdicts) -> list[str]:
    """Per set and class: chips, those looked at as they are today, and what was said of them.

    Args:
        scores: ``set, chip_id, pixels_sha256, label`` of every judged chip.
        log: verdicts on chips that are there.

    Raises:
        DataError: for a verdict on a chip that is in no set.
    """
    standing = resolve(log, _known(scores))
    words = scores.assign(word=[verdict_of(standing, chip_id)[0] for chip_id in scores["chip_id"]])
    rows: list[list[str | int]] = [["set", "class", "chips", "looked at", *LOOKED_AT, STALE]]
    for name, of_set in words.groupby(SET):
        for label, of_class in of_set.groupby("label"):
            rows.append([str(name), str(label), *_counts(of_class["word"])])
        rows.append([str(name), TOTAL, *_counts(of_set["word"])])
    return _aligned(rows, texts=2)


def reviewer_lines(scores: pd.DataFrame, log: Verdicts) -> list[str]:
    """Per reviewer the last verdicts by kind, and per pair how far they agree on chips both decided."""
    known = _known(scores)
    of_reviewer: dict[str, dict[str, Verdict]] = {}
    for row in log.rows:
        of_reviewer.setdefault(row.reviewer, {})[row.chip_id] = row
    rows: list[list[str | int]] = [["reviewer", "chips", *Ruling, "on other pixels"]]
    for reviewer, last in sorted(of_reviewer.items()):
        kinds = Counter(row.ruling for row in last.values())
        stale = sum(row.pixels_sha256 != known.get(chip_id) for chip_id, row in last.items())
        rows.append([reviewer, len(last), *(kinds[ruling] for ruling in Ruling), stale])
    decided = {name: _decided(last, known) for name, last in sorted(of_reviewer.items())}
    pairs = [_agreement(a, b, decided[a], decided[b]) for a, b in combinations(decided, 2)]
    return [*_aligned(rows, texts=1), *pairs] if of_reviewer else ["no verdict was given yet"]


def _known(scores: pd.DataFrame) -> dict[str, str]:
    return dict(zip(scores["chip_id"], scores["pixels_sha256"], strict=True))


def _counts(words: pd.Series) -> list[int]:
    found = Counter(words)
    return [
        len(words),
        sum(found[word] for word in LOOKED_AT),
        *(found[word] for word in (*LOOKED_AT, STALE)),
    ]


def _decided(last: Mapping[str, Verdict], known: Mapping[str, str]) -> dict[str, tuple[Ruling, str]]:
    """What a reviewer made of today's chips; unsure is no decision."""
    return {
        chip_id: (row.ruling, row.new_label)
        for chip_id, row in last.items()
        if row.pixels_sha256 == known.get(chip_id) and row.ruling is not Ruling.UNSURE
    }


def _agreement(
    first: str, second: str, one: Mapping[str, tuple[Ruling, str]], other: Mapping[str, tuple[Ruling, str]]
) -> str:
    both = sorted(set(one) & set(other))
    head = f"{first} and {second}: {len(both)} chips decided by both"
    if not both:
        return head
    answers = [one[chip_id] for chip_id in both], [other[chip_id] for chip_id in both]
    same = sum(a == b for a, b in zip(*answers, strict=True))
    kappa = cohen_kappa(*answers)
    if len(both) < FEWEST_FOR_KAPPA:
        told = f"n/a (fewer than {FEWEST_FOR_KAPPA} chips)"
    elif math.isnan(kappa):
        told = "n/a (both say the same of all)"
    else:
        told = f"{kappa:.2f}"
    return f"{head}, agreed on {same} ({100 * same / len(both):.0f} %), kappa {told}"


def _aligned(rows: Sequence[Sequence[str | int]], texts: int) -> list[str]:
    """Rows as lines with columns of one width; the first ``texts`` columns are flush left."""
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            str(cell).ljust(width) if place < texts else str(cell).rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
