"""Chips compared in pairs: content kept from the parent, speckle copied from the style reference.

Each score is the largest normalised cross-correlation over small shifts, and is held against the same score
with other references, for two chips of one sensor are never quite unlike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len, rfft2
from scipy.ndimage import gaussian_filter1d

from sarcurate.core.chip_stack import chip_stack
from sarcurate.core.marginal import ln_floor, ln_intensity
from sarcurate.core.measure import Measure
from sarcurate.errors import DataError

Values = NDArray[np.float64]
Spectra = NDArray[np.complex64]

LEAST_PX = 32  # half the window is left to a ghost that is shifted by 8 px along both axes
LEAST_NULL = 5  # references below which mean and spread say nothing
_LEAST_ENERGY = 1e-9  # below it the logarithm holds rounding errors alone
_BLOCK = 256  # references multiplied at once; bounds memory
FLAT = "no variation left to compare"
FEW = f"fewer than {LEAST_NULL} null references"
ALIKE = "null references do not differ"


@dataclass(frozen=True)
class Comparison:
    """What of ln intensity is compared, and how far it may have moved.

    Args:
        sigma_px: of the Gaussian that smooths ln intensity.
        fine: compare what the smoothing takes away, under a Hann window, rather than what it leaves, less
            its mean.
        most_shift_px: shifts looked at along both axes, either way.
        flipped: look at the three mirror images too.
    """

    sigma_px: float
    fine: bool
    most_shift_px: int
    flipped: bool


CONTENT = Comparison(sigma_px=1.5, fine=False, most_shift_px=3, flipped=False)
GHOST = Comparison(sigma_px=2.0, fine=True, most_shift_px=8, flipped=True)


@dataclass(frozen=True, eq=False)
class ReferenceBank:
    """Chips made ready for a comparison, once for all that are compared with them.

    Args:
        comparison: what they were made ready for.
        shape: (rows, cols) of the chips.
        spectra: (m, padded rows, half of padded cols) of patterns of unit energy; the padding keeps shifted
            chips from coming in again at the other end.
        reasons: (m,) text; empty where the chip is fit. The spectrum of another is zero.
    """

    comparison: Comparison
    shape: tuple[int, int]
    spectra: Spectra
    reasons: NDArray[np.str_]

    def take(self, places: NDArray[np.intp]) -> ReferenceBank:
        """The bank of some of its chips."""
        return ReferenceBank(self.comparison, self.shape, self.spectra[places], self.reasons[places])


def reference_bank(intensity: NDArray[np.floating], comparison: Comparison) -> ReferenceBank:
    """Patterns of (m, rows, cols) linear intensity and their Fourier transforms.

    Pixels of zero are held at :func:`sarcurate.core.marginal.ln_floor` of their chip. Chips below 32 px,
    constant, negative or not finite have a reason.

    Raises:
        DataError: for chips that are no such stack.
    """
    chips = chip_stack(intensity, LEAST_PX)
    rows, cols = np.shape(intensity)[1:]
    padded = _padded((rows, cols), comparison)
    spectra = np.zeros((len(chips.reasons), padded[0], padded[1] // 2 + 1), dtype=np.complex64)
    reasons = chips.reasons.astype(object)
    for place, chip in zip(chips.places, chips.fit, strict=True):
        pattern = _pattern(chip, comparison)
        energy = float(np.sqrt(np.sum(pattern * pattern)))
        if energy < _LEAST_ENERGY:
            reasons[place] = FLAT
            continue
        spectra[place] = rfft2(pattern / energy, padded)
    return ReferenceBank(comparison, (rows, cols), spectra, reasons.astype(str))


def correlations(made: ReferenceBank, references: ReferenceBank) -> Values:
    """(k, m) largest normalised cross-correlation of each made chip with each reference.

    Sum of products of the overlapping parts over the product of both whole norms, so a shift costs the share
    that leaves the frame. NaN where either chip is unfit. A chip's numbers do not depend on the others.

    Raises:
        DataError: for banks of different sizes or comparisons.
    """
    if (made.comparison, made.shape) != (references.comparison, references.shape):
        raise DataError(
            f"pairs: made chips of {made.shape} px for {made.comparison}, "
            f"references of {references.shape} px for {references.comparison}",
            fix="prepare both for one comparison, at one size",
        )
    found = np.full((len(made.spectra), len(references.spectra)), np.nan)
    fit = np.flatnonzero(references.reasons == "")
    for k in np.flatnonzero(made.reasons == ""):
        views = _views(made.spectra[k], made.shape, made.comparison)
        for start in range(0, len(fit), _BLOCK):
            places = fit[start : start + _BLOCK]
            found[k, places] = _peaks(views, references.spectra[places], made.shape, made.comparison)
    return found


def against_null(own: Values, null: Values, reasons: NDArray[np.str_]) -> tuple[Measure, Measure]:
    """Score, and its distance from the null in standard deviations of the null.

    Args:
        own: (k,) score of each chip; NaN where there is a reason.
        null: (k, n) scores of the same chips with other references; NaN where there is none.
        reasons: (k,) why there is no score, empty where there is one.

    The largest of 1 + n independent scores is the chip's own with a chance of 1 / (1 + n), whatever their
    law. Beyond that z is a ranking, not a chance: a maximum over shifts has a longer tail than a normal.
    """
    held = np.isfinite(null)
    count = held.sum(axis=1)
    values = np.where(held, null, 0.0)
    mean = values.sum(axis=1) / np.maximum(count, 1)
    squares = np.where(held, null - mean[:, None], 0.0) ** 2
    deviation = np.sqrt(squares.sum(axis=1) / np.maximum(count - 1, 1))
    flat = deviation <= np.finfo(np.float32).eps
    why = np.select([reasons != "", count < LEAST_NULL, flat], [reasons, FEW, ALIKE], "")
    z = np.where(why == "", (own - mean) / np.where(flat, 1.0, deviation), np.nan)
    return Measure(np.where(reasons == "", own, np.nan), reasons), Measure(z, why)


def pair_measures(
    made: NDArray[np.floating],
    parents: NDArray[np.floating],
    styles: NDArray[np.floating],
    null_parents: NDArray[np.floating],
    null_styles: NDArray[np.floating],
) -> dict[str, Measure]:
    """content_retention, content_z, ghost_ncc and ghost_z of made chips, all chips of one size.

    Args:
        made: (k, rows, cols) linear intensity.
        parents: (k, rows, cols) of each made chip, on its grid.
        styles: (k, rows, cols) style reference of each made chip.
        null_parents: (n, rows, cols) chips of other groups than any of the parents.
        null_styles: (n, rows, cols) chips of other groups than any of the styles.

    Raises:
        DataError: for stacks of different sizes, or not one parent and style per made chip.
    """
    if not len(made) == len(parents) == len(styles):
        raise DataError(
            f"pairs: {len(made)} made chips, {len(parents)} parents, {len(styles)} styles",
            fix="give one parent and one style reference per made chip",
        )
    content = _score(made, parents, null_parents, CONTENT, "parent")
    ghost = _score(made, styles, null_styles, GHOST, "style reference")
    names = ("content_retention", "content_z", "ghost_ncc", "ghost_z")
    return dict(zip(names, (*content, *ghost), strict=True))


def _score(
    made: NDArray[np.floating],
    own: NDArray[np.floating],
    null: NDArray[np.floating],
    comparison: Comparison,
    what: str,
) -> tuple[Measure, Measure]:
    ready, own_bank, null_bank = (reference_bank(chips, comparison) for chips in (made, own, null))
    reasons = pair_reasons(ready.reasons, own_bank.reasons, what)
    score = [
        correlations(ready.take(k), own_bank.take(k))[0, 0] for k in np.arange(len(ready.reasons))[:, None]
    ]
    return against_null(np.array(score).reshape(-1), correlations(ready, null_bank), reasons)


def pair_reasons(made: NDArray[np.str_], references: NDArray[np.str_], what: str) -> NDArray[np.str_]:
    """(k,) reasons of pairs: the made chip's own, or else that of its reference, named ``what``."""
    other = np.where(references == "", "", np.char.add(f"{what}: ", references))
    return np.asarray(np.where(made == "", other, made))


