"""Scattering centres and shadow-casting surfaces of a parked aircraft."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.airframes import Airframe, Engine, EngineKind, Lifting

FloatArray = NDArray[np.float64]

REFERENCE_FREQUENCY_HZ = 9.65e9
_EDGE_STEP_M = 1.5
_PLACE_STD_M = 0.25
_LEVEL_STD_DB = 3.0
_HIDDEN_DB = -60.0  # the side of the body that faces away is behind it
_SURFACE_STEP_M = 0.5
_ALL_ROUND_DEG = 360.0

# Frequency exponents of the geometrical theory of diffraction (Potter and Moses 1997, table I).
_CORNER, _CYLINDER, _POINT, _EDGE = 1.0, 0.5, 0.0, -0.5


@dataclass(frozen=True, eq=False)
class Scatterers:
    """Scattering centres in the aircraft's own axes, each array of shape (n,).

    ``x_m`` points to the nose, ``y_m`` to starboard, ``z_m`` up from the ground; the origin is half way
    between nose and tail. ``rcs_dbsm`` holds at 9.65 GHz in the middle of the lobe; ``lobe_deg`` is the
    direction of the lobe from the nose towards starboard, ``lobe_width_deg`` its -3 dB width, and
    ``floor_db`` the level left outside it. ``exponent`` is the frequency exponent of the amplitude.
    """

    x_m: FloatArray
    y_m: FloatArray
    z_m: FloatArray
    rcs_dbsm: FloatArray
    lobe_deg: FloatArray
    lobe_width_deg: FloatArray
    floor_db: FloatArray
    exponent: FloatArray

    def rcs_m2(self, radar_deg: float, frequency_hz: float) -> FloatArray:
        """Radar cross sections in m2 towards a radar at ``radar_deg`` (from the nose to starboard).

        A parabolic main lobe in dB down to the floor; RCS goes with (f / 9.65 GHz)^(2 exponent), after
        Potter and Moses 1997, IEEE Trans. Image Processing 6(1), equation 3.
        """
        off_deg = np.abs((radar_deg - self.lobe_deg + 180.0) % 360.0 - 180.0)
        lobe_db = np.maximum(-12.0 * (off_deg / self.lobe_width_deg) ** 2, self.floor_db)
        band_db = 20.0 * self.exponent * np.log10(frequency_hz / REFERENCE_FREQUENCY_HZ)
        rcs: FloatArray = 10.0 ** ((self.rcs_dbsm + lobe_db + band_db) / 10.0)
        return rcs


@lru_cache(maxsize=512)
def scatterers_of(airframe: Airframe) -> Scatterers:
    """Scattering centres of an airframe; the same for the same airframe.

    Levels are assumed, not measured: engine cavities and corners brightest, edges and the body's dihedral
    with the ground flashing in their lobes, small fittings all round. What no drawing tells (fittings,
    the scatter of strengths) is drawn from the airframe's name. No part hides another one but by its lobe.
    """
    rng = np.random.default_rng(_seed_of(airframe.name))
    rows = [
        *_body(airframe),
        *_lifting(airframe, airframe.wing, root_dbsm=9.0),
        *_lifting(airframe, airframe.tailplane, root_dbsm=5.0),
        *_fins(airframe),
        *_gear(airframe),
    ]
    for engine in airframe.engines:
        rows += _engine(airframe, engine)
    rows += _fittings(airframe, rng)
    table = np.array(rows)
    table[:, :2] += rng.normal(0.0, _PLACE_STD_M, (len(table), 2))
    table[:, 3] += _size_db(airframe) + rng.normal(0.0, _LEVEL_STD_DB, len(table))
    return Scatterers(*(np.ascontiguousarray(column) for column in table.T))


def _seed_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _size_db(airframe: Airframe) -> float:
    """Common level of an airframe's parts; those of a body half as wide are about 3 dB weaker."""
    return float(6.0 + 10.0 * np.log10(airframe.fuselage_width_m / 5.0))


Row = tuple[float, float, float, float, float, float, float, float]


def _both_sides(row: Row) -> list[Row]:
    """A starboard scatterer and its mirror image."""
    x, y, z, rcs, lobe, width, floor, exponent = row
    return [row, (x, -y, z, rcs, -lobe, width, floor, exponent)]


