"""Simulated chips as raw files, with the truth in their manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sarcurate.core.airframes import airframe_named
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scene_plan import ChipRecipe, plan_chips, plan_scenes
from sarcurate.core.sensor_model import SensorModel
from sarcurate.core.simulator import render
from sarcurate.execution import track
from sarcurate.io import lineage
from sarcurate.io.raw import RawSet

LICENCE = "Apache-2.0 (simulated by sarcurate)"


@dataclass(frozen=True)
class SimulationPlan:
    """What to simulate: chips per class over passes, seen by one sensor.

    Args:
        side: ``source`` or ``target``; passes of the two differ.
        incidence_deg: lowest and highest over the passes.
        footprint_m: side of a chip on the ground.
    """

    side: str
    chips_per_class: Mapping[str, int]
    scenes: int
    incidence_deg: tuple[float, float]
    sensor: SensorModel
    footprint_m: float
    root_seed: int

    def recipe(self, chip: ChipRecipe) -> dict[str, Any]:
        """Everything that decides one chip's pixels."""
        return {
            "label": chip.label,
            "index": chip.index,
            "side": self.side,
            "sensor": asdict(self.sensor),
            "footprint_m": self.footprint_m,
            "scenes": [self.scenes, *self.incidence_deg],
            "root_seed": self.root_seed,
        }


def simulate(plan: SimulationPlan, out: Path) -> RawSet:
    """Render every chip of a plan into ``out/<class>/``."""
    scene_seed = lineage.seed_from(plan.root_seed, "scenes", plan.side)
    chips = plan_chips(plan.chips_per_class, plan_scenes(plan.scenes, plan.incidence_deg, scene_seed))
    rows = [_write(plan, chip, out) for chip in track(chips, f"simulating {plan.side}", len(chips))]
    return RawSet(out, pd.DataFrame(rows), Radiometry.SIGMA0, "simulated")


def _write(plan: SimulationPlan, chip: ChipRecipe, out: Path) -> dict[str, Any]:
    digest = lineage.recipe_sha256(plan.recipe(chip))
    seed = lineage.seed_from(digest)
    made = render(chip, airframe_named(chip.label), plan.sensor, plan.footprint_m, seed)
    path = out / chip.label / f"{chip.index:05d}.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, made.intensity)
    scene = f"{plan.side}-{chip.scene.scene_id}"
    return {
        "path": path.relative_to(out).as_posix(),
        "label": chip.label,
        "group_id": scene,
        "scene_id": scene,
        "incidence_deg": made.truth["incidence_deg"],
        "azimuth_deg": made.truth["azimuth_deg"],
        "truth_enl": made.truth["clutter_enl"],
        "truth_range_resolution_m": made.truth["range_resolution_m"],
        "truth_azimuth_resolution_m": made.truth["azimuth_resolution_m"],
        "seed": seed,
        "recipe_sha256": digest,
        "licence": LICENCE,
    }
