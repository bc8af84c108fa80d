from __future__ import annotations

import numpy as np
import pandas as pd

from sarcurate.app import panel_data
from sarcurate.io.gates import Bound


def test_progress_counts_by_class() -> None:
    chips = pd.DataFrame(
        {
            "label": ["a", "a", "a", "b"],
            "verdict": ["keep", "none", None, "none"],
            "kept": [True, False, True, None],
            "pending": [None, None, "reject", None],
        }
    )
    rows = panel_data.progress_table(chips, ["a", "b", "c"]).splitlines()[2:]
    assert rows == ["| a | 3 | 2 | 2 | 1 |", "| b | 1 | 0 | 0 | 0 |", "| c | 0 | 0 | 0 | 0 |"]


def test_the_funnel_stands_side_by_side() -> None:
    table = panel_data.funnel_table({"migrated": {"made": 5, "enl": 4}, "physics": {"made": 9, "enl": 9}})
    assert table.splitlines()[2:] == ["| made | 5 | 9 |", "| ENL | 4 | 9 |"]
    assert "dvc repro" in panel_data.funnel_table({})


def test_the_band_is_that_of_real_chips_and_the_line_the_views_mean() -> None:
    rng = np.random.default_rng(0)
    real, shown = rng.normal(size=(500, 12)), np.full((3, 12), 2.0)
    shown[0] = np.nan
    low, high, mean = panel_data.spectrum_traces(shown, real)
    assert np.allclose(low["y"], -1.645, atol=0.25)
    assert np.allclose(high["y"], 1.645, atol=0.25)
    assert mean["y"] == [2.0] * 12
    assert min(mean["x"]) > 0.05
    assert max(mean["x"]) < 0.5


def test_histograms_share_their_bins_and_leave_gaps_out() -> None:
    shown, real = panel_data.enl_traces([1.0, None, 3.0], [2.0, float("nan")])
    assert (shown["x"], real["x"]) == ([1.0, 3.0], [2.0])
    assert shown["xbins"] == real["xbins"]
    assert panel_data.enl_traces([None], []) == []


def test_a_side_without_limit_has_no_line() -> None:
    (shape,) = panel_data.limit_shapes((None, Bound(2.5, "own limit of the params")))
    assert (shape["x0"], shape["x1"]) == (2.5, 2.5)
