"""Screenshots of the App for docs/curation.md: `make screenshots`, after `make repro`; needs chromium.

No verdict is given.
"""

import time

from browse import ROOT, driver

FIGURES = ROOT / "docs/figures"


def main() -> None:
    """Write docs/figures/app_*.png."""
    app = driver()
    FIGURES.mkdir(parents=True, exist_ok=True)
    with app.browsing(ROOT) as running:
        address = running.address()
        while not _all_drawn(running.said):
            time.sleep(0.2)
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
    (ROOT / "browse.log").unlink()


def _all_drawn(said: str) -> bool:
    done, _, total = said.rstrip().rpartition("\n")[2].rpartition(" ")[2].partition("/")
    return done == total != ""


if __name__ == "__main__":
    main()
