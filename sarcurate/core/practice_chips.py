"""Chips of random objects on random ground, as a random sensor sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.clutter import gamma_texture
from sarcurate.core.coherent_field import Ground, Pose, Target, complex_looks
from sarcurate.core.practice_objects import OBJECTS, PracticeObject, practice_object
from sarcurate.core.sensor_model import ChipGrid, SensorModel, chip_grid

FloatArray = NDArray[np.float64]

_EMPTY_SHARE = 0.05
_INCIDENCE_DEG = (20.0, 60.0)
_CLUTTER_DB = (-22.0, -4.0)
_TEXTURE_ORDERS = (2.0, 16.0)
_REGION_STD_DB = 5.0
_FITTING = (0.12, 0.85)  # least and largest share of the footprint that an object may take


@dataclass(frozen=True, eq=False)
class PracticeChip:
    """A rendered chip.

    Args:
        intensity: sigma0 as linear intensity, float32, (rows, cols).
        name: of the object in its middle, empty for bare ground.
        aspect_deg: how it stands; 0 is nose to the radar.
        incidence_deg: incidence angle.
    """

    intensity: NDArray[np.float32]
    name: str
    aspect_deg: float
    incidence_deg: float


def fitting_objects(sensor: SensorModel, chip_px: int) -> list[int]:
    """Indices of the objects that a chip of the sensor shows at a sensible size; never none."""
    footprint_m = chip_px * sensor.range_spacing_m
    shares = np.array([practice_object(i).largest_m / footprint_m for i in range(OBJECTS)])
    inside = np.flatnonzero((shares >= _FITTING[0]) & (shares <= _FITTING[1]))
    return [int(i) for i in inside] if inside.size else [int(np.argmin(np.abs(shares - 0.5)))]


def render_practice(
    sensor: SensorModel, objects: Sequence[int], chip_px: int, rng: np.random.Generator
) -> PracticeChip:
    """One chip: ground in regions, an object near the middle, sometimes others beside it.

    Args:
        sensor: the sensor; its pixels must be square.
        objects: indices of the objects to draw from.
        chip_px: rows and columns.
        rng: source of randomness.
    """
    grid = chip_grid(chip_px * sensor.range_spacing_m, sensor)
    incidence = float(rng.uniform(*_INCIDENCE_DEG))
    shown = None if rng.uniform() < _EMPTY_SHARE else practice_object(int(rng.choice(objects)))
    poses, targets = [], []
    if shown is not None:
        poses.append(_pose(grid, incidence, 0.06, rng))
        targets.append(_target(shown, poses[0]))
    for _ in range(int(rng.choice((0, 0, 0, 1, 2)))):
        other = practice_object(int(rng.choice(objects)))
        targets.append(_target(other, _pose(grid, incidence, 0.5, rng)))
    ground = Ground(_regions(grid, rng), 10.0 ** (sensor.nesz_db / 10.0), _texture_order(rng))
    looks = complex_looks(ground, targets, grid, sensor.looks, sensor.centre_frequency_hz, rng)
    intensity = np.mean(looks.real**2 + looks.imag**2, axis=0).astype(np.float32)
    return PracticeChip(
        intensity, shown.name if shown else "", poses[0].aspect_deg if poses else 0.0, incidence
    )


def _target(thing: PracticeObject, pose: Pose) -> Target:
    return Target(thing.points, thing.surface, pose)


def _pose(grid: ChipGrid, incidence_deg: float, spread: float, rng: np.random.Generator) -> Pose:
    half = [spread * n * spacing for n, spacing in zip(grid.shape, grid.spacing_m, strict=True)]
    return Pose(
        aspect_deg=float(rng.uniform(0.0, 360.0)),
        azimuth_offset_m=float(rng.uniform(-half[0], half[0])),
        range_offset_m=float(rng.uniform(-half[1], half[1])),
        incidence_deg=incidence_deg,
    )


def _texture_order(rng: np.random.Generator) -> float:
    return math.inf if rng.uniform() < 0.15 else round(2.0 * float(rng.uniform(*_TEXTURE_ORDERS))) / 2.0


def _regions(grid: ChipGrid, rng: np.random.Generator) -> FloatArray:
    """Mean clutter of each padded cell: up to four regions with straight borders, and slow relief."""
    rows, cols = grid.padded
    row, col = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, cols), indexing="ij")
    level_db = np.full((rows, cols), rng.uniform(*_CLUTTER_DB))
    for _ in range(int(rng.choice((0, 0, 1, 2, 3)))):
        angle, shift, width = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(-0.8, 0.8), rng.uniform(0.05, 2.0)
        across = row * np.sin(angle) + col * np.cos(angle) - shift
        level_db[(across > 0) & (across < width)] += rng.normal(0.0, _REGION_STD_DB)
    if rng.uniform() < 0.4:
        scale = float(rng.uniform(4.0, 20.0)) * grid.spacing_m[1]
        level_db += 10.0 * np.log10(gamma_texture(grid.padded, grid.spacing_m, 1.5, scale, rng) + 0.05)
    return 10.0 ** (level_db / 10.0)
