"""Speckle: drawing it, and measuring it in the homogeneous parts of chips."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammainccinv

from sarcurate.errors import DataError

Image = NDArray[np.floating]

# Drawing more independent looks than this only costs time: the marginal is mapped to the looks wanted.
MAX_DRAWN_LOOKS = 16


def gamma_speckle(shape: tuple[int, int], looks: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Uncorrelated intensity speckle: Gamma(looks, 1/looks), mean 1, variance 1/looks.

    Raises:
        DataError: for looks that are not finite and positive.
    """
    _check_looks(looks)
    return rng.gamma(looks, 1.0 / looks, shape)


def correlated_speckle(
    shape: tuple[int, int], looks: float, transfer: Image, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Speckle with a sensor's correlation: filtered complex Gaussian, detected, looks averaged.

    The filter keeps every sample circular Gaussian, so one look is exponential and n averaged looks are
    Gamma(n, 1/n), whatever the transfer function; the correlation of intensity is the squared modulus of
    that of the complex field for every n (Goodman 1975). Looks that are no whole number, or are above 16,
    come from ceil(looks) (at most 16) looks by the monotone map between the two Gamma laws, which keeps
    the marginal exact and the order of the pixels.

    Args:
        shape: (rows, cols).
        looks: number of looks, any value > 0.
        transfer: amplitude transfer function on the DFT grid of ``shape``, zero frequency first.
        rng: source of randomness.

    Raises:
        DataError: for looks <= 0, or a transfer function of another shape or without any energy.
    """
    _check_looks(looks)
    filtered = _unit_power(shape, transfer)
    drawn = min(math.ceil(looks), MAX_DRAWN_LOOKS)
    speckle = np.zeros(shape)
    for _ in range(drawn):
        speckle += np.abs(complex_noise(shape, filtered, rng)) ** 2
    if drawn == looks:
        return speckle / drawn
    # The upper tail carries the bright pixels, so the map goes through the survival function.
    return np.asarray(gammainccinv(looks, gammaincc(drawn, speckle)) / looks, dtype=np.float64)


def complex_noise(
    shape: tuple[int, int], transfer: Image, rng: np.random.Generator
) -> NDArray[np.complex128]:
    """Circular complex Gaussian field of mean power 1, with the correlation given by ``transfer``."""
    parts = rng.standard_normal((2, *shape))
    white = (parts[0] + 1j * parts[1]) * math.sqrt(0.5)
    return np.asarray(np.fft.ifft2(np.fft.fft2(white) * _unit_power(shape, transfer)), dtype=np.complex128)


def add_noise(
    chip: Image, noise: float, looks: float, transfer: Image, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Receiver noise on an intensity chip, added where it arises: to the complex samples.

    Mean over round(looks) looks (1 to 16) of |sqrt(I) + n|^2 with circular n of mean power ``noise``: the
    mean rises by ``noise``, bright pixels get the cross term's spread 2 I noise / looks, and an empty area
    becomes speckle of that many looks. The signal's phase need not be drawn, as n is circular.

    Raises:
        DataError: for noise < 0, looks <= 0 or an unfit transfer function.
    """
    _check_looks(looks)
    if not (math.isfinite(noise) and noise >= 0):
        raise DataError(f"noise: intensity is {noise}, expected finite and >= 0", fix="correct the noise")
    amplitude = np.sqrt(np.asarray(chip, dtype=np.float64))
    shape = (amplitude.shape[0], amplitude.shape[1])
    drawn = min(max(1, round(looks)), MAX_DRAWN_LOOKS)
    total = np.zeros(shape)
    for _ in range(drawn):
        total += np.abs(amplitude + math.sqrt(noise) * complex_noise(shape, transfer, rng)) ** 2
    return total / drawn


def looks_to_add(present_looks: float, wanted_looks: float) -> float:
    """Looks of the speckle to multiply by, so that ENL falls from present to wanted; inf for none.

    A product of independent unit-mean factors has 1 + CV^2 = (1 + 1/L_1)(1 + 1/L_2). Where the image is as
    speckled as wanted, or more so, there is nothing to multiply by.
    """
    _check_looks(present_looks)
    _check_looks(wanted_looks)
    missing = (1 + 1 / wanted_looks) / (1 + 1 / present_looks) - 1
    return 1 / missing if missing > 0 else math.inf


def window_enl(chips: Sequence[Image], window_px: int = 8, keep: float = 0.3) -> float:
    """Equivalent number of looks of the most homogeneous windows, pooled over chips.

    Windows are ranked by the CV^2 of the black 2 x 2 px fields of a chessboard, and the ``keep`` share with
    the lowest is measured on the white fields, so that the choice does not bias the measure (choosing and
    measuring on the same pixels gives 1.4 for one look). For n independent pixels of Gamma(L) the mean of
    CV^2 is 1 / (L + 1/n) exactly, hence L = 1 / mean(CV^2) - 1/n.
    Limits: texture counts as speckle; correlated speckle reads too high, by simulation 2 % for a band
    filling 0.75 of the sampling rate, 5 % for 0.6, 14 % for 0.5.

    Args:
        chips: (rows, cols) linear intensities; shapes may differ.
        window_px: window size, a multiple of 4.
        keep: share of windows kept, in (0, 1].

    Raises:
        DataError: when no chip holds a window with signal, or the kept windows have no variation.
    """
    windows = homogeneous_windows(chips, window_px, keep)
    _, measured = _split_cv2(windows)
    mean_cv2 = float(measured.mean())
    if mean_cv2 <= 0:
        raise DataError(
            f"ENL: the {len(windows)} most homogeneous windows of {window_px} px are constant",
            fix="give measured intensity chips; filled or synthetic constant areas have no speckle",
        )
    return 1 / mean_cv2 - 1 / (window_px**2 // 2)


def speckle_band(chips: Sequence[Image], window_px: int = 8, keep: float = 0.3) -> tuple[float, float]:
    """(row, column) share of the sampling rate that the speckle's spectrum fills, in (0, 1].

    From the correlation of intensity between neighbouring pixels of homogeneous windows. An unweighted band
    filling a share b has field correlation sinc(b) at one pixel, intensity correlation sinc(b)^2.
    A weighted band gives the share of the unweighted band with the same neighbour correlation. Taking
    each window's own mean away lowers all correlations by their mean m, to (r - m) / (1 - m); undone here.

    Raises:
        DataError: as :func:`window_enl`.
    """
    windows = homogeneous_windows(chips, window_px, keep)
    centred = windows / windows.mean(axis=(1, 2), keepdims=True) - 1
    power = float((centred**2).mean())
    if power <= 0:
        raise DataError("speckle band: windows are constant", fix="give measured intensity chips")
    row = float((centred[:, 1:] * centred[:, :-1]).mean()) / power
    col = float((centred[:, :, 1:] * centred[:, :, :-1]).mean()) / power
    band = (_band_of_correlation(row), _band_of_correlation(col))
    for _ in range(5):
        mean = _mean_correlation(band[0], window_px) * _mean_correlation(band[1], window_px)
        row_rest, col_rest = (raw * (1 - mean) + mean for raw in (row, col))
        band = (_band_of_correlation(row_rest), _band_of_correlation(col_rest))
    return band


def homogeneous_windows(chips: Sequence[Image], window_px: int, keep: float) -> NDArray[np.float64]:
    """(n, window_px, window_px) windows, the ``keep`` share with the lowest CV^2 on black fields."""
    windows = tile_windows(chips, window_px)
    selecting, _ = _split_cv2(windows)
    chosen = np.argsort(selecting, kind="stable")[: max(1, round(keep * len(windows)))]
    return windows[np.sort(chosen)]


def window_levels(chips: Sequence[Image], window_px: int, darkest: float) -> tuple[float, float]:
    """Mean intensity of the windows at the ``darkest`` quantile and at the median, pooled over chips."""
    means = tile_windows(chips, window_px).mean(axis=(1, 2))
    dark, median = np.quantile(means, [darkest, 0.5])
    return float(dark), float(median)


def tile_windows(chips: Sequence[Image], window_px: int) -> NDArray[np.float64]:
    """(n, window_px, window_px) windows side by side in all chips, those without signal left out.

    Raises:
        DataError: for a window size that is no multiple of 4, or when nothing is left.
    """
    if window_px < 4 or window_px % 4:
        raise DataError(f"windows: window_px is {window_px}, expected a multiple of 4", fix="use 8 or 16")
    tiles = [_tiles(np.asarray(chip, dtype=np.float64), window_px) for chip in chips]
    windows = np.concatenate(tiles) if tiles else np.empty((0, window_px, window_px))
    black = _black_fields(window_px)
    # Both halves need signal: without any there is no coefficient of variation.
    signal = windows[:, black].any(axis=1) & windows[:, ~black].any(axis=1)
    windows = windows[np.flatnonzero(signal)]
    if not len(windows):
        raise DataError(
            f"windows: none of {len(chips)} chips holds a window of {window_px} px with signal",
            fix="give larger chips, or chips that are not empty",
        )
    return windows


def _tiles(chip: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    rows, cols = chip.shape[0] // n, chip.shape[1] // n
    blocks = chip[: rows * n, : cols * n].reshape(rows, n, cols, n)
    return np.asarray(blocks.swapaxes(1, 2).reshape(-1, n, n), dtype=np.float64)


def _split_cv2(windows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CV^2 of the black and of the white 2 x 2 px fields of a chessboard over each window."""
    black = _black_fields(windows.shape[1])
    return _cv2(windows[:, black]), _cv2(windows[:, ~black])


def _black_fields(n: int) -> NDArray[np.bool_]:
    pair = np.arange(n) // 2 % 2
    return np.equal.outer(pair, pair)


def _cv2(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """CV^2 of each row of (windows, pixels), unbiased variance over squared mean."""
    return np.asarray(pixels.var(axis=1, ddof=1) / pixels.mean(axis=1) ** 2, dtype=np.float64)


def _band_of_correlation(correlation: float) -> float:
    """Invert sinc(b)^2 for b in (0, 1] on a table; falling correlation means a wider band."""
    share = np.linspace(1.0, 0.01, 1000)
    return float(np.interp(correlation, np.sinc(share) ** 2, share))


def _mean_correlation(band: float, window_px: int) -> float:
    """Mean intensity correlation over all pairs of a line of window_px pixels."""
    lags = np.subtract.outer(np.arange(window_px), np.arange(window_px))
    return float(np.mean(np.sinc(band * lags) ** 2))


def _unit_power(shape: tuple[int, int], transfer: Image) -> NDArray[np.float64]:
    power = float(np.mean(np.abs(transfer) ** 2)) if transfer.size else 0.0
    if transfer.shape != tuple(shape) or not (math.isfinite(power) and power > 0):
        raise DataError(
            f"speckle: transfer function of shape {transfer.shape} and mean power {power}, "
            f"expected shape {tuple(shape)} and power > 0",
            fix="give it on the DFT grid of the chip",
        )
    return np.asarray(transfer, dtype=np.float64) / math.sqrt(power)


def _check_looks(looks: float) -> None:
    if not (math.isfinite(looks) and looks > 0):
        raise DataError(f"speckle: looks is {looks}, expected a finite number > 0", fix="correct the looks")
