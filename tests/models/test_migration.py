"""Migration against a plain distillation, batches that do not mix, chips that stop, and what is refused."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sarcurate.core.bright_target import bright_target_mask
from sarcurate.core.model_space import ModelSpace
from sarcurate.errors import DataError, ParamsError
from sarcurate.models import migration
from sarcurate.models.attention_capture import AttentionCapture, preset_layers
from sarcurate.models.attention_losses import StyleMemory, allowed_reads
from sarcurate.models.extractor import Extractor
from sarcurate.models.latent import LatentSpace
from sarcurate.models.migration import TERMS, Content, Migrated, MigrationSettings, Migrator, Style
from sarcurate.models.speckle_losses import (
    fit_pool,
    homogeneous_windows,
    paper_terms,
    robust_terms,
    style_windows,
)
from sarcurate.models.tiny_base import new_vae

SETTINGS = MigrationSettings(
    mode="robust",
    content_weight=0.25,
    speckle_weight=0.0,
    spectrum_weight=0.0,
    timesteps=3,
    iterations=1,
    learning_rate=0.05,
    pixel_every=1,
    patience=None,
    batch_size=2,
    masks=False,
)
SHAPE = (32, 36)
SPACE = ModelSpace(-25.0, 15.0)
PROMPT_TOKENS, WIDTH = 3, 12
PIXELS = {"speckle_weight": 0.1, "spectrum_weight": 0.2}
DISTILLATION, CONTENT, SPECKLE, SPECTRUM, TOTAL = range(5)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "plain_distillation", Path(__file__).with_name("plain_distillation.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def small_unet() -> Any:
    """Attention at three resolutions, sharper than an untrained one's: its queries and keys are larger."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(11)
    unet = UNet2DConditionModel(
        sample_size=16,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(16, 16, 32),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=WIDTH,
        norm_num_groups=8,
    )
    for name, weights in unet.named_parameters():
        if ".attn1.to_q." in name or ".attn1.to_k." in name:
            weights.data *= 3
    return unet.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def vae() -> Any:
    torch.manual_seed(12)
    return new_vae().requires_grad_(False).eval()


def prompt() -> torch.Tensor:
    return torch.randn(1, PROMPT_TOKENS, WIDTH, generator=torch.Generator().manual_seed(13))


@pytest.fixture(scope="module")
def extractor(vae: Any) -> Extractor:
    unet = small_unet()
    capture = AttentionCapture(unet, preset_layers(unet, "paper"))
    return Extractor(unet, capture, LatentSpace(vae, 4), prompt(), None, 1000)


def chip(seed: int, looks: float = 1.0, target: bool = False) -> np.ndarray:
    values = np.random.default_rng([5, seed]).gamma(looks, 1 / looks, SHAPE)
    if target:
        values[12:18, 10 + seed % 8 : 20 + seed % 8] *= 40
    return values.astype(np.float32)


def content(seed: int, *styles: str, target: bool = False) -> Content:
    intensity = chip(100 + seed, 4.0, target)
    return Content(f"content-{seed}", SPACE.to_model(intensity), intensity, styles or (STYLES[seed % 3],))


STYLES = ("style-0", "style-1", "style-2")


def style(seed: int) -> Style:
    intensity = chip(seed, 1.0, target=seed != 1)
    return Style(SPACE.to_model(intensity), intensity, bright_target_mask(intensity[None])[0])


@dataclass(frozen=True)
class Bench:
    """An extractor and the styles it reads."""

    extractor: Extractor
    styles: dict[str, Style]

    def latents(self, values: np.ndarray) -> torch.Tensor:
        space = self.extractor.latent_space
        return space.encode(values[None], space.canvas(SHAPE, None))

    def migrator(self, settings: MigrationSettings) -> Migrator:
        told = {name: self.latents(one.values)[0] for name, one in self.styles.items()}
        return Migrator(
            extractor=self.extractor,
            canvas=self.extractor.latent_space.canvas(SHAPE, None),
            space=SPACE,
            styles=self.styles,
            memory=StyleMemory(self.extractor, told, 1 << 30),
            pool=fit_pool([chip(seed) for seed in range(20, 26)]),
            settings=settings,
        )

    def run(self, contents: Sequence[Content], targets: Sequence[Any] = (), **changes: Any) -> list[Migrated]:
        own = list(targets) or [np.zeros(SHAPE, dtype=bool)] * len(contents)
        return self.migrator(replace(SETTINGS, **changes))(contents, own)


