from __future__ import annotations

from pathlib import Path

import pytest

from sarcurate.io.work_cache import WorkCache

KEY = "ab" * 32


@pytest.fixture
def cache(tmp_path: Path) -> WorkCache:
    return WorkCache(tmp_path / "cache")


def _files(cache: WorkCache) -> list[str]:
    return sorted(path.relative_to(cache.root).as_posix() for path in cache.root.rglob("*") if path.is_file())


def test_an_entry_is_there_once_it_is_finished(cache: WorkCache) -> None:
    assert cache.entry(KEY) is None
    with cache.making(KEY) as folder:
        (folder / "x.txt").write_text("done")
        assert cache.entry(KEY) is None
    found = cache.entry(KEY)
    assert found is not None
    assert (found / "x.txt").read_text() == "done"
    assert cache.entry("ab" + "cd" * 31) is None
    assert _files(cache) == [f"ab/{KEY}/x.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_entry_vanishes(cache: WorkCache, error: type[BaseException]) -> None:
    def make() -> None:
        with cache.making(KEY) as folder:
            (folder / "x.txt").write_text("half")
            raise error

    with pytest.raises(error):
        make()
    assert cache.entry(KEY) is None
    assert _files(cache) == []


def test_what_a_killed_process_left_is_no_entry_and_in_nobodys_way(cache: WorkCache) -> None:
    making = cache.making(KEY)
    with making as folder:
        (folder / "x.txt").write_text("half")
        leftover = folder.with_name(folder.name + "0")
        leftover.mkdir()
        assert cache.entry(KEY) is None
    assert cache.entry(KEY) == cache.root / "ab" / KEY


def test_the_first_to_finish_wins(cache: WorkCache) -> None:
    with cache.making(KEY) as slow:
        (slow / "x.txt").write_text("slow")
        with cache.making(KEY) as fast:
            (fast / "x.txt").write_text("fast")
    found = cache.entry(KEY)
    assert found is not None
    assert (found / "x.txt").read_text() == "fast"
    assert _files(cache) == [f"ab/{KEY}/x.txt"]
