from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sarcurate.core.radiometry import Radiometry
from sarcurate.core.tie_grid import TieGrid
from sarcurate.errors import DataError, RadiometryError
from sarcurate.io.scenes.scene import Facts, Geometry, Scene, Window

FACTS = Facts("test product", "s1", "complex int16", Geometry.SLANT, Radiometry.INTENSITY)
ALL = Window(0, 0, 4, 6)


@dataclass
class ArrayPixels:
    array: NDArray[Any]
    closed: bool = False

    def read(self, window: Window) -> NDArray[Any]:
        return self.array[window.row : window.row + window.rows, window.col : window.col + window.cols]

    def close(self) -> None:
        self.closed = True


def scene_of(array: NDArray[Any], facts: Facts) -> Scene:
    return Scene(Path("a.bin"), (array.shape[0], array.shape[1]), facts, ArrayPixels(array))


COMPLEX = (np.arange(24).reshape(4, 6) + 1j).astype(np.complex64)
INTENSITY = np.arange(24).reshape(4, 6) ** 2 + 1.0


def test_complex_samples_are_detected_to_intensity_and_calibrated_per_pixel() -> None:
    angles = TieGrid(np.zeros(1), np.array([0.0, 5.0]), np.array([[30.0, 55.0]]))
    scene = scene_of(COMPLEX, replace(FACTS, beta0_factor=0.5, incidence_deg=angles))
    assert scene.available_radiometries() == (Radiometry.INTENSITY, Radiometry.BETA0, Radiometry.SIGMA0)
    np.testing.assert_allclose(scene.detected(ALL, Radiometry.INTENSITY), INTENSITY)
    np.testing.assert_allclose(scene.detected(ALL, Radiometry.BETA0), 0.5 * INTENSITY)
    degrees = np.deg2rad([30, 35, 40, 45, 50, 55])
    part = Window(1, 2, 2, 3)
    np.testing.assert_allclose(
        scene.detected(part, Radiometry.SIGMA0),
        0.5 * INTENSITY[1:3, 2:5] * np.sin(degrees)[None, 2:5],
        rtol=1e-6,
    )


def test_detected_amplitude_gives_amplitude_intensity_and_beta0() -> None:
    facts = replace(FACTS, radiometry=Radiometry.AMPLITUDE, beta0_factor=0.1)
    scene = scene_of(np.arange(24, dtype=np.uint16).reshape(4, 6), facts)
    amplitude = np.arange(24.0).reshape(4, 6)
    np.testing.assert_array_equal(scene.detected(ALL, Radiometry.AMPLITUDE), amplitude)
    np.testing.assert_array_equal(scene.detected(ALL, Radiometry.INTENSITY), amplitude**2)
    np.testing.assert_allclose(scene.detected(ALL, Radiometry.BETA0), 0.1 * amplitude**2, rtol=1e-6)


def test_one_factor_to_the_ground_needs_no_incidence() -> None:
    facts = replace(FACTS, radiometry=Radiometry.AMPLITUDE, sigma0_factor=0.25)
    scene = scene_of(np.full((4, 6), 2, np.uint16), facts)
    np.testing.assert_array_equal(scene.detected(ALL, Radiometry.SIGMA0), np.ones((4, 6)))


def test_samples_stored_as_power_stay_what_they_are() -> None:
    scene = scene_of(INTENSITY.astype(np.float32), replace(FACTS, radiometry=Radiometry.SIGMA0))
    assert scene.available_radiometries() == (Radiometry.SIGMA0,)
    np.testing.assert_allclose(scene.detected(ALL, Radiometry.SIGMA0), INTENSITY)


def test_a_radiometry_out_of_reach_is_refused_by_name() -> None:
    with pytest.raises(RadiometryError, match="sigma0 was asked for, but test product gives only intensity"):
        scene_of(COMPLEX, FACTS).detected(ALL, Radiometry.SIGMA0)


@pytest.mark.parametrize(
    "window",
    [Window(-1, 0, 2, 2), Window(0, -1, 2, 2), Window(3, 0, 2, 2), Window(0, 5, 2, 2), Window(0, 0, 0, 1)],
)
def test_a_window_that_leaves_the_scene_is_refused(window: Window) -> None:
    with pytest.raises(DataError, match=r"leaves the scene of 4 x 6 px"):
        scene_of(COMPLEX, FACTS).samples(window)


def test_samples_that_are_no_numbers_are_refused() -> None:
    broken = COMPLEX.copy()
    broken[2, 2] = np.nan
    scene = scene_of(broken, FACTS)
    with pytest.raises(DataError, match="NaN or infinite samples in the window at row 0, column 0"):
        scene.detected(ALL, Radiometry.INTENSITY)
    assert scene.detected(Window(0, 0, 2, 2), Radiometry.INTENSITY).shape == (2, 2)


def test_the_file_is_closed_on_leaving() -> None:
    scene = scene_of(COMPLEX, FACTS)
    with scene as opened:
        assert opened is scene
    assert isinstance(scene.pixels, ArrayPixels)
    assert scene.pixels.closed
