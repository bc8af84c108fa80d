"""What a release says of itself, from what was packed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sarcurate.io.gates import bounds
from sarcurate.io.hub.packing import Contents, Packed
from sarcurate.io.hub.release import GateNote, Release, Training, with_revision


@dataclass(frozen=True)
class About:
    """Name, version, evidence and training of a data set, and its train revisions that passed validation."""

    name: str
    version: str
    evidence: str
    validated: Mapping[str, str]
    training: Training | None


def release_of(about: About, contents: Contents, packed: Packed) -> Release:
    """The record of a release, with the revision that follows from its sets and the Selection."""
    sources = {source for found in packed.left_out.values() for source in found}
    told = Release(
        name=about.name,
        version=about.version,
        dataset_revision="",
        evidence=about.evidence,
        classes=contents.classes,
        sets=packed.sets,
        selection=contents.selection.revision,
        validated=about.validated,
        configs={
            config: {split: found.n_chips for split, found in splits.items()}
            for config, splits in packed.splits.items()
        },
        licences=contents.rules,
        gates=_gates(contents),
        withheld=packed.withheld,
        left_out=tuple(sorted(sources)),
        training=about.training,
    )
    return with_revision(told)


def _gates(contents: Contents) -> tuple[GateNote, ...]:
    """The gates of the release with their bounds; one note for all sets that share them."""
    found: dict[GateNote, list[str]] = {}
    for name, judged in sorted(contents.judged.items()):
        for gate in contents.gates:
            if judged.limits is not None and gate.measure in judged.scores:
                low, high = (end.value if end else None for end in bounds(gate, judged.limits))
                note = GateNote(gate.measure, low, high, gate.if_missing == "keep", ())
                found.setdefault(note, []).append(name)
    return tuple(replace(note, sets=tuple(names)) for note, names in found.items())
