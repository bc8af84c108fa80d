from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcurate.core.airframes import aircraft, airframe_named
from sarcurate.core.scatterers import REFERENCE_FREQUENCY_HZ, Scatterers, scatterers_of, surfaces_of
from sarcurate.errors import ParamsError

# Length and span in feet and inches, U.S. Air Force fact sheets and Boeing's airport planning documents.
PUBLISHED = {
    "B-52": (159 + 4 / 12, 185.0),
    "Boeing-747": (231 + 10 / 12, 211 + 5 / 12),
    "Boeing-767": (180 + 3 / 12, 156 + 1 / 12),
    "C-130": (97 + 9 / 12, 132 + 7 / 12),
    "C-17": (174.0, 169 + 9 / 12),
    "F-15": (63.8, 42.8),
    "F-16": (49 + 5 / 12, 32 + 8 / 12),
}


def test_names_and_sizes_are_the_published_ones():
    assert [airframe.name for airframe in aircraft()] == list(PUBLISHED)
    for airframe in aircraft():
        length_ft, span_ft = PUBLISHED[airframe.name]
        assert airframe.length_m == pytest.approx(0.3048 * length_ft, rel=0.01)
        assert airframe.span_m == pytest.approx(0.3048 * span_ft, rel=0.01)
        assert airframe.largest_m == max(airframe.length_m, airframe.span_m)


def test_unknown_name_is_refused():
    with pytest.raises(ParamsError, match="'A-380'; expected one of B-52"):
        airframe_named("A-380")


def test_broken_dimensions_are_refused():
    good = airframe_named("C-17")
    with pytest.raises(ParamsError, match="length_m is 0"):
        replace(good, length_m=0.0)
    with pytest.raises(ParamsError, match=r"wing\.root_m is 60"):
        replace(good, wing=replace(good.wing, root_m=60.0))
    with pytest.raises(ParamsError, match=r"tailplane\.span_m is nan"):
        replace(good, tailplane=replace(good.tailplane, span_m=float("nan")))


@pytest.mark.parametrize("airframe", aircraft(), ids=lambda airframe: airframe.name)
def test_scatterers_and_surfaces_fill_the_outline_and_no_more(airframe):
    for points in (scatterers_of(airframe), surfaces_of(airframe)):
        # Fittings are placed to a quarter metre (one standard deviation); trailing parts end at the tail.
        assert np.ptp(points.x_m) == pytest.approx(airframe.length_m, abs=3.0)
        assert np.ptp(points.y_m) == pytest.approx(airframe.span_m, abs=2.0)
        assert points.z_m.min() >= 0.0
        assert points.z_m.max() <= airframe.height_m


def test_airframes_differ_in_name_and_shape_only():
    one = airframe_named("F-16")
    scatterers_of.cache_clear()
    again = scatterers_of(one)
    assert (again.rcs_dbsm == scatterers_of(one).rcs_dbsm).all()
    assert (scatterers_of(replace(one, name="F-16 too")).rcs_dbsm != again.rcs_dbsm).any()


def one_scatterer(exponent: float) -> Scatterers:
    values = (0.0, 0.0, 0.0, 10.0, 350.0, 40.0, -25.0, exponent)
    return Scatterers(*(np.array([value]) for value in values))


def test_a_lobe_is_3_db_down_at_half_its_width_and_ends_at_its_floor():
    corner = one_scatterer(1.0)
    levels = {
        a: 10 * np.log10(corner.rcs_m2(a, REFERENCE_FREQUENCY_HZ)[0]) for a in (-10.0, 10.0, 330.0, 170.0)
    }
    assert levels == pytest.approx({-10.0: 10.0, 10.0: 7.0, 330.0: 7.0, 170.0: -15.0})


@pytest.mark.parametrize(("exponent", "change_db"), [(1.0, -6.0206), (0.0, 0.0), (-0.5, 3.0103)])
def test_half_the_frequency_changes_the_level_by_the_exponent(exponent, change_db):
    scatterer = one_scatterer(exponent)
    level_db = 10 * np.log10(scatterer.rcs_m2(-10.0, REFERENCE_FREQUENCY_HZ / 2)[0])
    assert level_db - 10.0 == pytest.approx(change_db, abs=1e-3)
