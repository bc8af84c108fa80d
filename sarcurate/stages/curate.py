"""curate: which made chips are kept, by gates, people's verdicts and quotas."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sarcurate.io import curation
from sarcurate.io.gate_promise import left_out_passes
from sarcurate.io.gates import Gate
from sarcurate.io.reference import open_reference
from sarcurate.io.score_table import read_scores
from sarcurate.io.selection import write_selection
from sarcurate.io.validated import require_validated_revisions
from sarcurate.io.verdicts import read_verdicts
from sarcurate.params import Params


@dataclass(frozen=True)
class Inputs:
    """Files that curate reads."""

    validated: Path
    target_reference: Path
    scores: Path
    verdicts: Path


def run(params: Params, inputs: Inputs, selection: Path, metrics: Path) -> list[str]:
    """Write the Selection and the funnel's numbers; the funnel for the terminal."""
    reference = open_reference(inputs.target_reference)
    require_validated_revisions(inputs.validated, {"target": reference.chipset_revision})
    scores = read_scores(inputs.scores)
    gates = [Gate(**gate.model_dump()) for gate in params.curate.gates]
    curated = curation.curate(
        scores,
        gates,
        reference.limits,
        read_verdicts(inputs.verdicts),
        params.dataset.classes,
        params.curate.max_per_class,
    )
    numbers = {**curated.metrics, **left_out_passes(reference, gates), "funnel": curation.funnel_of(curated)}
    write_selection(selection, curated.selection)
    metrics.parent.mkdir(parents=True, exist_ok=True)
    metrics.write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return curation.funnel_lines(curated)
