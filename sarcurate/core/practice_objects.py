"""Random named objects to practise on: aircraft that do not exist, ships, vehicles and buildings."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.airframes import Airframe, Engine, EngineKind, Lifting, aircraft
from sarcurate.core.scatterers import Scatterers, Surfaces, scatterers_of, surfaces_of

FloatArray = NDArray[np.float64]

OBJECTS = 256
# An airframe is drawn again where length and span are both within this factor of a known one's.
MARGIN = 1.1
_KINDS = ("aircraft", "ship", "vehicle", "building")
_KIND_SHARES = (0.6, 0.15, 0.1, 0.15)
_FIRST = ("Ka", "Lo", "Mi", "Tu", "Ve", "Zo", "Pa", "Ri", "Su", "No", "He", "Do")
_LAST = ("lar", "mek", "nor", "pix", "rud", "sol", "tan", "vex", "wyn", "zak")
_EDGE_STEP_M = 1.0
_SURFACE_STEP_M = 0.5
_MOST_SURFACE_POINTS = 40_000.0


@dataclass(frozen=True, eq=False)
class PracticeObject:
    """One of the objects: its name, its kind, what it reflects and what it shades."""

    name: str
    kind: str
    points: Scatterers
    surface: Surfaces

    @property
    def largest_m(self) -> float:
        """Twice the greatest distance of a scattering centre from the middle."""
        return 2.0 * float(np.hypot(self.points.x_m, self.points.y_m).max())


@dataclass(frozen=True)
class _Box:
    """A block: its middle, edges along the object's axes, and height."""

    x_m: float
    y_m: float
    length_m: float
    width_m: float
    height_m: float


@lru_cache(maxsize=OBJECTS)
def practice_object(index: int) -> PracticeObject:
    """The object of an index; its name and its shape never change.

    Args:
        index: 0 to ``OBJECTS`` - 1.
    """
    rng = np.random.default_rng(
        int.from_bytes(hashlib.sha256(f"practice {index}".encode()).digest()[:8], "big")
    )
    name = f"{rng.choice(_FIRST)}{rng.choice(_LAST)}-{index}"
    kind = str(rng.choice(_KINDS, p=_KIND_SHARES))
    if kind == "aircraft":
        airframe = _draw_airframe(name, rng)
        return PracticeObject(name, kind, scatterers_of(airframe), surfaces_of(airframe))
    boxes = _BOXES_OF[kind](rng)
    return PracticeObject(name, kind, _reflect(boxes, rng), _shade(boxes))


def _draw_airframe(name: str, rng: np.random.Generator) -> Airframe:
    while True:
        length = math.exp(rng.uniform(math.log(10.0), math.log(75.0)))
        span = length * rng.uniform(0.55, 1.3)
        known = ((one.length_m / length, one.span_m / span) for one in aircraft())
        if not any(all(1.0 / MARGIN <= ratio <= MARGIN for ratio in pair) for pair in known):
            return _airframe(name, length, span, rng)


def _airframe(name: str, length: float, span: float, rng: np.random.Generator) -> Airframe:
    """An airframe of given length and span, its other measures in the proportions of real ones."""
    width = length * rng.uniform(0.07, 0.16)
    axis = width * rng.uniform(0.55, 0.9)
    sweep = rng.uniform(0.0, 50.0)
    chord = span * rng.uniform(0.12, 0.3)
    tail_chord = length * rng.uniform(0.08, 0.16)
    wing = Lifting(
        span,
        length * rng.uniform(0.22, 0.42),
        chord,
        chord * rng.uniform(0.15, 0.6),
        sweep,
        axis * rng.uniform(0.7, 1.6),
    )
    tail = Lifting(
        span * rng.uniform(0.25, 0.5), length - 1.4 * tail_chord, tail_chord, 0.45 * tail_chord,
        min(sweep + 5.0, 50.0), axis * rng.uniform(0.9, 2.5),
    )  # fmt: skip
    fins = (-0.3 * width, 0.3 * width) if rng.uniform() < 0.25 else (0.0,)
    height = length * rng.uniform(0.2, 0.4)
    return Airframe(
        name, length, height, width, axis, wing, tail, fins, _engines(length, span, width, axis, rng)
    )


def _engines(
    length: float, span: float, width: float, axis: float, rng: np.random.Generator
) -> tuple[Engine, ...]:
    kind = EngineKind(str(rng.choice([str(k) for k in EngineKind])))
    if kind is EngineKind.BURIED:
        return (Engine(0.35 * length, 0.6 * length, width * float(rng.choice((0.0, 0.35))), axis, kind),)
    places = np.sort(rng.uniform(0.2, 0.75, int(rng.integers(1, 4)))) * span / 2.0
    return tuple(
        Engine(length * (0.28 + 0.25 * place / span), 0.1 * length, float(place), 0.7 * axis, kind)
        for place in places
    )


