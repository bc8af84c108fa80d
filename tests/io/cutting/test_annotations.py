from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.errors import DataError
from sarcurate.io.cutting.annotations import read_annotations

GOOD = "label,xmin,ymin,xmax,ymax\nship,3,5,13,10\ntank,0,0,2,2\n"
POINT: dict[str, Any] = {
    "type": "Feature",
    "properties": {"label": "ship", "size_m": 40, "colour": "red"},
    "geometry": {"type": "Point", "coordinates": [8.1, 49.95]},
}


@pytest.fixture
def csv(tmp_path: Path) -> Any:
    def read(text: str | bytes) -> list[Any]:
        path = tmp_path / "boxes.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_annotations(path)

    return read


@pytest.fixture
def geojson(tmp_path: Path) -> Any:
    def read(*features: Any, **rest: Any) -> list[Any]:
        path = tmp_path / "boxes.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)} | rest))
        return read_annotations(path)

    return read


def point(**changes: Any) -> dict[str, Any]:
    """POINT with some properties changed; None removes one."""
    properties = POINT["properties"] | changes
    return POINT | {"properties": {name: value for name, value in properties.items() if value is not None}}


def test_corners_are_rows_and_columns_of_edges(csv: Any) -> None:
    ship, tank = csv(GOOD)
    assert (ship.label, ship.corners, ship.geographic) == ("ship", ((5.0, 3.0), (10.0, 13.0)), False)
    assert ship.where.endswith("boxes.csv line 2")
    assert (tank.label, tank.where[-6:]) == ("tank", "line 3")


def test_a_corner_and_a_size_are_a_box(csv: Any) -> None:
    (box,) = csv("label,row,col,rows,cols\nship,5,3,5,10\n")
    assert box.corners == ((5.0, 3.0), (10.0, 13.0))


def test_a_point_in_pixels_is_the_middle_of_its_pixel(csv: Any) -> None:
    (box,) = csv("label,row,col,size_m,azimuth_deg\nship,5,3,40,270\n")
    assert (box.corners, box.size_m, box.azimuth_deg) == (((5.5, 3.5),), 40.0, 270.0)


def test_a_position_is_latitude_then_longitude(csv: Any, geojson: Any) -> None:
    (box,) = csv("label,latitude,longitude,size_m\nship,49.95,8.1,40\n")
    (same,) = geojson(POINT)
    assert box.corners == same.corners == ((49.95, 8.1),)
    assert box.geographic
    assert same.geographic
    assert box.size_m == same.size_m == 40.0
    assert same.where.endswith("feature 1")


