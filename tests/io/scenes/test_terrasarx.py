from __future__ import annotations

import importlib.util
import math
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, RadiometryError
from sarcurate.io.scenes.scene import Geometry, Scene, Window
from sarcurate.io.scenes.terrasarx import is_terrasarx, open_terrasarx

PRODUCTS = ("ssc_v1", "ssc_v2", "mgd", "gec", "eec")


def _load() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "data" / "make_products.py"
    spec = importlib.util.spec_from_file_location("make_products", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_products"] = module
    spec.loader.exec_module(module)
    return module


MAKING = _load()
HELD = Path(MAKING.HERE) / "products"


def _held(name: str) -> Path:
    (product,) = (HELD / name).iterdir()
    return product


def _spec(name: str) -> Any:
    if name.startswith("ssc"):
        return MAKING.TsxSpec()
    return replace(MAKING.SMALL, variant=name.upper())


def _main(product: Path) -> Path:
    return product / f"{product.name}.xml"


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new))


@pytest.fixture
def ssc(tmp_path: Path) -> Path:
    return MAKING.make_ssc_v1(tmp_path, 5)  # type: ignore[no-any-return]


# --- good products


@pytest.mark.parametrize("name", PRODUCTS)
def test_facts(name: str) -> None:
    product, spec = _held(name), _spec(name)
    complex_image = name.startswith("ssc")
    with open_terrasarx(product) as scene:
        facts = scene.facts
        assert scene.shape == (spec.rows, spec.cols)
        assert facts.scene_id == "C004_N020_A_SM_strip_007_R_2008-01-31T17:05:23.000000Z"
        assert (facts.sensor, facts.band, facts.mode, facts.polarisation) == ("terrasarx", "X", "SM", "HH")
        assert (facts.orbit_direction, facts.look_direction) == ("ascending", "right")
        assert facts.azimuth_deg == 349.5
        assert facts.acquired_utc == "2008-01-31T17:05:23.000000Z"
        assert facts.looks_nominal == (1 if complex_image else 2)
        assert facts.beta0_factor == MAKING.CAL_FACTOR["HH"]
        assert facts.radiometry is (Radiometry.INTENSITY if complex_image else Radiometry.AMPLITUDE)
        assert set(scene.available_radiometries()) >= {Radiometry.BETA0, Radiometry.SIGMA0}
        assert {path.suffix for path in scene.files} == {".xml", f".{spec.suffix}"}
        assert len(scene.files) == 3


KINDS = {
    "ssc_v1": ("TerraSAR-X SSC (COSAR version 1)", "complex int16", Geometry.SLANT),
    "ssc_v2": ("TanDEM-X SSC (COSAR version 2)", "complex float16", Geometry.SLANT),
    "mgd": ("TerraSAR-X MGD (GeoTIFF)", "uint16", Geometry.GROUND),
    "gec": ("TerraSAR-X GEC (GeoTIFF)", "uint16", Geometry.MAP),
    "eec": ("TerraSAR-X EEC (GeoTIFF)", "uint16", Geometry.MAP),
}
WARNINGS = {"mgd": ["unconfirmed"], "eec": ["(GIM) of terrain is not read"]}


@pytest.mark.parametrize("name", PRODUCTS)
def test_kind_and_warnings(name: str) -> None:
    with open_terrasarx(_held(name)) as scene:
        facts = scene.facts
        assert (facts.kind, facts.pixel_type, facts.geometry) == KINDS[name]
        expected = WARNINGS.get(name, [])
        assert len(facts.warnings) == len(expected)
        assert all(part in warning for part, warning in zip(expected, facts.warnings, strict=True))


def test_spacing_of_slant_and_other_products() -> None:
    with open_terrasarx(_held("ssc_v1")) as scene:
        # half the way of light in one sample
        expected = MAKING.RANGE_STEP_S * 299_792_458.0 / 2
        assert scene.facts.range_spacing_m == pytest.approx(expected, rel=1e-8)
        assert scene.facts.azimuth_spacing_m == 1.9
    for name in ("mgd", "gec", "eec"):
        with open_terrasarx(_held(name)) as scene:
            assert (scene.facts.range_spacing_m, scene.facts.azimuth_spacing_m) == pytest.approx((1.25, 1.25))


# incidence of MGD lies on ground range, which the fixture's grid does not hold: tested on its own below
TOLERANCE_DEG = {"ssc_v1": 1e-3, "ssc_v2": 1e-3, "mgd": 3e-2, "gec": 1e-3, "eec": 1e-3}


