from __future__ import annotations

import math

import numpy as np
import pytest

from sarcurate.core import practice_chips
from sarcurate.core.impulse_response import Weighting
from sarcurate.core.practice_chips import fitting_objects, render_practice
from sarcurate.core.practice_objects import OBJECTS, practice_object
from sarcurate.core.sensor_model import SensorModel

SENSOR = SensorModel(9.65e9, 1.0, 1.0, 1.2, 1.2, 2, Weighting.TAYLOR, Weighting.TAYLOR, -20.0)
PX = 48


def _sensor(spacing_m: float) -> SensorModel:
    return SensorModel(
        9.65e9,
        spacing_m,
        spacing_m,
        1.4 * spacing_m,
        1.4 * spacing_m,
        1,
        Weighting.NONE,
        Weighting.NONE,
        -20.0,
    )


@pytest.mark.parametrize("spacing_m", [0.4, 1.0, 3.0])
def test_fitting_objects_fill_a_sensible_part_of_the_chip(spacing_m):
    fitting = fitting_objects(_sensor(spacing_m), 96)
    shares = np.array([practice_object(i).largest_m for i in range(OBJECTS)]) / (96 * spacing_m)
    assert fitting == [i for i in range(OBJECTS) if 0.12 <= shares[i] <= 0.85]
    assert len(fitting) > 10


@pytest.mark.parametrize("spacing_m", [0.01, 1000.0])
def test_there_is_always_an_object(spacing_m):
    assert len(fitting_objects(_sensor(spacing_m), 96)) == 1


def test_a_chip_is_one_of_its_seed():
    def render(seed):
        return render_practice(SENSOR, [5, 9, 40], PX, np.random.default_rng(seed))

    one, again, other = render(1), render(1), render(2)
    assert one.intensity.shape == (PX, PX)
    assert one.intensity.dtype == np.float32
    np.testing.assert_array_equal(one.intensity, again.intensity)
    assert (one.name, one.aspect_deg) == (again.name, again.aspect_deg)
    assert not np.array_equal(one.intensity, other.intensity)


def test_what_is_told_is_what_is_shown():
    chips = [render_practice(SENSOR, [5, 9], PX, np.random.default_rng(seed)) for seed in range(80)]
    allowed = {practice_object(5).name, practice_object(9).name}
    assert {chip.name for chip in chips} == allowed | {""}
    assert sum(not chip.name for chip in chips) <= 80 * 0.05 + 4 * np.sqrt(80 * 0.05 * 0.95)
    for chip in chips:
        assert np.all(np.isfinite(chip.intensity))
        assert chip.intensity.min() >= 0.0
        assert 20.0 <= chip.incidence_deg <= 60.0
        assert (0.0 < chip.aspect_deg <= 360.0) if chip.name else chip.aspect_deg == 0.0


def test_bare_ground_is_clutter_and_noise(monkeypatch):
    """One region of level c seen by L looks: mean c + noise, ENL at most L (texture only lowers it)."""
    monkeypatch.setattr(practice_chips, "_EMPTY_SHARE", 1.1)
    monkeypatch.setattr(practice_chips, "_CLUTTER_DB", (-10.0, -10.0))
    monkeypatch.setattr(practice_chips, "_REGION_STD_DB", 0.0)
    monkeypatch.setattr(practice_chips, "_texture_order", lambda _rng: math.inf)
    monkeypatch.setattr(practice_chips, "gamma_texture", lambda shape, *_: np.full(shape, 0.95))
    monkeypatch.setattr(practice_chips, "practice_object", None)

    class NoOthers(np.random.Generator):
        def choice(self, a, *args, **kwargs):  # type: ignore[no-untyped-def]
            return super().choice(a, *args, **kwargs) * 0 if len(a) == 5 else None

    chips = [
        render_practice(SENSOR, [], PX, NoOthers(np.random.PCG64(seed))).intensity.astype(float)
        for seed in range(20)
    ]
    means = np.array([chip.mean() for chip in chips])
    standard_error = means.std(ddof=1) / np.sqrt(len(means))
    assert abs(means.mean() - (10**-1.0 + 10**-2.0)) < 4 * standard_error
    enls = np.array([chip.mean() ** 2 / chip.var() for chip in chips])
    assert abs(enls.mean() - 2) < 4 * enls.std(ddof=1) / np.sqrt(len(enls))
