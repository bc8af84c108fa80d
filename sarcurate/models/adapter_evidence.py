"""What an adapter is worth: chips drawn with it and without it, against real chips that it never saw."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sarcurate.core.group_draws import bootstrap_weights
from sarcurate.core.set_metrics import kernel_sums, polynomial_kernel, weighted_mmd2
from sarcurate.core.statistics import wilson_interval
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.models.drawing import DrawingJob, draw_set
from sarcurate.models.lora import WEIGHTS_NAME, read_metadata, save_adapter
from sarcurate.models.reference_network import outputs
from sarcurate.models.source_judge import SourceJudge

_PREFIX = "transformer."
_RARE = 0.05

Numbers = dict[str, float | int | None]


def adapter_evidence(
    job: DrawingJob,
    held_back: ChipSet,
    judge_of: Callable[[tuple[int, int]], SourceJudge],
    level: float,
    draws: int,
    seed: int,
) -> dict[str, Numbers]:
    """Numbers of three sets: chips held back, chips drawn with the adapter, and with the base alone.

    Each has the share that the source's reference network takes for its class, and the median distance to the
    nearest train chip over that of train chips among each other; the drawn ones also their KID to the chips
    held back (Binkowski et al. 2018, arXiv:1801.01401) and the share that lies nearer to a train chip than
    95 % of the chips held back do; the base also how much its KID is above the adapter's. KID comes twice:
    ``kid`` takes the chips held back as independent, ``kid_groups`` whole groups of them, leaving out pairs
    of one group; with few groups that hold a class each, it scatters widely.

    Args:
        job: what is drawn, and how many per class.
        held_back: real chips of the source that neither tuning nor the reference network saw.
        judge_of: the source's judge for chips of a size.
        level: of all intervals.
        draws: of the bootstrap.
        seed: of the bootstrap.
    """
    judge = judge_of(read_metadata(job.adapter).chip_px)
    real = _images(held_back)
    features = _features(judge, real)
    groups = np.unique(held_back.manifest["group_id"].to_numpy(str), return_inverse=True)[1]
    table = _scores(judge, held_back, real)
    known = _ratios(table)
    found = {"held_back": {"n_groups": int(groups.max() + 1)} | _told(table, level)}
    units = {"kid": np.arange(len(groups)), "kid_groups": groups}
    distances: dict[tuple[str, str], KidDraws | None] = {}
    with tempfile.TemporaryDirectory() as place:
        silent = Path(place) / "silent"
        silence(job.adapter, silent)
        for name, adapter in (("adapter", job.adapter), ("base", silent)):
            out = Path(place) / name
            draw_set(replace(job, adapter=adapter), judge_of, out, Path(place) / f"{name}-cache")
            drawn = open_chipset(out, splits=("train",))
            images = _images(drawn)
            scored = _scores(judge, drawn, images)
            drawn_features = _features(judge, images)
            nearer = _share_below(_ratios(scored), known)
            found[name] = _told(scored, level) | {"nearer_than_95_percent_held_back": nearer}
            for kind, units_of in units.items():
                distances[kind, name] = kid_draws(features, units_of, drawn_features, draws, seed)
                found[name] |= _with_ends(kind, distances[kind, name], level)
    for kind in units:
        excess = _excess(distances[kind, "base"], distances[kind, "adapter"])
        found["base"] |= _with_ends(f"{kind}_above_adapter", excess, level)
    return found


@dataclass(frozen=True, eq=False)
class KidDraws:
    """Squared KID of two sets of features, and of every draw of the bootstrap: (draws,)."""

    value: float
    draws: NDArray[np.float64]

    def interval(self, level: float) -> tuple[float, float]:
        """Percentiles of the draws."""
        low, high = np.nanquantile(self.draws, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def less(self, other: KidDraws) -> KidDraws:
        """This one's excess over another's, draw by draw: the real chips drawn are the same in both."""
        return KidDraws(self.value - other.value, self.draws - other.draws)


def kid_draws(
    real: NDArray[np.float64], groups: NDArray[np.intp], made: NDArray[np.float64], draws: int, seed: int
) -> KidDraws | None:
    """Squared KID with a bootstrap over groups of real chips and single made ones; None for one of either.

    Args:
        real: (n, d) features; groups: (n,) of them, numbered from 0.
        made: (m, d) features, each its own unit.
        draws, seed: of the bootstrap; the same seed draws the same groups whatever was made.
    """
    n_units = (int(groups.max() + 1), len(made))
    if n_units[0] < 2 or n_units[1] < 2:
        return None
    kernels = polynomial_kernel(real, real), polynomial_kernel(made, made), polynomial_kernel(real, made)
    sums = kernel_sums(*kernels, groups, np.arange(len(made)), n_units)
    whole = weighted_mmd2(sums, *(np.ones((1, n)) for n in n_units))
    drawn = weighted_mmd2(
        sums, *(bootstrap_weights(n, draws, [seed, place]) for place, n in enumerate(n_units))
    )
    return KidDraws(float(whole[0]), np.asarray(drawn, dtype=np.float64))


def silence(adapter: Path, out: Path) -> None:
    """Write the adapter with its second matrices at 0: drawn with it, the base gives what it gives alone."""
    from safetensors.torch import load_file

    tensors = {
        name.removeprefix(_PREFIX): value * (0.0 if ".lora_B." in name else 1.0)
        for name, value in load_file(adapter / WEIGHTS_NAME).items()
    }
    save_adapter(out, tensors, read_metadata(adapter))


def _excess(base: KidDraws | None, adapter: KidDraws | None) -> KidDraws | None:
    return None if base is None or adapter is None else base.less(adapter)


def _with_ends(name: str, found: KidDraws | None, level: float) -> Numbers:
    """A value and its interval; None where it is unknown."""
    keys = (name, f"{name}_low", f"{name}_high")
    values = (None, None, None) if found is None else (found.value, *found.interval(level))
    return dict(zip(keys, values, strict=True))


def _images(chips: ChipSet) -> list[NDArray[np.float32]]:
    return [chips.intensity(row["chip_id"]) for row in chips.rows()]


def _features(judge: SourceJudge, images: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    return outputs(judge.network, images)[0].astype(np.float64)


def _scores(judge: SourceJudge, chips: ChipSet, images: Sequence[NDArray[np.float32]]) -> pd.DataFrame:
    rows = list(chips.rows())
    return judge.scores(images, [row["label"] for row in rows], [row["chip_id"] for row in rows])


def _told(table: pd.DataFrame, level: float) -> Numbers:
    known = table[table["shown"]]
    right, n = int(known["recognised"].sum()), len(known)
    interval = wilson_interval(right, n, level)
    ratios = _ratios(table)
    return {
        "n_chips": len(table),
        "recognised": right / n,
        "recognised_low": interval.low,
        "recognised_high": interval.high,
        "memorisation_ratio": float(np.median(ratios)) if len(ratios) else None,
    }


def _ratios(table: pd.DataFrame) -> NDArray[np.float64]:
    """Memorisation ratios that are known; too few train chips leave none."""
    ratio = table["memorisation_ratio"].to_numpy(np.float64)
    known: NDArray[np.float64] = ratio[np.isfinite(ratio)]
    return known


def _share_below(drawn: NDArray[np.float64], held_back: NDArray[np.float64]) -> float | None:
    """Share of the drawn below the 5th percentile of the held back."""
    if not (len(drawn) and len(held_back)):
        return None
    return float(np.mean(drawn < np.quantile(held_back, _RARE)))