@pytest.mark.parametrize("georef", [True, False])
@pytest.mark.parametrize("name", ["ssc_v1", "mgd", "gec"])
def test_incidence_and_position_on_pixels(tmp_path: Path, name: str, georef: bool) -> None:
    spec = replace(_spec(name), georef=georef)
    with open_terrasarx(MAKING.make_tsx(tmp_path, 1, spec)) as scene:
        facts = scene.facts
        assert any("no GEOREF.xml" in warning for warning in facts.warnings) is not georef
        assert facts.incidence_deg is not None
        assert facts.latitude_deg is not None
        assert facts.longitude_deg is not None
        for row, col in ((0, 0), (17, 60), (spec.rows - 1, spec.cols - 1), (70, 3)):
            latitude, longitude, incidence = MAKING.position(spec, row, col)
            assert facts.incidence_deg.at_point(row, col) == pytest.approx(incidence, abs=TOLERANCE_DEG[name])
            assert facts.latitude_deg.at_point(row, col) == pytest.approx(latitude, abs=2e-6)
            assert facts.longitude_deg.at_point(row, col) == pytest.approx(longitude, abs=2e-5)


def test_columns_of_ground_range_follow_the_sine_of_incidence(tmp_path: Path) -> None:
    """Incidence given at range times lands where the plain sum of dr / sin(incidence) puts it."""
    spec = replace(MAKING.SMALL, variant="MGD", cols=400, rows=8)
    near_deg, far_deg = 20.0, 45.0  # wide, so that the law matters
    product = MAKING.make_tsx(tmp_path, 1, spec)
    text = MAKING.georeference(spec, (2, 30))
    for col in np.linspace(0, 399, 30).round().astype(int).tolist():
        old, new = MAKING.position(spec, 0, col)[2], near_deg + (far_deg - near_deg) * col / 399
        text = text.replace(f"<inc>{old:.9f}</inc>", f"<inc>{new:.9f}</inc>")
    (product / "ANNOTATION" / "GEOREF.xml").write_text(text)
    steps = np.linspace(near_deg, far_deg, 100_001)
    ground = np.cumsum(1 / np.sin(np.deg2rad(steps)))
    with open_terrasarx(product) as scene:
        assert scene.facts.incidence_deg is not None
        for col in (0, 100, 200, 300, 399):
            share = ground[0] + (ground[-1] - ground[0]) * col / 399
            expected = float(np.interp(share, ground, steps))
            assert scene.facts.incidence_deg.at_point(3, col) == pytest.approx(expected, abs=0.1)
        assert abs(scene.facts.incidence_deg.at_point(3, 200) - 32.5) > 0.5  # a straight line would be here


def test_sigma0_is_per_pixel() -> None:
    spec = _spec("ssc_v1")
    window = Window(10, 20, 30, 90)
    with open_terrasarx(_held("ssc_v1")) as scene:
        samples = scene.samples(window)
        beta0, sigma0 = (scene.detected(window, kind) for kind in (Radiometry.BETA0, Radiometry.SIGMA0))
    power = samples.real.astype(float) ** 2 + samples.imag.astype(float) ** 2
    angle = np.array([MAKING.position(spec, 0, col)[2] for col in range(20, 110)])
    np.testing.assert_allclose(beta0, power * 1.05e-5, rtol=1e-6)
    np.testing.assert_allclose(sigma0, power * 1.05e-5 * np.sin(np.deg2rad(angle)), rtol=1e-4)


def test_amplitude_becomes_beta0_by_its_square() -> None:
    window = Window(0, 0, 96, 96)
    with open_terrasarx(_held("gec")) as scene:
        amplitude = scene.samples(window).astype(float)
        np.testing.assert_array_equal(amplitude, MAKING.detected(96, 96, MAKING.SEED))
        np.testing.assert_allclose(
            scene.detected(window, Radiometry.BETA0), amplitude**2 * 1.05e-5, rtol=1e-6
        )


def test_noise_is_the_polynomial_at_mid_swath_times_the_factor() -> None:
    with open_terrasarx(_held("ssc_v1")) as scene:
        half_s = 127 / 2 * MAKING.RANGE_STEP_S
        expected = 1.05e-5 * (420.0 - 1.5e8 * half_s)
        assert scene.facts.noise_beta0 == pytest.approx(expected, rel=1e-6)


def test_annotation_file_opens_as_its_folder() -> None:
    with open_terrasarx(_main(_held("gec"))) as scene:
        assert scene.path == _held("gec")
    assert is_terrasarx(_held("gec"))
    assert is_terrasarx(_main(_held("gec")))
    assert not is_terrasarx(HELD)
    assert not is_terrasarx(_held("gec") / "ANNOTATION" / "GEOREF.xml")


