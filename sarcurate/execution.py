"""Map a function over items, with progress: serial or in processes, the same result either way."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

SECONDS_BETWEEN_LINES = 60.0

Item = TypeVar("Item")
Result = TypeVar("Result")


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_map(
    function: Callable[[Item], Result], items: Sequence[Item], what: str, workers: int = 1
) -> list[Result]:
    """``[function(item) for item in items]`` with a progress bar; order kept for any worker count."""
    if workers <= 1:
        return list(map(function, track(items, what, len(items))))
    with ProcessPoolExecutor(workers) as pool:
        chunk = max(1, len(items) // (workers * 8))
        return list(track(pool.map(function, items, chunksize=chunk), what, len(items)))


def track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield items while a bar on stderr shows count, rate and time left."""
    with progress(what, total) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; the yielded function advances it. Plain lines where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        with _plain_progress(what, total) as advance:
            yield advance
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def _plain_progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A line per tenth, and at least one a minute, for logs."""
    done, said, last = 0, 0, monotonic()

    def advance(count: int) -> None:
        nonlocal done, said, last
        done += count
        tenth = 10 * done // max(total, 1)
        if tenth > said or monotonic() - last > SECONDS_BETWEEN_LINES:
            said, last = tenth, monotonic()
            print(f"{what}: {done}/{total}", file=sys.stderr, flush=True)

    yield advance
