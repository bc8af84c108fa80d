"""Which simulated passes there are, and which chip is seen in which pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sarcurate.errors import ParamsError

_STANDS = 3
_CLUTTER_DB = (-18.0, -11.0)
_TEXTURE_ORDERS = (4.0, 10.0)
_GAIN_STD_DB = 0.5


@dataclass(frozen=True)
class Scene:
    """What all chips of one pass share.

    Args:
        scene_id: such as ``pass-03``.
        incidence_deg: incidence angle at the airfield.
        heading_deg: heading of the ground track, clockwise from north; the radar looks right.
        stand_bearings_deg: headings of the parking stands, clockwise from north.
        clutter_sigma0_db: mean backscatter of the apron at 9.65 GHz.
        texture_order: order of the clutter's Gamma texture, a multiple of 1/2; infinity is uniform.
        gain_db: radiometric error of the pass.
    """

    scene_id: str
    incidence_deg: float
    heading_deg: float
    stand_bearings_deg: tuple[float, ...]
    clutter_sigma0_db: float
    texture_order: float
    gain_db: float

    def stand_aspect_deg(self, stand: int) -> float:
        """Aspect of an aircraft on a stand: 0 is nose to the radar, 90 nose along the radar's heading."""
        return (self.stand_bearings_deg[stand] - self.heading_deg + 90.0) % 360.0


@dataclass(frozen=True)
class ChipRecipe:
    """Everything that decides a simulated chip, but sensor, footprint and seed."""

    label: str
    index: int
    scene: Scene
    stand: int


def plan_scenes(n_scenes: int, incidence_deg_range: tuple[float, float], seed: int) -> list[Scene]:
    """Passes over different airfields, each with its own geometry, ground and calibration error.

    Args:
        n_scenes: how many.
        incidence_deg_range: lowest and highest incidence angle, in degrees.
        seed: of this plan.

    Raises:
        ParamsError: for fewer than one scene, or angles outside 10 to 70 degrees or out of order.
    """
    low, high = incidence_deg_range
    if n_scenes < 1:
        raise ParamsError(f"n_scenes is {n_scenes}, expected at least 1", fix="ask for one scene or more")
    if not 10.0 <= low <= high <= 70.0:
        raise ParamsError(
            f"incidence range is {low} to {high} degrees, expected 10 <= low <= high <= 70",
            fix="give the lowest and the highest incidence angle in degrees",
        )
    rng = np.random.default_rng(seed)
    # One incidence per equal step of the range, in random order: few passes still cover it.
    steps = (rng.permutation(n_scenes) + rng.uniform(size=n_scenes)) / n_scenes
    return [_draw_scene(f"pass-{i:02d}", low + (high - low) * float(steps[i]), rng) for i in range(n_scenes)]


def _draw_scene(scene_id: str, incidence_deg: float, rng: np.random.Generator) -> Scene:
    # Sun-synchronous orbits: descending near 190 degrees or ascending near 350.
    heading = float(rng.choice((190.0, 350.0)) + rng.normal(0.0, 2.0)) % 360.0
    return Scene(
        scene_id=scene_id,
        incidence_deg=incidence_deg,
        heading_deg=heading,
        stand_bearings_deg=tuple(float(b) for b in rng.uniform(0.0, 360.0, _STANDS)),
        clutter_sigma0_db=float(rng.uniform(*_CLUTTER_DB)),
        texture_order=round(2.0 * float(rng.uniform(*_TEXTURE_ORDERS))) / 2.0,
        gain_db=float(rng.normal(0.0, _GAIN_STD_DB)),
    )


def plan_chips(counts: Mapping[str, int], scenes: Sequence[Scene]) -> list[ChipRecipe]:
    """Recipes of ``counts[label]`` chips for each label, dealt to the scenes in turn.

    The deal is the same for all labels, so neither pass nor stand tells the class: 50 chips over 11
    scenes make 6 scenes of 5 and 5 of 4, and 37 and 13 chips can be had by whole scenes.

    Raises:
        ParamsError: for no scene or a negative count.
    """
    if not scenes:
        raise ParamsError("there are chips to plan but no scenes", fix="plan at least one scene first")
    for label, count in counts.items():
        if count < 0:
            raise ParamsError(f"count of {label} is {count}, expected >= 0", fix="correct the count")
    return [
        ChipRecipe(label, index, scene, (index // len(scenes)) % len(scene.stand_bearings_deg))
        for label, count in counts.items()
        for index, scene in ((i, scenes[i % len(scenes)]) for i in range(count))
    ]
