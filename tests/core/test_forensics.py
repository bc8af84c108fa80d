from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy.ndimage import zoom

from sarcurate.core.forensics import (
    BREAKS_LINEARITY,
    Container,
    Finding,
    Statistics,
    examine,
    needs_linear,
    statistics_of,
)
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.resampling import BandLimits
from sarcurate.errors import RadiometryError


def samples(seed: int = 1, size: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 30, (size, size)) + 1j * rng.normal(0, 30, (size, size))).astype(np.complex64)


def amplitude(seed: int = 1, size: int = 64) -> np.ndarray:
    return np.abs(samples(seed, size))


def jpeg(chip: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    # away from 0 and 255, where the decoder clips
    Image.fromarray(np.rint(chip + 40).astype(np.uint8)).save(buffer, "JPEG", quality=80)
    return np.asarray(Image.open(buffer)).astype(np.uint16)


def framed(chip: np.ndarray) -> np.ndarray:
    return np.pad(chip, ((0, 0), (3, 0)))


DEFECTS = {
    Finding.STRETCHED: lambda chip: np.minimum(chip, np.quantile(chip, 0.97)).astype(np.float32),
    Finding.JPEG: jpeg,
    Finding.UPSAMPLED: lambda chip: zoom(chip[:32, :32], 2, order=3),
    Finding.BORDER: framed,
}


@pytest.mark.parametrize("finding", DEFECTS)
def test_each_defect_is_named_and_no_other(finding: Finding) -> None:
    assert examine(amplitude(), Radiometry.AMPLITUDE).findings == ()
    assert examine(DEFECTS[finding](amplitude()), Radiometry.AMPLITUDE).findings == (finding,)


@pytest.mark.parametrize("finding", [Finding.STRETCHED, Finding.JPEG, Finding.BORDER])
def test_intensity_shows_the_defects_of_its_amplitude(finding: Finding) -> None:
    chip = DEFECTS[finding](amplitude()).astype(np.float32) ** 2
    assert examine(chip, Radiometry.INTENSITY).findings == (finding,)


def test_the_grid_is_looked_for_in_amplitude() -> None:
    chip = jpeg(amplitude()).astype(np.float32)
    expected = examine(chip, Radiometry.AMPLITUDE).jpeg_grid_strength
    assert examine(chip**2, Radiometry.SIGMA0).jpeg_grid_strength == pytest.approx(expected)


def test_repeated_pixels_are_upsampled_though_they_fill_the_band() -> None:
    found = examine(np.kron(amplitude(size=32), np.ones((2, 2), np.float32)), Radiometry.AMPLITUDE)
    assert min(found.occupied_band) > BandLimits().detected_least[0]  # type: ignore[type-var]
    assert Finding.UPSAMPLED in found.findings


def test_what_the_file_says_is_found_without_measuring() -> None:
    found = examine(np.full((4, 4), 9, np.uint16), Radiometry.AMPLITUDE, container=Container(True, True))
    assert found.findings == (Finding.JPEG, Finding.GREY_AS_RGB)


def test_complex_samples_on_their_rail_are_saturated() -> None:
    held = samples()
    clipped = np.clip(held.real, -60, 60) + 1j * np.clip(held.imag, -60, 60)
    assert examine(np.abs(held) ** 2, Radiometry.INTENSITY, held).findings == ()
    found = examine(np.abs(clipped) ** 2, Radiometry.INTENSITY, clipped.astype(np.complex64))
    assert found.findings == (Finding.SATURATED,)
    # beyond 2 sigma lies 4.55 % of each part, so 1 - 0.9545^2 of the samples
    assert found.stretch.saturated_fraction == pytest.approx(1 - 0.9545**2, abs=0.012)


def test_the_limits_decide_what_is_upsampled() -> None:
    half = zoom(amplitude()[:32, :32], 2, order=3)
    excused = BandLimits(detected_least=(0.3, 0.3))
    assert examine(half, Radiometry.AMPLITUDE, limits=excused).findings == ()


@pytest.mark.parametrize("chip", [np.full((8, 8), 3, np.uint16), np.zeros((64, 64), np.float32)])
def test_constant_chips_have_no_measures(chip: np.ndarray) -> None:
    found = examine(chip, Radiometry.INTENSITY, chip.astype(np.complex64))
    assert found.findings == ()
    assert (found.jpeg_grid_strength, found.occupied_band, found.border) == (None, (None, None), None)
    assert found.stretch.saturated_fraction is None


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
        lambda shape: st.one_of(
            hnp.arrays(np.uint16, shape),
            hnp.arrays(np.float32, shape, elements=st.floats(0, 2.0**60, width=32)),
        )
    ),
    st.sampled_from(Radiometry),
)
def test_any_chip_is_answered_with_finite_numbers(chip: np.ndarray, radiometry: Radiometry) -> None:
    found = examine(chip, radiometry)
    again = examine(chip.copy(), radiometry)
    border = found.border
    measured = [
        found.stretch.saturated_fraction,
        found.stretch.missing_levels_fraction,
        found.occupied_band[0],
        found.occupied_band[1],
        None if border is None else border.wedge_fraction,
    ]
    assert all(value is None or 0 <= value <= 1 for value in measured)
    for value in (found.jpeg_grid_strength, found.stretch.comb_strength):
        assert value is None or 0 <= value < np.inf
    assert (found.findings, found.stretch) == (again.findings, again.stretch)


def test_findings_come_in_their_order() -> None:
    chip = framed(DEFECTS[Finding.STRETCHED](amplitude()))
    found = examine(chip, Radiometry.AMPLITUDE, container=Container(was_rgb=True)).findings
    assert found == (Finding.STRETCHED, Finding.GREY_AS_RGB, Finding.BORDER)
    order = list(Finding)
    assert all(order.index(a) < order.index(b) for a, b in pairwise(found))


@pytest.mark.parametrize("radiometry", Radiometry)
def test_statistics_are_relative_where_radiometry_or_a_finding_says_so(radiometry: Radiometry) -> None:
    clean = Statistics.RELATIVE if radiometry.is_relative else Statistics.ABSOLUTE
    assert statistics_of(radiometry, ()) is clean
    for finding in Finding:
        expected = Statistics.RELATIVE if finding in BREAKS_LINEARITY else clean
        assert statistics_of(radiometry, (finding,)) is expected


def test_borders_and_channels_leave_statistics_absolute() -> None:
    assert set(Finding) - BREAKS_LINEARITY == {Finding.BORDER, Finding.GREY_AS_RGB}


def test_a_measure_of_linear_pixels_refuses_relative_ones() -> None:
    needs_linear(Statistics.ABSOLUTE, "ENL", "chip a")
    with pytest.raises(RadiometryError, match="chip a: ENL needs absolute statistics") as caught:
        needs_linear(Statistics.RELATIVE, "ENL", "chip a")
    assert "report the measure as relative" in caught.value.fix
