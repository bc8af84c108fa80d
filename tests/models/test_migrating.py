"""Sets of chips migrated: what decides an id, what a killed run keeps, full memory and full disks."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sarcurate.core import translation
from sarcurate.core.bright_target import bright_target_mask
from sarcurate.core.model_space import ModelSpace
from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, HardwareError, LeakageError
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.manifest import Header
from sarcurate.io.migrated import StylePolicy
from sarcurate.io.pair_fit import PairFit, fit_pair
from sarcurate.io.sensors import load_profile
from sarcurate.models import migrating
from sarcurate.models.extractor import ExtractorRef
from sarcurate.models.migrating import MigratedSet, Migration, MigrationJob
from sarcurate.models.migration import TERMS, Content, Migrated, MigrationSettings, Migrator, Style
from sarcurate.models.no_memory import is_no_memory
from sarcurate.models.pretrain import write_extractor
from sarcurate.models.tiny_base import PROMPT_TOKENS, TEXT_WIDTHS, new_vae

SOURCE_PX, TARGET_PX, MOVED_PX = 48, 36, 32  # 1 m a source pixel, 1.5 m a target pixel
N_SOURCE, N_TARGET = 3, 4  # of each class
SETTINGS = MigrationSettings(
    mode="robust",
    content_weight=0.25,
    speckle_weight=0.1,
    spectrum_weight=0.1,
    timesteps=2,
    iterations=1,
    learning_rate=0.02,
    pixel_every=2,
    patience=None,
    batch_size=2,
    masks=True,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def image(seed: int, px: int, looks: float) -> np.ndarray:
    rng = np.random.default_rng([3, seed])
    values = rng.gamma(looks, 1 / looks, (px, px))
    middle = px // 2
    values[middle - 2 : middle + 3, middle - 6 + seed % 4 : middle + 6] *= 40
    return values.astype(np.float32)


def chipset(
    root: Path,
    images: Mapping[int, np.ndarray],
    spacing_m: float,
    *,
    split: str = "train",
    radiometry: Radiometry = Radiometry.SIGMA0,
    **changes: Any,
) -> ChipSet:
    """Even chips are B-52, odd ones F-16; ids are their numbers."""
    with ChipSetWriter(root, Header("sensor", radiometry, split, (-25.0, 10.0))) as writer:
        for k, values in images.items():
            row = {
                "chip_id": f"{k:024d}",
                "origin": "real",
                "label": ("B-52", "F-16")[k % 2],
                "group_id": f"pass-{k}",
                "fold": k % 2,
                "source_path": f"{k}",
                "azimuth_spacing_m": spacing_m,
                "range_spacing_m": spacing_m,
                "licence": "CC-BY-4.0",
            }
            writer.add(row | changes, values if radiometry.is_power else np.sqrt(values))
    return open_chipset(root, splits=(split,))


def source_images(n: int = 2 * N_SOURCE) -> dict[int, np.ndarray]:
    return {k: image(k, SOURCE_PX, 3) for k in range(n)}


def target_images(px: int = TARGET_PX) -> dict[int, np.ndarray]:
    return {100 + k: image(100 + k, px, 1) for k in range(2 * N_TARGET)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ChipSet:
    return chipset(tmp_path_factory.mktemp("sets") / "source", source_images(), 1.0)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> ChipSet:
    root = tmp_path_factory.mktemp("sets") / "target"
    return chipset(root, target_images(), 1.5, radiometry=Radiometry.AMPLITUDE)


def pair(source: ChipSet, target: ChipSet, **changes: Any) -> PairFit:
    profiles = load_profile("terrasarx-sim"), load_profile("fucheng1-sim")
    return fit_pair(source, target, *profiles, same_pixels=changes.get("same_pixels", False), seed=4)


@pytest.fixture(scope="module")
def fitted(source: ChipSet, target: ChipSet) -> PairFit:
    return pair(source, target)


def write_untrained(seed: int, folder: Path) -> Path:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=16,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        block_out_channels=(16, 16),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=TEXT_WIDTHS[0],
        norm_num_groups=8,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=384,
            hidden_size=TEXT_WIDTHS[0],
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=PROMPT_TOKENS,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
        )
    )
    write_extractor(unet, new_vae(), text, folder)
    return folder


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained(5, tmp_path_factory.mktemp("extractors") / "small")


@pytest.fixture(scope="module")
def job(fitted: PairFit, extractor: Path) -> MigrationJob:
    return MigrationJob(
        fitted=fitted,
        extractor=ExtractorRef(str(extractor), None, "paper"),
        precision="fp32",
        source_space=ModelSpace(-30.0, 25.0),
        target_space=ModelSpace(-35.0, 20.0),
        start="resampled",
        model_px=None,
        styles=StylePolicy("same_class", 1),
        settings=SETTINGS,
        threads=1,
        root_seed=7,
    )


def with_(job: MigrationJob, **settings: Any) -> MigrationJob:
    return replace(job, settings=replace(job.settings, **settings))


@dataclass
class Fake:
    """Stands for Migrator: chips are their starts, at nine tenths; it tells what it was asked for."""

    fails: Callable[[int], BaseException | None] = lambda size: None
    values: Callable[[Content], np.ndarray] = lambda content: content.start * np.float32(0.9)
    batches: list[list[str]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    styles: list[dict[str, Style]] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)

    def __call__(self, **given: Any) -> Callable[..., list[Migrated]]:
        settings = given["settings"]

        def migrate(contents: Sequence[Content], targets: Sequence[np.ndarray]) -> list[Migrated]:
            error = self.fails(settings.batch_size)
            if error is not None:
                raise error
            assert set(given["memory"]._latents) == set(given["styles"])
            self.batches.append([content.name.lstrip("0") or "0" for content in contents])
            self.sizes.append(settings.batch_size)
            self.styles.append(given["styles"])
            self.contents += contents
            self.targets += targets
            trace = np.arange(settings.timesteps * len(TERMS), dtype=np.float32).reshape(-1, len(TERMS))
            return [Migrated(self.values(content), trace) for content in contents]

        return migrate


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    monkeypatch.setattr(migrating, "Migrator", made)
    return made


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[MigratedSet, ChipSet]]:
    """Migrates into a new folder, with one work cache for a test."""

    def migrate(
        job: MigrationJob, contents: ChipSet, per_class: int | None = None, cache: str = "cache"
    ) -> tuple[MigratedSet, ChipSet]:
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        made = Migration(job, tmp_path / cache).run(contents, per_class, "migrating", out)
        return made, open_chipset(out, splits=("train",))

    return migrate


Run = Callable[..., tuple[MigratedSet, ChipSet]]


def files(chips: ChipSet) -> dict[str, bytes]:
    return {
        str(path.relative_to(chips.root)): path.read_bytes()
        for path in chips.root.rglob("*")
        if path.is_file()
    }


def ids(chips: ChipSet) -> dict[str, str]:
    """Chip ids by their contents'."""
    return {row["parents"][0]: row["chip_id"] for row in chips.rows()}