def _body(airframe: Airframe) -> list[Row]:
    half, width, height = airframe.length_m / 2.0, airframe.fuselage_width_m, airframe.fuselage_height_m
    rows: list[Row] = [
        (half, 0.0, height, 3.0, 0.0, 120.0, -6.0, _POINT),
        (half - width, 0.0, height + 0.4 * width, 6.0, 0.0, 90.0, -10.0, _CORNER),
        (-half, 0.0, height + 0.3 * width, 2.0, 180.0, 140.0, -6.0, _POINT),
    ]
    for x in _steps(-0.35 * airframe.length_m, 0.42 * airframe.length_m):
        # The body's side over the apron is a dihedral; it shows at the line where the two meet.
        rows += _both_sides((x, width / 2.0, 0.0, 9.0, 90.0, 16.0, _HIDDEN_DB, _CYLINDER))
        rows += _both_sides((x, width / 2.0, height, -3.0, 90.0, 110.0, _HIDDEN_DB, _CYLINDER))
        rows.append((x, 0.0, height + width / 2.0, -8.0, 0.0, _ALL_ROUND_DEG, -3.0, _POINT))
    return rows


def _lifting(airframe: Airframe, part: Lifting, root_dbsm: float) -> list[Row]:
    """Leading and trailing edge, tip, and the corner with the body."""
    nose = airframe.length_m / 2.0
    root_y = min(airframe.fuselage_width_m / 2.0, 0.3 * part.span_m)
    tip_y = part.span_m / 2.0
    slope = np.tan(np.radians(part.sweep_deg))
    taper = (part.root_chord_m - part.tip_chord_m) / tip_y
    trailing_deg = 180.0 - float(np.degrees(np.arctan(slope - taper)))
    rows: list[Row] = []
    for y in _steps(root_y, tip_y):
        leading = nose - part.root_m - slope * y
        trailing = leading - (part.root_chord_m - taper * y)
        rows += _both_sides((leading, y, part.height_m, 3.0, part.sweep_deg, 24.0, -12.0, _EDGE))
        rows += _both_sides((trailing, y, part.height_m, 0.0, trailing_deg, 28.0, -10.0, _EDGE))
    tip_x = nose - part.root_m - slope * tip_y - part.tip_chord_m / 2.0
    rows += _both_sides((tip_x, tip_y, part.height_m, 1.0, 90.0, 200.0, -6.0, _POINT))
    root_x = nose - part.root_m - slope * root_y - 0.5 * part.root_chord_m
    rows += _both_sides((root_x, root_y, part.height_m, root_dbsm, 75.0, 80.0, -14.0, _CORNER))
    return rows


def _fins(airframe: Airframe) -> list[Row]:
    """Fin roots: a dihedral with body or tailplane, bright from the side, and the fin's top."""
    rear = -airframe.length_m / 2.0 + 0.1 * airframe.length_m
    base = airframe.fuselage_height_m + airframe.fuselage_width_m / 2.0
    rows: list[Row] = []
    for y in airframe.fin_offsets_m:
        for lobe in (90.0, -90.0):
            rows.append((rear, y, base, 8.0, lobe, 45.0, -16.0, _CORNER))
        rows.append(
            (rear - 0.04 * airframe.length_m, y, airframe.height_m, -3.0, 0.0, _ALL_ROUND_DEG, -3.0, _EDGE)
        )
    return rows


def _engine(airframe: Airframe, engine: Engine) -> list[Row]:
    front = airframe.length_m / 2.0 - engine.intake_m
    rear, y, z = front - engine.length_m, engine.offset_m, engine.height_m
    if engine.kind is EngineKind.PROPELLER:
        rows: list[Row] = [
            (front, y, z, 9.0, 0.0, 150.0, -8.0, _POINT),
            (rear, y, z, 3.0, 150.0, 120.0, -10.0, _POINT),
        ]
    else:
        loss_db = 3.0 if engine.kind is EngineKind.BURIED else 0.0
        rows = [
            (front, y, z, 12.0 - loss_db, 0.0, 90.0, -14.0, _CORNER),
            (rear, y, z, 9.0, 180.0, 80.0, -14.0, _CORNER),
            ((front + rear) / 2.0, y, 0.0, 5.0 - 2.0 * loss_db, 90.0, 110.0, -8.0, _CYLINDER),
        ]
    return [side for row in rows for side in _both_sides(row)] if y > 0.0 else rows


def _gear(airframe: Airframe) -> list[Row]:
    track = 0.5 * airframe.fuselage_width_m
    main_x = airframe.length_m / 2.0 - airframe.wing.root_m - 0.75 * airframe.wing.root_chord_m
    nose_gear: Row = (0.36 * airframe.length_m, 0.0, 0.0, 3.0, 0.0, 200.0, -8.0, _CORNER)
    return [nose_gear, *_both_sides((main_x, track, 0.0, 5.0, 100.0, 200.0, -8.0, _CORNER))]


