"""Generation with a draw that needs no network: quotas, gates, resumes, and the set that comes out."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sarcurate.core.model_space import ModelSpace
from sarcurate.core.radiometry import Radiometry
from sarcurate.core.scorecard import COLUMNS
from sarcurate.errors import DataError, ParamsError
from sarcurate.io import scoring
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.gates import Gate
from sarcurate.io.generated import Generator, Plan, Recipe, source_facts
from sarcurate.io.manifest import Header
from sarcurate.io.reference import NETWORK, open_reference
from sarcurate.io.sensors import load_profile
from sarcurate.io.work_cache import WorkCache
from sarcurate.models import generation
from sarcurate.models.generation import Maker, Quota, generate, write_generated
from sarcurate.models.made_scores import Judge
from sarcurate.models.reference_network import load_network, outputs
from sarcurate.models.source_judge import AGAINST_REFERENCE, SourceJudge

CHIP_PX = (24, 32)
SPACE = ModelSpace(-40.0, 30.0)
CLASSES = ("B-52", "F-16")
LOUD = Gate(
    "mean_db", "upper", None, 10.0, "keep"
)  # own limit: chips of 15 dB break it, those of 0 dB do not
ALL = Quota(per_class=5, until_pass=False, max_tries_per_class=0)


@dataclass
class FakeDraw:
    """Speckle from each recipe's own seed at 0 dB; at 15 dB where ``loud`` says so of the index."""

    loud: Callable[[int], bool] = lambda index: False
    batches: list[list[Recipe]] = field(default_factory=list)
    dies_at: int | None = None

    def __call__(self, recipes: Sequence[Recipe]) -> np.ndarray:
        if len(self.batches) == self.dies_at:
            raise KeyboardInterrupt
        self.batches.append(list(recipes))
        chips = []
        for recipe in recipes:
            speckle = np.random.default_rng(recipe.seed).gamma(3.0, 1 / 3.0, CHIP_PX)
            chips.append(speckle * (10**1.5 if self.loud(recipe.index) else 1.0))
        return np.array(chips, dtype=np.float32)

    def indices(self) -> list[list[int]]:
        return [[recipe.index for recipe in batch] for batch in self.batches]


@pytest.fixture(scope="module")
def source(tiny_sets: Any) -> ChipSet:
    return open_chipset(tiny_sets.parts()["source-train"], splits=("train",))


@pytest.fixture(scope="module")
def plan(source: ChipSet) -> Plan:
    generator = Generator(7, "a" * 64, "tiny", "b" * 64, {}, (-40.0, 30.0), CHIP_PX, CHIP_PX)
    return Plan(generator, source_facts(source), ())


@pytest.fixture(scope="module")
def judged_by(tiny_judged: Any, tiny_params: Callable[..., Any], source: ChipSet) -> SourceJudge:
    folder = tiny_judged.references()["source"]
    profile = load_profile(tiny_params().dataset.source.profile)
    context = scoring.context_of(source, profile)
    return SourceJudge(open_reference(folder), load_network(folder / NETWORK), context, (LOUD,), CHIP_PX)


@pytest.fixture
def maker(tmp_path: Path) -> Callable[..., Maker]:
    def make(draw: Any, **changes: Any) -> Maker:
        given: dict[str, Any] = {
            "cache": WorkCache(tmp_path / "cache"),
            "cache_key": "code",
            "batch_size": 2,
            "space": SPACE,
            "chip_px": CHIP_PX,
            "radiometry": Radiometry.SIGMA0,
            "on_chips": lambda count: None,
        }
        return Maker(draw=draw, **(given | changes))

    return make


MakeMaker = Callable[..., Maker]


def test_scores_are_those_that_a_set_gets(
    judged_by: SourceJudge, source: ChipSet, tiny_params: Callable[..., Any]
) -> None:
    profile = load_profile(tiny_params().dataset.source.profile)
    judge = Judge(judged_by.reference, judged_by.network, profile, {}, source, 5, 1, workers=1)
    expected = judge.measure(source).table
    images = [source.intensity(chip_id) for chip_id in expected["chip_id"]]
    found = judged_by.scores(images, list(expected["label"]), list(expected["chip_id"]))
    columns = ["chip_id", "label", *COLUMNS, *AGAINST_REFERENCE, "reasons"]
    pd.testing.assert_frame_equal(found[columns], expected[columns], rtol=1e-9)


