"""Geometry in a SICD: incidence per pixel, positions, heading, and metres from the scene centre point."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.tie_grid import TieGrid
from sarcurate.errors import DataError
from sarcurate.io.xml import find_all, required, required_float, required_int

_SPACEBORNE_M = 6_478_137.0  # from the earth's centre: 100 km above the equator
_NODES = 33


@dataclass(frozen=True)
class Frame:
    """The image's grid: spacing in metres, and its first pixel counted from the scene centre point (SCP)."""

    shape: tuple[int, int]
    row_spacing_m: float
    col_spacing_m: float
    first_row_from_scp: float
    first_col_from_scp: float

    def rows_m(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Range of SICD rows from the scene centre point, in metres."""
        return (rows + self.first_row_from_scp) * self.row_spacing_m

    def centre_and_corners_m(self) -> list[tuple[float, float]]:
        """(row, column) metres from the scene centre point of the image's centre and its four corners."""
        ends = [
            [(first + at) * spacing for at in (0.0, count - 1.0)]
            for first, spacing, count in (
                (self.first_row_from_scp, self.row_spacing_m, self.shape[0]),
                (self.first_col_from_scp, self.col_spacing_m, self.shape[1]),
            )
        ]
        return [(sum(ends[0]) / 2, sum(ends[1]) / 2), *((x, y) for x in ends[0] for y in ends[1])]


def read_frame(root: Element, where: str, shape: tuple[int, int]) -> Frame:
    """Frame of an image of ``shape`` SICD rows and columns; DataError where it is missing or cannot be."""
    spacing = [required_float(root, f"Grid/{axis}/SS", where) for axis in ("Row", "Col")]
    if not all(1e-3 <= value <= 1e4 for value in spacing):
        raise DataError(
            f"{where}: Grid spacing is {spacing[0]:g} by {spacing[1]:g} m, expected 0.001 to 10000",
            fix="get the product again",
        )
    first = [
        required_int(root, f"ImageData/First{axis}", where)
        - required_float(root, f"ImageData/SCPPixel/{axis}", where)
        for axis in ("Row", "Col")
    ]
    return Frame(shape, spacing[0], spacing[1], first[0], first[1])


def incidence(root: Element, where: str, frame: Frame, plane: str) -> tuple[TieGrid | None, list[str]]:
    """Incidence over our columns (range), and what to say of it.

    In the slant plane it follows from slant range R and the distances H of the sensor and r of the scene
    centre point from the earth's centre: cos(inc) = (H^2 - R^2 - r^2) / (2 R r). It is shifted to agree with
    SCPCOA/IncidenceAng at that point, which counts from the ellipsoid's normal.
    """
    middle = required_float(root, "SCPCOA/IncidenceAng", where)
    if not 0 < middle < 90:
        raise DataError(
            f"{where}: SCPCOA/IncidenceAng is {middle:g}, expected inside (0, 90) degrees",
            fix="get the product again",
        )
    held = [f"incidence is that of the scene centre point, {middle:.2f} degrees, all over the image"]
    if plane != "SLANT":
        return TieGrid.constant(middle), held
    sensor, ground = (float(np.linalg.norm(_point(root, path, where))) for path in _PLACES)
    slant_m = required_float(root, "SCPCOA/SlantRange", where)
    rows = np.unique(np.linspace(0.0, frame.shape[0] - 1.0, _NODES))
    ranges = slant_m + frame.rows_m(rows)
    with np.errstate(all="ignore"):
        cosine = [_cosine(sensor, ground, at) for at in (slant_m, ranges)]
        angles = np.degrees(np.arccos(cosine[1])) - np.degrees(np.arccos(cosine[0])) + middle
    if not (np.isfinite(angles).all() and np.all((angles > 0) & (angles < 90))):
        return TieGrid.constant(middle), held
    return TieGrid(np.zeros(1), rows, angles[None]), []


def positions(
    root: Element, where: str, shape: tuple[int, int]
) -> tuple[TieGrid, TieGrid] | tuple[None, None]:
    """Latitude and longitude over our (azimuth, range) pixels, from the four image corners."""
    corners = {
        item.get("index", "")[:1]: [required_float(item, axis, where) for axis in ("Lat", "Lon")]
        for item in find_all(root, "GeoData/ImageCorners/ICP")
    }
    if sorted(corners) != ["1", "2", "3", "4"] or min(shape) < 2:
        return None, None
    # Corners go 1 first row first column, 2 first row last column, 3 last last, 4 last row first column.
    grid = np.array([[corners["1"], corners["4"]], [corners["2"], corners["3"]]])
    if not (np.abs(grid[..., 0]).max() <= 90 and np.abs(grid[..., 1]).max() <= 180):
        raise DataError(f"{where}: image corners outside of the earth", fix="get the product again")
    if np.ptp(grid[..., 1]) > 180:  # across the date line: counted on past 180
        grid[..., 1] = np.where(grid[..., 1] < 0, grid[..., 1] + 360, grid[..., 1])
    axes = np.array([0.0, shape[1] - 1.0]), np.array([0.0, shape[0] - 1.0])
    return TieGrid(*axes, grid[..., 0]), TieGrid(*axes, grid[..., 1])


def heading(root: Element, where: str) -> tuple[float | None, str | None]:
    """Direction of flight clockwise from north, and ascending or descending for satellites."""
    velocity = _point(root, "SCPCOA/ARPVel", where)
    latitude, longitude = (
        np.radians(required_float(root, f"GeoData/SCP/LLH/{axis}", where)) for axis in ("Lat", "Lon")
    )
    east = velocity @ np.array([-np.sin(longitude), np.cos(longitude), 0.0])
    north = velocity @ np.array(
        [-np.sin(latitude) * np.cos(longitude), -np.sin(latitude) * np.sin(longitude), np.cos(latitude)]
    )
    if np.hypot(east, north) == 0:
        return None, None
    in_space = np.linalg.norm(_point(root, "SCPCOA/ARPPos", where)) > _SPACEBORNE_M
    orbit = ("ascending" if north > 0 else "descending") if in_space else None
    return float(np.degrees(np.arctan2(east, north)) % 360), orbit


_PLACES = ("SCPCOA/ARPPos", "GeoData/SCP/ECF")


def _cosine(sensor_m: float, ground_m: float, slant_m: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray((sensor_m**2 - slant_m**2 - ground_m**2) / (2 * slant_m * ground_m))


def _point(root: Element, path: str, where: str) -> NDArray[np.float64]:
    place = required(root, path, where)
    return np.array([required_float(place, axis, where) for axis in "XYZ"])
