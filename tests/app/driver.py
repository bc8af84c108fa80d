"""Drives the App in Debian's Chromium: what a person would click and press, by the App's own selectors."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SARCURATE = Path(sys.executable).parent / "sarcurate"
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WAIT_MS = 60_000
POLL_MS = 200
SETTLE_MS = 1200  # the App redraws its grid a moment after it has answered


def chromium() -> str | None:
    """Path of a Chromium, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def own_environment() -> dict[str, str]:
    """The environment without FiftyOne's settings, so that a database of its own is started."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE")}


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Browse:
    """A running ``sarcurate browse``, its output and its end."""

    def __init__(self, workspace: Path, *options: str) -> None:
        self._log = workspace / "browse.log"
        with self._log.open("w") as out:
            self.process = subprocess.Popen(
                [SARCURATE, "browse", "--port", "0", "--reviewer", "tester", *options],
                cwd=workspace,
                env=own_environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
                # Ctrl+C has to reach it also where the tests run in the background, which ignores it.
                preexec_fn=_heed_interrupts,
            )

    @property
    def said(self) -> str:
        """Everything that it printed so far."""
        return self._log.read_text()

    def address(self) -> str:
        """Where the App is, once it is ready."""
        while True:
            found = re.search(r"ready: (\S+)", self.said)
            if found:
                return found[1]
            assert self.process.poll() is None, self.said
            time.sleep(0.05)

    def end(self) -> None:
        """End it as Ctrl+C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait(60)


@contextmanager
def browsing(workspace: Path, *options: str) -> Iterator[Browse]:
    """``sarcurate browse`` in a workspace, ended with the block."""
    running = Browse(workspace, *options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end()


class Page:
    """The App in a tab."""

    def __init__(self, tab: Any) -> None:
        self.tab = tab

    def open(self, address: str, view: str = "") -> None:
        """Open the App, a saved view of it where one is named, and wait for its chips."""
        self.tab.goto(address + (f"?view={view}" if view else ""))
        self.tab.wait_for_selector('[data-cy="looker"]', timeout=WAIT_MS)
        self.settle()
        dismiss = self.tab.get_by_text("Dismiss", exact=True)
        if dismiss.count():  # a pop-up of the App's maker in every fresh profile
            dismiss.click()

    def settle(self) -> None:
        """Let the App redraw."""
        self.tab.wait_for_timeout(SETTLE_MS)

    def wait(self, found: Callable[[], object], expected: object) -> None:
        """Wait for a value; the App shows what was done only after its server has answered."""
        for _ in range(WAIT_MS // POLL_MS):
            if found() == expected:
                return
            self.tab.wait_for_timeout(POLL_MS)
        assert found() == expected

    def count(self) -> int:
        """Chips in the view, -1 while the App is counting."""
        found = re.match(r"[\d,]+", self.tab.locator('[data-cy="entry-counts"]').inner_text())
        return int(found[0].replace(",", "")) if found else -1

    def selected(self) -> int:
        """Ticked tiles."""
        sign = self.tab.locator('[data-cy="action-manage-selected"]')
        return int(sign.inner_text()) if sign.count() else 0

    def filter(self, field: str, low: float | None, high: float | None) -> None:
        """Set the sidebar's limits of a number."""
        self.tab.click(f'[data-cy="sidebar-field-arrow-enabled-{field}"]')
        box = self.tab.locator(f'[data-cy="numeric-slider-container-{field}"]')
        for place, value in (("min", low), ("max", high)):
            if value is not None:
                cell = box.get_by_placeholder(place)
                cell.fill(str(value))
                cell.press("Enter")
                self.settle()

    def select(self, *places: int) -> None:
        """Tick tiles by their place in the grid."""
        for place in places:
            ticked = self.selected()
            box = self.tab.locator('[data-cy="looker"]').nth(place).bounding_box()
            self.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            self.tab.wait_for_timeout(250)
            self.tab.mouse.click(box["x"] + 17, box["y"] + 17)
            self.wait(self.selected, ticked + 1)

    def start(self, label: str) -> None:
        """Open an operator's form from the operator browser."""
        self.tab.keyboard.press("`")
        search = self.tab.locator(
            '[data-cy="operators-browser-search"] input, input[data-cy="operators-browser-search"]'
        ).first
        search.fill(label)
        self.tab.get_by_text(label).first.click()
        self.settle()

    def execute(self) -> None:
        """Press a form's button."""
        self.tab.get_by_role("button", name="Execute").click()
        self.settle()

    def close_result(self) -> None:
        """Close what an operator answers."""
        close = self.tab.get_by_role("button", name="Close")
        if close.count():
            close.first.click()
            self.settle()

    def open_chip(self, place: int = 0) -> None:
        """Open a chip large."""
        self.tab.locator('[data-cy="looker"]').nth(place).click()
        self.tab.wait_for_selector('[data-cy="modal"] canvas', timeout=WAIT_MS)
        self.settle()

    def open_panel(self, name: str) -> None:
        """Open a panel beside the grid."""
        self.tab.click('[data-cy="new-panel-btn"]')
        self.tab.locator(f'[data-cy^="new-panel-option-"]:has-text("{name}")').click()
        tab = name.lower().rpartition(" ")[2]
        self.tab.wait_for_selector(f'[data-cy="panel-tab-{tab}"]', timeout=WAIT_MS)
        self.settle()

    def press(self, key: str) -> None:
        """Press a key on the page."""
        self.tab.keyboard.press(key)

    def notice(self, text: str) -> None:
        """Wait for a notice that holds a text."""
        self.tab.get_by_text(text).first.wait_for(timeout=WAIT_MS)

    def shown_chip(self) -> str:
        """Id of the chip that is open."""
        return str(self.tab.locator('[data-cy="modal"] [data-cy="sidebar-entry-chip_id"]').inner_text())


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        engine = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield engine
        finally:
            engine.close()


@contextmanager
def page() -> Iterator[Page]:
    """One tab of a fresh Chromium."""
    with browser() as engine:
        yield Page(engine.new_page(viewport={"width": 1600, "height": 1000}))