def test_a_chip_is_recognised_where_the_likeliest_class_is_its_own(
    judged_by: SourceJudge, source: ChipSet
) -> None:
    rows = list(source.rows())
    images = [source.intensity(row["chip_id"]) for row in rows]
    labels = [row["label"] for row in rows[:-1]] + ["zeppelin"]
    found = judged_by.scores(images, labels, [row["chip_id"] for row in rows])
    _, odds = outputs(judged_by.network, images)
    likeliest = [max(zip(row, judged_by.network.classes, strict=True))[1] for row in odds.tolist()]
    assert found["recognised"].tolist() == [
        one == label for one, label in zip(likeliest, labels, strict=True)
    ]
    assert found["shown"].tolist() == [True] * (len(rows) - 1) + [False]


def test_judging_leaves_the_threads_as_they_are(judged_by: SourceJudge) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(judged_by.network.threads + 1)
        judged_by.scores([np.ones(CHIP_PX) + np.eye(*CHIP_PX)], ["F-16"], ["a"])
        assert torch.get_num_threads() == judged_by.network.threads + 1
    finally:
        torch.set_num_threads(before)


def test_gates_are_refused_before_a_chip_is_drawn(
    judged_by: SourceJudge, plan: Plan, maker: MakeMaker
) -> None:
    draw = FakeDraw()
    pair = replace(judged_by, gates=(Gate("content_retention", "lower", 0.5, None, "keep"),))
    with pytest.raises(ParamsError, match=r"a gate on content_retention, which generated chips do not have"):
        generate(plan, CLASSES, ALL, maker(draw), pair)
    unknown = replace(
        judged_by,
        gates=(replace(LOUD, high=None),),
        reference=replace(judged_by.reference, limits={}),
    )
    with pytest.raises(ParamsError, match=r"the reference has no upper limit") as caught:
        generate(plan, CLASSES, ALL, maker(draw), unknown)
    assert "generate.gates" in caught.value.fix
    assert "curate" not in caught.value.fix
    assert draw.batches == []


def test_a_fixed_number_is_kept_whatever_the_gates_say(
    plan: Plan, maker: MakeMaker, judged_by: SourceJudge
) -> None:
    draw = FakeDraw(loud=lambda index: index == 1)
    found = generate(plan, CLASSES, ALL, maker(draw), judged_by)
    assert list(found.kept) == [recipe for label in CLASSES for recipe in plan.recipes(label, range(5))]
    assert draw.indices() == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]  # batches cross classes
    for one, label in zip(found.yields, CLASSES, strict=True):
        assert (one.label, one.made, one.passed, one.kept) == (label, 5, 4, 5)
        assert one.rejected_by == {"mean_db": 1}
        assert one.pixels == 5 * 24 * 32


def test_drawing_goes_on_until_enough_pass(plan: Plan, maker: MakeMaker, judged_by: SourceJudge) -> None:
    draw = FakeDraw(loud=lambda index: index % 3 == 0)
    quota = Quota(per_class=3, until_pass=True, max_tries_per_class=9)
    found = generate(plan, ["F-16"], quota, maker(draw), judged_by)
    assert [recipe.index for recipe in found.kept] == [1, 2, 4]
    assert draw.indices() == [[0, 1], [2, 3], [4, 5]]
    (one,) = found.yields
    assert (one.made, one.passed, one.kept, one.rejected_by) == (6, 4, 3, {"mean_db": 2})


def test_a_round_that_just_fills_the_quota_is_the_last(
    plan: Plan, maker: MakeMaker, judged_by: SourceJudge
) -> None:
    draw = FakeDraw()
    found = generate(plan, ["F-16"], Quota(4, until_pass=True, max_tries_per_class=9), maker(draw), judged_by)
    assert [recipe.index for recipe in found.kept] == [0, 1, 2, 3]
    assert draw.indices() == [[0, 1], [2, 3]]


