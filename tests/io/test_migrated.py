"""Migrated chips on paper: styles by the chip's id alone, ids from everything that decides, rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.grid import SensorGrid
from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, LeakageError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.manifest import SCHEMA, Header
from sarcurate.io.migrated import (
    Recipe,
    StylePolicy,
    chosen_contents,
    extractor_text,
    manifest_row,
)
from sarcurate.io.sensors import load_profile

ONE = StylePolicy("same_class", 1)
SHARED: Mapping[str, Any] = {"extractor_sha256": "e" * 64, "layers": ["up"], "settings": {"mode": "robust"}}
RECIPE = Recipe("c" * 24, "a", "d" * 64, ("s" * 24, "t" * 24), SHARED)


def row_of(chip: int, label: str) -> dict[str, Any]:
    return {
        "chip_id": f"{chip:024d}",
        "origin": "real",
        "label": label,
        "group_id": f"g{chip}",
        "fold": chip % 2,
        "band": "X",
        "mode": "spotlight",
        "polarisation": "HH",
        "range_spacing_m": 1.0,
        "azimuth_spacing_m": 2.0,
        "looks_nominal": 4.0,
        "geometry": "slant",
        "incidence_deg": 30.0 + chip,
        "azimuth_deg": 10.0 * chip,
        "scene_id": f"scene-{chip}",
        "truth_enl": 4.0,
        "licence": "CC-BY-4.0",
    }


def chipset(root: Path, labels: Mapping[int, str], split: str = "train") -> Path:
    header = Header("satellite", Radiometry.SIGMA0, split, (-25.0, 10.0))
    with ChipSetWriter(root, header) as writer:
        for chip, label in labels.items():
            writer.add(row_of(chip, label), np.full((4, 4), 1.0 + chip, np.float32))
    return root


@pytest.fixture
def target(tmp_path: Path) -> Callable[..., ChipSet]:
    def make(**labels: str) -> ChipSet:
        """``target(a="0123", b="45")``: chips of each class by their digits."""
        root = tmp_path / f"target-{len(list(tmp_path.iterdir()))}"
        chips = {int(digit): label for label, digits in labels.items() for digit in digits}
        return open_chipset(chipset(root, chips), splits=("train",))

    return make


def digits(styles: tuple[str, ...]) -> str:
    return "".join(str(int(style)) for style in styles)


# --- styles


def test_styles_are_of_the_contents_class(target: Callable[..., ChipSet]) -> None:
    chips = target(a="0246", b="1357")
    for label, own in (("a", set("0246")), ("b", set("1357"))):
        drawn = [ONE.draw(f"content-{k}", label, chips, 7) for k in range(60)]
        assert {digits(one) for one in drawn} == own
    everything = [StylePolicy("any_class", 1).draw(f"content-{k}", "a", chips, 7) for k in range(120)]
    assert {digits(one) for one in everything} == set("01234567")


def test_styles_of_a_content_are_different_chips_in_order(target: Callable[..., ChipSet]) -> None:
    chips = target(a="02468", b="13")
    for k in range(20):
        drawn = digits(StylePolicy("same_class", 3).draw(f"content-{k}", "a", chips, 7))
        assert len(set(drawn)) == 3
        assert list(drawn) == sorted(drawn)
    assert digits(StylePolicy("same_class", 5).draw("any", "a", chips, 7)) == "02468"


def test_styles_follow_from_the_contents_id_and_the_seed_alone(target: Callable[..., ChipSet]) -> None:
    chips = target(a="01234567")
    wanted = {k: ONE.draw(f"content-{k}", "a", chips, 7) for k in range(30)}
    again = target(a="76543210", b="89")  # chips of another class and another order of writing
    for k in reversed(range(30)):
        assert ONE.draw(f"content-{k}", "a", again, 7) == wanted[k]
    assert {k: ONE.draw(f"content-{k}", "a", chips, 8) for k in range(30)} != wanted


def test_every_style_is_as_likely(target: Callable[..., ChipSet]) -> None:
    """Counts within 4.5 deviations of the binomial law."""
    chips, n = target(a="01234567"), 1200
    drawn = [digits(ONE.draw(f"content-{k}", "a", chips, 7)) for k in range(n)]
    for style in "01234567":
        assert abs(drawn.count(style) - n / 8) < 4.5 * np.sqrt(n / 8 * 7 / 8)


@pytest.mark.parametrize(
    ("policy", "label", "said"),
    [
        (StylePolicy("same_class", 3), "b", "3 asked for, .* has 2 train chips of class b"),
        (StylePolicy("same_class", 1), "zeppelin", "1 asked for, .* has 0 train chips of class zeppelin"),
        (StylePolicy("any_class", 7), "b", "7 asked for, .* has 6 train chips$"),
    ],
)
def test_too_few_styles_are_refused(
    policy: StylePolicy, label: str, said: str, target: Callable[..., ChipSet]
) -> None:
    with pytest.raises(DataError, match=rf"(?m)styles for content-9: {said}") as caught:
        policy.draw("content-9", label, target(a="0124", b="35"), 7)
    assert "migrate.references" in caught.value.fix


def test_a_test_set_is_not_opened_for_styles(tmp_path: Path) -> None:
    root = chipset(tmp_path / "target-test", {0: "a"}, split="test")
    with pytest.raises(LeakageError, match=r"holds \['test'\] chips"):
        open_chipset(root, splits=("train",))


# --- recipes


def test_ids_and_seeds_come_from_the_recipe() -> None:
    expected = lineage.recipe_sha256(
        {
            **SHARED,
            "method": "migrated",
            "content": "c" * 24,
            "content_pixels_sha256": "d" * 64,
            "style_ids": ["s" * 24, "t" * 24],
        }
    )
    assert RECIPE.sha256 == expected
    assert RECIPE.chip_id == expected[:24]
    assert RECIPE.seed == lineage.seed_from(expected)
    assert 0 <= RECIPE.seed < 2**63


def test_whatever_decides_pixels_changes_the_chip() -> None:
    changed = [
        replace(RECIPE, content="x" * 24),
        replace(RECIPE, content_pixels_sha256="x" * 64),
        replace(RECIPE, style_ids=("s" * 24,)),
        replace(RECIPE, style_ids=("t" * 24, "s" * 24)),
        replace(RECIPE, shared=dict(SHARED) | {"layers": ["down"]}),
        replace(RECIPE, shared=dict(SHARED) | {"settings": {"mode": "paper"}}),
        replace(RECIPE, shared=dict(SHARED) | {"model_px": None}),
    ]
    assert len({one.chip_id for one in (RECIPE, *changed)}) == 1 + len(changed)
    assert len({one.seed for one in (RECIPE, *changed)}) == 1 + len(changed)


# --- contents


class Rows:
    """All that is read of a set of contents."""

    def __init__(self, labels: list[str]) -> None:
        self._rows = [{"chip_id": f"{k:03d}", "label": label} for k, label in enumerate(labels)]

    def rows(self) -> list[dict[str, str]]:
        return self._rows


@given(
    labels=st.lists(st.sampled_from("abc"), min_size=1, max_size=40),
    per_class=st.one_of(st.none(), st.integers(1, 12)),
)
def test_contents_are_spread_evenly_over_each_class(labels: list[str], per_class: int | None) -> None:
    contents: Any = Rows(labels)
    chosen = [row["chip_id"] for row in chosen_contents(contents, per_class)]
    assert chosen == sorted(set(chosen))
    for label in set(labels):
        own = [row["chip_id"] for row in contents.rows() if row["label"] == label]
        wanted = len(own) if per_class is None else min(per_class, len(own))
        places = [own.index(chip_id) for chip_id in chosen if chip_id in own]
        assert len(places) == wanted
        assert places[0] == 0
        if wanted > 1:
            assert places[-1] == len(own) - 1
            steps = np.diff(places)
            assert steps.max() - steps.min() <= 2  # rounding alone


# --- rows


GRID = SensorGrid(3.0, 2.5, 4.0, 3.5)
PROFILE = load_profile("fucheng1-sim")


def written(root: Path, **changes: Any) -> dict[str, Any]:
    """A content's row as a set gives it, with every column."""
    with ChipSetWriter(root, Header("satellite", Radiometry.SIGMA0, "train", (-25.0, 10.0))) as writer:
        writer.add(row_of(3, "a") | changes, np.ones((4, 4), np.float32))
    return next(open_chipset(root, splits=("train",)).rows())