# --- what comes out


def test_a_set_is_of_the_targets_sensor_and_grid_with_its_parents_and_styles(
    job: MigrationJob, source: ChipSet, target: ChipSet, run: Run
) -> None:
    made, chips = run(job, source)
    assert (made.n_chips, made.n_new, made.batch_size) == (6, 6, 2)
    assert chips.header == target.header
    contents, styles = ({row["chip_id"]: row for row in each.rows()} for each in (source, target))
    assert {row["parents"][0] for row in chips.rows()} == set(contents)
    for row in chips.rows():
        (parent,) = row["parents"]
        (style,) = row["style_ids"]
        assert row["label"] == contents[parent]["label"] == styles[style]["label"]
        assert row["group_id"] == contents[parent]["group_id"]
        assert (row["origin"], row["split"], row["fold"]) == ("migrated", "train", contents[parent]["fold"])
        assert (row["azimuth_spacing_m"], row["range_spacing_m"]) == (1.5, 1.5)
        assert row["chip_id"] == lineage.made_chip_id(row["recipe_sha256"])
        assert row["source_path"].startswith("extractor small@")
        chip = chips.intensity(row["chip_id"])
        assert chip.shape == (MOVED_PX, MOVED_PX)
        assert np.isfinite(chip).all()
        assert chip.std() > 0
    assert made.traces.columns.tolist() == [*TERMS, "chip_id", "update"]
    assert sorted(set(made.traces["chip_id"])) == sorted(ids(chips).values())
    for _, own in made.traces.groupby("chip_id"):
        assert own["update"].tolist() == [1, 2]
        assert own["speckle"].isna().tolist() == [False, True]
        assert own["distillation"].notna().all()


