"""Sampling from a tiny random base: a chip is decided by its own seed and prompt, not by its company."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sarcurate.core.model_space import ModelSpace
from sarcurate.errors import DataError, HardwareError, ParamsError
from sarcurate.io.generated import Generator, Recipe
from sarcurate.models import sampling
from sarcurate.models.prompt_encoding import PromptEmbeddings
from sarcurate.models.sampling import Sampler, SampleSettings, refuse_broken, sample_latents

SHAPE = (4, 8, 4)
SETTINGS = SampleSettings(steps=3, guidance=2.0, negative_prompt="", precision="fp32", batch_size=3)


@pytest.fixture(scope="module")
def transformer() -> Any:
    from diffusers import SD3Transformer2DModel

    torch.manual_seed(3)
    model = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=12,
        caption_projection_dim=16,
        pooled_projection_dim=6,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
    )
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def scheduler() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=2.0)


def _embeddings(n: int, seed: int = 0) -> PromptEmbeddings:
    own = torch.Generator().manual_seed(seed)
    return PromptEmbeddings(torch.randn(n, 5, 12, generator=own), torch.randn(n, 6, generator=own))


NEGATIVE = _embeddings(1, seed=9)


@pytest.fixture(scope="module")
def sample(transformer: Any, scheduler: Any) -> Callable[..., torch.Tensor]:
    def draw(places: list[int], settings: SampleSettings = SETTINGS, **changes: Any) -> torch.Tensor:
        known = _embeddings(8)
        given = {
            "transformer": transformer,
            "embeddings": PromptEmbeddings(known.tokens[places], known.pooled[places]),
            "negative": NEGATIVE,
            "seeds": [100 + place for place in places],
        } | changes
        return sample_latents(scheduler=scheduler, latent_shape=SHAPE, settings=settings, **given)

    return draw


def _plain(transformer: Any, place: int, settings: SampleSettings, shift: float) -> torch.Tensor:
    """Euler steps down the shifted noise levels, one chip, written out; Esser et al. 2024, eqs. 3 and 23."""
    known = _embeddings(8)
    latent = torch.randn(SHAPE, generator=torch.Generator().manual_seed(100 + place))[None]
    # diffusers spaces the steps between the first and the last of 1,000 training times, both shifted already.
    shifted = [shift * s / (1 + (shift - 1) * s) for s in (1.0, 0.001)]
    even = np.linspace(shifted[0], shifted[1], settings.steps)
    levels = [*(shift * s / (1 + (shift - 1) * s) for s in even), 0.0]

    def velocity(tokens: torch.Tensor, pooled: torch.Tensor, level: float) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = transformer(
                hidden_states=latent,
                timestep=torch.tensor([1000.0 * level]),
                encoder_hidden_states=tokens[None],
                pooled_projections=pooled[None],
                return_dict=False,
            )[0]
        return found

    for level, below in itertools.pairwise(levels):
        away = velocity(NEGATIVE.tokens[0], NEGATIVE.pooled[0], level)
        towards = velocity(known.tokens[place], known.pooled[place], level)
        latent = latent + (below - level) * (away + settings.guidance * (towards - away))
    return latent[0]


@pytest.mark.parametrize("guidance", [1.0, 2.0, 4.5])
def test_latents_are_those_of_plain_euler_steps(
    sample: Callable[..., torch.Tensor], transformer: Any, guidance: float
) -> None:
    settings = replace(SETTINGS, guidance=guidance)
    found = sample([2, 5], settings)
    assert found.shape == (2, *SHAPE)
    assert found.dtype == torch.float32
    for mine, place in zip(found, (2, 5), strict=True):
        torch.testing.assert_close(mine, _plain(transformer, place, settings, 2.0), rtol=1e-4, atol=1e-5)


def test_a_chip_does_not_depend_on_who_is_drawn_beside_it(sample: Callable[..., torch.Tensor]) -> None:
    alone, among = sample([4])[0], sample([0, 1, 2, 3, 4])[4]
    torch.testing.assert_close(alone, among, rtol=1e-4, atol=1e-5)
    other_size = sample([0, 1, 2, 3, 4], replace(SETTINGS, batch_size=5))[4]
    torch.testing.assert_close(alone, other_size, rtol=1e-4, atol=1e-5)


def test_the_same_batch_has_the_same_bytes(sample: Callable[..., torch.Tensor]) -> None:
    assert torch.equal(sample([0, 1, 2, 3]), sample([0, 1, 2, 3]))
    torch.manual_seed(77)  # the global generator has no part in it
    assert torch.equal(sample([0, 1, 2, 3])[:3], sample([0, 1, 2]))


def test_seed_and_prompt_decide(sample: Callable[..., torch.Tensor]) -> None:
    usual = sample([0])
    assert not torch.allclose(usual, sample([0], seeds=[5]), atol=1e-2)
    assert not torch.allclose(usual, sample([0], embeddings=_embeddings(1, seed=4)), atol=1e-3)
    assert not torch.allclose(usual, sample([0], negative=_embeddings(1, seed=4)), atol=1e-3)


def test_every_batch_has_the_full_size(sample: Callable[..., torch.Tensor], transformer: Any) -> None:
    sizes: list[int] = []
    hook = transformer.register_forward_pre_hook(
        lambda _module, _args, kwargs: sizes.append(len(kwargs["hidden_states"])), with_kwargs=True
    )
    try:
        sample([0, 1, 2, 3], replace(SETTINGS, steps=1))
        sample([0, 1, 2, 3], replace(SETTINGS, steps=1, guidance=1.0), negative=None)
    finally:
        hook.remove()
    assert sizes == [6, 6, 3, 3]  # guidance asks twice; without it nothing is asked for


def test_nothing_asked_nothing_drawn(sample: Callable[..., torch.Tensor]) -> None:
    assert sample([]).shape == (0, *SHAPE)


def test_transformer_and_scheduler_stay_as_they_were(
    sample: Callable[..., torch.Tensor], transformer: Any, scheduler: Any
) -> None:
    transformer.train()
    steps = scheduler.timesteps.clone()
    sample([0])
    assert transformer.training
    assert not transformer._forward_hooks
    assert not transformer._forward_pre_hooks
    assert torch.equal(scheduler.timesteps, steps)
    transformer.eval()


def test_in_bf16_only_the_transformer_rounds(transformer: Any, sample: Callable[..., torch.Tensor]) -> None:
    """Latents that were rounded between steps would be the same as bfloat16."""
    small = copy.deepcopy(transformer).to(torch.bfloat16)
    found = sample([1], replace(SETTINGS, precision="bf16"), transformer=small)
    assert found.dtype == torch.float32
    assert not torch.equal(found, found.to(torch.bfloat16).float())
    torch.testing.assert_close(found, sample([1]), rtol=0.05, atol=0.05)


def test_another_precision_than_asked_for_is_refused(sample: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(ParamsError, match=r"sampling at bf16: the transformer's weights are float32"):
        sample([0], replace(SETTINGS, precision="bf16"))


def test_guidance_needs_a_negative_prompt(sample: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(ParamsError, match=r"guidance 2 needs a negative prompt"):
        sample([0], negative=None)


def test_a_full_device_is_told(
    sample: Callable[..., torch.Tensor], transformer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any, **_kwargs: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    monkeypatch.setattr(transformer, "forward", full)
    with pytest.raises(HardwareError, match=r"cpu: no memory for 3 chips of \(4, 8, 4\) latents"):
        sample([0])
    assert not transformer._forward_hooks


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("guidance", 0.5),
        ("guidance", float("nan")),
        ("guidance", float("inf")),
        ("precision", "fp8"),
        ("batch_size", 0),
    ],
)
def test_settings_out_of_bounds(name: str, value: Any) -> None:
    with pytest.raises(ParamsError, match=f"sampling: {name} is {value}, expected") as caught:
        replace(SETTINGS, **{name: value})
    assert f"generate.{name}" in caught.value.fix


def _chips() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (3, 6, 5)).astype(np.float32)


def test_sound_chips_pass() -> None:
    refuse_broken(_chips(), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda chip: chip.__setitem__((2, 3), np.nan), "has 1 non-finite of 30 pixels"),
        (lambda chip: chip.__setitem__((2, slice(0, 2)), np.inf), "has 2 non-finite of 30 pixels"),
        (lambda chip: chip.fill(-1.2), "is black: 100.0 % of its pixels"),
        (lambda chip: chip.fill(0.25), "is constant: all pixels are 0.25 in model space"),
        (lambda chip: chip.fill(1.0), "is constant: all pixels are 1 in model space"),
    ],
)
def test_broken_chips_are_named(break_it: Callable[[np.ndarray], None], said: str) -> None:
    chips = _chips()
    break_it(chips[1])
    with pytest.raises(DataError, match=f"generated chip b {said}") as caught:
        refuse_broken(chips, ["a", "b", "c"])
    assert "generate.guidance" in caught.value.fix


def test_a_black_chip_with_one_bright_pixel_is_black() -> None:
    chip = np.full((1, 20, 20), -1.0, np.float32)
    chip[0, 3, 3] = 0.5
    with pytest.raises(DataError, match=r"is black: 99\.8 %"):
        refuse_broken(chip, ["a"])
    chip[0, :3] = np.linspace(-0.9, 0.9, 60).reshape(3, 20)
    refuse_broken(chip, ["a"])  # 15 % of shown ground: for the gates to judge


def _recipes(n: int) -> list[Recipe]:
    generator = Generator(1, "a" * 64, "base", "b" * 64, {}, (-20.0, 20.0), (8, 4), (8, 4))
    return [Recipe("x", i, f"prompt {i % 2}", None, None, generator) for i in range(n)]


@pytest.fixture
def sampler(transformer: Any, scheduler: Any) -> Sampler:
    space = ModelSpace(-20.0, 20.0)
    first = lambda latents: latents[:, 0].numpy()  # noqa: E731
    prompts = ("prompt 0", "prompt 1")
    return Sampler(transformer, scheduler, first, prompts, _embeddings(2), NEGATIVE, SHAPE, SETTINGS, space)


def test_a_sampler_gives_every_recipe_its_prompt_and_seed(
    sampler: Sampler, transformer: Any, scheduler: Any
) -> None:
    recipes = _recipes(3)
    found = sampler(recipes)
    known = _embeddings(2)
    for chip, recipe, place in zip(found, recipes, (0, 1, 0), strict=True):
        asked = PromptEmbeddings(known.tokens[[place]], known.pooled[[place]])
        latents = sample_latents(transformer, scheduler, asked, NEGATIVE, [recipe.seed], SHAPE, SETTINGS)
        level_db = 20.0 * np.clip(latents[0, 0].numpy().astype(np.float64), -1, 1)
        np.testing.assert_allclose(10 * np.log10(chip), level_db, atol=2e-3)


def test_a_sampler_decodes_full_batches(sampler: Sampler) -> None:
    sizes: list[int] = []

    def decode(latents: torch.Tensor) -> np.ndarray:
        sizes.append(len(latents))
        return latents[:, 0].numpy()

    settings = replace(SETTINGS, steps=1, guidance=1.0)
    counting = replace(sampler, decode=decode, settings=settings)
    assert [len(counting(_recipes(n))) for n in (1, 3, 4)] == [1, 3, 4]
    assert sizes == [3, 3, 3, 3]


def test_a_sampler_refuses_unknown_prompts_and_broken_chips(sampler: Sampler) -> None:
    with pytest.raises(ParamsError, match=r"prompt 'prompt 1' was not encoded, known are \['prompt 0'\]"):
        replace(sampler, prompts=("prompt 0",))(_recipes(2))
    infinite = lambda latents: np.full((len(latents), 8, 4), np.inf, np.float32)  # noqa: E731
    recipes = _recipes(1)
    with pytest.raises(DataError, match=f"generated chip {recipes[0].chip_id} has 32 non-finite"):
        replace(sampler, decode=infinite)(recipes)


def test_diffusers_says_nothing(
    sample: Callable[..., torch.Tensor], capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample([0])
    assert capfd.readouterr() == ("", "")
    assert sampling.PRECISIONS["bf16"] == "bfloat16"
