from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.core.impulse_response import Weighting, bandwidth_per_m
from sarcurate.core.practice_sensors import BANDS_HZ, MARGIN, draw_sensor, is_near
from sarcurate.core.sensor_model import SensorModel

KEPT = SensorModel(9.65e9, 1.0, 1.0, 1.15, 1.15, 2, Weighting.TAYLOR, Weighting.TAYLOR, -23.0)
# Band edges of IEEE Std 521-2002, in GHz.
IEEE_GHZ = {"L": (1, 2), "S": (2, 4), "C": (4, 8), "X": (8, 12), "Ku": (12, 18)}
seeds = st.integers(0, 2**32 - 1)


def _draw(seed: int, *kept: SensorModel) -> tuple[str, SensorModel]:
    return draw_sensor(np.random.default_rng(seed), kept)


@given(seeds, st.floats(0.4, 5.0), st.floats(0.4, 5.0))
def test_no_drawn_sensor_is_near_a_kept_one(seed, range_m, azimuth_m):
    kept = replace(KEPT, range_resolution_m=range_m, azimuth_resolution_m=azimuth_m)
    _, drawn = _draw(seed, KEPT, kept)
    for other in (KEPT, kept):
        off = (
            drawn.range_resolution_m / other.range_resolution_m,
            drawn.azimuth_resolution_m / other.azimuth_resolution_m,
        )
        assert max(max(ratio, 1 / ratio) for ratio in off) > MARGIN


def test_sensors_are_drawn_again_where_that_is_needed():
    free = [_draw(seed)[1] for seed in range(200)]
    assert any(is_near(sensor, KEPT) for sensor in free)
    for seed, sensor in enumerate(free):
        assert (_draw(seed, KEPT)[1] == sensor) is not is_near(sensor, KEPT)


def test_near_means_both_resolutions_within_the_margin():
    inside, outside = 0.99 * MARGIN, 1.01 * MARGIN
    for ratio, other, near in [
        (inside, inside, True),
        (1 / inside, inside, True),
        (outside, inside, False),
        (inside, outside, False),
        (1 / outside, 1.0, False),
        (1.0, 1 / outside, False),
    ]:
        moved = replace(
            KEPT,
            range_resolution_m=ratio * KEPT.range_resolution_m,
            azimuth_resolution_m=other * KEPT.azimuth_resolution_m,
        )
        assert is_near(moved, KEPT) is near
        assert is_near(KEPT, moved) is near
    assert is_near(replace(KEPT, centre_frequency_hz=1e9, looks=8, nesz_db=-16.0), KEPT)


@given(seeds)
def test_frequency_belongs_to_the_band(seed):
    band, sensor = _draw(seed)
    low, high = IEEE_GHZ[band]
    assert low <= sensor.centre_frequency_hz / 1e9 <= high
    assert sensor.centre_frequency_hz == pytest.approx(BANDS_HZ[band], rel=0.0501)


@given(seeds)
def test_pixels_are_square_and_sample_the_whole_band(seed):
    _, sensor = _draw(seed)
    assert sensor.range_spacing_m == sensor.azimuth_spacing_m
    bands = (
        bandwidth_per_m(sensor.range_resolution_m, sensor.range_weighting),
        bandwidth_per_m(sensor.azimuth_resolution_m, sensor.azimuth_weighting),
    )
    # Complex samples every 1/B at most; oversampled by less than 1 / 0.45.
    assert 0.45 <= max(bands) * sensor.range_spacing_m <= 1.0


@settings(max_examples=10)
@given(seeds)
def test_a_seed_gives_one_sensor(seed):
    assert _draw(seed, KEPT) == _draw(seed, KEPT)


def test_all_bands_looks_and_weightings_turn_up():
    drawn = [_draw(seed) for seed in range(300)]
    assert {band for band, _ in drawn} == set(BANDS_HZ)
    assert {sensor.range_weighting for _, sensor in drawn} == set(Weighting)
    assert {sensor.looks for _, sensor in drawn} == {1, 2, 3, 4, 6, 8}
    assert all(-32.0 <= sensor.nesz_db <= -16.0 for _, sensor in drawn)
