from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sarcurate.errors import DataError, ParamsError
from sarcurate.io.cutting.boxes import Box
from sarcurate.io.cutting.cutting_plan import ChipSize, Grid, plan_boxes, plan_grid
from sarcurate.io.scenes.scene import Window

FIELD = np.ones((100, 200), np.uint8)


def box(row: float, col: float, rows: float, cols: float, **rest: Any) -> Box:
    given = {"label": "ship", "name": None, "group_id": None, "azimuth_deg": None, "where": f"line {row:g}"}
    return Box(**(given | rest), row=row, col=col, rows=rows, cols=cols)


@pytest.fixture
def windows(array_scene: Any) -> Any:
    def plan(boxes: list[Box], size: ChipSize, border: str = "error", **facts: Any) -> list[Window]:
        return [cut.window for cut in plan_boxes(array_scene(FIELD, **facts), boxes, size, border).cuts]

    return plan


def test_a_footprint_is_centred_in_the_scenes_own_metres(windows: Any) -> None:
    # 24 m: 12 rows of 2 m, 24 columns of 1 m; the box's middle is row 45, column 60
    assert windows([box(40, 50, 10, 20)], ChipSize(footprint_m=24)) == [Window(39, 48, 12, 24)]
    # a point in the middle of pixel (50, 60): an odd chip has that pixel in its middle
    assert windows([box(50.5, 60.5, 0, 0)], ChipSize(footprint_m=3), azimuth_spacing_m=1.0) == [
        Window(49, 59, 3, 3)
    ]
    # an even one has it as number rows // 2
    assert windows([box(50.5, 60.5, 0, 0)], ChipSize(footprint_m=4), azimuth_spacing_m=1.0) == [
        Window(48, 58, 4, 4)
    ]


def test_a_margin_is_in_metres_or_a_share_of_the_box(windows: Any) -> None:
    assert windows([box(40, 50, 10, 20)], ChipSize(margin_m=4)) == [Window(38, 46, 14, 28)]
    assert windows([box(40, 50, 10, 20)], ChipSize(margin_share=0.5)) == [Window(35, 40, 20, 40)]


def test_fractions_of_pixels_are_taken_in_whole(windows: Any) -> None:
    assert windows([box(40.2, 50.9, 9.9, 1.0)], ChipSize(margin_m=0)) == [Window(40, 50, 11, 2)]


def test_no_spacing_is_needed_where_no_metres_are(windows: Any) -> None:
    assert windows([box(40, 50, 10, 20)], ChipSize(margin_share=0), range_spacing_m=None)
    assert windows([box(40, 50, 10, 20)], ChipSize(margin_m=0), range_spacing_m=None)
    with pytest.raises(DataError, match="the pixel spacing is unknown"):
        windows([box(40, 50, 10, 20)], ChipSize(margin_m=1), range_spacing_m=None)


@pytest.mark.parametrize(
    "edges", [(-1, 50, 10, 20), (40, -1, 10, 20), (91, 50, 10, 20), (40, 181, 10, 20)], ids=str
)
def test_chips_at_the_border_are_skipped_or_refused_never_padded(
    array_scene: Any, edges: tuple[float, float, float, float]
) -> None:
    scene, size = array_scene(FIELD), ChipSize(margin_m=0)
    for inside in ((0, 50, 10, 20), (40, 0, 10, 20), (90, 50, 10, 20), (40, 180, 10, 20)):
        assert len(plan_boxes(scene, [box(*inside)], size, "error").cuts) == 1
    plan = plan_boxes(scene, [box(*edges, where="line 7")], size, "skip")
    assert (plan.cuts, plan.skipped) == ((), ("line 7",))
    with pytest.raises(DataError, match=r"line 7: the chip of 10 x 20 px .* leaves a.tif of 100 x 200 px"):
        plan_boxes(scene, [box(*edges, where="line 7")], size, "error")


def test_chips_come_in_the_order_of_the_file_on_disk(windows: Any) -> None:
    found = windows([box(40, 50, 5, 5), box(3, 90, 5, 5), box(3, 9, 5, 5)], ChipSize(margin_m=0))
    assert [(w.row, w.col) for w in found] == [(3, 9), (3, 90), (40, 50)]


def test_a_box_that_the_footprint_cuts_is_told(array_scene: Any) -> None:
    plan = plan_boxes(array_scene(FIELD), [box(40, 50, 10, 20)], ChipSize(footprint_m=12), "skip")
    assert plan.notes == ("1 box(es) larger than the footprint, so in part outside of their chips",)
    assert plan_boxes(array_scene(FIELD), [box(40, 50, 10, 20)], ChipSize(footprint_m=24), "skip").notes == ()


def test_a_picture_does_not_stand_twice(windows: Any) -> None:
    twins = [box(40, 50, 10, 20, where="line 2"), box(40.1, 50.1, 10, 20, where="line 3", label="tank")]
    assert len(windows(twins, ChipSize(margin_m=0))) == 2
    with pytest.raises(DataError, match=r"line 3 \(tank\) gives the same chip .* line 2 \(ship\)"):
        windows(twins, ChipSize(footprint_m=24))
    named = [box(40, 50, 10, 20, name="a"), box(60, 50, 10, 20, name="A")]
    with pytest.raises(DataError, match="same chip or chip name"):
        windows(named, ChipSize(margin_m=0))


def test_a_point_without_size_needs_a_footprint(windows: Any) -> None:
    with pytest.raises(DataError, match=r"line 50\.5: a point without size"):
        windows([box(50.5, 60.5, 0, 0)], ChipSize(margin_m=5))


def test_a_chip_too_large_to_store_is_refused_before_it_is_read(windows: Any) -> None:
    with pytest.raises(DataError, match=r"line 40: chip: found .* expected 1 to 8192 a side"):
        windows([box(40, 50, 10, 20)], ChipSize(margin_m=1e6))


@pytest.mark.parametrize(
    "size",
    [
        {},
        {"footprint_m": 1.0, "margin_m": 1.0},
        {"footprint_m": 0.0},
        {"margin_m": -1.0},
        {"margin_share": float("nan")},
    ],
    ids=str,
)
def test_exactly_one_size_is_given(size: dict[str, float]) -> None:
    assert ChipSize(margin_m=0.0).margin_m == 0.0
    with pytest.raises(ParamsError, match="expected exactly one of them"):
        ChipSize(**size)


def test_a_grid_steps_in_metres(array_scene: Any) -> None:
    plan = plan_grid(array_scene(FIELD), Grid(footprint_m=40, step_m=80, label="clutter"))
    # 40 m are 20 x 40 px, 80 m are 40 x 80 px: rows 0, 40, 80 and columns 0, 80, 160
    corners = [(cut.window.row, cut.window.col) for cut in plan.cuts]
    assert corners == [(row, col) for row in (0, 40, 80) for col in (0, 80, 160)]
    assert {(cut.window.rows, cut.window.cols, cut.label) for cut in plan.cuts} == {(20, 40, "clutter")}
    assert plan.by_overlap


def test_a_grid_that_cannot_be_meant_is_refused(array_scene: Any) -> None:
    with pytest.raises(DataError, match="has 0 windows in 100 x 200 px"):
        plan_grid(array_scene(FIELD), Grid(500, 10, "x"))
    huge = array_scene(np.broadcast_to(np.uint8(1), (10_000, 10_000)))
    with pytest.raises(DataError, match="windows in 10000 x 10000 px, expected 1 to 1000000"):
        plan_grid(huge, Grid(100, 0.001, "x"))
    with pytest.raises(ParamsError, match="expected both > 0"):
        Grid(100, 0, "x")
