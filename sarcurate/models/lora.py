"""Low-rank adapters of the transformer: attached, saved as diffusers reads them, and loaded with care."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarcurate.errors import DataError, ParamsError
from sarcurate.io.safe import sha256_file
from sarcurate.models.lora_metadata import (
    METADATA_NAME,
    metadata_text,
)
from sarcurate.models.lora_metadata import AdapterMetadata as AdapterMetadata
from sarcurate.models.lora_metadata import read_metadata as read_metadata

if TYPE_CHECKING:
    from diffusers import SD3Transformer2DModel
    from torch import Tensor
    from torch.nn import Parameter

    from sarcurate.models.pipeline_folder import PipelineFolder

WEIGHTS_NAME = "pytorch_lora_weights.safetensors"
_JOINT = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
_OUT = ("attn.to_out.0", "attn.to_add_out")
_DUAL = ("attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0")
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
_MODULATION = ("norm1.linear", "norm1_context.linear", "text_embedder.linear_1", "text_embedder.linear_2")
# Query, key and value of both streams (eq. 13 of arXiv:2606.28922); with the projections out of attention;
# with the second, image-only attention that Stable Diffusion 3.5 Medium has in half of its blocks; and with
# the feed-forward layers and those that turn the pooled prompt into scales and shifts.
TARGETS = {
    "paper": _JOINT,
    "wide": _JOINT + _OUT,
    "wide_dual": _JOINT + _OUT + _DUAL,
    "full": _JOINT + _OUT + _FEED_FORWARD + _MODULATION,
}
_ADAPTER = "default"
_PREFIX = "transformer."
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
_TUNE_AGAIN = "restore the adapter with dvc checkout, or tune again"


def attach_lora(transformer: SD3Transformer2DModel, preset: str, rank: int, alpha: float, seed: int) -> None:
    """Freeze the transformer and put a trainable float32 pair of matrices beside every targeted layer.

    The first matrix is Gaussian with standard deviation ``1 / rank``, drawn on the CPU from ``seed``, the
    second is zero, so that the transformer still gives its own output; Hu et al. 2021, arXiv:2106.09685.

    Raises:
        ParamsError: for an unknown preset, or one that names layers this transformer lacks.
    """
    if preset not in TARGETS:
        raise ParamsError(
            f"LoRA preset {preset!r} is unknown, expected one of {', '.join(TARGETS)}",
            fix="set tune.preset to one of them",
        )
    for target in TARGETS[preset]:
        if not _targeted(transformer, (target,)):
            raise ParamsError(
                f"LoRA preset {preset!r} adapts {target}, this base has no such layer",
                fix=f"set tune.preset to a narrower one of {', '.join(TARGETS)}",
            )
    _attach(transformer, TARGETS[preset], rank, alpha, seed)


def _attach(transformer: Any, targets: Sequence[str], rank: int, alpha: float, seed: int) -> None:
    import torch
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig

    transformer.requires_grad_(False)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=sorted(targets)
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        transformer.add_adapter(config, _ADAPTER)
    cast_training_params(transformer, dtype=torch.float32)


def _targeted(transformer: Any, targets: Sequence[str]) -> dict[str, Any]:
    """The layers whose names end in one of the targets, as peft finds them."""
    return {
        name: layer
        for name, layer in transformer.named_modules()
        if any(name.endswith(f".{target}") for target in targets)
    }


def lora_parameters(transformer: SD3Transformer2DModel) -> dict[str, Parameter]:
    """The adapter's parameters by the names they are saved under, less the prefix ``transformer``."""
    return {
        name.replace(f".{_ADAPTER}.", "."): parameter
        for name, parameter in transformer.named_parameters()
        if ".lora_" in name
    }


def save_adapter(
    folder: Path, weights: SD3Transformer2DModel | Mapping[str, Tensor], metadata: AdapterMetadata
) -> None:
    """Write weights as ``pipe.load_lora_weights(folder)`` of diffusers reads them, then the side file.

    The same weights and metadata are the same bytes. A folder cut short has no side file and is refused.

    Args:
        folder: made where it is missing.
        weights: a transformer that has the adapter, or weights by the names of :func:`lora_parameters`.
        metadata: the side file; its rank, alpha and targets go into the weights' file too.

    Raises:
        DataError: where the disk is full.
    """
    from diffusers import StableDiffusion3Pipeline

    tensors = weights if isinstance(weights, Mapping) else lora_parameters(weights)
    config = {_PREFIX + key: value for key, value in _config(metadata).items()}
    notes = {"format": "pt", "lora_adapter_metadata": json.dumps(config, indent=2, sort_keys=True)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / METADATA_NAME).unlink(missing_ok=True)
        StableDiffusion3Pipeline.save_lora_weights(
            folder,
            transformer_lora_layers={
                name: value.detach().float().cpu().contiguous() for name, value in sorted(tensors.items())
            },
            save_function=lambda packed, path: Path(path).write_bytes(_bytes(packed, notes)),
        )
        (folder / METADATA_NAME).write_text(metadata_text(metadata), encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"cannot write adapter {folder}: {error.strerror}",
            fix="free some space and run again; the training goes on from its last checkpoint",
        ) from error


