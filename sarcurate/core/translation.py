"""Physics and spectrum translation of intensity chips from a source sensor to a target sensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.grid import Pair, SensorGrid, resample_intensity
from sarcurate.core.marginal import Levels, ln_floor, ln_intensity, match_quantiles, pooled_quantiles
from sarcurate.core.speckle import (
    add_noise,
    correlated_speckle,
    looks_to_add,
    speckle_band,
    window_enl,
    window_levels,
)
from sarcurate.core.spectrum import (
    Spectrum,
    correlation_transfer,
    mean_power_spectrum,
    missing_correlation,
    transfer_spectrum,
)
from sarcurate.errors import DataError

Image = NDArray[np.floating]
Chip = NDArray[np.float32]

# Statistics of more chips than this do not change what a translation does; taken evenly from the list.
FIT_CHIPS = 512
WINDOW_PX = 8
# Share of windows taken as the darkest a sensor shows.
DARKEST = 1e-3
# Amplitude gain of the spectrum transfer, either way: beyond 12 dB it would amplify nothing but noise.
MAX_GAIN = 4.0
# -3 dB width of an unweighted band's response, times the band: sinc^2(0.443) = 1/2.
WIDTH_TIMES_BAND = 0.886


@dataclass(frozen=True, eq=False)
class TargetStatistics:
    """What a translation needs to know of the target sensor, from its real train chips only.

    Attributes:
        grid: pixel spacing and resolution.
        ln_quantiles: pooled ln intensity at ``QUANTILE_LEVELS``.
        ln_psd: mean power spectrum of ln intensity.
        enl: equivalent number of looks of homogeneous windows (texture counts as speckle).
        band: (row, column) share of the sampling rate filled by the speckle.
        dark_share: mean intensity of the darkest windows over that of the median window: an upper bound of
            the noise floor, as nothing darker was seen.
    """

    grid: SensorGrid
    ln_quantiles: Levels
    ln_psd: Spectrum
    enl: float
    band: Pair
    dark_share: float


@dataclass(frozen=True, eq=False)
class SourceStatistics:
    """How source chips stand to one target, from source train chips.

    Attributes:
        grid: pixel spacing and resolution of the source.
        same_pixels: one source pixel is taken as one target pixel.
        band: (row, column) share of the sampling rate filled by the source's speckle.
        moved_enl: equivalent number of looks once on the target's grid and resolution.
        added_looks: looks of the speckle to multiply by; inf where none is missing.
        added_correlation: field correlation of this speckle and of the noise, by lag in pixels.
        added_noise: intensity of the noise to add; 0 where none is missing.
        ln_psd: mean power spectrum of ln intensity on the target's grid.
        ln_floor: intensity at which :func:`psd` holds empty pixels before the logarithm.
        physics_ln_quantiles: pooled ln intensity before the marginal of :func:`physics`.
        psd_ln_quantiles: pooled ln intensity before the marginal of :func:`psd`.
    """

    grid: SensorGrid
    same_pixels: bool
    band: Pair
    moved_enl: float
    added_looks: float
    added_correlation: NDArray[np.float64]
    added_noise: float
    ln_psd: Spectrum
    ln_floor: float
    physics_ln_quantiles: Levels
    psd_ln_quantiles: Levels


def fit_target(chips: Sequence[Image], grid: SensorGrid) -> TargetStatistics:
    """Statistics of the target sensor. Give train chips only: these numbers shape every translated chip.

    Args:
        chips: (rows, cols) linear intensities, at least 8 px a side; shapes may differ.
        grid: the target's spacing and resolution.

    Raises:
        DataError: for no chips, or chips that are negative, not finite, too small or constant.
    """
    sample = _sample(chips, "target")
    dark, median = window_levels(sample, WINDOW_PX, DARKEST)
    return TargetStatistics(
        grid=grid,
        ln_quantiles=_ln_quantiles(sample),
        ln_psd=_ln_spectrum(sample),
        enl=window_enl(sample, WINDOW_PX),
        band=speckle_band(sample, WINDOW_PX),
        dark_share=dark / median,
    )


def fit_source(
    chips: Sequence[Image], grid: SensorGrid, target: TargetStatistics, *, same_pixels: bool, seed: int
) -> SourceStatistics:
    """How source chips must change to have the target's statistics: both translations run up to the marginal.

    The result depends on the order of ``chips`` (sort by id). Give train chips only.

    Args:
        chips: (rows, cols) linear intensities, at least 8 px a side; shapes may differ.
        grid: the source's spacing and resolution.
        target: from :func:`fit_target`.
        same_pixels: take one source pixel as one target pixel, for pairs whose footprints in metres
            differ so much that true scaling would leave too few pixels; resolution is then matched by
            the measured band of the speckle, in pixels.
        seed: of the random draws made for the pooled quantiles.

    Raises:
        DataError: as :func:`fit_target`.
    """
    sample = _sample(chips, "source")
    band = speckle_band(sample, WINDOW_PX)
    moved = [_moved(chip, grid, band, target, same_pixels) for chip in sample]
    moved_enl = window_enl(moved, WINDOW_PX)
    added_looks = looks_to_add(moved_enl, target.enl)
    correlation = missing_correlation(_ln_spectrum(moved), target.ln_psd)
    speckled = [
        _respeckle(chip, added_looks, correlation, np.random.default_rng([seed, index]))
        for index, chip in enumerate(moved)
    ]
    added_noise = _missing_noise(speckled, target)
    noisy = [
        _noisy(chip, added_noise, target.enl, correlation, np.random.default_rng([seed, index, 1]))
        for index, chip in enumerate(speckled)
    ]
    plain = [_regridded(chip, grid, target, same_pixels) for chip in sample]
    floor, ln_psd = ln_floor(plain), _ln_spectrum(plain)
    shaped = [transfer_spectrum(ln_intensity(chip, floor), ln_psd, target.ln_psd, MAX_GAIN) for chip in plain]
    return SourceStatistics(
        grid=grid,
        same_pixels=same_pixels,
        band=band,
        moved_enl=moved_enl,
        added_looks=added_looks,
        added_correlation=correlation,
        added_noise=added_noise,
        ln_psd=ln_psd,
        ln_floor=floor,
        physics_ln_quantiles=_ln_quantiles(noisy),
        psd_ln_quantiles=pooled_quantiles(shaped),
    )


def physics(
    chip: Image, source: SourceStatistics, target: TargetStatistics, rng: np.random.Generator
) -> Chip:
    """The chip as the target sensor would have measured it, by resolution, speckle, noise and marginal.

    1. Resolution and grid: :func:`~sarcurate.core.grid.resample_intensity`; with ``same_pixels`` the grid
       stays and the resolution follows the ratio of the measured speckle bands.
    2. Speckle: times the speckle that is missing, 1 + 1/L_t = (1 + 1/L_1)(1 + 1/L_2) with L_1 measured after
       step 1, correlated as the spectrum that is missing
       (:func:`~sarcurate.core.spectrum.missing_correlation`); nothing where L_1 <= L_t.
    3. Noise: added as complex samples of the same correlation to the amplitude, averaged over the target's
       looks, as far as source shadows are darker than anything the target sensor shows. Before the
       marginal, not after: the target's marginal was measured with its noise in it.
    4. Marginal: pooled source quantiles after step 3 onto pooled target quantiles, monotone. One map for all
       chips, so a dark chip stays darker than a bright one.

    Args:
        chip: (rows, cols) linear intensity in the unit of the fitted source chips.
        source: from :func:`fit_source`, for this target.
        target: from :func:`fit_target`.
        rng: a generator of this chip alone, so the result does not depend on other chips.

    Returns:
        Linear intensity in the target's unit, on the target's grid.

    Raises:
        DataError: for a chip that is negative, not finite or not 2-D.
    """
    _check(chip, "physics translation: the chip")
    moved = _moved(chip, source.grid, source.band, target, source.same_pixels)
    speckled = _respeckle(moved, source.added_looks, source.added_correlation, rng)
    noisy = _noisy(speckled, source.added_noise, target.enl, source.added_correlation, rng)
    ln_chip = ln_intensity(noisy, math.exp(source.physics_ln_quantiles[0]))
    return np.asarray(
        np.exp(match_quantiles(ln_chip, source.physics_ln_quantiles, target.ln_quantiles)), dtype=np.float32
    )


def psd(chip: Image, source: SourceStatistics, target: TargetStatistics) -> Chip:
    """The chip with the target's power spectrum and marginal; no randomness.

    The DFT of ln intensity is multiplied by sqrt(P_target / P_source), limited to 12 dB, mean untouched.
    In ln intensity speckle is additive and of the same variance everywhere, which is what a
    spectrum describes; in intensity or amplitude a few bright scatterers own the spectrum, and a filter
    can leave negative power. The pooled marginal follows as in :func:`physics`.
    A linear filter of speckle: its correlation comes right, its law only through the marginal.
    Arguments, units and errors as :func:`physics`.
    """
    _check(chip, "spectrum translation: the chip")
    plain = _regridded(chip, source.grid, target, source.same_pixels)
    ln_chip = ln_intensity(plain, source.ln_floor)
    shaped = transfer_spectrum(ln_chip, source.ln_psd, target.ln_psd, MAX_GAIN)
    return np.asarray(
        np.exp(match_quantiles(shaped, source.psd_ln_quantiles, target.ln_quantiles)), dtype=np.float32
    )


def regridded(chip: Image, source: SourceStatistics, target: TargetStatistics) -> Chip:
    """The chip on the target's grid and nothing else: its resolution, speckle and levels stay its own."""
    return _regridded(chip, source.grid, target, source.same_pixels)


