"""The bright target of a chip: where it is, how far above the clutter, and how long in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sarcurate.core.chip_stack import ChipStack, chip_stack
from sarcurate.core.measure import Measure

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEAST_PX = 32
LEAST_TARGET_PX = 4
SMOOTHING_PX = 1.0
RING_SHARE = 8  # the clutter ring is an eighth of the chip on each side
# Robust standard deviations above the ring's median. Of chips of pure Gamma speckle of 1 to 4 looks, white or
# oversampled twice, fewer than 1 in 100 of 32 or 64 px (3 in 100 of 128 px) hold a false target.
THRESHOLD_SD = 3.5
BRIDGE_PX = 3  # bright areas this near (twice) are one target: scatterers of one body lie apart
GUARD_PX = 3  # pixels this near to the target are no clutter
LN_ZERO_SHARE = np.float32(np.log(1e-3))  # ln 0 has no value: held at this share of the ring's median
_TINY = np.finfo(np.float32).tiny
_LN_TINY = np.log(_TINY)
_LARGEST = float(np.finfo(np.float32).max)
MAD_TO_SD = 1.482602
NO_TARGET = "no bright target"
NO_RING = "no clutter at the border"
NO_CLUTTER = "no clutter beside the target"
NO_SPACING = "pixel spacing is not known"


@dataclass(frozen=True, eq=False)
class _Targets:
    """Masks (m, rows, cols) of the fit chips, and why (m,) some of them have none."""

    chips: ChipStack
    masks: Flags
    reasons: NDArray[np.str_]

    def measure(self, values: Values, missing: Flags | None = None, reason: str = "") -> Measure:
        """Measure of all chips from values (m,), but ``reason`` where ``missing`` beside a target."""
        gone = np.zeros(len(values), dtype=bool) if missing is None else missing
        reasons = np.where((self.reasons == "") & gone, reason, self.reasons)
        all_values, all_reasons = np.full(len(self.chips.reasons), np.nan), self.chips.reasons.astype(object)
        all_values[self.chips.places] = np.where(reasons == "", values, np.nan)
        all_reasons[self.chips.places] = reasons
        return Measure(all_values, all_reasons.astype(str))


def target_measures(
    intensity: NDArray[np.floating] | ChipStack,
    azimuth_spacing_m: float | None,
    range_spacing_m: float | None,
) -> dict[str, Measure]:
    """Target-to-clutter ratio, length, width and share of the chip of each chip's bright target.

    ``target_to_clutter_db``: mean over the mask over mean beyond 3 px of it. ``target_length_m`` and
    ``target_width_m``: extent of the mask along and across its principal axis (second moments of its pixels
    in metres), the pixel's own size added; a span wider than the body is long is the length. Smoothing
    spreads each bright edge by one to two pixels; where parts stay dark the extent is short instead.

    Args:
        intensity: (n, rows, cols) linear intensity; ratios of relative intensity are relative.
        azimuth_spacing_m: of rows; without it lengths have a reason.
        range_spacing_m: of columns; without it lengths have a reason.

    Raises:
        DataError: for anything but a stack of real chips.
    """
    targets = _find(intensity)
    ratio_db, bare = _target_to_clutter_db(targets)
    known = azimuth_spacing_m is not None and range_spacing_m is not None
    length_m, width_m = _extents_m(targets.masks, azimuth_spacing_m or 1.0, range_spacing_m or 1.0)
    unknown = np.full(len(targets.masks), not known)
    return {
        "target_to_clutter_db": targets.measure(ratio_db, bare, NO_CLUTTER),
        "target_length_m": targets.measure(length_m, unknown, NO_SPACING),
        "target_width_m": targets.measure(width_m, unknown, NO_SPACING),
        "target_fraction": targets.measure(targets.masks.mean(axis=(1, 2))),
    }


def bright_target_mask(intensity: NDArray[np.floating]) -> Flags:
    """Mask (n, rows, cols) of each chip's bright target; all false where there is none.

    The logarithm of intensity, smoothed by a Gaussian of 1 px, is held against the chip's border (an eighth
    on each side): median and robust standard deviation (MAD) give a constant false alarm rate whatever the
    clutter's level and looks (log-normal CFAR: Goldstein 1973). Bright areas (8 neighbours) of which only
    6 px lie between are one; kept is one of 4 px or more: the largest that touches the centre half, else
    the one nearest to it.

    Raises:
        DataError: for anything but a stack of real chips.
    """
    targets = _find(intensity)
    masks = np.zeros(np.shape(intensity), dtype=bool)
    masks[targets.chips.places] = targets.masks
    return masks


def _find(intensity: NDArray[np.floating] | ChipStack) -> _Targets:
    chips = chip_stack(intensity, LEAST_PX)
    if not len(chips.fit):
        return _Targets(chips, np.zeros(chips.fit.shape, dtype=bool), np.zeros(0, dtype=str))
    ring = _ring(chips.fit.shape[1:])
    ln = np.log(np.maximum(np.minimum(chips.fit, _LARGEST).astype(np.float32), _TINY))
    level = _median(ln[:, ring])
    dark = level <= _LN_TINY
    np.maximum(ln, (level + LN_ZERO_SHARE)[:, None, None], out=ln)
    smooth = ndimage.gaussian_filter(ln, (0, SMOOTHING_PX, SMOOTHING_PX), mode="nearest")
    around = smooth[:, ring]
    middle = _median(around)
    spread = MAD_TO_SD * _median(np.abs(around - middle[:, None]))
    bright = smooth > (middle + THRESHOLD_SD * spread)[:, None, None]
    masks = _central_area(bright & ~dark[:, None, None])
    reasons = np.where(dark, NO_RING, np.where(masks.any(axis=(1, 2)), "", NO_TARGET))
    return _Targets(chips, masks, reasons)


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each row; a sort of single precision takes half the time of np.median."""
    ordered, half = np.sort(values, axis=1), values.shape[1] // 2
    return np.asarray((ordered[:, half] + ordered[:, -1 - half]) / 2, dtype=np.float32)


