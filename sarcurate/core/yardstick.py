"""The yardstick: pooled statistics of one sensor's real train chips, that chips are measured against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.autocovariance import LEAST_PX as LEAST_LAG_PX
from sarcurate.core.autocovariance import autocovariance
from sarcurate.core.chip_stack import chip_stack
from sarcurate.core.marginal import ln_floor, ln_intensity, pooled_quantiles
from sarcurate.core.spectral_measures import LEAST_PX as LEAST_SPECTRUM_PX
from sarcurate.core.spectral_measures import log_psds, occupied_bands, periodograms
from sarcurate.errors import DataError

Values = NDArray[np.float64]

POLAR_BINS = (0.05, 6, 4)
# Share of the pixels above zero that lies below and above the grey levels of texture.
GREY_TAILS = 0.001
_BLOCK = 128
_SMALL = max(LEAST_SPECTRUM_PX, LEAST_LAG_PX)


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Pooled statistics of one sensor's real train chips.

    Args:
        rings: (12,) mean over chips of ln power in rings, relative to the chip's mean power.
        polar: (6, 4) the same in 6 rings of 4 sectors over half a turn.
        ln_quantiles: (512,) of ln intensity of all pixels, at ``marginal.QUANTILE_LEVELS``.
        ln_floor: *intensity* that darker pixels are held at before the logarithm.
        correlation: (2, 5) mean over chips of the autocovariance in azimuth and range at lags 0 to 4 px.
        grey_window_db: (low, high) of texture's grey levels, dB of intensity.
        band: (azimuth, range) share of the sampling rate that spectra of intensity fill, median of chips.
    """

    rings: Values
    polar: Values
    ln_quantiles: Values
    ln_floor: float
    correlation: Values
    grey_window_db: Values
    band: Values


def fit_yardstick(chips: Sequence[NDArray[np.floating]]) -> Yardstick:
    """Yardstick of chips (rows, cols) of linear intensity, 32 px a side or more; sizes may differ.

    Every chip counts alike in spectra and correlation, every pixel in the quantiles. Means of ln power, not
    of power: no single bright target owns the spectrum.

    Raises:
        DataError: for no chips, or naming one that is too small, constant, negative or not finite.
    """
    blocks = list(_blocks(chips))
    spectra = [periodograms(block) for block in blocks]
    rings = np.concatenate([log_psds(block)[:, :, 0] for block in spectra])
    polar = np.concatenate([log_psds(block, *POLAR_BINS) for block in spectra])
    shares = np.concatenate([np.stack([m.values for m in occupied_bands(block)], axis=1) for block in blocks])
    lags = [autocovariance(block) for block in blocks]
    lines = np.concatenate([np.stack([each.azimuth, each.range_], axis=1) for each in lags])
    floor = ln_floor(chips)
    return Yardstick(
        rings=rings.mean(axis=0),
        polar=polar.mean(axis=0),
        ln_quantiles=pooled_quantiles([ln_intensity(chip, floor) for chip in chips]),
        ln_floor=floor,
        correlation=lines.mean(axis=0),
        grey_window_db=_grey_window_db(chips),
        band=np.median(shares, axis=0),
    )


def _blocks(chips: Sequence[NDArray[np.floating]]) -> Iterator[Values]:
    """Stacks of chips of one size, each checked."""
    if not len(chips):
        raise DataError("yardstick: no chips", fix="give the sensor's real train chips")
    places: dict[tuple[int, ...], list[int]] = {}
    for place, chip in enumerate(chips):
        places.setdefault(np.shape(chip), []).append(place)
    for shape, own in places.items():
        if len(shape) != 2:
            raise DataError(f"yardstick: chip {own[0]} has shape {shape}", fix="give chips of (rows, cols)")
        for start in range(0, len(own), _BLOCK):
            block = np.stack([chips[place] for place in own[start : start + _BLOCK]]).astype(np.float64)
            why = chip_stack(block, _SMALL).reasons
            if (why != "").any():
                bad = int(np.flatnonzero(why != "")[0])
                raise DataError(
                    f"yardstick: chip {own[start + bad]} of {len(chips)} ({shape[0]} x {shape[1]} px): "
                    f"{why[bad]}; expected varying, finite intensity >= 0 of {_SMALL} px a side",
                    fix="leave the chip out of the reference, or cut larger chips",
                )
            yield block


def _grey_window_db(chips: Sequence[NDArray[np.floating]]) -> Values:
    positive = np.concatenate([chip[chip > 0] for chip in chips])
    low, high = 10 * np.log10(np.quantile(positive.astype(np.float64), [GREY_TAILS, 1 - GREY_TAILS]))
    # Pixels of few values may share both tails: a window of 1 dB still tells them from brighter ones.
    return np.array([low, max(high, low + 1.0)])
