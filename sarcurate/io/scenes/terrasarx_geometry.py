"""Where the pixels of a TerraSAR-X product lie: incidence, latitude and longitude from its annotation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.tie_grid import TieGrid
from sarcurate.errors import DataError
from sarcurate.io import xml

FloatArray = NDArray[np.float64]
MapToPixel = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]

_MOST_POINTS = 200_000
_FIT_NODES = 17
_ROUNDED_PX = 1.01  # row and column of a grid point are written as whole numbers
_RANGE_STEPS = 513


@dataclass(frozen=True)
class Frame:
    """The image that positions refer to.

    Attributes:
        shape: (rows, cols).
        start_utc, stop_utc: zero Doppler time of the first and last row.
        near_s, far_s: two-way range time of the first and last column.
        is_ground_range: columns are even in ground range, not in range time.
        to_pixel: latitudes and longitudes to rows and columns, for map products; else None.
    """

    shape: tuple[int, int]
    start_utc: datetime
    stop_utc: datetime
    near_s: float
    far_s: float
    is_ground_range: bool
    to_pixel: MapToPixel | None = None


@dataclass(frozen=True)
class GridPoints:
    """Points of known position and incidence, arrays of one length.

    Attributes:
        azimuth_s: after the first row; range_s: two-way range time.
        grid_azimuth, grid_range: index in the grid, from 1; None for corners.
        row_px, col_px: from 0; None where the annotation has none.
    """

    azimuth_s: FloatArray
    range_s: FloatArray
    latitude_deg: FloatArray
    longitude_deg: FloatArray
    incidence_deg: FloatArray
    grid_azimuth: NDArray[np.int64] | None = None
    grid_range: NDArray[np.int64] | None = None
    row_px: FloatArray | None = None
    col_px: FloatArray | None = None


@dataclass(frozen=True)
class TieGrids:
    """What Facts take."""

    incidence_deg: TieGrid
    latitude_deg: TieGrid
    longitude_deg: TieGrid


def parse_utc(text: str, what: str) -> datetime:
    """A time of the annotation, UTC; DataError where it is none."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:  # overflow: beside year 1 or 9999 in another zone
        raise DataError(
            f"{what} is {text[:40]!r}, expected a time such as 2008-01-31T17:05:23.123456Z",
            fix="get the product again, or correct the value from its source",
        ) from error


def read_georef(root: Element, frame: Frame, name: str) -> GridPoints:
    """Points of the geolocation grid in GEOREF.xml (root element geoReference).

    Raises:
        DataError: fewer than four points or absurdly many, missing elements, values out of bounds.
    """
    nodes = xml.find_all(root, "geolocationGrid/gridPoint")
    if not 4 <= len(nodes) <= _MOST_POINTS:
        raise DataError(
            f"{name}: {len(nodes)} elements geolocationGrid/gridPoint, expected 4 to {_MOST_POINTS}",
            fix="get the product again, or remove the file to use the scene corners instead",
        )
    reference = "geolocationGrid/gridReferenceTime"
    time = parse_utc(xml.required_text(root, f"{reference}/tReferenceTimeUTC", name), f"{name}: {reference}")
    delay_s = xml.required_float(root, f"{reference}/tauReferenceTime", name)
    offset_s = (time - frame.start_utc).total_seconds()
    indices = [[node.get(key, "") for node in nodes] for key in ("iaz", "irg")]
    grid = [np.array([xml.to_int(text, f"{name}: gridPoint index") for text in axis]) for axis in indices]
    has_pixels = all(xml.find(node, "row") is not None for node in nodes)
    return _checked(
        GridPoints(
            _floats(nodes, "t", name) + offset_s,
            _floats(nodes, "tau", name) + delay_s,
            _floats(nodes, "lat", name),
            _unwrapped(_floats(nodes, "lon", name)),
            _floats(nodes, "inc", name),
            grid[0],
            grid[1],
            _floats(nodes, "row", name) - 1.0 if has_pixels else None,
            _floats(nodes, "col", name) - 1.0 if has_pixels else None,
        ),
        name,
    )


def read_corners(root: Element, frame: Frame, name: str) -> GridPoints:
    """The scene's corners and centre in the main annotation.

    Raises:
        DataError: fewer than four corners, missing elements, values out of bounds.
    """
    scene = xml.required(root, "productInfo/sceneInfo", name)
    nodes = xml.find_all(scene, "sceneCornerCoord")
    if len(nodes) < 4:
        raise DataError(
            f"{name}: {len(nodes)} elements sceneCornerCoord, expected 4", fix="get the product again"
        )
    nodes += xml.find_all(scene, "sceneCenterCoord")[:1]
    times = [parse_utc(xml.required_text(node, "azimuthTimeUTC", name), name) for node in nodes]
    has_pixels = all(xml.find(node, "refRow") is not None for node in nodes)
    return _checked(
        GridPoints(
            np.array([(time - frame.start_utc).total_seconds() for time in times]),
            _floats(nodes, "rangeTime", name),
            _floats(nodes, "lat", name),
            _unwrapped(_floats(nodes, "lon", name)),
            _floats(nodes, "incidenceAngle", name),
            row_px=_floats(nodes, "refRow", name) - 1.0 if has_pixels else None,
            col_px=_floats(nodes, "refColumn", name) - 1.0 if has_pixels else None,
        ),
        name,
    )


