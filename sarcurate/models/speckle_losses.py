"""How far the speckle and the spectrum of chips are from a sensor's, differentiable, in linear intensity.

Two ways: ``paper`` as printed in arXiv:2606.28922 (eqs. 19-21), against one style chip, and ``robust``
against what all real train chips of the sensor pool, each term in units of what real chips differ by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.homogeneous import homogeneous_areas
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.spectrum import POWER_FLOOR, polar_bins
from sarcurate.core.yardstick import POLAR_BINS
from sarcurate.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

WINDOW_PX = 8
PAPER_WINDOW_PX = 16
PAPER_WINDOWS = 16
HIGH_BAND = (0.25, 0.5)  # cycles a pixel; corners beyond are left out
_THIRD_WEIGHT = 0.3
_LEAST_THIRD = 0.5
_VARIANCE_FLOOR = 1e-6


@dataclass(frozen=True, eq=False)
class SpeckleTerms:
    """Two terms of each chip, (n,): of its speckle, and of its spectrum."""

    speckle: Tensor
    spectrum: Tensor


# --- robust: against the pool


@dataclass(frozen=True, eq=False)
class Pool:
    """What a sensor's real train chips are like, and how far single ones of them are from it.

    Args:
        log_psd: (rings, sectors) mean over chips of ln power in polar bins.
        variance, third: second and third cumulant of ln intensity inside homogeneous windows.
        speckle_floor, spectrum_floor: median distance of a real chip to the pool.
    """

    log_psd: NDArray[np.float64]
    variance: float
    third: float
    speckle_floor: float
    spectrum_floor: float


def fit_pool(chips: Sequence[NDArray[np.floating]], *, needs_speckle: bool = True) -> Pool:
    """The pool of real train chips (rows, cols) of linear intensity; sizes may differ.

    Args:
        chips: two or more.
        needs_speckle: False where its speckle is not asked for, and need not be known.

    Raises:
        DataError: for fewer chips, or none with a homogeneous window.
    """
    import torch

    if len(chips) < 2:
        raise DataError(
            f"{len(chips)} real train chip: how far such chips are apart cannot be told",
            fix="give two or more real train chips of the target",
        )

    logs, sums = [], []
    for chip in chips:
        image = torch.from_numpy(np.asarray(chip, dtype=np.float32))[None]
        logs.append(log_psd(image)[0].double().numpy())
        kept = torch.from_numpy(homogeneous_windows(chip[None]))
        sums.append(_window_sums(image, kept)[0].double().numpy())
    totals = np.sum(sums, axis=0)
    if not totals[0] > 0 and not needs_speckle:
        totals = np.array([1.0, 1.0, 0.0])
    if not totals[0] > 0:
        raise DataError(
            f"speckle of {len(chips)} real train chips: no homogeneous window in any of them",
            fix="set migrate.speckle_weight to 0, or cut larger chips",
        )
    variance, third = totals[1] / totals[0], totals[2] / totals[0]
    mean_log = np.mean(logs, axis=0)
    apart = [float(np.mean(np.abs(one - mean_log))) for one in logs]
    speckle = [
        _cumulant_distance(own[1] / own[0], own[2] / own[0], variance, third) for own in sums if own[0]
    ]
    floor = float(np.median(speckle)) if speckle else 1.0
    return Pool(mean_log, float(variance), float(third), floor, float(np.median(apart)))


def robust_terms(intensity: Tensor, windows: Tensor, pool: Pool) -> SpeckleTerms:
    """Distances to the pool over their floors, less 1 and never below 0: as good as real costs nothing.

    Args:
        intensity: (n, rows, cols) linear.
        windows: (n, down, across) homogeneous windows of each chip's content; a chip without any has no
            speckle term.
        pool: of the target sensor.
    """
    import torch

    count, variance_sum, third_sum = _window_sums(intensity, windows).unbind(-1)
    n = count.clamp(min=1)
    variance, third = (variance_sum / n).clamp(min=_VARIANCE_FLOOR), third_sum / n
    apart = torch.log(variance / pool.variance).abs() + _THIRD_WEIGHT * (third - pool.third).abs() / max(
        abs(pool.third), _LEAST_THIRD
    )
    speckle = torch.where(count > 0, _above(apart / pool.speckle_floor), torch.zeros_like(apart))
    wanted = torch.from_numpy(pool.log_psd).to(intensity)
    spectrum = (log_psd(intensity) - wanted).abs().mean((1, 2))
    return SpeckleTerms(speckle, _above(spectrum / pool.spectrum_floor))


def homogeneous_windows(intensity: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(n, down, across) windows of 8 px at steps of 4 px that hold speckle alone; all false where none."""
    chips = np.asarray(intensity, dtype=np.float32)
    kept = homogeneous_areas(chips, Radiometry.INTENSITY, window_px=WINDOW_PX).kept
    down, across = ((size - WINDOW_PX) // (WINDOW_PX // 2) + 1 for size in chips.shape[1:])
    found = np.zeros((len(chips), down, across), dtype=np.bool_)
    found[:, : kept.shape[1], : kept.shape[2]] = kept
    return found


def log_psd(intensity: Tensor) -> Tensor:
    """(n, rings, sectors) ln power of contrast in polar bins, relative to the chip's mean power.

    The same numbers as :func:`sarcurate.core.spectral_measures.log_psds` with the yardstick's bins.
    """
    import torch

    _, rows, cols = intensity.shape
    window = torch.from_numpy(_window(rows, cols)).to(intensity)
    contrast = (intensity / intensity.mean((1, 2), keepdim=True) - 1) * window
    transformed = torch.fft.fft2(contrast, norm="ortho")
    flat = (transformed.real**2 + transformed.imag**2).flatten(1)
    low, rings, sectors = POLAR_BINS
    bins = polar_bins((rows, cols), low, rings, sectors)
    order = torch.from_numpy(bins.order).to(intensity.device)
    counts = np.diff(bins.starts, append=len(bins.order))
    means = torch.stack([part.mean(1) for part in flat[:, order].split(counts.tolist(), dim=1)], dim=1)
    # A flat chip has no power to be relative to.
    total = ((flat.sum(1) - flat[:, 0]) / (rows * cols - 1)).clamp(min=POWER_FLOOR)
    return torch.log((means / total[:, None]).clamp(min=POWER_FLOOR)).view(-1, rings, sectors)


# --- paper: against one style chip


def paper_terms(intensity: Tensor, style: Tensor, windows: Tensor) -> SpeckleTerms:
    """Eqs. 19-21 as printed, both chips over the style's mean, means instead of sums.

    Eq. 21 compares complex spectra: it likes a chip without high frequencies better than one with another
    draw of the same speckle, and a copy of the style best of all.

    Args:
        intensity: (n, rows, cols) linear.
        style: (n, rows, cols) linear, each chip's own.
        windows: (n, k, 2) upper left corners of windows of 16 px that are homogeneous in the style; rows of
            -1 where there are fewer.
    """
    import torch

    level = style.mean((1, 2), keepdim=True)
    own, wanted = intensity / level, style / level
    known = (windows[:, :, 0] >= 0).to(intensity.dtype)
    enl = [(_enl(each, windows) * known).sum(1) / known.sum(1).clamp(min=1) for each in (own, wanted)]
    row, col = torch.meshgrid(*(torch.fft.fftfreq(size) for size in own.shape[1:]), indexing="ij")
    radius = torch.hypot(row, col).to(intensity.device)
    band = (radius >= HIGH_BAND[0]) & (radius <= HIGH_BAND[1])
    spectra = [torch.fft.fft2(each, norm="ortho")[:, band] for each in (own, wanted)]
    return SpeckleTerms((enl[0] - enl[1]).abs(), (spectra[0] - spectra[1]).abs().mean(1))


def style_windows(style: NDArray[np.floating]) -> NDArray[np.int64]:
    """(16, 2) corners of the style's homogeneous windows of 16 px, the least varied first; -1 fills up."""
    chip = np.asarray(style, dtype=np.float32)
    areas = homogeneous_areas(chip[None], Radiometry.INTENSITY, window_px=PAPER_WINDOW_PX)
    found = np.full((PAPER_WINDOWS, 2), -1, dtype=np.int64)
    kept = np.argwhere(areas.kept[0])
    order = np.argsort([areas.windows.cv2[0][tuple(place)] for place in kept], kind="stable")
    corners = kept[order][:PAPER_WINDOWS] * (PAPER_WINDOW_PX // 2)
    found[: len(corners)] = corners
    return found


def _enl(chips: Tensor, windows: Tensor) -> Tensor:
    """(n, k) squared mean over variance of each window; of no meaning for corners of -1."""
    import torch

    offsets = torch.arange(PAPER_WINDOW_PX, device=chips.device)
    rows = windows[:, :, 0].clamp(min=0)[:, :, None, None] + offsets[:, None]
    cols = windows[:, :, 1].clamp(min=0)[:, :, None, None] + offsets
    chip = torch.arange(len(chips), device=chips.device)[:, None, None, None]
    inside = chips[chip, rows, cols].flatten(2)
    mean = inside.mean(2)
    # A flat window has a gradient of 1 / sigma^3: held back where nothing is left of the speckle.
    return mean**2 / (inside.var(2, correction=0) + _VARIANCE_FLOOR * mean**2)


# --- shared


def _window(rows: int, cols: int) -> NDArray[np.float32]:
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(cols + 2)[1:-1])
    return np.asarray(window / np.sqrt((window**2).mean()), dtype=np.float32)


def _window_sums(intensity: Tensor, windows: Tensor) -> Tensor:
    """(n, 3): kept windows, and sums over them of second and third cumulants of ln intensity within each."""
    import torch

    half = WINDOW_PX // 2
    ln = torch.log(intensity.clamp(min=torch.finfo(intensity.dtype).tiny))
    inside = ln.unfold(1, WINDOW_PX, half).unfold(2, WINDOW_PX, half).flatten(3)
    centred = inside - inside.mean(3, keepdim=True)
    px = inside.shape[3]
    second = (centred**2).sum(3) / (px - 1)
    third = (centred**3).sum(3) * px / ((px - 1) * (px - 2))
    weight = windows.to(ln)
    return torch.stack(
        [weight.sum((1, 2)), (second * weight).sum((1, 2)), (third * weight).sum((1, 2))], dim=-1
    )


def _cumulant_distance(variance: float, third: float, pool_variance: float, pool_third: float) -> float:
    ratio = np.log(max(variance, _VARIANCE_FLOOR) / pool_variance)
    return float(abs(ratio) + _THIRD_WEIGHT * abs(third - pool_third) / max(abs(pool_third), _LEAST_THIRD))


def _above(floors: Tensor) -> Tensor:
    return (floors - 1).clamp(min=0)
