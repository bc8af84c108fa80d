from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sarcurate.core.radiometry import Radiometry, to_intensity
from sarcurate.core.scorecard import COLUMNS, ChipContext, fit_yardstick, scorecard
from sarcurate.errors import DataError
from sarcurate.io import scoring
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.manifest import Header
from sarcurate.io.scoring import context_of, measure_chips, measure_images
from sarcurate.io.sensors import load_profile

SIDES = (40, 64, 40, 48, 64, 8, 40)
MakeSet = Callable[..., ChipSet]


def image(index: int, side: int) -> np.ndarray:
    chip = np.random.default_rng(index).gamma(3, 1 / 3, (side, side))
    chip[side // 3 : side // 2, side // 3 : side // 2] *= 40
    return np.ones((side, side), np.float32) if index == 3 else chip.astype(np.float32)


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    def make(
        radiometry: Radiometry = Radiometry.SIGMA0, azimuth_m: tuple[float | None, ...] = (2.0,)
    ) -> ChipSet:
        root = tmp_path / "set"
        with ChipSetWriter(root, Header("sensor", radiometry, "train", (-25.0, 10.0))) as writer:
            for index, side in enumerate(SIDES):
                row = {
                    **{
                        "chip_id": f"{index:024d}",
                        "origin": "real",
                        "label": "a",
                        "group_id": f"g{index % 2}",
                    },
                    **{"fold": index % 2 if index else None, "range_spacing_m": 1.5},
                    "azimuth_spacing_m": azimuth_m[index % len(azimuth_m)],
                }
                writer.add(row, image(index, side))
        return open_chipset(root, ("train",))

    return make


def test_a_table_holds_each_chips_own_scorecard(make_set: MakeSet) -> None:
    chips = make_set()
    context = context_of(chips, None)
    yardstick = fit_yardstick([image(index, side) for index, side in enumerate(SIDES) if index not in (3, 5)])
    table = measure_chips(chips, context, yardstick)
    identity = ["chip_id", "pixels_sha256", "label", "origin", "group_id", "fold"]
    assert list(table.columns) == [*identity, *COLUMNS, "reasons"]
    pd.testing.assert_frame_equal(table[identity], chips.manifest[identity])
    for place, chip_id in enumerate(table["chip_id"]):
        alone = scorecard(chips.intensity(chip_id)[None], context, yardstick)
        why = {name: str(measure.reasons[0]) for name, measure in alone.items() if measure.reasons[0]}
        for name in COLUMNS:
            np.testing.assert_allclose(table[name][place], alone[name].values[0], rtol=1e-9, atol=1e-12)
        text = table["reasons"][place]
        assert text == (json.dumps(why, sort_keys=True, separators=(",", ":")) if why else "")
    assert set(table[list(COLUMNS)].dtypes) == {np.dtype(np.float64)}
    assert table["enl"].isna().tolist() == [False, False, False, True, False, True, False]


def test_workers_and_block_borders_change_nothing(make_set: MakeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    chips = make_set()
    context = context_of(chips, None)
    whole = measure_chips(chips, context, None)
    monkeypatch.setattr(scoring, "BLOCK_CHIPS", 2)
    parts = measure_chips(chips, context, None)
    pd.testing.assert_frame_equal(parts, whole, rtol=1e-9, atol=1e-12)
    pd.testing.assert_frame_equal(measure_chips(chips, context, None, workers=2), parts, check_exact=True)
    monkeypatch.setattr(scoring, "BLOCK_PX", 1)
    pd.testing.assert_frame_equal(measure_chips(chips, context, None), whole, rtol=1e-9, atol=1e-12)


def test_a_part_of_a_set_keeps_its_rows(make_set: MakeSet) -> None:
    chips = make_set()
    context = context_of(chips, None)
    whole = measure_chips(chips, context, None)
    some = measure_chips(replace(chips, manifest=chips.manifest.iloc[[4, 1]]), context, None)
    expected = whole.iloc[[4, 1]].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, expected, rtol=1e-9, atol=1e-12)


def test_a_changed_chip_file_is_refused(make_set: MakeSet) -> None:
    chips = make_set()
    files = [chips.root / name for name in chips.manifest["file_name"][:2]]
    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(DataError, match="are not those of the manifest"):
        measure_chips(chips, context_of(chips, None), None)


def test_images_are_held_up_to_the_limit_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ChipContext(Radiometry.INTENSITY, None, None, None)
    sizes = []
    real = scoring.scorecard

    def spy(stack: np.ndarray, *rest: object) -> object:
        sizes.append(stack.size)
        return real(stack, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "scorecard", spy)
    monkeypatch.setattr(scoring, "BLOCK_PX", 3 * 40 * 40)
    measured = measure_images((image(k + 10, 40) for k in range(7)), context, None)
    assert len(measured) == 7
    assert sizes == [3 * 1600, 3 * 1600, 1600]
    assert len(measure_images([], context, None)) == 0


@pytest.mark.parametrize(
    ("spacings", "expected"),
    [((2.0,), 2.0), ((2.0, 2.5), None), ((None,), None), ((2.0, None), None)],
)
def test_spacing_is_known_where_the_manifest_has_one(
    make_set: MakeSet, spacings: tuple[float | None, ...], expected: float | None
) -> None:
    context = context_of(make_set(azimuth_m=spacings), None)
    assert context == ChipContext(Radiometry.SIGMA0, expected, 1.5, None)


def test_context_has_the_profiles_noise_and_declares_squared_amplitude_as_intensity(
    make_set: MakeSet,
) -> None:
    profile = load_profile("fucheng1-sim")
    chips = make_set(Radiometry.AMPLITUDE)
    context = context_of(chips, profile)
    assert (context.domain, context.nesz_db) == (Radiometry.INTENSITY, profile.nesz_db)
    table = measure_chips(chips, context, None)
    pixels = to_intensity(image(0, 40), Radiometry.AMPLITUDE)
    expected = scorecard(pixels[None], context, None)["enl"].values[0]
    assert table["enl"][0] == pytest.approx(expected, rel=1e-9)
