"""The collection in a real database: brought up to date chip by chip."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from sarcurate.app.children import LOOPBACK
from sarcurate.app.mongo import URI, database
from sarcurate.io.verdict_log import Journal, Ruled
from sarcurate.io.verdicts import Ruling
from sarcurate.params import read_params

pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="session")
def served_database(needs_mongod: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A database of our own, named before FiftyOne is imported; never a developer's."""
    folder = tmp_path_factory.mktemp("mongo")
    with pytest.MonkeyPatch.context() as patch, database(folder) as (uri, _):
        patch.setenv("HOME", str(folder))
        for name, value in {
            URI: uri,
            "FIFTYONE_DATABASE_NAME": "tests",
            "FIFTYONE_DATABASE_VALIDATION": "false",
            "FIFTYONE_DO_NOT_TRACK": "true",
            "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        }.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def place(own_workspace: Path, served_database: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    from sarcurate.app import browse, judging

    monkeypatch.setenv(browse.WORKSPACE, str(own_workspace))
    monkeypatch.setenv(browse.REVIEWER, "tester")
    judging.place.cache_clear()
    return browse.Place(own_workspace, read_params(own_workspace / "params.yaml"))


def _bring_up(place: Any) -> tuple[Any, str]:
    from sarcurate.app import browse

    said: list[str] = []
    return browse.bring_up(place, said.append), " ".join(said)


def test_a_second_sync_changes_nothing_and_a_verdict_its_chip_alone(place: Any) -> None:
    from sarcurate.app.browse import VIEWS
    from sarcurate.app.dataset import sync
    from sarcurate.io.renderings import pictures

    dataset, said = _bring_up(place)
    collection = place.collect()
    assert said.startswith(f"{len(collection.chips)} chips: {len(collection.chips)} new")
    assert _bring_up(place)[1].endswith("none has changed")
    again = sync(dataset, collection, pictures(collection, place.root / VIEWS))
    assert again.added == again.redone == again.rejudged == again.removed == 0
    chip = next(iter(collection.known))
    dataset.match({"chip_id": chip}).tag_samples("mine")
    line = f"{chip},{collection.known[chip]},reject,,odd,Ann,2026-01-31T13:05:00Z\n"
    with place.layout.verdicts.open("a") as file:
        file.write(line)
    _, said = _bring_up(place)
    assert "0 new" in said
    assert "1 judged otherwise" in said
    sample = dataset.one({"chip_id": chip})
    assert (sample["verdict"], sample["said"], sample.tags) == ("reject", "Ann: reject (odd)", ["mine"])


def test_a_chip_made_anew_keeps_its_tags_and_one_that_is_gone_goes(place: Any) -> None:
    from dataclasses import replace

    from sarcurate.app.dataset import open_dataset, sync
    from sarcurate.io.renderings import pictures

    collection = place.collect()
    drawn = pictures(collection, place.root / "views")
    dataset = open_dataset(place.dataset_name, collection.measures)
    sync(dataset, collection, drawn)
    first, last = collection.chips["chip_id"].iloc[[0, -1]]
    dataset.match({"chip_id": first}).tag_samples("mine")
    chips = collection.chips.iloc[:-1].copy()
    chips.loc[0, "enl"] = 7.5
    done = sync(dataset, replace(collection, chips=chips), drawn[:-1])
    assert (done.added, done.redone, done.rejudged, done.removed) == (0, 1, 0, 1)
    sample = dataset.one({"chip_id": first})
    assert (sample["enl"], sample.tags) == (7.5, ["mine"])
    assert dataset.match({"chip_id": last}).count() == 0


def test_what_the_app_shows_is_what_the_files_say(place: Any) -> None:
    dataset, _ = _bring_up(place)
    chips = place.collect().chips
    kept = dict(zip(chips["chip_id"], chips["kept"], strict=True))
    assert dict(zip(*dataset.values(["chip_id", "kept"]), strict=True)) == kept
    enl = dict(zip(*dataset.exists("enl").values(["chip_id", "enl"]), strict=True))
    assert enl == chips.dropna(subset="enl").set_index("chip_id")["enl"].to_dict()
    assert dataset.get_field("enl").description == "ENL [1]"
    assert "families" in dataset.list_saved_views()
    made = int(chips["judged"].sum())
    assert dataset.load_saved_view("not yet looked at").count() == made
    for name in ("filepath", "linear", "spectrum", "homogeneous", "beside"):
        assert all(dataset.values(name))


def test_verdicts_wait_in_the_journal_and_real_chips_take_none(place: Any) -> None:
    from sarcurate.app import judging

    dataset, _ = _bring_up(place)
    ids = dataset.values("id")
    given = judging.give(dataset, ids, Ruling.KEEP, "good")
    made = int(place.collect().chips["judged"].sum())
    assert (len(given.ruled), given.not_judged) == (made, len(ids) - made)
    assert judging.give(dataset, [], Ruling.REJECT).line(0) == "no chip is selected: nothing was done"
    assert dataset.match({"pending": "keep"}).count() == made
    assert len(judging.undo(dataset)) == made
    assert dataset.exists("pending").count() == 0


def test_the_apps_own_tags_are_taken_only_when_asked_and_not_past_the_limit(place: Any) -> None:
    from sarcurate.app import judging
    from sarcurate.errors import DataError

    dataset, _ = _bring_up(place)
    dataset.tag_samples("reject")  # what the App's tag button does with nothing selected
    before = place.layout.verdicts.read_bytes()
    assert judging.save(dataset, force=False).appended == ()
    judging.take_tags(dataset)
    with pytest.raises(DataError, match="newly rejected, more than 25"):
        judging.save(dataset, force=False)
    assert place.layout.verdicts.read_bytes() == before
    assert len(place.journal.ruled()) == int(place.collect().chips["judged"].sum())
    assert len(judging.save(dataset, force=True).appended) == len(place.collect().known)
    assert place.journal.ruled() == ()


def test_a_chip_tagged_twice_is_named(place: Any) -> None:
    from sarcurate.app import judging
    from sarcurate.errors import DataError

    dataset, _ = _bring_up(place)
    one = dataset.match({"judged": True}).limit(1)
    one.tag_samples(["keep", "reject"])
    with pytest.raises(DataError, match=one.first()["chip_id"]):
        judging.tagged(dataset)


def test_waiting_verdicts_of_a_killed_app_are_shown_again(place: Any) -> None:
    chip, pixels = next(iter(place.collect().known.items()))
    Journal(place.journal.path).add([Ruled(chip, pixels, Ruling.UNSURE, "", "", "tester")])
    dataset, _ = _bring_up(place)
    assert dataset.one({"chip_id": chip})["pending"] == "unsure"


def test_browse_refuses_a_taken_port(own_workspace: Path, driver: ModuleType) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        command = [driver.SARCURATE, "browse", "--port", str(other.getsockname()[1]), "--reviewer", "t"]
        done = subprocess.run(command, cwd=own_workspace, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "--port 0 finds one" in done.stderr


def test_browse_names_a_missing_chip(own_workspace: Path, driver: ModuleType) -> None:
    lost = next((own_workspace / "data/migrated/previews").rglob("*.png"))
    lost.unlink()
    command = [driver.SARCURATE, "browse", "--port", "0", "--reviewer", "t", "--sync-only"]
    done = subprocess.run(
        command,
        cwd=own_workspace,
        capture_output=True,
        text=True,
        check=False,
        env=driver.own_environment(),
    )
    assert done.returncode == 3
    assert lost.name in done.stderr
    assert "dvc checkout" in done.stderr


def test_browse_ends_with_a_clear_error_where_mongod_dies(own_workspace: Path, driver: ModuleType) -> None:
    with driver.browsing(own_workspace) as app:
        app.address()
        children = psutil.Process(app.process.pid).children(recursive=True)
        (mongod,) = [child for child in children if child.name() == "mongod"]
        mongod.send_signal(signal.SIGKILL)
        assert app.process.wait(60) == 4
        assert "mongod ended by itself" in app.said
        assert "still wait" in app.said
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
