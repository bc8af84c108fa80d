"""Simulated chips of parked aircraft, for a pair of sensors with known truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.airframes import Airframe
from sarcurate.core.clutter import equivalent_looks, texture_variance_seen
from sarcurate.core.coherent_field import (
    TEXTURE_CORRELATION_M,
    Ground,
    Pose,
    apparent_positions,
    complex_looks,
    parked,
)
from sarcurate.core.scatterers import REFERENCE_FREQUENCY_HZ, scatterers_of
from sarcurate.core.scene_plan import ChipRecipe, Scene
from sarcurate.core.sensor_model import ChipGrid, SensorModel, chip_grid
from sarcurate.errors import ParamsError

_ASPECT_STD_DEG = 4.0
_LARGEST_OFFSET_M = 4.0
_BORDER_M = 2.0


@dataclass(frozen=True, eq=False)
class SimulatedChip:
    """A simulated chip and what is true of it.

    Args:
        intensity: sigma0 as linear intensity, float32, (rows, cols).
        truth: plain values with units in their names.
    """

    intensity: NDArray[np.float32]
    truth: dict[str, str | float]


def clutter_sigma0_db(scene: Scene, sensor: SensorModel) -> float:
    """Mean backscatter of the apron at the sensor's frequency, in dB, before the pass's gain error.

    Paved ground is rougher to shorter waves; a rise with 10 log10(frequency) is assumed.
    """
    return scene.clutter_sigma0_db + 10.0 * math.log10(sensor.centre_frequency_hz / REFERENCE_FREQUENCY_HZ)


def draw_pose(recipe: ChipRecipe, airframe: Airframe, footprint_m: float, rng: np.random.Generator) -> Pose:
    """Pose of an aircraft near its stand's heading, wholly inside the chip at any aspect.

    Raises:
        ParamsError: where the aircraft is too large for the footprint.
    """
    points = scatterers_of(airframe)
    radius_m = float(np.hypot(points.x_m, points.y_m).max())
    room_m = footprint_m / 2.0 - radius_m - _BORDER_M
    if room_m < 0:
        raise ParamsError(
            f"{airframe.name} needs {2 * (radius_m + _BORDER_M):.1f} m at any aspect, "
            f"found a footprint of {footprint_m} m",
            fix="enlarge the footprint",
        )
    largest = min(_LARGEST_OFFSET_M, room_m)
    azimuth_offset, range_offset = rng.uniform(-largest, largest, 2)
    return Pose(
        aspect_deg=float(recipe.scene.stand_aspect_deg(recipe.stand) + rng.normal(0.0, _ASPECT_STD_DEG))
        % 360.0,
        azimuth_offset_m=float(azimuth_offset),
        range_offset_m=float(range_offset),
        incidence_deg=recipe.scene.incidence_deg,
    )


def render(
    recipe: ChipRecipe, airframe: Airframe, sensor: SensorModel, footprint_m: float, seed: int
) -> SimulatedChip:
    """One simulated chip: aircraft, clutter, shadow and noise as the sensor shows them.

    The same arguments give the same bytes. Two sensors' chips of one recipe and one seed show the
    aircraft at the same place and aspect.

    Args:
        recipe: class, scene and stand.
        airframe: the aircraft; its name is the recipe's label.
        sensor: the sensor.
        footprint_m: edge of the square on the ground.
        seed: of this chip alone; the caller derives it from the recipe.

    Raises:
        ParamsError: where the aircraft does not fit, the footprint is not a whole number of pixels, the
            spacing undersamples the band, or the airframe is not the recipe's.
    """
    if airframe.name != recipe.label:
        raise ParamsError(
            f"chip {recipe.index} of {recipe.label} was given the airframe {airframe.name}",
            fix="pass the airframe that carries the recipe's label",
        )
    rng = np.random.default_rng(seed)
    grid = chip_grid(footprint_m, sensor)
    pose = draw_pose(recipe, airframe, footprint_m, rng)
    ground = _ground(recipe.scene, sensor)
    looks = complex_looks(
        ground, [parked(airframe, pose)], grid, sensor.looks, sensor.centre_frequency_hz, rng
    )
    gain = 10.0 ** (recipe.scene.gain_db / 10.0)
    intensity = (gain * np.mean(looks.real**2 + looks.imag**2, axis=0)).astype(np.float32)
    truth = {
        **_scene_truth(recipe, pose, sensor),
        "clutter_enl": _clutter_looks(ground, grid, sensor.looks),
        **_extent_truth(airframe, pose, grid),
    }
    return SimulatedChip(intensity, truth)


def _ground(scene: Scene, sensor: SensorModel) -> Ground:
    return Ground(
        clutter=10.0 ** (clutter_sigma0_db(scene, sensor) / 10.0),
        noise=10.0 ** (sensor.nesz_db / 10.0),
        texture_order=scene.texture_order,
    )


def _clutter_looks(ground: Ground, grid: ChipGrid, looks: int) -> float:
    azimuth_power, range_power = (
        np.abs(np.fft.ifft(weights)) ** 2 for weights in (grid.azimuth_weights, grid.range_weights)
    )
    variance = texture_variance_seen(
        azimuth_power, range_power, grid.spacing_m, ground.texture_order, TEXTURE_CORRELATION_M
    )
    return equivalent_looks(looks, float(np.mean(ground.clutter)), ground.noise, variance)


def _scene_truth(recipe: ChipRecipe, pose: Pose, sensor: SensorModel) -> dict[str, str | float]:
    return {
        "label": recipe.label,
        "scene_id": recipe.scene.scene_id,
        "azimuth_deg": pose.aspect_deg,
        "incidence_deg": pose.incidence_deg,
        "azimuth_offset_m": pose.azimuth_offset_m,
        "range_offset_m": pose.range_offset_m,
        "range_resolution_m": sensor.range_resolution_m,
        "azimuth_resolution_m": sensor.azimuth_resolution_m,
        "nesz_db": sensor.nesz_db,
        "gain_db": recipe.scene.gain_db,
        "clutter_sigma0_db": clutter_sigma0_db(recipe.scene, sensor),
        "texture_order": recipe.scene.texture_order,
        "speckle_enl": float(sensor.looks),
    }


def _extent_truth(airframe: Airframe, pose: Pose, grid: ChipGrid) -> dict[str, str | float]:
    """First and last row and column of the aircraft's scattering centres, as fractions of pixels."""
    truth: dict[str, str | float] = {}
    axes = zip(
        ("row", "col"),
        apparent_positions(scatterers_of(airframe), pose),
        grid.shape,
        grid.spacing_m,
        strict=True,
    )
    for axis, position_m, n_samples, spacing_m in axes:
        pixels = position_m / spacing_m + (n_samples - 1) / 2.0
        truth[f"target_first_{axis}_px"] = float(pixels.min())
        truth[f"target_last_{axis}_px"] = float(pixels.max())
    return truth
