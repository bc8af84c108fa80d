"""The scorecard: every single-chip measure of a stack of chips, one column each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.autocovariance import autocovariance
from sarcurate.core.bright_target import target_measures
from sarcurate.core.chip_stack import NEGATIVE, NON_FINITE, ChipStack, chip_stack
from sarcurate.core.enl import EnlMethod, enl
from sarcurate.core.homogeneous import HomogeneousAreas, correlated_px, homogeneous_areas
from sarcurate.core.levels import floors_of_sorted, levels_of_sorted, noise_over_nesz, sorted_pixels
from sarcurate.core.log_cumulants import LnArea, ln_area, ln_area_of_sorted, log_cumulants
from sarcurate.core.marginal_fit import (
    NOT_K,
    fit_gamma,
    fit_k,
    fit_log_normal,
    gamma_p_value,
    ks_distance,
    wasserstein_ln,
)
from sarcurate.core.measure import Measure
from sarcurate.core.point_response import point_responses
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scorecard_columns import COLUMNS, LAGS_PX, STRUCTURE, TEXTURE_COLUMNS, VECTOR
from sarcurate.core.spectral_measures import (
    Periodograms,
    flat_periodograms,
    grid_spikes,
    high_frequency_ratio,
    log_psds,
    occupied_bands,
    out_of_band_ratio,
    periodograms,
)
from sarcurate.core.texture import texture
from sarcurate.core.yardstick import POLAR_BINS, Yardstick, fit_yardstick

__all__ = ["COLUMNS", "VECTOR", "ChipContext", "Yardstick", "fit_yardstick", "scorecard"]

Values = NDArray[np.float64]
Measures = dict[str, Measure]

NO_YARDSTICK = "no yardstick"
NO_SPACING = "pixel spacing not known"
PURE = "pure speckle"
UNDECLARED = "undeclared radiometry"
OUT_OF_RANGE = "intensity beyond the range of float32"
LEAST_AREA_PX = 16  # two windows a side
_LARGEST = float(np.finfo(np.float32).max)
_BLOCK_PX = 1 << 19  # worked on together: 4 MB of chips


@dataclass(frozen=True)
class ChipContext:
    """What is known about the chips beside their pixels.

    Args:
        domain: the radiometry declared for them.
        azimuth_spacing_m: between rows; None where it is not known or not one.
        range_spacing_m: between columns.
        nesz_db: the sensor's noise-equivalent backscatter, dB of sigma0 or beta0 as declared.
    """

    domain: Radiometry
    azimuth_spacing_m: float | None
    range_spacing_m: float | None
    nesz_db: float | None


def scorecard(
    intensity: NDArray[np.floating], context: ChipContext, yardstick: Yardstick | None
) -> dict[str, Measure]:
    """Every measure of :data:`COLUMNS`, each a value per chip or the reason why there is none.

    Pixels darker than the yardstick's floor, zeros above all, are held at it for the mean, the log-cumulants
    and the Wasserstein distance; without a yardstick at the chip's own ``marginal.ln_floor``.
    ``zero_fraction`` says how many zeros there are. ``mean_db`` is the mean of the pixels in dB, the first
    log-cumulant. Laws are fitted in the homogeneous area. Under ``Radiometry.UNKNOWN`` only the columns of
    ``scorecard_columns.STRUCTURE`` have values. A chip's values do not depend on the others of the stack.

    Args:
        intensity: (n, rows, cols) linear intensity; relative kinds squared before.
        context: what is declared about the chips.
        yardstick: of the sensor's real train chips; None leaves what needs it with a reason.

    Raises:
        DataError: for anything but a stack of real chips.
        RadiometryError: for a context that declares amplitude.
    """
    chips = np.asarray(intensity)
    if chips.ndim != 3 or chips.dtype.kind not in "fiu":
        chip_stack(chips)  # raises
    if not chips.shape[1] * chips.shape[2]:
        nothing = Measure(np.full(len(chips), np.nan), np.full(len(chips), "no pixels"))
        return dict.fromkeys(COLUMNS, nothing)
    step = max(1, _BLOCK_PX // (chips.shape[1] * chips.shape[2]))
    parts = [
        _block(chips[start : start + step], context, yardstick)
        for start in range(0, max(len(chips), 1), step)
    ]
    return {
        name: Measure(
            np.concatenate([part[name].values for part in parts]),
            np.concatenate([part[name].reasons for part in parts]),
        )
        for name in COLUMNS
    }


def _block(chips: NDArray[np.floating], context: ChipContext, yardstick: Yardstick | None) -> Measures:
    why = _refused(chips)
    pixels = chips.astype(np.float64)
    pixels[why != ""] = 0
    areas = homogeneous_areas(pixels, context.domain)
    fit = chip_stack(pixels)
    ranked = sorted_pixels(fit)
    spectra = periodograms(fit)
    found = {
        **_looks(areas, fit),
        **_marginals(fit, ranked, yardstick, context),
        **_fits(areas, fit),
        **_spectrum(spectra, yardstick),
        **_bands(fit, spectra, yardstick),
        **_spikes(pixels, fit),
        **_correlation(fit, yardstick),
        **_points(fit, ranked, context),
        **_texture(fit, yardstick),
        **target_measures(fit, context.azimuth_spacing_m, context.range_spacing_m),
        "zero_fraction": Measure((pixels == 0).mean(axis=(1, 2)), np.full(len(pixels), "")),
    }
    unknown = np.where(why == "", UNDECLARED if context.domain is Radiometry.UNKNOWN else "", why)
    return {name: _but(found[name], why if name in STRUCTURE else unknown) for name in COLUMNS}


def _refused(chips: NDArray[np.floating]) -> NDArray[np.str_]:
    """(n,) why nothing can be said about a chip at all."""
    low, high = chips.min(axis=(1, 2)), chips.max(axis=(1, 2))
    hole = ~(np.isfinite(low) & np.isfinite(high))
    return np.select([hole, low < 0, high > _LARGEST], [NON_FINITE, NEGATIVE, OUT_OF_RANGE], "")


def _but(measure: Measure, why: NDArray[np.str_]) -> Measure:
    """The measure, but a reason where ``why`` (n,) has one."""
    gone = why != ""
    if not gone.any():
        return measure
    return Measure(np.where(gone, np.nan, measure.values), np.where(gone, why, measure.reasons))


def _missing(measure: Measure, reason: str) -> Measure:
    """No value at all, for ``reason`` where the measure's own does not come first."""
    return _but(measure, np.where(measure.reasons == "", reason, measure.reasons))


