"""Borders: frames and corners of one value, which hold no measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

# chance that a clean chip shows such a border, after Bonferroni over edges or corners
ALPHA = 1e-4
LEAST_WEDGE_PX = 16


@dataclass(frozen=True, eq=False)
class Border:
    """What lies along the edges of a chip.

    Attributes:
        frame_px: (top, bottom, left, right) number of lines of one value each.
        wedge_fraction: share of pixels, frames left out, in corner areas of one value.
        inside: (rows, cols) True where pixels are measurements.
    """

    frame_px: tuple[int, int, int, int]
    wedge_fraction: float
    inside: NDArray[np.bool_]

    @property
    def found(self) -> bool:
        """True where there is a frame or a wedge."""
        return max(self.frame_px) > 0 or self.wedge_fraction > 0


def find_border(chip: NDArray[np.generic]) -> Border | None:
    """Frames and corner wedges of one value; None for a constant chip.

    A line is part of a frame when all its pixels are equal, and so are those of every line outside of it.
    A wedge is a connected area of one value that, at a corner of what is left, fills the triangle between
    its runs along the two edges, of 16 px or more. Chips of few levels have equal neighbours by chance:
    with p the share of the value among all other pixels, n equal pixels count only where 4 p^n < 1e-4, as
    if pixels were independent.

    Args:
        chip: (rows, cols), real.
    """
    if not chip.size or (chip == chip.flat[0]).all():
        return None
    top, bottom = _frames(chip, axis=1)
    left, right = _frames(chip, axis=0)
    rows, cols = chip.shape
    inner = chip[top : rows - bottom, left : cols - right]
    inside = np.zeros(chip.shape, dtype=np.bool_)
    wedge = _wedges(inner)
    inside[top : rows - bottom, left : cols - right] = ~wedge
    return Border((top, bottom, left, right), float(wedge.sum()) / chip.size, inside)


def _frames(chip: NDArray[np.generic], axis: int) -> tuple[int, int]:
    """Lines of one value at the first and at the last edge across ``axis``."""
    lines = chip if axis == 1 else chip.T
    constant = (lines == lines[:, :1]).all(axis=1)
    counts = (int(np.argmin(constant)), int(np.argmin(constant[::-1])))
    first, last = (
        count if _beyond_chance(chip, edge[0], count * lines.shape[1]) else 0
        for count, edge in zip(counts, (lines[0], lines[-1]), strict=True)
    )
    return first, last


def _wedges(chip: NDArray[np.generic]) -> NDArray[np.bool_]:
    """True in connected areas of one value that fill a triangle at a corner."""
    found = np.zeros(chip.shape, dtype=np.bool_)
    for down, right in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        corner = chip[::down, ::right]
        equal = corner == corner[0, 0]
        legs = (_leading(equal[:, 0]), _leading(equal[0]))
        if legs[0] * legs[1] // 2 < LEAST_WEDGE_PX or not _fills_triangle(equal, legs):
            continue
        areas, _ = label(equal)
        area = areas == areas[0, 0]
        if _beyond_chance(corner, corner[0, 0], int(area.sum())):
            found[::down, ::right] |= area
    return found


def _leading(flags: NDArray[np.bool_]) -> int:
    """Number of True before the first False."""
    return len(flags) if flags.all() else int(np.argmin(flags))


def _fills_triangle(equal: NDArray[np.bool_], legs: tuple[int, int]) -> bool:
    """All pixels between a corner and the line that joins the ends of two runs along its edges."""
    row, col = np.ogrid[: legs[0], : legs[1]]
    return bool(equal[: legs[0], : legs[1]][row / legs[0] + col / legs[1] < 1].all())


def _beyond_chance(chip: NDArray[np.generic], value: np.generic, count: int) -> bool:
    if count == 0:
        return False
    others = int((chip == value).sum()) - count
    share = max(others, 1) / max(chip.size - count, 1)
    return bool(4 * min(share, 1.0) ** count < ALPHA)
