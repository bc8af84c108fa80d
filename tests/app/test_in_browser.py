"""A person at the App, in a real browser; one server per test, as view and panels live in its session."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import ModuleType

import pandas as pd
import psutil
import pytest

from sarcurate.io.selection import read_selection
from sarcurate.io.verdict_log import PENDING, Journal
from sarcurate.io.verdicts import Ruling, read_verdicts

pytestmark = [pytest.mark.app, pytest.mark.slow]
UNSEEN = "not-yet-looked-at"


def _curate(workspace: Path, driver: ModuleType) -> None:
    inputs = ["data/validated.json", "data/reference/target", "data/scores.parquet", "data/verdicts.csv"]
    command = [driver.SARCURATE, "curate", *inputs, "data/selection.parquet", "metrics/curation.json"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _waiting(workspace: Path) -> list[tuple[str, Ruling]]:
    return [(row.chip_id, row.ruling) for row in Journal(workspace / PENDING).rows()]


def _wait_for_verdicts(workspace: Path, count: int) -> list[tuple[str, Ruling]]:
    for _ in range(600):
        if len(_waiting(workspace)) >= count:
            break
        time.sleep(0.1)
    return _waiting(workspace)


def test_filter_by_enl_reject_save_and_curate_again(own_workspace: Path, driver: ModuleType) -> None:
    scores = pd.read_parquet(own_workspace / "data/scores.parquet")
    low = float(scores["enl"].quantile(0.3))
    few = set(scores["chip_id"][scores["enl"] <= low])
    before = read_selection(own_workspace / "data/selection.parquet").kept
    with driver.browsing(own_workspace) as app, driver.page() as page:
        page.open(app.address(), UNSEEN)
        page.wait(page.count, len(scores))
        page.filter("enl", None, low)
        page.wait(page.count, len(few))
        page.select(0, 1)
        page.start("SAR: reject the selected chips")
        page.tab.get_by_role("textbox").last.fill("too few looks")
        page.execute()
        page.close_result()
        page.start("SAR: save verdicts")
        page.execute()
        page.notice("2 verdicts saved")
    rows = read_verdicts(own_workspace / "data/verdicts.csv").rows
    mine = [row for row in rows if row.reviewer == "tester"]
    assert [(row.ruling, row.reason) for row in mine] == 2 * [(Ruling.REJECT, "too few looks")]
    assert {row.chip_id for row in mine} <= few
    assert not (own_workspace / PENDING).exists()
    _curate(own_workspace, driver)
    after = read_selection(own_workspace / "data/selection.parquet").kept
    assert set(before) - set(after) == {row.chip_id for row in mine} & set(before)


def test_prune_a_share_of_each_class_with_its_count_and_undo(own_workspace: Path, driver: ModuleType) -> None:
    scores = pd.read_parquet(own_workspace / "data/scores.parquet")
    counts = scores.groupby(["set", "label"])["enl"].count()
    expected = int((counts * 0.5).astype(int).sum())
    with driver.browsing(own_workspace) as app, driver.page() as page:
        page.open(app.address())
        page.start("SAR: prune by ENL")
        page.tab.get_by_label("lowest", exact=False).or_(
            page.tab.locator("input[type=number]").first
        ).first.fill("50")
        page.notice(f"{expected} of {len(scores)} chips will be rejected")
        page.execute()
        waiting = _wait_for_verdicts(own_workspace, expected)
        assert len(waiting) == expected
        page.close_result()
        page.press("b")
        page.notice(f"{expected} verdicts taken back")
    assert _waiting(own_workspace) == []


def test_keys_give_verdicts_and_bring_the_next_chip(own_workspace: Path, driver: ModuleType) -> None:
    with driver.browsing(own_workspace) as app, driver.page() as page:
        page.open(app.address(), UNSEEN)
        page.open_chip()
        seen = [page.shown_chip()]
        for number, key in enumerate("kdu", start=1):
            page.press(key)
            _wait_for_verdicts(own_workspace, number)
            page.wait(lambda: page.shown_chip() != seen[-1], True)
            seen.append(page.shown_chip())
    assert len(set(seen)) == 4
    rulings = [Ruling.KEEP, Ruling.REJECT, Ruling.UNSURE]
    assert _waiting(own_workspace) == list(zip([chip.split()[0] for chip in seen[:3]], rulings, strict=True))


def test_the_panel_judges_the_selection_and_nothing_selected_does_nothing(
    own_workspace: Path, driver: ModuleType
) -> None:
    with driver.browsing(own_workspace) as app, driver.page() as page:
        page.open(app.address(), UNSEEN)
        page.open_panel("SAR curation")
        page.notice("nothing selected")
        page.tab.get_by_role("button", name="reject selected").last.click()
        page.notice("no chip is selected: nothing was done")
        page.select(0)
        page.notice("selected")
        page.tab.get_by_role("button", name="keep selected").last.click()
        waiting = _wait_for_verdicts(own_workspace, 1)
        assert [ruling for _, ruling in waiting] == [Ruling.KEEP]
        page.tab.get_by_role("button", name="undo").last.click()
        page.notice("1 verdicts taken back")
    assert _waiting(own_workspace) == []


def test_a_killed_app_loses_no_verdict_and_leaves_no_process(own_workspace: Path, driver: ModuleType) -> None:
    with driver.browsing(own_workspace) as app, driver.page() as page:
        page.open(app.address(), UNSEEN)
        children = psutil.Process(app.process.pid).children(recursive=True)
        assert {"mongod"} < {child.name() for child in children}
        page.select(0)
        page.press("d")
        before = _wait_for_verdicts(own_workspace, 1)
        app.kill()
    assert len(before) == 1
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    assert _waiting(own_workspace) == before
    with driver.browsing(own_workspace) as app, driver.page() as page:
        page.open(app.address(), "waiting-to-be-saved")
        page.wait(page.count, 1)


def test_two_browsers_work_on_one_dataset(own_workspace: Path, driver: ModuleType) -> None:
    with driver.browsing(own_workspace) as app, driver.browser() as engine:
        pages = [driver.Page(engine.new_context().new_page()) for _ in range(2)]
        for place, (page, key) in enumerate(zip(pages, "kd", strict=True)):
            page.open(app.address(), UNSEEN)
            page.select(place)
            page.press(key)
            _wait_for_verdicts(own_workspace, place + 1)
            page.wait(page.selected, 0)  # both browsers share the session's selection
            page.tab.close()
    rulings = [ruling for _, ruling in _waiting(own_workspace)]
    assert rulings == [Ruling.KEEP, Ruling.REJECT]