def test_the_tries_are_capped_and_every_class_has_its_own(
    plan: Plan, maker: MakeMaker, judged_by: SourceJudge
) -> None:
    draw = FakeDraw(loud=lambda index: index != 4)
    quota = Quota(per_class=2, until_pass=True, max_tries_per_class=5)
    found = generate(plan, CLASSES, quota, maker(draw), judged_by)
    assert draw.indices() == 2 * [[0, 1], [2, 3], [4]]
    assert [(recipe.label, recipe.index) for recipe in found.kept] == [("B-52", 4), ("F-16", 4)]
    assert [(one.made, one.passed, one.kept) for one in found.yields] == [(5, 1, 1)] * 2


def test_no_chip_that_passes_is_an_error_with_the_reasons(
    plan: Plan, maker: MakeMaker, judged_by: SourceJudge
) -> None:
    quota = Quota(per_class=1, until_pass=True, max_tries_per_class=3)
    with pytest.raises(DataError, match=r"no generated chip passes: 6 made, rejected by mean_db \(6\)"):
        generate(plan, CLASSES, quota, maker(FakeDraw(loud=lambda index: True)), judged_by)


def test_until_they_pass_needs_a_gate(plan: Plan, maker: MakeMaker, judged_by: SourceJudge) -> None:
    quota = Quota(per_class=1, until_pass=True, max_tries_per_class=3)
    with pytest.raises(ParamsError, match="there is no gate"):
        generate(plan, CLASSES, quota, maker(FakeDraw()), replace(judged_by, gates=()))
    found = generate(plan, CLASSES, ALL, maker(FakeDraw()), replace(judged_by, gates=()))
    assert [(one.made, one.passed, one.rejected_by) for one in found.yields] == [(5, 5, {})] * 2