def test_one_of_several_polarisations(tmp_path: Path) -> None:
    product = MAKING.make_tsx(tmp_path, 7, MAKING.TsxSpec(polarisations=("HH", "VV")))
    with pytest.raises(DataError, match="has polarisations HH, VV; none was chosen") as caught:
        open_terrasarx(product)
    assert caught.value.fix == "choose one of HH, VV"
    with pytest.raises(DataError, match="has polarisations HH, VV; HV was asked for"):
        open_terrasarx(product, "HV")
    with open_terrasarx(product, "VV") as scene:
        assert scene.facts.polarisation == "VV"
        assert scene.facts.beta0_factor == MAKING.CAL_FACTOR["VV"]
        samples = scene.samples(Window(0, 0, 160, 128))
        np.testing.assert_allclose(samples, MAKING.speckle(160, 128, 8), atol=0.75)


def test_date_line(ssc: Path) -> None:
    path = ssc / "ANNOTATION" / "GEOREF.xml"
    text = path.read_text()
    for point in text.split("<lon>")[1:]:
        value = point.split("</lon>")[0]
        moved = float(value) + 169 - 0.0008
        text = text.replace(f"<lon>{value}<", f"<lon>{moved - 360 if moved > 180 else moved:.9f}<")
    path.write_text(text)
    with open_terrasarx(ssc) as scene:
        assert scene.facts.longitude_deg is not None
        found = scene.facts.longitude_deg.at([0], np.arange(128))[0]
    assert found.max() > 180
    assert np.all(np.diff(found) > 0)
    assert np.diff(found).max() < 1e-4


# --- less than everything


def test_missing_noise_is_a_warning(ssc: Path) -> None:
    text = _main(ssc).read_text()
    start, stop = text.index("<noise "), text.index("</noise>") + len("</noise>")
    _main(ssc).write_text(text[:start] + text[stop:])
    with open_terrasarx(ssc) as scene:
        assert scene.facts.noise_beta0 is None
        assert scene.facts.warnings == ("no noise record: the noise floor is unknown",)


def test_negative_noise_is_a_warning(ssc: Path) -> None:
    _replace(_main(ssc), '<coefficient exponent="0">', '<coefficient exponent="0">-')
    with open_terrasarx(ssc) as scene:
        assert scene.facts.noise_beta0 is None
        assert "the noise floor is unknown" in scene.facts.warnings[0]


def test_uncalibrated_product_gives_intensity_alone(ssc: Path) -> None:
    _replace(_main(ssc), ">CALIBRATED<", ">NOTCALIBRATED<")
    with open_terrasarx(ssc) as scene:
        assert scene.available_radiometries() == (Radiometry.INTENSITY,)
        assert any("NOTCALIBRATED: no beta0" in warning for warning in scene.facts.warnings)
        with pytest.raises(RadiometryError, match="gives only intensity"):
            scene.detected(Window(0, 0, 4, 4), Radiometry.SIGMA0)


def test_missing_georef_file_falls_back_to_corners(ssc: Path) -> None:
    (ssc / "ANNOTATION" / "GEOREF.xml").unlink()
    with open_terrasarx(ssc) as scene:
        assert "no GEOREF.xml" in scene.facts.warnings[0]


# --- broken products

