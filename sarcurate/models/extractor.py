"""The extractor of migration: a Stable Diffusion 1.5 or XL folder whose UNet is read, never sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sarcurate.errors import HardwareError, ParamsError
from sarcurate.models.attention_capture import PRESETS, AttentionCapture, Captured, preset_layers
from sarcurate.models.latent import LatentSpace
from sarcurate.models.pipeline_files import Layout, files_sha256, part_classes, pipeline_class, pipeline_files
from sarcurate.models.pipeline_folder import PipelineFolder, Wanted, load_part, locate
from sarcurate.models.prompt_encoding import last_states

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BUNDLED = "sarcurate-tiny-unet"
_XL = "StableDiffusionXLPipeline"
_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast", "ByT5Tokenizer")
_SECOND = ("text_encoder_2", "tokenizer_2")
LAYOUT = Layout(
    what="extractor",
    pipelines=("StableDiffusionPipeline", _XL),
    parts={
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL",),
        "scheduler": (
            *("DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "LMSDiscreteScheduler"),
            *("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler"),
        ),
        "text_encoder": ("CLIPTextModel",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "tokenizer": _TOKENIZERS,
        "tokenizer_2": _TOKENIZERS,
    },
    optional=_SECOND,
    fix="give a Stable Diffusion 1.5 or XL folder, or the bundled extractor sarcurate-tiny-unet",
)


@dataclass(frozen=True)
class ExtractorRef:
    """What a user asked for.

    Args:
        where: ``BUNDLED``, a folder, or a hub id ``owner/name``.
        revision: commit of a hub id, 40 hexadecimal digits; None for the others.
        layers: a preset, or names of self-attention modules.
    """

    where: str
    revision: str | None
    layers: str | tuple[str, ...]


def resolve_extractor(ref: ExtractorRef) -> PipelineFolder:
    """Find an extractor on this machine, check its files and hash them; the network is never used.

    Raises:
        ParamsError, HardwareError: as for a base (:func:`sarcurate.models.base.resolve_base`).
    """
    wanted = Wanted("extractor", ref.where, ref.revision, BUNDLED, "migrate.extractor")
    path, name = locate(wanted)
    classes = part_classes(path, LAYOUT)
    lacking = [part for part in _SECOND if classes[part] is None]
    if lacking and pipeline_class(path) == _XL:
        raise HardwareError(
            f"extractor {path}: its index has no {lacking[0]}, which XL reads prompts by",
            fix="copy or download the folder again, whole",
        )
    parts = [part for part, found in classes.items() if found is not None]
    return PipelineFolder(path, files_sha256(path, pipeline_files(path, LAYOUT, parts)), name)


@dataclass(frozen=True, eq=False)
class Extractor:
    """A frozen UNet with its autoencoder, that tells what its self-attentions see in clean latents.

    Args:
        unet, capture: the UNet and the layers that are read.
        latent_space: of its autoencoder.
        empty_prompt: (1, tokens, width); pooled_prompt: (1, width) for XL, else None.
        train_times: noise levels that it was trained on.
    """

    unet: Any
    capture: AttentionCapture
    latent_space: LatentSpace
    empty_prompt: Tensor
    pooled_prompt: Tensor | None
    train_times: int

    def see(self, latents: Tensor, time: int) -> list[Captured]:
        """The captured layers for latents (n, channels, h, w) at a time; gradients reach the latents."""
        n = len(latents)
        prompt, added = self.empty_prompt.expand(n, -1, -1), None
        if self.pooled_prompt is not None:
            added = {"text_embeds": self.pooled_prompt.expand(n, -1), "time_ids": self._sizes(latents)}
        return self.capture.record(
            lambda: self.unet(latents.to(self.unet.dtype), time, prompt, added_cond_kwargs=added)
        )

    def _sizes(self, latents: Tensor) -> Tensor:
        """What XL is told of a picture: its size, that nothing was cut off, and its size again."""
        rows, cols = (size * self.latent_space.factor for size in latents.shape[2:])
        told = latents.new_tensor([[rows, cols, 0, 0, rows, cols]], dtype=self.unet.dtype)
        return told.expand(len(latents), -1)

    def times(self, n: int) -> list[int]:
        """``n`` times from noisy to clean, spread evenly as the sampler of Song et al. (2021) spaces them.

        Raises:
            ParamsError: for more times than it was trained on.
        """
        if not 1 <= n <= self.train_times:
            raise ParamsError(
                f"migration: {n} timesteps, the extractor knows {self.train_times}",
                fix="lower migrate.timesteps, and take more migrate.iterations instead",
            )
        step = self.train_times // n
        return [place * step + 1 for place in range(n)][::-1]


def load_extractor(
    folder: PipelineFolder, layers: str | Sequence[str], precision: str, device: str | torch.device
) -> Extractor:
    """Load an extractor; its text encoders are gone from memory afterwards.

    Args:
        layers: a preset or names of self-attention modules.
        precision: of the UNet, ``bf16`` or ``fp32``; the autoencoder is float32.

    Raises:
        ParamsError: for layers that it lacks.
        HardwareError: for weights that do not fit their configs.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet = load_part(UNet2DConditionModel, folder.path / "unet", precision).to(device)
    vae = load_part(AutoencoderKL, folder.path / "vae", "fp32").to(device)
    named = preset_layers(unet, layers) if isinstance(layers, str) and layers in PRESETS else layers
    capture = AttentionCapture(unet, [named] if isinstance(named, str) else named)
    prompt, pooled = _empty_prompt(folder)
    return Extractor(
        unet=unet,
        capture=capture,
        latent_space=LatentSpace(vae, 2 ** (len(unet.config.block_out_channels) - 1)),
        empty_prompt=prompt.to(device, unet.dtype),
        pooled_prompt=None if pooled is None else pooled.to(device, unet.dtype),
        train_times=_train_times(folder),
    )


def _train_times(folder: PipelineFolder) -> int:
    from diffusers import DDIMScheduler

    # Only the number of times is read, which every schedule of this family names alike.
    config = DDIMScheduler.load_config(folder.path / "scheduler", local_files_only=True)
    return int(config["num_train_timesteps"])


def _empty_prompt(folder: PipelineFolder) -> tuple[Tensor, Tensor | None]:
    """Embeddings of "" and, for XL, their pooled one, as the pipelines make them; float32 on the CPU."""
    import torch
    import transformers
    from diffusers import StableDiffusionXLPipeline

    is_xl, classes = pipeline_class(folder.path) == _XL, part_classes(folder.path, LAYOUT)
    parts: dict[str, Any] = {}
    for end in ("", "_2") if is_xl else ("",):
        encoder, tokenizer = f"text_encoder{end}", f"tokenizer{end}"
        parts[encoder] = load_part(
            getattr(transformers, str(classes[encoder])), folder.path / encoder, "fp32"
        )
        reader = getattr(transformers, str(classes[tokenizer]))
        parts[tokenizer] = reader.from_pretrained(folder.path / tokenizer, local_files_only=True)
    with torch.no_grad():
        if not is_xl:
            return last_states([""], parts["tokenizer"], parts["text_encoder"]), None
        pipeline = StableDiffusionXLPipeline(
            vae=None, unet=None, scheduler=None, force_zeros_for_empty_prompt=False, **parts
        )
        tokens, _, pooled, _ = pipeline.encode_prompt("", device="cpu", do_classifier_free_guidance=False)
        return tokens, pooled
