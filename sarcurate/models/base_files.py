"""The files of a base: a Stable Diffusion 3 pipeline folder, its T5 left out where it is not used."""

from __future__ import annotations

from pathlib import Path

from sarcurate.models import pipeline_files
from sarcurate.models.pipeline_files import Layout

T5_PARTS = ("text_encoder_3", "tokenizer_3")
_CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast", "ByT5Tokenizer")
LAYOUT = Layout(
    what="base",
    pipelines=("StableDiffusion3Pipeline",),
    parts={
        "transformer": ("SD3Transformer2DModel",),
        "vae": ("AutoencoderKL",),
        "scheduler": ("FlowMatchEulerDiscreteScheduler",),
        "text_encoder": ("CLIPTextModelWithProjection",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "text_encoder_3": ("T5EncoderModel",),
        "tokenizer": _CLIP_TOKENIZERS,
        "tokenizer_2": _CLIP_TOKENIZERS,
        "tokenizer_3": ("T5Tokenizer", "T5TokenizerFast"),
    },
    optional=T5_PARTS,
    fix="give a Stable Diffusion 3 or 3.5 folder, or the bundled base sarcurate-tiny",
)


def part_classes(root: Path) -> dict[str, str | None]:
    """The class of every part of a base, None for a part that is left out.

    Raises:
        HardwareError: as :func:`sarcurate.models.pipeline_files.part_classes`.
    """
    return pipeline_files.part_classes(root, LAYOUT)


def base_files(root: Path, *, use_t5: bool) -> list[Path]:
    """The files a base is read from, in order; without ``use_t5``, T5 is none of them.

    Raises:
        HardwareError: as :func:`sarcurate.models.pipeline_files.pipeline_files`.
    """
    parts = [part for part in part_classes(root) if use_t5 or part not in T5_PARTS]
    return pipeline_files.pipeline_files(root, LAYOUT, parts)
