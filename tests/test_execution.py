from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate import execution
from sarcurate.errors import DataError
from sarcurate.execution import in_batches, progress, run_map, track
from sarcurate.io.safe import sha256_file


@given(items=st.lists(st.integers(0, 30), max_size=40))
def test_serial_map_is_a_list_comprehension(items: list[int]) -> None:
    assert run_map(math.factorial, items, "mapping") == [math.factorial(item) for item in items]


def test_processes_give_the_same_list_in_the_same_order() -> None:
    items = [7, 3, 3, 0, 12, 1, 9] * 5
    assert run_map(math.factorial, items, "mapping", workers=2) == run_map(math.factorial, items, "mapping")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_one_item_comes_through(workers: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        run_map(math.factorial, [1, -1], "mapping", workers=workers)


def test_an_error_for_people_comes_through_from_another_process(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: cannot be read: .*\nFix: check path") as caught:
        run_map(sha256_file, [tmp_path / "gone"], "hashing", workers=2)
    assert caught.value.fix == "check path and permission"


def test_a_log_gets_a_line_per_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("ab" * 100), "reading", 200)) == list("ab" * 100)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[-1] == "reading: 200/200"
    counts = [int(line.removeprefix("reading: ").partition("/")[0]) for line in lines]
    assert all(later - earlier == 20 for earlier, later in pairwise(counts))


def test_bigger_steps_and_nothing_to_do_are_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_map(math.factorial, [], "mapping") == []
    with progress("training", 3) as advance:
        advance(2)
        advance(1)
    assert capsys.readouterr().err.splitlines()[-2:] == ["training: 2/3", "training: 3/3"]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert list(track("abc", "reading", 3)) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading" in err
    assert "3/3" in err


def test_only_a_few_parts_of_the_work_wait_in_the_pool() -> None:
    taken: list[int] = []

    def chunks() -> Iterator[list[int]]:
        for number in range(20):
            taken.append(number)
            yield [number]

    with ThreadPoolExecutor(1) as pool:
        results = execution._in_order(pool, math.factorial, chunks(), 3)
        for number in range(20):
            assert next(results) == math.factorial(number)
            assert len(taken) <= number + 3
        assert next(results, None) is None


def test_batches_keep_the_order_and_the_last_one_is_short() -> None:
    assert list(in_batches(list("abcde"), 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(in_batches([], 2)) == []
