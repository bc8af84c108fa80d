from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from sarcurate.core.impulse_response import Weighting, response, width_factor
from sarcurate.core.point_response import point_responses
from sarcurate.errors import DataError


def point_field(
    cells: tuple[float, float],
    at: tuple[float, float],
    weighting: Weighting = Weighting.NONE,
    size: int = 64,
) -> np.ndarray:
    """Amplitude of one point; cells are inverse bandwidths in px."""
    lines = [response((np.arange(size) - a) / cell, weighting) for a, cell in zip(at, cells, strict=True)]
    return np.outer(*lines)


def speckle(n: int) -> np.ndarray:
    return np.random.default_rng(0).gamma(1, 1, (n, 64, 64))


@pytest.mark.parametrize("at", [(32.0, 32.0), (30.31, 33.48)])
def test_sinc_squared_has_the_values_of_theory(at: tuple[float, float]) -> None:
    got = point_responses(point_field((2.5, 3.2), at)[None] ** 2)
    assert (got.row[0], got.col[0]) == (round(at[0]), round(at[1]))
    for cut, cell in ((got.azimuth, 2.5), (got.range_, 3.2)):
        assert cut.irw_px[0] == pytest.approx(0.886 * cell, rel=0.005)
        assert cut.pslr_db[0] == pytest.approx(-13.26, abs=0.1)
        main, whole = (2 * quad(lambda x: np.sinc(x) ** 2, 0, to, limit=200)[0] for to in (1, 16 / cell))
        assert cut.islr_db[0] == pytest.approx(10 * np.log10((whole - main) / main), abs=0.15)


def test_finer_cells_need_the_field() -> None:
    amplitude = point_field((1.2, 1.3), (32.3, 31.6))
    got = point_responses(amplitude[None] ** 2, amplitude[None] * np.exp(0.7j))
    for cut, cell in ((got.azimuth, 1.2), (got.range_, 1.3)):
        assert cut.irw_px[0] == pytest.approx(0.886 * cell, rel=0.005)
        assert cut.pslr_db[0] == pytest.approx(-13.26, abs=0.15)
    aliased = point_responses(amplitude[None] ** 2).azimuth
    assert abs(aliased.irw_px[0] / (0.886 * 1.2) - 1) > 0.02


def plain_cuts(crop: np.ndarray) -> list[np.ndarray]:
    """Cuts through the peak of the whole zero-padded DFT; the half rate is shared between both signs."""
    spectrum = np.fft.fftshift(np.fft.fft2(crop))
    spectrum = np.pad(spectrum, ((0, 1), (0, 1)))
    for lines in (spectrum, spectrum.T):
        lines[-1] = lines[0] = lines[0] / 2
    wide = np.zeros((512, 512), complex)
    wide[240:273, 240:273] = spectrum
    fine = np.fft.ifft2(np.fft.ifftshift(wide)).real * 16**2
    near = fine[240:273, 240:273]
    row, col = (place + 240 for place in np.unravel_index(near.argmax(), near.shape))
    lines = [np.roll(fine[:, col], 256 - row), np.roll(fine[row], 256 - col)]
    return [np.maximum(line, 0) for line in lines]


def plain_shape(line: np.ndarray) -> tuple[float, float, float]:
    ends, nulls = [], []
    for step in (1, -1):
        place = 256
        while line[place] >= line[256] / 2:
            place += step
        inner, outer = line[place - step], line[place]
        ends.append(abs(place - step - 256) + (inner - line[256] / 2) / (inner - outer))
        null = 256
        while line[null + step] <= line[null]:
            null += step
        nulls.append(null)
    main = line[nulls[1] : nulls[0] + 1]
    beyond = np.concatenate([line[: nulls[1]], line[nulls[0] + 1 :]])
    ratios = (beyond.max() / line[256], beyond.sum() / main.sum())
    return (sum(ends) / 16, *(10 * np.log10(ratio) for ratio in ratios))


