from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcurate.core.airframes import aircraft, airframe_named
from sarcurate.core.clutter import equivalent_looks, texture_variance_seen
from sarcurate.core.coherent_field import (
    TEXTURE_CORRELATION_M,
    Ground,
    Pose,
    apparent_positions,
    complex_looks,
    illumination,
    parked,
    target_spectrum,
)
from sarcurate.core.impulse_response import Weighting, bandwidth_per_m
from sarcurate.core.scatterers import scatterers_of
from sarcurate.core.sensor_model import ChipGrid, SensorModel, chip_grid

COARSE = SensorModel(5.4e9, 2.0, 2.0, 3.0, 3.0, 1, Weighting.HAMMING, Weighting.HAMMING, -22.0)
QUIET = SensorModel(9.65e9, 1.0, 1.0, 1.5, 1.5, 1, Weighting.HAMMING, Weighting.HAMMING, -60.0)
CENTRED = Pose(aspect_deg=90.0, azimuth_offset_m=0.0, range_offset_m=0.0, incidence_deg=35.0)
UNIFORM = Ground(clutter=0.04, noise=10 ** (-2.2), texture_order=np.inf)


def empty_chips(ground: Ground, grid: ChipGrid, looks: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(11)
    chips = [complex_looks(ground, [], grid, looks, 5.4e9, rng) for _ in range(n)]
    return np.array([np.mean(np.abs(chip) ** 2, axis=0) for chip in chips])


def enl_and_error(intensity: np.ndarray) -> tuple[float, float]:
    """mean^2 / variance over all chips, and its jackknife standard error with chips left out one by one."""
    first, second = intensity.mean(axis=(1, 2)), (intensity**2).mean(axis=(1, 2))
    n = len(first)
    m1, m2 = (first.sum() - first) / (n - 1), (second.sum() - second) / (n - 1)
    left_out = m1**2 / (m2 - m1**2)
    whole = first.mean() ** 2 / (second.mean() - first.mean() ** 2)
    return float(whole), float(np.sqrt((n - 1) * np.var(left_out)))


@pytest.mark.parametrize("looks", [1, 4])
def test_uniform_clutter_has_as_many_looks_as_were_averaged(looks):
    enl, error = enl_and_error(empty_chips(UNIFORM, chip_grid(96.0, COARSE), looks, 150))
    assert error < 0.02 * looks
    assert enl == pytest.approx(looks, abs=4 * error)


@pytest.mark.parametrize("looks", [1, 3])
def test_textured_clutter_has_the_looks_of_the_product_model(looks):
    grid, ground = chip_grid(96.0, COARSE), replace(UNIFORM, texture_order=2.0)
    power = np.abs(np.fft.ifft(grid.azimuth_weights)) ** 2
    seen = texture_variance_seen(power, power, grid.spacing_m, 2.0, TEXTURE_CORRELATION_M)
    expected = equivalent_looks(looks, ground.clutter, ground.noise, seen)
    enl, error = enl_and_error(empty_chips(ground, grid, looks, 400))
    assert error < 0.05 * expected
    assert enl == pytest.approx(expected, abs=4 * error)
    assert expected < 0.8 * looks


def test_noise_alone_has_the_level_of_the_nesz():
    chips = empty_chips(Ground(0.0, 10 ** (-2.2), np.inf), chip_grid(96.0, COARSE), 1, 60)
    means = chips.mean(axis=(1, 2))
    error = means.std() / np.sqrt(len(means))
    assert means.mean() == pytest.approx(10 ** (-2.2), abs=4 * error)
    assert error < 0.01 * 10 ** (-2.2)


def test_nothing_is_left_outside_the_processed_band():
    grid = chip_grid(96.0, COARSE)
    chip = complex_looks(
        replace(UNIFORM, texture_order=4.0),
        [parked(airframe_named("C-17"), CENTRED)],
        grid,
        1,
        5.4e9,
        np.random.default_rng(3),
    )[0]
    taper = np.hanning(48)[:, None] * np.hanning(48)
    energy = np.abs(np.fft.fft2(chip * taper)) ** 2
    # The taper smears the spectrum by two bins of the chip.
    outside = np.abs(np.fft.fftfreq(48, 2.0)) > bandwidth_per_m(3.0, Weighting.HAMMING) / 2 + 2.0 / 96.0
    assert outside.sum() >= 2
    assert (energy[outside].sum() + energy[:, outside].sum()) / energy.sum() < 1e-3


def test_target_spectrum_is_the_sum_over_its_points():
    grid, airframe = chip_grid(96.0, COARSE), airframe_named("F-16")
    spectrum = target_spectrum(parked(airframe, CENTRED), grid, 5.4e9, np.random.default_rng(8))
    rng = np.random.default_rng(8)
    rcs = scatterers_of(airframe).rcs_m2(270.0, 5.4e9)
    rcs = rcs * 10 ** (rng.normal(0.0, 2.0, rcs.size) / 10)
    phases = 2 * np.pi * rng.uniform(size=rcs.size)
    azimuth, range_ = apparent_positions(scatterers_of(airframe), CENTRED)
    frequency = np.fft.fftfreq(64, 2.0)
    plain = np.zeros((64, 64), complex)
    for a, r, s, phase in zip(azimuth, range_, rcs, phases, strict=True):
        turns = frequency[:, None] * (a + 63.0) + frequency[None, :] * (r + 63.0)
        plain += np.sqrt(s / 4.0) * np.exp(1j * (phase - 2 * np.pi * turns))
    # Centres fainter than 0.003 m2 are left out.
    assert np.abs(spectrum - plain).max() < 0.02 * np.abs(plain).max()


def test_pose_puts_nose_and_starboard_where_they_belong():
    one, none = np.array([1.0]), np.array([0.0])
    nose_on, along = replace(CENTRED, aspect_deg=0.0), CENTRED
    assert np.concatenate(nose_on.to_ground(one, none)) == pytest.approx([0.0, -1.0])
    assert np.concatenate(along.to_ground(one, none)) == pytest.approx([1.0, 0.0])
    # Flying along with a right-looking radar, starboard is the far side.
    assert np.concatenate(along.to_ground(none, one)) == pytest.approx([0.0, 1.0])


def rows_lit_m(airframe_name: str, aspect_deg: float) -> float:
    """Extent along azimuth of all that rises above -20 dB, without clutter and nearly without noise."""
    pose = replace(CENTRED, aspect_deg=aspect_deg)
    looks = complex_looks(
        Ground(0.0, 1e-6, np.inf),
        [parked(airframe_named(airframe_name), pose)],
        chip_grid(96.0, QUIET),
        1,
        9.65e9,
        np.random.default_rng(4),
    )
    rows = np.flatnonzero((np.abs(looks[0]) ** 2).max(axis=1) > 0.01)
    return float(rows[-1] - rows[0] + 1)


@pytest.mark.parametrize("airframe", aircraft(), ids=lambda airframe: airframe.name)
def test_extent_along_azimuth_is_length_at_broadside_and_span_nose_on(airframe):
    # Each end is drawn out by at most the main lobe, 2 / bandwidth = 2.3 m, and rounded to pixels.
    assert rows_lit_m(airframe.name, 90.0) == pytest.approx(airframe.length_m + 4.0, abs=2.5)
    assert rows_lit_m(airframe.name, 0.0) == pytest.approx(airframe.span_m + 4.0, abs=2.5)


@pytest.mark.parametrize("incidence_deg", [25.0, 45.0])
def test_shadow_of_the_body_ends_at_the_tangent_ray(incidence_deg):
    airframe = airframe_named("Boeing-747")
    lit = illumination(
        parked(airframe, replace(CENTRED, incidence_deg=incidence_deg)), chip_grid(96.0, QUIET)
    )
    row = 16 + 48 + 22  # 22 m ahead of the middle: body, no wing
    dark = np.flatnonzero(lit[row] < 0.5)
    far_edge_m = dark[-1] - (16 + 47.5)
    theta = np.radians(incidence_deg)
    radius = airframe.fuselage_width_m / 2
    tangent_m = airframe.fuselage_height_m * np.tan(theta) + radius / np.cos(theta)
    assert far_edge_m == pytest.approx(tangent_m, abs=1.25)
    assert (np.diff(dark) == 1).all()


def test_shadow_shows_noise_alone_and_open_ground_clutter():
    grid, airframe = chip_grid(96.0, QUIET), airframe_named("Boeing-747")
    ground, rng = Ground(0.04, 0.004, np.inf), np.random.default_rng(9)
    lit = illumination(parked(airframe, CENTRED), grid)[16:112, 16:112]
    # Ten metres of shadow behind the body, away from the aircraft's own returns.
    dark = np.zeros((96, 96), dtype=bool)
    dark[66:74, 51:53] = True
    assert (lit[dark] == 0).all()
    chips = [
        np.abs(complex_looks(ground, [parked(airframe, CENTRED)], grid, 4, 9.65e9, rng)) ** 2
        for _ in range(4)
    ]
    mean = np.mean(chips, axis=(0, 1))
    assert np.median(mean[dark]) < 0.5 * 0.044
    assert mean[:, :10].mean() == pytest.approx(0.044, rel=0.1)