def _looks(areas: HomogeneousAreas, fit: ChipStack) -> Measures:
    harmonic = enl(areas, EnlMethod.HARMONIC)
    chips = chip_stack(fit, LEAST_AREA_PX)
    share = areas.n_px / (fit.shape[1] * fit.shape[2])
    return {
        "enl": harmonic.enl,
        "enl_stderr": harmonic.stderr,
        "enl_low": harmonic.low,
        "enl_high": harmonic.high,
        "enl_median": enl(areas, EnlMethod.MEDIAN).enl,
        "enl_log_variance": enl(areas, EnlMethod.LOG_VARIANCE).enl,
        "homogeneous_fraction": chips.measure(share[chips.places]),
    }


def _marginals(
    chips: ChipStack, ranked: Values, yardstick: Yardstick | None, context: ChipContext
) -> Measures:
    """Levels, and log-cumulants of whole chips."""
    level = levels_of_sorted(chips, ranked)
    floor = floors_of_sorted(ranked) if yardstick is None else np.full(len(ranked), yardstick.ln_floor)
    area = ln_area_of_sorted(chips, np.maximum(ranked, floor[:, None]))
    k1, k2, k3 = log_cumulants(area).measures()
    far = _missing(k1, NO_YARDSTICK) if yardstick is None else wasserstein_ln(area, yardstick.ln_quantiles)
    return {
        "dynamic_range_db": level.dynamic_range_db,
        "saturated_fraction": level.saturated_fraction,
        "noise_floor_db": level.noise_floor_db,
        "noise_over_nesz_db": noise_over_nesz(level.noise_floor_db, context.domain, context.nesz_db),
        "mean_db": Measure(k1.values * (10 / np.log(10)), k1.reasons),
        "log_cumulant_2": k2,
        "log_cumulant_3": k3,
        "wasserstein_ln": far,
    }


def _fits(areas: HomogeneousAreas, chips: ChipStack) -> Measures:
    area = ln_area(chips, areas.mask(chips.shape[1:]))
    cumulants = log_cumulants(area)
    gamma, k_law = fit_gamma(cumulants), fit_k(cumulants)
    together = correlated_px(areas.correlation[:, :, area.chips.places], 2)
    found = {
        "gamma_looks": area.chips.measure(gamma.looks),
        "k_looks": area.chips.measure(k_law.looks, np.isnan(k_law.looks), NOT_K),
        "k_texture": _k_texture(area, k_law.texture),
        "ks_gamma": ks_distance(area, gamma),
        "ks_k": ks_distance(area, k_law),
        "ks_log_normal": ks_distance(area, fit_log_normal(cumulants)),
        "gamma_p_value": gamma_p_value(cumulants, together),
    }
    return {name: _but(measure, areas.reasons) for name, measure in found.items()}


def _k_texture(area: LnArea, texture: Values) -> Measure:
    pure = np.isinf(texture)
    held = area.chips.measure(np.where(pure, 1.0, texture), np.isnan(texture), NOT_K)
    return _but(held, np.where(area.chips.measure(pure).values == 1, PURE, ""))


