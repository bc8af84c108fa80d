"""The reference of one sensor, fitted on its real train chips: each is measured by what the others say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.memorisation import train_ratios
from sarcurate.core.physics_vector import fit_standard, left_out_distances
from sarcurate.core.scorecard import VECTOR, ChipContext, Yardstick, fit_yardstick
from sarcurate.core.statistics import Interval
from sarcurate.core.tolerance import Side, joint_left_out, lower_limit, two_sided_limits, upper_limit
from sarcurate.errors import DataError
from sarcurate.io import scoring
from sarcurate.io.chipset import ChipSet
from sarcurate.io.measure_limits import SIDES, MeasureLimits, PassRates
from sarcurate.io.pair_scores import real_ghosts
from sarcurate.io.reference import Reference
from sarcurate.io.score_table import measure_names, with_measures
from sarcurate.io.sensors import SensorProfile
from sarcurate.models.made_scores import (
    NO_LENGTH,
    NO_VECTOR,
    NOT_TRAINED,
    length_over_class,
    own_class,
    with_pairs,
)
from sarcurate.models.reference_network import (
    HELD_BACK_FOLD,
    NetworkSettings,
    ReferenceNetwork,
    outputs,
    train_network,
)

LIMIT_PERCENTILES = (0.1, 99.9)
TRAINED_ON = "the reference network was trained on this chip"
# Distances to the real chips themselves: their median over left-out chips is what a made set can reach.
DISTANCES = (
    "log_psd_distance",
    "polar_psd_distance",
    "wasserstein_ln",
    "correlation_distance",
    "physics_distance",
)
Images = list[NDArray[np.float32]]


@dataclass(frozen=True)
class FitSettings:
    """Classes in index order, limits' content and confidence, references of a ghost's null, the network's."""

    classes: tuple[str, ...]
    content: float
    confidence: float
    null_references: int
    network: NetworkSettings


def fit_reference(
    chips: ChipSet,
    profile: SensorProfile,
    settings: FitSettings,
    seed: int,
    workers: int,
    on_update: Callable[[int, float], None],
) -> tuple[Reference, ReferenceNetwork]:
    """Reference and network from a train ChipSet with folds; the result does not depend on ``workers``.

    Raises:
        DataError: for chips without folds, or too few or too small ones for any part of it.
    """
    rows = chips.manifest
    if rows["fold"].isna().any() or rows["fold"].nunique() < 2:
        raise DataError(
            f"{chips.root}: {rows['fold'].nunique()} folds and {int(rows['fold'].isna().sum())} chips "
            "without one, expected 2 folds at least",
            fix="make the train set with `dvc repro split`",
        )
    images = [chips.intensity(chip_id) for chip_id in rows["chip_id"]]
    folds = rows["fold"].to_numpy(np.int64)
    context = scoring.context_of(chips, profile)
    network = train_network(
        images, list(rows["label"]), list(folds), settings.classes, settings.network, seed, on_update
    )
    features, probabilities = outputs(network, images)
    table = _left_out_scores(chips, images, folds, context, workers)
    vectors = table[list(VECTOR)].to_numpy(np.float64)
    agreement = np.where(
        folds == HELD_BACK_FOLD, own_class(probabilities, table["label"], network.classes), np.nan
    )
    table = with_measures(
        table,
        {
            "physics_distance": left_out_distances(vectors, folds),
            "memorisation_ratio": train_ratios(features, folds),
            "class_probability": agreement,
            "target_length_over_class": _left_out_lengths(table, folds),
        },
        {
            "physics_distance": [NO_VECTOR] * len(table),
            "class_probability": [NOT_TRAINED if fold == HELD_BACK_FOLD else TRAINED_ON for fold in folds],
            "target_length_over_class": [NO_LENGTH] * len(table),
        },
    )
    ghosts = real_ghosts(chips, settings.null_references, seed)
    table = with_pairs(table, ghosts, ("ghost_ncc", "ghost_z"))
    floors = {name: float(table[name].median()) for name in DISTANCES if table[name].notna().any()}
    reference = Reference(
        sensor=chips.header.sensor,
        radiometry=chips.header.radiometry,
        chipset_revision=chips.revision,
        n_chips=len(table),
        yardstick=fit_yardstick(images),
        standard=fit_standard(vectors),
        intensity_limits_db=_limits_db(images),
        content=settings.content,
        confidence=settings.confidence,
        limits={name: measure_limits(table[name], folds, settings) for name in measure_names(table)},
        floors=floors,
        network_accuracy=(network.held_back.k, network.held_back.n),
        train_scores=table,
        features=features,
    )
    return reference, network


def _left_out_scores(
    chips: ChipSet, images: Images, folds: NDArray[np.int64], context: ChipContext, workers: int
) -> pd.DataFrame:
    """Scorecards of all chips, each against the yardstick of the other folds, in the manifest's order."""
    parts = []
    for fold in np.unique(folds):
        others: Yardstick = fit_yardstick([images[k] for k in np.flatnonzero(folds != fold)])
        mine = replace(chips, manifest=chips.manifest[folds == fold])
        parts.append(scoring.measure_chips(mine, context, others, workers))
    return pd.concat(parts).sort_values("chip_id", ignore_index=True)


def _left_out_lengths(table: pd.DataFrame, folds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Target lengths over those of the same class in other folds."""
    ratios = np.empty(len(table))
    for fold in np.unique(folds):
        mine = folds == fold
        ratios[mine] = length_over_class(table[mine], table[~mine])
    return ratios


def measure_limits(values: pd.Series, folds: NDArray[np.int64], settings: FitSettings) -> MeasureLimits:
    """Limits of one measure and the share of left-out chips inside them; None where too few have a value."""
    known = values.to_numpy(np.float64)
    there = ~np.isnan(known)
    want = settings.content, settings.confidence
    low, high = two_sided_limits(known, *want) if there.sum() > 1 else (None, None)
    return MeasureLimits(
        lower=lower_limit(known, *want) if there.any() else None,
        upper=upper_limit(known, *want) if there.any() else None,
        both_low=low,
        both_high=high,
        left_out_pass_rate=_pass_rates(known[there], folds[there], settings),
    )


def _pass_rates(
    known: NDArray[np.float64], folds: NDArray[np.int64], settings: FitSettings
) -> PassRates | None:
    """Per side; of the chips with a value, as a chip without one is the gate's own question."""
    counts = [int((folds != fold).sum()) for fold in np.unique(folds)]
    if len(counts) < 2 or min(counts) < 2:
        return None

    def rate(side: Side) -> Interval:
        want = settings.content, settings.confidence
        return joint_left_out(known[:, None], folds, [side], *want, missing_ok=False).rate

    return PassRates(*(rate(side) for side in SIDES))


def _limits_db(images: Images) -> tuple[float, float]:
    pooled = np.concatenate([image[image > 0] for image in images]).astype(np.float64)
    low, high = np.percentile(10 * np.log10(pooled), LIMIT_PERCENTILES)
    return float(low), float(high)
