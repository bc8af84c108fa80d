"""Every product fixture, and every real file there is, becomes a valid ChipSet by one command."""

from __future__ import annotations

import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sarcurate.cli import app
from sarcurate.errors import DataError
from sarcurate.io.chipset import open_chipset

PRODUCTS = Path(__file__).parent / "data" / "products"


@dataclass(frozen=True)
class Cut:
    """How one product is cut into a grid, and what must come out."""

    pattern: str
    sensor: str
    radiometry: str
    geometry: str
    footprint_m: float = 40.0
    polarisation: str | None = None


FIXTURES = [
    Cut("ssc_v1/TSX1*", "terrasarx", "sigma0", "slant"),
    Cut("ssc_v2/TDX1*", "terrasarx", "sigma0", "slant", polarisation="HH"),
    Cut("mgd/TSX1*", "terrasarx", "sigma0", "ground"),
    Cut("gec/TSX1*", "terrasarx", "beta0", "map"),
    Cut("eec/TSX1*", "terrasarx", "sigma0", "map"),
    Cut("fucheng1/FC1_SM_20240531T120000", "fucheng1", "sigma0", "slant", polarisation="VV"),
    Cut("fucheng1/FC1_SM_20240602T120000", "fucheng1", "sigma0", "ground"),
    Cut("sicd/invented.nitf", "sentinel1-stripmap", "sigma0", "slant", footprint_m=30.0),
    Cut("geotiff/clutter_utm32.tif", "gaofen3-spotlight", "unknown", "map", footprint_m=20.0),
]
REAL = [
    Cut("tsx-tiles/*.cos", "terrasarx", "intensity", "slant"),
    Cut("tsx-sicd-crops/nitf/SICD/*", "terrasarx", "intensity", "slant", footprint_m=4.0),
    Cut("gf3-airport-scenes/scenes/*", "gaofen3-spotlight", "uint8_relative", "slant", footprint_m=120.0),
]


def _cut(scene: Path, how: Cut, out: Path) -> None:
    options = {
        "--footprint": how.footprint_m,
        "--step": how.footprint_m,
        "--label": "clutter",
        "--radiometry": how.radiometry,
        "--sensor": how.sensor,
        "--licence": "for tests",
        "--polarisation": how.polarisation,
    }
    words = [str(word) for name, value in options.items() if value is not None for word in (name, value)]
    done = CliRunner().invoke(app, ["chip", str(scene), str(out), "--grid", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    chips = open_chipset(out, splits=("all",))
    table = chips.manifest
    assert len(table) > 0
    assert set(table["radiometry"]) == {how.radiometry}
    assert set(table["geometry"]) == {how.geometry}
    assert set(table["sensor"]) == {how.sensor}
    assert table[["scene_id", "first_row_px", "first_col_px", "range_spacing_m"]].notna().all().all()
    for row in table.to_dict("records"):
        assert chips.pixels(row["chip_id"]).any()


@pytest.mark.parametrize("how", FIXTURES, ids=lambda how: how.pattern.partition("*")[0].rstrip("/"))
def test_a_fixture_becomes_a_chipset(how: Cut, tmp_path: Path) -> None:
    (scene,) = PRODUCTS.glob(how.pattern)
    _cut(scene, how, tmp_path / "chips")


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("how", REAL, ids=lambda how: how.pattern.partition("/")[0])
def test_a_real_file_becomes_a_chipset(how: Cut, tmp_path: Path) -> None:
    mirror = os.environ.get("SARCURATE_MIRROR")
    if not mirror:
        pytest.skip("SARCURATE_MIRROR is not set: no public sets to read")
    scenes = sorted(Path(mirror).glob(how.pattern))
    if not scenes:
        pytest.skip(f"{how.pattern} is not in SARCURATE_MIRROR")
    for number, scene in enumerate(scenes):
        _cut(scene, how, tmp_path / str(number))


def test_a_packed_product_is_refused_then_unpacked_then_read(tmp_path: Path) -> None:
    (product,) = PRODUCTS.glob("ssc_v1/TSX1*")
    packed = Path(shutil.make_archive(str(tmp_path / "delivery"), "gztar", product.parent, product.name))
    with pytest.raises(DataError, match="sarcurate unpack"):
        CliRunner().invoke(app, ["inspect", str(packed)], catch_exceptions=False)
    done = CliRunner().invoke(app, ["unpack", str(packed), str(tmp_path / "in")], catch_exceptions=False)
    assert done.output == f"product: {tmp_path / 'in' / product.name}\n"
    _cut(tmp_path / "in" / product.name, FIXTURES[0], tmp_path / "chips")


def test_an_archive_that_leads_out_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as pack:
        pack.writestr("../outside.tif", b"x")
    with pytest.raises(DataError, match=r"'\.\./outside\.tif' is absolute, not normalised or leads out"):
        CliRunner().invoke(
            app, ["unpack", str(tmp_path / "bad.zip"), str(tmp_path / "in")], catch_exceptions=False
        )
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


@pytest.mark.real
def test_chips_of_a_public_set_become_scenes_and_chips_of_metres(tmp_path: Path) -> None:
    if not os.environ.get("SARCURATE_MIRROR"):
        pytest.skip("SARCURATE_MIRROR is not set: no public sets to read")
    words = ["mosaic", "tsx-s1-slc", "tsx-x", str(tmp_path / "scenes")]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    scenes = sorted((tmp_path / "scenes").iterdir())
    assert [path.name for path in scenes] == ["1550_HH.tif", "3142_VV.tif", "3527_VV.tif"]
    _cut(scenes[2], Cut("", "terrasarx", "intensity", "slant", footprint_m=96.0), tmp_path / "chips")
