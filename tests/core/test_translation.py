from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.grid import SensorGrid
from sarcurate.core.marginal import QUANTILE_LEVELS, ln_floor, ln_intensity, match_quantiles
from sarcurate.core.speckle import correlated_speckle, window_enl
from sarcurate.core.spectrum import log_psd_distance, mean_power_spectrum
from sarcurate.core.translation import SourceStatistics, fit_source, fit_target, physics, psd, regridded
from sarcurate.errors import DataError

FINE = SensorGrid(1.0, 1.0, 1.0, 1.0)
COARSE = SensorGrid(2.0, 2.0, 3.0, 3.0)
Chips = list[np.ndarray]


def speckle(n_chips: int, n_px: int, looks: float, share: float, seed: int, gain: float = 1.0) -> Chips:
    """Speckle of a square band; means differ between chips by a factor of up to two."""
    rng = np.random.default_rng(seed)
    inside = (np.abs(np.fft.fftfreq(n_px)) <= share / 2).astype(float)
    levels = gain * 2 ** rng.uniform(-0.5, 0.5, n_chips)
    return [
        (level * correlated_speckle((n_px, n_px), looks, np.outer(inside, inside), rng)).astype(np.float32)
        for level in levels
    ]


def ln_psd(chips: Chips) -> np.ndarray:
    floor = ln_floor(chips)
    return mean_power_spectrum([ln_intensity(chip, floor) for chip in chips])


def translate(chips: Chips, source: SourceStatistics, target: object, seed: int = 5) -> Chips:
    return [
        physics(chip, source, target, np.random.default_rng([seed, index]))  # type: ignore[arg-type]
        for index, chip in enumerate(chips)
    ]


def ln_quantiles(chips: Chips) -> np.ndarray:
    return np.quantile(np.log(np.concatenate([chip.ravel() for chip in chips])), QUANTILE_LEVELS[60:-60])


@pytest.mark.parametrize("looks", [1, 2, 3, 4])
def test_physics_reaches_looks_spectrum_and_marginal(looks: int) -> None:
    train, target_chips = speckle(60, 96, 1, 0.886, 1), speckle(60, 48, looks, 0.59, 2, gain=50)
    held_back = speckle(60, 96, 1, 0.886, 3)
    target = fit_target(target_chips, COARSE)
    source = fit_source(train, FINE, target, same_pixels=False, seed=4)
    made = translate(held_back, source, target)
    assert all(chip.shape == (48, 48) and chip.dtype == np.float32 for chip in made)
    # Standard error of the chosen windows' CV^2 (32 pixels, fewer independent ones), for both sets.
    error = math.sqrt(2) * math.sqrt(2 * (1 + 2 / looks) / 16 / (0.3 * 60 * 36))
    assert window_enl(made) == pytest.approx(target.enl, rel=0.04 + 3 * error)
    untouched = log_psd_distance(ln_psd(held_back), target.ln_psd)
    assert log_psd_distance(ln_psd(made), target.ln_psd) < 0.6 * untouched
    np.testing.assert_allclose(ln_quantiles(made), ln_quantiles(target_chips), atol=0.2)
    assert np.abs(ln_quantiles(made) - ln_quantiles(target_chips)).mean() < 0.06


def test_missing_speckle_follows_the_formula() -> None:
    target = fit_target(speckle(40, 48, 1, 0.59, 2), COARSE)
    source = fit_source(speckle(40, 96, 1, 0.886, 1), FINE, target, same_pixels=False, seed=4)
    assert source.moved_enl > 3
    wanted = (1 + 1 / source.moved_enl) * (1 + 1 / source.added_looks)
    assert wanted == pytest.approx(1 + 1 / target.enl)


def test_same_pixels_keeps_the_shape_and_lowers_the_band() -> None:
    train, target_chips = speckle(60, 64, 1, 0.95, 1), speckle(60, 48, 1, 0.55, 2)
    target = fit_target(target_chips, COARSE)
    source = fit_source(train, FINE, target, same_pixels=True, seed=4)
    made = translate(train, source, target)
    assert made[0].shape == (64, 64)
    assert log_psd_distance(ln_psd(made), target.ln_psd) < 0.5 * log_psd_distance(
        ln_psd(train), target.ln_psd
    )


