"""ingest: raw chips of both sensors to ChipSets."""

from __future__ import annotations

from pathlib import Path

from sarcurate.io.chip_forensics import count_findings
from sarcurate.io.intake import SizeRule, take_in
from sarcurate.io.manifest import read_manifest
from sarcurate.io.raw import read_raw
from sarcurate.io.sensors import load_profile
from sarcurate.params import Params

ALONE = (
    "every chip is its own group, so chips of one scene or pass may fall on both sides of the split; "
    "give group_id in a manifest"
)


def run(params: Params, raw: dict[str, Path], outputs: dict[str, Path]) -> list[str]:
    """Ingest both sensors (``source``, ``target``); one line each for the terminal."""
    said = []
    for side, sensor in (("source", params.dataset.source), ("target", params.dataset.target)):
        raw_set = read_raw(raw[side])
        size = SizeRule(params.ingest.size, params.dataset.footprint_m)
        count = take_in(raw_set, load_profile(sensor.profile), sensor.display_db, size, outputs[side])
        relative = " (relative: no declared linear scale)" if raw_set.radiometry.is_relative else ""
        said.append(f"{side}: {count} chips, radiometry {raw_set.radiometry}{relative}")
        findings = count_findings(read_manifest(outputs[side])["forensics"])
        if findings:
            told = ", ".join(f"{name} {number}" for name, number in findings.items())
            said.append(f"{side}: warning: forensics found {told} of {count} chips; see docs/forensics.md")
        if "group_id" not in raw_set.table or raw_set.table["group_id"].nunique() == count:
            said.append(f"{side}: warning: {ALONE}")
    return said
