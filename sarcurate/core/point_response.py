"""Impulse response measured on isolated bright points: resolution and sidelobes along both axes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2

from sarcurate.core.chip_stack import ChipStack, chip_stack
from sarcurate.core.measure import Measure
from sarcurate.errors import DataError

Values = NDArray[np.float64]
Places = NDArray[np.intp]

CROP_PX = 32
ZERO_PAD = 16
BRIGHT_SHARE = 0.999
GUARD_PX = 3  # pixels this near belong to the point itself
NO_POINT = "no isolated bright point"
_REACH = CROP_PX // 2
_LEAST_PX = CROP_PX + 1
_NEIGHBOUR = 0.25  # -6 dB
_POWER_FLOOR = 1e-12  # sidelobes below -120 dB of the peak read -120 dB
_BLOCK = 2048  # candidates looked at together, 18 MB


@dataclass(frozen=True, eq=False)
class Cut:
    """One axis of each point (k,): -3 dB width in px, peak and integrated sidelobe ratio in dB."""

    irw_px: Values
    pslr_db: Values
    islr_db: Values


@dataclass(frozen=True, eq=False)
class PointResponses:
    """All isolated points of a stack.

    Args:
        chip: (k,) place of the point's chip among the fit ones.
        row: (k,) of the brightest pixel.
        col: (k,) of the brightest pixel.
        azimuth: cut along the rows' axis.
        range_: cut along the columns' axis.
        chips: which of all chips are fit, and why the others are not.
    """

    chip: Places
    row: Places
    col: Places
    azimuth: Cut
    range_: Cut
    chips: ChipStack

    def chip_medians(self, values: Values) -> Measure:
        """Median over each chip's points of values (k,), such as ``azimuth.irw_px``."""
        count = np.bincount(self.chip, minlength=len(self.chips.fit))
        if not len(values):
            return self.chips.measure(np.full(len(count), np.nan), count == 0, NO_POINT)
        ranked = values[np.lexsort((values, self.chip))]
        start = np.cumsum(count) - count
        last = len(values) - 1
        lower = ranked[np.minimum(start + np.maximum(count - 1, 0) // 2, last)]
        upper = ranked[np.minimum(start + count // 2, last)]
        return self.chips.measure((lower + upper) / 2, count == 0, NO_POINT)


def point_responses(
    intensity: NDArray[np.floating] | ChipStack,
    field: NDArray[np.complexfloating] | None = None,
    ranked: Values | None = None,
) -> PointResponses:
    """Impulse responses of the isolated bright points of each chip.

    A point is a pixel of at least its chip's 99.9 % quantile, the brightest within 3 px, 16 px from the
    edge, with nothing above -6 dB of it within 16 px (its own 3 px apart). Of the 32 x 32 px around it, the
    DFT zero-padded 16 times gives cuts through the peak. Main lobe: between the first minima. IRW is the
    width at half power; PSLR and ISLR compare what lies beyond the main lobe with its peak and its energy.
    An unweighted response has IRW 0.886 of its cell, PSLR -13.26 dB and, over an endless cut, ISLR -9.68 dB.

    Detected intensity is sampled finely enough only where the complex samples fill half of the band or
    less; for more, give the field too. Clutter raises both ratios: they are upper bounds.

    Args:
        intensity: (n, rows, cols) *linear* intensity, 33 px a side or more; stretched data has no response.
        field: (n, rows, cols) complex samples of that intensity, if there are any.
        ranked: (m, pixels) of the fit chips in rising order, by whoever has them already.

    Raises:
        DataError: for chips that are no such stack, or a field of another shape.
    """
    chips = chip_stack(intensity, _LEAST_PX)
    if field is not None and np.shape(field) != np.shape(intensity):
        raise DataError(
            f"point response: the field has shape {np.shape(field)}, the intensity {np.shape(intensity)}",
            fix="give the complex samples of the same chips",
        )
    chip, row, col = _isolated(chips.fit, ranked)
    samples = chips.fit if field is None else np.asarray(field)[chips.places]
    offsets = np.arange(-_REACH, _REACH)
    crops = samples[chip[:, None, None], row[:, None, None] + offsets[:, None], col[:, None, None] + offsets]
    along_rows, along_cols = _cuts(crops)
    azimuth, range_ = _shape(along_rows), _shape(along_cols)
    return PointResponses(chip, row, col, azimuth, range_, chips)


def _isolated(chips: Values, ranked: Values | None) -> tuple[Places, Places, Places]:
    """Chip, row and column of isolated bright points."""
    if not len(chips):
        none = np.empty(0, dtype=np.intp)
        return none, none, none
    if ranked is None:
        bright = np.quantile(chips.reshape(len(chips), -1), BRIGHT_SHARE, axis=1)
    else:
        bright = _quantile_of_sorted(ranked)
    inner = slice(_REACH, -_REACH)
    chip, row, col = np.nonzero(chips[:, inner, inner] >= bright[:, None, None])
    row, col = row + _REACH, col + _REACH
    # Four pixels just outside of the guard first: an area of equal bright pixels would make many crops.
    far = GUARD_PX + 1
    for d_row, d_col in ((far, 0), (-far, 0), (0, far), (0, -far)):
        alone = chips[chip, row + d_row, col + d_col] < _NEIGHBOUR * chips[chip, row, col]
        chip, row, col = chip[alone], row[alone], col[alone]
    starts = range(0, len(chip), _BLOCK)
    kept = [_alone(chips, *(place[start : start + _BLOCK] for place in (chip, row, col))) for start in starts]
    good = np.concatenate(kept) if kept else np.empty(0, dtype=np.bool_)
    return chip[good], row[good], col[good]


def _quantile_of_sorted(ranked: Values) -> Values:
    place = BRIGHT_SHARE * (ranked.shape[1] - 1)
    below = int(place)
    low, high = ranked[:, below], ranked[:, min(below + 1, ranked.shape[1] - 1)]
    return np.asarray(low + (place - below) * (high - low))


def _alone(chips: Values, chip: Places, row: Places, col: Places) -> NDArray[np.bool_]:
    """True where a pixel is the first brightest of its guard and four times all beyond it within 16 px."""
    offsets = np.arange(-_REACH, _REACH + 1)
    around = chips[
        chip[:, None, None], row[:, None, None] + offsets[:, None], col[:, None, None] + offsets
    ].reshape(len(chip), offsets.size**2)
    near = np.maximum.outer(np.abs(offsets), np.abs(offsets)).ravel() <= GUARD_PX
    peak = chips[chip, row, col]
    brightest = around[:, near].argmax(axis=1) == near.sum() // 2
    return np.asarray(brightest & (around[:, ~near].max(axis=1) < _NEIGHBOUR * peak))


def _cuts(crops: NDArray[np.inexact]) -> tuple[Values, Values]:
    """(k, 512) intensity along rows and columns through each crop's interpolated peak, which is at 256.

    Only the needed points of the zero-padded inverse DFT are computed.
    """
    is_field = np.iscomplexobj(crops)
    spectra = fft2(crops) / CROP_PX**2
    whole = _basis()
    middle = _REACH * ZERO_PAD
    near = whole[middle - ZERO_PAD : middle + ZERO_PAD + 1]
    patch = _power(near @ spectra @ near.T, is_field)
    best = patch.reshape(len(patch), near.shape[0] ** 2).argmax(axis=1)
    peak_row, peak_col = np.divmod(best, near.shape[0])
    # One product per point: a single one of all would depend on how many there are, in the last digit.
    row_lines = (spectra @ near[peak_col][:, :, None])[:, :, 0]
    col_lines = (near[peak_row][:, None, :] @ spectra)[:, 0]
    along_rows, along_cols = (
        _power((lines[:, None, :] @ whole.T)[:, 0], is_field) for lines in (row_lines, col_lines)
    )
    return _centred(along_rows, peak_row - ZERO_PAD), _centred(along_cols, peak_col - ZERO_PAD)


@cache
def _basis() -> NDArray[np.complex128]:
    """(512, 32) waves of the inverse DFT between samples; the half rate as a cosine keeps real real."""
    position_px = np.arange(CROP_PX * ZERO_PAD) / ZERO_PAD
    frequency = np.fft.fftfreq(CROP_PX)
    waves = np.exp(2j * np.pi * np.outer(position_px, frequency))
    waves[:, _REACH] = waves[:, _REACH].real
    return np.asarray(waves)


def _power(values: NDArray[np.complexfloating], is_field: bool) -> Values:
    power = values.real**2 + values.imag**2 if is_field else np.maximum(values.real, 0.0)
    return np.asarray(power, dtype=np.float64)


def _centred(cuts: Values, shift: Places) -> Values:
    place = (np.arange(cuts.shape[1]) + shift[:, None]) % cuts.shape[1]
    return np.take_along_axis(cuts, place, axis=1)


def _shape(cuts: Values) -> Cut:
    """Width and sidelobes of cuts (k, 512) with their peak at 256."""
    middle = cuts.shape[1] // 2
    peak = cuts[:, middle]
    sides = (cuts[:, middle:], cuts[:, middle::-1])
    width = sum((_half_power(side) for side in sides), np.zeros(len(cuts))) / ZERO_PAD
    right, left = (_first_minimum(side)[:, None] for side in sides)
    offset = np.arange(cuts.shape[1]) - middle
    main = (offset <= right) & (offset >= -left)
    beyond = np.where(main, 0.0, cuts)
    pslr = np.maximum(beyond.max(axis=1) / peak, _POWER_FLOOR) if len(cuts) else peak
    islr = np.maximum(beyond.sum(axis=1) / (cuts * main).sum(axis=1), _POWER_FLOOR)
    return Cut(width, 10 * np.log10(pslr), 10 * np.log10(islr))


def _half_power(side: Values) -> Values:
    """Samples from the peak, first of (k, samples), to half of it, linear between samples.

    A cut that never falls to half is as wide as it was looked at.
    """
    half = side[:, :1] / 2
    below = side < half
    falls = np.any(below, axis=1)
    first = np.where(falls, below.argmax(axis=1), side.shape[1] - 1)[:, None]
    before, after = (np.take_along_axis(side, first - k, axis=1) for k in (1, 0))
    share = np.where(falls[:, None], (before - half) / np.maximum(before - after, 1e-300), 1.0)
    return np.asarray((first - 1 + share)[:, 0])


def _first_minimum(side: Values) -> Places:
    """Samples from the peak to the first rise."""
    rises = np.diff(side, axis=1) > 0
    return np.asarray(np.where(rises.any(axis=1), rises.argmax(axis=1), side.shape[1] - 1), dtype=np.intp)
