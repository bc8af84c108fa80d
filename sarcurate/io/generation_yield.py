"""Yield of generation: per class, how many chips pass the source's gates, how many show what was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sarcurate.core.statistics import newcombe_difference, wilson_interval
from sarcurate.io.gates import display_name

LOW_YIELD = 0.1


@dataclass(frozen=True)
class ClassYield:
    """What became of one class.

    Args:
        made: chips that were judged; passed: of them, all gates; kept: of them, in the ChipSet.
        rejected_by: chips that break a gate, by its measure; one chip may break several.
        recognised: chips that the source's reference network takes for the class they were prompted with;
            shown: chips that it was asked about, 0 for a class it was not trained on.
        pixels: of all made chips; at_low, at_high: of them, at a limit of model space.
    """

    label: str
    made: int
    passed: int
    kept: int
    rejected_by: Mapping[str, int]
    recognised: int
    shown: int
    pixels: int
    at_low: int
    at_high: int


def yield_metrics(
    yields: Sequence[ClassYield], held_back: tuple[int, int], level: float
) -> dict[str, int | float]:
    """Flat numbers; shares as fractions with their Wilson intervals, left out where nothing was counted.

    Args:
        yields: one per class.
        held_back: chips of the source's fold 0 that the reference network names right, and their number:
            what recognition of generated chips is to be held against.
        level: of the intervals.
    """
    found: dict[str, int | float] = {}
    for one in yields:
        found |= {f"n_made.{one.label}": one.made, f"n_kept.{one.label}": one.kept}
        found |= _share(f"yield.{one.label}", one.passed, one.made, level)
        found |= _share(f"recognised.{one.label}", one.recognised, one.shown, level)
    for gate in dict.fromkeys(name for one in yields for name in one.rejected_by):
        found[f"rejected_by.{gate}"] = sum(one.rejected_by.get(gate, 0) for one in yields)
    total = _total(yields)
    found |= {"n_made": total.made, "n_kept": total.kept}
    found |= _share("yield", total.passed, total.made, level)
    found |= _share("recognised", total.recognised, total.shown, level)
    found |= _share("recognised_held_back", *held_back, level)
    if total.shown and held_back[1]:
        against = newcombe_difference(total.recognised, total.shown, *held_back, level)
        found["recognised_minus_held_back"] = against.estimate
        found["recognised_minus_held_back_low"] = against.low
        found["recognised_minus_held_back_high"] = against.high
    if total.pixels:
        found["at_low_limit_fraction"] = total.at_low / total.pixels
        found["at_high_limit_fraction"] = total.at_high / total.pixels
    return found


def yield_lines(yields: Sequence[ClassYield], asked: int, level: float) -> list[str]:
    """A line per class for a terminal, and warnings where few pass or fewer are kept than asked for.

    Args:
        yields: one per class.
        asked: chips per class.
        level: of the intervals.
    """
    lines = [_line(one, level) for one in yields]
    for one in yields:
        if one.made and one.passed < LOW_YIELD * one.made:
            lines.append(
                f"warning: {one.label}: {one.passed} of {one.made} chips pass the source's gates, under "
                f"{100 * LOW_YIELD:.0f} %; look at chips and gates before you use them"
            )
        if one.kept < asked:
            lines.append(
                f"warning: {one.label}: {one.kept} of {asked} chips after {one.made} tries; "
                "raise generate.max_tries_per_class, or tune longer"
            )
    return lines


def _line(one: ClassYield, level: float) -> str:
    said = [f"{one.label}: {one.kept} chips"]
    if one.made:
        rate = wilson_interval(one.passed, one.made, level)
        said.append(
            f"{one.passed} of {one.made} made pass ({100 * rate.estimate:.0f} %, {100 * level:g} % interval "
            f"{100 * rate.low:.0f}-{100 * rate.high:.0f} %)"
        )
    broken = ", ".join(f"{display_name(gate)} {n}" for gate, n in one.rejected_by.items() if n)
    if broken:
        said.append(f"rejected by {broken}")
    if one.shown:
        said.append(f"reference network agrees {one.recognised}/{one.shown}")
    if one.at_low or one.at_high:
        said.append(f"pixels at the limits {100 * (one.at_low + one.at_high) / one.pixels:.2g} %")
    return "; ".join(said)


def _share(name: str, k: int, n: int, level: float) -> dict[str, int | float]:
    if not n:
        return {}
    rate = wilson_interval(k, n, level)
    return {f"{name}": rate.estimate, f"{name}_low": rate.low, f"{name}_high": rate.high}


def _total(yields: Sequence[ClassYield]) -> ClassYield:
    names = ("made", "passed", "kept", "recognised", "shown", "pixels", "at_low", "at_high")
    sums = {name: sum(getattr(one, name) for one in yields) for name in names}
    return ClassYield(label="", rejected_by={}, **sums)
