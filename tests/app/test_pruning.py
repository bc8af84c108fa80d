from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.app.pruning import Cut, taken
from sarcurate.errors import ParamsError

CHIPS = pd.DataFrame(
    {
        "set": ["migrated"] * 6 + ["physics"] * 4,
        "label": ["ship"] * 3 + ["tank"] * 3 + ["ship"] * 4,
        "enl": [1.0, 2.0, 3.0, 4.0, 5.0, np.nan, 0.5, 1.5, 2.5, 3.5],
    }
)


def _taken(**wanted: object) -> list[int]:
    return np.flatnonzero(taken(CHIPS, Cut("enl", **wanted))).tolist()  # type: ignore[arg-type]


def test_limits_are_in_the_measures_unit_and_spare_what_lies_on_them() -> None:
    assert _taken(low=1.0, high=4.0) == [4, 6]
    assert _taken(low=1.0, high=4.0, chip_set="migrated") == [4]
    assert _taken(low=2.0, label="ship") == [0, 6, 7]


def test_a_share_is_of_every_set_and_class_in_whole_chips() -> None:
    assert _taken(lowest_percent=50) == [0, 3, 6, 7]
    assert _taken(lowest_percent=34) == [0, 6]
    assert _taken(highest_percent=25) == [9]


def test_nothing_asked_takes_nothing() -> None:
    assert _taken() == []


@given(st.floats(0, 99), st.integers(1, 40))
def test_a_share_takes_the_lowest(percent: float, count: int) -> None:
    values = np.random.default_rng(count).permutation(count).astype(float)
    chips = pd.DataFrame({"set": "s", "label": "l", "enl": values})
    found = values[taken(chips, Cut("enl", lowest_percent=percent))]
    assert len(found) == int(np.floor(percent / 100 * count + 5e-7))
    assert set(found) == set(range(len(found)))


@pytest.mark.parametrize(
    "wanted",
    [{"low": 2.0, "high": 1.0}, {"lowest_percent": -1.0}, {"lowest_percent": 60.0, "highest_percent": 40.0}],
)
def test_a_cut_that_leaves_nothing_is_refused(wanted: dict[str, float]) -> None:
    with pytest.raises(ParamsError, match="leave"):
        Cut("enl", **wanted)  # type: ignore[arg-type]


def test_the_reason_says_the_cut() -> None:
    words = Cut("enl", low=1.5, highest_percent=5).words
    assert words == "ENL below 1.5 or in the highest 5 % of its class"
