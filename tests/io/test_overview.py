"""Overview: made chips beside their own parent, every set over its own window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError
from sarcurate.io import figures, overview
from sarcurate.io.chipset import ChipSet, ChipSetWriter, Header, open_chipset

# id, label, parents, intensity of all pixels
Chip = tuple[str, str, list[str], float]
MakeSet = Callable[[str, tuple[float, float], Sequence[Chip]], ChipSet]


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    def make(name: str, window_db: tuple[float, float], chips: Sequence[Chip]) -> ChipSet:
        with ChipSetWriter(tmp_path / name, Header(name, Radiometry.INTENSITY, "train", window_db)) as writer:
            for chip_id, label, parents, level in chips:
                row = {
                    "chip_id": chip_id,
                    "origin": "translated" if parents else "real",
                    "label": label,
                    "group_id": chip_id,
                    "parents": parents,
                    "range_spacing_m": 2.0,
                    "azimuth_spacing_m": 3.0,
                }
                writer.add(row, np.full((8, 6), level, np.float32))
        return open_chipset(tmp_path / name, splits=("train",))

    return make


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the figure was asked to show."""
    seen: dict[str, Any] = {}

    def remember(panels: Any, row_names: Any, column_names: Any) -> bytes:
        seen.update(panels=panels, row_names=row_names, column_names=column_names)
        return b"png"

    monkeypatch.setattr(figures, "overview", remember)
    return seen


def sets_of(make_set: MakeSet) -> dict[str, ChipSet]:
    # levels of 0, 10 and 20 dB; the first source chip of class a has no made chip
    return {
        "x-band": make_set("x", (0, 20), [("s1", "a", [], 1.0), ("s2", "a", [], 10.0), ("s3", "b", [], 1.0)]),
        "physics": make_set("p", (0, 40), [("p3", "b", ["s3"], 100.0), ("p2", "a", ["s2"], 10.0)]),
        "c-band": make_set("c", (0, 40), [("t1", "b", [], 10.0), ("t2", "a", [], 100.0)]),
    }


def levels(shown: dict[str, Any]) -> list[list[int]]:
    return [[int(panel.image[0, 0]) for panel in row] for row in shown["panels"]]


def test_made_chips_stand_beside_their_parent_each_over_the_window_of_its_set(
    make_set: MakeSet, shown: dict[str, Any]
) -> None:
    assert overview.draw(sets_of(make_set), ["b", "a"], in_metres=True) == b"png"
    assert (shown["row_names"], shown["column_names"]) == (["b", "a"], ["x-band", "physics", "c-band"])
    # 0 of 20, 20 of 40 and 10 of 40 dB; 10 of 20, 10 of 40 and 20 of 40 dB; 255 grey levels
    assert levels(shown) == [[0, 128, 64], [128, 64, 128]]


@pytest.mark.parametrize(("in_metres", "sides_m"), [(True, (24.0, 12.0)), (False, None)])
def test_sides_are_pixels_times_spacing(
    make_set: MakeSet, shown: dict[str, Any], in_metres: bool, sides_m: tuple[float, float] | None
) -> None:
    overview.draw(sets_of(make_set), ["a"], in_metres)
    assert {panel.sides_m for panel in shown["panels"][0]} == {sides_m}


def test_a_class_without_made_chips_is_refused(make_set: MakeSet) -> None:
    sets = sets_of(make_set) | {"physics": make_set("q", (0, 40), [("p2", "a", ["s2"], 10.0)])}
    with pytest.raises(DataError, match="class b has no source chip that is in all of"):
        overview.draw({name: sets[name] for name in ("x-band", "physics", "c-band")}, ["a", "b"], True)
