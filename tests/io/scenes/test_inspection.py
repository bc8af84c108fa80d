"""inspect: one record for every kind, as JSON and as a table, and nothing written."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sarcurate.cli import app
from sarcurate.errors import DataError
from sarcurate.io.scenes.inspection import as_table, examine
from sarcurate.io.sensors import load_profile

MAKER = Path(__file__).parents[2] / "data" / "make_other_products.py"
_spec = importlib.util.spec_from_file_location("make_other_products", MAKER)
assert _spec is not None
assert _spec.loader is not None
make = sys.modules.setdefault("make_other_products", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(make)

MIRROR = Path(os.environ.get("SARCURATE_MIRROR", "absent"))


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["inspect", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_a_product_with_several_polarisations_is_described_by_the_first(tmp_path: Path) -> None:
    root = make.make_fucheng1_slc(tmp_path, 3)
    before = sorted(path.stat().st_mtime_ns for path in root.iterdir())
    record = json.loads(call(str(root), "--sensor", "fucheng1", "--json"))
    assert (record["what"], record["kind"]) == ("scene", "Fucheng-1 product, layout guessed (SLC)")
    assert (record["polarisation"], record["polarisations"]) == ("VH", ["VH", "VV"])
    assert (record["rows"], record["cols"], record["pixel_type"]) == (72, 64, "complex int16")
    assert record["incidence_deg"] == [30.0, 33.0]
    assert record["radiometry_reachable"] == ["intensity", "sigma0"]
    assert record["sigma0_factor"] == pytest.approx(10**-4.25)
    assert record["azimuth_spacing_m"] == 2.1
    assert any("several polarisations: shown is VH" in sentence for sentence in record["warnings"])
    assert len(record["files"]) == 2
    assert sorted(path.stat().st_mtime_ns for path in root.iterdir()) == before
    chosen = json.loads(call(str(root), "--sensor", "fucheng1", "--polarisation", "VV", "--json"))
    assert chosen["polarisation"] == "VV"


def test_window_statistics_are_those_of_the_samples(tmp_path: Path) -> None:
    spec = make.FuchengSpec(rows=700, cols=600)
    root = make.make_fucheng(tmp_path, 3, spec)
    truth = make.speckle((700, 600), 3)
    power = np.abs(np.round(truth.real) + 1j * np.round(truth.imag))[94:606, 44:556].astype(np.float64) ** 2
    window = examine(root, load_profile("fucheng1"))["window"]
    assert [window[name] for name in ("row", "col", "rows", "cols")] == [94, 44, 512, 512]
    assert window["mean"] == pytest.approx(power.mean(), rel=1e-5)
    assert window["max"] == pytest.approx(power.max(), rel=1e-5)
    assert window["zero_fraction"] == pytest.approx(np.mean(power == 0))


def test_the_table_names_values_units_and_warnings(tmp_path: Path) -> None:
    said = call(str(make.make_map_geotiff(tmp_path, 1)))
    assert "geometry                 map" in said
    assert "range spacing m          3" in said
    assert "not known" in said
    assert "warning: no side file" in said


@pytest.mark.parametrize("name", ["a.npy", "a.png", "a.tif"])
def test_single_chips(tmp_path: Path, name: str) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, values)
    elif name == "a.png":
        Image.fromarray(values).save(path)
    else:
        make.write_tiff(path, values[None], "uint8")
    record = examine(path)
    assert (record["rows"], record["cols"], record["pixel_type"]) == (4, 6, "uint8")
    assert (record["window"]["min"], record["window"]["max"]) == (0.0, 23.0)
    assert record["window"]["zero_fraction"] == pytest.approx(1 / 24)
    assert as_table(record)


def test_a_complex_array_is_intensity(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((3, 3), 3 + 4j, np.complex64))
    record = examine(tmp_path / "a.npy")
    assert record["radiometry_stored"] == "intensity"
    assert record["window"]["mean"] == 25.0


def test_damage_is_said(tmp_path: Path) -> None:
    half = np.zeros((1, 8, 8), np.complex64)
    half.imag = 5
    record = examine(make.write_tiff(tmp_path / "a.tif", half, "complex64"))
    assert any("I or Q is zero throughout" in sentence for sentence in record["warnings"])
    holes = np.ones((1, 8, 8), np.float32)
    holes[0, 3, 3] = np.nan
    record = examine(make.write_tiff(tmp_path / "b.tif", holes, "float32"))
    assert any("NaN or infinite" in sentence for sentence in record["warnings"])
    assert record["window"]["not_finite_fraction"] == pytest.approx(1 / 64)
    assert "NaN" not in json.dumps(record["window"])


def test_a_chipset(tiny_sets: Any) -> None:
    root = tiny_sets.chips()["source"]
    record = json.loads(call(str(root), "--json"))
    header = json.loads((root / "chipset.json").read_text())
    assert record["what"] == "ChipSet"
    assert record["revision"] == header["revision"]
    assert record["classes"] == {"B-52": 6, "F-16": 6}
    assert record["chips"] == 12
    assert "B-52 6, F-16 6" in call(str(root))


def test_a_chipset_with_a_broken_header(tmp_path: Path, tiny_sets: Any) -> None:
    root = tiny_sets.chips()["source"]
    (tmp_path / "metadata.parquet").write_bytes((root / "metadata.parquet").read_bytes())
    (tmp_path / "chipset.json").write_text("[]")
    with pytest.raises(DataError, match="is no ChipSet header"):
        examine(tmp_path)


@pytest.mark.real
def test_real_files() -> None:
    expected = {
        "tsx-tiles/tsx_3527_vv_r2517_c3871.cos": ("complex int16", 264, 424),
        "gf3-airport-scenes/scenes/0004360.jpg": ("uint8", 800, 800),
        "tsx-sicd-crops/nitf/SICD/cropped_sicd_120.nitf": ("complex int16", 5, 5),
    }
    for name, found in expected.items():
        if not (MIRROR / name).is_file():
            pytest.skip(f"needs {name} in the mirror (SARCURATE_MIRROR)")
        record = examine(MIRROR / name)
        assert (record["pixel_type"], record["rows"], record["cols"]) == found
