"""Capture of self-attention: the forward stays what it was, and what is told is what plain hooks see."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.errors import HardwareError, ParamsError
from sarcurate.models.attention_capture import (
    AttentionCapture,
    Captured,
    preset_layers,
    self_attention_layers,
)
from sarcurate.models.tiny_unet import new_unet

PROMPT_TOKENS, WIDTH, POOLED = 3, 12, 10
TIME = 481


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sd15_unet() -> Any:
    """Four blocks as in Stable Diffusion 1.5: no attention in the deepest."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=2,
        attention_head_dim=2,
        cross_attention_dim=WIDTH,
        norm_num_groups=4,
    )


def xl_unet() -> Any:
    """Three blocks as in Stable Diffusion XL: attention in the deeper two, sizes and pooled text told."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
        up_block_types=(*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"),
        block_out_channels=(8, 8, 16),
        layers_per_block=2,
        transformer_layers_per_block=[1, 2, 10],
        attention_head_dim=[1, 2, 4],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + POOLED,
        cross_attention_dim=WIDTH,
        norm_num_groups=4,
    )


UNETS: dict[str, Callable[[], Any]] = {"sd15": sd15_unet, "xl": xl_unet, "tiny": new_unet}


def built(layout: str) -> Any:
    torch.manual_seed(3)
    return UNETS[layout]().requires_grad_(False).eval()


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """A UNet of each layout with the processors of diffusers; not to be changed."""
    return {layout: built(layout) for layout in UNETS}


def latents(n: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 4, 16, 8, generator=torch.Generator().manual_seed(seed))


def run(unet: Any, z: torch.Tensor) -> torch.Tensor:
    n, generator = len(z), torch.Generator().manual_seed(9)
    prompt = torch.randn(1, PROMPT_TOKENS, unet.config.cross_attention_dim, generator=generator)
    added = {
        "text_embeds": torch.randn(1, POOLED, generator=generator).expand(n, -1).to(unet.dtype),
        "time_ids": torch.tensor([[32.0, 16, 0, 0, 32, 16]]).expand(n, -1).to(unet.dtype),
    }
    out: torch.Tensor = unet(
        z.to(unet.dtype), TIME, prompt.expand(n, -1, -1).to(unet.dtype), added_cond_kwargs=added
    ).sample
    return out


def hooked(unet: Any, z: torch.Tensor) -> dict[str, Captured]:
    """Every self-attention as its plain linear layers see it: what they give, and what the last one gets."""
    seen: dict[str, dict[str, torch.Tensor]] = {}
    handles = []
    for name in [name for name, _ in unet.named_modules() if name.endswith(".attn1")]:
        module, own = unet.get_submodule(name), seen.setdefault(name, {})

        def heads(states: torch.Tensor, n: int = module.heads) -> torch.Tensor:
            return torch.stack(states.chunk(n, dim=2), dim=1)

        for part in ("to_q", "to_k", "to_v"):

            def gave(
                _m: Any, _i: Any, out: torch.Tensor, to: Any = own, k: str = part, f: Any = heads
            ) -> None:
                to[k] = f(out)

            handles.append(getattr(module, part).register_forward_hook(gave))

        def got(_m: Any, inputs: Any, own: Any = own, f: Any = heads) -> None:
            own["output"] = f(inputs[0])

        handles.append(module.to_out[0].register_forward_pre_hook(got))
    run(unet, z)
    for handle in handles:
        handle.remove()
    return {
        name: Captured(own["to_q"], own["to_k"], own["to_v"], own["output"]) for name, own in seen.items()
    }


def modules_run(unet: Any, task: Callable[[], object]) -> list[str]:
    """Names of the modules that began, in order."""
    names: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda _m, _i, name=name: names.append(name))
        for name, module in unet.named_modules()
    ]
    task()
    for handle in handles:
        handle.remove()
    return names


def parts(captured: Captured) -> list[torch.Tensor]:
    return [captured.query, captured.key, captured.value, captured.output]


def same(one: Sequence[Captured], other: Sequence[Captured]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b)
        for left, right in zip(one, other, strict=True)
        for a, b in zip(parts(left), parts(right), strict=True)
    )


# --- the forward


@pytest.mark.parametrize("layout", UNETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_processors_leave_every_digit_of_the_forward(layout: str, dtype: torch.dtype) -> None:
    unet = built(layout).to(dtype)
    before = run(unet, latents())
    capture = AttentionCapture(unet, self_attention_layers(unet))
    assert torch.equal(run(unet, latents()), before)
    capture.record(lambda: run(unet, latents(seed=1)))
    assert torch.equal(run(unet, latents()), before)


@pytest.mark.parametrize("layout", UNETS)
def test_what_is_told_is_what_plain_hooks_see(layout: str, plain: dict[str, Any]) -> None:
    unet = copy.deepcopy(plain[layout])
    expected = hooked(plain[layout], latents())
    capture = AttentionCapture(unet, list(expected))
    found = capture.record(lambda: run(unet, latents()))
    assert same(found, [expected[name] for name in capture.layers])
    heads = {layer.query.shape[1] for layer in found}
    assert all(layer.query.shape == layer.output.shape for layer in found)
    assert heads == {unet.get_submodule(name).heads for name in expected}


@pytest.mark.parametrize("layout", UNETS)
def test_layers_are_named_in_the_order_in_which_they_run(layout: str, plain: dict[str, Any]) -> None:
    ran = modules_run(plain[layout], lambda: run(plain[layout], latents()))
    assert self_attention_layers(plain[layout]) == [name for name in ran if name.endswith(".attn1")]


@pytest.mark.parametrize("layout", UNETS)
def test_the_forward_ends_with_the_last_layer_asked_for(layout: str, plain: dict[str, Any]) -> None:
    whole = modules_run(plain[layout], lambda: run(plain[layout], latents()))
    unet = copy.deepcopy(plain[layout])
    layers = self_attention_layers(unet)
    for wanted in ([layers[0]], [layers[-2], layers[1]], layers):
        capture = AttentionCapture(unet, wanted)
        ran = modules_run(unet, lambda capture=capture: capture.record(lambda: run(unet, latents())))
        last = max(wanted, key=layers.index)
        assert ran == whole[: whole.index(f"{last}.to_v") + 1]
    assert "conv_out" in whole
    assert "conv_out" not in ran


_SD15 = built("sd15")


@settings(max_examples=12, deadline=None)
@given(wanted=st.lists(st.sampled_from(self_attention_layers(_SD15)), min_size=1, max_size=6))
def test_any_layers_in_any_order_are_told_in_the_order_in_which_they_run(wanted: list[str]) -> None:
    expected = hooked(_SD15, latents(1))
    capture = AttentionCapture(_SD15, wanted)
    assert list(capture.layers) == sorted(set(wanted), key=self_attention_layers(_SD15).index)
    found = capture.record(lambda: run(_SD15, latents(1)))
    assert same(found, [expected[name] for name in capture.layers])


def test_nothing_of_one_record_is_in_the_next(plain: dict[str, Any]) -> None:
    unet = copy.deepcopy(plain["sd15"])
    capture = AttentionCapture(unet, preset_layers(unet, "texture"))
    alone = capture.record(lambda: run(unet, latents(seed=2)))
    capture.record(lambda: run(unet, latents(3, seed=1)))
    assert same(capture.record(lambda: run(unet, latents(seed=2))), alone)


def test_an_error_inside_is_raised_and_ends_the_record(plain: dict[str, Any]) -> None:
    unet = copy.deepcopy(plain["sd15"])
    capture = AttentionCapture(unet, self_attention_layers(unet)[:1])

    def broken() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        capture.record(broken)
    assert torch.equal(run(unet, latents()), run(plain["sd15"], latents()))


# --- gradients


def loss_and_gradient(unet: Any, capture: AttentionCapture) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Of a loss of all that is told, and the modules that began during the backward pass."""
    z = latents().requires_grad_(True)
    found = capture.record(lambda: run(unet, z))
    weights = torch.Generator().manual_seed(4)
    loss = torch.stack(
        [
            (torch.randn(part.shape, generator=weights) * part).sum() + part.abs().mean()
            for layer in found
            for part in parts(layer)
        ]
    ).sum()
    again = modules_run(unet, loss.backward)
    assert z.grad is not None
    return loss.detach(), z.grad, again


