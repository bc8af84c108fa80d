"""A pool of simulated chips to pretrain the small base on: one shard for each random sensor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.model_space import model_space
from sarcurate.core.practice_chips import PracticeChip, fitting_objects, render_practice
from sarcurate.core.practice_sensors import draw_sensor
from sarcurate.core.sensor_model import SensorModel
from sarcurate.errors import DataError
from sarcurate.execution import run_map
from sarcurate.io import lineage
from sarcurate.io.work_folder import claim_folder

CHIPS_PER_SENSOR = 40
HEADROOM_DB = (3.0, 12.0)
_PERCENTILES = (0.1, 99.9)


@dataclass(frozen=True)
class PoolPlan:
    """What the pool holds.

    Args:
        sensors: how many random sensors, each with ``CHIPS_PER_SENSOR`` chips.
        chip_px: rows and columns of a chip.
        seed: of everything in it.
        kept_away: sensors that none of the random ones may be near.
    """

    sensors: int
    chip_px: int
    seed: int
    kept_away: tuple[SensorModel, ...]


@dataclass(frozen=True, eq=False)
class Shard:
    """Chips of one sensor in model space, float16, (n, rows, cols), and a manifest row for each."""

    chips: NDArray[np.float16]
    rows: list[dict[str, Any]]


def fill_pool(plan: PoolPlan, folder: Path, workers: int) -> None:
    """Render the shards that ``folder`` lacks; the same plan gives the same bytes in any order.

    Raises:
        ParamsError: where the folder holds the pool of another plan.
        DataError: where a shard cannot be written, such as on a full disk; whole shards stay.
    """
    claim_folder(folder, asdict(plan))
    missing = [index for index in range(plan.sensors) if not _paths(folder, index)[1].exists()]
    run_map(partial(_write_shard, plan, folder), missing, "rendering practice sensors", workers)


def read_shard(folder: Path, index: int) -> Shard:
    """The shard of one sensor.

    Raises:
        DataError: where it is missing or damaged.
    """
    chips, rows = _paths(folder, index)
    try:
        return Shard(np.load(chips, mmap_mode="r"), json.loads(rows.read_text())["chips"])
    except (OSError, ValueError) as error:
        raise DataError(
            f"practice shard {chips} cannot be read: {error}",
            fix=f"remove {rows} and run again; the shard is then rendered again",
        ) from error


def _paths(folder: Path, index: int) -> tuple[Path, Path]:
    return folder / f"{index:05d}.npy", folder / f"{index:05d}.json"


def _write_shard(plan: PoolPlan, folder: Path, index: int) -> None:
    rng = np.random.default_rng(lineage.seed_from(plan.seed, "practice sensor", index))
    band, sensor = draw_sensor(rng, plan.kept_away)
    objects = fitting_objects(sensor, plan.chip_px)
    chips = [render_practice(sensor, objects, plan.chip_px, rng) for _ in range(CHIPS_PER_SENSOR)]
    intensity = np.stack([chip.intensity for chip in chips])
    low, high = 10.0 * np.log10(np.percentile(intensity[intensity > 0], _PERCENTILES))
    space = model_space((float(low), float(high)), HEADROOM_DB)
    _save(folder, index, Shard(space.to_model(intensity).astype(np.float16), _rows(chips, band, sensor)))


def _save(folder: Path, index: int, shard: Shard) -> None:
    chips, rows = _paths(folder, index)
    part = rows.with_suffix(".part")
    try:
        np.save(chips, shard.chips)
        part.write_text(json.dumps({"chips": shard.rows}))
        # There last, and whole at once: a shard without it is rendered again.
        part.replace(rows)
    except OSError as error:
        raise DataError(
            f"cannot write practice shard {chips}: {error}",
            fix="free some space and run again; whole shards are kept",
        ) from error


def _rows(chips: Sequence[PracticeChip], band: str, sensor: SensorModel) -> list[dict[str, Any]]:
    return [
        {
            "label": chip.name,
            "band": band,
            "azimuth_spacing_m": sensor.azimuth_spacing_m,
            "range_spacing_m": sensor.range_spacing_m,
            "incidence_deg": chip.incidence_deg,
            "azimuth_deg": chip.aspect_deg if chip.name else None,
        }
        for chip in chips
    ]
