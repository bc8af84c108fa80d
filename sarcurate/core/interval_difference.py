"""The interval of a difference from the intervals of two estimates alone."""

from __future__ import annotations

import math

from sarcurate.core.statistics import Interval


def difference_of_intervals(later: Interval, earlier: Interval) -> Interval:
    """Interval of ``later - earlier``, as of independent estimates, in their unit.

    The distances of each estimate to its limits are squared and added, which keeps the skew of both. Where
    the estimates share data, as two revisions share real chips, the result is on the wide side.
    Source: Zou and Donner (2008), Statistics in Medicine 27:1693-1702, equation 2.
    """
    difference = later.estimate - earlier.estimate
    below = math.hypot(later.estimate - later.low, earlier.high - earlier.estimate)
    above = math.hypot(later.high - later.estimate, earlier.estimate - earlier.low)
    return Interval(difference, difference - below, difference + above)


def holds_zero(interval: Interval) -> bool:
    """Whether no difference is among the values that an interval allows."""
    return interval.low <= 0 <= interval.high
