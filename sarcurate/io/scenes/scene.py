"""A scene: one image of one sensor, read by window, with what its product says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from sarcurate.core import calibration
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.tie_grid import TieGrid
from sarcurate.errors import DataError, RadiometryError


class Geometry(StrEnum):
    """What rows and columns of a scene are.

    ``SLANT``: azimuth time and slant range. ``GROUND``: azimuth time and ground range.
    ``MAP``: a map projection or geographic grid, its own rows downwards.
    """

    SLANT = "slant"
    GROUND = "ground"
    MAP = "map"


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: ``rows`` by ``cols`` from (``row``, ``col``)."""

    row: int
    col: int
    rows: int
    cols: int


class NoSamplesError(DataError):
    """A window touches pixels of the scene that hold nothing: never acquired, masked, NaN or infinite."""


class PixelReader(Protocol):
    """Where a scene's samples come from."""

    def read(self, window: Window) -> NDArray[Any]:
        """Samples (rows, cols) as the product stores them: complex64, or real of the file's type."""

    def close(self) -> None:
        """Release the file."""


@dataclass(frozen=True)
class Facts:
    """What a product says of its scene; None where it says nothing.

    Attributes:
        kind: product type in words, such as ``TerraSAR-X SSC (COSAR version 1)``.
        scene_id: names the acquisition; all images of one pass share it where the product tells.
        pixel_type: as stored: ``complex int16``, ``uint16``, ``complex float16`` and so on.
        radiometry: of the *detected* samples, before any calibration here: intensity for complex ones,
            amplitude for detected ones, beta0 or sigma0 where they are stored calibrated.
        beta0_factor: beta0 = factor times detected intensity; None where the product has no such factor.
        sigma0_factor: sigma0 likewise, for products calibrated to the ground by one factor.
        incidence_deg, latitude_deg, longitude_deg: on the scene's pixels.
        noise_beta0: noise equivalent beta0, linear.
        azimuth_deg: direction of flight, clockwise from north.
        look_direction: ``right`` or ``left`` of the flight; orbit_direction: ``ascending`` or ``descending``.
        acquired_utc: ISO 8601, start of the acquisition.
        looks_nominal: product of azimuth and range looks.
        range_resolution_m, azimuth_resolution_m: -3 dB widths, in the geometry of the pixels.
        warnings: sentences on what is missing, unconfirmed or odd.
    """

    kind: str
    scene_id: str
    pixel_type: str
    geometry: Geometry
    radiometry: Radiometry
    sensor: str | None = None
    band: str | None = None
    mode: str | None = None
    polarisation: str | None = None
    range_spacing_m: float | None = None
    azimuth_spacing_m: float | None = None
    beta0_factor: float | None = None
    sigma0_factor: float | None = None
    incidence_deg: TieGrid | None = None
    latitude_deg: TieGrid | None = None
    longitude_deg: TieGrid | None = None
    noise_beta0: float | None = None
    azimuth_deg: float | None = None
    look_direction: str | None = None
    orbit_direction: str | None = None
    acquired_utc: str | None = None
    looks_nominal: float | None = None
    range_resolution_m: float | None = None
    azimuth_resolution_m: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """An open scene; use it as a context manager.

    Attributes:
        path: the file or folder that was opened.
        shape: (rows, cols) in pixels.
        facts: what the product says.
        files: every file that belongs to it.
    """

    path: Path
    shape: tuple[int, int]
    facts: Facts
    pixels: PixelReader = field(repr=False)
    files: tuple[Path, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pixels.close()

    def samples(self, window: Window) -> NDArray[Any]:
        """Stored samples of a window, (rows, cols), complex64 or the file's real type.

        Raises:
            DataError: where the window leaves the scene or the file cannot be read.
        """
        inside = (
            window.row >= 0
            and window.col >= 0
            and window.rows > 0
            and window.cols > 0
            and window.row + window.rows <= self.shape[0]
            and window.col + window.cols <= self.shape[1]
        )
        if not inside:
            raise DataError(
                f"{self.path}: window of {window.rows} x {window.cols} px at row {window.row}, column "
                f"{window.col} leaves the scene of {self.shape[0]} x {self.shape[1]} px",
                fix="move or shrink the window; the chipper skips or refuses windows at borders",
            )
        return self.pixels.read(window)

    def available_radiometries(self) -> tuple[Radiometry, ...]:
        """What :meth:`detected` can give: as stored first, then what the calibration reaches."""
        return tuple(_conversions(self.facts))

    def detected(self, window: Window, radiometry: Radiometry) -> NDArray[np.float32]:
        """Detected pixels of a window, (rows, cols) float32, in one of :meth:`available_radiometries`.

        Raises:
            RadiometryError: where the product's calibration does not reach ``radiometry``.
            DataError: as :meth:`samples`.
            NoSamplesError: for NaN or infinite samples.
        """
        convert = _conversions(self.facts).get(radiometry)
        if convert is None:
            reachable = ", ".join(self.available_radiometries())
            raise RadiometryError(
                f"{self.path}: {radiometry} was asked for, but {self.facts.kind} gives only {reachable}",
                fix="ask for one of these, or supply the missing calibration (annotation or sensor profile)",
            )
        pixels = convert(self.samples(window), window)
        if not np.isfinite(pixels).all():  # as the samples are, and faster to see on real values
            raise NoSamplesError(
                f"{self.path}: NaN or infinite samples in the window at row {window.row}, "
                f"column {window.col}",
                fix="choose windows inside the valid part of the scene",
            )
        return pixels


Convert = Callable[[NDArray[Any], Window], NDArray[np.float32]]


def _conversions(facts: Facts) -> dict[Radiometry, Convert]:
    """How each reachable radiometry is made from stored samples."""
    stored_power = facts.radiometry.is_power

    def stored(samples: NDArray[Any], window: Window) -> NDArray[np.float32]:
        return calibration.detect(samples) if np.iscomplexobj(samples) else samples.astype(np.float32)

    def scaled(factor: float) -> Convert:
        def convert(samples: NDArray[Any], window: Window) -> NDArray[np.float32]:
            if stored_power and not np.iscomplexobj(samples):
                return samples.astype(np.float32) * np.float32(factor)
            return calibration.beta0(samples, factor)

        return convert

    def angles(window: Window) -> NDArray[np.float64]:
        assert facts.incidence_deg is not None
        rows, cols = np.arange(window.rows) + window.row, np.arange(window.cols) + window.col
        return facts.incidence_deg.at(rows, cols)

    ways: dict[Radiometry, Convert] = {facts.radiometry: stored}
    if facts.radiometry is Radiometry.AMPLITUDE:
        ways[Radiometry.INTENSITY] = lambda samples, window: calibration.detect(samples)
    if facts.beta0_factor is not None:
        ways[Radiometry.BETA0] = scaled(facts.beta0_factor)
    if facts.sigma0_factor is not None:
        ways[Radiometry.SIGMA0] = scaled(facts.sigma0_factor)
    elif Radiometry.BETA0 in ways and facts.incidence_deg is not None:
        brightness = ways[Radiometry.BETA0]
        ways[Radiometry.SIGMA0] = lambda samples, window: calibration.sigma0(
            brightness(samples, window), angles(window)
        )
    return ways
