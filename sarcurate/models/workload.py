"""What is asked of a machine: a base of some size, a tuning and a generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from sarcurate.models.base_files import base_files
from sarcurate.models.pipeline_files import read_json
from sarcurate.models.pipeline_folder import PipelineFolder

_FLOAT32_BYTES, _BFLOAT16_BYTES = 4, 2


@dataclass(frozen=True)
class BaseSize:
    """What a base's folder says of its size.

    Args:
        transformer: its config.
        vae: its config.
        text_encoder_bytes: of all encoders that are read, as they lie in memory.
    """

    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoder_bytes: int


@dataclass(frozen=True)
class Workload:
    """What is asked for: a tuning and a generation.

    Args:
        preset: of LoRA targets.
        rank: of the LoRA matrices.
        precision: of the frozen transformer, ``bf16`` or ``fp32``.
        gradient_checkpointing: forget what blocks computed, and compute it again for the gradients.
        latent_shape: (channels, rows, cols).
        text_tokens: of an encoded prompt.
        steps: updates of the adapter.
        batch_size: chips an update.
        micro_batch: chips at once, at most ``batch_size``.
        chips: to generate.
        chips_at_once: sampled, decoded or encoded together.
        sampling_steps: noise levels a chip passes.
        guided: sampled with and without the prompt, which doubles the work.
    """

    preset: str
    rank: int
    precision: str
    gradient_checkpointing: bool
    latent_shape: tuple[int, int, int]
    text_tokens: int
    steps: int
    batch_size: int
    micro_batch: int
    chips: int
    chips_at_once: int
    sampling_steps: int
    guided: bool


def base_size(folder: PipelineFolder, *, use_t5: bool) -> BaseSize:
    """Read configs and the headers of weight files; no weights are read.

    CLIP encoders run in float32, T5 in bfloat16.
    """
    configs = [read_json(folder.path / part / "config.json") for part in ("transformer", "vae")]
    weights = [path for path in base_files(folder.path, use_t5=use_t5) if path.suffix == ".safetensors"]
    encoders = [path for path in weights if path.parent.name.startswith("text_encoder")]
    number_bytes = {"text_encoder_3": _BFLOAT16_BYTES}
    return BaseSize(
        configs[0],
        configs[1],
        sum(_numbers_in(path) * number_bytes.get(path.parent.name, _FLOAT32_BYTES) for path in encoders),
    )


def _numbers_in(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, framework="np") as weights:
        return sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
