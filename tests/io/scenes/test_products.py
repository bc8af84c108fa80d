"""The opener: content decides, and whatever it does not know it names."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io.scenes.products import Kind, open_scene, sniff, unpack
from sarcurate.io.scenes.scene import Geometry, Window
from sarcurate.io.scenes.scene_raster import SceneLimits, open_raster
from sarcurate.io.sensors import load_profile

MAKER = Path(__file__).parents[2] / "data" / "make_other_products.py"
_spec = importlib.util.spec_from_file_location("make_other_products", MAKER)
assert _spec is not None
assert _spec.loader is not None
make = sys.modules.setdefault("make_other_products", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(make)


def tiff(path: Path, array: np.ndarray, **options: object) -> Path:
    bands = array if array.ndim == 3 else array[None]
    return make.write_tiff(path, bands, array.dtype.name, **options)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"II*\0", Kind.TIFF), (b"MM\0*", Kind.TIFF), (b"II+\0", Kind.TIFF), (b"NITF02.10", Kind.NITF),
        (b"\x89PNG\r\n\x1a\n", Kind.PICTURE), (b"\xff\xd8\xff\xe0", Kind.PICTURE), (b"\x93NUMPY", Kind.NPY),
        (b"\0" * 28 + b"CSAR", Kind.COSAR), (b"PK\x03\x04", Kind.ARCHIVE), (b"\x1f\x8b\x08", Kind.ARCHIVE),
        (b"\0" * 257 + b"ustar", Kind.ARCHIVE), (b"\xef\xbb\xbf<?xml?><product/>", Kind.XML),
        (b"<?xml?><level1Product>", Kind.TERRASARX), (b' {"a": 1}', Kind.JSON), (b"", Kind.UNKNOWN),
        (b"\x89HDF\r\n\x1a\n", Kind.HDF5), (b"GIF89a", Kind.UNKNOWN),
    ],
)  # fmt: skip
def test_content_not_suffix_decides(tmp_path: Path, head: bytes, kind: Kind) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(head)
    assert sniff(path) is kind


def test_a_picture_under_another_suffix_opens(tmp_path: Path) -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(grey).save(tmp_path / "x.png")
    (tmp_path / "x.tif").write_bytes((tmp_path / "x.png").read_bytes())
    with open_scene(tmp_path / "x.tif") as scene:
        np.testing.assert_array_equal(scene.samples(Window(1, 2, 3, 4)), grey[1:4, 2:6])
        assert scene.facts.radiometry is Radiometry.UINT8_RELATIVE
        assert scene.facts.kind == "PNG picture"
        assert scene.facts.range_spacing_m is None


def test_a_profile_fills_in_what_a_picture_does_not_say(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "x.jpg")
    with open_scene(tmp_path / "x.jpg", load_profile("gaofen3-spotlight"), "hh") as scene:
        facts = scene.facts
    assert (facts.sensor, facts.band, facts.range_spacing_m) == ("gaofen3-spotlight", "C", 1.0)
    assert facts.polarisation == "HH"
    assert any("spacing is that of profile" in sentence for sentence in facts.warnings)


def test_a_map_geotiff_knows_spacing_and_positions(tmp_path: Path) -> None:
    with open_scene(make.make_map_geotiff(tmp_path, 1)) as scene:
        facts = scene.facts
    assert facts.geometry is Geometry.MAP
    assert (facts.azimuth_spacing_m, facts.range_spacing_m) == (3.0, 3.0)
    # UTM zone 32: 600 km east is 100 km east of 9 degrees, 5300 km north is near 47.84 degrees
    assert facts.latitude_deg is not None
    assert facts.longitude_deg is not None
    assert facts.latitude_deg.at_point(0, 0) == pytest.approx(5.3e6 / 0.9996 / 110_746, abs=0.3)
    east_km = (facts.longitude_deg.at_point(0, 0) - 9) * 111.32 * np.cos(np.deg2rad(47.84))
    assert east_km == pytest.approx(100 / 0.9996, rel=0.01)
    step = facts.latitude_deg.at_point(0, 0) - facts.latitude_deg.at_point(59, 0)
    assert step * 111_200 == pytest.approx(59 * 3.0, rel=0.01)


def test_a_geographic_grid_gets_metres(tmp_path: Path) -> None:
    place = Affine(1e-5, 0, 10.0, 0, -1e-5, 60.0)
    path = tiff(tmp_path / "g.tif", np.ones((20, 30), np.float32), crs="EPSG:4326", transform=place)
    with open_scene(path) as scene:
        assert scene.facts.azimuth_spacing_m == pytest.approx(1.1132, rel=1e-3)
        assert scene.facts.range_spacing_m == pytest.approx(1.1132 * 0.5, rel=1e-3)  # cos 60
        latitude, longitude = scene.facts.latitude_deg, scene.facts.longitude_deg
        assert latitude is not None
        assert longitude is not None
        assert latitude.at_point(19, 0) == pytest.approx(60 - 19.5e-5, abs=1e-9)  # pixel centres
        assert longitude.at_point(0, 29) == pytest.approx(10 + 29.5e-5, abs=1e-9)


@pytest.mark.parametrize("name", ["p.zip", "p.tar", "p.tar.gz"])
def test_archives_are_refused_with_advice_and_unpacked_on_request(tmp_path: Path, name: str) -> None:
    make.make_map_geotiff(tmp_path / "product", 1)
    path = tmp_path / name
    inside = tmp_path / "product" / "geotiff"
    if name == "p.zip":
        with zipfile.ZipFile(path, "w") as pack:
            for file in inside.iterdir():
                pack.write(file, f"geotiff/{file.name}")
    else:
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as pack:
            pack.add(inside, "geotiff")
    with pytest.raises(DataError, match="found archive, expected a scene") as caught:
        open_scene(path)
    assert "unpack it first" in str(caught.value)
    root = unpack(path, tmp_path / "out")
    assert root.name == "geotiff"
    open_scene(next(root.iterdir())).pixels.close()
    with pytest.raises(DataError, match="is no ZIP or tar"):
        unpack(next(root.iterdir()), tmp_path / "other")


def test_what_is_not_known_is_named_with_what_is(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"????")
    for path, found in ((tmp_path / "x.bin", "unknown"), (tmp_path, "folder")):
        with pytest.raises(DataError, match=f"found {found}, expected a scene") as caught:
            open_scene(path)
        assert "SICD NITF" in str(caught.value)
    with pytest.raises(DataError, match="no such file or folder"):
        open_scene(tmp_path / "absent")
    with pytest.raises(DataError, match="profile mstar has no section product") as caught:
        open_scene(tmp_path, load_profile("mstar"))


def _broken_tiffs(folder: Path) -> list[tuple[Path, str]]:
    return [
        (tiff(folder / "a.tif", np.ones((3, 8, 8), np.uint8)), "found 3 bands, expected one band"),
        (tiff(folder / "b.tif", np.ones((2, 8, 8), np.int16)), "2 bands of int16, expected one"),
        (tiff(folder / "c.tif", np.ones((8, 8), np.int32)), "samples of int32, expected one of uint8"),
    ]


def test_each_thing_that_a_scene_cannot_be(tmp_path: Path) -> None:
    for path, message in _broken_tiffs(tmp_path):
        with pytest.raises(DataError, match=message):
            open_scene(path)
    scaled = tmp_path / "d.tif"
    tiff(scaled, np.ones((8, 8), np.uint16))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(scaled, "r+") as file:
            file.scales = (0.1,)
    with pytest.raises(DataError, match=r"scale 0\.1 and offset 0\.0 in the header"):
        open_scene(scaled)


def test_limits_hold_before_anything_is_decoded(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.ones((64, 64), np.float32), tiled=True, blockxsize=16, blockysize=16)
    fine = SceneLimits(64, 16, 1024, 64 * 64 * 4, 1)
    open_raster(path, fine).dataset.close()
    for limits, message in (
        (SceneLimits(63, 16, 1024, 1, 1), "64 x 64 pixels, expected 1 to 63"),
        (SceneLimits(64, 15, 1024, 1, 1), "16 tiles or strips of 16 x 16"),
        (SceneLimits(64, 16, 1023, 1, 1), "1023 bytes each"),
    ):
        with pytest.raises(DataError, match=message):
            open_raster(path, limits)


def classic_tiff(width: int, height: int, rows_per_strip: int, tags: dict[int, int] | None = None) -> bytes:
    """A little-endian TIFF of 8-bit grey that claims a size and holds one strip of 8 bytes."""
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: rows_per_strip, 279: 8}
    entries |= tags or {}
    ifd = struct.pack("<H", len(entries))
    ifd += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return struct.pack("<2sHI", b"II", 42, 16) + b"\0" * 8 + ifd + b"\0" * 4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (classic_tiff(4_000_000, 4_000_000, 4_000_000), "pixels, expected 1 to 250000 a side"),
        (classic_tiff(200_000, 200_000, 200_000), "row 199999, column 0 cannot be decoded"),
        (classic_tiff(0, 10, 10), "not a readable|pixels"),
        (b"II*\0\xff\xff\xff\x7f", "not a readable"),
        (b"II*\0", "not a readable"),
    ],
)
def test_absurd_headers_end_in_a_data_error(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bomb.tif"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message), open_scene(path) as scene:
        scene.samples(Window(scene.shape[0] - 1, 0, 1, 1))


def test_a_png_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))
    (tmp_path / "a.png").write_bytes(data + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="picture of 100000 x 100000 pixels"):
        open_scene(tmp_path / "a.png")


def test_a_truncated_tiff_says_which_window(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tiff(tmp_path / "a.tif", rng.integers(0, 255, (64, 64)).astype(np.uint8), compress="deflate")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 200])
    with open_scene(path) as scene, pytest.raises(DataError, match="window at row 63, column 0 cannot be"):
        scene.samples(Window(63, 0, 1, 8))


def test_files_beside_the_image_change_nothing(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.ones((8, 8), np.uint16))
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><Scale>7</Scale></PAMRasterBand></PAMDataset>"
    )
    (tmp_path / "a.tfw").write_text("3\n0\n0\n-3\n0\n0\n")
    with open_scene(path) as scene:
        assert scene.facts.geometry is Geometry.SLANT
        assert scene.files == (path,)


def test_vrt_and_network_paths_do_not_open(tmp_path: Path) -> None:
    target = tiff(tmp_path / "secret.tif", np.ones((8, 8), np.uint8))
    (tmp_path / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{target}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(DataError, match="found XML file"):
        open_scene(tmp_path / "a.vrt")
    for name in (
        "/vsicurl/http://localhost:1/a.tif",
        f"/vsizip/{tmp_path}/a.zip/a.tif",
        "http://localhost/a.tif",
    ):
        with pytest.raises(DataError, match="no such file or folder"):
            open_scene(Path(name))


def test_a_window_too_large_is_refused(tmp_path: Path) -> None:
    from sarcurate.io.scenes.scene_raster import RasterPixels

    file = open_raster(tiff(tmp_path / "a.tif", np.ones((64, 64), np.float32)))
    small = RasterPixels(file, iq_bands=False, limits=SceneLimits(64, 64, 1 << 20, 1024, 1))
    with pytest.raises(DataError, match="expected at most 256 px"):
        small.read(Window(0, 0, 64, 64))
    small.close()


def test_json_is_no_scene_without_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(DataError, match="name a sensor profile with a section product"):
        open_scene(tmp_path / "a.json")
