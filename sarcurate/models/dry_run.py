"""The networks of a run on the meta device, and the work they do, for counting without weights or data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sarcurate.models.flow import STEPS_PER_UNIT
from sarcurate.models.lora import attach_lora
from sarcurate.models.pipeline_folder import DTYPES
from sarcurate.models.workload import BaseSize, Workload

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SD3Transformer2DModel
    from torch import Tensor
    from torch.nn import Module


def meta_transformer(base: BaseSize, workload: Workload) -> SD3Transformer2DModel:
    """The transformer in its precision, with its adapter, on the meta device."""
    import torch
    from diffusers import SD3Transformer2DModel

    dtype = getattr(torch, DTYPES[workload.precision])
    with torch.device("meta"):
        transformer = SD3Transformer2DModel.from_config(dict(base.transformer))
    for tensor in (*transformer.parameters(), *transformer.buffers()):
        tensor.data = tensor.data.to(dtype)
    transformer.requires_grad_(False)
    attach_lora(transformer, workload.preset, workload.rank, workload.rank, 0)
    if workload.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    return transformer


def meta_autoencoder(base: BaseSize) -> AutoencoderKL:
    """The autoencoder, float32, on the meta device."""
    import torch
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        return AutoencoderKL.from_config(dict(base.vae)).requires_grad_(False)


def tune(workload: Workload, n: int, transformer: Module) -> None:
    """Forward and backward of n chips, in the mixed precision of the training."""
    import torch

    with torch.autocast("cpu", torch.bfloat16, enabled=workload.precision == "bf16"):
        error = _velocity(workload, transformer, n).float() ** 2
    error.mean().backward()  # type: ignore[no-untyped-call]


def sample(workload: Workload, transformer: Module) -> None:
    """One noise level of a batch."""
    import torch

    with torch.no_grad():
        _velocity(workload, transformer, workload.chips_at_once * (2 if workload.guided else 1))


def decode(workload: Workload, vae: Any) -> None:
    """Latents of a batch to chips."""
    import torch

    with torch.no_grad():
        vae.decode(torch.empty(workload.chips_at_once, *workload.latent_shape))


def encode(workload: Workload, vae: Any) -> None:
    """A batch of chips to latents."""
    import torch

    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    rows, cols = (factor * edge for edge in workload.latent_shape[1:])
    with torch.no_grad():
        vae.encode(torch.empty(workload.chips_at_once, vae.config.in_channels, rows, cols))


def bytes_of(module: Any) -> int:
    """Bytes of parameters and buffers."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def _velocity(workload: Workload, transformer: Any, n: int) -> Tensor:
    import torch

    config, dtype = transformer.config, getattr(torch, DTYPES[workload.precision])
    velocity: Tensor = transformer(
        hidden_states=torch.empty(n, *workload.latent_shape, dtype=dtype),
        encoder_hidden_states=torch.empty(n, workload.text_tokens, config.joint_attention_dim, dtype=dtype),
        pooled_projections=torch.empty(n, config.pooled_projection_dim, dtype=dtype),
        timestep=torch.full((n,), STEPS_PER_UNIT),
        return_dict=False,
    )[0]
    return velocity
