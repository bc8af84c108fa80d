from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from sarcurate.core.impulse_response import Weighting
from sarcurate.core.sensor_model import chip_grid
from sarcurate.errors import ParamsError
from sarcurate.io.sensors import CONFIDENCES, SensorProfile, list_profiles, load_profile

NAMES = [
    "fucheng1", "fucheng1-sim", "gaofen3-spotlight", "mstar", "mstar-sim-coarse",
    "sentinel1-iw", "sentinel1-stripmap", "terrasarx", "terrasarx-scansar", "terrasarx-sim",
    "terrasarx-spotlight", "terrasarx-spotlight-hs", "terrasarx-spotlight-st", "terrasarx-stripmap",
]  # fmt: skip
LIGHT_M_PER_S = 299792458.0
IEEE_BANDS = {"L": (1e9, 2e9), "S": (2e9, 4e9), "C": (4e9, 8e9), "X": (8e9, 12e9), "Ku": (12e9, 18e9)}
OPTIONAL = {"mode", "calibration", "radiometric_accuracy_db"}


def packaged(name: str) -> dict:
    text = files("sarcurate").joinpath(f"assets/sensors/{name}.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)


def write(folder: Path, content: object) -> str:
    path = folder / "mine.yaml"
    YAML(typ="safe", pure=True).dump(content, path)
    return str(path)


def test_the_packaged_profiles_are_listed():
    assert list_profiles() == NAMES


def conforms(profile: SensorProfile) -> None:
    """What physics and the house ask of any profile; a new sensor is one YAML and this test."""
    assert len(set(profile.provenance) - OPTIONAL) == 14
    assert all(source and confidence in CONFIDENCES for source, confidence in profile.provenance.values())
    low_hz, high_hz = IEEE_BANDS[profile.band]
    assert low_hz <= profile.centre_frequency_hz < high_hz
    if profile.range_resolution_m is not None and profile.range_bandwidth_hz is not None:
        # No sensor resolves finer than 0.886 c / 2B in slant range, and ground range is coarser still.
        assert profile.range_resolution_m >= 0.8 * 0.886 * LIGHT_M_PER_S / (2 * profile.range_bandwidth_hz)
    if profile.range_bandwidth_hz is not None and profile.sampling_frequency_hz is not None:
        assert profile.sampling_frequency_hz >= profile.range_bandwidth_hz  # complex samples, Nyquist
    if profile.sampling_frequency_hz is not None:
        # ground range pixels are wider than slant range ones, never narrower
        assert profile.range_spacing_m >= 0.99 * LIGHT_M_PER_S / (2 * profile.sampling_frequency_hz)
    if profile.nesz_db is not None:
        assert -40 < profile.nesz_db < -5
    if profile.product is not None:
        sources = [*profile.product.provenance.values()]
        sources += [(field.source, field.confidence) for field in profile.product.fields.values()]
        assert all(source and confidence in CONFIDENCES for source, confidence in sources)


@pytest.mark.parametrize("name", NAMES)
def test_packaged_profile_conforms(name):
    profile = load_profile(name)
    assert profile.name == name
    conforms(profile)


def test_a_users_profile_conforms_with_one_file(tmp_path):
    content = packaged("terrasarx-spotlight") | {"name": "mine", "product": packaged("fucheng1")["product"]}
    profile = load_profile(write(tmp_path, content))
    conforms(profile)
    assert profile.product is not None
    assert profile.mode == "SL"


def test_values_that_evidence_rests_on_have_not_moved():
    found = {
        name: (
            p.range_spacing_m,
            p.azimuth_spacing_m,
            p.range_resolution_m,
            p.azimuth_resolution_m,
            p.nesz_db,
        )
        for name in ("terrasarx", "terrasarx-sim", "fucheng1-sim", "mstar", "sentinel1-stripmap")
        for p in [load_profile(name)]
    }
    assert found == {
        "terrasarx": (1.0, 1.0, 1.0, 1.0, -19.0),
        "terrasarx-sim": (1.0, 1.0, 1.15, 1.15, -23.0),
        "fucheng1-sim": (2.0, 2.0, 3.0, 3.0, -22.0),
        "mstar": (0.2, 0.2, 0.3, 0.3, None),
        "sentinel1-stripmap": (2.25, 3.55, 2.52, 4.9, -22.0),
    }


def test_what_is_guessed_of_fucheng1_is_said_to_be_assumed():
    product = load_profile("fucheng1").product
    assert product is not None
    assert set(product.assumed()) == {"image", "side", "samples", *product.fields}


@pytest.mark.parametrize(
    ("name", "spacing_m", "looks"), [("terrasarx-sim", 1.0, 2), ("fucheng1-sim", 2.0, 1)]
)
def test_the_simulated_pair_can_be_simulated(name, spacing_m, looks):
    model = load_profile(name).sensor_model()
    assert (model.range_spacing_m, model.azimuth_spacing_m, model.looks) == (spacing_m, spacing_m, looks)
    assert chip_grid(96.0, model).shape == (round(96 / spacing_m),) * 2


def test_a_file_of_ones_own_reads_like_a_packaged_profile(tmp_path):
    content = packaged("fucheng1-sim")
    content["nesz_db"]["value"] = -20
    content["range_weighting"]["value"] = None
    profile = load_profile(write(tmp_path, content))
    assert profile.nesz_db == -20.0
    assert profile.range_weighting is None
    assert profile.azimuth_weighting is Weighting.HAMMING
    assert profile.incidence_deg == (25.0, 50.0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("range_spacing_m", 0.0, "range_spacing_m is 0.0, expected a number > 0"),
        ("range_spacing_m", None, "range_spacing_m is None, expected a finite number"),
        ("azimuth_resolution_m", math.nan, "azimuth_resolution_m is nan, expected a finite number"),
        ("looks_nominal", True, "looks_nominal is True, expected a finite number"),
        ("nesz_db", "low", "nesz_db is 'low', expected a finite number"),
        ("range_weighting", "hann", "range_weighting is 'hann', expected one of none, hamming, taylor"),
        ("incidence_deg", [50.0, 25.0], "incidence_deg is .*, expected the lower number first"),
        ("incidence_deg", [20.0], "incidence_deg is .*, expected a list of two numbers"),
        ("incidence_deg", [20.0, 95.0], "expected angles above 0 and below 90"),
        ("band", "", "band is '', expected a text"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_field(tmp_path, field, value, message):
    content = packaged("terrasarx-sim")
    content[field]["value"] = value
    with pytest.raises(
        ParamsError, match=f"mine.yaml: .*{message}" if "angles" in message else message
    ) as caught:
        load_profile(write(tmp_path, content))
    assert "mine.yaml" in str(caught.value)


def test_missing_and_unknown_fields_are_named(tmp_path):
    content = packaged("terrasarx-sim")
    del content["nesz_db"]
    with pytest.raises(ParamsError, match="missing fields: nesz_db"):
        load_profile(write(tmp_path, content))
    content = packaged("terrasarx-sim") | {"nezs_db": {}}
    with pytest.raises(ParamsError, match="unknown fields: nezs_db"):
        load_profile(write(tmp_path, content))
    content = packaged("terrasarx-sim")
    del content["nesz_db"]["source"]
    with pytest.raises(ParamsError, match="nesz_db has missing fields: source"):
        load_profile(write(tmp_path, content))


def test_a_value_without_provenance_is_refused(tmp_path):
    content = packaged("terrasarx-sim")
    content["nesz_db"] = -23.0
    with pytest.raises(ParamsError, match="expected a mapping with value, source and confidence"):
        load_profile(write(tmp_path, content))
    content = packaged("terrasarx-sim")
    content["nesz_db"]["confidence"] = "certain"
    with pytest.raises(ParamsError, match=r"nesz_db\.confidence is 'certain', expected one of measured"):
        load_profile(write(tmp_path, content))
    content = packaged("terrasarx-sim") | {"notes": "none"}
    with pytest.raises(ParamsError, match="notes is 'none', expected a list"):
        load_profile(write(tmp_path, content))


def test_absent_or_broken_files_are_named(tmp_path):
    with pytest.raises(ParamsError, match=r"no sensor profile .*absent\.yaml"):
        load_profile(str(tmp_path / "absent.yaml"))
    with pytest.raises(ParamsError, match="'iceye'; expected one of fucheng1"):
        load_profile("iceye")
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [", encoding="utf-8")
    with pytest.raises(ParamsError, match=r"broken\.yaml is not valid YAML"):
        load_profile(str(broken))
    broken.write_text("- name", encoding="utf-8")
    with pytest.raises(ParamsError, match="the file is a list, expected a mapping"):
        load_profile(str(broken))


def test_a_profile_with_unknown_values_cannot_be_simulated(tmp_path):
    with pytest.raises(ParamsError, match="terrasarx: range_weighting is unknown"):
        load_profile("terrasarx").sensor_model()
    content = packaged("terrasarx-sim")
    content["looks_nominal"]["value"] = 1.5
    with pytest.raises(ParamsError, match=r"looks_nominal is 1\.5, expected a whole number"):
        load_profile(write(tmp_path, content)).sensor_model()