@pytest.mark.parametrize("layout", UNETS)
def test_gradients_are_those_of_the_plain_forward(layout: str, plain: dict[str, Any]) -> None:
    unet = copy.deepcopy(plain[layout])
    capture = AttentionCapture(unet, preset_layers(unet, "paper"))
    loss, gradient, _ = loss_and_gradient(unet, capture)
    z = latents().requires_grad_(True)
    seen = hooked(plain[layout], z)
    weights = torch.Generator().manual_seed(4)
    expected = torch.stack(
        [
            (torch.randn(part.shape, generator=weights) * part).sum() + part.abs().mean()
            for name in capture.layers
            for part in parts(seen[name])
        ]
    ).sum()
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    assert z.grad is not None
    torch.testing.assert_close(gradient, z.grad, rtol=1e-4, atol=1e-5 * float(z.grad.abs().max()))


@pytest.mark.parametrize("layout", UNETS)
@pytest.mark.parametrize("preset", ["paper", "texture"])
def test_checkpointing_changes_neither_losses_nor_gradients(layout: str, preset: str) -> None:
    unet = built(layout)
    capture = AttentionCapture(unet, preset_layers(unet, preset))
    loss, gradient, none = loss_and_gradient(unet, capture)
    assert none == []
    unet.enable_gradient_checkpointing()
    unet.train()  # dropout is 0 everywhere
    found_loss, found, again = loss_and_gradient(unet, capture)
    assert torch.equal(found_loss, loss)
    torch.testing.assert_close(found, gradient, rtol=1e-5, atol=1e-6 * float(gradient.abs().max()))
    # Captured layers did run a second time, and a recomputation is no recording.
    assert {f"{name}.to_q" for name in capture.layers} & set(again)
    kept = capture.record(lambda: run(unet, latents()))
    assert len(kept) == len(capture.layers)