FACTOR = "<calFactor>1.050000e-05</calFactor>"
BROKEN_TEXT = {
    "factor zero": (FACTOR, "<calFactor>0</calFactor>", "calFactor of HH is 0, expected one number > 0"),
    "factor negative": (FACTOR, "<calFactor>-1e-5</calFactor>", "calFactor of HH is -1e-05"),
    "factor NaN": (FACTOR, "<calFactor>NaN</calFactor>", "calFactor is 'NaN', expected a finite number"),
    "factor empty": (FACTOR, "<calFactor/>", "element calFactor is missing or empty"),
    "factor absent": (FACTOR, "", "element calFactor is missing or empty"),
    "factor of another layer": ("<polLayer>HH</polLayer><beamID>strip_007</beamID><calFactor>",
                                "<polLayer>VV</polLayer><calFactor>", "calFactor of HH is none"),
    "root": ("level1Product>", "level2Product>", "root element is level2Product, expected level1Product"),
    "entity": ("<level1Product>", '<!DOCTYPE a [<!ENTITY b "c">]><level1Product>', "declares a DTD"),
    "variant": (">SSC<", ">XXX<", "productVariant is 'XXX', expected SSC, MGD, GEC, EEC"),
    "projection": (">SLANTRANGE<", ">MAP<", "a SSC product in MAP and COSAR, expected SLANTRANGE and COSAR"),
    "format": (">COSAR<", ">GEOTIFF<", "a SSC product in SLANTRANGE and GEOTIFF"),
    "rows": ("<numberOfRows>160<", "<numberOfRows>161<", "160 x 128 px, its annotation says 161 x 128"),
    "rows absurd": ("<numberOfRows>160<", "<numberOfRows>999999999<", "expected 1 to 250000 a side"),
    "rows no number": ("<numberOfRows>160<", "<numberOfRows>1e2<", "numberOfRows is '1e2', expected a whole"),
    "order": (">EARLYAZNEARRG<", ">LATEAZNEARRG<", "image begins with LATEAZNEARRG, expected EARLYAZNEARRG"),
    "look": (">RIGHT<", ">UP<", "lookDirection is 'UP', expected one of left, right"),
    "orbit": (">ASCENDING<", ">SIDEWAYS<", "orbitDirection is 'SIDEWAYS'"),
    "start": ("<start><timeUTC>2008", "<start><timeUTC>20x8", "expected a time such as"),
    "stop before start": ("<start><timeUTC>2008", "<start><timeUTC>2009", "expected rising ones"),
    "range time": ("<firstPixel>", "<firstPixel>-", "expected rising ones"),
    "scene": ("sceneID>", "sceneIdentity>", "element sceneInfo/sceneID is missing"),
    "spacing": ("<projectedSpacingAzimuth>1.9<", "<projectedSpacingAzimuth>0<", "expected inside 0 to 1000"),
    "spacing absent": ("projectedSpacingAzimuth>", "x>", "projectedSpacingAzimuth is missing"),
    "noise exponent": ('<coefficient exponent="1">', '<coefficient exponent="99">', "exponent 99 of a noise"),
    "noise exponent absent": ('<coefficient exponent="1">', "<coefficient>", "noise coefficient is ''"),
    "no image": ("imageData ", "imageDatum ", "images of polarisation \\[\\], expected one or more"),
    "image of none": ("IMAGE_HH_SRA", "IMAGE_XX_SRA", "IMAGE_XX_SRA_strip_007.cos: there is no such file"),
    "image out of the folder": ("<path>IMAGEDATA<", "<path>../..<", "must be relative to .* and normalised"),
    "image absolute": ("<path>IMAGEDATA<", "<path>/etc<", "must be relative to .* and normalised"),
    "georef out of the folder": ("<path>ANNOTATION<", "<path>..<", "must be relative to .* and normalised"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_TEXT)
def test_broken_annotation_is_refused(ssc: Path, name: str) -> None:
    old, new, message = BROKEN_TEXT[name]
    _replace(_main(ssc), old, new)
    if name == "no image":
        _replace(_main(ssc), "/imageData>", "/imageDatum>")
    with pytest.raises(DataError, match=message):
        open_terrasarx(ssc)


BROKEN_GEOREF = {
    "no points": ("gridPoint ", "point ", "0 elements geolocationGrid/gridPoint"),
    "no grid": ("geolocationGrid>", "grid>", "0 elements geolocationGrid/gridPoint"),
    "incidence absent": ("<inc>34.000000000</inc>", "", "element inc is missing"),
    "incidence 95": ("<inc>34.000000000</inc>", "<inc>95</inc>", "incidence of .* to 95 degrees"),
    "incidence 0": ("<inc>34.000000000</inc>", "<inc>0</inc>", "incidence of 0 to"),
    "latitude": ("<lat>48.000000000<", "<lat>148<", "latitude of .* to 148 degrees"),
    "NaN": ("<lat>48.000000000<", "<lat>nan<", "lat is 'nan', expected a finite number"),
    "index": ('iaz="1"', 'iaz="one"', "gridPoint index is 'one'"),
    "reference time": ("tReferenceTimeUTC>", "t0>", "tReferenceTimeUTC is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_GEOREF)
def test_broken_georef_is_refused(ssc: Path, name: str) -> None:
    old, new, message = BROKEN_GEOREF[name]
    path = ssc / "ANNOTATION" / "GEOREF.xml"
    _replace(path, old, new)
    if name == "no points":
        _replace(path, "/gridPoint>", "/point>")
    with pytest.raises(DataError, match=message):
        open_terrasarx(ssc)


def _link_image(product: Path, outside: Path) -> None:
    image = product / "IMAGEDATA" / "IMAGE_HH_SRA_strip_007.cos"
    shutil.move(image, outside / "image.cos")
    image.symlink_to(outside / "image.cos")


def _link_annotation(product: Path, outside: Path) -> None:
    shutil.move(_main(product), outside / "main.xml")
    _main(product).symlink_to(outside / "main.xml")


def _copy_annotation(name: str) -> Callable[[Path, Path], object]:
    return lambda product, _: shutil.copy(_main(product), product / name)


BROKEN_FOLDER: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "no annotation": (lambda product, _: _main(product).unlink(), "0 main annotations"),
    "two annotations": (_copy_annotation("TDX1_SAR__X.xml"), "2 main annotations"),
    "colliding annotations": (_copy_annotation("tsx1_sar__ssc.XML"), "2 main annotations"),
    "no image": (lambda product, _: shutil.rmtree(product / "IMAGEDATA"), "there is no such file"),
    "image linked out": (_link_image, "leads out of"),
    "annotation linked out": (_link_annotation, "leads out of"),
    "truncated image": (lambda product, _: _cut(next(product.glob("IMAGEDATA/*"))), "truncated"),
    "truncated annotation": (lambda product, _: _cut(_main(product)), "not well-formed XML"),
}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


@pytest.mark.parametrize("name", BROKEN_FOLDER)
def test_broken_folder_is_refused(ssc: Path, tmp_path: Path, name: str) -> None:
    edit, message = BROKEN_FOLDER[name]
    outside = tmp_path / "outside"
    outside.mkdir()
    edit(ssc, outside)
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(DataError, match=message):
        open_terrasarx(ssc)
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the main annotation of a TerraSAR-X product"):
        open_terrasarx(_held("gec") / "ANNOTATION" / "GEOREF.xml")
    with pytest.raises(DataError, match="there is no such file"):
        open_terrasarx(tmp_path / "TSX1_SAR__none.xml")


def test_two_images_of_one_polarisation(tmp_path: Path) -> None:
    product = MAKING.make_tsx(tmp_path, 7, MAKING.TsxSpec(polarisations=("HH", "VV")))
    _replace(_main(product), "<polLayer>VV</polLayer>", "<polLayer>HH</polLayer>")
    with pytest.raises(DataError, match="expected one or more, all different"):
        open_terrasarx(product, "HH")


def test_map_product_without_map(tmp_path: Path) -> None:
    product = MAKING.make_gec(tmp_path, 1)
    image = product / "IMAGEDATA" / "IMAGE_HH_SRA_strip_007.tif"
    MAKING.write_tiff(image, MAKING.detected(96, 96, 1), mapped=False)
    with pytest.raises(DataError, match="a map product without map coordinates"):
        open_terrasarx(product)


def test_points_far_off_the_image(tmp_path: Path) -> None:
    product = MAKING.make_gec(tmp_path, 1)
    path = product / "ANNOTATION" / "GEOREF.xml"
    path.write_text(re.sub("<lon>[^<]*<", "<lon>11.02<", path.read_text()))  # no span across the image
    with pytest.raises(DataError, match="points with an incidence span"):
        open_terrasarx(product)


def test_image_of_another_type(tmp_path: Path) -> None:
    product = MAKING.make_mgd(tmp_path, 1)
    image = product / "IMAGEDATA" / "IMAGE_HH_SRA_strip_007.tif"
    MAKING.write_tiff(image, MAKING.detected(96, 95, 1), mapped=False)
    with pytest.raises(DataError, match="image of 96 x 95 px, its annotation says 96 x 96"):
        open_terrasarx(product)
    image.write_bytes(b"II*\0")
    with pytest.raises(DataError, match="not a readable GeoTIFF"):
        open_terrasarx(product)


def _sound(scene: Scene) -> bool:
    grid = scene.facts.incidence_deg
    return grid is not None and math.isfinite(grid.at_point(0, 0)) and scene.shape[0] > 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_mutated_annotation_gives_a_scene_or_a_data_error(tmp_path: Path, data: st.DataObject) -> None:
    product = tmp_path / "mutated"
    if product.exists():
        shutil.rmtree(product)
    shutil.copytree(_held(data.draw(st.sampled_from(PRODUCTS))), product)
    victim = data.draw(st.sampled_from(["main", "georef"]))
    (main,) = product.glob("T?X1_SAR__*.xml")
    path = main if victim == "main" else product / "ANNOTATION" / "GEOREF.xml"
    text = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        spot = data.draw(st.integers(0, len(text) - 1))
        text[spot : spot + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=3))
    path.write_bytes(bytes(text))
    try:
        with open_terrasarx(product) as scene:
            assert _sound(scene)
    except DataError:
        pass
