"""generate: chips with their lineage, resumed by missing ids, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.errors import DataError, LeakageError, ParamsError
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.models import drawing
from sarcurate.models.base import resolve_base
from sarcurate.models.lora import adapter_sha256
from sarcurate.stages import generate
from sarcurate.stages.tune import base_ref

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@dataclass(frozen=True)
class Bench:
    """A place to generate in, from the tiny adapter."""

    make_params: Callable[..., Any]
    inputs: generate.Inputs
    root: Path

    def draw(self, name: str, settings: dict[str, Any] | None = None, cache: str = "cache") -> ChipSet:
        folder = self.root / name
        params = self.make_params(settings)
        generate.run(params, self.inputs, folder / "chips", folder / "yield.json", self.root / cache)
        return open_chipset(folder / "chips", splits=("train",))

    def numbers(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / name / "yield.json").read_text())
        return found


@pytest.fixture(scope="module")
def inputs(tiny_sets: Any, tiny_judged: Any) -> generate.Inputs:
    return generate.Inputs(
        tiny_judged.validated(),
        tiny_sets.parts()["source-train"],
        tiny_judged.references()["source"],
        tiny_judged.tuned().adapter,
    )


@pytest.fixture
def bench(inputs: generate.Inputs, tiny_params: Callable[..., Any], tmp_path: Path) -> Bench:
    return Bench(tiny_params, inputs, tmp_path)


@pytest.fixture
def drawn(tiny_judged: Any) -> ChipSet:
    """What the default settings of the tests draw."""
    return open_chipset(tiny_judged.generated(), splits=("train",))


@pytest.fixture
def count_draws(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the chips that the sampler is asked for."""
    asked: list[str] = []
    make = drawing._sampler

    def counting(*arguments: Any) -> Any:
        sampler = make(*arguments)

        def draw(recipes: Any) -> Any:
            asked.extend(recipe.chip_id for recipe in recipes)
            return sampler(recipes)

        return draw

    monkeypatch.setattr(drawing, "_sampler", counting)
    return asked


# --- what comes out


def test_every_chip_tells_what_it_was_made_from(
    drawn: ChipSet, inputs: generate.Inputs, tiny_params: Callable[..., Any]
) -> None:
    base = resolve_base(base_ref(tiny_params().tune))
    rows = list(drawn.rows())
    assert [row["label"] for row in rows].count("B-52") == [row["label"] for row in rows].count("F-16") == 2
    for row in rows:
        assert row["origin"] == "generated"
        assert row["prompt"] == f"SAR image, {row['label']}"
        assert row["adapter_sha256"] == adapter_sha256(inputs.adapter)
        assert f"base {base.name}@{base.sha256[:12]}" in row["source_path"]
        assert row["chip_id"] == row["recipe_sha256"][:24]
    assert len({row["seed"] for row in rows}) == len(rows)
    assert len({row["pixels_sha256"] for row in rows}) == len(rows)


def test_chips_are_as_the_sources_chips_are(drawn: ChipSet, inputs: generate.Inputs) -> None:
    source = open_chipset(inputs.source_train, splits=("train",))
    assert drawn.header == replace(source.header, split="train")
    shapes = {
        chips.root: {chips.intensity(i).shape for i in chips.manifest["chip_id"]} for chips in (drawn, source)
    }
    assert shapes[drawn.root] == shapes[source.root]
    for row in drawn.rows():
        image = drawn.intensity(row["chip_id"])
        assert np.isfinite(image).all()
        assert (image >= 0).all()
        assert image.std() > 0


def test_the_yield_is_told_per_class(tiny_judged: Any) -> None:
    numbers = json.loads(tiny_judged.generation().read_text())
    text = json.dumps(numbers)
    assert "B-52" in text
    assert "F-16" in text


# --- again


def test_the_same_bytes_again(bench: Bench, drawn: ChipSet) -> None:
    again = bench.draw("again")
    assert again.revision == drawn.revision
    assert again.manifest["pixels_sha256"].tolist() == drawn.manifest["pixels_sha256"].tolist()


