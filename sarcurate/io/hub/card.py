"""The dataset card: front matter that the Hub reads, and a page that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from sarcurate.io import arms_table
from sarcurate.io.gates import bounds, display_name
from sarcurate.io.hub.markdown import Plain, escaped, front_matter
from sarcurate.io.hub.packing import CURATED, Contents, Packed
from sarcurate.io.hub.release import Release

NOWHERE = "OWNER/NAME"
EVIDENCE = {
    "smoke": "**A smoke run: it shows that the loop works, and is no evidence for any method.**",
    "simulated_target": "**The target sensor is simulated: these are no cross-sensor results.**",
    "real": "Both sensors are real.",
}
WHAT = {
    "real": "chips of both sensors, before anything was made; `set` is source or target",
    "generated": "chips of the source sensor, drawn by a tuned image model",
    "migrated": "source chips restyled after target chips; their content is that of source chips",
    "migrated-generated": "generated chips restyled after target chips",
    "translated": "source chips moved to the target by physics or spectrum; see `set`",
    CURATED: "the training set: real target chips and the made chips that curation kept, with final labels",
}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_FACTS = ("sensor", "band", "mode", "polarisation")
_LARGEST_SIZE = "1M<n<10M"


@dataclass(frozen=True)
class Facts:
    """What a card is written from.

    Args:
        numbers: of ``metrics/*.json`` by name: evaluation, quality, curation, generation.
        repo_id: owner/name on the Hub, None where not known yet; pictures: file names that stand beside.
    """

    release: Release
    packed: Packed
    contents: Contents
    numbers: Mapping[str, Any]
    repo_id: str | None
    pictures: tuple[str, ...]


def render(facts: Facts) -> str:
    """The card as Markdown with YAML front matter; texts of strangers are escaped."""
    environment = Environment(
        finalize=escaped,  # of every value, for Markdown, which autoescape would not know
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"join_cells": _join_cells, "list_of": _list_of}
    source = (files("sarcurate") / "assets" / "dataset_card.md.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(**_values(facts))


def lines(release: Release, packed: Packed) -> list[str]:
    """Chips per config, and what stays out, for a terminal."""
    said = [f"data set revision {release.dataset_revision}, version {release.version}"]
    for config, splits in packed.splits.items():
        parts = ", ".join(f"{split} {found.n_chips} chips" for split, found in splits.items())
        said.append(f"  {config}: {parts}")
    said += [f"  withheld by gates: {n} of {name}" for name, n in packed.withheld.items()]
    for name, found in packed.left_out.items():
        said += [
            f"  left out of {name}: {n} chips, no permission by {source!r}" for source, n in found.items()
        ]
    return (
        said if packed.splits else [*said, "  nothing may be released: see package.licences in params.yaml"]
    )


def _values(facts: Facts) -> dict[str, Any]:
    release, packed = facts.release, facts.packed
    evaluation, curation = facts.numbers["evaluation"], facts.numbers["curation"]
    return {
        "front_matter": front_matter(_front_matter(facts)),
        "release": _Safe(release),
        "evidence": Plain(EVIDENCE[release.evidence]),
        "share": Plain(_share(packed)),
        "repo_id": Plain(facts.repo_id or NOWHERE),
        "first_config": Plain(_default(packed) or "CONFIG"),
        "config_rows": [
            [Plain(f"`{config}`"), split, found.n_chips, Plain(WHAT[config])]
            for config, splits in packed.splits.items()
            for split, found in splits.items()
        ],
        "overview": "overview.png" in facts.pictures,
        "sensor_rows": [_sensor_row(name, facts.contents) for name in facts.contents.sets],
        "gate_rows": _gate_rows(facts),
        "promise": Plain(_promise(curation)),
        "funnel_sets": list(curation["funnel"]),
        "funnel_rule": Plain("---:|" * len(curation["funnel"])),
        "funnel_rows": _funnel_rows(curation["funnel"]),
        "memorisation": _memorisation(release),
        "arm_columns": [Plain(name) for name in arms_table.COLUMNS],
        "arm_rule": Plain("---:|" * (len(arms_table.COLUMNS) - 1)),
        "arm_rows": arms_table.rows(evaluation["arms"]),
        "arm_caption": Plain(arms_table.caption(evaluation)),
        "detectable": Plain(arms_table.detectable(evaluation["smallest_detectable_difference"])),
        "externals": [
            {"name": name, "also": found["n_also_in_training"], "rows": arms_table.rows(found["arms"])}
            for name, found in evaluation.get("external_tests", {}).items()
        ],
        "left_out_rows": [
            [name, n, source] for name, found in packed.left_out.items() for source, n in found.items()
        ],
    }


class _Safe:
    """A release for the page: its name, version and revision are of signs that mean nothing in Markdown."""

    def __init__(self, release: Release) -> None:
        self.name, self.version = Plain(release.name), Plain(release.version)
        self.dataset_revision = Plain(release.dataset_revision)
        self.classes, self.licences = release.classes, release.licences


def _join_cells(cells: Sequence[object]) -> Plain:
    return Plain(" | ".join(escaped(cell) for cell in cells))


def _list_of(texts: Sequence[str]) -> Plain:
    return Plain(", ".join(escaped(text) for text in texts))


def _front_matter(facts: Facts) -> dict[str, Any]:
    packed, release = facts.packed, facts.release
    n_chips = sum(found.n_chips for splits in packed.splits.values() for found in splits.values())
    size = next((word for most, word in SIZES if n_chips < most), _LARGEST_SIZE)
    head: dict[str, Any] = {"pretty_name": release.name, **_licence(facts)}
    head |= {"task_categories": ["image-classification"], "size_categories": [size]}
    head["tags"] = ["sar", "synthetic-aperture-radar", "remote-sensing", "synthetic", "sarcurate"]
    if not packed.splits:
        return head
    head["configs"] = [_config(name, packed) for name in packed.splits]
    head["dataset_info"] = [_info(name, packed) for name in packed.splits]
    return head


def _licence(facts: Facts) -> dict[str, Any]:
    """Licences of what is in the release; ``other`` where nothing is."""
    used = facts.packed.sources
    ids = sorted({rule.licence_id for rule in facts.release.licences if rule.source in used}) or ["other"]
    found: dict[str, Any] = {"license": ids[0] if len(ids) == 1 else ids}
    return found | ({"license_name": "see-the-card"} if ids == ["other"] else {})


def _config(name: str, packed: Packed) -> dict[str, Any]:
    found = [{"split": split, "path": f"data/{name}/{split}-*.parquet"} for split in packed.splits[name]]
    entry: dict[str, Any] = {"config_name": name, "data_files": found}
    return entry | ({"default": True} if name == _default(packed) else {})


def _default(packed: Packed) -> str | None:
    """The config that is loaded where none is named."""
    return CURATED if CURATED in packed.splits else next(iter(packed.splits), None)


def _info(name: str, packed: Packed) -> dict[str, Any]:
    """Sizes of a config; its features stand in the schema of every shard."""
    splits = packed.splits[name]
    return {
        "config_name": name,
        "splits": [
            {"name": split, "num_bytes": found.n_bytes, "num_examples": found.n_chips}
            for split, found in splits.items()
        ],
        "download_size": sum(found.file_bytes for found in splits.values()),
        "dataset_size": sum(found.n_bytes for found in splits.values()),
    }


def _share(packed: Packed) -> str:
    parts = []
    for config, splits in packed.splits.items():
        n_chips = sum(found.n_chips for found in splits.values())
        n_made = sum(found.n_made for found in splits.values())
        parts.append(f"`{config}` {100 * n_made / n_chips:.0f} % ({n_made} of {n_chips})")
    return "Share of made chips: " + ", ".join(parts) + "." if parts else "**Nothing here may be released.**"


def _sensor_row(name: str, contents: Contents) -> list[object]:
    manifest = contents.sets[name].manifest
    told = [_only(manifest[column]) for column in _FACTS]
    spacing = [_only(manifest[f"{axis}_spacing_m"].round(3)) for axis in ("range", "azimuth")]
    return [name, *told, " x ".join(spacing), _only(manifest["radiometry"]), len(manifest)]


def _only(values: Any) -> str:
    known = values.dropna().unique()
    return "not known" if len(known) == 0 else str(known[0]) if len(known) == 1 else "differs"


def _gate_rows(facts: Facts) -> list[list[object]]:
    rows: list[list[object]] = []
    for gate in facts.contents.curate_gates:
        ends = zip(("at least", "at most"), bounds(gate, facts.contents.target_limits), strict=True)
        told = "; ".join(f"{word} {end.value:.4g}, {end.origin}" for word, end in ends if end)
        rows.append([display_name(gate.measure), told])
    return rows or [[Plain("none"), Plain("")]]


def _funnel_rows(funnel: Mapping[str, Mapping[str, int]]) -> list[list[object]]:
    """A row per step, a cell per set."""
    steps = list(dict.fromkeys(step for found in funnel.values() for step in found))
    return [[display_name(step), *(found.get(step, "") for found in funnel.values())] for step in steps]


def _promise(curation: Mapping[str, Any]) -> str:
    passed = curation["real_chips_inside_all_gates"]
    if passed is None:
        return "Real train chips cannot be held against these gates: none has a limit of the reference."
    low, high = (100 * curation[f"real_chips_inside_all_gates_{end}"] for end in ("low", "high"))
    return (
        f"Of the real train chips, left out fold by fold, {100 * passed:.1f} % [{low:.1f}, {high:.1f}] pass "
        "all gates whose limits are the reference's."
    )


def _memorisation(release: Release) -> Plain:
    if not release.gates:
        return Plain("No gate on memorised chips was set for this release.")
    gates = ", ".join(dict.fromkeys(escaped(display_name(gate.measure)) for gate in release.gates))
    told = ", ".join(f"{n} of {escaped(name)}" for name, n in release.withheld.items()) or "none"
    return Plain(
        "Made chips that may repeat a training chip or the style chip are in no config, whatever people said "
        f"of them. Gates: {gates}. Withheld: {told}."
    )
