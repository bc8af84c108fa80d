from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.core.airframes import airframe_named
from sarcurate.core.impulse_response import Weighting
from sarcurate.core.scene_plan import ChipRecipe, Scene
from sarcurate.core.sensor_model import SensorModel
from sarcurate.core.simulator import clutter_sigma0_db, draw_pose, render
from sarcurate.errors import ParamsError

FINE = SensorModel(9.65e9, 1.0, 1.0, 1.15, 1.15, 2, Weighting.TAYLOR, Weighting.TAYLOR, -23.0)
COARSE = SensorModel(5.4e9, 2.0, 2.0, 3.0, 3.0, 1, Weighting.HAMMING, Weighting.HAMMING, -22.0)
SCENE = Scene("pass-00", 35.0, 0.0, (270.0,), -15.0, 5.0, 0.0)


def recipe(label: str, bearing_deg: float = 270.0) -> ChipRecipe:
    return ChipRecipe(label, 0, replace(SCENE, stand_bearings_deg=(bearing_deg,)), 0)


def test_same_seed_same_bytes_and_another_seed_another_chip():
    chips = [render(recipe("C-17"), airframe_named("C-17"), FINE, 96.0, seed) for seed in (1, 2, 1)]
    assert chips[0].intensity.tobytes() == chips[2].intensity.tobytes()
    assert chips[0].truth == chips[2].truth
    assert chips[0].intensity.tobytes() != chips[1].intensity.tobytes()


@settings(max_examples=25, deadline=None)
@given(
    bearing_deg=st.floats(0.0, 360.0),
    label=st.sampled_from(["Boeing-747", "F-16"]),
    sensor=st.sampled_from([FINE, COARSE]),
    seed=st.integers(0, 2**64 - 1),
)
def test_any_aspect_gives_finite_positive_pixels_of_the_footprint(bearing_deg, label, sensor, seed):
    chip = render(recipe(label, bearing_deg), airframe_named(label), sensor, 96.0, seed)
    assert chip.intensity.shape == (96 / sensor.azimuth_spacing_m, 96 / sensor.range_spacing_m)
    assert chip.intensity.dtype == np.float32
    assert np.isfinite(chip.intensity).all()
    assert (chip.intensity >= 0).all()
    rows = chip.intensity.shape[0]
    assert -0.5 <= chip.truth["target_first_row_px"] < chip.truth["target_last_row_px"] <= rows - 0.5


@settings(max_examples=50, deadline=None)
@given(bearing_deg=st.floats(0.0, 360.0), seed=st.integers(0, 2**32))
def test_aspects_gather_around_the_stand(bearing_deg, seed):
    pose = draw_pose(recipe("C-130", bearing_deg), airframe_named("C-130"), 96.0, np.random.default_rng(seed))
    off = (pose.aspect_deg - (bearing_deg + 90.0) + 180.0) % 360.0 - 180.0
    assert abs(off) < 6 * 4.0
    assert max(abs(pose.azimuth_offset_m), abs(pose.range_offset_m)) <= 4.0


def test_two_sensors_see_one_recipe_in_the_same_pose():
    fine, coarse = (
        render(recipe("B-52"), airframe_named("B-52"), sensor, 96.0, 7).truth for sensor in (FINE, COARSE)
    )
    for key in ("azimuth_deg", "incidence_deg", "azimuth_offset_m", "range_offset_m"):
        assert fine[key] == coarse[key]
    # Pixel edges: (first + 1/2) pixels of 1 m and of 2 m are the same metre.
    assert fine["target_first_row_px"] + 0.5 == pytest.approx(2 * (coarse["target_first_row_px"] + 0.5))


def test_gain_error_scales_the_whole_chip():
    plain = render(recipe("F-15"), airframe_named("F-15"), COARSE, 96.0, 3)
    louder = ChipRecipe("F-15", 0, replace(SCENE, gain_db=3.0), 0)
    chip = render(louder, airframe_named("F-15"), COARSE, 96.0, 3)
    np.testing.assert_allclose(chip.intensity, plain.intensity * 10**0.3, rtol=1e-5)


def test_truth_of_uniform_ground_is_the_sensors_looks():
    uniform = ChipRecipe("F-15", 0, replace(SCENE, texture_order=float("inf")), 0)
    truth = render(uniform, airframe_named("F-15"), FINE, 96.0, 3).truth
    assert truth["clutter_enl"] == pytest.approx(2.0)
    assert truth["label"] == "F-15"
    assert truth["nesz_db"] == -23.0


def test_aircraft_stands_out_by_some_10_to_30_db():
    chip = render(recipe("Boeing-747"), airframe_named("Boeing-747"), COARSE, 96.0, 5)
    top = np.sort(chip.intensity.ravel())[-60:].mean()
    border = np.median(np.concatenate([chip.intensity[:, -4:].ravel(), chip.intensity[:3].ravel()])) / np.log(
        2
    )
    assert 10.0 < 10 * np.log10(top / border) < 30.0


def test_clutter_is_weaker_in_the_longer_wave():
    assert clutter_sigma0_db(SCENE, FINE) == pytest.approx(-15.0)
    assert clutter_sigma0_db(SCENE, COARSE) == pytest.approx(-15.0 + 10 * np.log10(5.4 / 9.65))


def test_an_aircraft_larger_than_the_footprint_is_refused():
    with pytest.raises(ParamsError, match=r"Boeing-747 needs .* found a footprint of 64"):
        render(recipe("Boeing-747"), airframe_named("Boeing-747"), COARSE, 64.0, 0)


def test_another_aircraft_than_the_recipes_is_refused():
    with pytest.raises(ParamsError, match="chip 0 of B-52 was given the airframe C-17"):
        render(recipe("B-52"), airframe_named("C-17"), COARSE, 96.0, 0)
