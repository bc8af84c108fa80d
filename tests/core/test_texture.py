from __future__ import annotations

import numpy as np
import pytest

from sarcurate.core.texture import DISTANCES_PX, Texture, grey_levels, texture
from sarcurate.errors import DataError

WINDOW_DB = (-20.0, 10.0)


def chips(n: int = 3, shape: tuple[int, int] = (20, 17)) -> np.ndarray:
    return np.random.default_rng(0).gamma(1, 1, (n, *shape))


def plain(chip: np.ndarray, distance: int) -> np.ndarray:
    """Contrast, homogeneity, energy and correlation, pixel by pixel, mean over four directions."""
    levels = np.zeros(chip.shape, int)
    for place, value in np.ndenumerate(chip):
        level = -np.inf if value == 0 else (10 * np.log10(value) + 20) / 30 * 32
        levels[place] = 0 if level < 0 else 31 if level >= 32 else int(level)
    found = []
    for d_row, d_col in ((0, distance), (distance, distance), (distance, 0), (distance, -distance)):
        p = np.zeros((32, 32))
        for (row, col), level in np.ndenumerate(levels):
            if 0 <= row + d_row < chip.shape[0] and 0 <= col + d_col < chip.shape[1]:
                other = levels[row + d_row, col + d_col]
                p[level, other] += 1
                p[other, level] += 1
        p /= p.sum()
        i, j = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
        mean = (p * i).sum()
        covariance, variance = (p * (i - mean) * (j - mean)).sum(), (p * (i - mean) ** 2).sum()
        found.append(
            [
                (p * (i - j) ** 2).sum(),
                (p / (1 + (i - j) ** 2)).sum(),
                np.sqrt((p**2).sum()),
                covariance / variance,
            ]
        )
    return np.mean(found, axis=0)


def rows(result: Texture) -> np.ndarray:
    """(kinds, distances, n)."""
    kinds = (result.contrast, result.homogeneity, result.energy, result.correlation)
    return np.array([[measure.values for measure in kind] for kind in kinds])


def test_properties_are_those_of_a_plain_loop() -> None:
    many = chips(35, (9, 11))  # more than one block
    many[0, 0, 0] = 0.0
    got = rows(texture(many, WINDOW_DB))
    for index in (0, 1, 31, 32, 34):
        for place, distance in enumerate(DISTANCES_PX):
            np.testing.assert_allclose(got[:, place, index], plain(many[index], distance), atol=1e-9)


def test_a_chessboard_has_the_properties_of_theory() -> None:
    board = np.where(np.indices((32, 32)).sum(axis=0) % 2, 1.0, 0.1)[None]
    result = texture(board, (-15.0, 5.0))  # 16 levels apart
    # Along the axes at distance 1 all pairs differ, along diagonals all are equal.
    assert result.contrast[0].values[0] == pytest.approx(16**2 / 2)
    assert result.homogeneity[0].values[0] == pytest.approx((1 + 1 / 257) / 2)
    assert result.correlation[0].values[0] == pytest.approx(0, abs=0.01)
    assert result.contrast[1].values[0] == pytest.approx(0)
    assert result.correlation[1].values[0] == pytest.approx(1)
    assert result.energy[1].values[0] == pytest.approx(np.sqrt(0.5), abs=1e-3)


def test_levels_are_equal_steps_of_db_with_closed_ends() -> None:
    values = 10 ** (np.array([-30.0, -20.0, -19.07, -19.05, 9.9, 10.0, 40.0]) / 10)
    assert list(grey_levels(values, WINDOW_DB)) == [0, 0, 0, 1, 31, 31, 31]
    assert grey_levels(np.zeros(1), WINDOW_DB)[0] == 0


def test_gain_within_the_window_steps_leaves_texture() -> None:
    middle = chips() * 0.01
    wide = (-80.0, 80.0)  # steps of 5 dB
    one, two = texture(middle, wide), texture(middle * 10**0.5, wide)
    np.testing.assert_allclose(rows(one), rows(two), atol=1e-9)


def test_unfit_chips_have_reasons() -> None:
    many = chips(5)
    many[0], many[1], many[2, 2, 2] = 0, 3.0, np.nan
    many[3] = np.linspace(1e-9, 1e-8, 17)  # all below the window
    result = texture(many, WINDOW_DB)
    for kind in (result.contrast, result.homogeneity, result.energy, result.correlation):
        for measure in kind:
            assert list(measure.reasons) == [
                "constant chip",
                "constant chip",
                "non-finite pixels",
                "one grey level in the dB window",
                "",
            ]
    assert texture(chips(1, (7, 20)), WINDOW_DB).energy[2].reasons[0] == "smaller than 8 px"
    assert texture(chips(1, (8, 8)), WINDOW_DB).energy[2].reasons[0] == ""
    assert texture(np.zeros((2, 16, 16)), WINDOW_DB).energy[0].column() == [None, None]


@pytest.mark.parametrize("window", [(0.0, 0.0), (5.0, -5.0), (-np.inf, 0.0), (np.nan, 1.0)])
def test_a_window_that_does_not_rise_is_refused(window: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="expected finite and rising"):
        texture(chips(), window)
