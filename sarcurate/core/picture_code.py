"""What is left of a picture after speckle, brightness curves, JPEG coding and resampling: a short code.

A code is the low-frequency Fourier coefficients of the chip's grey-level ranks, so that it can be turned,
flipped and shifted without the picture.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sarcurate.errors import DataError

Code = NDArray[np.complex64]

HIGHEST_CYCLES = 16  # per chip side: details of a sixteenth of the chip and coarser are compared
SMALLEST_SIDE_PX = 16  # below it too few coefficients are left for two pictures to differ by
NYQUIST_SHARE = 0.45  # cycles per pixel above which resampling and JPEG leave nothing to compare
TAPER = 0.25  # share of each side that fades out, so that what a shift brings in weighs little


def picture_code(pixels: NDArray[np.generic]) -> Code:
    """The code of a chip, of length 1; all zeros for a chip too small or too plain to have one.

    Steps: grey levels become expected order statistics of one-look intensity, -ln(1 - rank), which no
    monotone curve changes (gain, exponent, decibels) and which weigh bright pixels as radar does; the chip's
    edges fade; Fourier coefficients up to 16 cycles per side are taken at the chip's own sampling, so that
    a resampled copy has the same code; each is weighed by its frequency, since scenes of one kind agree in
    the coarse parts and only the same picture agrees in the fine ones.

    Args:
        pixels: (rows, cols), real and finite; intensity, amplitude or any monotone function of them.

    Returns:
        (len(frequencies()),) complex64.

    Raises:
        DataError: for an array that is no picture.
    """
    if pixels.ndim != 2 or np.iscomplexobj(pixels) or not np.isfinite(pixels).all():
        raise DataError(
            f"picture code: found {pixels.dtype} of shape {pixels.shape}, expected finite real (rows, cols)",
            fix="detect complex samples, and leave out broken chips",
        )
    n_rows, n_cols = pixels.shape
    row, col = frequencies().T
    if min(pixels.shape) < SMALLEST_SIDE_PX:
        return np.zeros(len(row), dtype=np.complex64)
    scores = _order_scores(pixels)
    row_waves, col_waves = _waves(n_rows), _waves(n_cols)
    row_taper, col_taper = row_waves[HIGHEST_CYCLES].real, col_waves[HIGHEST_CYCLES].real
    scores -= row_taper @ scores @ col_taper / (row_taper.sum() * col_taper.sum())
    grid = (row_waves @ scores) @ col_waves.T
    # Above the share of Nyquist a coefficient says more of the resampling than of the scene.
    kept = (np.abs(row) <= NYQUIST_SHARE * n_rows) & (np.abs(col) <= NYQUIST_SHARE * n_cols)
    weighed = grid[row + HIGHEST_CYCLES, col + HIGHEST_CYCLES] * np.hypot(row, col) * kept
    length = float(np.linalg.norm(weighed))
    if length < 1e-9 * n_rows * n_cols:
        return np.zeros(len(row), dtype=np.complex64)
    code: Code = (weighed / length).astype(np.complex64)
    return code


def _order_scores(pixels: NDArray[np.generic]) -> NDArray[np.float64]:
    """-ln(1 - mid-rank) of every pixel: equal levels share a score, a constant chip is constant."""
    flat = np.ascontiguousarray(pixels).reshape(-1)
    order = np.argsort(flat, kind="stable")
    is_new = np.empty(flat.size, dtype=bool)
    is_new[0] = True
    np.not_equal(flat[order[1:]], flat[order[:-1]], out=is_new[1:])
    edges = np.append(np.flatnonzero(is_new), flat.size)
    level_scores = -np.log1p(-(edges[:-1] + edges[1:]) / (2.0 * flat.size))
    scores = np.empty(flat.size)
    scores[order] = np.repeat(level_scores, np.diff(edges))
    return scores.reshape(pixels.shape)


@lru_cache(maxsize=512)
def _waves(side_px: int) -> NDArray[np.complex128]:
    """(2 * HIGHEST_CYCLES + 1, side_px) tapered waves over a side of length 1 centred on 0."""
    place = (np.arange(side_px) + 0.5) / side_px - 0.5
    rise = np.clip((0.5 - np.abs(place)) / (TAPER / 2.0), 0.0, 1.0)
    cycles = np.arange(-HIGHEST_CYCLES, HIGHEST_CYCLES + 1)
    waves: NDArray[np.complex128] = np.sin(0.5 * np.pi * rise) * np.exp(-2j * np.pi * np.outer(cycles, place))
    return waves


@lru_cache(maxsize=1)
def frequencies() -> NDArray[np.int64]:
    """(n, 2) cycles per side (row, col) of a code's coefficients: half a disc, as pictures are real."""
    cycles = np.arange(-HIGHEST_CYCLES, HIGHEST_CYCLES + 1)
    row, col = (grid.reshape(-1) for grid in np.meshgrid(cycles, cycles, indexing="ij"))
    inside = np.hypot(row, col) <= HIGHEST_CYCLES + 0.5
    half = (col > 0) | ((col == 0) & (row > 0))
    kept: NDArray[np.int64] = np.stack([row, col], axis=1)[inside & half]
    return kept


@lru_cache(maxsize=1)
def _orientations() -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each coefficient of the eight turned codes is found, and whether to conjugate it: (8, n) each."""
    known = {(row, col): place for place, (row, col) in enumerate(frequencies().tolist())}
    index, conjugate = [], []
    for transposed in (False, True):
        for row_sign in (1, -1):
            for col_sign in (1, -1):
                turned = [
                    (row_sign * (col if transposed else row), col_sign * (row if transposed else col))
                    for row, col in known
                ]
                index.append([known[at] if at in known else known[-at[0], -at[1]] for at in turned])
                conjugate.append([at not in known for at in turned])
    return np.array(index), np.array(conjugate)


def turned_codes(codes: Code) -> list[Code]:
    """Codes (n_chips, n) of the eight flips and quarter turns of the chips, as they are first."""
    views = []
    for index, conjugate in zip(*_orientations(), strict=True):
        view = codes[:, index]
        view.imag[:, conjugate] *= -1
        views.append(view)
    return views


def search_keys(codes: Code, highest_cycles: int) -> NDArray[np.float32]:
    """Numbers that flips and quarter turns leave as they are and small shifts nearly so.

    Of coefficients that change places under the eight orientations, the sorted root magnitudes.

    Args:
        codes: (n_chips, n).

    Returns:
        (n_chips, n_keys) float32.
    """
    row, col = np.abs(frequencies()).T
    low = np.flatnonzero(np.hypot(row, col) <= highest_cycles + 0.5)
    # Back to flat weights: the keys are to hold the coarse parts, which noise disturbs least.
    magnitude = np.sqrt(np.abs(codes[:, low]) / np.hypot(row, col)[low].astype(np.float32))
    magnitude /= np.maximum(np.linalg.norm(magnitude, axis=1, keepdims=True), 1e-12)
    orbit = np.maximum(row, col)[low] * (HIGHEST_CYCLES + 1) + np.minimum(row, col)[low]
    parts = [np.sort(magnitude[:, orbit == name], axis=1) for name in np.unique(orbit)]
    return np.concatenate(parts, axis=1).astype(np.float32)
