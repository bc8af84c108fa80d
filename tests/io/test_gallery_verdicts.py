"""Verdicts given in the gallery's page, in a real browser: keys, buttons and forms until they are a sheet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sarcurate.io.collection import Collection
from sarcurate.io.gallery import write_gallery
from sarcurate.io.verdict_sheet import read_sheet, ruled_of
from sarcurate.io.verdicts import Ruling, Verdicts

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
CLASSES = ("B-52", "F-16")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs a Chromium")]


@pytest.fixture
def tab(collection: Collection, tmp_path: Path) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    page = write_gallery(collection, Verdicts(()), tmp_path / "gallery", "made chips").page
    with sync_api.sync_playwright() as driver:
        engine = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = engine.new_page(viewport={"width": 1600, "height": 1000})
        tab.goto(page.as_uri())
        yield tab
        engine.close()


def _cards(tab: Any) -> Any:
    return tab.locator("article.chip")


def _said(tab: Any) -> list[str]:
    """What was given on this page, as its cards show it, in their order."""
    return [text.removeprefix("here: ") for text in tab.locator("article .here").all_inner_texts()]


def _given(tab: Any) -> int:
    return int(tab.locator("#count").inner_text().rpartition("; ")[2].split(" ")[0])


def _shown(tab: Any) -> list[str]:
    """Ids of the chips in the grid, in order."""
    pictures = _cards(tab).locator("> img").evaluate_all("all => all.map(one => one.getAttribute('src'))")
    return [Path(source).stem for source in pictures]


def _sheet(tab: Any, path: Path, judged: pd.DataFrame) -> dict[str, tuple[Ruling, str, str]]:
    """The downloaded sheet as ``sarcurate verdicts add`` reads it, by chip."""
    with tab.expect_download() as download:
        tab.click("#download")
    assert download.value.suggested_filename == "verdicts-given.csv"
    download.value.save_as(path)
    known = dict(zip(judged["chip_id"], judged["pixels_sha256"], strict=True))
    ruled = ruled_of(read_sheet(path), known, CLASSES, "Ann")
    return {item.chip_id: (item.ruling, item.new_label, item.reason) for item in ruled}


@pytest.fixture
def judged(collection: Collection) -> pd.DataFrame:
    return collection.chips[collection.chips["judged"]].set_index("chip_id", drop=False)


def test_keys_give_verdicts_and_take_them_back(tab: Any, judged: pd.DataFrame, tmp_path: Path) -> None:
    assert tab.locator("#download").is_disabled()
    first, second, third = _shown(tab)[:3]
    _cards(tab).first.click()
    for key in ("d", "ArrowRight", "u", "ArrowRight", "k", "k", "ArrowLeft", "k"):
        tab.keyboard.press(key)
    assert (_said(tab), _given(tab)) == (["reject", "keep"], 2)
    found = _sheet(tab, tmp_path / "sheet.csv", judged)
    assert found == {first: (Ruling.REJECT, "", ""), second: (Ruling.KEEP, "", "")}
    assert third not in found


def test_a_new_label_and_a_reason_reach_the_sheet(tab: Any, judged: pd.DataFrame, tmp_path: Path) -> None:
    first, second = _shown(tab)[:2]
    (other,) = {*CLASSES} - {judged.loc[first, "label"]}
    _cards(tab).first.click()
    assert tab.locator("#detail input").is_disabled()  # a reason is one for a verdict
    tab.locator("#detail select").select_option(other)
    tab.locator("#detail input").fill('  two "noses", one wing ')
    _cards(tab).nth(1).get_by_role("button", name="reject").click()
    _cards(tab).nth(1).click()
    tab.locator("#detail input").fill("=HYPERLINK(1)")
    tab.locator("#detail input").press("Enter")
    assert _said(tab) == [f"relabel {other}", "reject"]
    assert _sheet(tab, tmp_path / "sheet.csv", judged) == {
        first: (Ruling.RELABEL, other, 'two "noses", one wing'),
        second: (Ruling.REJECT, "", "'=HYPERLINK(1)"),
    }


def test_verdicts_outlive_a_reload_and_are_discarded_on_demand_alone(tab: Any) -> None:
    _cards(tab).nth(2).get_by_role("button", name="unsure").click()
    asked = _shown(tab)[2]
    tab.reload()
    assert (_said(tab), _given(tab)) == (["unsure"], 1)
    tab.select_option("#given", "yes")
    assert _shown(tab) == [asked]
    tab.once("dialog", lambda dialog: dialog.dismiss())
    tab.click("#clear")
    assert _given(tab) == 1
    tab.once("dialog", lambda dialog: dialog.accept())
    tab.click("#clear")
    assert (_given(tab), _shown(tab)) == (0, [])
    tab.reload()
    assert _given(tab) == 0


def test_filters_and_order_are_those_of_the_scores(tab: Any, judged: pd.DataFrame) -> None:
    tab.select_option("#set", "physics")
    tab.select_option("#kept", "rejected")
    tab.select_option("#sort", "enl")
    tab.select_option("#order", "-1")
    asked = judged[(judged["set"] == "physics") & ~judged["kept"].astype(bool)]
    assert 0 < len(asked) < len(judged)
    enl = judged.loc[_shown(tab), "enl"]
    assert set(enl.index) == set(asked.index)
    assert list(enl) == sorted(asked["enl"], reverse=True)
    gate = next(iter(asked["failed"].iloc[0]))
    tab.select_option("#gate", gate)
    failing = {chip for chip, failed in asked["failed"].items() if gate in failed}
    assert set(_shown(tab)) == failing
    tab.fill("#id", asked.index[0][:6])
    assert _shown(tab) == [chip for chip in failing if chip.startswith(asked.index[0][:6])]