def test_pixels_are_those_of_the_migrator(job: MigrationJob, source: ChipSet, run: Run, fake: Fake) -> None:
    _, chips = run(job, source)
    for content in fake.contents:
        expected = job.target_space.to_intensity(content.start * np.float32(0.9))
        found = chips.intensity(ids(chips)[content.name])
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_generated_content_keeps_its_prompt_and_adapter(
    job: MigrationJob, tmp_path: Path, run: Run, fake: Fake
) -> None:
    told = {"origin": "generated", "prompt": "SAR image, a", "adapter_sha256": "9" * 64}
    _, chips = run(job, chipset(tmp_path / "generated", source_images(2), 1.0, **told))
    for row in chips.rows():
        assert (row["origin"], row["prompt"], row["adapter_sha256"]) == ("migrated", *list(told.values())[1:])


def test_a_resampled_start_is_the_content_on_the_targets_grid(
    job: MigrationJob, source: ChipSet, run: Run, fake: Fake
) -> None:
    run(job, source)
    assert len(fake.contents) == 6
    for content, target in zip(fake.contents, fake.targets, strict=True):
        chip = source.intensity(content.name)
        moved = translation.regridded(chip, job.fitted.source, job.fitted.target)
        np.testing.assert_array_equal(content.intensity, moved)
        np.testing.assert_array_equal(content.start, job.source_space.to_model(moved))
        np.testing.assert_array_equal(target, bright_target_mask(moved[None])[0])
        assert target.any()


def test_a_physics_start_is_the_translated_content_by_the_chips_own_seed(
    job: MigrationJob, source: ChipSet, run: Run, fake: Fake
) -> None:
    _, chips = run(replace(job, start="physics"), source)
    seeds = {row["parents"][0]: row["seed"] for row in chips.rows()}
    for content in fake.contents:
        rng = np.random.default_rng(seeds[content.name])
        chip = source.intensity(content.name)
        moved = translation.physics(chip, job.fitted.source, job.fitted.target, rng)
        np.testing.assert_array_equal(content.intensity, moved)
        np.testing.assert_array_equal(content.start, job.target_space.to_model(moved))


def test_styles_are_the_middle_of_real_train_chips(
    job: MigrationJob, source: ChipSet, target: ChipSet, run: Run, fake: Fake
) -> None:
    run(replace(job, styles=StylePolicy("any_class", 2)), source)
    known = set(target.manifest["chip_id"])
    for content in fake.contents:
        assert len(set(content.style_ids)) == 2
        assert set(content.style_ids) <= known
    for name, style in (each for batch in fake.styles for each in batch.items()):
        chip = target.intensity(name)[2:34, 2:34]
        np.testing.assert_array_equal(style.intensity, chip)
        np.testing.assert_array_equal(style.values, job.target_space.to_model(chip))
        np.testing.assert_array_equal(style.target, bright_target_mask(chip[None])[0])


def test_styles_in_memory_are_those_of_a_batch(
    job: MigrationJob, source: ChipSet, run: Run, fake: Fake
) -> None:
    run(job, source)
    assert len(fake.styles) == 3
    for place, styles in enumerate(fake.styles):
        own = fake.contents[2 * place : 2 * place + 2]
        assert set(styles) == {style for content in own for style in content.style_ids}


def test_some_of_each_class_are_chosen(job: MigrationJob, source: ChipSet, run: Run, fake: Fake) -> None:
    made, chips = run(job, source, 2)
    assert (made.n_chips, made.n_new) == (4, 4)
    assert [int(parent) for parent in sorted(ids(chips))] == [0, 1, 4, 5]


