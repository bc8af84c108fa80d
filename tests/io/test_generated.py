"""Recipes and manifest rows of generated chips: identity from everything that decides, nothing invented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.generated import Generator, Plan, source_facts
from sarcurate.io.manifest import SCHEMA, Header
from sarcurate.io.prompts import PromptField

GENERATOR = Generator(
    root_seed=7,
    adapter_sha256="a" * 64,
    base_name="tiny",
    base_sha256="b" * 64,
    sampling={"steps": 4, "guidance": 2.0, "negative_prompt": "", "precision": "fp32"},
    model_space_db=(-30.0, 20.0),
    chip_px=(8, 6),
    model_px=(8, 6),
)


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., ChipSet]:
    """A train set of four chips, two of each class; ``changes`` is what sets the first chip apart."""

    def make(**changes: Any) -> ChipSet:
        root = tmp_path / f"source-{len(list(tmp_path.iterdir()))}"
        with ChipSetWriter(root, Header("satellite", Radiometry.SIGMA0, "train", (-25.0, 10.0))) as writer:
            for k in range(4):
                row = {
                    "chip_id": f"{k:024d}",
                    "origin": "real",
                    "label": "ab"[k // 2],
                    "group_id": f"g{k}",
                    "band": "X",
                    "polarisation": "HH",
                    "range_spacing_m": 1.0,
                    "azimuth_spacing_m": 2.0,
                    "looks_nominal": 4.0,
                    "geometry": "slant",
                    "incidence_deg": 30.0 + k + 0.4,
                    "azimuth_deg": 90.0 * k,
                    "truth_enl": 4.0,
                    "licence": "CC-BY-4.0",
                } | (changes if k == 0 else {})
                writer.add(row, np.full((8, 6), 1.0 + k, np.float32))
        return open_chipset(root, splits=("train",))

    return make


@pytest.fixture
def plan(source: Callable[..., ChipSet]) -> Plan:
    return Plan(GENERATOR, source_facts(source()), ())


def test_ids_and_seeds_come_from_the_recipe(plan: Plan) -> None:
    recipe = plan.recipe("a", 3)
    expected = lineage.recipe_sha256(
        {
            "method": "generated",
            "label": "a",
            "index": 3,
            "prompt": "SAR image, a",
            "root_seed": 7,
            "adapter_sha256": "a" * 64,
            "base_sha256": "b" * 64,
            "sampling": {"steps": 4, "guidance": 2.0, "negative_prompt": "", "precision": "fp32"},
            "model_space_db": [-30.0, 20.0],
            "chip_px": [8, 6],
            "model_px": [8, 6],
        }
    )
    assert recipe.sha256 == expected
    assert recipe.chip_id == expected[:24]
    assert recipe.seed == lineage.seed_from(expected)
    assert 0 <= recipe.seed < 2**63


def test_whatever_decides_pixels_changes_the_chip_and_the_bases_name_does_not(plan: Plan) -> None:
    usual = plan.recipe("a", 0)
    other: dict[str, Any] = {
        "root_seed": 8,
        "adapter_sha256": "c" * 64,
        "base_sha256": "c" * 64,
        "sampling": dict(GENERATOR.sampling) | {"steps": 5},
        "model_space_db": (-30.0, 21.0),
        "chip_px": (8, 8),
        "model_px": (16, 12),
    }
    assert {field.name for field in fields(Generator)} == {*other, "base_name"}
    changed = [replace(plan, generator=replace(GENERATOR, **{name: value})) for name, value in other.items()]
    ids = {usual.chip_id, *(one.recipe("a", 0).chip_id for one in changed)}
    ids |= {plan.recipe("a", 1).chip_id, plan.recipe("b", 0).chip_id, replace(usual, prompt="x").chip_id}
    assert len(ids) == 1 + len(other) + 3
    renamed = replace(plan, generator=replace(GENERATOR, base_name="other"))
    assert renamed.recipe("a", 0).chip_id == usual.chip_id


def test_a_row_tells_what_all_source_chips_share(plan: Plan) -> None:
    row = plan.row(plan.recipe("a", 3))
    recipe = plan.recipe("a", 3)
    assert row == {
        "chip_id": recipe.chip_id,
        "origin": "generated",
        "label": "a",
        "group_id": "generated-a-000003",
        "band": "X",
        "mode": None,
        "polarisation": "HH",
        "range_spacing_m": 1.0,
        "azimuth_spacing_m": 2.0,
        "looks_nominal": 4.0,
        "geometry": "slant",
        "look_direction": None,
        "orbit_direction": None,
        "incidence_deg": None,
        "azimuth_deg": None,
        "nodata_fraction": 0.0,
        "adapter_sha256": "a" * 64,
        "prompt": "SAR image, a",
        "seed": recipe.seed,
        "recipe_sha256": recipe.sha256,
        "source_path": "base tiny@bbbbbbbbbbbb, adapter aaaaaaaaaaaa",
        "licence": "derived from CC-BY-4.0; see also the licence of the base tiny",
    }
    assert set(row) <= set(SCHEMA.names)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("band", "C"),
        ("band", None),
        ("polarisation", "VV"),
        ("mode", "spotlight"),
        ("range_spacing_m", 1.5),
        ("azimuth_spacing_m", 2.5),
        ("looks_nominal", None),
        ("geometry", "ground"),
        ("look_direction", "left"),
        ("orbit_direction", "ascending"),
    ],
)
def test_what_one_source_chip_has_otherwise_is_left_open(
    source: Callable[..., ChipSet], plan: Plan, column: str, value: Any
) -> None:
    mixed = Plan(GENERATOR, source_facts(source(**{column: value})), ())
    expected = plan.row(plan.recipe("a", 0)) | {column: None}
    assert mixed.row(mixed.recipe("a", 0)) == expected


def test_prompts_tell_shared_facts_alone(source: Callable[..., ChipSet]) -> None:
    asked = (PromptField.SENSOR, PromptField.BAND, PromptField.SPACING, PromptField.POLARISATION)
    same = Plan(GENERATOR, source_facts(source()), asked)
    assert same.recipe("b", 0).prompt == "SAR image, b, satellite, X band, 2 x 1 m, HH"
    mixed = Plan(GENERATOR, source_facts(source(band="C", range_spacing_m=9.0)), asked)
    assert mixed.recipe("b", 0).prompt == "SAR image, b, satellite, HH"


def test_views_are_those_of_one_chip_of_the_class(plan: Plan) -> None:
    both = replace(plan, fields=(PromptField.INCIDENCE, PromptField.AZIMUTH))
    found = both.recipes("b", range(40))
    assert {(one.incidence_deg, one.azimuth_deg) for one in found} == {(32.0, 180.0), (33.0, 270.0)}
    first = found[0]
    words = f"SAR image, b, incidence {first.incidence_deg:.0f}, azimuth {first.azimuth_deg:.0f}"
    assert first.prompt == words
    row = both.row(first)
    assert (row["incidence_deg"], row["azimuth_deg"]) == (first.incidence_deg, first.azimuth_deg)
    assert both.recipe("b", 0) == first
    assert set(both.prompts(["b"], 40)) == {one.prompt for one in found}


def test_a_view_that_is_not_asked_for_is_not_claimed(plan: Plan) -> None:
    recipe = replace(plan, fields=(PromptField.AZIMUTH,)).recipe("a", 0)
    assert recipe.incidence_deg is None
    assert recipe.azimuth_deg in (0.0, 90.0)
    recipe = replace(plan, fields=(PromptField.INCIDENCE,)).recipe("a", 0)
    assert recipe.azimuth_deg is None
    assert recipe.incidence_deg in (30.0, 31.0)


def test_an_unknown_view_is_dropped(source: Callable[..., ChipSet]) -> None:
    facts = source_facts(source(incidence_deg=None, azimuth_deg=None))
    assert facts.views == {"a": ((None, None), (31.0, 90.0)), "b": ((32.0, 180.0), (33.0, 270.0))}
    plan = Plan(GENERATOR, facts, (PromptField.INCIDENCE, PromptField.AZIMUTH))
    assert set(plan.prompts(["a"], 40)) == {"SAR image, a", "SAR image, a, incidence 31, azimuth 90"}


def test_licences_are_told_together(source: Callable[..., ChipSet]) -> None:
    facts = source_facts(source(licence=None))
    plan = Plan(GENERATOR, facts, ())
    assert plan.row(plan.recipe("a", 0))["licence"].startswith("derived from CC-BY-4.0, unknown licence;")


def test_prompts_are_told_once(plan: Plan) -> None:
    assert plan.prompts(["b", "a"], 5) == ("SAR image, a", "SAR image, b")


def test_a_class_that_was_not_learned_is_refused(plan: Plan) -> None:
    with pytest.raises(DataError, match=r"class 'c': the source has train chips of a, b alone"):
        plan.recipe("c", 0)


def test_a_row_fits_a_chipset(plan: Plan, tmp_path: Path) -> None:
    out = tmp_path / "generated"
    with ChipSetWriter(out, Header("satellite", Radiometry.SIGMA0, "train", (-25.0, 10.0))) as writer:
        for recipe in plan.recipes("a", range(3)):
            writer.add(plan.row(recipe), np.ones((8, 6), np.float32))
    rows = list(open_chipset(out, splits=("train",)).rows())
    assert {row["seed"] for row in rows} == {recipe.seed for recipe in plan.recipes("a", range(3))}
    assert all(row["parents"] == [] and row["origin"] == "generated" for row in rows)