def _moved(chip: Image, grid: SensorGrid, band: Pair, target: TargetStatistics, same_pixels: bool) -> Chip:
    """Step 1 of physics: the target's grid and resolution."""
    if same_pixels:
        # Lengths in pixels instead of metres: the ratio of the bands is all that is known.
        return resample_intensity(chip, _pixel_grid(band), _pixel_grid(target.band))
    return resample_intensity(chip, grid, target.grid)


def _pixel_grid(band: Pair) -> SensorGrid:
    return SensorGrid(1.0, 1.0, WIDTH_TIMES_BAND / band[0], WIDTH_TIMES_BAND / band[1])


def _regridded(chip: Image, grid: SensorGrid, target: TargetStatistics, same_pixels: bool) -> Chip:
    """Step 1 of psd: the target's grid without its resolution, which the spectrum transfer brings."""
    if same_pixels:
        return np.asarray(chip, dtype=np.float32)
    return resample_intensity(chip, grid, SensorGrid(*target.grid.spacing_m, *grid.resolution_m))


def _respeckle(chip: Image, looks: float, correlation: Image, rng: np.random.Generator) -> Image:
    if math.isinf(looks):
        return chip
    shape = (chip.shape[0], chip.shape[1])
    return chip * correlated_speckle(shape, looks, correlation_transfer(shape, correlation), rng)