def test_a_polygon_gives_its_corners(geojson: Any) -> None:
    ring = [[8.0, 50.0], [8.1, 50.0, 12.5], [8.1, 49.9], [8.0, 50.0]]
    feature = {
        "type": "Feature",
        "properties": {"class": "ship"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    (box,) = geojson(feature)
    assert box.corners == ((50.0, 8.0), (50.0, 8.1), (49.9, 8.1), (50.0, 8.0))


def test_class_names_scenes_and_other_columns(csv: Any) -> None:
    text = "scene,class,xmin,ymin,xmax,ymax,truncated,group_id,name\na.jpg,A320/321,1,2,3,4,0,g1,c-1\n"
    (box,) = csv(text)
    assert (box.label, box.scene, box.group_id, box.name) == ("A320/321", "a.jpg", "g1", "c-1")


def test_spaces_blank_lines_and_a_byte_order_mark_are_no_matter(csv: Any) -> None:
    found = csv("\ufefflabel, xmin,ymin,xmax,ymax\r\n\r\nship , 3,5,13,10\r\n")
    assert [(box.label, box.corners) for box in found] == [("ship", ((5.0, 3.0), (10.0, 13.0)))]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label,", "lable,", "line 1: 'lable' is not known, did you mean 'label'"),
        ("label,", "Label,", "did you mean 'label'"),
        ("label,", "label,label,", "line 1: 'label' stands twice"),
        ("label,", "label,size_m,", "size_m beside boxes that have a size"),
        ("label,", "label,row,", "expected exactly one of"),
        ("xmin,", "left,", "expected exactly one of"),
        ("ship,3,5", "ship,3", "line 2: 4 cells, expected 5"),
        ("ship,", ",", "line 2: expected either label or class"),
        ("3,5,13", "x,5,13", "line 2: xmin is 'x', expected a number"),
        ("3,5,13", "nan,5,13", "line 2: xmin is 'nan'"),
        ("3,5,13", "inf,5,13", "line 2: xmin is 'inf'"),
        ("3,5,13", ",5,13", "line 2: xmin is empty"),
        ("3,5,13", "13,5,3", "line 2: box from row 5 to 10 and column 13 to 3 is empty"),
        ("tank,0,0,2,2", "tank,3,5,13,10", "line 3 .tank. repeats .*line 2 .ship."),
        ("ship,3", '"ship,3', "line 3: unexpected end"),
        ("ship,", "s\x07p,", "line 2: label is 's.x07p', expected a short text"),
    ],
)
def test_one_fault_is_named_with_its_line(csv: Any, old: str, new: str, message: str) -> None:
    assert len(csv(GOOD)) == 2
    with pytest.raises(DataError, match=message):
        csv(GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,xmin,ymin,xmax,ymax\n", "holds no boxes"),
        ("", "expected exactly one of"),
        (b"label,\xff", "not UTF-8"),
        ("label,latitude,longitude\nship,95,8\n", "latitude is '95', expected a number up to 90"),
        ("label,row,col,size_m\nship,1,1,0\n", "size_m is '0', .* above 0"),
        ("label,row,col,name\nship,1,1,../x\n", "name is '../x'"),
        ("label,row,col,name\nship,1,1,a\ntank,2,2,a\n", "line 3 .* repeats"),
    ],
)
def test_other_faults(csv: Any, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        csv(text)


def test_one_name_may_stand_in_two_scenes(csv: Any) -> None:
    assert len(csv("scene,label,row,col,name\na,ship,1,1,x\nb,ship,1,1,x\n")) == 2


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (point(label=None), "feature 1: expected either label or class"),
        (point(**{"class": "ship"}), "expected either label or class"),
        (point(lable="x", label=None), "did you mean 'label'"),
        (point(size_m=-1), "size_m is -1"),
        (point(size_m=True), "size_m is True"),
        (POINT | {"geometry": None}, "has no geometry"),
        (POINT | {"geometry": {"type": "LineString", "coordinates": [[0, 0]]}}, "expected Point or Polygon"),
        (POINT | {"geometry": {"type": "Point", "coordinates": [1]}}, "expected .longitude, latitude."),
        (POINT | {"geometry": {"type": "Point", "coordinates": [8, 95]}}, "latitude is 95"),
        (POINT | {"geometry": {"type": "Polygon", "coordinates": [[]]}}, "has no corners"),
        (POINT | {"geometry": {"type": "Polygon", "coordinates": [[[8, 50], [8, 49]]]}}, "size_m beside"),
        ("text", "has no geometry"),
    ],
)
def test_one_fault_of_a_feature_is_named(geojson: Any, feature: Any, message: str) -> None:
    assert len(geojson(POINT)) == 1
    with pytest.raises(DataError, match=message):
        geojson(feature)


def test_other_coordinates_than_wgs84_are_refused(geojson: Any) -> None:
    known = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    assert len(geojson(POINT, crs=known)) == 1
    with pytest.raises(DataError, match="EPSG::32632, expected longitude and latitude"):
        geojson(POINT, crs={"properties": {"name": "urn:ogc:def:crs:EPSG::32632"}})


def test_files_that_are_no_boxes_are_refused(tmp_path: Path) -> None:
    for name, text, message in (
        ("a.json", "{", "not readable JSON"),
        ("b.json", "[" * 100_000, "not readable JSON"),
        ("c.json", "[]", "expected a GeoJSON FeatureCollection"),
        ("d.txt", "", r"expected one of .csv, .geojson, .json"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=message):
            read_annotations(tmp_path / name)
    with pytest.raises(DataError, match=r"missing\.csv"):
        read_annotations(tmp_path / "missing.csv")


@given(place=st.integers(0, len(GOOD) - 1), cut=st.integers(0, 6), put=st.text(max_size=4))
def test_any_mutation_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, cut: int, put: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.csv"
    text = GOOD[:place] + put + GOOD[place + cut :]
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    try:
        found = read_annotations(path)
    except DataError:
        return
    assert all(box.label for box in found)


WORDS = st.sampled_from(["type", "geometry", "properties", "coordinates", "label", "size_m"])
LEAVES = st.none() | st.booleans() | st.floats() | st.text(max_size=5)


@given(
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
        max_leaves=8,
    )
)
def test_any_feature_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, feature: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.raises(DataError):
        read_annotations(path)