def _pattern(chip: Values, comparison: Comparison) -> Values:
    """What of one chip is compared, (rows, cols)."""
    ln = ln_intensity(chip, ln_floor([chip]))
    smooth = (
        _smoother(chip.shape[0], comparison.sigma_px) @ ln @ _smoother(chip.shape[1], comparison.sigma_px).T
    )
    if not comparison.fine:
        return np.asarray(smooth - smooth.mean())
    return np.asarray((ln - smooth) * _hann(chip.shape[0])[:, None] * _hann(chip.shape[1]))


@lru_cache(maxsize=16)
def _smoother(size_px: int, sigma_px: float) -> Values:
    """(size, size) matrix of scipy's Gaussian filter along an axis, mirrored at the ends."""
    return np.asarray(gaussian_filter1d(np.eye(size_px), sigma_px, axis=0, mode="reflect"))


def _hann(size_px: int) -> Values:
    return np.asarray(np.hanning(size_px + 2)[1:-1])


def _padded(shape: tuple[int, int], comparison: Comparison) -> tuple[int, int]:
    rows, cols = (next_fast_len(side + comparison.most_shift_px, real=True) for side in shape)
    return rows, cols


def _views(spectrum: Spectra, shape: tuple[int, int], comparison: Comparison) -> Spectra:
    """(flips, padded rows, half) conjugate spectra of a chip and its mirror images.

    Mirrored about its own centre, a chip's spectrum is read backwards and turned by a linear phase.
    """
    if not comparison.flipped:
        return spectrum.conj()[None]
    row_turn, col_turn = _mirror_phases(shape, comparison)
    backwards = np.roll(spectrum[::-1], 1, axis=0)
    up_down = backwards * row_turn
    left_right = backwards.conj() * col_turn
    both = spectrum.conj() * row_turn * col_turn
    return np.asarray(np.stack([spectrum, up_down, left_right, both]).conj())


