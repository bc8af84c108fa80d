from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sarcurate.core.impulse_response import Weighting
from sarcurate.core.practice_sensors import is_near
from sarcurate.core.sensor_model import SensorModel
from sarcurate.errors import DataError, ParamsError
from sarcurate.io import practice_pool
from sarcurate.io.practice_pool import HEADROOM_DB, PoolPlan, fill_pool, read_shard
from sarcurate.io.work_folder import claim_folder

KEPT = SensorModel(9.65e9, 1.0, 1.0, 1.15, 1.15, 2, Weighting.TAYLOR, Weighting.TAYLOR, -23.0)
PLAN = PoolPlan(sensors=3, chip_px=24, seed=7, kept_away=(KEPT,))


@pytest.fixture(autouse=True)
def few_chips(monkeypatch):
    monkeypatch.setattr(practice_pool, "CHIPS_PER_SENSOR", 3)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def filled(tmp_path):
    fill_pool(PLAN, tmp_path / "pool", 1)
    return tmp_path / "pool"


def test_two_workers_write_the_same_bytes(filled, tmp_path):
    # Workers are forked, so they see the few chips too.
    fill_pool(PLAN, tmp_path / "two", 2)
    assert _bytes(tmp_path / "two") == _bytes(filled)


def test_missing_and_half_written_shards_are_rendered_again(filled):
    whole = _bytes(filled)
    (filled / "00000.json").unlink()  # killed before the rows were there
    (filled / "00000.npy").write_bytes(whole["00000.npy"][:100])
    (filled / "00001.npy").unlink()
    (filled / "00001.json").rename(filled / "00001.part")  # killed while the rows were written
    fill_pool(PLAN, filled, 1)
    assert _bytes(filled) == whole


def test_finished_shards_are_left_alone(filled, monkeypatch):
    monkeypatch.setattr(practice_pool, "render_practice", None)
    fill_pool(PLAN, filled, 1)


def test_a_larger_pool_begins_with_the_smaller(filled, tmp_path):
    fill_pool(replace(PLAN, sensors=4), tmp_path / "more", 1)
    small, large = _bytes(filled), _bytes(tmp_path / "more")
    assert all(large[name] == small[name] for name in small if name[0] == "0")
    fill_pool(replace(PLAN, seed=8, sensors=1), tmp_path / "other", 1)
    assert _bytes(tmp_path / "other")["00000.npy"] != small["00000.npy"]


def test_a_shard_holds_chips_in_model_space_and_what_is_known_of_them(filled):
    shard = read_shard(filled, 2)
    assert shard.chips.shape == (3, 24, 24)
    assert shard.chips.dtype == np.float16
    # The model space reaches HEADROOM_DB beyond the 0.1 and 99.9 percentile: little is at its ends.
    assert -1.0 <= shard.chips.min() < shard.chips.max() <= 1.0
    assert np.mean(shard.chips == 1.0) < 0.001
    assert sum(HEADROOM_DB) > 0
    assert len(shard.rows) == 3
    for row in shard.rows:
        assert set(row) == {
            "label", "band", "azimuth_spacing_m", "range_spacing_m", "incidence_deg", "azimuth_deg"
        }  # fmt: skip
        assert (row["azimuth_deg"] is None) is (row["label"] == "")
        assert row["azimuth_spacing_m"] == row["range_spacing_m"]


def test_no_sensor_of_the_pool_is_near_a_kept_one(filled, monkeypatch):
    drawn = []

    def spy(*args):
        drawn.append(practice_pool_draw(*args))
        return drawn[-1]

    practice_pool_draw = practice_pool.draw_sensor
    monkeypatch.setattr(practice_pool, "draw_sensor", spy)
    for index in range(3):
        (filled / f"{index:05d}.json").unlink()
    fill_pool(PLAN, filled, 1)
    assert len(drawn) == 3
    assert not any(is_near(sensor, KEPT) for _, sensor in drawn)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seed": 8}, "seed 7"), ({"chip_px": 48}, "chip_px 24"), ({"kept_away": ()}, "kept_away"),
     ({"sensors": 4}, "sensors 3")],
)  # fmt: skip
def test_another_plan_does_not_go_on_from_it(filled, change, named):
    with pytest.raises(ParamsError, match=f"holds work with {named}"):
        fill_pool(replace(PLAN, **change), filled, 1)


def test_a_full_disk_is_told_and_loses_nothing(filled, monkeypatch):
    whole = _bytes(filled)
    (filled / "00001.json").unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(practice_pool.np, "save", full)
        with pytest.raises(DataError, match=r"cannot write practice shard .*00001\.npy: .*No space left"):
            fill_pool(PLAN, filled, 1)
    fill_pool(PLAN, filled, 1)
    assert _bytes(filled) == whole


def test_a_damaged_shard_is_named(filled):
    (filled / "00001.json").write_text("{")
    with pytest.raises(DataError, match=r"practice shard .*00001\.npy cannot be read"):
        read_shard(filled, 1)
    (filled / "00002.npy").unlink()
    with pytest.raises(DataError, match=r"practice shard .*00002\.npy cannot be read"):
        read_shard(filled, 2)


def test_a_work_folder_knows_its_own_recipe(tmp_path):
    claim_folder(tmp_path / "w", {"a": {"b": (1, 2.5)}, "c": None})
    claim_folder(tmp_path / "w", {"c": None, "a": {"b": [1, 2.5]}})
    with pytest.raises(ParamsError, match=r"holds work with a\.b\.1 2\.5, this recipe has 2\.6"):
        claim_folder(tmp_path / "w", {"a": {"b": (1, 2.6)}, "c": None})
    (tmp_path / "w" / "made-by.json").write_text("")
    with pytest.raises(DataError, match=r"made-by\.json is damaged"):
        claim_folder(tmp_path / "w", {})


def test_a_work_folder_without_a_mark_is_taken_over(tmp_path):
    (tmp_path / "kept").write_text("work")
    claim_folder(tmp_path, {"a": 1})
    assert json.loads((tmp_path / "made-by.json").read_text()) == {"a": 1}
    assert (tmp_path / "kept").read_text() == "work"
