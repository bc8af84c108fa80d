"""reference: what real train chips of each sensor are like, as limits, floors and a feature network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sarcurate.core.tolerance import Side
from sarcurate.execution import cpu_count, progress
from sarcurate.io import lineage
from sarcurate.io.chipset import open_chipset
from sarcurate.io.reference import NETWORK, Reference, summary_lines, write_reference
from sarcurate.io.sensors import load_profile
from sarcurate.models.reference_fit import FitSettings, fit_reference
from sarcurate.models.reference_network import NetworkSettings, save_network
from sarcurate.params import Params

# Limits worth a line in the terminal; all of them stand in reference.json.
TOLD: dict[str, Side] = {
    "physics_distance": "upper",
    "enl": "both",
    "log_psd_distance": "upper",
    "wasserstein_ln": "upper",
    "correlation_distance": "upper",
    "hf_energy_ratio": "both",
    "occupied_band_azimuth": "lower",
    "occupied_band_range": "lower",
    "checkerboard_ratio": "upper",
    "ghost_z": "upper",
    "memorisation_ratio": "lower",
    "target_length_over_class": "both",
}


def run(params: Params, train: Mapping[str, Path], outputs: Mapping[str, Path]) -> list[str]:
    """Fit and write the reference of ``source`` and ``target``; limits with their origin for the terminal."""
    section = params.reference
    settings = FitSettings(
        classes=tuple(params.dataset.classes),
        content=section.content,
        confidence=section.confidence,
        null_references=section.null_references,
        network=NetworkSettings(**section.network.model_dump()),
    )
    opened = {side: open_chipset(train[side], splits=("train",)) for side in outputs}
    said = []
    for side, out in outputs.items():
        chips = opened[side]
        profile = load_profile(getattr(params.dataset, side).profile)
        seed = lineage.seed_from(params.dataset.root_seed, "reference", side) % 2**31
        with progress(f"reference network of {side}", settings.network.updates) as advance:
            reference, network = fit_reference(
                chips, profile, settings, seed, cpu_count(), lambda _update, _loss: advance(1)
            )
        write_reference(out, reference)
        save_network(network, out / NETWORK)
        said += _told(side, reference)
    return said


def _told(side: str, reference: Reference) -> list[str]:
    right, shown = reference.network_accuracy
    shortlist = {name: which for name, which in TOLD.items() if name in reference.limits}
    return [
        f"{side} ({reference.sensor}), {reference.n_chips} train chips; "
        f"network: {right} of {shown} held-back chips right; some of the limits:",
        *(f"  {line}" for line in summary_lines(reference, shortlist)),
    ]