def _spectrum(spectra: Periodograms, yardstick: Yardstick | None) -> Measures:
    chips = spectra.chips
    if not len(spectra.power):
        rings, polar = np.empty((0, 12)), np.empty((0, *POLAR_BINS[1:]))
    else:
        rings, polar = log_psds(spectra)[:, :, 0], log_psds(spectra, *POLAR_BINS)
    found = {f"log_psd_{ring:02d}": chips.measure(rings[:, ring]) for ring in range(rings.shape[1])}
    found["hf_energy_ratio"] = high_frequency_ratio(spectra)
    if yardstick is None:
        blank = _missing(found["log_psd_00"], NO_YARDSTICK)
        return {**found, "log_psd_distance": blank, "polar_psd_distance": blank}
    found["log_psd_distance"] = chips.measure(np.abs(rings - yardstick.rings).mean(axis=1))
    found["polar_psd_distance"] = chips.measure(np.abs(polar - yardstick.polar).mean(axis=(1, 2)))
    return found


def _bands(chips: ChipStack, spectra: Periodograms, yardstick: Yardstick | None) -> Measures:
    azimuth, range_ = occupied_bands(chips)
    if yardstick is None:
        outside = _missing(azimuth, NO_YARDSTICK)
    else:
        outside = out_of_band_ratio(spectra, (float(yardstick.band[0]), float(yardstick.band[1])))
    return {
        "occupied_band_azimuth": azimuth,
        "occupied_band_range": range_,
        "out_of_band_ratio": outside,
    }


def _spikes(pixels: Values, chips: ChipStack) -> Measures:
    # A grid has bins of its own only in multiples of its period.
    rows, cols = (size // 8 * 8 for size in pixels.shape[1:])
    whole = pixels.shape[1:] == (rows, cols)
    flat = flat_periodograms(chips if whole else pixels[:, :rows, :cols])
    board, latent = grid_spikes(flat, 2), grid_spikes(flat, 8)
    return {
        "checkerboard_ratio": board.peak_over_median,
        "checkerboard_p_value": board.p_value,
        "latent_grid_ratio": latent.peak_over_median,
        "latent_grid_p_value": latent.p_value,
    }


def _correlation(chips: ChipStack, yardstick: Yardstick | None) -> Measures:
    lags = autocovariance(chips)
    at = [lags.at_lag(lag) for lag in LAGS_PX]
    found = {f"correlation_azimuth_{lag}": pair[0] for lag, pair in zip(LAGS_PX, at, strict=True)}
    found |= {f"correlation_range_{lag}": pair[1] for lag, pair in zip(LAGS_PX, at, strict=True)}
    widths = lags.half_widths_px()
    found |= {"correlation_width_azimuth_px": widths[0], "correlation_width_range_px": widths[1]}
    if yardstick is None:
        return {**found, "correlation_distance": _missing(at[0][0], NO_YARDSTICK)}
    azimuth, range_ = lags.distances(*yardstick.correlation)
    mean = Measure((azimuth.values + range_.values) / 2, azimuth.reasons)
    return {**found, "correlation_distance": mean}


def _points(chips: ChipStack, ranked: Values, context: ChipContext) -> Measures:
    points = point_responses(chips, ranked=ranked)
    found = {"bright_points": points.chips.measure(np.bincount(points.chip, minlength=len(points.chips.fit)))}
    spacings_m = (context.azimuth_spacing_m, context.range_spacing_m)
    cuts = (points.azimuth, points.range_)
    for axis, cut, spacing_m in zip(("azimuth", "range"), cuts, spacings_m, strict=True):
        width = points.chip_medians(cut.irw_px)
        metres = Measure(width.values * (spacing_m or 1.0), width.reasons)
        found[f"irw_{axis}_m"] = metres if spacing_m else _missing(width, NO_SPACING)
        found[f"pslr_{axis}_db"] = points.chip_medians(cut.pslr_db)
        found[f"islr_{axis}_db"] = points.chip_medians(cut.islr_db)
    return found


def _texture(chips: ChipStack, yardstick: Yardstick | None) -> Measures:
    if yardstick is None:
        n = len(chips.reasons)
        blank = Measure(np.full(n, np.nan), np.full(n, NO_YARDSTICK))
        return dict.fromkeys(TEXTURE_COLUMNS, blank)
    low, high = yardstick.grey_window_db
    found = texture(chips, (float(low), float(high)))
    kinds = (found.contrast, found.homogeneity, found.energy, found.correlation)
    ordered = [kind[place] for place in range(len(found.contrast)) for kind in kinds]
    return dict(zip(TEXTURE_COLUMNS, ordered, strict=True))