def test_chips_of_several_sizes_are_migrated_apart(
    job: MigrationJob, tmp_path: Path, run: Run, fake: Fake
) -> None:
    images = source_images(5)
    images[1], images[3] = images[1][:, :42], images[3][:, :42]
    _, chips = run(job, chipset(tmp_path / "sizes", images, 1.0))
    assert fake.batches == [["0", "2"], ["4"], ["1", "3"]]
    assert chips.intensity(ids(chips)[f"{1:024d}"]).shape == (32, 28)


@pytest.mark.parametrize("model_px", [None, 40])
def test_the_extractor_sees_the_size_asked_for(
    job: MigrationJob, source: ChipSet, run: Run, model_px: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = Migrator.__call__

    def spy(self: Migrator, *given: Any) -> Any:
        seen.append(self.canvas)
        return real(self, *given)

    monkeypatch.setattr(Migrator, "__call__", spy)
    _, chips = run(replace(job, model_px=model_px), source, 1)
    assert {(canvas.chip_px, canvas.model_px) for canvas in seen} == {((32, 32), (model_px or 32,) * 2)}
    assert {chips.intensity(chip_id).shape for chip_id in ids(chips).values()} == {(32, 32)}


# --- train chips alone


def test_no_set_of_test_chips_is_opened(tmp_path: Path) -> None:
    chipset(tmp_path / "test", target_images(), 1.5, split="test")
    with pytest.raises(LeakageError):
        open_chipset(tmp_path / "test", splits=("train",))


def test_too_few_styles_are_refused_before_anything_is_made(
    job: MigrationJob, source: ChipSet, run: Run, fake: Fake
) -> None:
    with pytest.raises(DataError, match=f"{N_TARGET + 1} asked for, .* has {N_TARGET} train chips of class"):
        run(replace(job, styles=StylePolicy("same_class", N_TARGET + 1)), source)
    assert fake.batches == []


def test_a_style_smaller_than_the_contents_is_refused(
    job: MigrationJob, source: ChipSet, tmp_path: Path, run: Run, fake: Fake
) -> None:
    small = chipset(tmp_path / "small", target_images(), 1.5)
    cut = chipset(tmp_path / "cut", {k: v[:34, :32] for k, v in target_images().items()}, 1.2)
    run(replace(job, fitted=pair(source, small)), source)
    with pytest.raises(DataError, match=r"style chip 0+10\d is 34 x 32 px, .* 40 x 40 px on the") as caught:
        run(replace(job, fitted=pair(source, cut)), source)
    assert "dataset.footprint_m" in caught.value.fix


def test_target_chips_without_homogeneous_windows_do_where_no_speckle_term_is_asked_for(
    job: MigrationJob, source: ChipSet, tmp_path: Path, run: Run, fake: Fake
) -> None:
    rng = np.random.default_rng(1)
    wild = {k: np.exp(rng.normal(0, 2.5, (TARGET_PX,) * 2)).astype(np.float32) for k in target_images()}
    textured = replace(job, fitted=pair(source, chipset(tmp_path / "wild", wild, 1.5)))
    with pytest.raises(DataError, match="no homogeneous window") as caught:
        run(textured, source)
    assert "migrate.speckle_weight to 0" in caught.value.fix
    made, _ = run(with_(textured, speckle_weight=0.0), source)  # as the message says
    assert made.n_new == 6


# --- identity


CHANGES: dict[str, dict[str, Any]] = {
    "precision": {"precision": "bf16"},
    "target_space": {"target_space": ModelSpace(-35.0, 21.0)},
    "source_space": {"source_space": ModelSpace(-31.0, 25.0)},
    "start": {"start": "physics"},
    "model_px": {"model_px": 40},
    "class of styles": {"styles": StylePolicy("any_class", 1)},
    "number of styles": {"styles": StylePolicy("same_class", 2)},
    "root_seed": {"root_seed": 8},
}
SETTINGS_CHANGES: dict[str, Any] = {
    "mode": "paper",
    "content_weight": 0.5,
    "speckle_weight": 0.2,
    "spectrum_weight": 0.2,
    "timesteps": 3,
    "iterations": 2,
    "learning_rate": 0.03,
    "pixel_every": 1,
    "patience": 1,
    "masks": False,
}


def test_whatever_decides_pixels_changes_every_id(
    job: MigrationJob, source: ChipSet, extractor: Path, tmp_path: Path, run: Run, fake: Fake
) -> None:
    other = write_untrained(6, tmp_path / "extractors" / "small")
    jobs = [
        job,
        *(replace(job, **change) for change in CHANGES.values()),
        *(with_(job, **{name: value}) for name, value in SETTINGS_CHANGES.items()),
        replace(job, extractor=replace(job.extractor, layers="texture")),
        replace(job, extractor=replace(job.extractor, where=str(other))),
        replace(job, fitted=replace(job.fitted, fitted_on=(job.fitted.fitted_on[0], "f" * 64))),
    ]
    assert {*SETTINGS_CHANGES, "batch_size"} == set(vars(SETTINGS))
    found = [ids(run(one, source, 1)[1]) for one in jobs]
    for content in found[0]:
        assert len({own[content] for own in found}) == len(jobs)


def test_another_root_seed_is_another_chip_though_its_styles_are_the_same(
    job: MigrationJob, source: ChipSet, run: Run, fake: Fake
) -> None:
    every = replace(job, styles=StylePolicy("same_class", N_TARGET))
    one, other = (run(replace(every, root_seed=seed), source, 1)[1] for seed in (7, 8))
    assert [row["style_ids"] for row in one.rows() if row["label"] == "B-52"] == [
        row["style_ids"] for row in other.rows() if row["label"] == "B-52"
    ]
    assert not set(ids(one).values()) & set(ids(other).values())


def test_what_decides_no_pixel_changes_no_id(
    job: MigrationJob, source: ChipSet, extractor: Path, tmp_path: Path, run: Run, fake: Fake
) -> None:
    expected = ids(run(job, source)[1])
    elsewhere = shutil.copytree(extractor, tmp_path / "extractors" / "renamed")
    same = [
        with_(job, batch_size=3),
        replace(job, threads=2),
        replace(job, extractor=replace(job.extractor, where=str(elsewhere))),
        # A resampled start depends on no statistics of the source.
        replace(job, fitted=replace(job.fitted, fitted_on=("f" * 64, job.fitted.fitted_on[1]))),
    ]
    for one in same:
        assert ids(run(one, source)[1]) == expected
    physics = replace(job, start="physics")
    refitted = replace(physics, fitted=same[3].fitted)
    assert not set(ids(run(physics, source)[1]).values()) & set(ids(run(refitted, source)[1]).values())


def test_another_batch_size_makes_chips_anew(
    job: MigrationJob, source: ChipSet, run: Run, fake: Fake
) -> None:
    assert run(job, source)[0].n_new == 6
    assert run(job, source)[0].n_new == 0
    assert run(with_(job, batch_size=3), source)[0].n_new == 6


def test_other_pixels_of_a_content_are_another_chip(
    job: MigrationJob, source: ChipSet, tmp_path: Path, run: Run, fake: Fake
) -> None:
    images = source_images()
    images[2] = images[2] * np.float32(1.01)
    first, _ = run(job, source)
    again, chips = run(job, chipset(tmp_path / "replaced", images, 1.0))
    assert (first.n_new, again.n_new) == (6, 1)
    assert fake.batches[-1] == ["2"]
    old = set(first.traces["chip_id"])
    assert {content for content, chip in ids(chips).items() if chip not in old} == {f"{2:024d}"}


def test_other_facts_of_a_content_are_the_same_chip(
    job: MigrationJob, source: ChipSet, tmp_path: Path, run: Run, fake: Fake
) -> None:
    first, _ = run(job, source)
    again, chips = run(job, chipset(tmp_path / "told", source_images(), 1.0, incidence_deg=33.0))
    assert (first.n_new, again.n_new) == (6, 0)
    assert {row["incidence_deg"] for row in chips.rows()} == {33.0}


def test_new_contents_cost_themselves_alone(
    job: MigrationJob, source: ChipSet, target: ChipSet, tmp_path: Path, run: Run, fake: Fake
) -> None:
    """Styles and starts of the others stay, though the pair is fitted anew on more source chips."""
    more = chipset(tmp_path / "more", source_images(6 + 10), 1.0)
    _, before = run(job, source)
    made, after = run(replace(job, fitted=pair(more, target)), more)
    assert (made.n_chips, made.n_new) == (16, 10)
    assert sorted(int(name) for batch in fake.batches[3:] for name in batch) == list(range(6, 16))
    old = {row["chip_id"]: row for row in before.rows()}
    kept = {row["chip_id"]: row for row in after.rows() if row["chip_id"] in old}
    assert kept == old


# --- killed runs


def test_a_killed_run_keeps_its_chips_and_ends_in_the_same_bytes(
    job: MigrationJob, source: ChipSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, uninterrupted = run(job, source, cache="other")
    real, calls = Migrator.__call__, list[int]()

    def dies(self: Migrator, contents: Any, targets: Any) -> Any:
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(len(contents))
        return real(self, contents, targets)

    with monkeypatch.context() as patch:
        patch.setattr(Migrator, "__call__", dies)
        with pytest.raises(KeyboardInterrupt):
            run(job, source)
    resumed, chips = run(job, source)
    assert (whole.n_new, resumed.n_new) == (6, 4)
    assert files(chips) == files(uninterrupted)
    pd.testing.assert_frame_equal(resumed.traces, whole.traces)


def test_a_run_killed_in_the_middle_of_a_batch_keeps_what_it_kept(
    job: MigrationJob, source: ChipSet, run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, uninterrupted = run(job, source, cache="other")
    with monkeypatch.context() as patch:
        save_fails(patch, at=2 * 3 + 1, error=KeyboardInterrupt())  # two files a chip: in the fourth
        with pytest.raises(KeyboardInterrupt):
            run(job, source)
    resumed, chips = run(job, source)
    assert resumed.n_new == 3
    assert files(chips) == files(uninterrupted)


def test_a_set_that_is_finished_is_written_again_without_the_migrator(
    job: MigrationJob, source: ChipSet, run: Run, fake: Fake
) -> None:
    made, chips = run(job, source)
    fake.fails = lambda size: AssertionError("migrated again")
    again, same = run(job, source)
    assert (made.n_new, again.n_new) == (6, 0)
    assert files(same) == files(chips)
    pd.testing.assert_frame_equal(again.traces, made.traces)


def test_a_damaged_chip_of_the_cache_is_named(
    job: MigrationJob, source: ChipSet, tmp_path: Path, run: Run, fake: Fake
) -> None:
    _, chips = run(job, source)
    (kept, *_) = sorted((tmp_path / "cache").glob("*/*/intensity.npy"))
    kept.write_bytes(kept.read_bytes()[:-8])
    with pytest.raises(DataError, match=rf"intensity\.npy in {kept.parent} cannot be read") as caught:
        run(job, source)
    assert caught.value.fix.startswith(f"remove {kept.parent}")
    shutil.rmtree(kept.parent)
    again, same = run(job, source)
    assert again.n_new == 1
    assert files(same) == files(chips)


# --- full memory


def no_memory_above(size: int, error: BaseException) -> Callable[[int], BaseException | None]:
    return lambda asked: error if asked > size else None


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried\nmore"),
        torch.OutOfMemoryError("full"),
    ],
)
def test_where_memory_runs_out_batches_are_halved_and_told(
    job: MigrationJob, source: ChipSet, run: Run, fake: Fake, error: RuntimeError
) -> None:
    fake.fails = no_memory_above(1, error)
    made, chips = run(with_(job, batch_size=5), source)
    assert made.batch_size == 1
    assert set(fake.sizes) == {1}
    assert [name for batch in fake.batches for name in batch] == ["0", "1", "2", "3", "4", "5"]
    assert len(chips.manifest) == made.n_new == 6


def test_what_did_not_fit_is_not_tried_again(
    job: MigrationJob, source: ChipSet, tmp_path: Path, fake: Fake
) -> None:
    tried: list[int] = []

    def fails(size: int) -> BaseException | None:
        tried.append(size)
        return RuntimeError("out of memory") if size > 2 else None

    fake.fails = fails
    migration = Migration(with_(job, batch_size=4), tmp_path / "cache")
    made = migration.run(source, None, "migrating", tmp_path / "out")
    assert made.batch_size == 2
    assert tried == [4, 2, 2, 2]
    more = chipset(tmp_path / "more", {k: image(k, SOURCE_PX, 3) for k in range(20, 24)}, 1.0)
    assert migration.run(more, None, "migrating", tmp_path / "more-out").batch_size == 2
    assert tried == [4, 2, 2, 2, 2, 2]


def test_a_chip_that_does_not_fit_alone_is_an_error_of_the_hardware(
    job: MigrationJob, source: ChipSet, run: Run, fake: Fake
) -> None:
    fake.fails = no_memory_above(0, RuntimeError("CUDA out of memory. Tried\nto allocate"))
    with pytest.raises(
        HardwareError, match=r"0{24}: one chip does not fit into memory: CUDA .* Tried\n"
    ) as e:
        run(job, source)
    assert e.value.exit_code == 4
    assert "migrate.model_px" in e.value.fix
    assert "migrate.extractor" in e.value.fix


def test_other_errors_of_torch_are_raised(job: MigrationJob, source: ChipSet, run: Run, fake: Fake) -> None:
    fake.fails = lambda size: RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(job, source)
    assert not is_no_memory(RuntimeError("mat1 and mat2"))


def test_chips_of_halved_batches_are_nearly_those_of_whole_ones(
    job: MigrationJob, source: ChipSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = run(job, source, 1, cache="other")
    real = Migrator.__call__

    def full(self: Migrator, contents: Any, targets: Any) -> Any:
        if self.settings.batch_size > 1:
            raise RuntimeError("out of memory")
        return real(self, contents, targets)

    monkeypatch.setattr(Migrator, "__call__", full)
    made, halved = run(job, source, 1)
    assert made.batch_size == 1
    assert ids(halved) == ids(whole)
    for chip_id in ids(whole).values():
        one, other = (np.log(chips.intensity(chip_id)) for chips in (halved, whole))
        assert np.abs(one - other).mean() < 0.02 * other.std()


# --- full disks and broken chips


def save_fails(patch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
    """The ``at``-th file that is saved cannot be."""
    saved: list[Path] = []
    real = np.save

    def save(path: Path, values: np.ndarray, **given: Any) -> None:
        if len(saved) == at - 1:
            raise error
        saved.append(path)
        real(path, values, **given)

    patch.setattr(np, "save", save)


def test_a_full_disk_is_told_and_finished_chips_stay(
    job: MigrationJob, source: ChipSet, tmp_path: Path, run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        save_fails(patch, at=2 * 3 + 2, error=OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(DataError, match=r"cannot keep migrated chip .* No space left") as caught:
            run(job, source)
    assert str(tmp_path / "cache") in caught.value.problem
    assert "make room on this disk and run again" in caught.value.fix
    made, chips = run(job, source)
    assert (made.n_chips, made.n_new) == (6, 3)
    assert len(chips.manifest) == 6


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.nan, "has 1024 non-finite of 1024 pixels"),
        (-1.2, "is black"),
        (0.3, "is constant"),
    ],
)
def test_a_broken_chip_is_refused_with_what_helps_a_migration(
    job: MigrationJob, source: ChipSet, run: Run, fake: Fake, values: float, said: str
) -> None:
    def broken(content: Content) -> np.ndarray:
        return np.full_like(content.start, values) if content.name.endswith("3") else content.start

    fake.values = broken
    with pytest.raises(DataError, match=rf"0{{23}}3 {said}") as caught:
        run(job, source)
    assert "generate" not in str(caught.value)
    assert "migrate." in caught.value.fix
    fake.values = lambda content: content.start
    assert run(job, source)[0].n_new == 4  # the first batch stays