def _fittings(airframe: Airframe, rng: np.random.Generator) -> list[Row]:
    """Antennas, doors, racks, flap tracks: half on the body, half on the wing, lobes in any direction."""
    rows: list[Row] = []
    wing, half = airframe.wing, airframe.length_m / 2.0
    for index in range(round(0.8 * airframe.length_m)):
        along, across, level, lobe, width = rng.uniform(size=5)
        if index % 2:
            x, y = half * (2.0 * along - 1.0) * 0.9, airframe.fuselage_width_m * (across - 0.5)
            z = airframe.fuselage_height_m + airframe.fuselage_width_m * 0.4
        else:
            y, z = wing.span_m * (across - 0.5), wing.height_m
            x = half - wing.root_m - np.tan(np.radians(wing.sweep_deg)) * abs(y) - along * wing.tip_chord_m
        rows.append((x, y, z, -4.0 + 10.0 * level, 360.0 * lobe, 30.0 + 90.0 * width, -16.0, _POINT))
    return rows


def _steps(start_m: float, stop_m: float) -> list[float]:
    """Even steps of about 1.5 m, ends included."""
    return [
        float(v) for v in np.linspace(start_m, stop_m, max(2, round((stop_m - start_m) / _EDGE_STEP_M) + 1))
    ]


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Opaque points of an airframe, arrays of shape (n,), each standing for ``area_m2`` seen from above."""

    x_m: FloatArray
    y_m: FloatArray
    z_m: FloatArray
    area_m2: float


@lru_cache(maxsize=512)
def surfaces_of(airframe: Airframe) -> Surfaces:
    """Points on body, wing, tailplane and fins, dense enough to cast a closed shadow."""
    points = np.concatenate(
        [
            _body_points(airframe),
            _lifting_points(airframe, airframe.wing),
            _lifting_points(airframe, airframe.tailplane),
            *(_fin_points(airframe, y) for y in airframe.fin_offsets_m),
        ]
    )
    x, y, z = (np.ascontiguousarray(column) for column in points.T)
    return Surfaces(x, y, z, area_m2=_SURFACE_STEP_M**2)


def _body_points(airframe: Airframe) -> FloatArray:
    width, length = airframe.fuselage_width_m, airframe.length_m
    x = np.arange(-length / 2.0, length / 2.0, _SURFACE_STEP_M)
    across = np.arange(-width / 2.0, width / 2.0, _SURFACE_STEP_M)
    grid_x, grid_y, grid_z = np.meshgrid(x, across, across, indexing="ij")
    from_nose = (length / 2.0 - grid_x) / length
    radius = (
        width / 2.0 * np.minimum(1.0, np.minimum(np.sqrt(from_nose / 0.12), (1.0 - from_nose) / 0.3 + 0.1))
    )
    inside = grid_y**2 + grid_z**2 <= radius**2
    return np.column_stack([grid_x[inside], grid_y[inside], grid_z[inside] + airframe.fuselage_height_m])


def _lifting_points(airframe: Airframe, part: Lifting) -> FloatArray:
    tip_y = part.span_m / 2.0
    y, x = np.meshgrid(
        np.arange(-tip_y, tip_y, _SURFACE_STEP_M),
        np.arange(-airframe.length_m, airframe.length_m, _SURFACE_STEP_M),
        indexing="ij",
    )
    leading = airframe.length_m / 2.0 - part.root_m - np.tan(np.radians(part.sweep_deg)) * np.abs(y)
    chord = part.root_chord_m + (part.tip_chord_m - part.root_chord_m) * np.abs(y) / tip_y
    inside = (x <= leading) & (x >= leading - chord)
    return np.column_stack([x[inside], y[inside], np.full(int(inside.sum()), part.height_m)])


def _fin_points(airframe: Airframe, offset_m: float) -> FloatArray:
    base = airframe.fuselage_height_m
    chord = airframe.tailplane.root_chord_m
    z, x = np.meshgrid(
        np.arange(base, airframe.height_m, _SURFACE_STEP_M),
        np.arange(0.0, chord, _SURFACE_STEP_M),
        indexing="ij",
    )
    x = x - airframe.length_m / 2.0 + 0.1
    return np.column_stack([x.ravel(), np.full(x.size, offset_m), z.ravel()])
