from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from sarcurate.core.airframes import aircraft
from sarcurate.core.practice_objects import MARGIN, OBJECTS, PracticeObject, practice_object


@pytest.fixture(scope="module")
def objects() -> list[PracticeObject]:
    return [practice_object(index) for index in range(OBJECTS)]


def test_names_are_distinct_and_none_is_of_a_known_aircraft(objects):
    names = [one.name for one in objects]
    assert len(set(names)) == OBJECTS
    known = [one.name.casefold() for one in aircraft()]
    assert not any(name.casefold() in other or other in name.casefold() for name in names for other in known)


def test_no_airframe_has_length_and_span_of_a_known_one(monkeypatch):
    from sarcurate.core import practice_objects

    drawn, make = [], practice_objects._airframe

    def noted(name, length, span, rng):
        drawn.append((name, length, span))
        return make(name, length, span, rng)

    monkeypatch.setattr(practice_objects, "_airframe", noted)
    kinds = [practice_object.__wrapped__(index).kind for index in range(OBJECTS)]
    assert len(drawn) == kinds.count("aircraft") > 100
    for name, length, span in drawn:
        for known in aircraft():
            off = max(abs(math.log(length / known.length_m)), abs(math.log(span / known.span_m)))
            assert off > math.log(MARGIN), (name, known.name)


def test_a_draw_within_the_margin_is_thrown_away():
    """A source of draws that offers a known aircraft's measures first, then others."""
    from sarcurate.core import practice_objects

    known = aircraft()[0]

    class Offers(np.random.Generator):
        said: list[float] = [  # noqa: RUF012
            math.log(1.05 * known.length_m),
            1.04 * known.span_m / (1.05 * known.length_m),
            math.log(30.0),
            0.6,
        ]  # fmt: skip

        def uniform(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            return self.said.pop(0) if self.said else super().uniform(*args, **kwargs)

    drawn = practice_objects._draw_airframe("x", Offers(np.random.PCG64(0)))
    assert (drawn.length_m, drawn.span_m) == pytest.approx((30.0, 18.0))


def test_an_object_is_the_same_whenever_it_is_made(objects):
    for index in (0, 17, OBJECTS - 1):
        again = practice_object.__wrapped__(index)
        assert again.name == objects[index].name
        for mine, other in ((again.points, objects[index].points), (again.surface, objects[index].surface)):
            for field in vars(mine):
                np.testing.assert_array_equal(getattr(mine, field), getattr(other, field))


def test_kinds_come_in_their_shares(objects):
    counts = Counter(one.kind for one in objects)
    for kind, share in {"aircraft": 0.6, "ship": 0.15, "vehicle": 0.1, "building": 0.15}.items():
        standard_error = math.sqrt(OBJECTS * share * (1 - share))
        assert abs(counts[kind] - OBJECTS * share) < 4 * standard_error


def test_numbers_are_finite_and_sizes_credible(objects):
    for one in objects:
        for part in (one.points, one.surface):
            assert all(np.all(np.isfinite(value)) for value in vars(part).values())
            assert part.z_m.min() >= 0.0
        assert 4.0 < one.largest_m < 200.0
        # The smallest vehicle is 5 m by 1.25 m, in steps of half a metre.
        assert 25 <= one.surface.x_m.size <= 150_000


def test_largest_is_twice_the_farthest_centre(objects):
    one = objects[3]
    assert one.largest_m == pytest.approx(
        2 * max(math.hypot(x, y) for x, y in zip(one.points.x_m, one.points.y_m, strict=True))
    )


def test_blocks_reflect_from_where_they_stand(objects):
    """Every scattering centre of a block object lies within its surfaces' box, to their step."""
    for one in objects:
        if one.kind == "aircraft":
            continue
        slack = math.sqrt(one.surface.area_m2) + 1e-9
        for axis in ("x_m", "y_m"):
            points, surface = getattr(one.points, axis), getattr(one.surface, axis)
            assert points.min() >= surface.min() - slack
            assert points.max() <= surface.max() + slack
