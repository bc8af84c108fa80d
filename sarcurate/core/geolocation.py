"""From latitude and longitude to a scene's pixels, through its tie grids."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.tie_grid import TieGrid

ITERATIONS = 50
STEP_PX = 1e-3
COARSE = 33  # nodes along an axis among which the search starts


def find_pixel(
    latitude_deg: TieGrid, longitude_deg: TieGrid, shape: tuple[int, int], point: tuple[float, float]
) -> tuple[float, float] | None:
    """Row and column (pixel centres are whole numbers) at a position; None where it is not in the scene.

    Newton steps from the nearest of some positions spread over the scene; a position up to half a pixel
    outside of the outer pixel centres is inside.

    Args:
        shape: (rows, cols) of the scene.
        point: (latitude, longitude) in degrees.
    """
    span = np.array(shape, dtype=np.float64) - 1.0
    position = _nearest(latitude_deg, longitude_deg, span, point)
    for _ in range(ITERATIONS):
        step = _newton_step(latitude_deg, longitude_deg, span, position, point)
        if step is None:
            return None
        moved = position + step
        clipped = np.clip(moved, 0.0, span)
        if np.abs(clipped - position).max() < STEP_PX:
            inside = bool(np.all((moved >= -0.5) & (moved <= span + 0.5)))
            return (float(moved[0]), float(moved[1])) if inside else None
        position = clipped
    return None


def _offsets(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64], point: tuple[float, float]
) -> NDArray[np.float64]:
    """North and east distance from ``point`` in degrees of latitude, on a new first axis; across 180 too."""
    east = np.mod(longitude - point[1] + 180.0, 360.0) - 180.0
    return np.stack([latitude - point[0], east * math.cos(math.radians(point[0]))])


def _nearest(
    latitude_deg: TieGrid, longitude_deg: TieGrid, span: NDArray[np.float64], point: tuple[float, float]
) -> NDArray[np.float64]:
    rows, cols = (np.linspace(0.0, end, COARSE) for end in span)
    offsets = _offsets(latitude_deg.at(rows, cols), longitude_deg.at(rows, cols), point)
    down, across = np.unravel_index(int(np.argmin((offsets**2).sum(axis=0))), (COARSE, COARSE))
    return np.array([rows[down], cols[across]])


def _newton_step(
    latitude_deg: TieGrid,
    longitude_deg: TieGrid,
    span: NDArray[np.float64],
    position: NDArray[np.float64],
    point: tuple[float, float],
) -> NDArray[np.float64] | None:
    """The step to where both offsets vanish; None where the grids do not tell positions apart."""
    start = np.clip(position - 0.5, 0.0, np.maximum(span - 1.0, 0.0))
    rows, cols = (np.array([at, at + 1.0]) for at in start)
    near = _offsets(latitude_deg.at(rows, cols), longitude_deg.at(rows, cols), point)
    slopes = np.stack(
        [(near[:, 1] - near[:, 0]).mean(axis=1), (near[:, :, 1] - near[:, :, 0]).mean(axis=1)], axis=1
    )
    here = _offsets(latitude_deg.at(*position), longitude_deg.at(*position), point)[:, 0, 0]
    if abs(np.linalg.det(slopes)) < 1e-24:
        return None
    return -np.linalg.solve(slopes, here)
