from __future__ import annotations

import numpy as np
import pytest

from sarcurate.core.measure import Measure


def test_a_missing_value_has_its_reason_and_becomes_none_in_a_table() -> None:
    measure = Measure.where([1.0, np.nan, 3.0], [False, True, True], "no homogeneous area")
    assert measure.column() == [1.0, None, None]
    assert list(measure.reasons) == ["", "no homogeneous area", "no homogeneous area"]


@pytest.mark.parametrize(
    ("values", "reasons"),
    [([np.nan], [""]), ([1.0], ["too small"]), ([np.inf], [""]), ([1.0, 2.0], [""])],
)
def test_neither_a_silent_nan_nor_a_reason_beside_a_value_is_possible(
    values: list[float], reasons: list[str]
) -> None:
    with pytest.raises(ValueError, match="either a finite value or a reason"):
        Measure(np.array(values), np.array(reasons))
