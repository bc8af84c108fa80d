"""Migrated chips on paper: which contents, which style chips, the recipe that decides a chip, its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sarcurate.core.grid import SensorGrid
from sarcurate.errors import DataError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet
from sarcurate.io.generated import UNKNOWN_LICENCE
from sarcurate.io.sensors import SensorProfile

ORIGIN = "migrated"
ANY_CLASS = "any_class"
_SHORT = 12  # digits of a hash that people read
# What a migrated chip keeps of its content.
_KEPT = ("label", "group_id", "fold", "mode", "polarisation", "incidence_deg", "azimuth_deg", "scene_id")


@dataclass(frozen=True)
class StylePolicy:
    """Which real train chips of the target a content is styled after.

    Args:
        which: ``same_class`` or ``any_class``.
        references: how many for each content.
    """

    which: str
    references: int

    def draw(self, chip_id: str, label: str, target: ChipSet, root_seed: int) -> tuple[str, ...]:
        """Style chips of a content, drawn by its id alone.

        Args:
            target: opened as train chips, which the guard of :func:`open_chipset` sees to.

        Raises:
            DataError: where there are fewer than asked for.
        """
        table = target.manifest
        known = table if self.which == ANY_CLASS else table[table["label"] == label]
        ids = sorted(known["chip_id"])
        if len(ids) < self.references:
            raise DataError(
                f"styles for {chip_id}: {self.references} asked for, {target.root} has {len(ids)} "
                f"train chips{'' if self.which == ANY_CLASS else f' of class {label}'}",
                fix="lower migrate.references, or set migrate.style: any_class",
            )
        rng = np.random.default_rng(lineage.seed_from(root_seed, "style", chip_id))
        return tuple(ids[place] for place in sorted(rng.choice(len(ids), self.references, replace=False)))


@dataclass(frozen=True)
class Recipe:
    """One chip: its content, its styles, and what all chips of a run have in common.

    Args:
        content: chip_id; label: of it.
        content_pixels_sha256: of its pixels, so that a replaced content is another chip.
        style_ids: of the target's train chips.
        shared: plain values that decide the pixels of every chip of the run.
    """

    content: str
    label: str
    content_pixels_sha256: str
    style_ids: tuple[str, ...]
    shared: Mapping[str, Any]

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides the chip, known before a pixel exists."""
        own = {
            "method": ORIGIN,
            "content": self.content,
            "content_pixels_sha256": self.content_pixels_sha256,
            "style_ids": list(self.style_ids),
        }
        return lineage.recipe_sha256(dict(self.shared) | own)

    @property
    def chip_id(self) -> str:
        """Id of the chip."""
        return lineage.made_chip_id(self.sha256)

    @property
    def seed(self) -> int:
        """Seed of what is random in its start, 63 bits."""
        return lineage.seed_from(self.sha256)


def chosen_contents(contents: ChipSet, per_class: int | None) -> list[dict[str, Any]]:
    """Manifest rows of the contents to migrate: all, or so many of each class spread evenly over its ids."""
    rows = list(contents.rows())
    if per_class is None:
        return rows
    chosen = []
    for label in sorted({row["label"] for row in rows}):
        own = [row for row in rows if row["label"] == label]
        places = np.linspace(0, len(own) - 1, min(per_class, len(own))).round().astype(int)
        chosen += [own[place] for place in places]
    return sorted(chosen, key=lambda row: str(row["chip_id"]))


def manifest_row(
    recipe: Recipe,
    content: Mapping[str, Any],
    target: ChipSet,
    grid: SensorGrid,
    profile: SensorProfile,
    extractor: str,
) -> dict[str, Any]:
    """Row of a migrated chip: its content's scene and aspect, the target's sensor and grid, both licences.

    Args:
        content: its row; target: that the styles are from; extractor: name and hash, for people.
    """
    table = target.manifest
    of_styles = table["licence"][table["chip_id"].isin(recipe.style_ids)]
    styles = sorted({str(found) for found in of_styles.fillna(UNKNOWN_LICENCE)})
    licence = f"{content['licence'] or UNKNOWN_LICENCE}; styled after chips under: {', '.join(styles)}"
    return {name: content[name] for name in _KEPT} | {
        "chip_id": recipe.chip_id,
        "origin": ORIGIN,
        "band": profile.band,
        "range_spacing_m": grid.range_spacing_m,
        "azimuth_spacing_m": grid.azimuth_spacing_m,
        "looks_nominal": profile.looks_nominal,
        "nodata_fraction": 0.0,
        "parents": [recipe.content],
        "style_ids": list(recipe.style_ids),
        "adapter_sha256": content.get("adapter_sha256"),
        "prompt": content.get("prompt"),
        "seed": recipe.seed,
        "recipe_sha256": recipe.sha256,
        "source_path": extractor,
        "licence": licence,
    }


def extractor_text(name: str, sha256: str) -> str:
    """Name and hash of an extractor, as people read them."""
    return f"extractor {name}@{sha256[:_SHORT]}"
