from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sarcurate.errors import DataError, ParamsError
from sarcurate.models.lora import (
    TARGETS,
    AdapterMetadata,
    adapter_sha256,
    attach_lora,
    load_adapter,
    lora_parameters,
    read_metadata,
    save_adapter,
)

WEIGHTS = "pytorch_lora_weights.safetensors"
BASE: Any = SimpleNamespace(path=Path("base"), sha256="a" * 64, name="some-base")
METADATA = AdapterMetadata(
    format=1,
    base_name="some-base",
    base_sha256="a" * 64,
    rank=4,
    alpha=8.0,
    targets=TARGETS["wide_dual"],
    low_db=-40.0,
    high_db=30.0,
    radiometry="sigma0",
    sensor="simulated",
    chip_px=(16, 16),
    model_px=(16, 16),
    classes=("B-52", "Flugzeug Ä"),
    prompt_fields=("sensor",),
    train_revision="r" * 64,
    settings={"learning_rate": 1e-4},
    steps=3,
    clipped_low=1,
    clipped_high=2,
    pixels=256,
)


def transformer_of(dual: tuple[int, ...] = (0,), dtype: torch.dtype = torch.float32, width: int = 8) -> Any:
    from diffusers import SD3Transformer2DModel

    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=width,
        num_attention_heads=2,
        joint_attention_dim=12,
        caption_projection_dim=2 * width,
        pooled_projection_dim=10,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
        dual_attention_layers=dual,
    )
    return transformer if dtype == torch.float32 else transformer.to(dtype)


