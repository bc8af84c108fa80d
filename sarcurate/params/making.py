"""Sections of the stages that make chips."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sarcurate.params.judging import Gate
from sarcurate.params.section import Count, Finite, Fraction, Positive, Section


class Translate(Section):
    """Comparison methods that need no network."""

    same_pixels: bool = Field(
        description="true takes a source pixel as a target pixel; false resamples so that metres stay true"
    )


class Tune(Section):
    """LoRA of a Stable Diffusion 3 base on the source's train chips; fold 0 is held back."""

    base: Annotated[str, Field(min_length=1)] = Field(
        description="sarcurate-tiny, the folder of a Stable Diffusion 3 pipeline, or a hub id owner/name"
    )
    base_revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = Field(
        description="commit of a hub id, 40 digits; null for a folder"
    )
    use_t5: bool = Field(description="read prompts with the base's T5 too, where it has one")
    t5_tokens: Annotated[int, Field(ge=0, le=512)] = Field(
        description="tokens of the T5 part, zeros without T5; Stable Diffusion 3.5 takes 77, sarcurate-tiny 0"
    )
    prompt_fields: list[Literal["sensor", "band", "spacing", "polarisation", "incidence", "azimuth"]] = Field(
        description="what prompts tell after the class, where the manifest knows it"
    )
    headroom_db: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)] = Field(
        description="how far model space reaches beyond the 0.1 and 99.9 percentile of the source, in dB"
    )
    model_px: Annotated[int, Field(ge=16, le=2048)] | None = Field(
        description="longer side that chips are resampled to before encoding; null keeps their own"
    )
    targets: Literal["paper", "wide", "wide_dual", "full"] = Field(
        description="adapted layers: Q, K, V of both streams, also outputs, also the image-only attentions; "
        "full is wide with the feed-forward layers and the modulation by the prompt"
    )
    rank: Count
    alpha: Positive = Field(description="scale of the adapter is alpha / rank")
    steps: Count = Field(description="optimiser updates at most")
    batch_size: Count
    micro_batch: Count = Field(
        description="chips that go through the network at once; halves when memory runs out"
    )
    learning_rate: Positive
    warmup: Annotated[int, Field(ge=0)] = Field(description="updates over which the rate rises")
    cooldown: Annotated[int, Field(ge=0)] = Field(
        description="the last updates, over which the rate falls to 0; 0 keeps it"
    )
    weight_decay: Annotated[float, Field(ge=0)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="of the averaged adapter, which is kept"
    )
    caption_dropout: Fraction = Field(description="share of chips trained without their prompt, for guidance")
    weighting: Literal["velocity", "noise", "data"] = Field(
        description="whose squared error weighs the same at all noise levels; noise is eq. 2 of the paper"
    )
    time_mean: Finite = Field(description="mean of the logit of trained noise levels")
    time_std: Positive = Field(description="spread of that logit")
    time_shift: Positive = Field(description="1 leaves noise levels, 3 as published moves them up")
    gradient_checkpointing: bool = Field(description="less memory for more time; the same numbers")
    precision: Literal["bf16", "fp32"]
    validate_every: Count = Field(description="updates between losses on held-back chips, at fixed noise")
    patience: Count | None = Field(description="validations without gain before it stops; null for never")
    save_every: Count = Field(description="updates between checkpoints")
    keep: Literal["best", "last"] = Field(
        description="averaged adapter of the best loss on held-back chips, or of the last update"
    )
    preview_steps: Count = Field(description="sampling steps of the previews drawn at each validation")
    threads: Count = Field(description="CPU threads; part of the result, since sums depend on it")

    @model_validator(mode="after")
    def _micro_batch_divides(self) -> Tune:
        if self.batch_size % self.micro_batch:
            raise ValueError("micro_batch must divide batch_size")
        return self


class Generate(Section):
    """Class-controlled chips of the source sensor, drawn from the tuned base."""

    per_class: Count = Field(description="chips per class: drawn, or passing the gates where there are any")
    gates: list[Gate] = Field(description="source gates that chips have to pass to be counted; [] for none")
    max_tries_per_class: Count = Field(description="chips drawn per class at most")
    steps: Count = Field(description="sampling steps")
    guidance: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        description="classifier-free guidance; 1 is none"
    )
    negative_prompt: str
    batch_size: Count = Field(description="chips drawn at once; part of the result's last bits")
    precision: Literal["bf16", "fp32"]
    threads: Count = Field(description="CPU threads; part of the result, since sums depend on it")

    @model_validator(mode="after")
    def _tries_suffice(self) -> Generate:
        if self.max_tries_per_class < self.per_class:
            raise ValueError("max_tries_per_class must be at least per_class")
        return self


class Migrate(Section):
    """Attention distillation: source chips, real and generated, restyled after real target train chips."""

    source_per_class: Count | None = Field(
        description="real source chips of each class that are migrated, spread over the set; null for all"
    )
    generated_per_class: Count | None = Field(description="the same of generated chips")
    extractor: Annotated[str, Field(min_length=1)] = Field(
        description="sarcurate-tiny-unet, the folder of a Stable Diffusion 1.5 or XL pipeline, or a hub id"
    )
    extractor_revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = Field(
        description="commit of a hub id, 40 digits; null for a folder"
    )
    layers: Annotated[str, Field(min_length=1)] | list[str] = Field(
        description="ad_default, paper (deep and shallow), texture, or names of self-attention modules"
    )
    precision: Literal["bf16", "fp32"] = Field(description="of the extractor's UNet")
    model_px: Annotated[int, Field(ge=16, le=2048)] | None = Field(
        description="longer side that chips are resampled to for the extractor; null keeps the target's grid"
    )
    headroom_db: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)] = Field(
        description="how far model space reaches beyond the 0.1 and 99.9 percentile of each sensor, in dB"
    )
    start: Literal["physics", "resampled"] = Field(
        description="where the optimisation starts: the physics translation, or the content on the "
        "target's grid"
    )
    style: Literal["same_class", "any_class"] = Field(description="target train chips that styles come from")
    references: Count = Field(description="style chips of each content")
    masks: bool = Field(description="bright targets read styles' targets, clutter reads clutter")
    mode: Literal["paper", "robust"] = Field(
        description="speckle and spectrum terms: as printed against one style, or against all train chips"
    )
    content_weight: Annotated[float, Field(ge=0)] = Field(description="of queries kept, beside distillation")
    speckle_weight: Annotated[float, Field(ge=0)]
    spectrum_weight: Annotated[float, Field(ge=0)]
    timesteps: Count = Field(description="times of the extractor, from noisy to clean")
    iterations: Count = Field(description="updates at each time")
    learning_rate: Positive
    pixel_every: Count = Field(
        description="updates between those that decode, whose terms weigh as much more"
    )
    patience: Count | None = Field(description="times without progress that end a chip; null for never")
    batch_size: Count = Field(description="chips at once; part of the result's last bits")
    threads: Count = Field(description="CPU threads; part of the result, since sums depend on it")
