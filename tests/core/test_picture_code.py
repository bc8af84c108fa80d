from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import zoom
from scipy.stats import rankdata

from sarcurate.core.picture_code import (
    HIGHEST_CYCLES,
    NYQUIST_SHARE,
    frequencies,
    picture_code,
    search_keys,
    turned_codes,
)
from sarcurate.errors import DataError

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(16, 48)


def _speckle(seed: int, rows: int, cols: int) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=(rows, cols))


def _eight(chip: np.ndarray) -> list[np.ndarray]:
    """All flips and quarter turns, spelled out: signs of rows and columns, then the same transposed."""
    upright = [chip, chip[:, ::-1], chip[::-1], chip[::-1, ::-1]]
    return upright + [view.T for view in upright]


def _slow_code(chip: np.ndarray) -> np.ndarray:
    """The definition, one coefficient after another."""
    rows, cols = chip.shape
    share = (rankdata(chip, method="average").reshape(chip.shape) - 0.5) / chip.size
    scores = -np.log(1 - share)
    row = ((np.arange(rows) + 0.5) / rows - 0.5)[:, None]
    col = (np.arange(cols) + 0.5) / cols - 0.5
    taper = np.ones(chip.shape)
    for place in (row, col):
        near = 0.5 - np.abs(place)
        taper = taper * np.where(near < 0.125, np.sin(np.pi / 2 * near / 0.125), 1.0)
    scores = scores - (taper * scores).sum() / taper.sum()
    coefficients = []
    for u, v in frequencies():
        seen = abs(u) <= NYQUIST_SHARE * rows and abs(v) <= NYQUIST_SHARE * cols
        wave = np.exp(-2j * np.pi * (u * row + v * col))
        coefficients.append((taper * scores * wave).sum() * np.sqrt(u**2 + v**2) if seen else 0.0)
    return np.array(coefficients) / np.linalg.norm(coefficients)


@pytest.mark.parametrize("shape", [(16, 16), (21, 34), (64, 40)])
@pytest.mark.parametrize("levels", [None, 6])
def test_a_code_is_that_of_the_slow_version(shape: tuple[int, int], levels: int | None) -> None:
    chip = _speckle(1, *shape)
    if levels is not None:
        chip = np.minimum(np.floor(chip * 2), levels).astype(np.uint8)
    np.testing.assert_allclose(picture_code(chip), _slow_code(chip), atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    seed=SEEDS, rows=SIDES, cols=SIDES, gain=st.floats(1e-3, 1e3), exponent=st.sampled_from([0.25, 0.5, 2.0])
)
def test_no_monotone_curve_changes_a_code(
    seed: int, rows: int, cols: int, gain: float, exponent: float
) -> None:
    chip = np.random.default_rng(seed).permutation(rows * cols).reshape(rows, cols) + 1.0
    code = picture_code(chip)
    np.testing.assert_array_equal(picture_code(gain * chip**exponent), code)
    np.testing.assert_array_equal(picture_code(10 * np.log10(chip)), code)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, rows=SIDES, cols=SIDES)
def test_turned_codes_are_codes_of_turned_chips(seed: int, rows: int, cols: int) -> None:
    chip = _speckle(seed, rows, cols)
    views = turned_codes(picture_code(chip)[None])
    for view, expected in zip(views, _eight(chip), strict=True):
        np.testing.assert_allclose(view[0], picture_code(expected), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, rows=SIDES, cols=SIDES)
def test_all_orientations_share_the_search_keys(seed: int, rows: int, cols: int) -> None:
    chip = _speckle(seed, rows, cols)
    keys = search_keys(np.stack([picture_code(view) for view in _eight(chip)]), 10)
    np.testing.assert_allclose(keys - keys[0], 0, atol=2e-3)


def test_search_keys_tell_pictures_apart_more_than_they_follow_a_shift() -> None:
    scene = _speckle(4, 68, 68)
    codes = [picture_code(chip) for chip in (scene[2:66, 2:66], scene[4:, 1:65], _speckle(5, 64, 64))]
    one, shifted, other = search_keys(np.stack(codes), 10)
    assert np.linalg.norm(one - shifted) < 0.5 * np.linalg.norm(one - other)


@pytest.mark.parametrize("scale", [0.75, 1.5])
def test_a_resampled_chip_has_the_same_code(scale: float) -> None:
    smooth = zoom(_speckle(3, 16, 16), 4, order=3)  # nothing near Nyquist that resampling would lose
    copy = picture_code(zoom(smooth, scale, order=3, grid_mode=True, mode="nearest"))
    assert np.vdot(picture_code(smooth), copy).real > 0.97


def test_frequencies_are_half_a_disc() -> None:
    known = [tuple(pair) for pair in frequencies().tolist()]
    opposite = {(-row, -col) for row, col in known}
    assert not opposite & set(known)
    sides = range(-HIGHEST_CYCLES, HIGHEST_CYCLES + 1)
    disc = {(u, v) for u in sides for v in sides if 0 < np.hypot(u, v) <= HIGHEST_CYCLES + 0.5}
    assert opposite | set(known) == disc


@pytest.mark.parametrize(
    "chip", [np.ones((15, 40)), _speckle(1, 15, 15), np.full((32, 32), 7, dtype=np.uint16)]
)
def test_small_and_plain_chips_have_no_code(chip: np.ndarray) -> None:
    assert not picture_code(chip).any()


@pytest.mark.parametrize(
    "chip",
    [
        np.ones((20, 20, 2)),
        np.ones((20, 20), dtype=np.complex64),
        np.full((20, 20), np.nan),
        np.full((20, 20), np.inf),
    ],
)
def test_what_is_no_picture_is_refused(chip: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"picture code: found .* expected finite real"):
        picture_code(chip)
