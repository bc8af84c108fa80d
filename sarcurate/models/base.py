"""The base that is tuned: a Stable Diffusion 3 pipeline folder, bundled, local or in the Hub's cache."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarcurate.errors import ParamsError
from sarcurate.models.base_files import base_files, part_classes
from sarcurate.models.pipeline_files import files_sha256, read_json
from sarcurate.models.pipeline_folder import PipelineFolder, Wanted, load_part, locate, misfit
from sarcurate.models.prompt_encoding import (
    PromptEmbeddings,
    pipeline_embeddings,
    refuse_alike,
    refuse_long,
)

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel

BUNDLED = "sarcurate-tiny"


@dataclass(frozen=True)
class BaseRef:
    """What a user asked for.

    Args:
        where: ``BUNDLED``, a folder, or a hub id ``owner/name``.
        revision: commit of a hub id, 40 hexadecimal digits; None for the others.
        t5_tokens: length of T5's part of a prompt; 0 leaves that part out. Without ``use_t5`` they are zeros.
        use_t5: read prompts by the base's T5 encoder too.
    """

    where: str
    revision: str | None
    t5_tokens: int
    use_t5: bool


def resolve_base(ref: BaseRef) -> PipelineFolder:
    """Find a base on this machine, check its files and hash them; the network is never used.

    Raises:
        ParamsError: a hub id without a commit, a commit without a hub id, or T5 where there is none.
        HardwareError: no weights there, or weights that are broken or of another model.
    """
    path, name = locate(Wanted("base", ref.where, ref.revision, BUNDLED, "tune.base"))
    if ref.use_t5 and ref.t5_tokens < 1:
        raise ParamsError(
            f"base {name}: T5 is asked for with {ref.t5_tokens} tokens, expected 1 or more",
            fix="give T5 tokens to write to, such as 77, or leave T5 out",
        )
    if ref.use_t5 and part_classes(path)["text_encoder_3"] is None:
        raise ParamsError(f"base {name} has no T5 encoder, which was asked for", fix="leave T5 out")
    return PipelineFolder(path, files_sha256(path, base_files(path, use_t5=ref.use_t5)), name)


def load_vae(folder: PipelineFolder) -> AutoencoderKL:
    """The autoencoder, float32, frozen, on the CPU."""
    from diffusers import AutoencoderKL

    return load_part(AutoencoderKL, folder.path / "vae", "fp32")


def load_transformer(folder: PipelineFolder, dtype: str) -> SD3Transformer2DModel:
    """The transformer, frozen, on the CPU; ``dtype`` is ``bf16`` or ``fp32``."""
    from diffusers import SD3Transformer2DModel

    return load_part(SD3Transformer2DModel, folder.path / "transformer", dtype)


def load_scheduler(folder: PipelineFolder) -> FlowMatchEulerDiscreteScheduler:
    """The schedule of noise levels that the base is sampled with."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler.from_pretrained(folder.path / "scheduler", local_files_only=True)


def encode_prompts(
    folder: PipelineFolder, ref: BaseRef, prompts: Sequence[str], device: str | torch.device
) -> PromptEmbeddings:
    """Embeddings of prompts in their order, by the pipeline's own ``encode_prompt``.

    CLIP runs in float32, T5 in bfloat16; the encoders are gone from memory afterwards.

    Returns:
        float32 on the CPU: (n, tokens, width) and (n, width).

    Raises:
        ParamsError: a prompt that would be cut, or two prompts that the base cannot tell apart.
        HardwareError: encoders that do not fit their own weights or tokenizers.
    """
    unique = list(dict.fromkeys(prompts))
    tokenizers = _tokenizers(folder.path, use_t5=ref.use_t5)
    _refuse_unreadable(unique, tokenizers, ref.t5_tokens)
    pipeline = _text_pipeline(folder.path, tokenizers, device)
    told = pipeline_embeddings(pipeline, unique, ref.t5_tokens, device)
    del pipeline
    _free(device)
    place = {prompt: index for index, prompt in enumerate(unique)}
    order = [place[prompt] for prompt in prompts]
    return PromptEmbeddings(told.tokens[order], told.pooled[order])


def _tokenizers(root: Path, *, use_t5: bool) -> list[Any]:
    """Two for CLIP, and T5's or None."""
    import transformers

    classes = part_classes(root)
    names = [classes["tokenizer"], classes["tokenizer_2"], classes["tokenizer_3"] if use_t5 else None]
    folders = ("tokenizer", "tokenizer_2", "tokenizer_3")
    return [
        getattr(transformers, name).from_pretrained(root / folder, local_files_only=True) if name else None
        for name, folder in zip(names, folders, strict=True)
    ]


def _refuse_unreadable(prompts: Sequence[str], tokenizers: Sequence[Any], t5_tokens: int) -> None:
    # The pipeline cuts for both CLIP encoders where the first one's tokenizer does.
    limits = (tokenizers[0].model_max_length, tokenizers[0].model_max_length, t5_tokens)
    used = [(tokenizer, limit) for tokenizer, limit in zip(tokenizers, limits, strict=True) if tokenizer]
    for tokenizer, limit in used:
        refuse_long(prompts, tokenizer, limit)
    refuse_alike(prompts, [tokenizer for tokenizer, _ in used])


def _text_pipeline(root: Path, tokenizers: Sequence[Any], device: str | torch.device) -> Any:
    """The pipeline with text encoders alone."""
    from types import SimpleNamespace

    from diffusers import StableDiffusion3Pipeline
    from transformers import T5EncoderModel

    pipeline = StableDiffusion3Pipeline(
        transformer=None,
        scheduler=None,
        vae=None,
        text_encoder=_clip(root / "text_encoder", tokenizers[0].model_max_length).to(device),
        tokenizer=tokenizers[0],
        text_encoder_2=_clip(root / "text_encoder_2", tokenizers[0].model_max_length).to(device),
        tokenizer_2=tokenizers[1],
        text_encoder_3=load_part(T5EncoderModel, root / "text_encoder_3", "bf16").to(device)
        if tokenizers[2]
        else None,
        tokenizer_3=tokenizers[2],
    )
    # Without T5 the pipeline asks its transformer for one number, the width of the zeros in T5's place.
    width = read_json(root / "transformer" / "config.json")["joint_attention_dim"]
    pipeline.transformer = SimpleNamespace(config=SimpleNamespace(joint_attention_dim=width))
    return pipeline


def _clip(path: Path, prompt_tokens: int) -> Any:
    """A CLIP text encoder, which must read as many tokens as its tokenizer gives."""
    from transformers import CLIPTextModelWithProjection

    encoder = load_part(CLIPTextModelWithProjection, path, "fp32")
    positions = encoder.config.max_position_embeddings
    if prompt_tokens > positions:
        raise misfit(
            path, f"the tokenizer fills prompts to {prompt_tokens} tokens, the encoder reads {positions}"
        )
    return encoder


def _free(device: str | torch.device) -> None:
    import torch

    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
