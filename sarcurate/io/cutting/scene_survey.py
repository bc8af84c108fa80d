"""A look at every scene of one sensor before any is cut: do they belong together?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, RadiometryError
from sarcurate.io.cutting.chip_rows import scene_folder
from sarcurate.io.scenes.scene import Scene
from sarcurate.io.sensors import SensorProfile

Opener = Callable[[Path], Scene]


@dataclass(frozen=True)
class Survey:
    """Names that boxes may call the scenes by, and warnings worth reading."""

    names: frozenset[str]
    warnings: tuple[str, ...]


def survey(paths: Sequence[Path], opener: Opener, radiometry: Radiometry, profile: SensorProfile) -> Survey:
    """Check that all scenes are of the profile's band, give the radiometry, and can be told apart.

    Raises:
        DataError: for another band, or a scene given twice.
        RadiometryError: naming every scene that does not give the radiometry, and what it gives.
    """
    short: list[str] = []
    folders: dict[str, Path] = {}
    factors: set[float | None] = set()
    names: set[str] = set()
    said: dict[str, None] = {}
    for path in paths:
        with opener(path) as scene:
            facts = scene.facts
            _check_band(scene, profile)
            _check_new(scene, folders)
            if radiometry not in scene.available_radiometries():
                short.append(f"{path} ({', '.join(scene.available_radiometries())})")
            factors.add(facts.beta0_factor or facts.sigma0_factor)
            names |= {scene.path.name, scene.path.stem, facts.scene_id}
            said.update(dict.fromkeys(f"warning: {facts.kind}: {text}" for text in facts.warnings))
    if short:
        raise RadiometryError(
            f"{radiometry} was asked for, but {len(short)} of {len(paths)} scene(s) do not give it: "
            + "; ".join(short),
            fix="ask for a radiometry that all of them give, or cut them into sets of their own",
        )
    if radiometry in (Radiometry.INTENSITY, Radiometry.AMPLITUDE) and len(factors) > 1:
        said[f"warning: {radiometry} of scenes with different calibration factors: levels differ"] = None
    return Survey(frozenset(names), tuple(said))


def completed(scene: Scene, profile: SensorProfile) -> Scene:
    """The scene with spacing, band and looks of the profile where the product gives none."""
    names = ("band", "azimuth_spacing_m", "range_spacing_m", "looks_nominal")
    lacking = {name: getattr(profile, name) for name in names if getattr(scene.facts, name) is None}
    return replace(scene, facts=replace(scene.facts, **lacking))


def _check_band(scene: Scene, profile: SensorProfile) -> None:
    if scene.facts.band not in (None, profile.band):
        raise DataError(
            f"{scene.path}: {scene.facts.band} band, but the profile {profile.name} is for {profile.band}",
            fix="name the profile of the sensor that acquired it",
        )


def _check_new(scene: Scene, folders: dict[str, Path]) -> None:
    first = folders.setdefault(scene_folder(scene.facts).casefold(), scene.path)
    if first != scene.path:
        raise DataError(
            f"{scene.path} and {first} are both scene {scene.facts.scene_id}, "
            f"polarisation {scene.facts.polarisation}",
            fix="give each scene once, or rename the files",
        )
