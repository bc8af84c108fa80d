"""Attention distillation: how far a chip's self-attention is from reading a style's keys and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sarcurate.models.attention_capture import Captured
from sarcurate.models.extractor import Extractor
from sarcurate.models.latent import Canvas

if TYPE_CHECKING:
    from torch import Tensor

Mask = NDArray[np.bool_]
KeysValues = tuple["Tensor", "Tensor"]


def distillation_loss(
    seen: Sequence[Captured], styles: Sequence[KeysValues], allowed: Sequence[Tensor] | None
) -> Tensor:
    """L_AD of each chip, (n,): mean |output - ideal| summed over layers; Zhou et al. 2025, eqs. 15-17.

    The ideal is what the chip's own queries read from the style; it is held fixed, as in the authors' code.

    Args:
        seen: layers of the chips.
        styles: keys and values (n, heads, style tokens, width) of each layer.
        allowed: (n, 1, tokens, style tokens) of each layer, true where a query may read; None is everywhere.
    """
    import torch
    import torch.nn.functional as f

    losses = []
    for place, (layer, (keys, values)) in enumerate(zip(seen, styles, strict=True)):
        with torch.no_grad():
            mask = None if allowed is None else allowed[place]
            ideal = f.scaled_dot_product_attention(layer.query, keys, values, attn_mask=mask)
        losses.append((layer.output - ideal).abs().float().mean((1, 2, 3)))
    return torch.stack(losses).sum(0)


def content_loss(seen: Sequence[Captured], queries: Sequence[Tensor]) -> Tensor:
    """L_cnt of each chip, (n,): mean |query - content's query| summed over layers; eq. 18."""
    import torch

    pairs = zip(seen, queries, strict=True)
    return torch.stack([(layer.query - own).abs().float().mean((1, 2, 3)) for layer, own in pairs]).sum(0)


class StyleMemory:
    """Keys and values of style chips at each time, computed once and kept while there is room.

    Each style is read alone, so that what it says does not depend on which others are asked for.

    Args:
        extractor: that reads them.
        latents: (channels, h, w) by chip id.
        most_bytes: kept; the ones unused for longest are forgotten first.
    """

    def __init__(self, extractor: Extractor, latents: Mapping[str, Tensor], most_bytes: int) -> None:
        self._extractor, self._latents, self._most_bytes = extractor, latents, most_bytes
        self._kept: dict[tuple[str, int], list[KeysValues]] = {}
        self._bytes = 0
        self.read = 0

    def at(self, style_ids: Sequence[Sequence[str]], time: int) -> list[KeysValues]:
        """Keys and values (n, heads, k tokens, width) of each layer, for k styles of each of n chips."""
        import torch

        told = [[self._one(style, time) for style in own] for own in style_ids]
        layers = range(len(told[0][0]))
        return [
            (
                torch.cat([torch.cat([one[layer][0] for one in own], dim=2) for own in told]),
                torch.cat([torch.cat([one[layer][1] for one in own], dim=2) for own in told]),
            )
            for layer in layers
        ]

    def _one(self, style: str, time: int) -> list[KeysValues]:
        import torch

        key = (style, time)
        found = self._kept.pop(key, None)
        if found is None:
            with torch.no_grad():
                seen = self._extractor.see(self._latents[style][None], time)
            found = [(layer.key, layer.value) for layer in seen]
            self.read += 1
            self._bytes += _size(found)
        self._kept[key] = found
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            self._bytes -= _size(self._kept.pop(next(iter(self._kept))))
        return found


def _size(layers: Sequence[KeysValues]) -> int:
    return sum(part.numel() * part.element_size() for pair in layers for part in pair)


def allowed_reads(
    contents: Sequence[Mask],
    styles: Sequence[Sequence[Mask]],
    canvas: Canvas,
    grids: Sequence[tuple[int, int]],
) -> list[Tensor]:
    """Which style tokens each query may read: target those of targets, clutter those of clutter.

    Where a style lacks either, its queries read all of it.

    Args:
        contents: (rows, cols) of each chip, true on its target; styles: of its style chips, of one size.
        canvas: of the chips.
        grids: (rows, cols) of the tokens of each layer.

    Returns:
        (n, 1, tokens, style tokens) for each layer.
    """
    import torch

    allowed = []
    for grid in grids:
        rows = []
        for content, own in zip(contents, styles, strict=True):
            query = _tokens(content, canvas, grid)
            key = np.concatenate([_tokens(style, canvas, grid) for style in own])
            same = query[:, None] == key[None, :]
            same[~same.any(axis=1)] = True
            rows.append(same)
        allowed.append(torch.from_numpy(np.stack(rows))[:, None])
    return allowed


def token_grid(canvas: Canvas, factor: int, tokens: int) -> tuple[int, int]:
    """Rows and columns of a layer's tokens on a canvas."""
    rows, cols = canvas.latent_shape(factor)
    step = round((rows * cols / tokens) ** 0.5)
    return rows // step, cols // step


def _tokens(mask: Mask, canvas: Canvas, grid: tuple[int, int]) -> Mask:
    """(tokens,) true where any pixel of the token's cell is; the mask goes on mirrored in the padding."""
    wide = np.zeros(canvas.padded_px, dtype=bool)
    places = [
        np.minimum(np.arange(size) * own // size, own - 1)
        for size, own in zip(canvas.model_px, mask.shape, strict=True)
    ]
    inner = mask[np.ix_(*places)]
    pads = [(0, size - own) for size, own in zip(canvas.padded_px, inner.shape, strict=True)]
    wide[:] = np.pad(inner, pads, mode="reflect")
    cells = wide.reshape(grid[0], wide.shape[0] // grid[0], grid[1], wide.shape[1] // grid[1])
    found: Mask = cells.any(axis=(1, 3)).ravel()
    return found
