"""Products read through a profile's mapping: truth is what the fixture was made from."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, ParamsError
from sarcurate.io.product_mapping import parse_mapping
from sarcurate.io.scenes.mapped_geotiff import open_mapped
from sarcurate.io.scenes.products import open_scene, polarisations
from sarcurate.io.scenes.scene import Geometry, Window
from sarcurate.io.sensors import SensorProfile, load_profile

MAKER = Path(__file__).parents[2] / "data" / "make_other_products.py"
_spec = importlib.util.spec_from_file_location("make_other_products", MAKER)
assert _spec is not None
assert _spec.loader is not None
make = sys.modules.setdefault("make_other_products", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(make)

SEED = 3
FUCHENG = load_profile("fucheng1")
CONTENT = YAML(typ="safe", pure=True).load(
    files("sarcurate").joinpath("assets/sensors/fucheng1.yaml").read_text(encoding="utf-8")
)["product"]


def mapped(change: Callable[[dict[str, Any]], None]) -> SensorProfile:
    """The packaged profile with its section product changed; one level of copies is enough here."""
    content = CONTENT | {"fields": {name: dict(entry) for name, entry in CONTENT["fields"].items()}}
    change(content)
    return replace(FUCHENG, product=parse_mapping("mine.yaml", content))


def guess(**entry: Any) -> dict[str, Any]:
    return entry | {"source": "test", "confidence": "assumed"}


@pytest.mark.parametrize(
    ("samples", "pixel_type"),
    [
        ("complex_int16", "complex int16"),
        ("complex64", "complex float32"),
        ("iq_int16", "complex int16 (I and Q bands)"),
        ("iq_float32", "complex float32 (I and Q bands)"),
    ],
)
def test_complex_samples_of_every_storage(tmp_path: Path, samples: str, pixel_type: str) -> None:
    spec = make.FuchengSpec(samples=samples)
    truth = make.speckle((spec.rows, spec.cols), SEED)
    truth = np.round(truth.real) + 1j * np.round(truth.imag)
    with open_scene(make.make_fucheng(tmp_path, SEED, spec), FUCHENG) as scene:
        assert scene.facts.pixel_type == pixel_type
        found = scene.samples(Window(7, 9, 30, 20))
        assert found.dtype == np.complex64
        np.testing.assert_array_equal(found, truth[7:37, 9:29])
        k = 10 ** (-42.5 / 10)
        sigma0 = scene.detected(Window(0, 0, *scene.shape), Radiometry.SIGMA0)
        np.testing.assert_allclose(sigma0, np.abs(truth) ** 2 * k, rtol=1e-5)


@pytest.mark.parametrize("samples", ["uint16", "float32"])
def test_detected_samples_are_amplitude(tmp_path: Path, samples: str) -> None:
    spec = make.FuchengSpec(samples=samples, texts={"projection": "Ground Range"})
    amplitude = np.round(np.abs(make.speckle((spec.rows, spec.cols), SEED)))
    with open_scene(make.make_fucheng(tmp_path, SEED, spec), FUCHENG) as scene:
        assert scene.facts.geometry is Geometry.GROUND
        assert scene.available_radiometries() == (
            Radiometry.AMPLITUDE, Radiometry.INTENSITY, Radiometry.SIGMA0,
        )  # fmt: skip
        whole = Window(0, 0, *scene.shape)
        np.testing.assert_array_equal(scene.detected(whole, Radiometry.AMPLITUDE), amplitude)
        np.testing.assert_allclose(
            scene.detected(whole, Radiometry.SIGMA0), amplitude**2 * 10**-4.25, rtol=1e-5
        )


def test_facts_come_from_the_side_file_and_say_what_is_assumed(tmp_path: Path) -> None:
    root = make.make_fucheng(tmp_path, SEED, make.FuchengSpec())
    with open_scene(root, FUCHENG) as scene:
        facts = scene.facts
    assert facts.scene_id == "FC1_SM_20240531T120000"
    assert (facts.mode, facts.polarisation, facts.band) == ("SM", "VV", "C")
    assert (facts.orbit_direction, facts.look_direction, facts.azimuth_deg) == ("descending", "right", 190.5)
    assert facts.acquired_utc == "2024-05-31T12:00:00.500000Z"
    assert (facts.range_spacing_m, facts.azimuth_spacing_m) == (1.25, 2.1)
    assert facts.incidence_deg is not None
    assert facts.incidence_deg.at_point(5, 0) == 30.0
    assert facts.incidence_deg.at_point(60, 63) == 33.0
    assert any("assumed, confirmed by nobody" in sentence for sentence in facts.warnings)
    assert [path.suffix for path in scene.files] == [".tif", ".xml"]


def test_json_says_the_same_as_xml(tmp_path: Path) -> None:
    def as_json(content: dict[str, Any]) -> None:
        content["side"] = guess(value="{stem}.json")
        content["fields"]["sigma0_constant_db"]["path"] = "calibration/constant[1]/value"

    xml = make.make_fucheng(tmp_path / "a", SEED, make.FuchengSpec())
    json = make.make_fucheng(tmp_path / "b", SEED, make.FuchengSpec(side="json"))
    with open_scene(xml, FUCHENG) as one, open_scene(json, mapped(as_json)) as other:
        assert one.facts.sigma0_factor == other.facts.sigma0_factor
        assert replace(one.facts, incidence_deg=None) == replace(other.facts, incidence_deg=None)


def test_several_polarisations_must_be_chosen(tmp_path: Path) -> None:
    root = make.make_fucheng1_slc(tmp_path, SEED)
    assert polarisations(root, FUCHENG) == ("VH", "VV")
    with pytest.raises(DataError, match="several polarisations; the product has VH, VV"):
        open_scene(root, FUCHENG)
    with pytest.raises(DataError, match="polarisation HH was asked for; the product has VH, VV"):
        open_scene(root, FUCHENG, "HH")
    scenes = {}
    for name in ("VV", "vh"):
        with open_scene(root, FUCHENG, name) as scene:
            scenes[name] = scene.samples(Window(0, 0, 4, 4))
            assert scene.facts.polarisation == name.upper()
    assert not np.array_equal(scenes["VV"], scenes["vh"])
    image = root / f"{root.name}_VH.tif"
    for one in (image, image.with_suffix(".xml")):
        with open_scene(image, FUCHENG) as scene:
            assert scene.facts.polarisation == "VH", one


def test_calibration_forms_agree(tmp_path: Path) -> None:
    root = make.make_fucheng(tmp_path, SEED, make.FuchengSpec())

    def factor(content: dict[str, Any]) -> None:
        del content["fields"]["sigma0_constant_db"]
        content["fields"]["beta0_factor"] = guess(value=3.0)
        content["fields"]["amplitude_scale"] = guess(value=0.5)

    with open_scene(root, mapped(factor)) as scene:
        assert scene.facts.beta0_factor == pytest.approx(0.75)  # 3 x 0.5^2
        assert Radiometry.SIGMA0 in scene.available_radiometries()  # by beta0 and incidence


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"rangePixelSpacing": "0"}, "range_spacing_m is 0, expected 0.001 to 10000"),
        ({"rangePixelSpacing": "NaN"}, "field range_spacing_m, path .*/rangePixelSpacing is 'NaN'"),
        ({"rangePixelSpacing": ""}, "path imageInformation/rangePixelSpacing: is absent or empty"),
        ({"pass": "X"}, "field orbit_direction, path header/pass: found 'X', expected one of A, D"),
        ({"startTime": "31/05/2024"}, "acquired_utc is '31/05/2024', expected ISO 8601"),
        ({"numberOfLines": "71"}, "72 x 64 px, but the side file says 71 x 64"),
        ({"polarisation": "HH"}, "the side file says polarisation HH, but name or request say VV"),
        ({"incidenceAngleFar": "95"}, "incidence_last_col_deg is 95, expected 1 to 89"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_profile_field_file_and_path(
    tmp_path: Path, texts: dict[str, str], message: str
) -> None:
    root = make.make_fucheng(tmp_path, SEED, make.FuchengSpec(texts=texts))
    with pytest.raises(DataError, match=message) as caught:
        open_scene(root, FUCHENG)
    assert root.name in str(caught.value)


@pytest.mark.parametrize("constant_db", [float("inf"), 301.0, -400.0])
def test_a_calibration_that_is_none_is_refused(tmp_path: Path, constant_db: float) -> None:
    root = make.make_fucheng(tmp_path, SEED, make.FuchengSpec(constant_db=constant_db))
    with pytest.raises(DataError, match="sigma0_constant_db"):
        open_scene(root, FUCHENG)


def test_side_file_that_is_missing_or_hostile(tmp_path: Path) -> None:
    root = make.make_fucheng(tmp_path, SEED, make.FuchengSpec())
    side = root / f"{root.name}_VV.xml"
    whole = side.read_text()
    side.write_text(whole.replace("<product>", "<!DOCTYPE p [<!ENTITY a 'b'>]><product>"))
    with pytest.raises(DataError, match="DTD, an entity"):
        open_scene(root, FUCHENG)
    side.unlink()
    with pytest.raises(
        DataError, match=r"0 files fit \{stem\}.xml, the side file pattern of profile fucheng1"
    ):
        open_scene(root, FUCHENG)
    with open_scene(root / f"{root.name}_VV.tif", FUCHENG) as scene:  # one image by itself: said, not silent
        assert scene.facts.kind == "plain GeoTIFF"
        assert any(sentence.startswith("no side file") for sentence in scene.facts.warnings)
    (tmp_path / "outside.xml").write_text(whole)
    side.symlink_to(tmp_path / "outside.xml")
    with pytest.raises(DataError, match="leads out of"):
        open_scene(root, FUCHENG)


@pytest.mark.parametrize("text", ["[" * 200, '{"a": 1, "a": 2}', "{", '{"header": NaN}'])
def test_hostile_json(tmp_path: Path, text: str) -> None:
    root = make.make_fucheng(tmp_path, SEED, make.FuchengSpec(side="json"))
    (root / f"{root.name}_VV.json").write_text(text)
    with pytest.raises(DataError, match=r"is not readable JSON|is absent or empty"):
        open_scene(root, mapped(lambda content: content.update(side=guess(value="{stem}.json"))))


def test_samples_must_be_what_the_mapping_says(tmp_path: Path) -> None:
    root = make.make_fucheng(tmp_path, SEED, make.FuchengSpec(samples="uint16"))
    with pytest.raises(DataError, match=r"1 band\(s\) of uint16, expected complex samples"):
        open_scene(root, mapped(lambda content: content.update(samples=guess(value="complex"))))


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for part in parents:
            content = content[part]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("format", "x"), "product has unknown fields: format"),
        (_set("fields.nesz", guess(value=1)), r"product.fields has unknown fields: nesz"),
        (_set("fields.rows", guess(path="a", value=1)), "either path or value"),
        (_set("fields.rows", {"path": "a", "source": "s"}), "rows has missing fields: confidence"),
        (_set("fields.rows", guess(path="a//b")), "names joined by /"),
        (_set("fields.rows", guess(path="a", map={"x": "y"})), "rows has unknown fields: map"),
        (_set("fields.rows", guess(path="a", factor=0)), "factor is 0"),
        (_set("fields.mode", guess(path="a", factor=2)), "mode has unknown fields: factor"),
        (_set("fields.geometry", guess(value="round")), "'round', expected one of slant, ground, map"),
        (_set("fields.look_direction", guess(path="a", map={"R": "east"})), "expected one of right, left"),
        (_set("image", guess(value="../*.tif")), "a pattern below the product folder"),
        (_set("image", guess(value="**/*.tif")), "a pattern below the product folder"),
        (_set("image", guess(value="{mode}.tif")), "a pattern below the product folder"),
        (_set("samples", guess(value="real")), "expected one of complex, iq_bands, detected, any"),
        (_set("fields.sigma0_factor", guess(value=1.0)), "one each for beta0 and sigma0"),
        (_set("fields.incidence_deg", guess(value=30)), "incidence given twice"),
        (_set("fields.first_row_first_col_latitude_deg", guess(value=1)), "all of .* or none"),
        (_set("side", guess(value=None)), "a value, since product.side is null"),
        (lambda content: content["fields"].pop("geometry"), "product.fields has missing fields: geometry"),
    ],
)
def test_one_wrong_key_of_a_mapping_is_named(change: Callable[[dict[str, Any]], None], message: str) -> None:
    with pytest.raises(ParamsError, match=message) as caught:
        mapped(change)
    assert "mine.yaml" in str(caught.value)


def test_no_image_and_two_images_of_one_polarisation(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file fits"):
        open_mapped(tmp_path, FUCHENG)
    root = make.make_fucheng(tmp_path, SEED, make.FuchengSpec())
    (root / "again_VV.tif").write_bytes((root / f"{root.name}_VV.tif").read_bytes())
    with pytest.raises(DataError, match="both fit"):
        open_mapped(root, FUCHENG)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1400), st.binary(min_size=1, max_size=8))
@example(128, b"\0\0\0\0\0")  # GDAL's own error came through where rasterio reads a property
def test_damaged_products_end_in_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fucheng-fuzz"
    root = folder / make.FuchengSpec().name
    whole = folder / "whole"
    if not root.exists():
        make.make_fucheng(folder, SEED, make.FuchengSpec(rows=12, cols=10))
        whole.mkdir()
        for path in root.iterdir():
            (whole / path.name).write_bytes(path.read_bytes())
    for path in sorted(whole.iterdir()):
        data = bytearray(path.read_bytes())
        data[at : at + len(junk)] = junk
        (root / path.name).write_bytes(data)
        try:
            with open_mapped(root, FUCHENG) as scene:
                scene.samples(Window(0, 0, *scene.shape))
        except DataError:
            pass
        (root / path.name).write_bytes(path.read_bytes())


@pytest.mark.real
def test_a_real_sentinel1_stripmap_product_through_its_mapping(mirror: Path) -> None:
    products = sorted((mirror / "s1-stripmap-safe").glob("*.SAFE"))
    if not products:
        pytest.skip("needs s1-stripmap-safe in the mirror (SARCURATE_MIRROR)")
    with open_scene(products[0], load_profile("sentinel1-stripmap")) as scene:
        assert scene.shape == (36895, 18998)  # the README there gives 18998 x 36895
        assert (scene.facts.polarisation, scene.facts.mode) == ("VH", "S3")
        assert scene.facts.acquired_utc == "2021-04-01T15:28:55.111501Z"
        assert scene.facts.range_spacing_m == pytest.approx(2.246363)
        assert scene.facts.incidence_deg is not None
        assert 18.3 < scene.facts.incidence_deg.at_point(0, 0) < scene.facts.incidence_deg.at_point(0, 18997)
        assert scene.samples(Window(20_000, 9_000, 16, 16)).dtype == np.complex64


@pytest.fixture
def mirror() -> Path:
    import os

    setting = os.environ.get("SARCURATE_MIRROR")
    if not setting:
        pytest.skip("needs the mirror folder (SARCURATE_MIRROR)")
    return Path(setting)