def test_only_missing_chips_are_drawn(bench: Bench, count_draws: list[str]) -> None:
    first = bench.draw("first")
    assert sorted(count_draws) == sorted(first.manifest["chip_id"])
    count_draws.clear()
    assert bench.draw("again").revision == first.revision
    assert count_draws == []
    more = bench.draw("more", {"generate.per_class": 3, "generate.max_tries_per_class": 3})
    assert set(first.manifest["chip_id"]) < set(more.manifest["chip_id"])
    assert sorted(count_draws) == sorted(set(more.manifest["chip_id"]) - set(first.manifest["chip_id"]))


def test_other_guidance_makes_other_chips(bench: Bench, drawn: ChipSet) -> None:
    other = bench.draw("other", {"generate.guidance": 1.0})
    assert not set(other.manifest["chip_id"]) & set(drawn.manifest["chip_id"])
    assert not set(other.manifest["pixels_sha256"]) & set(drawn.manifest["pixels_sha256"])


def test_a_class_of_which_there_is_one_chip(bench: Bench) -> None:
    one = bench.draw("one", {"generate.per_class": 1, "generate.max_tries_per_class": 1})
    assert sorted(one.manifest["label"]) == ["B-52", "F-16"]


# --- gates


def _gate(low: float) -> dict[str, Any]:
    return {"measure": "mean_db", "side": "lower", "low": low, "high": None, "if_missing": "keep"}


def test_chips_are_drawn_until_enough_pass(bench: Bench, drawn: ChipSet) -> None:
    kept = bench.draw("kept", {"generate.gates": [_gate(-200.0)]})
    assert len(kept.manifest) == len(drawn.manifest)


def test_no_chip_that_passes_is_an_error_that_names_the_gate(bench: Bench) -> None:
    with pytest.raises(DataError, match=r"mean_db \(4\)"):
        bench.draw("none", {"generate.gates": [_gate(200.0)]})
    assert not (bench.root / "none" / "chips").exists()


# --- refused


def test_an_adapter_of_other_chips_is_refused(bench: Bench) -> None:
    folder = Path(shutil.copytree(bench.inputs.adapter, bench.root / "adapter"))
    side = json.loads((folder / "adapter.json").read_text())
    (folder / "adapter.json").write_text(json.dumps(side | {"train_revision": 64 * "0"}))
    wrong = Bench(bench.make_params, replace(bench.inputs, adapter=folder), bench.root)
    with pytest.raises(DataError, match="was tuned on revision 0000000000000000"):
        wrong.draw("out")


def test_an_adapter_of_another_base_is_refused(bench: Bench) -> None:
    folder = Path(shutil.copytree(bench.inputs.adapter, bench.root / "adapter"))
    side = json.loads((folder / "adapter.json").read_text())
    (folder / "adapter.json").write_text(json.dumps(side | {"base_sha256": 64 * "0", "base_name": "other"}))
    wrong = Bench(bench.make_params, replace(bench.inputs, adapter=folder), bench.root)
    with pytest.raises(DataError, match="other"):
        wrong.draw("out")


def test_no_adapter_is_refused(bench: Bench) -> None:
    wrong = Bench(bench.make_params, replace(bench.inputs, adapter=bench.root / "missing"), bench.root)
    with pytest.raises(DataError, match=r"adapter\.json"):
        wrong.draw("out")


def test_a_class_that_was_not_taught_is_refused(bench: Bench) -> None:
    folder = Path(shutil.copytree(bench.inputs.adapter, bench.root / "adapter"))
    side = json.loads((folder / "adapter.json").read_text())
    (folder / "adapter.json").write_text(json.dumps(side | {"classes": ["B-52"]}))
    wrong = Bench(bench.make_params, replace(bench.inputs, adapter=folder), bench.root)
    with pytest.raises(DataError, match=r"was taught B-52; asked for F-16"):
        wrong.draw("out")


def test_test_chips_are_refused(bench: Bench, tiny_sets: Any) -> None:
    wrong = replace(bench.inputs, source_train=tiny_sets.parts()["source-test"])
    with pytest.raises(LeakageError):
        Bench(bench.make_params, wrong, bench.root).draw("out")


def test_no_chips_per_class_never_reach_the_stage(bench: Bench) -> None:
    with pytest.raises(ParamsError, match="per_class"):
        bench.make_params({"generate.per_class": 0})
