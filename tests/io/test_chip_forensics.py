from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarcurate.core.radiometry import Radiometry
from sarcurate.io.chip_forensics import COLUMNS, count_findings, forensic_columns
from sarcurate.io.manifest import SCHEMA
from sarcurate.io.raster import Pixels, read_chip
from sarcurate.io.sensors import SensorProfile, load_profile

WHOLE = (slice(None), slice(None))
METRE = {"azimuth_spacing_m": 1.0, "range_spacing_m": 1.0}


@pytest.fixture
def profile() -> SensorProfile:
    return replace(load_profile("terrasarx-sim"), azimuth_resolution_m=None, range_resolution_m=None)


def _samples(range_share: float) -> Pixels:
    """Complex samples that fill a share of the range band."""
    rng = np.random.default_rng(3)
    spectrum = np.fft.fft2(rng.normal(size=(64, 64)) + 1j * rng.normal(size=(64, 64)))
    spectrum[:, np.abs(np.fft.fftfreq(64)) > range_share / 2] = 0
    samples = np.fft.ifft2(spectrum).astype(np.complex64)
    return Pixels((np.abs(samples) ** 2).astype(np.float32), True, "complex64", samples=samples)


def test_every_column_is_in_the_manifest_and_filled(profile: SensorProfile) -> None:
    found = forensic_columns(_samples(1.0), WHOLE, Radiometry.INTENSITY, METRE, profile)
    assert set(found) == set(COLUMNS) <= set(SCHEMA.names)


def test_a_stated_bandwidth_and_the_sampling_decide_what_is_upsampled(profile: SensorProfile) -> None:
    # c / (2 x 150 MHz) is a sample each metre of slant range
    def forensics(share: float, bandwidth_hz: float | None, spacing_m: float = 0.9993) -> str:
        told = replace(profile, range_bandwidth_hz=bandwidth_hz, sampling_frequency_hz=150e6)
        row = METRE | {"range_spacing_m": spacing_m}
        return str(forensic_columns(_samples(share), WHOLE, Radiometry.INTENSITY, row, told)["forensics"])

    assert forensics(0.6, None) == ""
    assert forensics(0.6, 100e6) == ""
    assert forensics(0.6, 135e6) == "upsampled"  # 0.9 of the band was measured
    assert forensics(0.6, 135e6, spacing_m=1.5) == ""  # another grid than the sensor's own
    assert forensics(0.35, None) == "upsampled"
    assert forensics(0.35, 50e6) == ""  # a third of the band is all there is


def test_coarse_resolution_excuses_its_axis(profile: SensorProfile) -> None:
    coarse = replace(profile, range_resolution_m=3.0)
    found = forensic_columns(_samples(0.35), WHOLE, Radiometry.INTENSITY, METRE, coarse)
    assert found["forensics"] == ""


@pytest.mark.parametrize(
    ("suffix", "expected"), [("png", "grey_as_rgb"), ("jpg", "jpeg grey_as_rgb"), ("tif", "grey_as_rgb")]
)
def test_what_the_file_says_is_told(
    tmp_path: Path, profile: SensorProfile, suffix: str, expected: str
) -> None:
    flat = np.full((16, 16, 3), 90, np.uint8)
    Image.fromarray(flat).save(tmp_path / f"a.{suffix}")
    found = forensic_columns(read_chip(tmp_path / f"a.{suffix}"), WHOLE, Radiometry.AMPLITUDE, METRE, profile)
    assert (found["forensics"], found["grey_as_rgb"]) == (expected, True)
    assert found["statistics"] == ("relative" if "jpeg" in expected else "absolute")


def test_findings_are_counted_in_their_order() -> None:
    column = ["border", "", None, "stretched border", "jpeg"]
    assert list(count_findings(column).items()) == [("stretched", 1), ("jpeg", 1), ("border", 2)]
    assert count_findings(["", None]) == {}