def output_of(transformer: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        out: torch.Tensor = transformer(
            hidden_states=torch.randn(2, 4, 8, 8, generator=generator),
            encoder_hidden_states=torch.randn(2, 3, 12, generator=generator),
            pooled_projections=torch.randn(2, 10, generator=generator),
            timestep=torch.tensor([100.0, 700.0]),
            return_dict=False,
        )[0]
    return out


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    # Matrix products are folded in another way where weights ask for gradients: the last bits differ.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def tuned() -> Any:
    """A transformer whose adapter does something."""
    transformer = transformer_of()
    attach_lora(transformer, "wide_dual", rank=4, alpha=8.0, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in lora_parameters(transformer).values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return transformer


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    save_adapter(tmp_path / "adapter", tuned(), METADATA)
    return tmp_path / "adapter"


@pytest.mark.parametrize("preset", TARGETS)
def test_preset_adapts_exactly_its_layers(preset: str) -> None:
    transformer = transformer_of()
    linear = {n: m for n, m in transformer.named_modules() if isinstance(m, torch.nn.Linear)}
    # Two blocks; the second, last one has no projection out of its text stream and no second attention.
    joint = {"to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj"}
    wanted = {f"transformer_blocks.{block}.attn.{name}" for block in (0, 1) for name in joint}
    if preset != "paper":
        wanted |= {f"transformer_blocks.{block}.attn.to_out.0" for block in (0, 1)}
        wanted |= {"transformer_blocks.0.attn.to_add_out"}
    if preset == "wide_dual":
        wanted |= {f"transformer_blocks.0.attn2.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")}
    if preset == "full":
        inner = {"norm1.linear", "norm1_context.linear", "ff.net.0.proj", "ff.net.2"}
        wanted |= {f"transformer_blocks.{block}.{name}" for block in (0, 1) for name in inner}
        wanted |= {f"transformer_blocks.0.ff_context.net.{name}" for name in ("0.proj", "2")}
        wanted |= {f"time_text_embed.text_embedder.linear_{number}" for number in (1, 2)}
    assert wanted <= linear.keys()
    attach_lora(transformer, preset, rank=3, alpha=3.0, seed=0)
    shapes = {name: tuple(p.shape) for name, p in lora_parameters(transformer).items()}
    expected = {f"{name}.lora_A.weight": (3, linear[name].in_features) for name in wanted}
    expected |= {f"{name}.lora_B.weight": (linear[name].out_features, 3) for name in wanted}
    assert shapes == expected
    trainable = [name for name, p in transformer.named_parameters() if p.requires_grad]
    assert len(trainable) == len(shapes)
    assert all("lora" in name for name in trainable)


def test_names_are_those_of_peft() -> None:
    from peft.utils import get_peft_model_state_dict

    transformer = tuned()
    theirs = get_peft_model_state_dict(transformer)
    ours = lora_parameters(transformer)
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_new_adapter_changes_nothing_is_float32_and_seeded() -> None:
    plain = output_of(transformer_of())
    drawn = []
    for seed in (7, 7, 8):
        transformer = transformer_of(dtype=torch.bfloat16)
        before = torch.get_rng_state()
        attach_lora(transformer, "wide", rank=4, alpha=4.0, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        parameters = lora_parameters(transformer)
        assert {p.dtype for p in parameters.values()} == {torch.float32}
        assert {p.dtype for p in transformer.parameters() if not p.requires_grad} == {torch.bfloat16}
        drawn.append(torch.cat([p.detach().ravel() for n, p in parameters.items() if "lora_A" in n]))
        assert not any(p.any() for n, p in parameters.items() if "lora_B" in n)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    # Standard deviation 1 / rank; that of n draws scatters by 1 / sqrt(2 n) of itself.
    assert abs(float(drawn[0].std()) / 0.25 - 1) < 4 / (2 * len(drawn[0])) ** 0.5
    transformer = transformer_of()
    attach_lora(transformer, "wide", rank=4, alpha=4.0, seed=7)
    close(output_of(transformer), plain)


def test_presets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ParamsError, match="'broad' is unknown, expected one of paper, wide, wide_dual, full"):
        attach_lora(transformer_of(), "broad", 4, 4.0, 0)
    with pytest.raises(ParamsError, match=r"'wide_dual' adapts attn2.to_q, this base has no such layer"):
        attach_lora(transformer_of(dual=()), "wide_dual", 4, 4.0, 0)


def test_round_trip_gives_the_same_pictures_and_freezes(adapter: Path) -> None:
    expected = output_of(tuned())
    assert not torch.allclose(expected, output_of(transformer_of()), atol=1e-3)
    transformer = transformer_of()
    assert load_adapter(transformer, adapter, BASE) == METADATA
    close(output_of(transformer), expected)
    assert not any(p.requires_grad for p in transformer.parameters())


def test_plain_diffusers_loads_it_with_its_alpha(adapter: Path) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    parts = ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3")
    pipe = StableDiffusion3Pipeline(
        transformer=transformer_of(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        tokenizer_3=None,
        **dict.fromkeys(parts),
    )
    pipe.load_lora_weights(str(adapter))
    close(output_of(pipe.transformer), output_of(tuned()))
    (config,) = pipe.transformer.peft_config.values()
    assert (config.r, config.lora_alpha) == (4, 8.0)


def test_saved_bytes_are_the_same_for_the_same_weights(tmp_path: Path) -> None:
    # safetensors writes its notes in the order of a hash map, another one at each call.
    weights = {name: p.detach() for name, p in lora_parameters(tuned()).items()}
    for turn in range(6):
        save_adapter(tmp_path / str(turn), dict(reversed(weights.items())) if turn % 2 else weights, METADATA)
    hashes = {adapter_sha256(tmp_path / str(turn)) for turn in range(6)}
    assert len(hashes) == 1
    assert len({(tmp_path / str(turn) / WEIGHTS).read_bytes() for turn in range(6)}) == 1
    save_adapter(tmp_path / "other", weights, dataclasses.replace(METADATA, sensor="other"))
    assert adapter_sha256(tmp_path / "other") not in hashes


def test_metadata_round_trip(adapter: Path) -> None:
    assert read_metadata(adapter) == METADATA


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format is 2, this version reads 1"),
        ({"rank": "four"}, "rank is 'four', expected int"),
        ({"rank": True}, "rank is True, expected int"),
        ({"low_db": "-40"}, "low_db is '-40', expected float"),
        ({"chip_px": [16]}, r"chip_px is \[16\], expected tuple"),
        ({"classes": "B-52"}, "classes is 'B-52', expected tuple"),
        ({"settings": []}, r"settings is \[\], expected dict"),
        ({"sensor": None}, "sensor is None, expected str"),
        ({"colour": 1}, "has the unknown colour"),
    ],
)
def test_broken_metadata_is_refused(adapter: Path, change: dict[str, Any], message: str) -> None:
    path = adapter / "adapter.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message):
        read_metadata(adapter)