def _config(metadata: AdapterMetadata) -> dict[str, Any]:
    """What peft needs to know; no more, so that other versions of it read the adapter too."""
    return {"r": metadata.rank, "lora_alpha": metadata.alpha, "target_modules": sorted(metadata.targets)}


def _bytes(tensors: dict[str, Tensor], notes: dict[str, str]) -> bytes:
    """A safetensors file whose header is sorted: the library writes its notes in the order of a hash map."""
    from safetensors.torch import save

    data = save(tensors, metadata=notes)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def adapter_sha256(folder: Path) -> str:
    """One hash over the adapter's weights and side file, as 64 hexadecimal digits."""
    lines = [f"{name} {sha256_file(folder / name)}\n" for name in (METADATA_NAME, WEIGHTS_NAME)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_adapter(transformer: SD3Transformer2DModel, folder: Path, base: PipelineFolder) -> AdapterMetadata:
    """Put the adapter of a folder on the transformer of its base, frozen, for drawing.

    Everything is checked before the transformer is touched.

    Raises:
        DataError: for pickles, a missing or broken file, another base, or weights that do not fit.
    """
    import torch

    _refuse_pickles(folder)
    metadata = read_metadata(folder)
    if metadata.base_sha256 != base.sha256:
        raise DataError(
            f"{folder}: this adapter belongs to the base {metadata.base_name} ({metadata.base_sha256[:12]}), "
            f"found {base.name} ({base.sha256[:12]})",
            fix=f"set tune.base to {metadata.base_name} at the revision it was tuned on, or tune again",
        )
    tensors = _read_weights(folder / WEIGHTS_NAME, metadata)
    _refuse_misfits(folder / WEIGHTS_NAME, tensors, _expected(transformer, metadata))
    _attach(transformer, metadata.targets, metadata.rank, metadata.alpha, seed=0)
    with torch.no_grad():
        for name, parameter in lora_parameters(transformer).items():
            parameter.copy_(tensors[name])
    transformer.requires_grad_(False)
    return metadata


def _refuse_pickles(folder: Path) -> None:
    found = (
        sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _PICKLES)
        if folder.is_dir()
        else []
    )
    if found:
        raise DataError(
            f"{folder}: {found[0]} is a pickle, which can run any code when read; expected {WEIGHTS_NAME}",
            fix="remove it; adapters are read as safetensors only",
        )


def _read_weights(path: Path, metadata: AdapterMetadata) -> dict[str, Tensor]:
    """Tensors of an adapter's file by name, without the prefix."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: is no whole safetensors file: {error}", fix=_TUNE_AGAIN) from error
    _refuse_other_config(path, notes, metadata)
    foreign = sorted(name for name in tensors if not name.startswith(_PREFIX))
    if foreign:
        raise DataError(
            f"{path}: holds {foreign[0]}, which is not of the transformer ({len(foreign)} such names)",
            fix=_TUNE_AGAIN,
        )
    return {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}


def _refuse_other_config(path: Path, notes: Mapping[str, str], metadata: AdapterMetadata) -> None:
    try:
        found = json.loads(notes.get("lora_adapter_metadata", "null"))
    except ValueError:
        found = None
    expected = {_PREFIX + key: value for key, value in _config(metadata).items()}
    if found != expected:
        raise DataError(
            f"{path}: says {found}, {METADATA_NAME} beside it says {expected}",
            fix=_TUNE_AGAIN,
        )


def _expected(transformer: Any, metadata: AdapterMetadata) -> dict[str, tuple[int, int]]:
    shapes = {}
    for name, layer in _targeted(transformer, metadata.targets).items():
        shapes[f"{name}.lora_A.weight"] = (metadata.rank, int(layer.in_features))
        shapes[f"{name}.lora_B.weight"] = (int(layer.out_features), metadata.rank)
    return shapes


def _refuse_misfits(
    path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, int]]
) -> None:
    for what, names in (("has the foreign", tensors.keys() - expected), ("lacks", expected.keys() - tensors)):
        if names:
            raise DataError(f"{path}: {what} {min(names)} ({len(names)} such names)", fix=_TUNE_AGAIN)
    for name, tensor in tensors.items():
        if (tuple(tensor.shape), str(tensor.dtype)) != (expected[name], "torch.float32"):
            raise DataError(
                f"{path}: {name} is {tuple(tensor.shape)} {tensor.dtype}, "
                f"expected {expected[name]} torch.float32",
                fix=_TUNE_AGAIN,
            )
        if not math.isfinite(float(tensor.sum())):
            raise DataError(f"{path}: {name} holds numbers that are not finite", fix=_TUNE_AGAIN)