@pytest.fixture(scope="module")
def bench(extractor: Extractor) -> Bench:
    return Bench(extractor, {name: style(seed) for seed, name in enumerate(STYLES)})


@pytest.fixture(scope="module")
def exact(vae: Any) -> Bench:
    """The same in double precision: Adam turns the last digits of a small gradient into whole steps."""
    unet = small_unet().double()
    capture = AttentionCapture(unet, preset_layers(unet, "paper"))
    space = LatentSpace(copy.deepcopy(vae).double(), 4)
    told = Extractor(unet, capture, space, prompt().double(), None, 1000)
    return Bench(told, {name: style(seed) for seed, name in enumerate(STYLES)})


@pytest.fixture
def latents(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The latents that are decoded in the end, one entry a batch."""
    seen: list[torch.Tensor] = []
    decode = LatentSpace.decode

    def spy(self: LatentSpace, given: torch.Tensor, canvas: Any) -> Any:
        seen.append(given)
        return decode(self, given, canvas)

    monkeypatch.setattr(LatentSpace, "decode", spy)
    return seen


def moved(found: torch.Tensor, expected: torch.Tensor, start: torch.Tensor) -> float:
    """Distance of two latents, as a share of what the optimisation moved."""
    return float((found - expected).norm() / (expected - start).norm())


# --- the algorithm


@pytest.mark.parametrize(
    ("changes", "styles"),
    [
        ({}, ("style-0",)),
        ({"timesteps": 4, "iterations": 3, "learning_rate": 0.02, "content_weight": 1.0}, ("style-1",)),
        ({"timesteps": 2, "iterations": 2, "content_weight": 0.0}, ("style-0", "style-2")),
    ],
)
def test_latents_and_losses_are_those_of_the_plain_algorithm(
    exact: Bench, plain: ModuleType, latents: list[torch.Tensor], changes: dict[str, Any], styles: Any
) -> None:
    contents = [content(0, *styles), content(1, *styles[::-1])]
    found = exact.run(contents, **changes)
    settings = replace(SETTINGS, **changes)
    for place, one in enumerate(contents):
        start = exact.latents(one.start)
        expected = plain.distil(
            small_unet().double(),
            prompt().double(),
            start.double(),
            [exact.latents(exact.styles[name].values).double() for name in one.style_ids],
            exact.extractor.capture.layers,
            timesteps=settings.timesteps,
            iterations=settings.iterations,
            learning_rate=settings.learning_rate,
            content_weight=settings.content_weight,
        )
        trace = found[place].trace
        assert trace.shape == (settings.timesteps * settings.iterations, len(TERMS))
        np.testing.assert_allclose(trace[:, DISTILLATION], expected.distillation, rtol=1e-4)
        np.testing.assert_allclose(trace[:, CONTENT], expected.content, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(
            trace[:, TOTAL], trace[:, DISTILLATION] + settings.content_weight * trace[:, CONTENT], rtol=1e-6
        )
        assert torch.norm(latents[0][place] - expected.latents[0]) < 1e-4 * torch.norm(expected.latents)
        assert moved(latents[0][place], expected.latents[0], start[0]) < 1e-2
        assert torch.norm(expected.latents - start) > 0.02 * torch.norm(start)
        values = exact.extractor.latent_space.decode(expected.latents, exact.migrator(SETTINGS).canvas)[0]
        np.testing.assert_allclose(found[place].values, values, atol=1e-3)


def test_targets_read_targets_as_in_the_plain_algorithm(
    exact: Bench, plain: ModuleType, latents: list[torch.Tensor]
) -> None:
    one = content(0, "style-0", target=True)
    target = bright_target_mask(one.intensity[None])[0]
    assert target.any()
    assert exact.styles["style-0"].target.any()
    exact.run([one], [target], masks=True, batch_size=1)
    canvas = exact.extractor.latent_space.canvas(SHAPE, None)
    assert canvas.latent_shape(2) == (16, 20)
    allowed = {}
    for name in exact.extractor.capture.layers:
        step = 2 ** (2 - int(name.split(".")[1]))  # latents a token, by the block of the decoder
        (mask,) = allowed_reads(
            [target], [[exact.styles["style-0"].target]], canvas, [(16 // step, 20 // step)]
        )
        allowed[name] = mask[0, 0]
    start = exact.latents(one.start)
    given: Any = (small_unet().double(), prompt().double(), start.double())
    told = [exact.latents(exact.styles["style-0"].values).double()]
    layers = exact.extractor.capture.layers
    expected = plain.distil(*given, told, layers, timesteps=3, allowed=allowed)
    without = plain.distil(*given, told, layers, timesteps=3)
    assert moved(latents[0][0], expected.latents[0], start[0]) < 1e-3
    assert moved(latents[0][0], without.latents[0], start[0]) > 0.05


def plain_pixel_loss(exact: Bench, settings: MigrationSettings, one: Content) -> Any:
    """Weighted terms of the decoded chip at the updates that count, as many times as much."""
    vae: Any = exact.extractor.latent_space.vae
    pool = exact.migrator(settings).pool
    own = exact.styles[one.style_ids[0]]

    def loss(z: torch.Tensor, update: int) -> torch.Tensor:
        if update % settings.pixel_every:
            return torch.zeros(())
        level = z / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
        values = vae.decode(level).sample[:, 0, : SHAPE[0], : SHAPE[1]].float()
        intensity = 10 ** ((-25 + (values + 1) / 2 * 40) / 10)  # model space is -25 to 15 dB
        if settings.mode == "paper":
            corners = torch.from_numpy(style_windows(own.intensity))[None]
            terms = paper_terms(intensity, torch.from_numpy(own.intensity)[None], corners)
        else:
            windows = torch.from_numpy(homogeneous_windows(one.intensity[None]))
            terms = robust_terms(intensity, windows, pool)
        weighted = settings.speckle_weight * terms.speckle + settings.spectrum_weight * terms.spectrum
        return settings.pixel_every * weighted.sum()

    return loss


@pytest.mark.parametrize("mode", ["paper", "robust"])
@pytest.mark.parametrize("pixel_every", [1, 2, 3])
def test_pixel_terms_count_at_each_so_maniest_update_as_many_times_as_much(
    exact: Bench, plain: ModuleType, latents: list[torch.Tensor], mode: str, pixel_every: int
) -> None:
    changes: dict[str, Any] = {
        **PIXELS,
        "mode": mode,
        "pixel_every": pixel_every,
        "timesteps": 2,
        "iterations": 2,
        "batch_size": 1,
    }
    one, settings = content(1, "style-1"), replace(SETTINGS, **changes)
    (found,) = exact.run([one], **changes)
    turns = np.arange(4) % pixel_every == 0
    for column in (SPECKLE, SPECTRUM):
        np.testing.assert_array_equal(np.isfinite(found.trace[:, column]), turns)
        assert found.trace[0, column] > 0
    weighted = 0.1 * found.trace[:, SPECKLE] + 0.2 * found.trace[:, SPECTRUM]
    plain_part = found.trace[:, DISTILLATION] + 0.25 * found.trace[:, CONTENT]
    expected_total = plain_part + np.where(turns, pixel_every * weighted, 0)
    np.testing.assert_allclose(found.trace[:, TOTAL], expected_total, rtol=1e-5)
    start = exact.latents(one.start)
    expected = plain.distil(
        small_unet().double(),
        prompt().double(),
        start.double(),
        [exact.latents(exact.styles["style-1"].values).double()],
        exact.extractor.capture.layers,
        timesteps=2,
        iterations=2,
        other_loss=plain_pixel_loss(exact, settings, one),
    )
    first = plain_pixel_loss(exact, settings, one)(start.double(), 0)
    assert pixel_every * weighted[0] == pytest.approx(first.item(), rel=1e-4)
    assert moved(latents[0][0], expected.latents[0], start[0]) < 5e-3
    np.testing.assert_allclose(found.trace[:, DISTILLATION], expected.distillation, rtol=1e-3)


def decodes(extractor: Extractor, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each decoding is one that gradients go through."""
    seen: list[bool] = []
    vae: Any = extractor.latent_space.vae
    decode = vae.decode

    def spy(given: torch.Tensor) -> Any:
        seen.append(given.requires_grad)
        return decode(given)

    monkeypatch.setattr(vae, "decode", spy)
    return seen


def test_without_pixel_terms_nothing_is_decoded_on_the_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = decodes(bench.extractor, monkeypatch)
    (found,) = bench.run([content(0)])
    assert seen == [False]
    assert np.isnan(found.trace[:, [SPECKLE, SPECTRUM]]).all()
    assert np.isfinite(found.trace[:, [DISTILLATION, CONTENT, TOTAL]]).all()
    seen.clear()
    bench.run([content(0)], spectrum_weight=0.1, pixel_every=2)
    assert seen == [True, True, False]


def test_the_first_update_starts_at_the_content(bench: Bench) -> None:
    (found,) = bench.run([content(0)])
    assert found.trace[0, CONTENT] == 0
    assert (found.trace[1:, CONTENT] > 0).all()


# --- batches


def each_of(bench: Bench, *contents: Content, **changes: Any) -> dict[str, Migrated]:
    """Migrated together, by name."""
    targets = [bright_target_mask(one.intensity[None])[0] for one in contents]
    made = bench.run(contents, targets, **changes)
    assert len(made) == len(contents)
    return {one.name: own for one, own in zip(contents, made, strict=True)}


@pytest.mark.parametrize("mode", ["paper", "robust"])
def test_a_chip_does_not_depend_on_its_neighbours(bench: Bench, mode: str) -> None:
    """To the byte at a fixed batch size, and where the batch was filled up with itself."""
    changes: dict[str, Any] = {**PIXELS, "mode": mode, "batch_size": 3, "timesteps": 2, "masks": True}
    one, two, three, four = (content(seed, target=seed == 1) for seed in range(4))
    whole = each_of(bench, one, two, three, **changes)
    for others in ((one, four, two), (one,), (four, two), (four, two, one), (two, four, three)):
        found = each_of(bench, *others, **changes)
        for place, name in enumerate(whole):
            if place < len(others) and others[place].name == name:
                assert found[name].values.tobytes() == whole[name].values.tobytes()
                assert found[name].trace.tobytes() == whole[name].trace.tobytes()
    assert whole[one.name].values.tobytes() != whole[two.name].values.tobytes()


def test_places_and_sizes_of_batches_matter_to_the_last_digits_alone(exact: Bench) -> None:
    """Vector units round the ends of arrays differently: hence no bytes here."""
    contents = [content(seed) for seed in range(3)]
    changes: dict[str, Any] = {**PIXELS, "timesteps": 2}
    together = each_of(exact, *contents, batch_size=3, **changes)
    for others, size in ((contents[::-1], 3), (contents[1:], 2), (contents[2:], 1)):
        for name, found in each_of(exact, *others, batch_size=size, **changes).items():
            np.testing.assert_allclose(found.values, together[name].values, atol=1e-3)
            np.testing.assert_allclose(found.trace, together[name].trace, rtol=1e-3, atol=1e-4)


def test_the_same_run_gives_the_same_bytes_and_draws_nothing(bench: Bench) -> None:
    before = torch.get_rng_state()
    first, again = (bench.run([content(0)], **PIXELS)[0] for _ in range(2))
    assert first.values.tobytes() == again.values.tobytes()
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_left_alone(bench: Bench) -> None:
    parts = (bench.extractor.unet, bench.extractor.latent_space.vae)
    before = [weights.clone() for part in parts for weights in part.parameters()]
    bench.run([content(0)], **PIXELS)
    after = [weights for part in parts for weights in part.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert not any(weights.requires_grad or weights.grad is not None for weights in after)


# --- chips that stop


Script = Sequence[Sequence[float]]


def scripted(
    monkeypatch: pytest.MonkeyPatch, distillation: Script, content: Script | None = None
) -> list[torch.Tensor]:
    """Losses by chip and update, with the real gradients; the latents before each update."""
    before: list[torch.Tensor] = []
    see = Extractor.see

    def spy(self: Extractor, latents: torch.Tensor, time: int) -> Any:
        if latents.requires_grad:
            before.append(latents.detach().clone())
        return see(self, latents, time)

    def told(values: Script, loss: Any) -> Any:
        def replaced(*given: Any) -> torch.Tensor:
            real: torch.Tensor = loss(*given)
            now = torch.tensor([own[len(before) - 1] for own in values])
            return now + real - real.detach()

        return replaced

    monkeypatch.setattr(Extractor, "see", spy)
    monkeypatch.setattr(migration, "distillation_loss", told(distillation, migration.distillation_loss))
    nothing = [[0.0] * len(own) for own in distillation]
    monkeypatch.setattr(migration, "content_loss", told(content or nothing, migration.content_loss))
    return before


def two() -> list[Content]:
    return [content(0), content(1)]


@pytest.mark.parametrize(
    ("patience", "stops"),
    [(1, (3, 2)), (2, (4, 6)), (3, (5, 6)), (4, (6, 6)), (None, (6, 6))],
)
def test_a_chip_stops_where_it_was_after_times_without_progress(
    bench: Bench,
    latents: list[torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    patience: int | None,
    stops: tuple[int, int],
) -> None:
    # Two updates at each of six times; the third of the first chip is below its best by too little.
    by_time = [[9.0, 8.0, 7.997, 8.5, 8.0, 8.0], [9.0, 9.1, 8.0, 8.1, 7.0, 6.0]]
    script = [[loss / 2 for loss in own for _ in range(2)] for own in by_time]
    before = scripted(monkeypatch, script)
    found = bench.run(two(), timesteps=6, iterations=2, patience=patience)
    made = 2 * max(stops)
    assert len(before) == made  # when all have stopped, nothing more is computed
    for place, stop in enumerate(stops):
        trace = found[place].trace
        assert trace.shape == (made, len(TERMS))
        np.testing.assert_allclose(trace[: 2 * stop, DISTILLATION], script[place][: 2 * stop], rtol=1e-6)
        assert np.isnan(trace[2 * stop :]).all()
        if 2 * stop < made:
            assert torch.equal(latents[0][place], before[2 * stop][place])
            assert not torch.equal(latents[0][place], before[-1][place])
        else:
            assert not torch.equal(latents[0][place], before[-1][place])  # one update later


def test_a_chip_that_goes_on_is_what_it_is_without_patience(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = [[5.0, 5.0, 5.0, 5.0], [4.0, 3.0, 2.0, 1.0]]
    with monkeypatch.context() as patch:
        scripted(patch, script)
        free = bench.run(two(), timesteps=4)
    with monkeypatch.context() as patch:
        scripted(patch, script)
        held = bench.run(two(), timesteps=4, patience=1)
    assert held[1].values.tobytes() == free[1].values.tobytes()
    assert held[1].trace.tobytes() == free[1].trace.tobytes()
    assert held[0].values.tobytes() != free[0].values.tobytes()


def test_progress_is_that_of_the_loss_that_is_minimised(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distillation falls and content rises: 0.25 of it is less than what was won, all of it is more."""
    scripted(monkeypatch, [[4.0, 3.0, 2.0]] * 2, [[0.0, 2.0, 4.0]] * 2)
    found = bench.run(two(), timesteps=3, patience=1, content_weight=0.25)
    np.testing.assert_allclose(found[0].trace[:, TOTAL], [4.0, 3.5, 3.0], rtol=1e-6)


# --- what is refused


def test_a_loss_that_is_not_finite_names_the_chip(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [[4.0, 3.0, 2.0], [4.0, np.nan, np.nan]])
    with pytest.raises(DataError, match="migrating content-1: the loss is nan") as caught:
        bench.run(two())
    assert "migrate.learning_rate" in caught.value.fix
    assert "finished chips are kept" in caught.value.fix


def test_what_a_finished_chip_would_have_become_is_no_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [[4.0, 4.0, np.nan], [4.0, 3.0, 2.0]])
    found = bench.run(two(), patience=1)
    assert [int(np.isfinite(own.trace[:, TOTAL]).sum()) for own in found] == [2, 3]
    assert all(np.isfinite(own.values).all() for own in found)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("mode", ("both", "")),
        ("timesteps", (0, -1)),
        ("iterations", (0,)),
        ("pixel_every", (0,)),
        ("batch_size", (0,)),
        ("patience", (0, -1)),
        ("learning_rate", (0.0, -0.05, np.nan, np.inf)),
        ("content_weight", (-0.25, np.nan)),
        ("speckle_weight", (-0.1, np.nan)),
        ("spectrum_weight", (-0.1, np.inf)),
    ],
)
def test_settings_out_of_bounds_are_refused(field: str, values: Sequence[Any]) -> None:
    for value in values:
        with pytest.raises(ParamsError, match=rf"migration: {field} is {value}"):
            replace(SETTINGS, **{field: value})