def test_cuts_in_clutter_are_those_of_the_whole_zero_padded_transform() -> None:
    chips = speckle(4) + 300 * point_field((2.5, 1.9), (31.3, 32.4)) ** 2
    got = point_responses(chips)
    assert list(got.chip) == [0, 1, 2, 3]
    for k, chip in enumerate(chips):
        row, col = got.row[k], got.col[k]
        for line, cut in zip(
            plain_cuts(chip[row - 16 : row + 16, col - 16 : col + 16]), (got.azimuth, got.range_), strict=True
        ):
            expected = plain_shape(line)
            np.testing.assert_allclose((cut.irw_px[k], cut.pslr_db[k], cut.islr_db[k]), expected, rtol=1e-6)


def test_weighting_widens_and_lowers_sidelobes() -> None:
    hamming = point_responses(point_field((2.5, 2.5), (32, 32), Weighting.HAMMING)[None] ** 2).range_
    assert hamming.irw_px[0] == pytest.approx(width_factor(Weighting.HAMMING) * 2.5, rel=0.005)
    assert hamming.pslr_db[0] == pytest.approx(-42.7, abs=1.0)
    taylor = point_responses(point_field((2.5, 2.5), (32, 32), Weighting.TAYLOR)[None] ** 2).range_
    assert taylor.pslr_db[0] == pytest.approx(-30, abs=0.7)


def test_medians_are_per_chip_over_its_points() -> None:
    size = 160
    cells = (2.2, 2.6, 3.4)
    three = sum(
        point_field((cell, cell), at, Weighting.HAMMING, size) ** 2
        for cell, at in zip(cells, ((40, 40), (40, 110), (110, 60)), strict=True)
    )
    one = point_field((3.0, 2.4), (80, 80), Weighting.HAMMING, size) ** 2
    got = point_responses(
        np.stack([three, np.full((size, size), 2.0), one, np.outer(*[np.arange(size)] * 2)])
    )
    assert list(got.chip) == [0, 0, 0, 1]
    medians = got.chip_medians(got.azimuth.irw_px)
    expected = width_factor(Weighting.HAMMING) * np.array([2.6, 3.0])
    np.testing.assert_allclose(medians.values[[0, 2]], expected, rtol=0.01)
    assert list(medians.reasons) == ["", "constant chip", "", "no isolated bright point"]
    two = point_responses(
        (three - point_field((3.4, 3.4), (110, 60), Weighting.HAMMING, size) ** 2)[None].clip(0)
    )
    assert two.chip_medians(two.range_.irw_px).values[0] == pytest.approx(
        np.mean(two.range_.irw_px[:2]), rel=1e-9
    )


def test_a_second_point_within_sixteen_px_hides_both() -> None:
    def pair(apart: int, level: float) -> list[float | None]:
        chip = point_field((2.5, 2.5), (40, 32), Weighting.HAMMING, 96) ** 2
        chip += level * point_field((2.5, 2.5), (40, 32 + apart), Weighting.HAMMING, 96) ** 2
        got = point_responses(chip[None])
        return got.chip_medians(got.range_.irw_px).column()

    assert pair(12, 0.3) == [None]
    assert pair(16, 0.3) == [None]
    assert pair(12, 0.2) != [None]
    assert pair(17, 0.3) != [None]


def test_chips_without_a_point_say_why() -> None:
    chips = speckle(5)
    chips[0], chips[1, 0, 0] = 0, np.nan
    chips[2] = np.minimum(chips[2], 0.3)  # saturated over most of its area
    chips[3] = point_field((2.5, 2.5), (12, 32)) ** 2  # too near to the edge
    got = point_responses(chips)
    assert list(got.chip_medians(got.azimuth.pslr_db).reasons) == [
        "constant chip",
        "non-finite pixels",
        "no isolated bright point",
        "no isolated bright point",
        "no isolated bright point",
    ]
    small = point_responses(speckle(2)[:, :8, :8])
    assert list(small.chip_medians(small.range_.islr_db).reasons) == ["smaller than 33 px"] * 2
    spike = np.full((1, 64, 64), 1e-3)
    spike[0, 30, 30] = 1.0
    lone = point_responses(spike)
    # A single pixel is the sampled response of the full band: 1 px between half powers of a Dirichlet kernel
    # of amplitude 1/2, 1.207 px.
    assert lone.range_.irw_px[0] == pytest.approx(1.207, abs=0.01)


def test_a_field_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match="the field has shape"):
        point_responses(speckle(2), np.ones((2, 64, 65), complex))
