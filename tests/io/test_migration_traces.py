"""Losses of migrated chips as plots show them: medians over chips, term by term."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sarcurate.io.migration_traces import trace_curve

NAN = float("nan")


def test_medians_are_told_by_set_term_and_update_where_a_term_was_taken() -> None:
    rows = [
        # set, chip, update, distillation, content, speckle, spectrum
        ("b", "x", 1, 3.0, 0.0, 5.0, NAN),
        ("a", "x", 2, 2.0, 0.4, NAN, NAN),
        ("a", "x", 1, 9.0, 0.0, 1.0, 2.0),
        ("a", "y", 1, 5.0, 0.0, 3.0, 2.5),
        ("a", "z", 1, 6.0, 0.0, NAN, 9.0),
        ("a", "y", 2, 4.0, 0.2, NAN, NAN),
    ]
    columns = ["set", "chip_id", "update", "distillation", "content", "speckle", "spectrum"]
    found = trace_curve(pd.DataFrame(rows, columns=columns).assign(total=7.0))
    assert list(found.columns) == ["set", "update", "term", "loss"]
    expected = [
        ("a", 1, "content", 0.0),
        ("a", 2, "content", 0.3),
        ("a", 1, "distillation", 6.0),
        ("a", 2, "distillation", 3.0),
        ("a", 1, "speckle", 2.0),
        ("a", 1, "spectrum", 2.5),
        ("b", 1, "content", 0.0),
        ("b", 1, "distillation", 3.0),
        ("b", 1, "speckle", 5.0),
    ]
    assert [tuple(row[:3]) for row in found.to_numpy()] == [row[:3] for row in expected]
    np.testing.assert_allclose(found["loss"].astype(float), [row[3] for row in expected])
    assert list(found.index) == list(range(len(expected)))