@pytest.mark.parametrize("same_pixels", [True, False])
def test_psd_reaches_the_spectrum(same_pixels: bool) -> None:
    train, target_chips = speckle(60, 64, 1, 0.95, 1), speckle(60, 64, 2, 0.55, 2, gain=9)
    target = fit_target(target_chips, FINE)
    source = fit_source(train, FINE, target, same_pixels=same_pixels, seed=4)
    made = [psd(chip, source, target) for chip in train]
    assert log_psd_distance(ln_psd(made), target.ln_psd, angular_bins=4) < 0.15
    assert log_psd_distance(ln_psd(train), target.ln_psd, angular_bins=4) > 0.3
    np.testing.assert_allclose(ln_quantiles(made), ln_quantiles(target_chips), atol=0.1)


def test_regridded_chips_are_means_over_the_targets_pixels_and_nothing_else() -> None:
    """No smoothing to the target's 3 m, no speckle, no marginal."""
    train = speckle(8, 64, 1, 0.886, 1)
    target = fit_target(speckle(8, 40, 4, 0.4, 2, gain=50), COARSE)
    source = fit_source(train, FINE, target, same_pixels=False, seed=4)
    for chip in train:
        made = regridded(chip, source, target)
        assert made.dtype == np.float32
        np.testing.assert_allclose(made, chip.reshape(32, 2, 32, 2).mean(axis=(1, 3)), rtol=1e-5)


def test_regridded_chips_of_same_pixels_are_untouched() -> None:
    train = speckle(6, 48, 1, 0.886, 1)
    target = fit_target(speckle(6, 40, 4, 0.5, 2), COARSE)
    source = fit_source(train, FINE, target, same_pixels=True, seed=4)
    for chip in train:
        np.testing.assert_array_equal(regridded(chip, source, target), chip)
    same_grid = fit_source(train, COARSE, fit_target(train, COARSE), same_pixels=False, seed=4)
    moved = regridded(train[0], same_grid, fit_target(train, COARSE))
    np.testing.assert_allclose(moved, train[0], rtol=1e-3, atol=1e-4)


def test_a_sensor_translated_to_itself_is_itself() -> None:
    chips = speckle(20, 64, 3, 0.7, 1)
    target = fit_target(chips, FINE)
    source = fit_source(chips, FINE, target, same_pixels=False, seed=4)
    for made in (translate(chips, source, target), [psd(chip, source, target) for chip in chips]):
        # The darkest pixels, beyond the lowest quantile, are held there.
        inside = [chip > 0.1 for chip in chips]
        for new, old, where in zip(made, chips, inside, strict=True):
            np.testing.assert_allclose(new[where], old[where], rtol=1e-4)


def test_equal_laws_change_little() -> None:
    chips, others = speckle(60, 64, 3, 0.7, 1), speckle(60, 64, 3, 0.7, 2)
    target = fit_target(others, FINE)
    source = fit_source(chips, FINE, target, same_pixels=False, seed=4)
    for made in (translate(chips, source, target), [psd(chip, source, target) for chip in chips]):
        assert log_psd_distance(ln_psd(made), ln_psd(chips)) < 0.1
        assert np.abs(ln_quantiles(made) - ln_quantiles(chips)).mean() < 0.05
        pairs = zip(made, chips, strict=True)
        assert min(np.corrcoef(np.log(new.ravel()), np.log(old.ravel()))[0, 1] for new, old in pairs) > 0.9


def test_dark_and_bright_chips_stay_apart() -> None:
    target = fit_target(speckle(40, 48, 2, 0.6, 2), COARSE)
    train = speckle(40, 96, 1, 0.886, 1)
    source = fit_source(train, FINE, target, same_pixels=False, seed=4)
    made = translate(train, source, target)
    before, after = ([math.log(chip.mean()) for chip in chips] for chips in (train, made))
    assert np.corrcoef(before, after)[0, 1] > 0.9
    assert np.std(after) > 0.7 * np.std(before)