def _noisy(chip: Image, noise: float, looks: float, correlation: Image, rng: np.random.Generator) -> Image:
    if noise <= 0:
        return chip
    shape = (chip.shape[0], chip.shape[1])
    return add_noise(chip, noise, looks, correlation_transfer(shape, correlation), rng)


def _missing_noise(chips: Sequence[Image], target: TargetStatistics) -> float:
    """Noise intensity that lifts the darkest windows' share of the median to the target's.

    (dark + n) / (median + n) = share, solved for n.
    """
    dark, median = window_levels(chips, WINDOW_PX, DARKEST)
    if target.dark_share >= 1:
        return 0.0
    return max(0.0, (target.dark_share * median - dark) / (1 - target.dark_share))


def _sample(chips: Sequence[Image], role: str) -> list[Image]:
    """At most FIT_CHIPS checked chips, evenly spread over the list."""
    if not chips:
        raise DataError(f"translation: no {role} chips", fix=f"give the {role} sensor's train chips")
    for index, chip in enumerate(chips):
        _check(chip, f"translation: {role} chip {index}")
    picks = np.linspace(0, len(chips) - 1, min(len(chips), FIT_CHIPS)).round().astype(int)
    return [chips[index] for index in picks]


def _check(chip: Image, name: str) -> None:
    if chip.ndim != 2 or not np.isfinite(chip).all() or (chip < 0).any():
        raise DataError(
            f"{name} has shape {chip.shape}, {int((~np.isfinite(chip)).sum())} non-finite and "
            f"{int((chip < 0).sum())} negative values; expected 2-D linear intensity, finite and >= 0",
            fix="convert with radiometry.to_intensity, or leave the chip out",
        )


def _ln_spectrum(chips: Sequence[Image]) -> Spectrum:
    floor = ln_floor(chips)
    return mean_power_spectrum([ln_intensity(chip, floor) for chip in chips])


def _ln_quantiles(chips: Sequence[Image]) -> Levels:
    floor = ln_floor(chips)
    return pooled_quantiles([ln_intensity(chip, floor) for chip in chips])
