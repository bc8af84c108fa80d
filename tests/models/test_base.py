from __future__ import annotations

import json
import shutil
import socket
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import ModuleDict

from sarcurate.errors import HardwareError, ParamsError
from sarcurate.models import base, pipeline_folder
from sarcurate.models.base import BUNDLED, BaseRef, encode_prompts, resolve_base
from sarcurate.models.flow import TimeLaw
from sarcurate.models.pipeline_folder import PipelineFolder
from sarcurate.models.pretrain import write_base
from sarcurate.models.prompt_encoding import PromptEmbeddings, clip_embeddings
from sarcurate.models.tiny_base import (
    PROMPT_TOKENS,
    new_text_encoders,
    new_tokenizer,
    new_transformer,
    new_vae,
)

SHIFT = 1.25
WIDTH = 80  # of the tiny transformer's text tokens
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROMPTS = ("SAR image, F-15", "SAR image, f-15", "SAR image, F‑15", "")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tiny base, never changed by a test."""
    torch.manual_seed(5)
    one, two = new_text_encoders()
    modules = ModuleDict({"transformer": new_transformer(), "text_encoder": one, "text_encoder_2": two})
    folder = tmp_path_factory.mktemp("bases") / "tiny"
    write_base(new_vae(), modules, TimeLaw(0.0, 1.0, SHIFT), folder)
    return folder


@pytest.fixture
def copied(path: Path, tmp_path: Path) -> Path:
    return shutil.copytree(path, tmp_path / "copied")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def _ref(where: object, **changes: Any) -> BaseRef:
    return replace(BaseRef(str(where), revision=None, t5_tokens=0, use_t5=False), **changes)


def _encode(where: Path, *prompts: str, **changes: Any) -> PromptEmbeddings:
    ref = _ref(where, **changes)
    return encode_prompts(resolve_base(ref), ref, prompts, "cpu")


def _edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# --- where a base is


def test_a_folder_is_named_by_itself_and_hashed(path: Path, copied: Path) -> None:
    found = resolve_base(_ref(path))
    assert (found.path, found.name) == (path, "tiny")
    assert len(found.sha256) == 64
    assert resolve_base(_ref(copied)).sha256 == found.sha256


def test_the_bundled_base(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_folder, "_bundled", lambda _: path)
    assert resolve_base(_ref(BUNDLED)) == replace(resolve_base(_ref(path)), name=BUNDLED)


def test_the_bundled_base_lies_in_the_package() -> None:
    assert pipeline_folder._bundled(BUNDLED) == Path(base.__file__).parents[1] / "assets" / BUNDLED


def test_the_bundled_base_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_folder, "_bundled", lambda _: tmp_path / "none")
    with pytest.raises(
        HardwareError, match=r"sarcurate-tiny: there is no folder .*none(.|\n)*install sarcurate"
    ):
        resolve_base(_ref(BUNDLED))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match=r"there is no folder .*nowhere(.|\n)*tune\.base"):
        resolve_base(_ref(tmp_path / "nowhere"))


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:7], COMMIT.upper(), COMMIT + "0"])
def test_a_hub_id_without_a_commit(revision: str | None) -> None:
    with pytest.raises(ParamsError, match=f"has revision {revision}, expected a commit"):
        resolve_base(_ref("owner/name", revision=revision))


@pytest.mark.parametrize("where", [BUNDLED, "folder"])
def test_a_commit_without_a_hub_id(copied: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_folder, "_bundled", lambda _: copied)
    with pytest.raises(ParamsError, match=f"is no hub id, revision {COMMIT} means nothing"):
        resolve_base(_ref(copied if where == "folder" else where, revision=COMMIT))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_hub_id_from_the_cache(path: Path, cache: Path) -> None:
    snapshot = cache / "models--owner--name" / "snapshots" / COMMIT
    shutil.copytree(path, snapshot)
    found = resolve_base(_ref("owner/name", revision=COMMIT))
    assert found == PipelineFolder(snapshot, resolve_base(_ref(path)).sha256, f"owner/name@{COMMIT}")
    (snapshot / "vae/config.json").unlink()
    with pytest.raises(HardwareError, match=r"vae/config.json is missing"):
        resolve_base(_ref("owner/name", revision=COMMIT))


def test_gated_weights_that_are_not_here(path: Path, cache: Path) -> None:
    shutil.copytree(path, cache / "models--owner--name" / "snapshots" / COMMIT[::-1])
    with pytest.raises(HardwareError) as caught:
        resolve_base(_ref("owner/name", revision=COMMIT))
    assert caught.value.exit_code == 4
    for part in (
        "accept its licence at https://huggingface.co/owner/name",
        "`hf auth login`",
        f"`hf download owner/name --revision {COMMIT}`",
        "give its path in tune.base",
        "tune.base: sarcurate-tiny",
    ):
        assert part in str(caught.value)


def test_t5_where_there_is_none(path: Path) -> None:
    with pytest.raises(ParamsError, match="tiny has no T5 encoder"):
        resolve_base(_ref(path, use_t5=True, t5_tokens=8))


def test_t5_without_room(path: Path) -> None:
    with pytest.raises(ParamsError, match="T5 is asked for with 0 tokens, expected 1 or more"):
        resolve_base(_ref(path, use_t5=True))


# --- models


@pytest.mark.parametrize(("dtype", "expected"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_the_transformer_is_frozen_and_as_saved(path: Path, dtype: str, expected: torch.dtype) -> None:
    from safetensors.torch import load_file

    transformer = base.load_transformer(resolve_base(_ref(path)), dtype)
    saved = load_file(path / "transformer/diffusion_pytorch_model.safetensors")
    assert {weight.dtype for weight in transformer.parameters()} == {expected}
    assert not transformer.training
    assert not any(weight.requires_grad for weight in transformer.parameters())
    for name, weight in transformer.named_parameters():
        assert torch.equal(weight, saved[name].to(expected))


def test_the_autoencoder_is_frozen_and_float32(path: Path) -> None:
    vae = base.load_vae(resolve_base(_ref(path)))
    assert {weight.dtype for weight in vae.parameters()} == {torch.float32}
    assert not vae.training
    assert not any(weight.requires_grad for weight in vae.parameters())
    assert vae.config.in_channels == 1


def test_the_scheduler_keeps_its_shift(path: Path) -> None:
    assert base.load_scheduler(resolve_base(_ref(path))).config.shift == SHIFT


def test_shards_are_the_same_transformer(path: Path, copied: Path) -> None:
    whole = base.load_transformer(resolve_base(_ref(path)), "bf16")
    shutil.rmtree(copied / "transformer")
    whole.save_pretrained(copied / "transformer", max_shard_size="3MB")
    assert len(list(copied.glob("transformer/*-of-*.safetensors"))) > 1
    sharded = base.load_transformer(resolve_base(_ref(copied)), "bf16")
    for name, weight in whole.state_dict().items():
        assert torch.equal(sharded.state_dict()[name], weight)


def test_a_missing_tensor_is_not_drawn_at_random(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    for part, file, name in (
        ("vae", "diffusion_pytorch_model.safetensors", "decoder.conv_out.bias"),
        ("text_encoder", "model.safetensors", "text_projection.weight"),
    ):
        tensors = load_file(copied / part / file)
        tensors.pop(name)
        save_file(tensors, copied / part / file, metadata={"format": "pt"})
        with pytest.raises(HardwareError, match=f"no weights for {name}"):
            base.load_vae(resolve_base(_ref(copied))) if part == "vae" else base._clip(copied / part, 1)


def test_weights_of_a_deeper_model(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = copied / "vae/diffusion_pytorch_model.safetensors"
    extra = {"encoder.down_blocks.2.resnets.0.conv1.bias": torch.zeros(4)}
    save_file(load_file(file) | extra, file, metadata={"format": "pt"})
    with pytest.raises(HardwareError, match=r"vae: .*no place for encoder\.down_blocks\.2"):
        base.load_vae(resolve_base(_ref(copied)))


def test_weights_of_another_width(copied: Path) -> None:
    _edit(copied / "transformer/config.json", pooled_projection_dim=64)
    with pytest.raises(HardwareError, match=r"transformer: .*do not fit"):
        base.load_transformer(resolve_base(_ref(copied)), "fp32")


# --- prompts


def test_embeddings_are_those_of_both_encoders(path: Path) -> None:
    from transformers import CLIPTextModelWithProjection

    encoders = [
        CLIPTextModelWithProjection.from_pretrained(path / part, dtype=torch.float32)
        for part in ("text_encoder", "text_encoder_2")
    ]
    with torch.no_grad():
        expected = clip_embeddings(PROMPTS, new_tokenizer(), encoders)
    found = _encode(path, *PROMPTS)
    assert found.tokens.shape == (4, PROMPT_TOKENS, WIDTH)
    assert found.pooled.shape == (4, 96)
    torch.testing.assert_close(found.tokens, expected.tokens, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.pooled, expected.pooled, atol=1e-5, rtol=0)
    assert found.tokens.dtype == found.pooled.dtype == torch.float32
    assert not found.tokens.requires_grad


def test_embeddings_are_those_of_plain_diffusers(path: Path) -> None:
    from diffusers import StableDiffusion3Pipeline

    plain = StableDiffusion3Pipeline.from_pretrained(
        path, text_encoder_3=None, tokenizer_3=None, dtype=torch.float32
    )
    with torch.no_grad():
        tokens, _, pooled, _ = plain.encode_prompt(
            [*PROMPTS], None, None, do_classifier_free_guidance=False, max_sequence_length=3
        )
    found = _encode(path, *PROMPTS, t5_tokens=3)
    assert found.tokens.shape == (4, PROMPT_TOKENS + 3, WIDTH)
    assert not found.tokens[:, PROMPT_TOKENS:].any()
    torch.testing.assert_close(found.tokens, tokens, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.pooled, pooled, atol=1e-5, rtol=0)


def test_names_that_look_alike_differ(path: Path) -> None:
    found = _encode(path, *PROMPTS)
    for one in range(4):
        for other in range(one):
            assert not torch.allclose(found.tokens[one], found.tokens[other], atol=1e-3)
            assert not torch.allclose(found.pooled[one], found.pooled[other], atol=1e-3)


def test_each_prompt_is_read_once_and_told_in_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []

    def spy(pipeline: Any, prompts: list[str], *rest: Any) -> PromptEmbeddings:
        read.append(list(prompts))
        return real(pipeline, prompts, *rest)

    real = base.pipeline_embeddings
    monkeypatch.setattr(base, "pipeline_embeddings", spy)
    names = [f"class {index}" for index in range(11)]  # more than one batch
    found = _encode(path, *names, names[9], names[0])
    assert read == [names]
    first, last = _encode(path, names[0]), _encode(path, names[10])
    for place, alone in ((0, first), (12, first), (10, last)):
        assert torch.equal(found.tokens[place], alone.tokens[0])  # whatever it was read with
        assert torch.equal(found.pooled[place], alone.pooled[0])
    assert torch.equal(found.tokens[11], found.tokens[9])


def test_encoders_leave_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Any]] = []

    def spy(*given: Any) -> Any:
        pipeline = real(*given)
        alive.extend(weakref.ref(part) for part in (pipeline.text_encoder, pipeline.text_encoder_2))
        return pipeline

    real = base._text_pipeline
    monkeypatch.setattr(base, "_text_pipeline", spy)
    _encode(path, "a")
    assert [reference() for reference in alive] == [None, None]


def test_a_prompt_that_would_be_cut(path: Path) -> None:
    fits = "é" + "x" * (PROMPT_TOKENS - 3)  # two bytes, one each, and the end mark
    _encode(path, fits)
    with pytest.raises(ParamsError, match=f"'{fits}y' takes {PROMPT_TOKENS + 1} tokens, .* {PROMPT_TOKENS}"):
        _encode(path, "short", fits + "y")


def test_a_tokenizer_longer_than_its_encoder(copied: Path) -> None:
    for part in ("tokenizer", "tokenizer_2"):
        _edit(copied / part / "tokenizer_config.json", model_max_length=PROMPT_TOKENS + 1)
    with pytest.raises(
        HardwareError, match=f"to {PROMPT_TOKENS + 1} tokens, the encoder reads {PROMPT_TOKENS}"
    ):
        _encode(copied, "a")


# --- CLIP's own tokenizer, and T5


LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,-"


@pytest.fixture
def clip_words(copied: Path) -> Path:
    """The tiny base with tokenizers of CLIP's kind: lower case, one token a letter here."""
    from transformers import CLIPTokenizer

    pieces = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    tokenizer = CLIPTokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)}, merges=[], model_max_length=PROMPT_TOKENS
    )
    for part in ("tokenizer", "tokenizer_2"):
        shutil.rmtree(copied / part)
        tokenizer.save_pretrained(copied / part)
        _edit(copied / "model_index.json", **{part: ["transformers", "CLIPTokenizer"]})
    return copied


