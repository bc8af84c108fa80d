"""tune: a LoRA of the base on the source's train chips, so that it draws that sensor's classes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sarcurate.core.model_space import model_space
from sarcurate.io import lineage, tune_figures
from sarcurate.io.chipset import open_chipset
from sarcurate.io.prompts import PromptField
from sarcurate.io.reference import NETWORK, open_reference
from sarcurate.io.sensors import load_profile
from sarcurate.io.validated import require_validated_revisions
from sarcurate.models.base import BaseRef
from sarcurate.models.flow import LossWeighting, TimeLaw
from sarcurate.models.lora import save_adapter
from sarcurate.models.lora_settings import LoraSettings
from sarcurate.models.reference_network import load_network
from sarcurate.models.sampling import SampleSettings
from sarcurate.models.tuning import Tuned, TuneJob, tune
from sarcurate.models.vae_floor import failures, floor_numbers
from sarcurate.params import Params, Tune

SAME_NAMES = (
    *("rank", "alpha", "steps", "batch_size", "micro_batch", "learning_rate", "warmup", "cooldown"),
    *("weight_decay", "ema_decay", "caption_dropout", "gradient_checkpointing", "precision"),
    *("validate_every", "patience", "save_every", "keep", "threads"),
)


@dataclass(frozen=True)
class Inputs:
    """What tune reads."""

    validated: Path
    source_train: Path
    source_reference: Path


@dataclass(frozen=True)
class Outputs:
    """What tune writes: the adapter, flat numbers, a row per update, and pictures of the previews."""

    adapter: Path
    metrics: Path
    curve: Path
    previews: Path


def run(params: Params, inputs: Inputs, outputs: Outputs, cache: Path) -> list[str]:
    """Tune what the work cache does not hold finished; a few lines for the terminal."""
    chips = open_chipset(inputs.source_train, splits=("train",))
    require_validated_revisions(inputs.validated, {"source": chips.revision})
    reference, section = open_reference(inputs.source_reference), params.tune
    low, high = section.headroom_db
    job = TuneJob(
        chips=chips,
        reference=reference,
        network=load_network(inputs.source_reference / NETWORK),
        profile=load_profile(params.dataset.source.profile),
        classes=tuple(params.dataset.classes),
        base=base_ref(section),
        fields=tuple(PromptField(name) for name in section.prompt_fields),
        space=model_space(reference.intensity_limits_db, (low, high)),
        model_px=section.model_px,
        settings=lora_settings(section),
        previews=SampleSettings(
            steps=section.preview_steps,
            guidance=params.generate.guidance,
            negative_prompt="",
            precision=section.precision,
            batch_size=len(params.dataset.classes),
        ),
        seed=lineage.seed_from(params.dataset.root_seed, "tune") % 2**31,
    )
    tuned = tune(job, cache)
    save_adapter(outputs.adapter, tuned.result.ema_state, tuned.metadata)
    return _write(tuned, outputs, params.dataset.source.display_db)


def base_ref(section: Tune) -> BaseRef:
    """The base that the params name."""
    return BaseRef(section.base, section.base_revision, section.t5_tokens, section.use_t5)


def lora_settings(section: Tune) -> LoraSettings:
    """How the params train an adapter."""
    return LoraSettings(
        preset=section.targets,
        weighting=LossWeighting(section.weighting),
        law=TimeLaw(section.time_mean, section.time_std, section.time_shift),
        **{name: getattr(section, name) for name in SAME_NAMES},
    )


def _write(tuned: Tuned, outputs: Outputs, display_db: tuple[float, float]) -> list[str]:
    previews = tuned.previewer.rows()
    curve = _curve(tuned)
    outputs.curve.parent.mkdir(parents=True, exist_ok=True)
    curve.to_csv(outputs.curve, index=False)
    numbers = _numbers(tuned)
    outputs.metrics.write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    outputs.previews.mkdir(parents=True, exist_ok=True)
    (outputs.previews / "curves.png").write_bytes(tune_figures.curves(curve))
    grid = [
        (
            tune_figures.Told(row.step, row.enl, row.log_psd_distance, row.recognised, row.shown),
            tuned.previewer.images(row.step),
        )
        for row in previews
    ]
    labels = tuned.previewer.labels
    (outputs.previews / "previews.png").write_bytes(tune_figures.previews(grid, labels, display_db))
    return [
        f"{tuned.n_train} chips, {tuned.n_held_back} held back; kept after {tuned.result.kept_step} of "
        f"{tuned.result.steps_made} updates: loss {numbers['validation_loss_kept']:.4f} "
        f"({numbers['validation_loss_first']:.4f} before the first, "
        f"{numbers['validation_loss_best']:.4f} at best)",
        *failures(tuned.floor),
    ]


def _curve(tuned: Tuned) -> pd.DataFrame:
    """A row per update; validations carry the held-back loss and the previews' medians."""
    table = pd.DataFrame([asdict(row) for row in tuned.result.history])
    names = ["step", "enl", "log_psd_distance", "memorisation_ratio"]
    shown = pd.DataFrame([{name: asdict(row)[name] for name in names} for row in tuned.previewer.rows()])
    return table.merge(shown.rename(columns={"enl": "preview_enl"}), on="step", how="left")


def _numbers(tuned: Tuned) -> dict[str, Any]:
    losses = {
        row.step: row.validation_loss for row in tuned.result.history if row.validation_loss is not None
    }
    metadata = tuned.metadata
    return {
        "n_train": tuned.n_train,
        "n_held_back": tuned.n_held_back,
        "steps_made": tuned.result.steps_made,
        "kept_step": tuned.result.kept_step,
        "stopped_early": tuned.result.stopped_early,
        "micro_batch": tuned.result.history[-1].micro_batch,
        "validation_loss_first": losses[0],
        "validation_loss_best": min(loss for step, loss in losses.items() if step > 0),
        "validation_loss_kept": losses[tuned.result.kept_step],
        "trained_parameters": sum(value.numel() for value in tuned.result.ema_state.values()),
        "clipped_low_fraction": metadata.clipped_low / metadata.pixels,
        "clipped_high_fraction": metadata.clipped_high / metadata.pixels,
        **{f"floor_{name}": value for name, value in floor_numbers(tuned.floor).items()},
    }
