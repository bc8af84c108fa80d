"""The App from start to end: database, dataset, server, pictures; nothing outlives it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from sarcurate.app.children import LOOPBACK, Child, answers, free_port, require_free
from sarcurate.app.dataset import dataset_name, is_current, open_dataset, show_pending, sync
from sarcurate.app.mongo import URI, database
from sarcurate.app.views import save_plots, save_views
from sarcurate.errors import HardwareError
from sarcurate.execution import track
from sarcurate.io.collection import Collection, Layout, collect
from sarcurate.io.gates import Gate
from sarcurate.io.renderings import draw_all, pictures
from sarcurate.io.verdict_log import PENDING, Journal
from sarcurate.params import Params

if TYPE_CHECKING:
    import fiftyone as fo

FOLDER = Path(".sarcurate/app")
VIEWS = Path(".sarcurate/cache/views")
WORKSPACE, REVIEWER = "SARCURATE_WORKSPACE", "SARCURATE_REVIEWER"
PLUGINS = "FIFTYONE_PLUGINS_DIR"
SERVER_START_S = 90.0
_QUIET = {
    "FIFTYONE_DO_NOT_TRACK": "true",
    "FIFTYONE_DATABASE_VALIDATION": "false",
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    "FIFTYONE_DEFAULT_APP_ADDRESS": LOOPBACK,
}


@dataclass(frozen=True)
class Place:
    """A workspace as the App sees it."""

    root: Path
    params: Params

    @property
    def gates(self) -> list[Gate]:
        """The gates of params.yaml."""
        return [Gate(**gate.model_dump()) for gate in self.params.curate.gates]

    @property
    def layout(self) -> Layout:
        """Where its files are."""
        return Layout(self.root / "data")

    @property
    def journal(self) -> Journal:
        """Verdicts that wait to be saved."""
        return Journal(self.root / PENDING)

    @property
    def dataset_name(self) -> str:
        """Name of its dataset in the database."""
        return dataset_name(self.root, self.params.dataset.name)

    def collect(self) -> Collection:
        """All its chips."""
        return collect(self.layout, self.gates, self.params.dataset.classes)


def bring_up(place: Place, say: Callable[[str], None]) -> fo.Dataset:
    """The dataset of a workspace, brought up to its files; pictures are listed, not drawn."""
    collection = place.collect()
    dataset = open_dataset(place.dataset_name, collection.measures)
    if is_current(dataset, collection.revision):
        say(f"{len(collection.chips)} chips, none has changed")
    else:
        drawn = pictures(collection, place.root / VIEWS)
        say(sync(dataset, collection, drawn).line())
        save_views(dataset, [gate.measure for gate in place.gates])
        save_plots(dataset, collection)
    show_pending(dataset, place.journal.ruled())
    return dataset


@dataclass(frozen=True)
class Running:
    """The App as it runs: where, and the processes that it stands on."""

    address: str
    children: tuple[Child, ...]

    def check(self) -> None:
        """Refuse to go on without one of them.

        Raises:
            HardwareError: with the end of the log of what ended.
        """
        for child in self.children:
            if child.ended:
                raise HardwareError(
                    f"{child.name} ended by itself; the end of its log:\n{child.log_tail()}",
                    fix="run `sarcurate browse` again: verdicts that were given still wait",
                )


@contextmanager
def served(place: Place, port: int, reviewer: str, say: Callable[[str], None]) -> Iterator[Running]:
    """The App, while the block runs.

    Args:
        place: a workspace that `dvc repro curate` has finished in.
        port: on loopback; 0 takes a free one.
        reviewer: whose verdicts they are.
        say: takes lines for people.

    Raises:
        HardwareError: where the port is taken, or database or server do not start.
        DataError: where the workspace is not complete.
    """
    port = port or free_port()
    require_free(port)
    folder = place.root / FOLDER
    with database(folder) as (uri, mongod):
        settings = _settings(place, uri, reviewer)
        os.environ.update(settings)
        dataset = bring_up(place, say)
        command: list[str | Path] = [
            sys.executable,
            _server_main(),
            "--port",
            str(port),
            "--address",
            LOOPBACK,
        ]
        log = folder / "server.log"
        # The server holds nothing, and would wait for open browsers: it is killed where we are.
        with Child("the App's server", command, log, {**os.environ, **settings}, signal.SIGKILL) as server:
            server.wait_until(lambda: answers(LOOPBACK, port), SERVER_START_S)
            children = (server, mongod) if mongod else (server,)
            yield Running(f"http://{LOOPBACK}:{port}/datasets/{dataset.name}", children)


def _server_main() -> Path:
    import fiftyone

    return Path(fiftyone.__file__).parent / "server/main.py"


def draw_pictures(place: Place) -> None:
    """Draw the pictures that are not there yet, with a bar."""
    wanted = pictures(place.collect(), place.root / VIEWS)
    for _ in track(draw_all(wanted), "drawing other views of chips", len(wanted)):
        pass


def _settings(place: Place, uri: str, reviewer: str) -> dict[str, str]:
    return _QUIET | {
        URI: uri,
        PLUGINS: str(_plugins(place.root / FOLDER / "plugins")),
        WORKSPACE: str(place.root.resolve()),
        REVIEWER: reviewer,
    }


def _plugins(folder: Path) -> Path:
    """A folder with a link to our plugin, and to those that the user has."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    own = os.environ.get(PLUGINS)
    users = Path(own) if own else Path.home() / "fiftyone/__plugins__"
    if users.is_dir() and users.resolve() != folder.resolve():
        for plugin in sorted(users.iterdir()):
            (folder / plugin.name).symlink_to(plugin.resolve())
    (folder / "sarcurate").unlink(missing_ok=True)
    (folder / "sarcurate").symlink_to(Path(str(resources.files("sarcurate.app"))) / "plugin")
    return folder