@pytest.mark.parametrize(
    ("quota", "said"),
    [((0, False, 5), "generate.per_class is 0"), ((5, True, 4), "4 tries for 5 chips that pass")],
)
def test_quotas_that_make_no_sense(quota: tuple[int, bool, int], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        Quota(*quota)


def test_what_may_be_drawn_at_most() -> None:
    assert (Quota(5, False, 0).most, Quota(5, True, 9).most) == (5, 9)


def test_a_killed_run_goes_on_by_missing_chips(plan: Plan, maker: MakeMaker, judged_by: SourceJudge) -> None:
    killed = FakeDraw(dies_at=2)
    with pytest.raises(KeyboardInterrupt):
        generate(plan, ["F-16"], ALL, maker(killed), judged_by)
    resumed, ready = FakeDraw(), list[int]()
    again = maker(resumed, on_chips=ready.append)
    found = generate(plan, ["F-16"], ALL, again, judged_by)
    assert killed.indices() + resumed.indices() == [[0, 1], [2, 3], [4]]
    assert ready == [4, 1]
    uninterrupted = FakeDraw()(plan.recipes("F-16", range(5)))
    np.testing.assert_array_equal([again.pixels(recipe) for recipe in found.kept], uninterrupted)


def test_more_per_class_makes_only_the_new_ones(plan: Plan, maker: MakeMaker, judged_by: SourceJudge) -> None:
    generate(plan, ["F-16"], ALL, maker(FakeDraw()), judged_by)
    more = FakeDraw()
    generate(plan, ["F-16"], replace(ALL, per_class=7), maker(more), judged_by)
    assert more.indices() == [[5, 6]]
    passing = FakeDraw()
    found = generate(plan, ["F-16"], Quota(7, True, 20), maker(passing), judged_by)
    assert passing.indices() == [[7]]  # the last round is 6 and 7, of which 6 is there
    assert found.yields[0].made == 8


def test_other_code_serves_no_old_chip(plan: Plan, maker: MakeMaker) -> None:
    recipes = plan.recipes("F-16", range(2))
    maker(FakeDraw()).make(recipes)
    again = FakeDraw()
    maker(again, cache_key="other code").make(recipes)
    assert again.indices() == [[0, 1]]


@pytest.mark.parametrize("value", [np.nan, 0.0, 1.0])
def test_a_broken_chip_is_named_and_not_kept(plan: Plan, maker: MakeMaker, value: float) -> None:
    recipes = plan.recipes("F-16", range(4))

    def draw(batch: Sequence[Recipe]) -> np.ndarray:
        chips = FakeDraw()(batch)
        chips[[recipe.index == 3 for recipe in batch]] = value
        return chips

    broken = maker(draw)
    with pytest.raises(DataError, match=f"generated chip {recipes[3].chip_id}"):
        broken.make(recipes)
    again = FakeDraw()
    maker(again).make(recipes)
    assert again.indices() == [[2, 3]]


def test_chips_of_another_size_are_refused(plan: Plan, maker: MakeMaker) -> None:
    with pytest.raises(DataError, match=r"drawn with shape \(2, 24, 32\), expected \(2, 24, 24\)"):
        maker(FakeDraw(), chip_px=(24, 24)).make(plan.recipes("F-16", range(2)))


def test_a_full_disk_is_told_and_finished_chips_stay(
    plan: Plan, maker: MakeMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = plan.recipes("F-16", range(4))
    saved: list[Path] = []

    def save(path: Path, array: np.ndarray, **options: Any) -> None:
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        saved.append(path)
        with path.open("wb") as file:
            np.lib.format.write_array(file, array, **options)

    with monkeypatch.context() as patch:
        patch.setattr(generation.np, "save", save)
        with pytest.raises(DataError, match=f"cannot keep chip {recipes[3].chip_id} .*No space left"):
            maker(FakeDraw()).make(recipes)
    again = FakeDraw()
    maker(again).make(recipes)
    assert again.indices() == [[3]]


def test_a_damaged_or_missing_file_is_named(plan: Plan, maker: MakeMaker, tmp_path: Path) -> None:
    recipe = plan.recipe("F-16", 0)
    made = maker(FakeDraw())
    with pytest.raises(DataError, match=f"chip {recipe.chip_id} was not drawn yet"):
        made.drawn(recipe)
    made.make([recipe])
    (path,) = (tmp_path / "cache").rglob("*.npy")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=f"chip {recipe.chip_id}: .* cannot be read"):
        made.drawn(recipe)


def test_pixels_at_the_limits_of_model_space_are_counted(
    plan: Plan, maker: MakeMaker, judged_by: SourceJudge
) -> None:
    def draw(batch: Sequence[Recipe]) -> np.ndarray:
        values = SPACE.to_model(FakeDraw()(batch))
        values[:, 0, :3], values[:, 1, :4] = -1.5, -1.0
        values[:, 2, :5] = 1.5
        return SPACE.to_intensity(values)

    found = generate(plan, ["F-16"], replace(ALL, per_class=2), maker(draw), judged_by)
    assert (found.yields[0].at_low, found.yields[0].at_high) == (2 * 7, 2 * 5)


def test_memory_is_bounded_by_parts(
    plan: Plan, maker: MakeMaker, judged_by: SourceJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = generate(plan, CLASSES, ALL, maker(FakeDraw()), judged_by)
    monkeypatch.setattr("sarcurate.models.source_judge.BLOCK_PX", 2 * 24 * 32 + 1)
    assert judged_by.chips_at_a_time == 2
    assert generate(plan, CLASSES, ALL, maker(FakeDraw()), judged_by).yields == whole.yields


@pytest.mark.parametrize("radiometry", [Radiometry.SIGMA0, Radiometry.AMPLITUDE, Radiometry.UINT8_RELATIVE])
def test_the_set_is_in_the_sources_radiometry(
    plan: Plan,
    maker: MakeMaker,
    judged_by: SourceJudge,
    source: ChipSet,
    tmp_path: Path,
    radiometry: Radiometry,
) -> None:
    made = maker(FakeDraw(), radiometry=radiometry)
    found = generate(plan, CLASSES, replace(ALL, per_class=2), made, judged_by)
    header = Header(source.header.sensor, radiometry, "train", source.header.display_db)
    write_generated(tmp_path / "out", header, plan, found, made)
    chips = open_chipset(tmp_path / "out", splits=("train",))
    assert chips.header == header
    assert set(chips.manifest["chip_id"]) == {recipe.chip_id for recipe in found.kept}
    for recipe in found.kept:
        intensity = FakeDraw()([recipe])[0]
        power = radiometry is Radiometry.SIGMA0
        expected = intensity if power else np.sqrt(intensity)
        if radiometry is Radiometry.UINT8_RELATIVE:
            expected = np.rint(expected)
        np.testing.assert_array_equal(chips.pixels(recipe.chip_id), expected)
        np.testing.assert_array_equal(made.as_opened(intensity), chips.intensity(recipe.chip_id))
