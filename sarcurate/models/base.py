"""The base that is tuned: a Stable Diffusion 3 pipeline folder, bundled, local or in the Hub's cache."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarcurate.errors import HardwareError, ParamsError
from sarcurate.models.base_files import base_files, files_sha256, part_classes, read_json
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
DTYPES = {"bf16": "bfloat16", "fp32": "float32"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


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


@dataclass(frozen=True)
class BaseFolder:
    """A base that is there and whole.

    Args:
        path: a pipeline folder.
        sha256: over the names and hashes of the files that are read; T5's only where it is used.
        name: ``BUNDLED``, the folder's name, or ``owner/name@commit``.
    """

    path: Path
    sha256: str
    name: str


def resolve_base(ref: BaseRef) -> BaseFolder:
    """Find a base on this machine, check its files and hash them; the network is never used.

    Raises:
        ParamsError: a hub id without a commit, a commit without a hub id, or T5 where there is none.
        HardwareError: no weights there, or weights that are broken or of another model.
    """
    path, name = _locate(ref)
    if ref.use_t5 and ref.t5_tokens < 1:
        raise ParamsError(
            f"base {name}: T5 is asked for with {ref.t5_tokens} tokens, expected 1 or more",
            fix="give T5 tokens to write to, such as 77, or leave T5 out",
        )
    if ref.use_t5 and part_classes(path)["text_encoder_3"] is None:
        raise ParamsError(f"base {name} has no T5 encoder, which was asked for", fix="leave T5 out")
    return BaseFolder(path, files_sha256(path, base_files(path, use_t5=ref.use_t5)), name)


def load_vae(folder: BaseFolder) -> AutoencoderKL:
    """The autoencoder, float32, frozen, on the CPU."""
    from diffusers import AutoencoderKL

    return _load(AutoencoderKL, folder.path / "vae", "fp32")


def load_transformer(folder: BaseFolder, dtype: str) -> SD3Transformer2DModel:
    """The transformer, frozen, on the CPU; ``dtype`` is ``bf16`` or ``fp32``."""
    from diffusers import SD3Transformer2DModel

    return _load(SD3Transformer2DModel, folder.path / "transformer", dtype)


def load_scheduler(folder: BaseFolder) -> FlowMatchEulerDiscreteScheduler:
    """The schedule of noise levels that the base is sampled with."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler.from_pretrained(folder.path / "scheduler", local_files_only=True)


def encode_prompts(
    folder: BaseFolder, ref: BaseRef, prompts: Sequence[str], device: str | torch.device
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


def _locate(ref: BaseRef) -> tuple[Path, str]:
    """Folder and name of a base."""
    folder = _bundled() if ref.where == BUNDLED else Path(ref.where)
    if not folder.is_dir() and _HUB_ID.fullmatch(ref.where):
        return _cached(ref.where, ref.revision), f"{ref.where}@{ref.revision}"
    if ref.revision:
        raise ParamsError(
            f"base {ref.where} is no hub id, revision {ref.revision} means nothing there",
            fix="leave the revision empty; a folder is pinned by the hash of its files",
        )
    if not folder.is_dir():
        raise HardwareError(
            f"base {ref.where}: there is no folder {folder}",
            fix=f"give an existing folder or a hub id owner/name in tune.base; {BUNDLED} comes with the "
            "package: where it is missing, install sarcurate again",
        )
    return folder, BUNDLED if ref.where == BUNDLED else folder.resolve().name


def _bundled() -> Path:
    return Path(str(resources.files("sarcurate") / "assets" / BUNDLED))


def _cached(hub_id: str, revision: str | None) -> Path:
    """Where the Hugging Face cache keeps a commit of a repository."""
    from huggingface_hub import try_to_load_from_cache

    if not _COMMIT.fullmatch(revision or ""):
        raise ParamsError(
            f"base {hub_id} is no folder here, and as a hub id has revision {revision}, expected a commit",
            fix="give the path of a folder, or pin the hub id by a commit of 40 hexadecimal digits: "
            "a branch can change under a dataset",
        )
    index = try_to_load_from_cache(hub_id, "model_index.json", revision=revision)
    if not isinstance(index, str):
        raise HardwareError(
            f"base {hub_id} at revision {revision} is not in the Hugging Face cache of this machine",
            fix=f"where the model is gated, accept its licence at https://huggingface.co/{hub_id} and run "
            f"`hf auth login`; then `hf download {hub_id} --revision {revision}` where there is a network. "
            "Or copy the folder here and give its path in tune.base. "
            f"Offline, without any of this: tune.base: {BUNDLED}",
        )
    return Path(index).parent


def _load(model_class: Any, path: Path, dtype: str) -> Any:
    """A model with every weight from its file, frozen."""
    import torch

    try:
        with _no_progress_bars():
            model, info = model_class.from_pretrained(
                path,
                dtype=getattr(torch, DTYPES[dtype]),
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise _misfit(path, str(error)) from error
    if info["missing_keys"]:
        raise _misfit(path, f"no weights for {min(info['missing_keys'])}")
    # Old text encoders carry tensors that nothing reads; elsewhere one too many means another architecture.
    if info["unexpected_keys"] and not path.name.startswith("text_encoder"):
        raise _misfit(path, f"no place for {min(info['unexpected_keys'])}")
    return model.requires_grad_(False).eval()


def _misfit(path: Path, reason: str) -> HardwareError:
    return HardwareError(
        f"base {path}: weights, config and tokenizer do not fit: {reason}",
        fix="copy or download the folder again, all files from one place",
    )


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


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
        text_encoder_3=_load(T5EncoderModel, root / "text_encoder_3", "bf16").to(device)
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

    encoder = _load(CLIPTextModelWithProjection, path, "fp32")
    positions = encoder.config.max_position_embeddings
    if prompt_tokens > positions:
        raise _misfit(
            path, f"the tokenizer fills prompts to {prompt_tokens} tokens, the encoder reads {positions}"
        )
    return encoder


def _free(device: str | torch.device) -> None:
    import torch

    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
