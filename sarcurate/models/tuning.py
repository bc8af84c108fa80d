"""Tuning of a base on one sensor's train chips: everything between the files that go in and come out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcurate.core.model_space import ModelSpace
from sarcurate.execution import progress
from sarcurate.io import lineage, scoring
from sarcurate.io.chipset import ChipSet
from sarcurate.io.generated import source_facts
from sarcurate.io.prompts import PromptField, prompt_of
from sarcurate.io.reference import Reference
from sarcurate.io.sensors import SensorProfile
from sarcurate.models.base import (
    BaseRef,
    load_scheduler,
    load_transformer,
    load_vae,
    resolve_base,
)
from sarcurate.models.latent import LatentSpace
from sarcurate.models.lora import TARGETS, AdapterMetadata
from sarcurate.models.lora_metadata import FORMAT
from sarcurate.models.lora_training import Callbacks, LoraResult, LoraSettings, train_lora
from sarcurate.models.pipeline_folder import PipelineFolder
from sarcurate.models.previews import Previewer
from sarcurate.models.prompt_encoding import PromptEmbeddings
from sarcurate.models.reference_network import ReferenceNetwork
from sarcurate.models.sampling import SampleSettings
from sarcurate.models.source_judge import SourceJudge
from sarcurate.models.tune_chips import TuneChips, tune_chips
from sarcurate.models.vae_floor import VaeFloor, vae_floor

if TYPE_CHECKING:
    from diffusers import SD3Transformer2DModel

_FLOOR_CHIPS = 64
_FLOOR_BATCH = 16


@dataclass(frozen=True, eq=False)
class TuneJob:
    """What is tuned on what, and how.

    Args:
        chips: the sensor's train ChipSet, with folds.
        reference, network: fitted on it; profile: of the sensor.
        classes: a preview is drawn of each.
        base: asked for.
        fields: what prompts tell after the class.
        space: model space of the sensor.
        model_px: longer side that chips are resampled to; None keeps theirs.
        settings: of the training; previews: of the drawing meanwhile.
        seed: of all of it.
    """

    chips: ChipSet
    reference: Reference
    network: ReferenceNetwork
    profile: SensorProfile
    classes: tuple[str, ...]
    base: BaseRef
    fields: tuple[PromptField, ...]
    space: ModelSpace
    model_px: int | None
    settings: LoraSettings
    previews: SampleSettings
    seed: int


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuned base: the adapter with its history, previews, and what the autoencoder alone does to chips."""

    result: LoraResult
    metadata: AdapterMetadata
    previewer: Previewer
    floor: VaeFloor
    n_train: int
    n_held_back: int


def tune(job: TuneJob, cache: Path) -> Tuned:
    """Tune from the last checkpoint on; ``cache`` holds a folder per job.

    Raises:
        DataError, ParamsError, HardwareError: as the parts do.
    """
    folder = resolve_base(job.base)
    transformer = load_transformer(folder, job.settings.precision)
    latent_space = LatentSpace(load_vae(folder), int(transformer.config.patch_size))
    prompts = _preview_prompts(job)
    chips = tune_chips(
        job.chips, job.space, latent_space, job.model_px, (folder, job.base), job.fields, prompts
    )
    work = cache / _work_key(job, folder)
    previewer = _previewer(job, folder, transformer, latent_space, chips, prompts, work / "previews")
    with progress("tuning the adapter", job.settings.steps) as advance:
        callbacks = Callbacks(lambda _step, _loss: advance(1), previewer)
        result = train_lora(
            transformer, chips.train, chips.held_back, job.settings, job.seed, work / "steps", callbacks
        )
    return Tuned(
        result,
        _metadata(job, folder, chips, result.kept_step),
        previewer,
        _floor(job, latent_space),
        len(chips.train.chip_ids),
        len(chips.held_back.chip_ids),
    )


def _preview_prompts(job: TuneJob) -> list[str]:
    """Of each class, with what all chips of the source agree on."""
    shared = source_facts(job.chips).shared
    return [prompt_of(label, shared, job.fields) for label in job.classes]


def _work_key(job: TuneJob, folder: PipelineFolder) -> str:
    decisive = {
        "code": lineage.code_sha256(__name__),
        "base": folder.sha256,
        "text": [job.base.use_t5, job.base.t5_tokens],
        "chips": sorted(
            [row["chip_id"], row["pixels_sha256"], row["label"], row["fold"]] for row in job.chips.rows()
        ),
        "revision": job.chips.revision,
        "fields": list(job.fields),
        "space": dataclasses.asdict(job.space),
        "model_px": job.model_px,
        "settings": dataclasses.asdict(job.settings),
        "previews": dataclasses.asdict(job.previews),
        "seed": job.seed,
    }
    return lineage.sha256_text(lineage.canonical_json(decisive))


def _previewer(
    job: TuneJob,
    folder: PipelineFolder,
    transformer: SD3Transformer2DModel,
    latent_space: LatentSpace,
    chips: TuneChips,
    prompts: Sequence[str],
    work: Path,
) -> Previewer:
    places = [chips.prompts.index(prompt) for prompt in prompts]
    known = chips.train.prompts
    judge = SourceJudge(
        job.reference, job.network, scoring.context_of(job.chips, job.profile), (), chips.canvas.chip_px
    )
    channels = int(transformer.config.in_channels)
    return Previewer(
        labels=job.classes,
        embeddings=PromptEmbeddings(known.tokens[places], known.pooled[places]),
        negative=PromptEmbeddings(known.tokens[:1], known.pooled[:1]),
        seeds=[lineage.seed_from(job.seed, "preview", label) for label in job.classes],
        latent_shape=(channels, *chips.canvas.latent_shape(latent_space.factor)),
        settings=job.previews,
        scheduler=load_scheduler(folder),
        decode=lambda latents: latent_space.decode(latents, chips.canvas),
        space=job.space,
        judge=judge,
        work=work,
    )


def _metadata(job: TuneJob, folder: PipelineFolder, chips: TuneChips, steps: int) -> AdapterMetadata:
    settings: dict[str, Any] = dataclasses.asdict(job.settings)
    return AdapterMetadata(
        format=FORMAT,
        base_name=folder.name,
        base_sha256=folder.sha256,
        rank=job.settings.rank,
        alpha=job.settings.alpha,
        targets=TARGETS[job.settings.preset],
        low_db=job.space.low_db,
        high_db=job.space.high_db,
        radiometry=job.chips.header.radiometry.value,
        sensor=job.chips.header.sensor,
        chip_px=chips.canvas.chip_px,
        model_px=chips.canvas.model_px,
        classes=job.classes,
        prompt_fields=tuple(field.value for field in job.fields),
        train_revision=job.chips.revision,
        settings=settings,
        steps=steps,
        clipped_low=chips.clipped_low,
        clipped_high=chips.clipped_high,
        pixels=chips.pixels,
    )


def _floor(job: TuneJob, latent_space: LatentSpace) -> VaeFloor:
    ids = [row["chip_id"] for row in job.chips.rows()]
    chosen = np.unique(np.linspace(0, len(ids) - 1, min(_FLOOR_CHIPS, len(ids))).round().astype(int))
    return vae_floor(
        latent_space,
        job.space,
        [job.chips.intensity(ids[place]) for place in chosen],
        scoring.context_of(job.chips, job.profile),
        model_px=job.model_px,
        batch_size=_FLOOR_BATCH,
    )
