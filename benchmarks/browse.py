"""The App at size: `make bench NAME=browse`, after `make repro`; needs Debian's chromium.

Workspaces of 2,600 and 20,000 made chips are made from the default run: its chips with other speckle, its
scores drawn again. ``ready_s`` runs from the command to its line "ready" less what Python takes to import
FiftyOne, ``first_tiles_s`` on to the first pictures; ``sync_s`` and ``resync_s`` are of 20,000 chips, without
and with nothing changed; ``curate_s`` is `dvc repro curate` after 50 verdicts; ``keys_s`` 50 verdicts by key.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet, ChipSetWriter, open_chipset
from sarcurate.io.collection import Layout
from sarcurate.io.curation import curate
from sarcurate.io.gates import Gate
from sarcurate.io.reference import open_reference
from sarcurate.io.score_table import SET, read_scores, write_scores
from sarcurate.io.selection import write_selection
from sarcurate.io.verdict_log import PENDING, Journal, Ruled, append
from sarcurate.io.verdicts import Ruling, read_verdicts
from sarcurate.params import Params, read_params

ROOT = Path(__file__).resolve().parents[1]
MADE = "migrated"
SIZES = (2_600, 20_000)
JUDGED = 50
IMPORTS = "import sarcurate.app.dataset, sarcurate.app.views, fiftyone"


def workspace(folder: Path, count: int) -> Path:
    """A copy of the default run in which one made set has ``count`` chips."""
    root = folder / f"chips-{count}"
    params = read_params(ROOT / "params.yaml")
    for name in ("real/source-train", "real/target-train", "generated", "reference"):
        shutil.copytree(ROOT / "data" / name, root / "data" / name)
    for name in ("validated.json", "source_scores.parquet", "generated_scores.parquet", "verdicts.csv"):
        shutil.copy(ROOT / "data" / name, root / "data")
    for name in ("params.yaml", "dvc.yaml", ".gitignore"):
        shutil.copy(ROOT / name, root)
    chips = _many(open_chipset(ROOT / "data" / MADE, ("train",)), root / "data" / MADE, count)
    _scores(chips, root)
    _select(root, params)
    return root


def _many(few: ChipSet, out: Path, count: int) -> ChipSet:
    rng = np.random.default_rng(2606)
    rows = list(few.rows())
    pixels = [few.pixels(row["chip_id"]) for row in rows]
    with ChipSetWriter(out, few.header) as writer:
        for number in range(count):
            place = number % len(rows)
            recipe = lineage.recipe_sha256({"benchmark": number})
            speckle = rng.gamma(8.0, 1 / 8.0, pixels[place].shape).astype(np.float32)
            row = {**rows[place], "chip_id": lineage.made_chip_id(recipe), "recipe_sha256": recipe}
            writer.add(row, pixels[place] * speckle)
    return open_chipset(out, ("train",))


def _scores(chips: ChipSet, root: Path) -> None:
    drawn = read_scores(ROOT / "data/scores.parquet")
    drawn = drawn[drawn[SET] == MADE].sample(len(chips.manifest), replace=True, random_state=1)
    own = chips.manifest[["chip_id", "pixels_sha256", "label"]].reset_index(drop=True)
    table = drawn.reset_index(drop=True).assign(**own)
    write_scores(root / "data/scores.parquet", {MADE: table.drop(columns=SET)})


def _select(root: Path, params: Params) -> None:
    layout = Layout(root / "data")
    gates = [Gate(**gate.model_dump()) for gate in params.curate.gates]
    limits = open_reference(layout.reference).limits
    log = read_verdicts(layout.verdicts)
    curated = curate(read_scores(layout.scores), gates, limits, log, params.dataset.classes, None)
    write_selection(layout.selection, curated.selection)


def imports_s() -> float:
    """What Python takes to import FiftyOne and what browse needs."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.perf_counter() - began


