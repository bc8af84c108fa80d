"""How near whole made sets are to the target's real train chips, and how much of the gap they close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core import set_metrics
from sarcurate.core.group_draws import bootstrap_weights, halvings
from sarcurate.core.statistics import check_level
from sarcurate.errors import DataError
from sarcurate.io import set_distances, set_neighbours
from sarcurate.io.set_distances import Distance, Sample, median_enl

SOURCE, TARGET = "source", "target"
CAP_CHIPS = 2000  # kernels hold every pair of chips; of a larger set a random choice stands for it
HALVINGS, NEIGHBOUR_HALVINGS = 200, 20

Matrix = NDArray[np.float64]
Numbers = dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Draws:
    """Bootstrap weights of the real units and of the units of all sets, where equal groups share draws."""

    real: Matrix
    made: Matrix
    names: NDArray[np.str_]
    halves: Matrix
    level: float

    def of(self, made: Sample) -> Matrix:
        return np.asarray(self.made[:, np.searchsorted(self.names, made.units.names)])

    def ends(self, drawn: Matrix) -> tuple[float, float]:
        """Percentile interval; NaN where too many draws have no value to say where it ends."""
        tail = (1 - self.level) / 2
        found = drawn[np.isfinite(drawn)]
        if found.size < (1 - tail) * drawn.size:
            return np.nan, np.nan
        low, high = np.quantile(found, [tail, 1 - tail])
        return float(low), float(high)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A distance: its estimate, and its value in every draw (or halving)."""

    estimate: float
    draws: Matrix


def set_quality(
    real: pd.DataFrame,
    sets: Mapping[str, pd.DataFrame],
    features: Mapping[str, NDArray[np.floating]] | None,
    *,
    level: float,
    draws: int,
    seed: int,
) -> Numbers:
    """Numbers per set for ``metrics/quality.json``: distances to real chips, intervals and closed gaps.

    Intervals are percentiles over bootstrap draws of whole groups of the real and of the made chips (chips
    where there are fewer than 4 real or 2 made groups; ``drawn_by`` says which). Made sets share the draws
    of groups that they have in common. With few groups the intervals are too narrow.
    Floors are real against real: mean and range over random halves by groups. A half has half the chips, so
    floors are a little high. A gap is told only where the source lies beyond the floor's range.

    Args:
        real: score table of the real target train chips.
        sets: score tables by set name; ``source`` holds the source's chips as they are, where gaps are told.
        features: (n, f) in the order of each table, by set name, and ``target`` for the real chips; or None.
        level: of intervals and ranges, in (0, 1).
        draws: of the bootstrap.
        seed: of all random choices.

    Raises:
        DataError: without a set, for tables without a needed column, for features that do not fit, or
            with fewer than 8 real chips that have a whole physics vector.
        ParamsError: for draws < 1 or a level outside (0, 1).
    """
    check_level(level)
    target, made = _samples(real, sets, features, seed)
    drawn = _draws(target, made, level, draws, seed)
    entries = {name: _counts(one, drawn.of(one), drawn) for name, one in made.items()}
    floor: Numbers = {"halvings": HALVINGS, "neighbour_halvings": NEIGHBOUR_HALVINGS}
    bandwidth = set_distances.physics_bandwidth(target)
    for distance in set_distances.distances(bandwidth, features is not None):
        floor |= _compare(distance, target, made, drawn, entries)
    floor |= _add_neighbours(target, made, drawn, entries, "")
    if features is not None:
        floor |= _add_neighbours(target, made, drawn, entries, "_features")
        for name in made:
            entries[name] |= set_neighbours.frechet(features[TARGET], features[name])
    return {
        "interval_level": level,
        "draws": draws,
        "cap_chips": CAP_CHIPS,
        "bandwidth_physics": bandwidth,
        "real": _counts(target, drawn.real, drawn),
        "floor": floor,
        "sets": entries,
    }


