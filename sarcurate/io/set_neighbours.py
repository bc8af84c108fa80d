"""Precision, recall, density, coverage and Frechet distance of score tables, as entries of the result."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.core import set_metrics
from sarcurate.io.set_distances import Sample

NEIGHBOUR_NAMES = ("precision", "recall", "density", "coverage")
LEAST_CHIPS = 6  # so that each has a fifth neighbour

Matrix = NDArray[np.float64]
Numbers = dict[str, Any]


def neighbours(target: Sample, one: Sample, suffix: str) -> Numbers:
    """Of physics vectors (no suffix) or of features (``_features``); None with a reason for too few chips."""
    return _neighbours(_space(target, suffix)[0], _space(one, suffix)[0], suffix)


def floor_neighbours(target: Sample, halves: Matrix, suffix: str) -> Numbers:
    """Means over halvings of the real chips, (halvings, units) with 1 for the first half."""
    rows, units = _space(target, suffix)
    found = []
    for half in halves:
        first = half[units] > 0
        found.append(_neighbours(rows[first], rows[~first], suffix))
    numbers: Numbers = {}
    for name in (name + suffix for name in NEIGHBOUR_NAMES):
        values = [one[name] for one in found if one[name] is not None]
        numbers[name] = float(np.mean(values)) if values else None
        if not values:
            numbers[f"{name}_reason"] = f"halves of the real chips have fewer than {LEAST_CHIPS} chips"
    return numbers


def frechet(real: NDArray[np.floating], made: NDArray[np.floating]) -> Numbers:
    """Frechet distance of features (n, f) and (m, f), with its warning below 2,048 chips."""
    if len(made) < 2:
        return {"frechet_features": None, "frechet_features_reason": "fewer than 2 chips"}
    found = set_metrics.frechet_distance(real, made)
    warning = {"frechet_features_warning": found.warning} if found.warning else {}
    return {"frechet_features": found.value} | warning


def _space(one: Sample, suffix: str) -> tuple[Matrix, NDArray[np.intp]]:
    """Rows to compare, and the unit of each."""
    if suffix and one.features is not None:
        return one.features, one.units.index
    return one.z, one.units.index[one.whole]


def _neighbours(real: Matrix, made: Matrix, suffix: str) -> Numbers:
    names = [name + suffix for name in NEIGHBOUR_NAMES]
    if min(len(real), len(made)) < LEAST_CHIPS:
        reason = f"fewer than {LEAST_CHIPS} chips to compare"
        return dict.fromkeys(names) | {f"{name}_reason": reason for name in names}
    found = asdict(set_metrics.neighbours(real, made))
    return {name + suffix: found[name] for name in NEIGHBOUR_NAMES}