def test_incomplete_metadata_is_refused(adapter: Path) -> None:
    path = adapter / "adapter.json"
    content = json.loads(path.read_text())
    del content["pixels"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="lacks pixels"):
        read_metadata(adapter)
    path.write_text("{")
    with pytest.raises(DataError, match="is not readable JSON"):
        read_metadata(adapter)
    path.write_text("[]")
    with pytest.raises(DataError, match="holds a list, expected an object"):
        read_metadata(adapter)
    path.unlink()
    with pytest.raises(DataError, match=r"has no adapter.json"):
        read_metadata(adapter)


def refused(adapter: Path, message: str, transformer: Any = None, base: Any = BASE) -> None:
    transformer = transformer or transformer_of()
    with pytest.raises(DataError, match=message):
        load_adapter(transformer, adapter, base)
    assert not lora_parameters(transformer)  # nothing was attached


def test_adapter_of_another_base_names_both(adapter: Path) -> None:
    other = SimpleNamespace(path=Path("x"), sha256="b" * 64, name="other-base")
    refused(adapter, r"belongs to the base some-base \(a{12}\), found other-base \(b{12}\)", base=other)


@pytest.mark.parametrize("name", ["weights.bin", "x.pt", "y.CKPT", "optimizer.pkl"])
def test_pickles_are_refused(adapter: Path, name: str) -> None:
    (adapter / name).write_bytes(b"")
    refused(adapter, f"{name} is a pickle")


def test_truncated_and_missing_weights_are_refused(adapter: Path) -> None:
    data = (adapter / WEIGHTS).read_bytes()
    for length in (0, 4, 100, len(data) - 1):
        (adapter / WEIGHTS).write_bytes(data[:length])
        refused(adapter, "is no whole safetensors file")
    (adapter / WEIGHTS).unlink()
    refused(adapter, "is no whole safetensors file")


A_NAME = "transformer.transformer_blocks.0.attn.to_q.lora_A.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"text_encoder.x.lora_A.weight": torch.zeros(1)},
            "holds text_encoder.x.lora_A.weight, which",
        ),
        ({"transformer.x.lora_A.weight": torch.zeros(1)}, r"has the foreign x.lora_A.weight \(1 such"),
        ({A_NAME: None}, r"lacks transformer_blocks.0.attn.to_q.lora_A.weight \(1 such"),
        ({A_NAME: torch.zeros(4, 15)}, r"to_q.lora_A.weight is \(4, 15\) torch.float32, expected \(4, 16\)"),
        (
            {A_NAME: torch.zeros(4, 16).half()},
            r"is \(4, 16\) torch.float16, expected .* torch.float32",
        ),
        ({A_NAME: torch.full((4, 16), torch.nan)}, "to_q.lora_A.weight holds numbers that are not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(adapter: Path, change: dict[str, Any], message: str) -> None:
    from safetensors import safe_open

    with safe_open(adapter / WEIGHTS, framework="pt") as file:
        notes = file.metadata()
    tensors = {
        name: value for name, value in (load_file(adapter / WEIGHTS) | change).items() if value is not None
    }
    save_file(tensors, adapter / WEIGHTS, metadata=notes)
    refused(adapter, message)


def test_adapter_for_another_width_is_refused(adapter: Path) -> None:
    refused(
        adapter, r"expected \(4, 8\) torch.float32|expected \(8, 4\) torch.float32", transformer_of(width=4)
    )


def test_weights_and_side_file_must_agree(adapter: Path) -> None:
    path = adapter / "adapter.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"alpha": 4.0}))
    refused(adapter, r"says .*'transformer.lora_alpha': 8.0.* beside it says .*'transformer.lora_alpha': 4.0")
    save_file(load_file(adapter / WEIGHTS), adapter / WEIGHTS)
    refused(adapter, "says None, adapter.json beside it says")


def test_full_disk_leaves_no_half_adapter(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"cannot write adapter .*No space left on device"):
        save_adapter(adapter, tuned(), METADATA)
    monkeypatch.undo()
    refused(adapter, r"has no adapter.json")