@lru_cache(maxsize=8)
def _mirror_phases(shape: tuple[int, int], comparison: Comparison) -> tuple[Spectra, Spectra]:
    rows, cols = _padded(shape, comparison)
    row = np.exp(-2j * np.pi * np.arange(rows) * (shape[0] - 1) / rows)
    col = np.exp(-2j * np.pi * np.arange(cols // 2 + 1) * (shape[1] - 1) / cols)
    return row[:, None].astype(np.complex64), col.astype(np.complex64)


def _peaks(views: Spectra, references: Spectra, shape: tuple[int, int], comparison: Comparison) -> Values:
    """(m,) largest correlation over views and shifts.

    Of the inverse transform only the wanted shifts are computed, by two matrix products.
    """
    along_rows, along_cols = _shift_matrices(shape, comparison)
    products = views[:, None] * references[None]
    flips, m, rows, half = products.shape
    lines = np.matmul(along_rows, products.reshape(flips * m, rows, half))
    surface = lines.view(np.float32) @ along_cols
    return np.asarray(surface.reshape(flips, m, -1).max(axis=(0, 2)), dtype=np.float64)


@lru_cache(maxsize=8)
def _shift_matrices(shape: tuple[int, int], comparison: Comparison) -> tuple[Spectra, NDArray[np.float32]]:
    """Inverse DFT at the wanted shifts: (shifts, padded rows) complex, (2 half, shifts) real.

    The second takes real and imaginary parts side by side; half the spectrum stands for both halves.
    """
    rows, cols = _padded(shape, comparison)
    shifts = np.arange(-comparison.most_shift_px, comparison.most_shift_px + 1)
    along_rows = np.exp(2j * np.pi * np.outer(shifts, np.arange(rows)) / rows) / rows
    places = np.arange(cols // 2 + 1)
    turns = 2 * np.pi * np.outer(places, shifts) / cols
    twice = np.where((places == 0) | (2 * places == cols), 1.0, 2.0)[:, None] / cols
    along_cols = np.stack([twice * np.cos(turns), -twice * np.sin(turns)], axis=1).reshape(-1, len(shifts))
    return along_rows.astype(np.complex64), along_cols.astype(np.float32)
