from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.errors import DataError
from sarcurate.io.chipset import HEADER, open_chipset
from sarcurate.io.raw import read_raw
from sarcurate.stages import acquire, ingest


@pytest.fixture
def own_raw(tiny_params: Callable[..., Any], tmp_path: Path) -> Callable[..., tuple[Any, dict[str, Path]]]:
    """Params and raw folders of 8 x 8 px NPY chips of a 16 m (source) and 8 m (target) footprint."""

    def make(radiometry: str = "amplitude", **settings: Any) -> tuple[Any, dict[str, Path]]:
        for side in ("source", "target"):
            for label in ("B-52", "F-16"):
                (tmp_path / side / label).mkdir(parents=True)
                for index in range(2):
                    pixels = np.random.default_rng(index).rayleigh(size=(8, 8)).astype(np.float32)
                    np.save(tmp_path / side / label / f"{index}.npy", pixels)
        folder = {"kind": "folder", "manifest": None, "radiometry": radiometry, "licence": "mine"}
        params = tiny_params(
            {f"acquire.{side}": folder | {"path": str(tmp_path / side)} for side in ("source", "target")}
            | {"ingest.size": "keep"}
            | {name.replace("__", "."): value for name, value in settings.items()}
        )
        raw = {side: tmp_path / "raw" / side for side in ("source", "target")}
        acquire.run(params, raw, None)
        return params, raw

    return make


def _outputs(folder: Path) -> dict[str, Path]:
    return {side: folder / "chips" / side for side in ("source", "target")}


def test_every_raw_chip_becomes_a_chip_with_its_truth(tiny_sets: Any) -> None:
    raw = read_raw(tiny_sets.raw()["target"])
    chips = open_chipset(tiny_sets.chips()["target"], splits=("all",))
    rows = {row["source_path"]: row for row in chips.rows()}
    assert set(rows) == set(raw.table["path"])
    for known in raw.table.to_dict("records"):
        row = rows[known["path"]]
        np.testing.assert_array_equal(chips.pixels(row["chip_id"]), np.load(raw.root / known["path"]))
        for name in ("label", "group_id", "incidence_deg", "azimuth_deg", "truth_enl", "seed"):
            assert row[name] == known[name], name
        assert (row["range_spacing_m"], row["band"], row["origin"]) == (2.0, "C", "simulated")


def _counts(said: list[str]) -> list[str]:
    return [line for line in said if "warning" not in line]


def test_relative_radiometry_is_said(own_raw: Callable[..., Any], tmp_path: Path) -> None:
    params, raw = own_raw("unknown")
    counts = _counts(ingest.run(params, raw, _outputs(tmp_path)))
    assert len(counts) == 2
    assert all("radiometry unknown (relative: no declared linear scale)" in line for line in counts)


def test_declared_radiometry_is_said_without_a_caution(own_raw: Callable[..., Any], tmp_path: Path) -> None:
    params, raw = own_raw("sigma0")
    counts = _counts(ingest.run(params, raw, _outputs(tmp_path)))
    assert counts == [f"{side}: 4 chips, radiometry sigma0" for side in ("source", "target")]


def test_chips_without_groups_bring_a_warning_and_grouped_ones_do_not(
    own_raw: Callable[..., Any], tiny_sets: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    params, raw = own_raw()
    alone = ingest.run(params, raw, _outputs(tmp_path / "alone"))
    assert sum("warning" in line and "group_id" in line for line in alone) == 2
    grouped = ingest.run(tiny_params(), tiny_sets.raw(), _outputs(tmp_path / "grouped"))
    assert not any("warning" in line for line in grouped)


def test_chips_of_another_size_are_refused_unless_told_otherwise(
    own_raw: Callable[..., Any], tmp_path: Path
) -> None:
    params, raw = own_raw(ingest__size="exact", dataset__footprint_m=8.0)
    with pytest.raises(DataError, match="4 x 4 px"):  # 8 m of the target at 2 m
        ingest.run(params, raw, _outputs(tmp_path))


def test_a_larger_chip_is_cut_about_its_centre(own_raw: Callable[..., Any], tmp_path: Path) -> None:
    params, raw = own_raw(ingest__size="centre_crop", dataset__footprint_m=8.0)
    ingest.run(params, raw, _outputs(tmp_path))
    chips = open_chipset(_outputs(tmp_path)["target"], splits=("all",))
    row = next(chips.rows())
    whole = np.load(raw["target"] / row["source_path"])
    np.testing.assert_array_equal(chips.pixels(row["chip_id"]), whole[2:6, 2:6])


@pytest.mark.parametrize("bad", ["truncated", "nan", "zero", "missing", "negative"])
def test_a_bad_chip_stops_ingest_naming_the_file(
    bad: str, own_raw: Callable[..., Any], tmp_path: Path
) -> None:
    params, raw = own_raw()
    path = raw["target"] / "F-16" / "1.npy"
    pixels = np.load(path)
    if bad == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif bad == "missing":
        path.unlink()
    else:
        pixels[0, 0] = {"nan": np.nan, "negative": -1.0, "zero": 0.0}[bad]
        np.save(path, pixels * 0 if bad == "zero" else pixels)
    outputs = _outputs(tmp_path)
    with pytest.raises(DataError) as caught:
        ingest.run(params, raw, outputs)
    assert "1.npy" in caught.value.problem
    assert caught.value.exit_code == 3
    assert not (outputs["target"] / HEADER).exists(), "a broken set must not look like a ChipSet"


def test_an_earlier_output_is_not_written_over(own_raw: Callable[..., Any], tmp_path: Path) -> None:
    params, raw = own_raw()
    ingest.run(params, raw, _outputs(tmp_path))
    before = (_outputs(tmp_path)["source"] / HEADER).read_bytes()
    with pytest.raises(DataError, match="not empty"):
        ingest.run(params, raw, _outputs(tmp_path))
    assert (_outputs(tmp_path)["source"] / HEADER).read_bytes() == before


def test_what_was_done_to_pixels_is_told(own_raw: Callable[..., Any], tmp_path: Path) -> None:
    params, raw = own_raw()
    for path in sorted(raw["target"].rglob("0.npy")):
        np.save(path, np.pad(np.load(path), ((0, 0), (3, 0))))
    said = ingest.run(params, raw, _outputs(tmp_path))
    told = [line for line in said if "forensics" in line]
    assert told == ["target: warning: forensics found border 2 of 4 chips; see docs/forensics.md"]