# --- names


def attn1(block: str, attentions: int, depth: int = 1) -> list[str]:
    return [
        f"{block}.attentions.{place}.transformer_blocks.{layer}.attn1"
        for place in range(attentions)
        for layer in range(depth)
    ]


PRESETS = {
    ("sd15", "paper"): [*attn1("up_blocks.1", 3), *attn1("up_blocks.2", 3), *attn1("up_blocks.3", 3)],
    ("sd15", "ad_default"): [*attn1("up_blocks.2", 3), *attn1("up_blocks.3", 3)],
    ("sd15", "texture"): attn1("up_blocks.3", 3),
    ("xl", "paper"): [*attn1("up_blocks.0", 3, 10), *attn1("up_blocks.1", 3, 2)],
    ("xl", "ad_default"): attn1("up_blocks.1", 3, 2),
    ("xl", "texture"): attn1("up_blocks.1", 3, 2),
    ("tiny", "paper"): [*attn1("up_blocks.0", 2), *attn1("up_blocks.1", 2), *attn1("up_blocks.2", 2)],
    ("tiny", "ad_default"): [*attn1("up_blocks.1", 2), *attn1("up_blocks.2", 2)],
    ("tiny", "texture"): attn1("up_blocks.2", 2),
}


@pytest.mark.parametrize(("layout", "preset"), PRESETS)
def test_presets_are_the_layers_written_by_hand(layout: str, preset: str, plain: dict[str, Any]) -> None:
    assert preset_layers(plain[layout], preset) == PRESETS[layout, preset]


@pytest.mark.parametrize(
    ("layout", "places"), [("sd15", (16, range(10, 16), range(7, 16))), ("xl", (70, range(64, 70), None))]
)
def test_presets_have_the_authors_numbers(layout: str, places: Any, plain: dict[str, Any]) -> None:
    """Zhou et al. count self-attentions in the order of execution."""
    n, ad_default, paper = places
    layers = self_attention_layers(plain[layout])
    assert len(layers) == n
    assert preset_layers(plain[layout], "ad_default") == [layers[place] for place in ad_default]
    if paper is not None:
        assert preset_layers(plain[layout], "paper") == [layers[place] for place in paper]


def test_one_block_of_attention_is_every_preset() -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 8),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=WIDTH,
        norm_num_groups=4,
    )
    for preset in ("paper", "ad_default", "texture"):
        assert preset_layers(unet, preset) == attn1("up_blocks.1", 2)


def test_another_preset_is_refused_with_the_names_there_are(plain: dict[str, Any]) -> None:
    with pytest.raises(ParamsError, match=r"layers 'shallow' of a decoder with 3 blocks") as caught:
        preset_layers(plain["sd15"], "shallow")
    for known in ("ad_default, paper, texture", *self_attention_layers(plain["sd15"])):
        assert known in caught.value.fix


def test_a_decoder_without_attention_is_refused() -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 8),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=WIDTH,
        norm_num_groups=4,
    )
    with pytest.raises(ParamsError, match="'paper' of a decoder with 0 blocks"):
        preset_layers(unet, "paper")


def test_attention_that_reads_the_text_alone_is_no_self_attention() -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 8),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=WIDTH,
        norm_num_groups=4,
        only_cross_attention=(True, True),
    )
    decoders = [name for name in unet.attn_processors if name.startswith("up_blocks") and ".attn1" in name]
    assert decoders
    assert not any(name.startswith("up_blocks") for name in self_attention_layers(unet))
    with pytest.raises(ParamsError, match="a decoder with 0 blocks of attention"):
        preset_layers(unet, "paper")
    with pytest.raises(ParamsError, match="it has no layers"):
        AttentionCapture(unet, [decoders[0].removesuffix(".processor")])


def test_unknown_layers_are_refused_with_those_it_has(plain: dict[str, Any]) -> None:
    unet = copy.deepcopy(plain["sd15"])
    cross = attn1("up_blocks.2", 1)[0].replace("attn1", "attn2")
    with pytest.raises(ParamsError, match=rf"has no layers \['{cross}', 'up_blocks\.9'\]") as caught:
        AttentionCapture(unet, ["up_blocks.9", *attn1("up_blocks.2", 1), cross])
    assert caught.value.fix == f"name some of {', '.join(self_attention_layers(unet))}"
    with pytest.raises(ParamsError, match="no layers are named"):
        AttentionCapture(unet, [])


@pytest.mark.parametrize("norm", ["group_norm", "spatial_norm"])
def test_a_layer_of_another_kind_is_refused(norm: str, plain: dict[str, Any]) -> None:
    unet = copy.deepcopy(plain["sd15"])
    name = attn1("up_blocks.3", 1)[0]
    setattr(unet.get_submodule(name), norm, torch.nn.GroupNorm(1, 8))
    with pytest.raises(HardwareError, match=rf"layer {name} normalises its input"):
        AttentionCapture(unet, [name])
