"""Losses of migrated chips over their updates, as the plots show them."""

from __future__ import annotations

import pandas as pd

TERMS = ("distillation", "content", "speckle", "spectrum")


def trace_curve(traces: pd.DataFrame) -> pd.DataFrame:
    """Median over chips of every term at every update, in long form: set, update, term, loss.

    Args:
        traces: a row per set, chip_id and update with a column per term, NaN where it was not taken.
    """
    medians = traces.groupby(["set", "update"], sort=True)[list(TERMS)].median().reset_index()
    long = medians.melt(id_vars=["set", "update"], var_name="term", value_name="loss")
    return long.dropna(subset=["loss"]).sort_values(["set", "term", "update"], ignore_index=True)
