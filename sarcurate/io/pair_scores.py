"""Pairwise scores of made chips: content kept from their parents, speckle copied from their style references.

Every score is held against other references: chips of other groups, of the same class where there are
enough, drawn by a seed from the chip's id, so that neither order nor batches change a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.measure import Measure
from sarcurate.core.pairs import (
    CONTENT,
    GHOST,
    LEAST_NULL,
    ReferenceBank,
    against_null,
    correlations,
    pair_reasons,
)
from sarcurate.errors import ParamsError
from sarcurate.execution import track
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet
from sarcurate.io.reference_pool import NO_GROUP, Facts, ReferencePool, reference_pool, some_shapes

Image = NDArray[np.floating]

COLUMNS = ("content_retention", "content_z", "ghost_ncc", "ghost_z")


@dataclass(frozen=True, eq=False)
class _Found:
    """One chip's score, those of its null (NaN where there is none), or a reason."""

    score: float
    null: NDArray[np.float64]
    reason: str = ""


def pair_scores(
    made: ChipSet, parents: Mapping[str, Image], styles: ChipSet, n_null: int, seed: int
) -> pd.DataFrame:
    """Content retention and style ghost of every made chip, each with its z against a null.

    Of several parents or style references the largest score counts, and the null is then of the largest of
    as many. A parent takes label and group of the chips made of it; one without made chips is no null.

    Args:
        made: set to be scored, with ``parents`` and ``style_ids`` in its manifest.
        parents: chip_id -> (rows, cols) linear intensity on the made chips' grid; may read when asked.
        styles: real train chips of the target.
        n_null: references of a null, 5 or more.
        seed: of the draws.

    Returns:
        chip_id, the four ``COLUMNS`` (NaN where there is no value) and ``pair_reasons``, JSON text
        {"measure": "why"} with sorted keys or "".

    Raises:
        ParamsError: for an ``n_null`` that gives no z.
        DataError: for chips that cannot be read.

    Chips are brought to one size, the most common of made chips and references, by taking the centre of
    those up to 8 px larger; chips of other sizes have a reason.
    """
    _check(n_null)
    style_facts = {facts.chip_id: facts for facts in _facts(styles)}
    by_parent, by_style = _facts(made, "parents"), _facts(made, "style_ids")
    sample = some_shapes([facts.chip_id for facts in by_parent], made.intensity)
    parent_facts = _parent_facts(by_parent, set(parents))
    pools = (
        reference_pool("parent", parent_facts, parents.__getitem__, CONTENT, sample, n_null, seed),
        reference_pool("style reference", style_facts, styles.intensity, GHOST, sample, n_null, seed),
    )
    found: tuple[list[_Found], list[_Found]] = ([], [])
    for pair in track(list(zip(by_parent, by_style, strict=True)), "pair scores", len(by_parent)):
        chip = made.intensity(pair[0].chip_id)
        for kind in (0, 1):
            found[kind].append(_against_own(chip, pair[kind], pools[kind], n_null, seed))
    return _table([facts.chip_id for facts in by_parent], [*_measures(found[0]), *_measures(found[1])])


def real_ghosts(train: ChipSet, n_null: int, seed: int) -> pd.DataFrame:
    """Ghost scores that real chips have by chance: each against a random chip of another group as its style.

    Style and null are one draw, so all are alike by law; chips of the chip's own group are in neither.

    Args:
        train: real train chips.
        n_null: references of a null, 5 or more.
        seed: of the draws.

    Returns:
        As :func:`pair_scores`, with ``ghost_ncc`` and ``ghost_z`` alone.

    Raises:
        ParamsError: for an ``n_null`` that gives no z.
        DataError: for chips that cannot be read.
    """
    _check(n_null)
    chips = _facts(train)
    facts = {item.chip_id: item for item in chips}
    sample = some_shapes(list(facts), train.intensity)
    pool = reference_pool("style reference", facts, train.intensity, GHOST, sample, n_null, seed)
    found = []
    for item in track(chips, "ghosts of real chips", len(chips)):
        drawn = pool.draw(item, {item.group}, n_null + 1, seed)
        found.append(_against_drawn(train.intensity(item.chip_id), drawn, pool, n_null))
    return _table(list(facts), _measures(found), COLUMNS[2:])