def styles(root: Path) -> ChipSet:
    """The target's set with the recipe's styles, one of an unknown licence."""
    header = Header("satellite", Radiometry.SIGMA0, "train", (-25.0, 10.0))
    with ChipSetWriter(root / "styles", header) as writer:
        for place, style in enumerate(RECIPE.style_ids):
            row = row_of(place, "a") | {"chip_id": style, "licence": None if place else "CC-BY-4.0"}
            writer.add(row, np.full((4, 4), place + 1, np.float32))
    return open_chipset(root / "styles", splits=("train",))


def test_a_row_has_the_contents_scene_and_the_targets_sensor_and_grid(tmp_path: Path) -> None:
    content = written(tmp_path / "source")
    recipe = replace(RECIPE, content=content["chip_id"])
    row = manifest_row(recipe, content, styles(tmp_path), GRID, PROFILE, extractor_text("tiny", "f" * 64))
    assert row == {
        "chip_id": recipe.chip_id,
        "origin": "migrated",
        "label": "a",
        "group_id": "g3",
        "fold": 1,
        "scene_id": "scene-3",
        "incidence_deg": 33.0,
        "azimuth_deg": 30.0,
        "polarisation": "HH",
        "mode": "spotlight",
        "band": "C",
        "azimuth_spacing_m": 3.0,
        "range_spacing_m": 2.5,
        "looks_nominal": PROFILE.looks_nominal,
        "nodata_fraction": 0.0,
        "parents": [content["chip_id"]],
        "style_ids": ["s" * 24, "t" * 24],
        "adapter_sha256": None,
        "prompt": None,
        "seed": recipe.seed,
        "recipe_sha256": recipe.sha256,
        "source_path": "extractor tiny@ffffffffffff",
        "licence": "CC-BY-4.0; styled after chips under: CC-BY-4.0, unknown licence",
    }
    assert set(row) <= set(SCHEMA.names)


def test_a_generated_content_keeps_its_prompt_and_adapter(tmp_path: Path) -> None:
    told = {"origin": "generated", "prompt": "SAR image, a", "adapter_sha256": "9" * 64}
    row = manifest_row(
        RECIPE, written(tmp_path / "generated", **told), styles(tmp_path), GRID, PROFILE, "extractor"
    )
    assert row["origin"] == "migrated"
    assert (row["prompt"], row["adapter_sha256"]) == ("SAR image, a", "9" * 64)


def test_a_row_fits_a_chipset(tmp_path: Path) -> None:
    content = written(tmp_path / "source")
    row = manifest_row(RECIPE, content, styles(tmp_path), GRID, PROFILE, "extractor")
    header = Header("fucheng1-sim", Radiometry.SIGMA0, "train", (-25.0, 10.0))
    with ChipSetWriter(tmp_path / "migrated", header) as writer:
        writer.add(row, np.ones((4, 4), np.float32))
    (found,) = open_chipset(tmp_path / "migrated", splits=("train",)).rows()
    assert {name: found[name] for name in row} == row
    assert found["sensor"] == "fucheng1-sim"
