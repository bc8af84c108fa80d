"""The fields of the App's dataset: names, types, descriptions and sidebar groups, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from sarcurate.io.gates import display_name

CHIP_ID = "chip_id"
PENDING = "pending"
FACTS_PRINT, JUDGED_PRINT = "facts_print", "judged_print"

JUDGEMENT = {
    "kept": "whether curate keeps the chip; empty for sets that it does not choose from",
    "verdict": "what people's saved verdicts come to: keep, reject, relabel, unsure, disputed, stale or none",
    "said": "who said what, and why",
    "reason": "why curate rejected the chip",
    "failed": "measures whose gate the chip breaks",
    "sentences": "each broken gate in a sentence: value, limit and where the limit is from",
    "closest_gate": "the gate that decides: the one broken most, or passed least",
    "gate_margin": "distance to its limit in standard deviations of real chips; below 0 outside",
    "new_label": "class that people gave the chip, where it is another",
}
IDENTITY = {
    CHIP_ID: "hash of a real chip's pixels, path and window, or of a made chip's recipe",
    "set": "source and target: real train chips; generated, migrated, physics, ...: made chips",
    "label": "class",
    "judged": "whether curate chooses from this set, and verdicts may be given",
    "origin": "real, simulated, generated, migrated or translated",
    "group_id": "scene, pass or spatial group",
    "scene_id": "scene",
    "family": "the content chip that this one was made of, or its own id: chips of one family are kin",
    "content": "chip that the content is from",
    "style": "real target chip whose style was taken",
    "peer": "a real target chip of the same class, to compare with",
    "prompt": "text that the chip was generated from",
    "adapter_sha256": "adapter that generated the chip",
    "licence": "licence of the chip, with that of its sources",
    "file": "the chip itself: one band, float32 or uint16 GeoTIFF",
    "pixels_sha256": "hash of the decoded pixels",
}
RANKS = {
    "nearest_in_set": "distance to the nearest chip of its set in the physics vector, standard deviations",
    "enl_rank": "rank of ENL within set and class, 0 lowest to 1 highest: one cut for all textures",
}
MEDIA = {
    "filepath": "dB in the sensor's one window",
    "linear": "amplitude, linear",
    "spectrum": "log spectrum of intensity, -20 to 15 dB of its mean",
    "homogeneous": "windows that ENL is measured in; the rest is dark",
    "content_view": "the content chip",
    "style_view": "the style chip",
    "beside": "chip, content, style and a real chip of the class, from left to right",
}
_UNITS = {"db": "dB", "m": "m", "px": "px"}
_NEPERS = {
    "log_psd": "nepers",
    "polar_psd": "nepers",
    "wasserstein_ln": "nepers",
    "log_cumulant_2": "nepers^2",
    "log_cumulant_3": "nepers^3",
}
GATED = "gates and verdicts"
FIRST_MEASURES = (
    *("enl", "log_psd_distance", "physics_distance", "ghost_z", "content_z"),
    *("memorisation_ratio", "class_probability"),
)


@dataclass(frozen=True)
class SidebarGroup:
    """A group of fields in the App's sidebar."""

    name: str
    fields: tuple[str, ...]
    expanded: bool


def sidebar(measures: tuple[str, ...]) -> list[SidebarGroup]:
    """Groups in the order a curator needs them."""
    first = tuple(name for name in FIRST_MEASURES if name in measures)
    rest = tuple(name for name in measures if name not in first)
    return [
        SidebarGroup("chip", ("set", "label", "tags"), True),
        SidebarGroup(GATED, (PENDING, *JUDGEMENT), True),
        SidebarGroup("first scores", (*first, *RANKS), True),
        SidebarGroup("all scores", rest, False),
        SidebarGroup("provenance", tuple(name for name in IDENTITY if name not in ("set", "label")), False),
        SidebarGroup("pictures", (*MEDIA, "id", "metadata", "created_at", "last_modified_at"), False),
        SidebarGroup("bookkeeping", (FACTS_PRINT, JUDGED_PRINT), False),
    ]


def description(measure: str) -> str:
    """A measure in words with its unit."""
    return f"{display_name(measure)} [{_unit(measure)}]"


def _unit(measure: str) -> str:
    if measure.startswith("texture_"):
        return "1"  # their px is the distance of the two pixels
    for start, unit in _NEPERS.items():
        if measure.startswith(start):
            return unit
    return _UNITS.get(measure.rpartition("_")[2], "1")
