"""package: the data set as a folder for the Hub: shards, card, lists of chips and files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io import evidence
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.gates import Gate
from sarcurate.io.hub import card, card_figures, release
from sarcurate.io.hub.licences import LicenceRule
from sarcurate.io.hub.packing import Contents, Judged, pack
from sarcurate.io.hub.release import ArmNote, Training
from sarcurate.io.hub.release_record import About, release_of
from sarcurate.io.reference import open_reference
from sarcurate.io.score_table import SET, read_scores
from sarcurate.io.selection import read_selection
from sarcurate.io.validated import require_validated_revisions
from sarcurate.params import Params

# Values of the section evaluate that decide no single run.
_OF_NO_RUN = {"arms", "oracle_per_class", "seeds", "interval_level", "bootstrap_draws", "external_tests"}


@dataclass(frozen=True)
class Metrics:
    """What earlier stages found."""

    evaluation: Path
    curation: Path


@dataclass(frozen=True)
class Judgements:
    """Score tables, the Selection and both references."""

    scores: Path
    source_scores: Path
    generated_scores: Path
    selection: Path
    source_reference: Path
    target_reference: Path


@dataclass(frozen=True)
class Inputs:
    """What package reads; ``train`` and ``test`` by side, ``made`` by set name."""

    validated: Path
    metrics: Metrics
    judgements: Judgements
    train: Mapping[str, Path]
    test: Mapping[str, Path]
    generated: Path
    made: Mapping[str, Path]


def run(params: Params, inputs: Inputs, out: Path) -> list[str]:
    """Write the release to ``out``; chips per config and what stays out for the terminal."""
    sets = _open(inputs)
    train = {side: sets[f"{side}-train"].revision for side in inputs.train}
    require_validated_revisions(inputs.validated, train)
    contents = _contents(params, inputs, sets)
    numbers = {name: _json(path) for name, path in vars(inputs.metrics).items()}
    packed = pack(contents, params.package.configs, params.package.shard_mb, out)
    training = _training(params, inputs.metrics.evaluation, numbers["evaluation"]["arms"])
    dataset = params.dataset
    about = About(dataset.name, params.package.version, dataset.evidence, train, training)
    told = release_of(about, contents, packed)
    evaluated = numbers["evaluation"]["dataset_revision"]
    if told.dataset_revision != evaluated:
        raise DataError(
            f"{inputs.metrics.evaluation} is of data set revision {evaluated}, chips and selection are "
            f"{told.dataset_revision}",
            fix="run `dvc repro evaluate` first",
        )
    release.write_release(out, told)
    arms, in_metres = numbers["evaluation"]["arms"], dataset.footprint_m is not None
    pictures = card_figures.write_figures(out, contents, packed.released, arms, in_metres)
    facts = card.Facts(told, packed, contents, numbers, params.package.repo_id, pictures)
    (out / release.CARD).write_text(card.render(facts), encoding="utf-8")
    release.write_files(out)
    return card.lines(told, packed)


def _open(inputs: Inputs) -> dict[str, ChipSet]:
    train = {f"{side}-train": path for side, path in inputs.train.items()}
    made = {**train, "generated": inputs.generated, **inputs.made}
    opened = {name: open_chipset(path, splits=("train",)) for name, path in made.items()}
    tests = {f"{side}-test": open_chipset(path, splits=("test",)) for side, path in inputs.test.items()}
    return opened | tests


def _contents(params: Params, inputs: Inputs, sets: Mapping[str, ChipSet]) -> Contents:
    found = inputs.judgements
    source, target = open_reference(found.source_reference), open_reference(found.target_reference)
    judged = {str(name): Judged(rows, target.limits) for name, rows in read_scores(found.scores).groupby(SET)}
    judged["generated"] = Judged(read_scores(found.generated_scores), source.limits)
    judged["source-train"] = Judged(read_scores(found.source_scores), None)
    judged["target-train"] = Judged(target.train_scores, None)
    package = params.package
    return Contents(
        sets=sets,
        judged=judged,
        selection=read_selection(found.selection),
        rules=tuple(
            LicenceRule(rule.source, rule.id, rule.redistribute, rule.redistribute_made)
            for rule in package.licences
        ),
        gates=tuple(Gate(**gate.model_dump()) for gate in package.gates),
        classes=tuple(params.dataset.classes),
        reasons=package.reasons,
        curate_gates=tuple(Gate(**gate.model_dump()) for gate in params.curate.gates),
        target_limits=target.limits,
    )


def _training(params: Params, path: Path, scores: Mapping[str, Any]) -> Training | None:
    """What a retraining needs; None where classifiers began from a file, which is not in the release."""
    evaluate = params.evaluate
    if evaluate.initial_weights is not None:
        return None
    lacking = [arm.name for arm in evaluate.arms if arm.name not in scores]
    if lacking:
        raise DataError(f"{path} has no scores of arms {lacking}", fix="run `dvc repro evaluate` first")
    arms = tuple(
        ArmNote(
            **arm.model_dump() | {"add": tuple(arm.add)},
            n_train=scores[arm.name]["n_train"],
            n_test=scores[arm.name]["n_test"],
            n_correct=tuple(scores[arm.name]["n_correct"]),
        )
        for arm in evaluate.arms
    )
    seeds = (evidence.run_seed(params.dataset.root_seed, number) for number in range(evaluate.seeds))
    return Training(evaluate.model_dump(exclude=_OF_NO_RUN), tuple(seeds), arms)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
