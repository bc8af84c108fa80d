"""Queries, keys, values and outputs of self-attention layers, recorded while a UNet runs unchanged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sarcurate.errors import HardwareError, ParamsError

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from torch import Tensor

PRESETS = ("ad_default", "paper", "texture")
_SUFFIX = ".processor"


@dataclass(frozen=True, eq=False)
class Captured:
    """One self-attention layer, heads apart: each (n, heads, tokens, channels of a head).

    ``output`` is the attention before its output projection.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor


class _StopForwardError(Exception):
    """Raised inside a forward that has nothing more to tell."""


class _Tape:
    """What processors record to; outside of a recording they record nothing, such as in a recomputation."""

    def __init__(self) -> None:
        self.found: dict[str, Captured] | None = None
        self.wanted = 0

    def take(self, name: str, captured: Captured) -> None:
        if self.found is None:
            return
        self.found[name] = captured
        if len(self.found) == self.wanted:
            raise _StopForwardError


class AttentionCapture:
    """Records layers of a UNet by attention processors; the UNet's own results stay what they were.

    Args:
        unet: its processors are replaced for good.
        layers: names of self-attention modules, such as
            ``up_blocks.2.attentions.0.transformer_blocks.0.attn1``.

    Raises:
        ParamsError: for a layer that it lacks, naming those it has, or none.
    """

    def __init__(self, unet: UNet2DConditionModel, layers: Sequence[str]) -> None:
        known = self_attention_layers(unet)
        missing = sorted(set(layers) - set(known))
        if missing or not layers:
            raise ParamsError(
                f"extractor: it has no layers {missing}" if missing else "extractor: no layers are named",
                fix=f"name some of {', '.join(known)}",
            )
        self.layers = tuple(name for name in known if name in set(layers))
        self._tape = _Tape()
        processors = dict(unet.attn_processors)
        for name in self.layers:
            module = unet.get_submodule(name)
            if module.spatial_norm is not None or module.group_norm is not None:
                raise HardwareError(
                    f"extractor: layer {name} normalises its input in a way that is not known here",
                    fix="use a UNet of Stable Diffusion 1.5 or XL",
                )
            processors[name + _SUFFIX] = _Capturing(name, self._tape)
        unet.set_attn_processor(processors)

    def record(self, run: Callable[[], object]) -> list[Captured]:
        """The layers, in the order of :attr:`layers`, while ``run`` sends something through the UNet.

        The forward ends with the last of them that is reached.
        """
        self._tape.found, self._tape.wanted = {}, len(self.layers)
        try:
            with suppress(_StopForwardError):
                run()
            found = self._tape.found
        finally:
            self._tape.found = None
        return [found[name] for name in self.layers]


def self_attention_layers(unet: UNet2DConditionModel) -> list[str]:
    """Names of a UNet's self-attention modules in the order of execution; none that reads text instead."""
    names = [name.removesuffix(_SUFFIX) for name in unet.attn_processors if ".attn1" in name]
    names = [name for name in names if not unet.get_submodule(name).is_cross_attention]
    place = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
    # Stable: within a part they already stand in the order in which they run.
    return sorted(names, key=lambda name: place[name.split(".")[0]])


def preset_layers(unet: UNet2DConditionModel, preset: str) -> list[str]:
    """Layers of a preset: self-attentions of the decoder's last blocks that have any.

    ``paper``: all of them, deep and shallow; ``ad_default``: all but the deepest block's, the layers 10 to 15
    of Stable Diffusion 1.5 and 64 to 69 of XL that Zhou et al. use (2025, arXiv:2502.20235); ``texture``: the
    last block's.

    Raises:
        ParamsError: for another name, or a decoder without attention.
    """
    decoder = [name for name in self_attention_layers(unet) if name.startswith("up_blocks.")]
    blocks = sorted({int(name.split(".")[1]) for name in decoder})
    first = {"paper": 0, "ad_default": 1, "texture": len(blocks) - 1}
    if preset not in first or not blocks:
        raise ParamsError(
            f"extractor: layers {preset!r} of a decoder with {len(blocks)} blocks of attention",
            fix=f"take one of {', '.join(PRESETS)}, or name layers: {', '.join(self_attention_layers(unet))}",
        )
    kept = blocks[first[preset] :] or blocks
    return [name for name in decoder if int(name.split(".")[1]) in kept]


class _Capturing:
    """Computes as ``AttnProcessor2_0`` of diffusers does, for plain self-attention, and tells the tape."""

    def __init__(self, name: str, tape: _Tape) -> None:
        self._name, self._tape = name, tape

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        import torch.nn.functional as f

        residual = hidden_states
        query, key, value = (
            _heads(project(hidden_states), attn.heads) for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        if attn.norm_k is not None:
            key = attn.norm_k(key)
        output = f.scaled_dot_product_attention(query, key, value)
        self._tape.take(self._name, Captured(query, key, value, output))
        joined = output.transpose(1, 2).flatten(2).to(query.dtype)
        hidden_states = attn.to_out[1](attn.to_out[0](joined))
        if attn.residual_connection:
            hidden_states = hidden_states + residual
        scaled: Tensor = hidden_states / attn.rescale_output_factor
        return scaled


def _heads(states: Tensor, heads: int) -> Tensor:
    """(n, tokens, width) as (n, heads, tokens, width / heads)."""
    n, tokens, width = states.shape
    return states.view(n, tokens, heads, width // heads).transpose(1, 2)
