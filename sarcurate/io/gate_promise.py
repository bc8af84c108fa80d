"""Whether gates keep their promise: the share of left-out real chips that pass one gate, and all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sarcurate.core.tolerance import joint_left_out
from sarcurate.io.gates import Gate
from sarcurate.io.reference import Reference

ALL = "real_chips_inside_all_gates"


def left_out_passes(reference: Reference, gates: Sequence[Gate]) -> dict[str, float | None]:
    """Shares of real train chips inside limits that were fitted without their fold, with Wilson intervals.

    Of the gates whose limits are all the reference's; a measure that no real chip has promises nothing.

    Returns:
        ``real_chips_inside_all_gates`` with ``_low`` and ``_high`` (None where no gate counts), and
        ``real_chips_inside.<measure>`` per gate.
    """
    table = reference.train_scores
    counted = [
        gate
        for gate in gates
        if gate.low is None and gate.high is None and gate.measure in table and _in_every_fold(table, gate)
    ]
    if not counted:
        return {ALL: None, f"{ALL}_low": None, f"{ALL}_high": None}
    passes = joint_left_out(
        table[[gate.measure for gate in counted]].to_numpy(np.float64),
        table["fold"].to_numpy(np.int64),
        [gate.side for gate in counted],
        reference.content,
        reference.confidence,
        missing_ok=[gate.if_missing == "keep" for gate in counted],
    )
    found: dict[str, float | None] = {
        ALL: passes.rate.estimate,
        f"{ALL}_low": passes.rate.low,
        f"{ALL}_high": passes.rate.high,
    }
    for gate, rate in zip(counted, passes.per_gate, strict=True):
        found[f"real_chips_inside.{gate.measure}"] = rate.estimate
    return found


def _in_every_fold(table: pd.DataFrame, gate: Gate) -> bool:
    """Whether limits could be fitted without any one fold."""
    there = table[gate.measure].notna()
    return all((there & (table["fold"] != fold)).sum() > 1 for fold in table["fold"].unique())
