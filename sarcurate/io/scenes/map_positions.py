"""Spacing and positions of an image on a map grid."""

from __future__ import annotations

import math

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as warp

from sarcurate.core.tie_grid import TieGrid
from sarcurate.errors import DataError
from sarcurate.io.scenes.scene_raster import GDAL_ERRORS, RasterFile

_NODES = 9
_METRES_PER_DEGREE = 111_319.49  # of the equator of WGS 84: 2 pi 6378137 m / 360


def map_spacing(raster: RasterFile) -> tuple[float, float]:
    """(row, column) spacing in metres of an image with transform and reference system.

    On a geographic grid degrees become metres on a sphere, with the latitude of the image's centre.
    """
    assert raster.transform is not None
    a, b, _, d, e, f = raster.transform[:6]
    crs = _crs(raster)
    if not crs.is_geographic:
        unit = float(crs.linear_units_factor[1])
        return math.hypot(b, e) * unit, math.hypot(a, d) * unit
    latitude = math.radians(f + d * raster.shape[1] / 2 + e * raster.shape[0] / 2)
    east, north = _METRES_PER_DEGREE * math.cos(latitude), _METRES_PER_DEGREE
    return math.hypot(b * east, e * north), math.hypot(a * east, d * north)


def map_positions(raster: RasterFile) -> tuple[TieGrid, TieGrid] | tuple[None, None]:
    """Latitude and longitude (degrees, WGS 84) of pixel centres; None where the image is too small."""
    assert raster.transform is not None
    if min(raster.shape) < 2:
        return None, None
    rows = np.linspace(0.0, raster.shape[0] - 1, min(_NODES, raster.shape[0]))
    cols = np.linspace(0.0, raster.shape[1] - 1, min(_NODES, raster.shape[1]))
    grid_cols, grid_rows = np.meshgrid(cols + 0.5, rows + 0.5)
    a, b, c, d, e, f = raster.transform[:6]
    xs, ys = a * grid_cols + b * grid_rows + c, d * grid_cols + e * grid_rows + f
    try:
        longitude, latitude = warp(
            _crs(raster), CRS.from_epsg(4326), xs.ravel().tolist(), ys.ravel().tolist()
        )
    except GDAL_ERRORS as error:
        raise _no_positions(raster, str(error)) from error
    shape = grid_rows.shape
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
        raise _no_positions(raster, "pixels outside the reference system")
    return (
        TieGrid(rows, cols, np.reshape(latitude, shape)),
        TieGrid(rows, cols, np.reshape(longitude, shape)),
    )


def _crs(raster: RasterFile) -> CRS:
    try:
        return CRS.from_wkt(raster.crs)
    except CRSError as error:
        raise _no_positions(raster, str(error)) from error


def _no_positions(raster: RasterFile, found: str) -> DataError:
    return DataError(
        f"{raster.path}: positions cannot be had from its map projection: {found}",
        fix="write the file with a reference system that PROJ knows, or without one",
    )
