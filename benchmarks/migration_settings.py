"""What migration does to chips under other settings: distances, gaps closed, content, ghosts, seconds a chip.

Run in a workspace whose translate has run (the repository's default after `make repro`): `make bench
NAME=migration_settings`. Real source train chips are migrated anew under each variant and held against the
target's reference, as the stage score does; test chips are not read. A line a variant, the last one JSON.
Variants are named on the command line by fields of params, such as `start=resampled,mode=paper`; without any,
both modes with and without each of their terms, and both from the resampled content. The first line is what
physics makes of the same chips.
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
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.migrated import chosen_contents
from sarcurate.io.reference import NETWORK, open_reference
from sarcurate.io.sensors import load_profile
from sarcurate.models.made_scores import Judge, ScoredSet
from sarcurate.models.migrating import Migration
from sarcurate.models.reference_network import load_network
from sarcurate.params import Params, check_params
from sarcurate.stages import migrate
from sarcurate.workspace import replace_value

VARIANTS = (
    "mode=robust,speckle_weight=0.0,spectrum_weight=0.0",
    "mode=robust,spectrum_weight=0.0",
    "mode=robust,speckle_weight=0.0",
    "mode=robust",
    "mode=paper,spectrum_weight=0.0",
    "mode=paper,speckle_weight=0.0",
    "mode=paper",
    "start=resampled,mode=robust",
    "start=resampled,mode=paper",
)
PHYSICS = "physics alone"
# Distances of a set to the target's train chips, and the share of the source's that is gone
WITH_INTERVAL = ("mmd_physics", "log_psd_distance", "gap_closed_mmd_physics", "gap_closed_log_psd_distance")
TRAIN = {side: Path(f"data/real/{side}-train") for side in ("source", "target")}
TRANSLATED = Path("data/translated/physics")
REFERENCE = {side: Path(f"data/reference/{side}") for side in ("source", "target")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="*", default=VARIANTS)
    parser.add_argument("--per-class", type=int, default=8)
    asked = parser.parse_args()
    plain = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    params = check_params(plain, Path("params.yaml"))
    source, target = (open_chipset(path, splits=("train",)) for path in TRAIN.values())
    judge = judge_of(params, source, target)
    contents = [row["chip_id"] for row in chosen_contents(source, asked.per_class)]
    found = {PHYSICS: numbers(PHYSICS, physics(judge, contents), judge, source, params)}
    for variant in asked.variants:
        scored, seconds = migrated(variant, plain, asked.per_class, judge)
        found[variant] = numbers(variant, scored, judge, source, params, seconds=seconds)
    print(json.dumps(found))


def physics(judge: Judge, contents: list[str]) -> ScoredSet:
    """What translate made of the same chips."""
    made = open_chipset(TRANSLATED, splits=("train",))
    scored = judge.score(made)
    asked = {row["chip_id"] for row in made.rows() if row["parents"][0] in contents}
    rows = scored.table["chip_id"].isin(asked).to_numpy()
    return ScoredSet(scored.table[rows].reset_index(drop=True), scored.features[rows])


def migrated(variant: str, plain: Any, per_class: int, judge: Judge) -> tuple[ScoredSet, float]:
    """The chips under other settings, and seconds a chip."""
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
        scored = judge.score(open_chipset(Path(place) / "made", splits=("train",)))
    return scored, seconds / len(scored.table)


def numbers(
    name: str,
    scored: ScoredSet,
    judge: Judge,
    source: ChipSet,
    params: Params,
    seconds: float | None = None,
) -> dict[str, float | None]:
    before, reference = judge.measure(source), judge.reference
    quality = set_quality.set_quality(
        reference.train_scores,
        {"source": before.table, "made": scored.table},
        {"target": reference.features, "source": before.features, "made": scored.features},
        level=params.score.interval_level,
        draws=200,
        seed=judge.seed,
    )["sets"]["made"]
    told = {f"{key}{end}": quality[f"{key}{end}"] for key in WITH_INTERVAL for end in ("", "_low", "_high")}
    told |= {
        "median_enl": float(np.nanmedian(scored.table["enl"])),
        "median_enl_target": float(np.nanmedian(reference.train_scores["enl"])),
        "content_retention_median": float(np.nanmedian(scored.table["content_retention"])),
        "class_probability_mean": float(np.nanmean(scored.table["class_probability"])),
        "ghost_share": float((scored.table["ghost_z"] > reference.limits["ghost_z"].upper.value).mean()),
        "seconds_per_chip": seconds,
    }
    told = {key: None if value is None else round(value, 3) for key, value in told.items()}
    ranges = [f"{key} {told[key]} [{told[key + '_low']}, {told[key + '_high']}]" for key in WITH_INTERVAL]
    rest = [f"{key} {value}" for key, value in told.items() if not key.startswith(WITH_INTERVAL)]
    print(name, *ranges, *rest, sep="  ", flush=True)
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
