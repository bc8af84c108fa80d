"""Which chips a cut by one measure takes: limits in its unit, or a share of every class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.errors import ParamsError
from sarcurate.io.gates import display_name

EVERY = "every"


@dataclass(frozen=True)
class Cut:
    """What a person wants gone.

    Args:
        measure: column that is cut by.
        chip_set: made set, or every.
        label: class, or every.
        low: reject below, in the measure's unit; None for no limit.
        high: reject above.
        lowest_percent: reject this share of each set and class with the lowest values; 0 for none.
        highest_percent: the same of the highest.

    Raises:
        ParamsError: where low is above high, or the shares leave nothing.
    """

    measure: str
    chip_set: str = EVERY
    label: str = EVERY
    low: float | None = None
    high: float | None = None
    lowest_percent: float = 0.0
    highest_percent: float = 0.0

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ParamsError(
                f"reject below {self.low:g} and above {self.high:g} leaves nothing",
                fix="give a lower limit under the upper one",
            )
        shares = (self.lowest_percent, self.highest_percent)
        if min(shares) < 0 or sum(shares) >= 100:
            raise ParamsError(
                f"reject the lowest {shares[0]:g} % and the highest {shares[1]:g} % of each class",
                fix="give shares of 0 % or more that leave something",
            )

    @property
    def words(self) -> str:
        """The cut as the reason of its verdicts."""
        parts = [f"below {self.low:g}"] if self.low is not None else []
        parts += [f"above {self.high:g}"] if self.high is not None else []
        parts += [f"in the lowest {self.lowest_percent:g} % of its class"] if self.lowest_percent else []
        parts += [f"in the highest {self.highest_percent:g} % of its class"] if self.highest_percent else []
        return f"{display_name(self.measure)} " + " or ".join(parts)


def taken(chips: pd.DataFrame, cut: Cut) -> NDArray[np.bool_]:
    """(n,) true for the chips that the cut rejects; a chip without a value is never taken.

    A share is rounded down to whole chips of each set and class.

    Args:
        chips: ``set, label`` and the measure's column, judged chips alone.
        cut: what is wanted gone.
    """
    inside = np.ones(len(chips), dtype=bool)
    for column, wanted in (("set", cut.chip_set), ("label", cut.label)):
        inside &= (chips[column] == wanted).to_numpy() if wanted != EVERY else True
    values = chips[cut.measure].to_numpy(dtype=np.float64)
    beyond = np.zeros(len(chips), dtype=bool)
    if cut.low is not None:
        beyond |= values < cut.low
    if cut.high is not None:
        beyond |= values > cut.high
    groups = chips.groupby(["set", "label"])[cut.measure]
    counts = groups.transform("count").to_numpy(dtype=np.float64)
    for percent, ascending in ((cut.lowest_percent, True), (cut.highest_percent, False)):
        rank = groups.rank(method="first", ascending=ascending).to_numpy(dtype=np.float64)
        # Half a millionth of a chip: 20 % of 5 chips is one, whatever rounding says.
        beyond |= rank <= np.floor(percent / 100 * counts + 5e-7)
    found: NDArray[np.bool_] = inside & beyond & np.isfinite(values)
    return found
