"""The shape of sarcurate-tiny: the classes of Stable Diffusion 3.5, small enough for two cores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SD3Transformer2DModel

CHIP_PX = 96
VAE_FACTOR = 2
PATCH_LATENTS = 4
# Tokens along an edge, the most that the position table holds.
MOST_TOKENS = 48
# Bytes of a prompt, the end mark included; a longer one is refused, never cut.
PROMPT_TOKENS = 72
TEXT_WIDTHS = (48, 32)
_TEXT_PROJECTION = 48
_BYTES_AND_MARKS = 384


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder: one channel, factor 2, four latent channels, as many numbers as pixels.

    One normalisation group only: each group takes mean and spread out of a chip, and has to learn them back.
    """
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 32),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
        sample_size=CHIP_PX,
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def new_transformer() -> SD3Transformer2DModel:
    """An untrained MM-DiT of 4.5 M parameters: 144 tokens of 8 x 8 px for a chip of 96 px."""
    from diffusers import SD3Transformer2DModel

    return SD3Transformer2DModel(
        sample_size=CHIP_PX // VAE_FACTOR,
        patch_size=PATCH_LATENTS,
        in_channels=4,
        out_channels=4,
        num_layers=4,
        attention_head_dim=60,
        num_attention_heads=3,
        joint_attention_dim=sum(TEXT_WIDTHS),
        caption_projection_dim=180,
        pooled_projection_dim=2 * _TEXT_PROJECTION,
        pos_embed_max_size=MOST_TOKENS,
        qk_norm="rms_norm",
    )


def new_text_encoders() -> tuple[Any, Any]:
    """Two untrained text encoders that read bytes."""
    return _text_encoder(TEXT_WIDTHS[0]), _text_encoder(TEXT_WIDTHS[1])


def _text_encoder(width: int) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=_BYTES_AND_MARKS,
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=_TEXT_PROJECTION,
            num_hidden_layers=2,
            num_attention_heads=width // 16,
            max_position_embeddings=PROMPT_TOKENS,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
        )
    )


def new_tokenizer() -> Any:
    """A tokenizer of plain bytes: any two names differ."""
    from transformers import ByT5Tokenizer

    return ByT5Tokenizer(model_max_length=PROMPT_TOKENS)