def lines(quality: Mapping[str, Any]) -> list[str]:
    """A small aligned table for the terminal: a row per set, and the real-versus-real floor."""
    head = [
        "set",
        "chips",
        "MMD",
        "interval",
        "gap closed",
        "interval",
        "log-PSD",
        "gap closed",
        "median ENL",
    ]
    real, floor = quality["real"], quality["floor"]
    own = ["real halves", str(real["n_chips"]), _text(floor["mmd_physics"], ".3f")]
    own += [_range(floor, "mmd_physics", ".3f"), "", "", _text(floor["log_psd_distance"], ".3f"), ""]
    rows = [head, [*own, _text(real["median_enl"], ".2f")]]
    for name, entry in quality["sets"].items():
        rows.append(
            [
                *(name, str(entry["n_chips"]), _text(entry["mmd_physics"], ".3f")),
                *(_range(entry, "mmd_physics", ".3f"), _text(entry.get("gap_closed_mmd_physics"), ".0%")),
                *(_range(entry, "gap_closed_mmd_physics", ".0%"), _text(entry["log_psd_distance"], ".3f")),
                *(_text(entry.get("gap_closed_log_psd_distance"), ".0%"), _text(entry["median_enl"], ".2f")),
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ["  ".join(_aligned(row, widths)).rstrip() for row in rows]


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return [row[0].ljust(widths[0]), *rest]


def _text(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def _range(numbers: Mapping[str, Any], name: str, form: str) -> str:
    low, high = numbers.get(f"{name}_low"), numbers.get(f"{name}_high")
    return "n/a" if low is None or high is None else f"{low:{form}} to {high:{form}}"


def _samples(
    real: pd.DataFrame,
    sets: Mapping[str, pd.DataFrame],
    features: Mapping[str, NDArray[np.floating]] | None,
    seed: int,
) -> tuple[Sample, dict[str, Sample]]:
    if not sets or TARGET in sets:
        raise DataError(
            f"quality of sets: found {sorted(sets)}; {TARGET} means the real chips",
            fix="give at least one set, and none of that name",
        )
    if features is not None and set(features) != {TARGET, *sets}:
        raise DataError(
            f"quality of sets: features of {sorted(features)}, expected {sorted({TARGET, *sets})}",
            fix="give features of the real chips and of every set, or of none",
        )
    scale = set_distances.real_scale(real)
    given = features or {}

    def of(name: str, table: pd.DataFrame, least_groups: int) -> Sample:
        rows = given.get(name)
        return set_distances.sample(name, table, rows, scale, least_groups, CAP_CHIPS, seed)

    target = of(TARGET, real, set_distances.LEAST_REAL_GROUPS)
    return target, {name: of(name, table, set_distances.LEAST_MADE_GROUPS) for name, table in sets.items()}


def _draws(target: Sample, made: Mapping[str, Sample], level: float, draws: int, seed: int) -> _Draws:
    names = np.unique(np.concatenate([one.units.names for one in made.values()]))
    return _Draws(
        real=bootstrap_weights(len(target.units), draws, [seed, 0]),
        made=bootstrap_weights(len(names), draws, [seed, 1]),
        names=names,
        halves=halvings(len(target.units), HALVINGS, [seed, 2]),
        level=level,
    )


def _counts(one: Sample, weights: Matrix, drawn: _Draws) -> Numbers:
    estimate = float(median_enl(one, np.ones((1, len(one.units))))[0])
    return {
        "n_chips": one.n_chips,
        "n_compared": len(one.table),
        "n_without_vector": one.n_without_vector,
        "n_units": len(one.units),
        "drawn_by": "groups" if one.units.are_groups else "chips",
        "n_without_enl": int(np.isnan(one.column("enl")).sum()),
    } | _numbers("median_enl", estimate, drawn.ends(median_enl(one, weights)), "no chip has an ENL")


def _compare(
    distance: Distance,
    target: Sample,
    made: Mapping[str, Sample],
    drawn: _Draws,
    entries: dict[str, Numbers],
) -> Numbers:
    """Add the distance and the closed gap to the entry of each set; returns those of the floor."""
    halves = distance.between(target, target)(drawn.halves, 1 - drawn.halves)
    found = {name: _drawn(distance, target, one, drawn) for name, one in made.items()}
    for name, one in found.items():
        why = "fewer than 2 groups or chips with a value"
        entries[name] |= _numbers(distance.name, one.estimate, drawn.ends(one.draws), why)
        if SOURCE in found:
            entries[name] |= _gap(distance, one, found[SOURCE], halves, drawn)
    floor = _mean(halves)
    return _numbers(distance.name, floor, drawn.ends(halves), "halves of the real chips have no value")


def _add_neighbours(
    target: Sample, made: Mapping[str, Sample], drawn: _Draws, entries: dict[str, Numbers], suffix: str
) -> Numbers:
    """As :func:`_compare`, for precision, recall, density and coverage."""
    for name, one in made.items():
        entries[name] |= set_neighbours.neighbours(target, one, suffix)
    return set_neighbours.floor_neighbours(target, drawn.halves[:NEIGHBOUR_HALVINGS], suffix)


def _drawn(distance: Distance, target: Sample, one: Sample, drawn: _Draws) -> _Drawn:
    weighted = distance.between(target, one)
    ones = np.ones((1, len(target.units))), np.ones((1, len(one.units)))
    estimate = float(weighted(*ones)[0])
    return _Drawn(estimate, distance.centred(weighted(drawn.real, drawn.of(one)), estimate))


def _gap(distance: Distance, one: _Drawn, source: _Drawn, halves: Matrix, drawn: _Draws) -> Numbers:
    name = f"gap_closed_{distance.name}"
    scaled = distance.for_gap(halves)
    floor, (_, floor_high) = _mean(scaled), drawn.ends(scaled)
    made_at, source_at = (float(distance.for_gap(np.array(x.estimate))) for x in (one, source))
    if not np.isfinite([made_at, source_at, floor_high]).all():
        return _numbers(name, np.nan, (np.nan, np.nan), "the set, the source or the floor has no value")
    if source_at <= floor_high:
        why = f"source ({source_at:.3g}) is not beyond the range of real halves (up to {floor_high:.3g})"
        return _numbers(name, np.nan, (np.nan, np.nan), why)
    closed, _ = set_metrics.gap_closed(made_at, source_at, floor)
    span = distance.for_gap(source.draws) - floor
    # In a draw where the source is no farther than the floor there is no gap to close: it has no value.
    kept = np.divide(
        distance.for_gap(one.draws) - floor, span, out=np.full(span.shape, np.nan), where=span > 0
    )
    return _numbers(name, np.nan if closed is None else closed, drawn.ends(1 - kept), "")


def _mean(values: Matrix) -> float:
    found = values[np.isfinite(values)]
    return float(found.mean()) if found.size else np.nan


def _numbers(name: str, estimate: float, ends: tuple[float, float], why: str) -> Numbers:
    """Name, its low and its high end; None for NaN, with a reason beside it."""
    values = {name: estimate, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    numbers: Numbers = {key: float(x) if np.isfinite(x) else None for key, x in values.items()}
    if numbers[name] is None:
        return dict.fromkeys(numbers) | {f"{name}_reason": why}
    if numbers[f"{name}_low"] is None:
        numbers[f"{name}_reason"] = "no interval: too many draws of groups have no value"
    return numbers
