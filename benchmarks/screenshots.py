"""Screenshots of the App for docs/curation.md: `make screenshots`, after `make repro`; needs Debian's chromium.

Gives verdicts to show them, and takes them back: nothing is saved.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from sarcurate.io.verdict_log import PENDING

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs/figures"


def driver() -> ModuleType:
    """What drives the browser, of the tests."""
    spec = importlib.util.spec_from_file_location("app_driver", ROOT / "tests/app/driver.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Write docs/figures/app_*.png."""
    if (ROOT / PENDING).exists():
        raise SystemExit(f"verdicts wait in {PENDING}: save them first, this would mix with them")
    app = driver()
    FIGURES.mkdir(parents=True, exist_ok=True)
    with app.browsing(ROOT) as running:
        address = running.address()
        while "drawing" in running.said and not running.said.rstrip().endswith(_all_drawn(running.said)):
            app.time.sleep(0.2)
        with app.page() as page:
            page.open(address, "lowest-enl-per-class")
            page.select(0, 1, 2)
            page.open_panel("SAR curation")
            page.tab.wait_for_timeout(4000)
            page.tab.screenshot(path=FIGURES / "app_panel.png")
        with app.page() as page:
            page.open(address)
            page.start("SAR: prune by ENL")
            page.tab.locator("input[type=number]").first.fill("10")
            page.notice("chips will be rejected")
            page.settle()
            page.tab.screenshot(path=FIGURES / "app_prune.png")


def _all_drawn(said: str) -> str:
    total = said.rstrip().rpartition("/")[2]
    return f"{total}/{total}"


if __name__ == "__main__":
    main()