def test_shadows_get_the_target_noise() -> None:
    target_chips, train = speckle(60, 48, 1, 0.59, 2), speckle(60, 96, 1, 0.886, 1)
    for chip in target_chips:
        chip[12:36, 12:36] *= 0.1
    for chip in train:
        chip[24:72, 24:72] *= 1e-4
    target = fit_target(target_chips, COARSE)
    source = fit_source(train, FINE, target, same_pixels=False, seed=4)
    assert 0.02 < target.dark_share < 0.1
    # (0 + n) / (median + n) = share, with the median window of both sensors near 1.
    assert source.added_noise == pytest.approx(target.dark_share / (1 - target.dark_share), rel=0.3)
    no_shadow = fit_source(speckle(60, 96, 1, 0.886, 1), FINE, target, same_pixels=False, seed=4)
    assert no_shadow.added_noise == 0


def test_zero_pixels_give_no_nan_and_stay_the_darkest() -> None:
    train, target_chips = speckle(30, 64, 1, 0.9, 1), speckle(30, 64, 3, 0.6, 2)
    for chip in train[::2]:
        chip[:20] = 0
    target = fit_target(target_chips, FINE)
    source = fit_source(train, FINE, target, same_pixels=True, seed=4)
    for made in (translate(train, source, target), [psd(chip, source, target) for chip in train]):
        assert all(np.isfinite(chip).all() and (chip >= 0).all() for chip in made)
        assert np.median(made[0][:15]) < 0.6 * np.median(made[0][30:])


def test_empty_and_constant_chips_have_a_defined_answer() -> None:
    target = fit_target(speckle(30, 48, 1, 0.6, 2), COARSE)
    source = fit_source(speckle(30, 96, 1, 0.886, 1), FINE, target, same_pixels=False, seed=4)
    empty = physics(np.zeros((96, 96), np.float32), source, target, np.random.default_rng(0))
    flat = physics(np.ones((96, 96), np.float32), source, target, np.random.default_rng(0))
    assert np.isfinite(empty).all()
    # All that a flat chip holds is the speckle added to it.
    assert 0.5 < flat.mean() ** 2 / flat.var() < 3 * source.added_looks
    assert empty.max() < np.median(flat)


def test_bytes_depend_on_the_seed_alone() -> None:
    chips = speckle(20, 64, 1, 0.9, 1)
    target = fit_target(speckle(20, 32, 1, 0.6, 2), COARSE)
    fits = [fit_source(chips, FINE, target, same_pixels=False, seed=4) for _ in "ab"]
    one = physics(chips[3], fits[0], target, np.random.default_rng(8))
    physics(chips[5], fits[0], target, np.random.default_rng(9))
    again = physics(chips[3], fits[1], target, np.random.default_rng(8))
    other = physics(chips[3], fits[1], target, np.random.default_rng(7))
    assert one.tobytes() == again.tobytes() != other.tobytes()


def test_unfit_chips_are_refused_by_number() -> None:
    good = speckle(4, 32, 1, 0.9, 1)
    with pytest.raises(DataError, match="no target chips"):
        fit_target([], FINE)
    with pytest.raises(DataError, match=r"target chip 1 .* 1024 negative"):
        fit_target([good[0], -good[1]], FINE)
    with pytest.raises(DataError, match="with signal"):
        fit_target([np.zeros((32, 32))], FINE)
    with pytest.raises(DataError, match="constant"):
        fit_target([np.ones((32, 32))], FINE)
    target = fit_target(good, FINE)
    with pytest.raises(DataError, match="source chip 0 has shape"):
        fit_source([good[0][None]], FINE, target, same_pixels=True, seed=1)
    source = fit_source(good, FINE, target, same_pixels=True, seed=1)
    with pytest.raises(DataError, match="1024 non-finite"):
        psd(np.full((32, 32), np.nan), source, target)


@given(st.integers(0, 10_000))
def test_match_quantiles_is_monotone_and_exact_at_the_knots(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, target = np.sort(rng.normal(size=(2, 30)))
    values = np.sort(rng.normal(0, 3, 200))
    assert (np.diff(match_quantiles(values, source, target)) >= -1e-12).all()
    np.testing.assert_allclose(match_quantiles(source, source, target), target)
    beyond = match_quantiles(np.array([source[-1] + 2.0]), source, target)
    assert beyond[0] == pytest.approx(target[-1] + 2.0)


def test_match_quantiles_of_tied_values_goes_to_the_middle() -> None:
    tied, target = np.array([0.0, 0.0, 0.0, 1.0]), np.array([1.0, 2.0, 3.0, 10.0])
    np.testing.assert_allclose(match_quantiles(np.array([0.0, 1.0, 0.5]), tied, target), [2, 10, 6])
