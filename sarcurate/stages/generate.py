"""generate: class-controlled chips of the source sensor, drawn from the tuned base."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.io.gates import Gate
from sarcurate.io.generation_yield import yield_lines, yield_metrics
from sarcurate.io.reference import NETWORK, open_reference
from sarcurate.io.scoring import context_of
from sarcurate.io.sensors import load_profile
from sarcurate.io.validated import require_validated_revisions
from sarcurate.models.base import BaseRef
from sarcurate.models.drawing import DrawingJob, draw_set
from sarcurate.models.generation import Quota
from sarcurate.models.reference_network import load_network
from sarcurate.models.sampling import SampleSettings
from sarcurate.models.source_judge import SourceJudge
from sarcurate.params import Generate, Params


@dataclass(frozen=True)
class Inputs:
    """What generate reads."""

    validated: Path
    source_train: Path
    source_reference: Path
    adapter: Path


def run(params: Params, inputs: Inputs, out: Path, metrics: Path, cache: Path) -> list[str]:
    """Draw what the work cache lacks and write the ChipSet; the yield per class for the terminal."""
    chips = open_chipset(inputs.source_train, splits=("train",))
    require_validated_revisions(inputs.validated, {"source": chips.revision})
    section = params.generate
    gates = tuple(Gate(**gate.model_dump()) for gate in section.gates)
    quota = Quota(section.per_class, bool(gates), section.max_tries_per_class)
    reference = open_reference(inputs.source_reference)
    judge_of = source_judge(params, chips, inputs.source_reference, gates)
    yields = draw_set(drawing_job(params, chips, inputs.adapter, quota), judge_of, out, cache)
    level = params.score.interval_level
    metrics.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(yield_metrics(yields, reference.network_accuracy, level), indent=2, allow_nan=False)
    metrics.write_text(text + "\n", encoding="utf-8")
    return yield_lines(yields, section.per_class, level)


def sample_settings(section: Generate) -> SampleSettings:
    """How the params draw chips."""
    return SampleSettings(
        section.steps, section.guidance, section.negative_prompt, section.precision, section.batch_size
    )


def drawing_job(params: Params, chips: ChipSet, adapter: Path, quota: Quota) -> DrawingJob:
    """What the params draw."""
    tune = params.tune
    return DrawingJob(
        adapter=adapter,
        base=BaseRef(tune.base, tune.base_revision, tune.t5_tokens, tune.use_t5),
        source=chips,
        classes=tuple(params.dataset.classes),
        settings=sample_settings(params.generate),
        quota=quota,
        threads=params.generate.threads,
        root_seed=params.dataset.root_seed,
    )


def source_judge(
    params: Params, chips: ChipSet, reference: Path, gates: tuple[Gate, ...]
) -> Callable[[tuple[int, int]], SourceJudge]:
    """The source's judge for chips of a size (rows, cols)."""
    return partial(
        SourceJudge,
        open_reference(reference),
        load_network(reference / NETWORK),
        context_of(chips, load_profile(params.dataset.source.profile)),
        gates,
    )
