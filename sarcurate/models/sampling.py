"""Drawing chips from a Stable Diffusion 3 transformer: noise from each chip's own seed, then its pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.model_space import ModelSpace
from sarcurate.errors import DataError, HardwareError, ParamsError
from sarcurate.io.generated import Recipe
from sarcurate.models.prompt_encoding import PromptEmbeddings

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
    from torch import Tensor

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
_LEAST_RANGE = 1e-3  # of model space: about 0.03 dB from the darkest to the brightest pixel
_BLACK_SHARE = 0.99
_READ_BY_TRANSFORMER = ("hidden_states", "encoder_hidden_states", "pooled_projections")


@dataclass(frozen=True)
class SampleSettings:
    """How chips are drawn.

    Args:
        steps: of the flow from noise to a chip.
        guidance: classifier-free; 1 draws without it, at half the cost.
        negative_prompt: what guidance leads away from; read only where guidance is above 1.
        precision: ``fp32`` or ``bf16``, that of the transformer; between steps all is single precision.
        batch_size: chips at a time; a chip's last bits depend on it.

    Raises:
        ParamsError: for a value out of its bounds.
    """

    steps: int
    guidance: float
    negative_prompt: str
    precision: str
    batch_size: int

    def __post_init__(self) -> None:
        for name, found, fine, expected in (
            ("steps", self.steps, self.steps >= 1, "1 or more"),
            ("guidance", self.guidance, math.isfinite(self.guidance) and self.guidance >= 1, "1 or more"),
            ("precision", self.precision, self.precision in PRECISIONS, " or ".join(PRECISIONS)),
            ("batch_size", self.batch_size, self.batch_size >= 1, "1 or more"),
        ):
            if not fine:
                raise ParamsError(
                    f"sampling: {name} is {found}, expected {expected}", fix=f"correct generate.{name}"
                )

    @property
    def is_guided(self) -> bool:
        """True where every step asks the transformer twice, with the prompt and with the negative one."""
        return self.guidance > 1


@dataclass(frozen=True, eq=False)
class Sampler:
    """What turns recipes into chips; call it with up to any number of them.

    Args:
        transformer, scheduler: of the base, the adapter attached.
        decode: latents (n, c, h, w) to model space (n, rows, cols).
        prompts: all that recipes may ask for; embeddings: theirs, in this order.
        negative: embeddings of the one negative prompt; None without guidance.
        latent_shape: (c, h, w).
        space: of the sensor that the adapter was trained on.
    """

    transformer: SD3Transformer2DModel
    scheduler: FlowMatchEulerDiscreteScheduler
    decode: Callable[[Tensor], NDArray[np.float32]]
    prompts: Sequence[str]
    embeddings: PromptEmbeddings
    negative: PromptEmbeddings | None
    latent_shape: tuple[int, int, int]
    settings: SampleSettings
    space: ModelSpace

    def __call__(self, recipes: Sequence[Recipe]) -> NDArray[np.float32]:
        """Linear intensity (n, rows, cols) of the recipes' chips, n at least 1.

        Raises:
            DataError: as :func:`refuse_broken`.
            ParamsError: for a prompt that has no embedding.
        """
        import torch

        size = self.settings.batch_size
        # Filled up here already: the last bits of a decoded chip depend on the size of its batch, too.
        padded = [*recipes, *[recipes[-1]] * (-len(recipes) % size)]
        places = [self._place(recipe.prompt) for recipe in padded]
        asked = PromptEmbeddings(self.embeddings.tokens[places], self.embeddings.pooled[places])
        seeds = [recipe.seed for recipe in padded]
        latents = sample_latents(
            self.transformer, self.scheduler, asked, self.negative, seeds, self.latent_shape, self.settings
        )
        values = np.concatenate([self.decode(part) for part in torch.split(latents, size)])[: len(recipes)]
        # Before the limits of model space, which would hide what is infinite.
        refuse_broken(values, [recipe.chip_id for recipe in recipes])
        return self.space.to_intensity(values)

    def _place(self, prompt: str) -> int:
        try:
            return list(self.prompts).index(prompt)
        except ValueError:
            raise ParamsError(
                f"prompt {prompt!r} was not encoded, known are {list(self.prompts)[:8]}",
                fix="name classes that the adapter was trained on",
            ) from None


def sample_latents(
    transformer: SD3Transformer2DModel,
    scheduler: FlowMatchEulerDiscreteScheduler,
    embeddings: PromptEmbeddings,
    negative: PromptEmbeddings | None,
    seeds: Sequence[int],
    latent_shape: tuple[int, int, int],
    settings: SampleSettings,
) -> Tensor:
    """Latents (n, c, h, w) of n chips, as the VAE scales them, in single precision on the CPU.

    Each chip's noise comes from its own seed alone, and batches have one size, the last one filled up.

    Args:
        transformer: in the settings' precision, on the device to be used.
        scheduler: of the base; it is not changed.
        embeddings: of n prompts; negative: of one, needed where the settings are guided.
        seeds: n of them.
        latent_shape: (c, h, w), h and w multiples of the transformer's patch.

    Raises:
        ParamsError: for a transformer in another precision, or guidance without a negative prompt.
        HardwareError: where the device's memory is too small for a batch.
    """
    import torch

    _check(transformer, negative, settings)
    parts = []
    for start in range(0, len(seeds), settings.batch_size):
        own = range(start, min(start + settings.batch_size, len(seeds)))
        padded = [*own, *[own[-1]] * (settings.batch_size - len(own))]
        noise = torch.stack([_noise(seeds[place], latent_shape) for place in padded])
        asked = PromptEmbeddings(embeddings.tokens[padded], embeddings.pooled[padded])
        parts.append(_batch(transformer, scheduler, asked, negative, noise, settings)[: len(own)])
    return torch.cat(parts) if parts else torch.empty(0, *latent_shape)


_DRAW_ANEW = (
    "lower generate.guidance, tune for fewer steps or at a lower rate, or set generate.precision: fp32"
)


def refuse_broken(
    values: NDArray[np.floating],
    chip_ids: Sequence[str],
    what: str = "generated chip",
    fix: str = _DRAW_ANEW,
) -> None:
    """Refuse chips (n, rows, cols) of model space that are not finite, black or constant.

    Args:
        what: they are called; fix: what to do about it.

    Raises:
        DataError: naming the first such chip, and what to do.
    """
    for chip, chip_id in zip(values, chip_ids, strict=True):
        found = _broken(chip)
        if found:
            raise DataError(f"{what} {chip_id} {found}", fix=fix)


def _broken(chip: NDArray[np.floating]) -> str:
    bad = int((~np.isfinite(chip)).sum())
    if bad:
        return f"has {bad} non-finite of {chip.size} pixels"
    dark = float(np.mean(chip <= -1.0 + _LEAST_RANGE))
    if dark >= _BLACK_SHARE:
        return f"is black: {100 * dark:.1f} % of its pixels are at the lower limit of model space"
    low, high = float(chip.min()), float(chip.max())
    return f"is constant: all pixels are {low:.4g} in model space" if high - low < _LEAST_RANGE else ""


def _check(transformer: Any, negative: PromptEmbeddings | None, settings: SampleSettings) -> None:
    found = str(transformer.dtype).removeprefix("torch.")
    if found != PRECISIONS[settings.precision]:
        raise ParamsError(
            f"sampling at {settings.precision}: the transformer's weights are {found}",
            fix="load it in the precision of generate.precision",
        )
    if settings.is_guided and negative is None:
        raise ParamsError(
            f"guidance {settings.guidance:g} needs a negative prompt, which was not encoded",
            fix="encode generate.negative_prompt (it may be empty), or set generate.guidance to 1",
        )


def _noise(seed: int, latent_shape: tuple[int, int, int]) -> Tensor:
    """Unit Gaussian noise; drawn on the CPU, so that every device gets the same."""
    import torch

    return torch.randn(latent_shape, generator=torch.Generator().manual_seed(seed))


def _batch(
    transformer: Any,
    scheduler: Any,
    asked: PromptEmbeddings,
    negative: PromptEmbeddings | None,
    noise: Tensor,
    settings: SampleSettings,
) -> Tensor:
    """Latents of one batch by the pipeline of diffusers, skip-layer guidance off."""
    import torch
    from diffusers import StableDiffusion3Pipeline

    absent = ("vae", "text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2")
    own_scheduler = type(scheduler).from_config(scheduler.config)
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer, scheduler=own_scheduler, tokenizer_3=None, **dict.fromkeys(absent)
    )
    pipeline.set_progress_bar_config(disable=True)
    device = transformer.device
    unwanted: dict[str, Tensor] = {}
    if settings.is_guided and negative is not None:
        n = len(noise)
        unwanted["negative_prompt_embeds"] = negative.tokens.expand(n, -1, -1).to(device)
        unwanted["negative_pooled_prompt_embeds"] = negative.pooled.expand(n, -1).to(device)
    try:
        with _single_precision_outside(transformer):
            found = pipeline(
                # The pipeline divides the size by its scale again: latents alone decide it.
                height=noise.shape[2] * pipeline.vae_scale_factor,
                width=noise.shape[3] * pipeline.vae_scale_factor,
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance,
                latents=noise.to(device),
                prompt_embeds=asked.tokens.to(device),
                pooled_prompt_embeds=asked.pooled.to(device),
                output_type="latent",
                **unwanted,
            )
    except torch.OutOfMemoryError as error:
        raise HardwareError(
            f"{device}: no memory for {len(noise)} chips of {tuple(noise.shape[1:])} latents: {error}",
            fix="lower generate.batch_size; chips that are finished are kept",
        ) from error
    latents: Tensor = found.images.float().cpu()
    return latents


@contextmanager
def _single_precision_outside(transformer: Any) -> Iterator[None]:
    """Cast what the transformer reads to its type and what it gives to float32.

    Else the latents themselves would be rounded to bfloat16 at every step.
    """

    def enter(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        cast = {name: kwargs[name].to(transformer.dtype) for name in _READ_BY_TRANSFORMER}
        return args, {**kwargs, **cast}

    def leave(_module: Any, _args: Any, output: Any) -> Any:
        return tuple(part.float() for part in output)

    hooks = (
        transformer.register_forward_pre_hook(enter, with_kwargs=True),
        transformer.register_forward_hook(leave),
    )
    was_training = transformer.training
    transformer.eval()
    try:
        yield
    finally:
        transformer.train(was_training)
        for hook in hooks:
            hook.remove()
