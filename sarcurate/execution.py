"""Map a function over items, with progress: serial or in processes, the same result either way."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

SECONDS_BETWEEN_LINES = 60.0
# Parts of the work that a worker gets one after the other, and parts that wait for it at a time.
CHUNKS_PER_WORKER = 32
CHUNKS_AHEAD = 3

Item = TypeVar("Item")
Result = TypeVar("Result")


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in their order, ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def run_map(
    function: Callable[[Item], Result], items: Sequence[Item], what: str, workers: int = 1
) -> list[Result]:
    """``[function(item) for item in items]`` with a progress bar; order kept for any worker count."""
    if workers <= 1:
        return list(map(function, track(items, what, len(items))))
    size = max(1, len(items) // (workers * CHUNKS_PER_WORKER))
    chunks = in_batches(items, size)
    with ProcessPoolExecutor(workers) as pool:
        return list(track(_in_order(pool, function, chunks, workers * CHUNKS_AHEAD), what, len(items)))


def _in_order(
    pool: Executor,
    function: Callable[[Item], Result],
    chunks: Iterable[Sequence[Item]],
    ahead: int,
) -> Iterator[Result]:
    """Results in the items' order; only ``ahead`` chunks are in the pool's memory at a time."""
    waiting: deque[Future[list[Result]]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_each, function, chunk))
            if len(waiting) == ahead:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


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