def tie_grids(points: GridPoints, frame: Frame, name: str) -> TieGrids:
    """Incidence, latitude and longitude on the image's pixels.

    Points on lines and columns of the image become nodes as they are; others are fitted by a polynomial of
    second degree (of four or five points: bilinear).

    Raises:
        DataError: where the points do not span the image.
    """
    rows, cols = _positions(points, frame)
    values = (points.incidence_deg, points.latitude_deg, points.longitude_deg)
    grid = _grid_axes(points, rows, cols)
    if grid is not None:
        order, row_nodes, col_nodes = grid
        shape = len(row_nodes), len(col_nodes)
        return TieGrids(*(TieGrid(row_nodes, col_nodes, value[order].reshape(shape)) for value in values))
    span = np.ptp(rows), np.ptp(cols)
    if min(span[0] / frame.shape[0], span[1] / frame.shape[1]) < 0.5:
        raise DataError(
            f"{name}: points with an incidence span {span[0]:.0f} x {span[1]:.0f} px of an image of "
            f"{frame.shape[0]} x {frame.shape[1]} px",
            fix="check that annotation and image are of one product",
        )
    return TieGrids(*(_fitted(rows, cols, value, frame.shape) for value in values))


def _floats(nodes: list[Element], path: str, name: str) -> FloatArray:
    return np.array([xml.required_float(node, path, name) for node in nodes])


def _unwrapped(longitude_deg: FloatArray) -> FloatArray:
    """Across the date line longitudes run on past 180 degrees, so that they can be interpolated."""
    crosses = np.ptp(longitude_deg) > 180
    return np.where(crosses & (longitude_deg < 0), longitude_deg + 360, longitude_deg)


def _checked(points: GridPoints, name: str) -> GridPoints:
    bounds = (
        ("incidence", points.incidence_deg, 0.0, 90.0),
        ("latitude", points.latitude_deg, -90.0, 90.0),
        ("longitude", points.longitude_deg, -180.0, 360.0),
    )
    for what, values, low, high in bounds:
        if values.min() < low or values.max() > high or (what == "incidence" and values.min() <= 0):
            raise DataError(
                f"{name}: {what} of {values.min():g} to {values.max():g} degrees, "
                f"expected inside {low:g} to {high:g}",
                fix="get the product again",
            )
    return points


def _positions(points: GridPoints, frame: Frame) -> tuple[FloatArray, FloatArray]:
    """Rows and columns of the points, from 0."""
    if frame.to_pixel is not None:
        return frame.to_pixel(points.latitude_deg, points.longitude_deg)
    if points.row_px is not None and points.col_px is not None:
        return points.row_px, points.col_px
    duration_s = (frame.stop_utc - frame.start_utc).total_seconds()
    rows = points.azimuth_s / duration_s * (frame.shape[0] - 1)
    return rows, _range_share(points, frame) * (frame.shape[1] - 1)


def _range_share(points: GridPoints, frame: Frame) -> FloatArray:
    """0 at the first column, 1 at the last.

    A step dr of slant range covers dr / sin(incidence) on the ground; ground range is the integral.
    """
    if not frame.is_ground_range:
        return (points.range_s - frame.near_s) / (frame.far_s - frame.near_s)
    low, high = min(frame.near_s, points.range_s.min()), max(frame.far_s, points.range_s.max())
    times_s = np.linspace(low, high, _RANGE_STEPS)
    share = (points.range_s - low) / (high - low)
    angle = np.polyval(np.polyfit(share, points.incidence_deg, 1), (times_s - low) / (high - low))
    density = 1 / np.sin(np.deg2rad(np.clip(angle, 1.0, 89.0)))
    ground = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    near, far = np.interp([frame.near_s, frame.far_s], times_s, ground)
    share_of_ground: FloatArray = (np.interp(points.range_s, times_s, ground) - near) / (far - near)
    return share_of_ground


def _grid_axes(
    points: GridPoints, rows: FloatArray, cols: FloatArray
) -> tuple[NDArray[np.int64], FloatArray, FloatArray] | None:
    """Order, rows and columns of the nodes, where the points form a full grid along the image's axes."""
    if points.grid_azimuth is None or points.grid_range is None:
        return None
    count = len(np.unique(points.grid_azimuth)), len(np.unique(points.grid_range))
    pairs = np.unique(np.stack([points.grid_azimuth, points.grid_range]), axis=1).shape[1]
    if pairs != len(rows) or count[0] * count[1] != len(rows) or min(count) < 2:
        return None
    order = np.lexsort((points.grid_range, points.grid_azimuth))
    by_row, by_col = rows[order].reshape(count), cols[order].reshape(count)
    if np.ptp(by_row, axis=1).max() > _ROUNDED_PX or np.ptp(by_col, axis=0).max() > _ROUNDED_PX:
        return None
    row_nodes, col_nodes = by_row.mean(axis=1), by_col.mean(axis=0)
    rising = all(np.all(np.diff(axis) > 0) for axis in (row_nodes, col_nodes))
    return (order, row_nodes, col_nodes) if rising else None


def _fitted(rows: FloatArray, cols: FloatArray, values: FloatArray, shape: tuple[int, int]) -> TieGrid:
    """A least-squares surface through scattered values, at nodes over the image."""
    height, width = max(shape[0] - 1, 1), max(shape[1] - 1, 1)

    def terms(row: FloatArray, col: FloatArray) -> FloatArray:
        y, x = row / height - 0.5, col / width - 0.5
        bilinear = [np.ones_like(x), x, y, x * y]
        return np.stack(bilinear if len(values) < 9 else [*bilinear, x * x, y * y], axis=-1)

    weights = np.linalg.lstsq(terms(rows, cols), values, rcond=None)[0]
    nodes = [np.linspace(0.0, side, _FIT_NODES) for side in (height, width)]
    mesh = np.meshgrid(*nodes, indexing="ij")
    return TieGrid(nodes[0], nodes[1], terms(mesh[0], mesh[1]) @ weights)
