"""SICD: pixels against sarkit's own reader, facts against the geometry that the fixture was made from."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io.scenes.products import open_scene
from sarcurate.io.scenes.scene import Geometry, Window
from sarcurate.io.scenes.sicd import open_sicd

pytest.importorskip("sarkit", reason="fixtures are written by sarkit (extra dev)")

MAKER = Path(__file__).parents[2] / "data" / "make_other_products.py"
_spec = importlib.util.spec_from_file_location("make_other_products", MAKER)
assert _spec is not None
assert _spec.loader is not None
make = sys.modules.setdefault("make_other_products", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(make)

SEED = 7
REAL = Path(os.environ.get("SARCURATE_MIRROR", "absent")) / "tsx-sicd-crops" / "nitf"


def sarkit_samples(path: Path) -> np.ndarray:
    import sarkit.sicd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with path.open("rb") as file, sarkit.sicd.NitfReader(file) as reader:
            stored = reader.read_image()
    if stored.dtype.names is None:
        return stored.astype(np.complex64)
    if "real" in stored.dtype.names:
        return stored["real"].astype(np.float32) + 1j * stored["imag"].astype(np.float32)
    return stored["amp"] * np.exp(2j * np.pi * stored["phase"].astype(np.float64) / 256)


@pytest.mark.parametrize("pixel_type", ["RE16I_IM16I", "RE32F_IM32F", "AMP8I_PHS8I"])
def test_samples_are_those_of_sarkit_transposed(tmp_path: Path, pixel_type: str) -> None:
    spec = make.SicdSpec(pixel_type=pixel_type)
    path = make.write_sicd(tmp_path / "a.nitf", spec, SEED)
    expected = sarkit_samples(path).T
    with open_sicd(path) as scene:
        assert scene.shape == (spec.cols, spec.rows)
        found = scene.samples(Window(0, 0, *scene.shape))
        assert found.dtype == np.complex64
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)
        part = scene.samples(Window(5, 60, 20, 30))
        np.testing.assert_allclose(part, expected[5:25, 60:90], rtol=1e-6, atol=1e-4)


def test_an_image_in_several_segments_reads_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sarkit.sicd._constants as constants

    spec = make.SicdSpec()
    monkeypatch.setattr(constants, "IS_SIZE_MAX", spec.cols * 4 * 40)  # 40 rows a segment: three of them
    path = make.write_sicd(tmp_path / "a.nitf", spec, SEED)
    stored = make.sicd_samples(spec, SEED)
    expected = (stored["real"] + 1j * stored["imag"]).T
    with open_sicd(path) as scene:
        assert len(scene.pixels._maps) == 3
        for first, last in ((0, 96), (30, 50), (45, 60), (79, 81), (80, 96)):
            np.testing.assert_array_equal(
                scene.samples(Window(3, first, 9, last - first)), expected[3:12, first:last]
            )


def test_facts_of_the_fixture(tmp_path: Path) -> None:
    path = make.make_sicd(tmp_path, SEED)
    with open_scene(path) as scene:
        facts = scene.facts
    assert (facts.sensor, facts.scene_id, facts.mode) == ("Invented-1", "INVENTED_0001", "SM STRIPMAP")
    assert (facts.band, facts.polarisation, facts.geometry) == ("C", "VH", Geometry.SLANT)
    assert (facts.range_spacing_m, facts.azimuth_spacing_m) == (1.2, 2.4)
    assert (facts.range_resolution_m, facts.azimuth_resolution_m) == (1.7, 3.1)
    assert (facts.look_direction, facts.orbit_direction) == ("right", "ascending")
    assert facts.azimuth_deg == pytest.approx(0.0)
    assert facts.beta0_factor == 2.5e-5
    assert facts.acquired_utc == "2024-05-31T12:00:00.000000Z"
    assert scene.available_radiometries() == (Radiometry.INTENSITY, Radiometry.BETA0, Radiometry.SIGMA0)
    assert facts.latitude_deg is not None
    assert facts.longitude_deg is not None
    # flight to the north, rows = azimuth: latitude grows with rows, longitude with columns
    assert facts.latitude_deg.at_point(0, 40) == pytest.approx(-0.001)
    assert facts.latitude_deg.at_point(79, 40) == pytest.approx(0.001)
    assert facts.longitude_deg.at_point(40, 0) == pytest.approx(-0.002)
    assert facts.longitude_deg.at_point(40, 95) == pytest.approx(0.002)


def test_incidence_is_that_of_the_ground_at_each_range(tmp_path: Path) -> None:
    spec = make.SicdSpec(rows=4000, cols=2, pixel_type="AMP8I_PHS8I")
    with open_sicd(make.write_sicd(tmp_path / "a.nitf", spec, SEED)) as scene:
        grid = scene.facts.incidence_deg
    assert grid is not None
    (x, away), slant = spec.geometry
    for row in (0, 1000, 2000, 3999):
        distance = slant + (row - 2000) * 1.2

        def miss(along: float, distance: float = distance) -> float:
            return math.dist((x, -away), _ground(along)) - distance

        point = np.array(_ground(brentq(miss, -0.01, 0.01)))
        to_sensor = np.array([x, -away]) - point
        cosine = to_sensor @ point / np.linalg.norm(to_sensor) / np.linalg.norm(point)
        assert grid.at_point(0, row) == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-3)


def _ground(angle: float) -> tuple[float, float]:
    return make.EARTH_M * math.cos(angle), make.EARTH_M * math.sin(angle)


def test_sigma0_follows_the_factor(tmp_path: Path) -> None:
    path = make.write_sicd(tmp_path / "a.nitf", make.SicdSpec(beta0=(), sigma0=((0, 0, 1e-5),)), SEED)
    with open_sicd(path) as scene:
        window = Window(10, 10, 8, 8)
        power = np.abs(scene.samples(window).astype(np.complex128)) ** 2
        np.testing.assert_allclose(scene.detected(window, Radiometry.SIGMA0), 1e-5 * power, rtol=1e-6)
        assert Radiometry.BETA0 not in scene.available_radiometries()


def test_a_varying_factor_is_taken_at_the_centre_and_said(tmp_path: Path) -> None:
    # x = range metres from the SCP; rows -48..47 from it, so the centre is at -0.6 m
    spec = make.SicdSpec(beta0=((0, 0, 2e-5), (1, 0, 1e-7)))
    with open_sicd(make.write_sicd(tmp_path / "a.nitf", spec, SEED)) as scene:
        assert scene.facts.beta0_factor == pytest.approx(2e-5 - 0.6e-7)
        assert any("BetaZeroSFPoly varies" in sentence for sentence in scene.facts.warnings)


def test_sigma0_per_pixel_wins_over_a_varying_factor(tmp_path: Path) -> None:
    spec = make.SicdSpec(sigma0=((0, 0, 1e-5), (0, 1, 1e-9)))
    with open_sicd(make.write_sicd(tmp_path / "a.nitf", spec, SEED)) as scene:
        assert scene.facts.sigma0_factor is None
        assert Radiometry.SIGMA0 in scene.available_radiometries()
        assert not any("varies" in sentence for sentence in scene.facts.warnings)


def test_left_looking_and_uncalibrated_are_said(tmp_path: Path) -> None:
    spec = make.SicdSpec(side="L", beta0=())
    with open_sicd(make.write_sicd(tmp_path / "a.nitf", spec, SEED)) as scene:
        said = " | ".join(scene.facts.warnings)
    assert scene.facts.look_direction == "left"
    assert "rows run against the flight" in said
    assert "uncalibrated" in said


def test_polarisation_asked_for_must_be_the_one_held(tmp_path: Path) -> None:
    path = make.make_sicd(tmp_path, SEED)
    open_scene(path, polarisation="vh").pixels.close()
    with pytest.raises(DataError, match="HH was asked for, the file holds VH"):
        open_scene(path, polarisation="HH")


BROKEN = {
    "NumRows": (b"<NumRows>96<", b"<NumRows>95<", "segments named SICD hold 96 rows"),
    "NumCols": (b"<NumCols>80<", b"<NumCols>81<", "expected 81 columns"),
    "absurd": (b"<NumCols>80<", b"<NumCols>9999999<", "expected 1 to 250000 a side"),
    "type": (b">RE16I_IM16I<", b">RE16I_IM16X<", "PixelType is 'RE16I_IM16X'"),
    "spacing": (b"<SS>1.2<", b"<SS>0.0<", r"Grid spacing is 0 by 2\.4"),
    "angle": (b"<IncidenceAng>35.0<", b"<IncidenceAng>95.0<", "IncidenceAng is 95"),
    "factor": (b">2.5e-05<", b">-2.5e-5<", "BetaZeroSFPoly is -2.5e-05"),
    "not a number": (b"<SS>1.2<", b"<SS>nan<", "expected a finite number"),
    "entity": (b"<SICD ", b"<!DOCTYPE a [<!ENTITY b 'c'>]><SICD ", "DTD, an entity"),
    "corner": (b"<Lat>-0.001<", b"<Lat>-100.0<", "outside of the earth"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_one_broken_value_is_named(tmp_path: Path, what: str) -> None:
    old, new, message = BROKEN[what]
    path = make.make_sicd(tmp_path, SEED)
    data = path.read_bytes()
    assert old in data
    start = data.index(b"<SICD ")
    xml = data[start:].replace(old, new, 1)
    excess = len(xml) - len(data[start:])
    # the file's length and that of the data extension stand in the header
    total = f"{len(data) + excess:012d}".encode()
    length = data[:1000].index(f"{len(data) - start:09d}".encode())
    patched = bytearray(data[:start] + xml)
    patched[342:354] = total
    patched[length : length + 9] = f"{len(xml):09d}".encode()
    path.write_bytes(patched)
    with pytest.raises(DataError, match=message):
        open_sicd(path)


def test_truncated_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = make.make_sicd(tmp_path, SEED)
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(DataError, match=r"the header says \d+ bytes, the file has"):
        open_sicd(path)
    path.write_bytes(b"NITF02.00" + data[9:])
    with pytest.raises(DataError, match=r"expected NITF02\.10"):
        open_sicd(path)
    band = data.index(b"NC2")  # compression NC, then two bands
    path.write_bytes(data[:band] + b"C82" + data[band + 3 :])
    with pytest.raises(DataError, match="is compressed, masked or tiled"):
        open_sicd(path)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1200), st.binary(min_size=1, max_size=12))
def test_damaged_headers_end_in_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "sicd-fuzz"
    whole = folder / "sicd" / "invented.nitf"
    if not whole.exists():
        make.make_sicd(folder, SEED)
    data = bytearray(whole.read_bytes())
    data[at : at + len(junk)] = junk
    path = folder / "damaged.nitf"
    path.write_bytes(data)
    try:
        with open_sicd(path) as scene:
            scene.samples(Window(0, 0, *scene.shape))
    except DataError:
        pass


@pytest.mark.real
def test_real_terrasarx_crops() -> None:
    files = sorted((REAL / "SICD").glob("*.nitf"))
    if not files:
        pytest.skip("needs tsx-sicd-crops in the mirror (SARCURATE_MIRROR)")
    for file in files:
        with open_scene(file) as scene:
            facts = scene.facts
            found = scene.samples(Window(0, 0, 5, 5))
        data = file.read_bytes()
        first = int(data[354:360]) + int(data[363:369])  # after the file header and the image's subheader
        pairs = np.frombuffer(data[first : first + 100], ">i2").reshape(5, 5, 2)
        np.testing.assert_array_equal(found, (pairs[..., 0] + 1j * pairs[..., 1]).T)
        assert scene.shape == (5, 5)
        assert (facts.sensor, facts.band, facts.polarisation) == ("TSX-1", "X", "HH")
        assert facts.range_spacing_m == pytest.approx(0.909, abs=1e-3)  # 0.91 m by 1.28 m in the README there
        assert facts.azimuth_spacing_m == pytest.approx(1.279, abs=1e-3)
        assert (facts.look_direction, facts.orbit_direction) == ("right", "descending")
        assert facts.acquired_utc is not None
        assert facts.acquired_utc.startswith("2008-01-27T05:17:45")
    with pytest.raises(DataError, match="a SIDD is a remapped"):
        open_scene(REAL / "SIDD" / "cropped_sidd.nitf")