def _ship(rng: np.random.Generator) -> list[_Box]:
    length = math.exp(rng.uniform(math.log(20.0), math.log(150.0)))
    width = length * rng.uniform(0.12, 0.22)
    hull = _Box(0.0, 0.0, length, width, length * 0.06)
    decks = [
        _Box(
            length * rng.uniform(-0.42, 0.4), 0.0, length * rng.uniform(0.05, 0.15),
            width * rng.uniform(0.4, 0.9), length * rng.uniform(0.08, 0.2),
        )
        for _ in range(int(rng.integers(1, 5)))
    ]  # fmt: skip
    return [hull, *decks]


def _vehicle(rng: np.random.Generator) -> list[_Box]:
    length = rng.uniform(5.0, 18.0)
    width = length * rng.uniform(0.25, 0.5)
    body = _Box(0.0, 0.0, length, width, rng.uniform(1.2, 2.5))
    top = _Box(length * rng.uniform(-0.3, 0.3), 0.0, length * 0.35, width * 0.7, rng.uniform(2.0, 3.8))
    return [body, top]


def _building(rng: np.random.Generator) -> list[_Box]:
    size = math.exp(rng.uniform(math.log(12.0), math.log(90.0)))
    return [_block(size, rng) for _ in range(int(rng.integers(1, 7)))]


def _block(size: float, rng: np.random.Generator) -> _Box:
    x, y = size * rng.uniform(-0.35, 0.35, 2)
    length, width = size * rng.uniform(0.15, 0.6, 2)
    return _Box(x, y, length, width, rng.uniform(3.0, 15.0))


_BOXES_OF = {"ship": _ship, "vehicle": _vehicle, "building": _building}


def _reflect(boxes: list[_Box], rng: np.random.Generator) -> Scatterers:
    """Scattering centres of blocks: walls over the ground flash at right angles, the others all round."""
    rows = [row for box in boxes for row in (*_walls(box), *_corners(box), *_fittings(box, rng))]
    table = np.array(rows)
    table[:, 3] += rng.normal(0.0, 3.0, len(table))
    return Scatterers(*(np.ascontiguousarray(column) for column in table.T))


_Row = tuple[float, float, float, float, float, float, float, float]


def _walls(box: _Box) -> list[_Row]:
    """Dihedrals of wall and ground, one centre a metre, seen from their own side only."""
    rows: list[_Row] = []
    for side in (-1.0, 1.0):
        for x in _steps(box.length_m):
            rows.append(
                (box.x_m + x, box.y_m + side * box.width_m / 2.0, 0.0, 7.0, 90.0 * side, 16.0, -60.0, 0.5)
            )
        for y in _steps(box.width_m):
            lobe = 0.0 if side > 0 else 180.0
            rows.append((box.x_m + side * box.length_m / 2.0, box.y_m + y, 0.0, 7.0, lobe, 16.0, -60.0, 0.5))
    return rows


def _corners(box: _Box) -> list[_Row]:
    return [
        (
            box.x_m + sx * box.length_m / 2.0, box.y_m + sy * box.width_m / 2.0, box.height_m, 6.0,
            math.degrees(math.atan2(sy, sx)), 150.0, -8.0, 0.0,
        )
        for sx in (-1.0, 1.0)
        for sy in (-1.0, 1.0)
    ]  # fmt: skip


def _fittings(box: _Box, rng: np.random.Generator) -> list[_Row]:
    count = 2 + round(math.sqrt(box.length_m * box.width_m) / 3.0)
    along, across, level, lobe = rng.uniform(-0.5, 0.5, (4, count))
    return [
        (
            box.x_m + along[i] * box.length_m, box.y_m + across[i] * box.width_m, box.height_m,
            5.0 + 12.0 * level[i], 360.0 * lobe[i], 90.0, -12.0, 1.0,
        )
        for i in range(count)
    ]  # fmt: skip


def _steps(length_m: float) -> FloatArray:
    return np.linspace(-0.5, 0.5, max(2, round(length_m / _EDGE_STEP_M) + 1)) * length_m


def _shade(boxes: list[_Box]) -> Surfaces:
    """Roofs and walls as points, thinned out where the object is large."""
    volume = sum(box.length_m * box.width_m * box.height_m for box in boxes)
    step = max(_SURFACE_STEP_M, (volume / _MOST_SURFACE_POINTS) ** (1.0 / 3.0))
    points = np.concatenate([_filled(box, step) for box in boxes])
    x, y, z = (np.ascontiguousarray(column) for column in points.T)
    return Surfaces(x, y, z, area_m2=step**2)


def _filled(box: _Box, step_m: float) -> FloatArray:
    axes = (
        np.arange(-box.length_m / 2.0, box.length_m / 2.0, step_m) + box.x_m,
        np.arange(-box.width_m / 2.0, box.width_m / 2.0, step_m) + box.y_m,
        np.arange(0.0, box.height_m, step_m),
    )
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