def _check(n_null: int) -> None:
    if n_null < LEAST_NULL:
        raise ParamsError(
            f"pair scores: {n_null} null references, expected {LEAST_NULL} at least",
            fix="ask for about 20",
        )


def _facts(chips: ChipSet, column: str | None = None) -> list[Facts]:
    """Facts of all chips, in order of the manifest; ``own`` from a column of ids."""
    table = chips.manifest
    listed = [None] * len(table) if column is None else table[column]
    own = [() if ids is None else tuple(sorted(map(str, ids))) for ids in listed]
    rows = zip(table["chip_id"], table["label"], table["group_id"], own, strict=True)
    return [Facts(str(chip_id), str(label), str(group), ids) for chip_id, label, group, ids in rows]


def _parent_facts(made: Sequence[Facts], known: set[str]) -> dict[str, Facts]:
    """Facts of the known parents that made chips agree on: one of two groups could be a null of itself."""
    claims: dict[str, set[Facts]] = {}
    for facts in made:
        for parent in facts.own:
            claims.setdefault(parent, set()).add(Facts(parent, facts.label, facts.group))
    # A parent whose chips differ stays a parent, under a group that no draw takes.
    return {
        parent: claim.pop() if len(claim) == 1 else Facts(parent, "", NO_GROUP)
        for parent, claim in sorted(claims.items())
        if parent in known
    }


def _against_own(chip: Image, facts: Facts, pool: ReferencePool, n_null: int, seed: int) -> _Found:
    """A chip against its own references; chips of their groups, and of its own, are no null."""
    none = np.full(n_null, np.nan)
    if not facts.own:
        return _Found(np.nan, none, f"no {pool.what}")
    unknown = [chip_id for chip_id in facts.own if chip_id not in pool.facts]
    if unknown:
        return _Found(np.nan, none, f"{pool.what} {unknown[0]} is not at hand")
    groups = {facts.group, *(pool.facts[chip_id].group for chip_id in facts.own)}
    drawn = pool.draw(facts, groups, n_null * len(facts.own), seed)
    made = pool.fitted(chip)
    return _found(made, pool.of(facts.own), pool.bank.take(drawn), pool.what, n_null)


def _against_drawn(chip: Image, drawn: NDArray[np.intp], pool: ReferencePool, n_null: int) -> _Found:
    """A chip against the first of a draw, with the others as its null."""
    if not len(drawn):
        return _Found(np.nan, np.full(n_null, np.nan), "no chip of another group")
    made = pool.fitted(chip)
    return _found(made, pool.bank.take(drawn[:1]), pool.bank.take(drawn[1:]), pool.what, n_null)


def _found(made: ReferenceBank, own: ReferenceBank, null: ReferenceBank, what: str, n_null: int) -> _Found:
    """Largest score over the own references, and over as many null references at a time."""
    several = len(own.reasons)
    scores = np.full(n_null, np.nan)
    whole = correlations(made, null)[0][: len(null.reasons) // several * several]
    scores[: len(whole) // several] = whole.reshape(-1, several).max(axis=1)
    reasons = pair_reasons(np.repeat(made.reasons, several), own.reasons, what)
    bad = next((str(reason) for reason in reasons if reason), "")
    if bad:
        return _Found(np.nan, scores, bad)
    return _Found(float(correlations(made, own)[0].max()), scores)


def _measures(found: Sequence[_Found]) -> tuple[Measure, Measure]:
    scores = np.array([item.score for item in found])
    return against_null(
        scores, np.stack([item.null for item in found]), np.array([item.reason for item in found])
    )


def _table(ids: list[str], measures: Sequence[Measure], names: Sequence[str] = COLUMNS) -> pd.DataFrame:
    columns = {name: measure.values for name, measure in zip(names, measures, strict=True)}
    reasons = [
        {name: str(measure.reasons[k]) for name, measure in zip(names, measures, strict=True)}
        for k in range(len(ids))
    ]
    told = [{name: why for name, why in row.items() if why} for row in reasons]
    texts = [lineage.canonical_json(row) if row else "" for row in told]
    return pd.DataFrame({"chip_id": ids, **columns, "pair_reasons": texts})
