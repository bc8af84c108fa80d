"""Accuracy of every arm over the commits that changed it: lines, a figure and a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sarcurate.core.statistics import Interval
from sarcurate.errors import DataError
from sarcurate.io import figures
from sarcurate.io.report_html import Block, Figure, Paragraph, Section, Table, render
from sarcurate.io.revisions.git_history import Commit, History, open_history
from sarcurate.io.terminal_text import printable

EVALUATION = "metrics/evaluation.json"
_SHORT = 8  # digits of a hash under the figure
_ALT = "Accuracy of each arm with its interval, one place per commit, oldest on the left"


@dataclass(frozen=True)
class Point:
    """What evaluate found at one commit: accuracy (fraction) by arm; ``level`` of the intervals."""

    commit: Commit
    dataset_revision: str
    evidence: str
    level: float | None
    arms: Mapping[str, Interval]


@dataclass(frozen=True)
class AccuracyHistory:
    """Points in the order of commits, oldest first, and commits whose file could not be understood."""

    points: tuple[Point, ...]
    skipped: tuple[str, ...]


def read_history(root: Path) -> AccuracyHistory:
    """The history of metrics/evaluation.json in the workspace's git repository.

    Raises:
        ParamsError: outside git.
        DataError: where no commit has that file.
    """
    history = open_history(root)
    points, skipped = [], []
    for commit in history.commits_of(EVALUATION):
        found = _point(history, commit)
        if isinstance(found, Point):
            points.append(found)
        elif found:
            skipped.append(f"{commit.sha[:_SHORT]} {commit.time[:10]}: {found}")
    if not points:
        raise DataError(
            f"no commit of {root} has readable scores in {EVALUATION}",
            fix="run `dvc repro`, then commit its metrics",
        )
    return AccuracyHistory(tuple(points), tuple(skipped))


def _point(history: History, commit: Commit) -> Point | str:
    """A commit's point; why there is none, or "" where the commit took the file away."""
    data = history.file(commit.sha, EVALUATION)
    if data is None:
        return ""
    try:
        content = json.loads(data)
        arms = {str(name): _accuracy(numbers) for name, numbers in content["arms"].items()}
        level = content.get("interval_level")
        return Point(
            commit,
            str(content["dataset_revision"]),
            str(content.get("evidence", "unknown")),
            float(level) if level is not None else None,
            arms,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{EVALUATION} is not understood: {type(error).__name__} {error}"


def _accuracy(numbers: Mapping[str, Any]) -> Interval:
    return Interval(*(float(numbers[f"accuracy{end}"]) for end in ("", "_low", "_high")))


def history_lines(found: AccuracyHistory) -> list[str]:
    """A heading per commit and a line per arm, oldest first."""
    lines: list[str] = []
    width = max(len(arm) for point in found.points for arm in point.arms)
    for point in found.points:
        lines.append(
            f"{point.commit.time[:10]} {point.commit.sha[:_SHORT]} data set {point.dataset_revision} "
            f"({point.evidence}): {point.commit.subject}"
        )
        lines += [f"  {arm:<{width}}  {_percent(interval)}" for arm, interval in point.arms.items()]
    lines += [f"left out: {why}" for why in found.skipped]
    return [printable(line) for line in lines]


def _percent(interval: Interval) -> str:
    return f"{100 * interval.estimate:5.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def arms_of(found: AccuracyHistory) -> list[str]:
    """All arms in the order in which they first appear."""
    return list(dict.fromkeys(arm for point in found.points for arm in point.arms))


def history_figure(found: AccuracyHistory) -> bytes:
    """PNG: accuracy of every arm over commits, with intervals; arms beside each other at a commit."""
    arms, n_points = arms_of(found), len(found.points)
    with figures.canvas(max(6.0, 1.6 + 0.9 * n_points), 4.2) as (figure, png):
        axis = figure.subplots()
        for i, arm in enumerate(arms):
            shift = 0.6 * ((i + 0.5) / len(arms) - 0.5)
            places = np.array([k for k, point in enumerate(found.points) if arm in point.arms])
            values = [found.points[k].arms[arm] for k in places]
            colour, line = figures.COLOURS[i % len(figures.COLOURS)], figures.LINES[i % len(figures.LINES)]
            # Drawn from low to high, since a percentile interval need not hold its estimate.
            axis.vlines(places + shift, _scaled(values, "low"), _scaled(values, "high"), color=colour, lw=1.4)
            label, estimates = figures.printable(arm), _scaled(values, "estimate")
            axis.plot(places + shift, estimates, line, marker="o", ms=3.5, lw=0.8, color=colour, label=label)
        names = [
            f"{point.commit.time[:10]}\n{figures.printable(point.dataset_revision[:_SHORT])}"
            for point in found.points
        ]
        axis.set_xticks(range(n_points), names, fontsize=7, rotation=45 if n_points > 8 else 0)
        axis.set_xlim(-0.5, n_points - 0.5)
        axis.set_xlabel("date of the commit, data set revision")
        axis.set_ylabel("accuracy (%)")
        axis.grid(axis="y", color="0.9")
        axis.set_axisbelow(True)
        figures.legend_above(figure, len(arms))
        figures.save(figure, png)
    return png.getvalue()


def _scaled(values: Sequence[Interval], end: str) -> list[float]:
    return [100 * float(getattr(value, end)) for value in values]


def history_page(found: AccuracyHistory) -> str:
    """HTML text with the figure and a table; see :func:`sarcurate.io.report_html.render`."""
    names = ["date", "commit", "data set", "evidence", "arm", "accuracy % (interval)", "level", "subject"]
    table = Table(names, list(_rows(found)), "Held-out target test chips, oldest commit first.")
    blocks: list[Block] = [
        Figure(history_figure(found), "Accuracy with intervals over commits.", _ALT),
        table,
    ]
    last = found.points[-1]
    skipped = [Section("Left out", [Paragraph("\n".join(found.skipped))])] if found.skipped else []
    return render(
        "Accuracy over revisions",
        [Section("Arms", blocks), *skipped],
        dataset_revision=last.dataset_revision,
        is_smoke_run=last.evidence == "smoke",
    )


def _rows(found: AccuracyHistory) -> Iterator[list[str]]:
    for point in found.points:
        level = "–" if point.level is None else f"{100 * point.level:g} %"
        for arm, interval in point.arms.items():
            yield [
                *(point.commit.time[:10], point.commit.sha[:_SHORT], point.dataset_revision, point.evidence),
                *(arm, _percent(interval).strip(), level, point.commit.subject),
            ]
