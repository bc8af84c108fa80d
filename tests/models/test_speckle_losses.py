"""Speckle and spectrum terms: laws of Gamma speckle, plain loops, and the known defect of eq. 21."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import polygamma
from scipy.stats import kstat

from sarcurate.core.homogeneous import homogeneous_areas
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.spectral_measures import log_psds, periodograms
from sarcurate.core.yardstick import POLAR_BINS
from sarcurate.errors import DataError
from sarcurate.models.speckle_losses import (
    Pool,
    SpeckleTerms,
    fit_pool,
    homogeneous_windows,
    log_psd,
    paper_terms,
    robust_terms,
    style_windows,
)

Chips = NDArray[np.float32]
N_CHIPS = 40


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def speckle(n: int, looks: float, seed: int = 0, shape: tuple[int, int] = (48, 48)) -> Chips:
    rng = np.random.default_rng([seed, int(looks)])
    return rng.gamma(looks, 1 / looks, (n, *shape)).astype(np.float32)


def radius(shape: tuple[int, ...]) -> NDArray[np.float64]:
    row, col = np.meshgrid(*(np.fft.fftfreq(side) for side in shape), indexing="ij")
    return np.asarray(np.hypot(row, col))


def without_high_band(chips: Chips, gain: float = 0.0) -> Chips:
    high = radius(chips.shape[1:]) >= 0.25
    return np.fft.ifft2(np.fft.fft2(chips) * np.where(high, gain, 1.0)).real.astype(np.float32)


def every_window(chips: Chips) -> torch.Tensor:
    return torch.ones(len(chips), *((side - 8) // 4 + 1 for side in chips.shape[1:]), dtype=torch.bool)


def robust(chips: Chips, pool: Pool) -> SpeckleTerms:
    return robust_terms(torch.from_numpy(chips), torch.from_numpy(homogeneous_windows(chips)), pool)


def plain_cumulants(chip: Chips, kept: NDArray[np.bool_]) -> tuple[float, float]:
    """Second and third cumulant of ln intensity: unbiased in each window, averaged over them."""
    inside = [
        np.log(chip[4 * down : 4 * down + 8, 4 * across : 4 * across + 8].astype(np.float64))
        for down, across in np.argwhere(kept)
    ]
    return tuple(float(np.mean([kstat(each, order) for each in inside])) for order in (2, 3))  # type: ignore[return-value]


def plain_kept(chips: Chips) -> NDArray[np.bool_]:
    return homogeneous_areas(chips, Radiometry.INTENSITY, window_px=8).kept


@pytest.fixture(scope="module")
def pools() -> dict[int, Pool]:
    return {looks: fit_pool(list(speckle(N_CHIPS, looks))) for looks in (1, 3)}


# --- what is measured


@pytest.mark.parametrize("shape", [(32, 32), (48, 40), (33, 64)])
def test_spectra_are_those_of_the_scorecard(shape: tuple[int, int]) -> None:
    chips = speckle(5, 2, shape=shape) * np.float32(30)
    chips[1, 10:14, 12:20] *= 50
    found = log_psd(torch.from_numpy(chips)).numpy()
    np.testing.assert_allclose(found, log_psds(periodograms(chips), *POLAR_BINS), atol=2e-5)


def test_windows_are_the_homogeneous_ones_and_none_where_there_are_none() -> None:
    chips = speckle(3, 3)
    chips[1, 20:28, 20:28] *= 100
    chips[2] = 1.0
    found = homogeneous_windows(chips)
    assert found.shape == (3, 11, 11)
    np.testing.assert_array_equal(found, plain_kept(chips))
    assert found[0].mean() > 0.9
    assert not found[1, 3:8, 3:8].any()
    assert found[1].any()
    assert not found[2].any()
    small = homogeneous_windows(speckle(2, 3, shape=(12, 15)))  # too small for any area
    assert small.shape == (2, 2, 2)
    assert not small.any()


def test_the_pool_is_that_of_plain_loops() -> None:
    chips = [*speckle(3, 2, shape=(32, 40)), *speckle(2, 4, shape=(40, 33))]
    chips[0][12:18, 10:20] *= 80
    kept = [plain_kept(chip[None])[0] for chip in chips]
    every = np.array([plain_cumulants(chip, own) for chip, own in zip(chips, kept, strict=True)])
    weights = [int(own.sum()) for own in kept]
    variance, third = np.average(every, axis=0, weights=weights)
    logs = np.array([log_psds(periodograms(chip[None]), *POLAR_BINS)[0] for chip in chips])
    found = fit_pool(chips)
    assert found.variance == pytest.approx(variance, rel=1e-4)
    assert found.third == pytest.approx(third, rel=1e-4)
    np.testing.assert_allclose(found.log_psd, logs.mean(axis=0), atol=2e-5)
    apart = np.abs(logs - logs.mean(axis=0)).mean(axis=(1, 2))
    assert found.spectrum_floor == pytest.approx(np.median(apart), rel=1e-3)
    away = np.abs(np.log(every[:, 0] / variance)) + 0.3 * np.abs(every[:, 1] - third) / max(abs(third), 0.5)
    assert found.speckle_floor == pytest.approx(np.median(away), rel=1e-3)


@pytest.mark.parametrize("looks", [1, 2, 4])
def test_gamma_speckle_has_the_cumulants_of_its_logarithm(looks: int) -> None:
    """psi1(L) and psi2(L), each within 4 standard errors (Nicolas 2002); windows are told by chip."""
    chips = speckle(60, looks, seed=5)
    pool = fit_pool(list(chips))
    every = np.array([plain_cumulants(chip, own) for chip, own in zip(chips, plain_kept(chips), strict=True)])
    errors = every.std(axis=0, ddof=1) / np.sqrt(len(chips))
    assert abs(pool.variance - polygamma(1, looks)) < 4 * errors[0]
    assert abs(pool.third - polygamma(2, looks)) < 4 * errors[1]
    assert errors[0] < 0.02 * polygamma(1, looks)
    assert errors[1] < 0.06 * abs(polygamma(2, looks))


def test_a_pool_without_any_homogeneous_window_is_refused() -> None:
    with pytest.raises(DataError, match="no homogeneous window in any of them"):
        fit_pool([chip * np.float32(0) + 1 + np.eye(48, dtype=np.float32) for chip in speckle(2, 1)])


def test_one_chip_is_no_pool() -> None:
    """A single chip is no distance from itself: nothing could be told in units of it."""
    with pytest.raises(DataError, match="1 real train chip"):
        fit_pool(list(speckle(1, 2)))


# --- robust


def test_robust_terms_are_those_of_a_plain_loop(pools: dict[int, Pool]) -> None:
    chips = speckle(4, 2, seed=3)
    chips[2, 10:30, 8:20] *= 20
    kept = plain_kept(chips)
    pool = Pool(pools[3].log_psd, 0.5, -0.2, speckle_floor=0.03, spectrum_floor=0.1)
    found = robust(chips, pool)
    logs = log_psds(periodograms(chips), *POLAR_BINS)
    for place, chip in enumerate(chips):
        variance, third = plain_cumulants(chip, kept[place])
        apart = abs(np.log(variance / 0.5)) + 0.3 * abs(third + 0.2) / 0.5  # held at .5: |third| is less
        assert found.speckle[place].item() == pytest.approx(max(apart / 0.03 - 1, 0), rel=1e-3)
        gap = np.abs(logs[place] - pools[3].log_psd).mean()
        assert found.spectrum[place].item() == pytest.approx(max(gap / 0.1 - 1, 0), rel=1e-3)
    one_look = Pool(pools[3].log_psd, 1.6, -2.4, speckle_floor=0.03, spectrum_floor=0.1)
    variance, third = plain_cumulants(chips[0], kept[0])
    apart = abs(np.log(variance / 1.6)) + 0.3 * abs(third + 2.4) / 2.4
    assert robust(chips, one_look).speckle[0].item() == pytest.approx(apart / 0.03 - 1, rel=1e-3)


def test_the_pools_own_chips_are_within_their_floors_for_half_of_them(pools: dict[int, Pool]) -> None:
    found = robust(speckle(N_CHIPS, 3), pools[3])
    for term in (found.speckle, found.spectrum):
        assert int((term == 0).sum()) == N_CHIPS // 2
        assert float(term.min()) == 0.0


@pytest.mark.parametrize("looks", [1, 3])
def test_a_second_draw_costs_about_nothing_and_what_is_wrong_costs_much(
    looks: int, pools: dict[int, Pool]
) -> None:
    chips = speckle(N_CHIPS, looks, seed=8)
    again = robust(chips, pools[looks])
    assert float(again.speckle.mean()) < 1.0
    assert float(again.spectrum.mean()) < 0.2
    other = robust(speckle(N_CHIPS, 2 * looks, seed=8), pools[looks])  # twice the looks: half the variance
    assert float(other.speckle.min()) > 10
    assert float(other.spectrum.mean()) < 0.3  # white as well
    erased = np.maximum(without_high_band(chips), np.float32(1e-3))
    softened = np.maximum(without_high_band(chips, 0.5), np.float32(1e-3))
    windows = every_window(chips)
    for made, least in ((erased, 5.0), (softened, 0.5)):
        assert float(robust_terms(torch.from_numpy(made), windows, pools[looks]).spectrum.min()) > least


def test_a_chip_without_windows_has_no_speckle_term_and_its_spectrum_all_the_same(
    pools: dict[int, Pool],
) -> None:
    chips = speckle(2, 1)
    windows = every_window(chips)
    windows[0] = False
    given = torch.from_numpy(chips).requires_grad_(True)
    found = robust_terms(given, windows, pools[3])
    assert found.speckle[0].item() == 0
    assert found.speckle[1].item() > 10
    (gradient,) = torch.autograd.grad(found.speckle.sum(), given, retain_graph=True)
    assert not gradient[0].any()
    assert torch.isfinite(gradient).all()
    spectrum = robust_terms(given, every_window(chips), pools[3]).spectrum
    assert torch.equal(found.spectrum, spectrum)


def test_a_chip_is_judged_by_itself(pools: dict[int, Pool]) -> None:
    chips = np.concatenate([speckle(2, 1), speckle(2, 3)])
    whole = robust(chips, pools[3])
    for place in range(4):
        alone = robust(chips[place : place + 1], pools[3])
        for name in ("speckle", "spectrum"):
            torch.testing.assert_close(getattr(alone, name)[0], getattr(whole, name)[place])


_POOL = fit_pool(list(speckle(12, 2, shape=(32, 32))))


@settings(max_examples=25, deadline=None)
@given(gain_db=st.floats(-60, 60), looks=st.sampled_from([1, 2, 5]), seed=st.integers(0, 99))
def test_gain_does_not_matter_to_the_robust_terms(gain_db: float, looks: int, seed: int) -> None:
    chips = speckle(2, looks, seed, (32, 36))
    plain, louder = (robust(chips * np.float32(gain), _POOL) for gain in (1.0, 10 ** (gain_db / 10)))
    for name in ("speckle", "spectrum"):
        torch.testing.assert_close(getattr(louder, name), getattr(plain, name), rtol=1e-3, atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(32, 70), cols=st.integers(32, 70))
def test_chips_of_any_size_are_measured(rows: int, cols: int) -> None:
    found = robust(speckle(1, 2, shape=(rows, cols)), _POOL)
    assert torch.isfinite(found.speckle).all()
    assert torch.isfinite(found.spectrum).all()


# --- paper


def paper(chips: Chips, styles: Chips, windows: NDArray[np.int64] | None = None) -> SpeckleTerms:
    corners = np.stack([style_windows(style) for style in styles]) if windows is None else windows
    return paper_terms(torch.from_numpy(chips), torch.from_numpy(styles), torch.from_numpy(corners))


def test_the_looks_term_by_hand() -> None:
    """Windows of pixels a and b, one each: squared mean (a + b)^2 / 4 over variance (a - b)^2 / 4."""
    sign = np.where(np.indices((32, 32)).sum(axis=0) % 2, 1.0, -1.0)

    def blocks(*spreads: float) -> Chips:
        upper, lower = (1 + spread * sign[:16] for spread in spreads)
        return np.concatenate([upper, lower]).astype(np.float32)[None]

    corners = np.full((1, 16, 2), -1)
    corners[0, :2] = [[0, 0], [16, 8]]
    found = paper(blocks(0.5, 0.25), blocks(0.2, 0.5), corners).speckle.item()
    assert found == pytest.approx(abs((1 / 0.25 + 1 / 0.0625) / 2 - (1 / 0.04 + 1 / 0.25) / 2), rel=1e-4)
    corners[0, 1] = -1
    found = paper(blocks(0.5, 0.25), blocks(0.2, 0.5), corners).speckle.item()
    assert found == pytest.approx(abs(1 / 0.25 - 1 / 0.04), rel=1e-4)
    corners[0, 0] = -1
    assert paper(blocks(0.5, 0.25), blocks(0.2, 0.5), corners).speckle.item() == 0


def test_the_spectrum_term_is_that_of_a_plain_sum_over_the_ring() -> None:
    chips, styles = speckle(2, 1, shape=(24, 20)), speckle(2, 3, seed=1, shape=(24, 20)) * np.float32(7)
    found = paper(chips, styles, np.full((2, 16, 2), -1)).spectrum
    where = radius((24, 20))
    ring = [(i, j) for i in range(24) for j in range(20) if 0.25 <= where[i, j] <= 0.5]
    for place in range(2):
        level = styles[place].mean()
        spectra = [np.fft.fft2(each / level) / np.sqrt(24 * 20) for each in (chips[place], styles[place])]
        apart = [abs(spectra[0][bin_] - spectra[1][bin_]) for bin_ in ring]
        assert found[place].item() == pytest.approx(sum(apart) / len(ring), rel=1e-4)


def test_eq_21_likes_an_erased_high_band_better_than_a_second_draw() -> None:
    """The difference of two independent spectra is sqrt(2) times as large as one of them; 38,000 bins."""
    styles, again, other = (speckle(8, 3, seed, (128, 128)) for seed in range(3))
    windows = np.full((8, 16, 2), -1)
    perfect, erased, softened = (
        float(paper(chips, styles, windows).spectrum.mean())
        for chips in (again, without_high_band(other), without_high_band(other, 0.5))
    )
    assert erased / perfect == pytest.approx(1 / np.sqrt(2), abs=0.015)
    assert softened / perfect == pytest.approx(np.sqrt(1 + 0.25) / np.sqrt(2), abs=0.015)
    pool = fit_pool(list(styles))
    right, wrong = (
        float(robust_terms(torch.from_numpy(chips), every_window(chips), pool).spectrum.mean())
        for chips in (again, without_high_band(other))
    )
    assert right < 0.3
    assert wrong > 10


def test_a_copy_of_the_style_costs_nothing_in_papers_mode() -> None:
    styles = speckle(3, 1)
    found = paper(styles, styles)
    assert found.speckle.tolist() == found.spectrum.tolist() == [0.0] * 3
    again = paper(speckle(3, 1, seed=4), styles)
    assert float(again.spectrum.min()) > 0.5


def test_a_common_gain_does_not_matter_in_papers_mode() -> None:
    chips, styles = speckle(2, 1), speckle(2, 3, seed=1)
    plain, louder = (paper(chips * np.float32(gain), styles * np.float32(gain)) for gain in (1, 1e3))
    torch.testing.assert_close(louder.speckle, plain.speckle, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(louder.spectrum, plain.spectrum, rtol=1e-4, atol=1e-5)


def test_style_windows_are_the_least_varied_homogeneous_ones() -> None:
    style = speckle(1, 3, seed=2, shape=(80, 72))[0]
    style[30:36, 30:40] *= 60
    kept = homogeneous_areas(style[None], Radiometry.INTENSITY, window_px=16).kept[0]

    def varied(corner: tuple[int, int]) -> float:
        inside = style[corner[0] : corner[0] + 16, corner[1] : corner[1] + 16].astype(np.float64)
        return float(inside.var() / inside.mean() ** 2)

    corners = sorted(((8 * int(i), 8 * int(j)) for i, j in np.argwhere(kept)), key=varied)
    assert len(corners) > 16
    assert style_windows(style).tolist() == [list(corner) for corner in corners[:16]]
    for row, col in style_windows(style):
        assert row + 16 <= 30 or row >= 36 or col + 16 <= 30 or col >= 40


def test_where_windows_are_few_the_rest_is_left_out() -> None:
    found = style_windows(speckle(1, 3, shape=(32, 40))[0])  # 3 x 4 places
    assert found.shape == (16, 2)
    n = int((found[:, 0] >= 0).sum())
    assert 0 < n <= 12
    assert (found[n:] == -1).all()
    assert (style_windows(np.ones((48, 48), np.float32)) == -1).all()


# --- gradients


def flat_parts(kind: str) -> Chips:
    chips = speckle(2, 1, seed=6)
    if kind == "flat patch":
        chips[0, 8:32, 8:40] = 0.5
    elif kind == "flat chip":
        chips[0] = 0.5
    return chips


@pytest.mark.parametrize("kind", ["speckle", "flat patch", "flat chip"])
@pytest.mark.parametrize("mode", ["paper", "robust"])
def test_gradients_are_finite(mode: str, kind: str, pools: dict[int, Pool]) -> None:
    chips = torch.from_numpy(flat_parts(kind)).requires_grad_(True)
    if mode == "paper":
        styles = speckle(2, 3)
        corners = torch.from_numpy(np.stack([style_windows(style) for style in styles]))
        found = paper_terms(chips, torch.from_numpy(styles), corners)
    else:
        found = robust_terms(chips, every_window(flat_parts(kind)), pools[3])
    for term in (found.speckle, found.spectrum):
        (gradient,) = torch.autograd.grad(term.sum(), chips, retain_graph=True)
        assert torch.isfinite(term).all()
        assert torch.isfinite(gradient).all()
        assert gradient[1].any()
        assert (term >= 0).all()


@pytest.mark.parametrize("mode", ["paper", "robust"])
def test_gradients_are_those_of_finite_differences(mode: str) -> None:
    """In double precision; along a random direction."""
    rng = np.random.default_rng(1)
    chips = torch.from_numpy(speckle(1, 1, shape=(32, 32))).double()
    style = torch.from_numpy(speckle(1, 3, shape=(32, 32))).double()
    corners = torch.from_numpy(style_windows(style[0].numpy()))[None]
    windows = every_window(speckle(1, 1, shape=(32, 32)))

    def value(given: torch.Tensor) -> torch.Tensor:
        found = paper_terms(given, style, corners) if mode == "paper" else robust_terms(given, windows, _POOL)
        return found.speckle.sum() + 0.7 * found.spectrum.sum()

    given = chips.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(value(given), given)
    direction = torch.from_numpy(rng.normal(size=(1, 32, 32))) * chips
    step = 1e-6
    slope = (value(chips + step * direction) - value(chips - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-3)
