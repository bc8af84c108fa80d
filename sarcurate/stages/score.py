"""score: every made chip and every made set, held against the target's real train chips."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sarcurate.errors import DataError
from sarcurate.execution import cpu_count
from sarcurate.io import lineage, set_quality
from sarcurate.io.chip_grid import ParentsOnGrid, chip_grid
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.reference import NETWORK, Reference, open_reference
from sarcurate.io.score_table import pooled_law, write_scores
from sarcurate.io.sensors import load_profile
from sarcurate.models.made_scores import Judge
from sarcurate.models.reference_network import load_network
from sarcurate.params import Params

SOURCE = "source"
TARGET = "target"
GENERATED = "generated"


@dataclass(frozen=True)
class Inputs:
    """Folders that score reads; ``made`` by set name."""

    source_train: Path
    target_train: Path
    source_reference: Path
    target_reference: Path
    generated: Path
    made: Mapping[str, Path]


@dataclass(frozen=True)
class Outputs:
    """Files that score writes: rows of chips by set, numbers per set, pooled laws of intensity."""

    scores: Path
    source_scores: Path
    generated_scores: Path
    quality: Path
    generated_quality: Path
    marginal: Path


def run(params: Params, inputs: Inputs, outputs: Outputs) -> list[str]:
    """Score the made sets; source chips as they are stand beside them as the gap to be closed.

    Generated chips are of the source sensor, so they are held against its real chips.
    """
    source = open_chipset(inputs.source_train, splits=("train",))
    target = open_chipset(inputs.target_train, splits=("train",))
    made = {name: open_chipset(path, splits=("train",)) for name, path in inputs.made.items()}
    reference = _reference(inputs.target_reference, target)
    generated = open_chipset(inputs.generated, splits=("train",))
    seed = lineage.seed_from(params.dataset.root_seed, "score")
    judge = Judge(
        reference=reference,
        network=load_network(inputs.target_reference / NETWORK),
        profile=load_profile(params.dataset.target.profile),
        parents=_parents(params, source, generated, target),
        styles=target,
        null_references=params.reference.null_references,
        seed=seed,
        workers=cpu_count(),
    )
    scored = {name: judge.score(chips) for name, chips in made.items()}
    sets = {SOURCE: judge.measure(source), **scored}
    quality = set_quality.set_quality(
        reference.train_scores,
        {name: one.table for name, one in sets.items()},
        {TARGET: reference.features} | {name: one.features for name, one in sets.items()},
        level=params.score.interval_level,
        draws=params.score.bootstrap_draws,
        seed=seed,
    )
    write_scores(outputs.scores, {name: one.table for name, one in scored.items()})
    write_scores(outputs.source_scores, {SOURCE: sets[SOURCE].table})
    _write_json(outputs.quality, quality)
    laws = [pooled_law(name, chips) for name, chips in {TARGET: target, SOURCE: source, **made}.items()]
    pd.concat(laws).to_csv(outputs.marginal, index=False)
    like_source = _score_generated(params, inputs.source_reference, source, generated, outputs)
    return [
        "against the target's real chips:",
        *set_quality.lines(quality),
        "against the source's real chips:",
        *set_quality.lines(like_source),
    ]


def _score_generated(
    params: Params, folder: Path, source: ChipSet, generated: ChipSet, outputs: Outputs
) -> dict[str, Any]:
    reference = _reference(folder, source)
    judge = Judge(
        reference=reference,
        network=load_network(folder / NETWORK),
        profile=load_profile(params.dataset.source.profile),
        parents={},
        styles=source,
        null_references=params.reference.null_references,
        seed=lineage.seed_from(params.dataset.root_seed, "score"),
        workers=cpu_count(),
    )
    scored = judge.measure(generated)
    quality = set_quality.set_quality(
        reference.train_scores,
        {GENERATED: scored.table},
        {TARGET: reference.features, GENERATED: scored.features},
        level=params.score.interval_level,
        draws=params.score.bootstrap_draws,
        seed=judge.seed,
    )
    write_scores(outputs.generated_scores, {GENERATED: scored.table})
    _write_json(outputs.generated_quality, quality)
    return quality


def _write_json(path: Path, numbers: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _reference(folder: Path, chips: ChipSet) -> Reference:
    reference = open_reference(folder)
    if reference.chipset_revision != chips.revision:
        raise DataError(
            f"{folder} was fitted on revision {reference.chipset_revision[:16]}, "
            f"{chips.root} is {chips.revision[:16]}",
            fix="run `dvc repro reference` first",
        )
    return reference


def _parents(params: Params, source: ChipSet, generated: ChipSet, target: ChipSet) -> ParentsOnGrid:
    profiles = [load_profile(side.profile) for side in (params.dataset.source, params.dataset.target)]
    grids = chip_grid(source, profiles[0]), chip_grid(target, profiles[1])
    return ParentsOnGrid((source, generated), grids, params.translate.same_pixels)
