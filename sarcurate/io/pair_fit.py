"""Two sensors' train chips as the statistics that a translation from one to the other needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core import translation
from sarcurate.io import lineage
from sarcurate.io.chip_grid import chip_grid
from sarcurate.io.chipset import ChipSet
from sarcurate.io.sensors import SensorProfile


@dataclass(frozen=True)
class PairFit:
    """Statistics of both sensors' train chips.

    Args:
        source, target: the statistics.
        like: the target set, whose header made chips take; profile: of its sensor.
        fitted_on: hashes of both sets by their pixels alone: a new manifest column changes no made chip.
    """

    source: translation.SourceStatistics
    target: translation.TargetStatistics
    like: ChipSet
    profile: SensorProfile
    fitted_on: tuple[str, str]


def fit_pair(
    source: ChipSet,
    target: ChipSet,
    source_profile: SensorProfile,
    target_profile: SensorProfile,
    *,
    same_pixels: bool,
    seed: int,
) -> PairFit:
    """Fit both sensors on their train chips; ``same_pixels`` takes a source pixel as a target pixel.

    Raises:
        DataError, ParamsError: as :func:`chip_grid` and the fits of :mod:`sarcurate.core.translation`.
    """
    target_statistics = translation.fit_target(_intensities(target), chip_grid(target, target_profile))
    source_statistics = translation.fit_source(
        _intensities(source),
        chip_grid(source, source_profile),
        target_statistics,
        same_pixels=same_pixels,
        seed=seed,
    )
    roots = [lineage.merkle_root(chips.manifest["pixels_sha256"]) for chips in (source, target)]
    return PairFit(source_statistics, target_statistics, target, target_profile, (roots[0], roots[1]))


def _intensities(chips: ChipSet) -> list[NDArray[np.float32]]:
    return [chips.intensity(row["chip_id"]) for row in chips.rows()]
