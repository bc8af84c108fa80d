"""migrate: source chips, real and generated, to the target's style by attention distillation."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sarcurate.core.model_space import ModelSpace, model_space
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.migrated import StylePolicy
from sarcurate.io.migration_traces import trace_curve
from sarcurate.io.pair_fit import fit_pair
from sarcurate.io.reference import open_reference
from sarcurate.io.sensors import load_profile
from sarcurate.io.validated import require_validated_revisions
from sarcurate.models.extractor import ExtractorRef
from sarcurate.models.migrating import MigratedSet, Migration, MigrationJob
from sarcurate.models.migration import MigrationSettings
from sarcurate.models.spectral_room import SpectralRoom
from sarcurate.params import Params

SOURCE, GENERATED = "migrated", "migrated-generated"
_SAME_NAMES = (
    *("mode", "content_weight", "speckle_weight", "spectrum_weight", "timesteps", "iterations"),
    *("learning_rate", "pixel_every", "patience", "batch_size", "masks"),
)


@dataclass(frozen=True)
class Inputs:
    """What migrate reads."""

    validated: Path
    source_train: Path
    target_train: Path
    generated: Path
    source_reference: Path
    target_reference: Path


@dataclass(frozen=True)
class Outputs:
    """What migrate writes: a ChipSet of each kind of content, numbers, losses of chips, and their medians."""

    migrated: Path
    migrated_generated: Path
    metrics: Path
    traces: Path
    curve: Path


def run(params: Params, inputs: Inputs, outputs: Outputs, cache: Path) -> list[str]:
    """Migrate what the work cache lacks; a few lines for the terminal."""
    source = open_chipset(inputs.source_train, splits=("train",))
    target = open_chipset(inputs.target_train, splits=("train",))
    generated = open_chipset(inputs.generated, splits=("train",))
    require_validated_revisions(inputs.validated, {"source": source.revision, "target": target.revision})
    section = params.migrate
    migration = Migration(migration_job(params, source, target, inputs), cache)
    room = migration.room()
    print(room.line(), file=sys.stderr, flush=True)
    done = {
        SOURCE: migration.run(source, section.source_per_class, "migrating source chips", outputs.migrated),
        GENERATED: migration.run(
            generated, section.generated_per_class, "migrating generated chips", outputs.migrated_generated
        ),
    }
    _write(done, room, outputs)
    return [_line(name, made) for name, made in done.items()]


def migration_job(params: Params, source: ChipSet, target: ChipSet, inputs: Inputs) -> MigrationJob:
    """What the params migrate."""
    section = params.migrate
    layers = section.layers if isinstance(section.layers, str) else tuple(section.layers)
    return MigrationJob(
        fitted=fit_pair(
            source,
            target,
            load_profile(params.dataset.source.profile),
            load_profile(params.dataset.target.profile),
            same_pixels=params.translate.same_pixels,
            seed=lineage.seed_from(params.dataset.root_seed, "translate", "fit"),
        ),
        extractor=ExtractorRef(section.extractor, section.extractor_revision, layers),
        precision=section.precision,
        source_space=_space(params, inputs.source_reference),
        target_space=_space(params, inputs.target_reference),
        start=section.start,
        model_px=section.model_px,
        styles=StylePolicy(section.style, section.references),
        settings=MigrationSettings(**{name: getattr(section, name) for name in _SAME_NAMES}),
        threads=section.threads,
        root_seed=params.dataset.root_seed,
    )


def _space(params: Params, reference: Path) -> ModelSpace:
    low, high = params.migrate.headroom_db
    return model_space(open_reference(reference).intensity_limits_db, (low, high))


def _write(done: Mapping[str, MigratedSet], room: SpectralRoom, outputs: Outputs) -> None:
    traces = pd.concat([made.traces.assign(set=name) for name, made in done.items()], ignore_index=True)
    outputs.traces.parent.mkdir(parents=True, exist_ok=True)
    traces.to_parquet(outputs.traces, index=False)
    trace_curve(traces).to_csv(outputs.curve, index=False)
    numbers = {
        "log_psd_distance": {"source_to_target": room.gap, "autoencoder_alone": room.floor},
        "sets": {name: _numbers(made) for name, made in done.items()},
    }
    outputs.metrics.write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _numbers(made: MigratedSet) -> dict[str, Any]:
    last = made.traces.groupby("chip_id", sort=True).last()
    terms = ("distillation", "content", "speckle", "spectrum")
    finite = {name: last[name].dropna() for name in terms}
    return {
        "n_chips": made.n_chips,
        "batch_size": made.batch_size,
        "updates_median": float(made.traces.groupby("chip_id")["update"].max().median()),
        **{f"{name}_median": float(values.median()) for name, values in finite.items() if len(values)},
    }


def _line(name: str, made: MigratedSet) -> str:
    numbers = _numbers(made)
    return (
        f"{name}: {made.n_chips} chips, {made.n_new} of them new; losses at the end (medians): distillation "
        f"{numbers['distillation_median']:.4f}, content {numbers['content_median']:.4f}"
    )
