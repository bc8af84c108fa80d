"""Generated chips on paper: recipes that decide them, and their rows in a manifest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sarcurate.errors import DataError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet
from sarcurate.io.prompts import PromptField, prompt_of

ORIGIN = "generated"
# What a made chip shares with the chips it was learned from, where all of them agree.
SHARED = (
    "sensor",
    "band",
    "mode",
    "polarisation",
    "range_spacing_m",
    "azimuth_spacing_m",
    "looks_nominal",
    "geometry",
    "look_direction",
    "orbit_direction",
)
UNKNOWN_LICENCE = "unknown licence"
_SHORT = 12  # digits of a hash that people read

View = tuple[float | None, float | None]


@dataclass(frozen=True)
class Generator:
    """What all chips of a run have in common, as far as it decides their pixels.

    Args:
        root_seed: of the data set.
        adapter_sha256: of the adapter's folder.
        base_name: as people know the base; base_sha256: of its weights and settings.
        sampling: steps, guidance, negative prompt and precision.
        model_space_db: levels that stand for -1 and 1.
        chip_px: (rows, cols) of a chip; model_px: the same where it is drawn, before resampling.
    """

    root_seed: int
    adapter_sha256: str
    base_name: str
    base_sha256: str
    sampling: Mapping[str, Any]
    model_space_db: tuple[float, float]
    chip_px: tuple[int, int]
    model_px: tuple[int, int]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """As plain data; the base's name is left out, as a renamed base draws the same chips."""
        return {
            "method": ORIGIN,
            "root_seed": self.root_seed,
            "adapter_sha256": self.adapter_sha256,
            "base_sha256": self.base_sha256,
            "sampling": dict(self.sampling),
            "model_space_db": list(self.model_space_db),
            "chip_px": list(self.chip_px),
            "model_px": list(self.model_px),
        }


@dataclass(frozen=True)
class Recipe:
    """One chip: its class, its number among those of its class, its prompt, and who draws it.

    Args:
        incidence_deg, azimuth_deg: what the prompt asks for; None where it does not.
    """

    label: str
    index: int
    prompt: str
    incidence_deg: float | None
    azimuth_deg: float | None
    generator: Generator

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides the chip, known before a pixel exists."""
        own = {"label": self.label, "index": self.index, "prompt": self.prompt}
        return lineage.recipe_sha256(self.generator.facts | own)

    @property
    def chip_id(self) -> str:
        """Id of the chip."""
        return lineage.made_chip_id(self.sha256)

    @property
    def seed(self) -> int:
        """Seed of the chip's noise, 63 bits."""
        return lineage.seed_from(self.sha256)


@dataclass(frozen=True)
class SourceFacts:
    """What the chips that a generator learned from have in common.

    Args:
        shared: columns of ``SHARED`` whose value is the same in all chips, None for the others.
        views: by class, (incidence_deg, azimuth_deg) of its chips, whole degrees, None where unknown.
        licences: of the chips, sorted.
    """

    shared: Mapping[str, Any]
    views: Mapping[str, tuple[View, ...]]
    licences: tuple[str, ...]


def source_facts(chips: ChipSet) -> SourceFacts:
    """The facts of a source's train chips; what they disagree on is dropped, never invented."""
    rows = list(chips.rows())
    views: dict[str, list[View]] = {}
    for row in rows:
        views.setdefault(row["label"], []).append((_whole(row["incidence_deg"]), _whole(row["azimuth_deg"])))
    return SourceFacts(
        {name: _only([row[name] for row in rows]) for name in SHARED},
        {label: tuple(found) for label, found in sorted(views.items())},
        tuple(sorted({row["licence"] or UNKNOWN_LICENCE for row in rows})),
    )


@dataclass(frozen=True)
class Plan:
    """Everything about the chips of a run but their number."""

    generator: Generator
    source: SourceFacts
    fields: tuple[PromptField, ...]

    def recipe(self, label: str, index: int) -> Recipe:
        """Recipe of one chip.

        Asked for incidence or azimuth, the prompt takes both from one train chip of the class, by chance.

        Raises:
            DataError: for a class of which there is no train chip.
        """
        incidence_deg, azimuth_deg = self._view(label, index)
        told = {**self.source.shared, "incidence_deg": incidence_deg, "azimuth_deg": azimuth_deg}
        prompt = prompt_of(label, told, self.fields)
        return Recipe(label, index, prompt, incidence_deg, azimuth_deg, self.generator)

    def recipes(self, label: str, indices: Sequence[int]) -> list[Recipe]:
        """Recipes of some chips of a class."""
        return [self.recipe(label, index) for index in indices]

    def prompts(self, classes: Sequence[str], per_class: int) -> tuple[str, ...]:
        """All prompts of the first chips of every class, each once, sorted."""
        return tuple(sorted({self.recipe(label, i).prompt for label in classes for i in range(per_class)}))

    def row(self, recipe: Recipe) -> dict[str, Any]:
        """Row of a chip's manifest; a group of its own, as it shows no ground that another chip shows."""
        generator = recipe.generator
        shared = {name: value for name, value in self.source.shared.items() if name != "sensor"}
        return shared | {
            "chip_id": recipe.chip_id,
            "origin": ORIGIN,
            "label": recipe.label,
            "group_id": f"{ORIGIN}-{recipe.label}-{recipe.index:06d}",
            "incidence_deg": recipe.incidence_deg,
            "azimuth_deg": recipe.azimuth_deg,
            "nodata_fraction": 0.0,
            "adapter_sha256": generator.adapter_sha256,
            "prompt": recipe.prompt,
            "seed": recipe.seed,
            "recipe_sha256": recipe.sha256,
            "source_path": f"base {generator.base_name}@{generator.base_sha256[:_SHORT]}, "
            f"adapter {generator.adapter_sha256[:_SHORT]}",
            "licence": f"derived from {', '.join(self.source.licences)}; "
            f"see also the licence of the base {generator.base_name}",
        }

    def _view(self, label: str, index: int) -> View:
        if label not in self.source.views:
            raise DataError(
                f"generation of class {label!r}: the source has train chips of "
                f"{', '.join(self.source.views)} alone",
                fix="name classes that the adapter was trained on",
            )
        asked = (PromptField.INCIDENCE in self.fields, PromptField.AZIMUTH in self.fields)
        if not any(asked):
            return None, None
        views = self.source.views[label]
        seed = lineage.seed_from(self.generator.root_seed, "view", label, index)
        incidence_deg, azimuth_deg = views[int(np.random.default_rng(seed).integers(len(views)))]
        return incidence_deg if asked[0] else None, azimuth_deg if asked[1] else None


def _whole(value: Any) -> float | None:
    """An angle in whole degrees, as prompts tell it."""
    return None if value is None or not math.isfinite(value) else float(round(value))


def _only(values: Sequence[Any]) -> Any:
    return values[0] if len(set(values)) == 1 else None
