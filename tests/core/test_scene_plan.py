from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.scene_plan import Scene, plan_chips, plan_scenes
from sarcurate.errors import ParamsError


def test_fifty_chips_over_eleven_scenes_can_be_split_37_to_13_by_whole_scenes():
    chips = plan_chips({"C-17": 50, "F-15": 50}, plan_scenes(11, (25.0, 50.0), seed=1))
    per_label = {
        label: Counter(chip.scene.scene_id for chip in chips if chip.label == label)
        for label in ("C-17", "F-15")
    }
    assert sorted(per_label["C-17"].values()) == [4] * 5 + [5] * 6
    assert per_label["C-17"] == per_label["F-15"]
    sizes = per_label["C-17"].values()
    assert any(sum(some) == 13 for n in range(1, 6) for some in combinations(sizes, n))


@given(n_scenes=st.integers(1, 12), count=st.integers(0, 60))
def test_every_chip_is_planned_once_and_stands_match_between_labels(n_scenes, count):
    chips = plan_chips({"a": count, "b": count}, plan_scenes(n_scenes, (30.0, 30.0), seed=2))
    seen = {
        label: [(c.index, c.scene.scene_id, c.stand) for c in chips if c.label == label] for label in "ab"
    }
    assert seen["a"] == seen["b"]
    assert [index for index, _, _ in seen["a"]] == list(range(count))


def test_scenes_differ_and_cover_the_incidence_range():
    scenes = plan_scenes(10, (20.0, 50.0), seed=3)
    assert scenes == plan_scenes(10, (20.0, 50.0), seed=3)
    assert scenes != plan_scenes(10, (20.0, 50.0), seed=4)
    assert len({scene.stand_bearings_deg for scene in scenes}) == 10
    # One scene in each tenth of the range.
    assert sorted(int((scene.incidence_deg - 20.0) // 3.0) for scene in scenes) == list(range(10))


def test_aspect_is_measured_from_nose_on():
    # Heading north, looking right (east): the radar lies to the west.
    scene = Scene("pass-00", 35.0, 0.0, (270.0, 0.0, 90.0), -15.0, 5.0, 0.0)
    assert [scene.stand_aspect_deg(stand) for stand in range(3)] == [0.0, 90.0, 180.0]


@pytest.mark.parametrize(
    ("n_scenes", "incidence", "message"),
    [(0, (25.0, 50.0), "n_scenes is 0"), (3, (50.0, 25.0), "50.0 to 25.0"), (3, (5.0, 25.0), "5.0 to 25.0")],
)
def test_impossible_scenes_are_refused(n_scenes, incidence, message):
    with pytest.raises(ParamsError, match=message):
        plan_scenes(n_scenes, incidence, seed=0)


def test_impossible_chips_are_refused():
    with pytest.raises(ParamsError, match="no scenes"):
        plan_chips({"C-17": 1}, [])
    with pytest.raises(ParamsError, match="count of C-17 is -1"):
        plan_chips({"C-17": -1}, plan_scenes(1, (30.0, 30.0), seed=0))