def test_classes_that_clip_cannot_tell_apart(clip_words: Path) -> None:
    with pytest.raises(
        ParamsError, match="prompts 'SAR image, F-15' and 'SAR image, f-15' are the same tokens"
    ):
        _encode(clip_words, "", "SAR image, F-15", "SAR image, f-15")


def test_a_prompt_that_clip_would_cut(clip_words: Path) -> None:
    fits = "a" * (PROMPT_TOKENS - 2)
    assert _encode(clip_words, fits).tokens.shape == (1, PROMPT_TOKENS, WIDTH)
    with pytest.raises(
        ParamsError, match=f"takes {PROMPT_TOKENS + 1} tokens, this base reads {PROMPT_TOKENS}"
    ):
        _encode(clip_words, fits + "a")


@pytest.fixture
def with_t5(clip_words: Path) -> Path:
    """The same with a small T5 that keeps upper case."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    pieces = ["<pad>", "</s>", "<unk>", "▁", *LETTERS, *LETTERS[:26].upper()]
    config = T5Config(
        vocab_size=len(pieces),
        d_model=WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(6)
    T5EncoderModel(config).to(torch.bfloat16).save_pretrained(clip_words / "text_encoder_3")
    T5Tokenizer(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0).save_pretrained(
        clip_words / "tokenizer_3"
    )
    _edit(
        clip_words / "model_index.json",
        text_encoder_3=["transformers", "T5EncoderModel"],
        tokenizer_3=["transformers", "T5Tokenizer"],
    )
    return clip_words


def test_t5_reads_after_clip(with_t5: Path) -> None:
    from transformers import AutoTokenizer, T5EncoderModel

    prompts = ("SAR image, F-15", "SAR image, f-15")  # T5 tells them apart, so they pass
    found = _encode(with_t5, *prompts, use_t5=True, t5_tokens=20)
    tokenizer = AutoTokenizer.from_pretrained(with_t5 / "tokenizer_3")
    encoder = T5EncoderModel.from_pretrained(with_t5 / "text_encoder_3", dtype=torch.bfloat16)
    ids = tokenizer([*prompts], padding="max_length", max_length=20, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = encoder(ids)[0].float()
    assert found.tokens.shape == (2, PROMPT_TOKENS + 20, WIDTH)
    torch.testing.assert_close(found.tokens[:, PROMPT_TOKENS:], expected, atol=0.02, rtol=0.02)
    assert torch.equal(found.tokens[0, :PROMPT_TOKENS], found.tokens[1, :PROMPT_TOKENS])
    assert not torch.allclose(found.tokens[0, PROMPT_TOKENS:], found.tokens[1, PROMPT_TOKENS:], atol=0.1)


def test_a_prompt_that_t5_would_cut(with_t5: Path) -> None:
    with pytest.raises(ParamsError, match=r"'SAR image, F-15' takes 1[0-9] tokens, this base reads 9"):
        _encode(with_t5, "SAR image, F-15", use_t5=True, t5_tokens=9)


def test_t5_left_out_is_zeros(with_t5: Path) -> None:
    found = _encode(with_t5, "a", t5_tokens=9)
    assert found.tokens.shape == (1, PROMPT_TOKENS + 9, WIDTH)
    assert not found.tokens[:, PROMPT_TOKENS:].any()
