"""The complex image of an aircraft on the ground: point responses, clutter, shadow and thermal noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2, ifft2

from sarcurate.core.airframes import Airframe
from sarcurate.core.clutter import gamma_texture
from sarcurate.core.scatterers import Scatterers, Surfaces, scatterers_of, surfaces_of
from sarcurate.core.sensor_model import ChipGrid

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

TEXTURE_CORRELATION_M = 8.0
_STRENGTH_STD_DB = 2.0
_FAINTEST_M2 = 3e-3  # 10 dB and more below one square metre of the darkest apron


@dataclass(frozen=True)
class Pose:
    """How an object stands in the chip; its nose is the end of its x axis.

    Args:
        aspect_deg: 0 is nose to the radar, 90 nose along the radar's flight (increasing rows).
        azimuth_offset_m: its middle from the chip's centre, along azimuth.
        range_offset_m: the same along ground range.
        incidence_deg: incidence angle.
    """

    aspect_deg: float
    azimuth_offset_m: float
    range_offset_m: float
    incidence_deg: float

    def to_ground(self, x_m: FloatArray, y_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Azimuth and ground range, from the chip's centre, of points in the aircraft's axes."""
        sine, cosine = np.sin(np.radians(self.aspect_deg)), np.cos(np.radians(self.aspect_deg))
        azimuth = self.azimuth_offset_m + x_m * sine + y_m * cosine
        range_ = self.range_offset_m - x_m * cosine + y_m * sine
        return azimuth, range_


@dataclass(frozen=True)
class Ground:
    """Clutter and noise levels, linear, and the order of the clutter's Gamma texture.

    The clutter is one level, or one for each cell of the padded grid.
    """

    clutter: float | FloatArray
    noise: float
    texture_order: float


@dataclass(frozen=True, eq=False)
class Target:
    """An object on the ground: what it reflects, what it shades, and how it stands."""

    points: Scatterers
    surface: Surfaces
    pose: Pose


def parked(airframe: Airframe, pose: Pose) -> Target:
    """An aircraft as a target."""
    return Target(scatterers_of(airframe), surfaces_of(airframe), pose)


def apparent_positions(points: Scatterers, pose: Pose) -> tuple[FloatArray, FloatArray]:
    """Azimuth and ground range of the scattering centres in the image, height laid over to the radar."""
    azimuth, range_ = pose.to_ground(points.x_m, points.y_m)
    return azimuth, range_ - points.z_m / np.tan(np.radians(pose.incidence_deg))


def target_spectrum(
    target: Target, grid: ChipGrid, frequency_hz: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """DFT of the scattering centres on the padded grid, before the sensor's weights.

    Positions are exact, not rounded to pixels. Phases are uniform: a millimetre of wing deflection is a
    large part of the wavelength. A centre of RCS s gives pixels whose sigma0 times area sums to s.
    """
    azimuth, range_ = apparent_positions(target.points, target.pose)
    rcs = target.points.rcs_m2(-target.pose.aspect_deg, frequency_hz)
    rcs = rcs * 10.0 ** (rng.normal(0.0, _STRENGTH_STD_DB, rcs.size) / 10.0)
    amplitude = np.sqrt(rcs / grid.cell_m2) * np.exp(2j * np.pi * rng.uniform(size=rcs.size))
    azimuth, range_ = azimuth + grid.centre_m[0], range_ + grid.centre_m[1]
    extent = [n * spacing for n, spacing in zip(grid.padded, grid.spacing_m, strict=True)]
    seen = (rcs > _FAINTEST_M2) & (azimuth > 0) & (azimuth < extent[0]) & (range_ > 0) & (range_ < extent[1])
    rows = _ramps(azimuth[seen], grid.padded[0], grid.spacing_m[0])
    cols = _ramps(range_[seen], grid.padded[1], grid.spacing_m[1]) * amplitude[seen].astype(np.complex64)
    return _sum_of_products(rows, cols)


def _ramps(position_m: FloatArray, n_samples: int, spacing_m: float) -> NDArray[np.complex64]:
    """DFT of one point in each column; whole turns come off in double precision before rounding."""
    turns = np.fft.fftfreq(n_samples, spacing_m)[:, None] * position_m
    angle = (-2.0 * np.pi * (turns - np.rint(turns))).astype(np.float32)
    ramps = np.empty(angle.shape, dtype=np.complex64)
    ramps.real, ramps.imag = np.cos(angle), np.sin(angle)
    return ramps


def _sum_of_products(rows: NDArray[np.complex64], cols: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Product rows @ cols.T without BLAS, whose last bits change with its number of threads."""
    left = np.concatenate([rows.real, rows.imag], axis=1)
    total = np.empty((len(rows), len(cols)), dtype=np.complex64)
    total.real = np.einsum("rk,ck->rc", left, np.concatenate([cols.real, -cols.imag], axis=1))
    total.imag = np.einsum("rk,ck->rc", left, np.concatenate([cols.imag, cols.real], axis=1))
    return total


def illumination(target: Target, grid: ChipGrid) -> FloatArray:
    """Lit part of each ground cell, 0..1, shape of the padded grid.

    A point at height z keeps the radar from the ground z tan(incidence) behind it.
    """
    surface, pose = target.surface, target.pose
    azimuth, range_ = pose.to_ground(surface.x_m, surface.y_m)
    range_ = range_ + surface.z_m * np.tan(np.radians(pose.incidence_deg))
    row = np.rint((azimuth + grid.centre_m[0]) / grid.spacing_m[0]).astype(np.intp)
    col = np.rint((range_ + grid.centre_m[1]) / grid.spacing_m[1]).astype(np.intp)
    rows, cols = grid.padded
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    counts = np.bincount(row[inside] * cols + col[inside], minlength=rows * cols).reshape(rows, cols)
    lit: FloatArray = 1.0 - np.minimum(1.0, counts * surface.area_m2 / grid.cell_m2)
    return lit


def complex_looks(
    ground: Ground,
    targets: Sequence[Target],
    grid: ChipGrid,
    looks: int,
    frequency_hz: float,
    rng: np.random.Generator,
) -> ComplexArray:
    """Independent complex looks at one piece of ground, shape (looks, rows, cols).

    |look|^2 is sigma0. Texture, shadow and targets are the same in all looks; speckle and noise are new
    in each. Clutter and noise are one circular Gaussian process, both band-limited by the sensor.

    Args:
        ground: levels and texture order.
        targets: what stands there; none leaves the ground empty.
        grid: the chip's grid.
        looks: how many.
        frequency_hz: carrier, for the strength of the scattering centres.
        rng: source of randomness.
    """
    lit: FloatArray | float = 1.0
    reflected: NDArray[np.complex64] | float = 0.0
    for target in targets:
        lit = lit * illumination(target, grid)
        reflected = reflected + target_spectrum(target, grid, frequency_hz, rng)
    texture = gamma_texture(grid.padded, grid.spacing_m, ground.texture_order, TEXTURE_CORRELATION_M, rng)
    deviation = np.sqrt((ground.clutter * texture * lit + ground.noise) / 2.0)
    white = rng.standard_normal((looks, *grid.padded, 2)).view(np.complex128)[..., 0]
    spectrum = fft2(white * deviation) + reflected
    image: ComplexArray = ifft2(spectrum * grid.azimuth_weights[:, None] * grid.range_weights)
    (row, col), (rows, cols) = grid.first, grid.shape
    return image[:, row : row + rows, col : col + cols]
