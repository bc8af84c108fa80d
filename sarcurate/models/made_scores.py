"""All scores of a set against one sensor's reference: physics, pairs, memorisation, class agreement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sarcurate.core.memorisation import memorisation_ratio
from sarcurate.core.physics_vector import physics_distance
from sarcurate.core.scorecard import VECTOR
from sarcurate.io import scoring
from sarcurate.io.chipset import ChipSet
from sarcurate.io.pair_scores import pair_scores
from sarcurate.io.reference import Reference
from sarcurate.io.score_table import with_measures
from sarcurate.io.sensors import SensorProfile
from sarcurate.models.reference_network import ReferenceNetwork, outputs

PAIR_COLUMNS = ("content_retention", "content_z", "ghost_ncc", "ghost_z")
NO_VECTOR = "a measure of the physics vector is missing"
NO_LENGTH = "no target length, or too few real chips of the class with one"
LEAST_OF_CLASS = 5
NOT_TRAINED = "the reference network was trained on no chip of this class"


@dataclass(frozen=True, eq=False)
class ScoredSet:
    """A score table, and the network's features (n, 64) of its chips in the same order."""

    table: pd.DataFrame
    features: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Judge:
    """One sensor's reference and what pairs need: parents on its grid, style references, null draws."""

    reference: Reference
    network: ReferenceNetwork
    profile: SensorProfile
    parents: Mapping[str, NDArray[np.float32]]
    styles: ChipSet
    null_references: int
    seed: int
    workers: int

    def measure(self, chips: ChipSet) -> ScoredSet:
        """Scores that need no pair; enough for a real set, such as the source's own chips."""
        train = self.reference
        context = scoring.context_of(chips, self.profile)
        table = scoring.measure_chips(chips, context, train.yardstick, self.workers)
        features, probabilities = outputs(self.network, (chips.intensity(c) for c in table["chip_id"]))
        memory = memorisation_ratio(features, train.features, train.train_scores["fold"].to_numpy(np.int64))
        distance = physics_distance(table[list(VECTOR)], train.standard)
        return ScoredSet(
            with_measures(
                table,
                {
                    "physics_distance": distance,
                    "memorisation_ratio": memory.ratio.values,
                    "class_probability": own_class(probabilities, table["label"], self.network.classes),
                    "target_length_over_class": length_over_class(table, train.train_scores),
                },
                {
                    "physics_distance": [NO_VECTOR] * len(table),
                    "memorisation_ratio": memory.ratio.reasons.tolist(),
                    "class_probability": [NOT_TRAINED] * len(table),
                    "target_length_over_class": [NO_LENGTH] * len(table),
                },
            ),
            features,
        )

    def score(self, chips: ChipSet) -> ScoredSet:
        """All scores of a made set."""
        alone = self.measure(chips)
        pairs = pair_scores(chips, self.parents, self.styles, self.null_references, self.seed)
        return ScoredSet(with_pairs(alone.table, pairs, PAIR_COLUMNS), alone.features)


def with_pairs(table: pd.DataFrame, pairs: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The table with pair scores, matched by chip_id."""
    matched = pairs.set_index("chip_id").loc[table["chip_id"]]
    told = [json.loads(text) if text else {} for text in matched["pair_reasons"]]
    return with_measures(
        table,
        {name: matched[name].to_numpy(np.float64) for name in columns},
        {name: [why.get(name, "") for why in told] for name in columns},
    )


def own_class(
    probabilities: NDArray[np.floating], labels: Sequence[str] | pd.Series, classes: Sequence[str]
) -> ArrayLike:
    """(n,) probability that the network gives each chip's own label; NaN for a class it does not know."""
    place = {name: column for column, name in enumerate(classes)}
    return np.array(
        [
            row[place[label]] if label in place else np.nan
            for row, label in zip(probabilities, labels, strict=True)
        ]
    )


def length_over_class(table: pd.DataFrame, real: pd.DataFrame) -> NDArray[np.float64]:
    """(n,) target length over the median of real chips of the same class; NaN where either is missing."""
    lengths = real.groupby("label")["target_length_m"]
    usual = lengths.median().where(lengths.count() >= LEAST_OF_CLASS)
    return (table["target_length_m"] / table["label"].map(usual)).to_numpy(np.float64)
