"""Chips of any size to the latents of an autoencoder and back: grid, padding, channels and scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.band_limited import resample
from sarcurate.errors import DataError, HardwareError, ParamsError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import Tensor

Shape = tuple[int, int]

LEAST_PX = 16
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Canvas:
    """Where a chip lies in what the model sees, all (rows, cols): at its top left corner.

    Args:
        chip_px: size of the chip.
        model_px: its size on the model's grid of pixels.
        padded_px: with its mirror image beyond the bottom and right edges.
    """

    chip_px: Shape
    model_px: Shape
    padded_px: Shape

    def latent_shape(self, factor: int) -> Shape:
        """Rows and columns of latents, ``factor`` px each."""
        return self.padded_px[0] // factor, self.padded_px[1] // factor


def canvas_of(chip_px: Shape, model_px: int | None, factor: int, patch: int) -> Canvas:
    """Canvas of a chip: resampled to ``model_px``, then padded to whole tokens of the transformer.

    Args:
        chip_px: (rows, cols), 16 px a side or more.
        model_px: the longer side on the model's grid, the other in proportion; None keeps the chip's own.
        factor: pixels a latent, along one side.
        patch: latents a token, along one side.

    Raises:
        DataError: for smaller chips.
        ParamsError: for a ``model_px`` below the chip's longer side, which would throw detail away.
    """
    longest = max(chip_px)
    if min(chip_px) < LEAST_PX:
        raise DataError(
            f"latents: chips of {_text(chip_px)} px, expected {LEAST_PX} px a side or more",
            fix="cut larger chips (dataset.footprint_m)",
        )
    if model_px is not None and model_px < longest:
        raise ParamsError(
            f"model_px is {model_px} px, the chips are {_text(chip_px)} px: fewer pixels would lose detail",
            fix=f"set tune.model_px to null or to {longest} or more",
        )
    scale = 1.0 if model_px is None else model_px / longest
    rows, cols = (round(size * scale) for size in chip_px)
    step = factor * patch
    padded = math.ceil(rows / step) * step, math.ceil(cols / step) * step
    return Canvas(chip_px, (rows, cols), padded)


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """The latents that a transformer works on: an autoencoder, and how many latents make a token.

    Gray autoencoders see the chip, those of colour pictures see it three times; what comes back is the mean
    of the channels.

    Args:
        vae: on its device, in eval mode.
        patch: latents along a token's side.

    Raises:
        HardwareError: for an autoencoder of other channels.
    """

    vae: AutoencoderKL
    patch: int

    def __post_init__(self) -> None:
        channels = int(self.vae.config.in_channels)
        if channels not in _CHANNELS:
            raise HardwareError(
                f"the base's autoencoder reads {channels} channels, expected one of {_CHANNELS}",
                fix="use a base with an autoencoder of gray or RGB pictures",
            )

    @property
    def factor(self) -> int:
        """Pixels a latent, along one side: a halving between any two blocks."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def canvas(self, chip_px: Shape, model_px: int | None) -> Canvas:
        """As :func:`canvas_of`, for this base."""
        return canvas_of(chip_px, model_px, self.factor, self.patch)

    def encode(self, values: NDArray[np.floating], canvas: Canvas) -> Tensor:
        """Latents (n, channels, h, w), float32 on the CPU, of chips in model space; means, none drawn.

        (latent - shift) * scale of the autoencoder's config, as :class:`StableDiffusion3Pipeline` expects.
        All chips in one pass: callers choose the batch.

        Args:
            values: (n, rows, cols) in -1..1.
            canvas: of these chips.

        Raises:
            DataError: for chips of another size, or not finite.
        """
        import torch

        _check_chips(values, canvas)
        wide = resample(np.asarray(values, dtype=np.float32), canvas.model_px)
        pads = [(0, padded - own) for padded, own in zip(canvas.padded_px, canvas.model_px, strict=True)]
        # Mirrored without the edge pixel itself: speckle would see it twice.
        wide = np.pad(wide, [(0, 0), *pads], mode="reflect")
        pixels = torch.from_numpy(np.ascontiguousarray(wide))[:, None].to(self.vae.device, self.vae.dtype)
        with torch.no_grad():
            law = self.vae.encode(pixels.expand(-1, int(self.vae.config.in_channels), -1, -1)).latent_dist
        shift, scale = self._shift_and_scale()
        latents: Tensor = (law.mean.float().cpu() - shift) * scale
        return latents

    def decode(self, latents: Tensor, canvas: Canvas) -> NDArray[np.float32]:
        """Chips (n, rows, cols) in model space; what the model makes of the padding is cut off.

        Values may leave -1..1, and are not finite where the model fails: callers judge.

        Args:
            latents: (n, channels, h, w) as :meth:`encode` gives them.
            canvas: of the chips wanted.

        Raises:
            DataError: for latents of another size.
        """
        import torch

        with torch.no_grad():
            own = self._decoded(latents, canvas).cpu().numpy()
        return np.asarray(resample(own, canvas.chip_px), dtype=np.float32)

    def pixels(self, latents: Tensor, canvas: Canvas) -> Tensor:
        """As :meth:`decode`, float32 on the autoencoder's device, with gradients to the latents."""
        import torch

        own = self._decoded(latents, canvas)
        if canvas.model_px == canvas.chip_px:
            return own
        # Resampling is linear and works axis by axis.
        rows, cols = (
            torch.from_numpy(resample(np.eye(size, dtype=np.float32), (wanted, size))).to(own.device)
            for size, wanted in zip(canvas.model_px, canvas.chip_px, strict=True)
        )
        return rows @ own @ cols.T

    def _decoded(self, latents: Tensor, canvas: Canvas) -> Tensor:
        """Chips (n, rows, cols) on the model's grid, padding cut off."""
        rows, cols = canvas.latent_shape(self.factor)
        if latents.ndim != 4 or tuple(latents.shape[2:]) != (rows, cols):
            raise DataError(
                f"latents have shape {tuple(latents.shape)}, expected (n, channels, {rows}, {cols}) for "
                f"chips of {_text(canvas.chip_px)} px",
                fix="take the latents from the same canvas and base",
            )
        shift, scale = self._shift_and_scale()
        unscaled = (latents.float() / scale + shift).to(self.vae.device, self.vae.dtype)
        pixels: Tensor = self.vae.decode(unscaled).sample.float().mean(1)
        return pixels[:, : canvas.model_px[0], : canvas.model_px[1]]

    def mask(self, canvas: Canvas) -> Tensor:
        """(h, w) float32: 1 for latents that hold any pixel of the chip, 0 for those of padding alone."""
        import torch

        mask = torch.zeros(canvas.latent_shape(self.factor))
        rows, cols = (math.ceil(size / self.factor) for size in canvas.model_px)
        mask[:rows, :cols] = 1.0
        return mask

    def _shift_and_scale(self) -> tuple[float, float]:
        return float(self.vae.config.shift_factor or 0.0), float(self.vae.config.scaling_factor)


def _check_chips(values: NDArray[np.floating], canvas: Canvas) -> None:
    if values.ndim != 3 or values.shape[1:] != canvas.chip_px:
        raise DataError(
            f"latents: chips have shape {values.shape}, expected (n, {canvas.chip_px[0]}, "
            f"{canvas.chip_px[1]})",
            fix="encode chips of one size at a time, each with its own canvas",
        )
    finite = np.isfinite(values).all(axis=(1, 2))
    if not finite.all():
        place = int(np.flatnonzero(~finite)[0])
        bad = int((~np.isfinite(values[place])).sum())
        raise DataError(
            f"latents: chip {place} of {len(values)} has {bad} pixels that are not finite, expected none",
            fix="leave the chip out, or cut it where the sensor has data",
        )


def _text(shape: Shape) -> str:
    return f"{shape[0]} x {shape[1]}"
