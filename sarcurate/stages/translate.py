"""translate: source chips to the target sensor by the methods that need no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.core import translation
from sarcurate.core.radiometry import from_intensity
from sarcurate.execution import track
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.pair_fit import PairFit, fit_pair
from sarcurate.io.sensors import load_profile
from sarcurate.params import Params

METHODS = ("physics", "psd")


def run(params: Params, source_train: Path, target_train: Path, outputs: Mapping[str, Path]) -> list[str]:
    """Translate every source train chip by each method (``physics``, ``psd``) into its own ChipSet."""
    source = open_chipset(source_train, splits=("train",))
    target = open_chipset(target_train, splits=("train",))
    fitted = fit_pair(
        source,
        target,
        load_profile(params.dataset.source.profile),
        load_profile(params.dataset.target.profile),
        same_pixels=params.translate.same_pixels,
        seed=lineage.seed_from(params.dataset.root_seed, "translate", "fit"),
    )
    said = [
        f"ENL of homogeneous windows: source {fitted.source.moved_enl:.2f} on the target's grid, "
        f"target {fitted.target.enl:.2f}; speckle of {fitted.source.added_looks:.2f} looks is added"
    ]
    for method, out in outputs.items():
        _translate(params, method, source, fitted, out)
        said.append(f"{method}: {len(source.manifest)} chips")
    return said


def _translate(params: Params, method: str, source: ChipSet, fitted: PairFit, out: Path) -> None:
    rows = list(source.rows())
    with ChipSetWriter(out, replace(fitted.like.header, split="train")) as writer:
        for row in track(rows, f"translating ({method})", len(rows)):
            recipe = {
                "method": method,
                "parent": row["chip_id"],
                "fitted_on": list(fitted.fitted_on),
                "grids": [asdict(fitted.source.grid), asdict(fitted.target.grid)],
                "same_pixels": params.translate.same_pixels,
                "root_seed": params.dataset.root_seed,
            }
            digest = lineage.recipe_sha256(recipe)
            seed = lineage.seed_from(digest)
            chip = _apply(method, source.intensity(row["chip_id"]), fitted, seed)
            pixels = from_intensity(chip, fitted.like.header.radiometry)
            writer.add(_describe(row, digest, seed, fitted), pixels)


def _apply(method: str, chip: NDArray[np.float32], fitted: PairFit, seed: int) -> NDArray[np.float32]:
    if method == "physics":
        return translation.physics(chip, fitted.source, fitted.target, np.random.default_rng(seed))
    return translation.psd(chip, fitted.source, fitted.target)


def _describe(row: Mapping[str, Any], digest: str, seed: int, fitted: PairFit) -> dict[str, Any]:
    """The parent's row, with what the translation changed."""
    kept = (
        "label",
        "group_id",
        "fold",
        "mode",
        "polarisation",
        "incidence_deg",
        "azimuth_deg",
        "scene_id",
        "licence",
    )
    return {name: row[name] for name in kept} | {
        "chip_id": lineage.made_chip_id(digest),
        "origin": "translated",
        "band": fitted.profile.band,
        "range_spacing_m": fitted.target.grid.range_spacing_m,
        "azimuth_spacing_m": fitted.target.grid.azimuth_spacing_m,
        "looks_nominal": fitted.profile.looks_nominal,
        "nodata_fraction": 0.0,
        "parents": [row["chip_id"]],
        "seed": seed,
        "recipe_sha256": digest,
    }