def _ring(shape: tuple[int, ...]) -> Flags:
    ring = np.ones(shape, dtype=bool)
    rows, cols = (side // RING_SHARE for side in shape)
    ring[rows:-rows, cols:-cols] = False
    return ring


def _central_area(bright: Flags) -> Flags:
    """The one connected area of each chip (n, rows, cols) that is its target."""
    within_chip = np.zeros((3, 3, 3), dtype=bool)
    within_chip[1] = True
    labels = np.empty(bright.shape, dtype=np.int32)
    n_areas = int(ndimage.label(_grown(bright, BRIDGE_PX), within_chip, output=labels))
    labels *= bright
    places = np.flatnonzero(bright)
    area = labels.ravel()[places] - 1
    size = np.bincount(area, minlength=n_areas)
    distance = np.full(n_areas, np.inf)
    np.minimum.at(distance, area, _from_centre(bright.shape[1:]).ravel()[places % bright[0].size])
    chip = np.zeros(n_areas, dtype=np.intp)
    chip[area] = places // bright[0].size
    large = np.flatnonzero(size >= LEAST_TARGET_PX)
    # By chip, then nearest, then largest, then first: the first of each chip is its target.
    ranked = large[np.lexsort((large, -size[large], distance[large], chip[large]))]
    _, first = np.unique(chip[ranked], return_index=True)
    chosen = np.zeros(n_areas + 1, dtype=bool)
    chosen[ranked[first] + 1] = True
    return np.asarray(chosen[labels])


def _from_centre(shape: tuple[int, ...]) -> Values:
    """Pixels from each pixel to the centre half, 0 inside it."""
    gaps = []
    for side in shape:
        offset = np.abs(np.arange(side) - (side - 1) / 2)
        gaps.append(np.maximum(offset - (side - 1) / 4, 0.0))
    return np.asarray(np.hypot(gaps[0][:, None], gaps[1]))


def _target_to_clutter_db(targets: _Targets) -> tuple[Values, Flags]:
    """Ratio (m,) in dB, and where there is no clutter to compare with."""
    chips, masks = targets.chips.fit, targets.masks
    clutter = _mean(chips, ~_grown(masks, GUARD_PX))
    bare = clutter <= 0
    ratio = np.where(bare, 1.0, _mean(chips, masks)) / np.where(bare, 1.0, clutter)
    return 10 * np.log10(np.where(ratio > 0, ratio, 1.0)), bare


def _grown(flags: Flags, by_px: int) -> Flags:
    """Flags (n, rows, cols) with all pixels that are at most this far from one along both axes."""
    wide = np.pad(flags, ((0, 0), (by_px, by_px), (by_px, by_px)))
    for axis in (1, 2):
        wide = _any_of(wide, 2 * by_px + 1, axis)
    return wide


def _any_of(flags: Flags, width: int, axis: int) -> Flags:
    """True where any of ``width`` flags from a place on is, along an axis that gets shorter by width - 1."""
    lines, seen = np.moveaxis(flags, axis, 0), 1
    while seen < width:
        step = min(seen, width - seen)
        lines, seen = lines[:-step] | lines[step:], seen + step
    return np.moveaxis(lines, 0, axis)


def _mean(chips: Values, flags: Flags) -> Values:
    """Mean over the flagged pixels of each chip; 0 where there are none."""
    total = np.einsum("nij,nij->n", chips, flags)
    return np.asarray(total / np.maximum(np.count_nonzero(flags, axis=(1, 2)), 1))


def _extents_m(masks: Flags, azimuth_m: float, range_m: float) -> tuple[Values, Values]:
    """Length and width (m,) of each mask along and across its principal axis; 0 for an empty one."""
    extents = np.zeros((2, len(masks)))
    chip, row, col = np.nonzero(masks)
    if not len(chip):
        return extents[0], extents[1]
    position = np.stack([row * azimuth_m, col * range_m])
    count = np.maximum(np.bincount(chip, minlength=len(masks)), 1)
    centred = position - np.stack([np.bincount(chip, axis, len(masks)) / count for axis in position])[:, chip]
    moments = [
        np.bincount(chip, centred[one] * centred[other], len(masks)) / count
        for one, other in ((0, 0), (1, 1), (0, 1))
    ]
    turn = 0.5 * np.arctan2(2 * moments[2], moments[0] - moments[1])
    found, start = np.unique(chip, return_index=True)
    for place, angle in enumerate((turn, turn + np.pi / 2)):
        cos, sin = np.cos(angle), np.sin(angle)
        along = centred[0] * cos[chip] + centred[1] * sin[chip]
        pixel_m = np.hypot(cos * azimuth_m, sin * range_m)[found]
        extent = np.maximum.reduceat(along, start) - np.minimum.reduceat(along, start)
        extents[place, found] = extent + pixel_m
    return extents[0], extents[1]