def driver() -> ModuleType:
    """What drives the browser, of the tests."""
    spec = importlib.util.spec_from_file_location("app_driver", ROOT / "tests/app/driver.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start_and_judge(root: Path, app: ModuleType) -> dict[str, float]:
    """Start with an empty database, look, and judge by keys."""
    importing = imports_s()
    began = time.perf_counter()
    with app.browsing(root) as running:
        address = running.address()
        ready = time.perf_counter() - began - importing
        with app.page() as page:
            opened = time.perf_counter()
            page.tab.goto(address)
            page.tab.wait_for_selector('[data-cy="looker"]', timeout=app.WAIT_MS)
            tiles = time.perf_counter() - opened
            page.open(address, "not-yet-looked-at")
            page.open_chip()
            keys = _judge(root, page)
    return {"ready_s": ready, "first_tiles_s": tiles, "keys_s": keys}


def _judge(root: Path, page: Any) -> float:
    """Seconds for 50 verdicts, each given when the chip before it has gone."""
    journal = Journal(root / PENDING)
    began = time.perf_counter()
    for number in range(1, JUDGED + 1):
        shown = page.shown_chip()
        page.press("kd"[number % 2])
        while page.shown_chip() == shown:
            page.tab.wait_for_timeout(20)
    while len(journal.rows()) < JUDGED:
        page.tab.wait_for_timeout(20)
    taken = time.perf_counter() - began
    assert len({row.chip_id for row in journal.rows()}) == JUDGED, "a chip was judged twice"
    return taken


def syncs(root: Path) -> dict[str, float]:
    """Bring 20,000 chips into an empty database, and again, in a fresh process."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from sarcurate.app import browse\n"
        "from sarcurate.app.mongo import URI, database\n"
        "from sarcurate.params import read_params\n"
        "import os\n"
        "place = browse.Place(Path.cwd(), read_params(Path('params.yaml')))\n"
        "with database(place.root / browse.FOLDER) as (uri, _):\n"
        "    os.environ |= {URI: uri, 'FIFTYONE_DATABASE_VALIDATION': 'false'}\n"
        f"    {IMPORTS}\n"
        "    for _ in range(2):\n"
        "        began = time.perf_counter(); browse.bring_up(place, lambda line: None)\n"
        "        print(time.perf_counter() - began)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
    first, second = (float(line) for line in done.stdout.split()[-2:])
    return {"sync_s": first, "resync_s": second}


def curate_s(root: Path) -> float:
    """`dvc repro curate` after 50 further verdicts, everything before it up to date."""
    params = read_params(root / "params.yaml")
    quiet: dict[str, Any] = {"cwd": root, "check": True, "capture_output": True}
    alone = {"stages": {"curate": _curate_stage(root)}}
    (root / "dvc.yaml").write_text(json.dumps(alone), encoding="utf-8")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "repro", "-q", "curate"]):
        subprocess.run(command, **quiet)
    chips = open_chipset(root / "data" / MADE, ("train",)).manifest
    known = dict(zip(chips["chip_id"], chips["pixels_sha256"], strict=True))
    ruled = [Ruled(chip, known[chip], Ruling.REJECT, "", "", "bench") for chip in list(known)[:JUDGED]]
    append(root / "data/verdicts.csv", ruled, known, params.dataset.classes)
    began = time.perf_counter()
    subprocess.run(["dvc", "repro", "curate"], **quiet)
    return time.perf_counter() - began


def _curate_stage(root: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML

    stages = YAML(typ="safe", pure=True).load(root / "dvc.yaml")["stages"]
    stage: dict[str, Any] = stages["curate"]
    stage["deps"] = [dep for dep in stage["deps"] if str(dep).startswith("data/")]
    return stage


def main() -> None:
    """Print the figures as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sizes", type=int, nargs=2, default=SIZES, help="chips to browse, chips to sync")
    sizes = options.parse_args().sizes
    with tempfile.TemporaryDirectory() as folder:
        small, large = (workspace(Path(folder), count) for count in sizes)
        figures = start_and_judge(small, driver())
        figures |= {"curate_s": curate_s(small), **syncs(large)}
    told = {name: round(value, 2) for name, value in figures.items()}
    print(json.dumps({"chips_browsed": sizes[0], "chips_synced": sizes[1], **told}, indent=2))


if __name__ == "__main__":
    main()
