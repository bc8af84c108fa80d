"""What migration does to chips under other settings: gaps closed, content kept, ghosts, seconds a chip.

Run in a workspace whose reference has run (the repository's default after `make repro`): `make bench
NAME=migration_settings`. Real source train chips are migrated anew under each variant and held against the
target's reference, as the stage score does; test chips are not read. A line a variant, the last one JSON.
Variants are named on the command line by fields of params, such as `start=resampled,mode=paper`.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from sarcurate.execution import cpu_count
from sarcurate.io import lineage, set_quality
from sarcurate.io.chip_grid import ParentsOnGrid, chip_grid
from sarcurate.io.chipset import open_chipset
from sarcurate.io.reference import NETWORK, open_reference
from sarcurate.io.sensors import load_profile
from sarcurate.models.made_scores import Judge
from sarcurate.models.migrating import Migration
from sarcurate.models.reference_network import load_network
from sarcurate.params import Params, check_params
from sarcurate.stages import migrate
from sarcurate.workspace import replace_value

VARIANTS = (
    "start=resampled,mode=robust",
    "start=resampled,mode=paper",
    "start=resampled,mode=robust,speckle_weight=0.0,spectrum_weight=0.0",
    "start=physics,mode=robust",
    "start=physics,mode=robust,speckle_weight=0.0,spectrum_weight=0.0",
    "start=physics,mode=paper",
)
TRAIN = {side: Path(f"data/real/{side}-train") for side in ("source", "target")}
REFERENCE = {side: Path(f"data/reference/{side}") for side in ("source", "target")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="*", default=VARIANTS)
    parser.add_argument("--per-class", type=int, default=8)
    asked = parser.parse_args()
    plain = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    found = {variant: measured(variant, plain, asked.per_class) for variant in asked.variants}
    print(json.dumps(found))


def measured(variant: str, plain: Any, per_class: int) -> dict[str, float]:
    data = YAML(typ="safe", pure=True).load(json.dumps(plain))
    for pair in variant.split(","):
        name, _, value = pair.partition("=")
        replace_value(data, f"migrate.{name}", YAML(typ="safe", pure=True).load(value))
    params = check_params(data, Path("params.yaml"))
    source, target = (open_chipset(path, splits=("train",)) for path in TRAIN.values())
    inputs = migrate.Inputs(Path(), TRAIN["source"], TRAIN["target"], Path(), *REFERENCE.values())
    with tempfile.TemporaryDirectory() as place:
        migration = Migration(migrate.migration_job(params, source, target, inputs), Path(place) / "cache")
        start = time.perf_counter()
        migration.run(source, per_class, variant, Path(place) / "made")
        seconds = time.perf_counter() - start
        made = open_chipset(Path(place) / "made", splits=("train",))
        judge = judge_of(params, source, target)
        scored = judge.score(made)
        quality = set_quality.set_quality(
            judge.reference.train_scores,
            {"source": judge.measure(source).table, "made": scored.table},
            {"target": judge.reference.features, "source": judge.measure(source).features}
            | {"made": scored.features},
            level=params.score.interval_level,
            draws=200,
            seed=judge.seed,
        )
    numbers, table = quality["sets"]["made"], scored.table
    ghosts = table["ghost_z"] > judge.reference.limits["ghost_z"].upper.value
    told = {
        "gap_closed_mmd_physics": numbers["gap_closed_mmd_physics"],
        "gap_closed_log_psd": numbers["gap_closed_log_psd_distance"],
        "median_enl": float(np.nanmedian(table["enl"])),
        "median_enl_target": float(np.nanmedian(judge.reference.train_scores["enl"])),
        "content_retention_median": float(np.nanmedian(table["content_retention"])),
        "class_probability_mean": float(np.nanmean(table["class_probability"])),
        "ghost_share": float(ghosts.mean()),
        "seconds_per_chip": seconds / len(made.manifest),
    }
    told = {name: round(value, 3) for name, value in told.items()}
    print(variant, *(f"{name} {value}" for name, value in told.items()), sep="  ", flush=True)
    return told


def judge_of(params: Params, source: Any, target: Any) -> Judge:
    profiles = [load_profile(side.profile) for side in (params.dataset.source, params.dataset.target)]
    grids = chip_grid(source, profiles[0]), chip_grid(target, profiles[1])
    return Judge(
        reference=open_reference(REFERENCE["target"]),
        network=load_network(REFERENCE["target"] / NETWORK),
        profile=profiles[1],
        parents=ParentsOnGrid([source], grids, params.translate.same_pixels),
        styles=target,
        null_references=params.reference.null_references,
        seed=lineage.seed_from(params.dataset.root_seed, "score"),
        workers=cpu_count(),
    )


if __name__ == "__main__":
    main()
