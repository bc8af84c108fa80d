from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.errors import DataError
from sarcurate.io.cutting.boxes import Box, read_boxes

FIELD = np.ones((100, 100), np.uint8)


@pytest.fixture
def boxes(tmp_path: Path, array_scene: Any) -> Any:
    def read(text: str, **facts: Any) -> list[Box]:
        (tmp_path / "boxes.csv").write_text(text)
        return read_boxes(tmp_path / "boxes.csv", array_scene(FIELD, **facts))

    return read


def edges(box: Box) -> tuple[float, float, float, float]:
    return box.row, box.col, box.rows, box.cols


def test_a_size_in_metres_is_pixels_of_either_axis(boxes: Any) -> None:
    (box,) = boxes("label,row,col,size_m\nship,50,60,20\n")
    # 20 m are 10 rows of 2 m and 20 columns of 1 m about the middle of pixel (50, 60)
    assert edges(box) == (45.5, 50.5, 10.0, 20.0)


def test_a_position_is_found_through_the_tie_grids(boxes: Any, positions: Any) -> None:
    (box,) = boxes("label,latitude,longitude,size_m\nship,49.96,8.1,20\n", **positions)
    assert edges(box) == pytest.approx((40.5 - 5, 50.5 - 10, 10, 20), abs=1e-6)


def test_a_polygon_is_the_box_of_its_corners(tmp_path: Path, array_scene: Any, positions: Any) -> None:
    (tmp_path / "a.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"properties": {"label": "ship"}, "geometry": {"type": '
        '"Polygon", "coordinates": [[[8.02, 49.99], [8.06, 49.97], [8.04, 49.98], [8.02, 49.99]]]}}]}'
    )
    (box,) = read_boxes(tmp_path / "a.geojson", array_scene(FIELD, **positions))
    assert edges(box) == pytest.approx((10.5, 10.5, 20, 20), abs=1e-6)


def test_a_mere_point_has_no_size(boxes: Any) -> None:
    (box,) = boxes("label,row,col\nship,50,60\n")
    assert edges(box) == (50.5, 60.5, 0.0, 0.0)


@pytest.mark.parametrize("name", ["a.tif", "a", "pass-7"])
def test_a_scene_is_named_by_file_or_scene_id(boxes: Any, name: str) -> None:
    text = f"scene,label,row,col\nother,ship,1,1\n{name},ship,50,60\n"
    assert [box.row for box in boxes(text, scene_id="pass-7")] == [50.5]


def test_what_the_scene_lacks_is_named(boxes: Any, positions: Any) -> None:
    with pytest.raises(DataError, match=r"line 2 gives latitude and longitude, but a.tif has no positions"):
        boxes("label,latitude,longitude\nship,49.96,8.1\n")
    with pytest.raises(DataError, match=r"line 2 gives size_m, but a.tif has no pixel spacing"):
        boxes("label,row,col,size_m\nship,50,60,20\n", range_spacing_m=None)
    with pytest.raises(DataError, match=r"line 2 lies outside of a.tif"):
        boxes("label,latitude,longitude\nship,51,8.1\n", **positions)
