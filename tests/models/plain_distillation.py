"""Attention distillation as its authors run it: one chip, one style after the other, nothing kept.

After ``optimize`` of xugao97/AttentionDistillation (Zhou et al. 2025, arXiv:2502.20235), in plain steps: what
self-attentions see is taken by forward hooks of their linear layers, and attention is written out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Plain:
    """What came out: latents (1, channels, h, w), and the two losses at each update."""

    latents: Tensor
    distillation: list[float]
    content: list[float]


def distil(
    unet: Any,
    prompt: Tensor,
    content: Tensor,
    styles: Sequence[Tensor],
    layers: Sequence[str],
    *,
    timesteps: int = 200,
    iterations: int = 1,
    learning_rate: float = 0.05,
    content_weight: float = 0.25,
    allowed: dict[str, Tensor] | None = None,
    other_loss: Callable[[Tensor, int], Tensor] | None = None,
) -> Plain:
    """Optimise the latents of a content (1, channels, h, w) after styles of the same shape.

    Args:
        unet: with the processors of diffusers; prompt: (1, tokens, width) of the empty prompt.
        layers: names of self-attentions.
        allowed: (tokens, style tokens) by layer, true where a query may read; None is everywhere.
        other_loss: of the latents, at the number of an update, to be added.
    """
    z = content.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([z], lr=learning_rate)
    told = Plain(z, [], [])
    for time in times(timesteps):
        with torch.no_grad():
            read = [look(unet, style, time, prompt, layers) for style in styles]
            wanted = look(unet, content, time, prompt, layers)
        for _ in range(iterations):
            seen = look(unet, z, time, prompt, layers)
            distillation, kept = torch.zeros(()), torch.zeros(())
            for name in layers:
                query, key, value = (seen[name][part] for part in ("to_q", "to_k", "to_v"))
                style_key = torch.cat([one[name]["to_k"] for one in read], dim=2)
                style_value = torch.cat([one[name]["to_v"] for one in read], dim=2)
                mask = None if allowed is None else allowed[name]
                ideal = attention(query, style_key, style_value, mask).detach()
                distillation = distillation + (attention(query, key, value, None) - ideal).abs().mean()
                kept = kept + (query - wanted[name]["to_q"]).abs().mean()
            loss = distillation + content_weight * kept
            if other_loss is not None:
                loss = loss + other_loss(z, len(told.content))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            told.distillation.append(distillation.item())
            told.content.append(kept.item())
    return Plain(z.detach(), told.distillation, told.content)


def times(n: int) -> list[int]:
    """Of DDIM, from noisy to clean, 1000 trained."""
    from diffusers import DDIMScheduler

    schedule = DDIMScheduler(num_train_timesteps=1000, steps_offset=1)
    schedule.set_timesteps(n)
    return [int(time) for time in schedule.timesteps]


def look(
    unet: Any, latents: Tensor, time: int, prompt: Tensor, layers: Sequence[str]
) -> dict[str, dict[str, Tensor]]:
    """What each layer's linear maps make of their input, (1, heads, tokens, width)."""
    seen: dict[str, dict[str, Tensor]] = {name: {} for name in layers}
    handles = []
    for name in layers:
        module = unet.get_submodule(name)
        for part in ("to_q", "to_k", "to_v"):

            def took(
                _m: Any, _i: Any, out: Tensor, own: Any = seen[name], k: str = part, n: int = module.heads
            ):  # type: ignore[no-untyped-def]
                own[k] = torch.stack(out.chunk(n, dim=2), dim=1)

            handles.append(getattr(module, part).register_forward_hook(took))
    unet(latents, time, prompt)
    for handle in handles:
        handle.remove()
    return seen


def attention(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
    scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return scores.softmax(dim=3) @ value
