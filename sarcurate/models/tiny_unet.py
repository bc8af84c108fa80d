"""The shape of sarcurate-tiny-unet: the classes of Stable Diffusion 1.5, small enough for two cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sarcurate.models.tiny_base import CHIP_PX, TEXT_WIDTHS, VAE_FACTOR

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, UNet2DConditionModel

# Latents along an edge have to be a multiple of this: two halvings.
UNET_STEP = 4


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet of 3.5 M parameters with self-attention at three resolutions.

    On a chip of 48 px its tokens are 2, 4 and 8 px wide: texture of speckle is in reach of the finest.
    """
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=CHIP_PX // VAE_FACTOR,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(48, 80, 96),
        layers_per_block=1,
        # Named so in diffusers, but the number of heads.
        attention_head_dim=(2, 2, 3),
        cross_attention_dim=TEXT_WIDTHS[0],
        norm_num_groups=16,
    )


def new_schedule() -> DDIMScheduler:
    """The noise schedule of Stable Diffusion 1.5."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
