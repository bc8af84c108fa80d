"""The gallery: every made chip, nothing from elsewhere, hostile text stays text, verdicts are not lost."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sarcurate.errors import DataError
from sarcurate.io.collection import Collection
from sarcurate.io.gallery import Written, write_gallery
from sarcurate.io.verdict_log import Ruled, extended
from sarcurate.io.verdicts import Ruling, Verdicts

CLASSES = ("B-52", "F-16")
NOTHING = Verdicts(())
HOSTILE = "</script><img src=x onerror=alert(1)>"
OTHERS = ("<!--<script>", '" onmouseover="alert(2)', "=cmd|' /C calc'!A0", "{{ 7 * 7 }}", "\u2028é漢")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def hostile(collection: Collection) -> Collection:
    """Text of strangers wherever there can be any."""
    chips = collection.chips.copy()
    for column in ("label", "set"):
        chips[column] = chips[column] + HOSTILE
    for column, text in zip(("reason", "said", "prompt", "new_label"), OTHERS, strict=False):
        chips[column] = text
    chips["kept"] = False
    windows = {name + HOSTILE: window for name, window in collection.windows_db.items()}
    return replace(collection, chips=chips, windows_db=windows, classes=(*CLASSES, HOSTILE, *OTHERS))


class Page(HTMLParser):
    """Start tags with their attributes, and the text of every script element."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found

    def options(self, identity: str) -> list[str | None]:
        start = next(k for k, (_, attributes) in enumerate(self.tags) if attributes.get("id") == identity)
        found = []
        for tag, attributes in self.tags[start + 1 :]:
            if tag == "option":
                found.append(attributes["value"])
            elif tag != "optgroup":
                break
        return found


@pytest.fixture(scope="module")
def written(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_gallery(collection, NOTHING, tmp_path_factory.mktemp("gallery") / "g", "two: made chips")


@pytest.fixture(scope="module")
def page(written: Written) -> Page:
    return Page(written.page)


def _judged(collection: Collection) -> pd.DataFrame:
    return collection.chips[collection.chips["judged"]].reset_index(drop=True)


# --- what is shown


def test_every_made_chip_is_shown_with_its_facts(
    page: Page, collection: Collection, written: Written
) -> None:
    judged, facts = _judged(collection), page.facts()
    assert written.n_chips == len(judged)
    assert [chip["chip_id"] for chip in facts["chips"]] == list(judged["chip_id"])
    for chip, (_, row) in zip(facts["chips"], judged.iterrows(), strict=True):
        for name in (
            "set",
            "label",
            "reason",
            "verdict",
            "said",
            "pixels_sha256",
            "content",
            "style",
            "peer",
        ):
            assert chip[name] == row[name]
        assert chip["kept"] is bool(row["kept"])
        assert tuple(chip["failed"]) == row["failed"]
        assert tuple(chip["sentences"]) == row["sentences"]


def test_scores_are_those_of_the_collection(page: Page, collection: Collection) -> None:
    judged, facts = _judged(collection), page.facts()
    asked = {"enl", "log_psd_distance", "gate_margin", "ghost_z", "memorisation_ratio", "nearest_in_set"}
    assert asked <= set(page.options("sort"))
    assert set(page.options("sort")) == set(facts["values"])
    for name, values in facts["values"].items():
        for found, expected in zip(values, judged[name], strict=True):
            assert (found is None) == math.isnan(expected)
            assert found is None or found == pytest.approx(expected, rel=1e-4)
    missing = {name for name in collection.measures if judged[name].isna().all()}
    assert set(facts["values"]) == {*collection.measures, "gate_margin", "nearest_in_set"} - missing


def test_chips_can_be_filtered_by_what_they_are(page: Page, collection: Collection) -> None:
    assert page.options("set") == ["", *sorted(_judged(collection)["set"].unique())]
    assert page.options("class") == ["", *CLASSES]
    assert page.options("gate") == ["", "*", "-", *collection.ends]
    assert set(page.options("verdict")) >= set(_judged(collection)["verdict"])


def test_pictures_are_copies_of_previews_and_no_others(written: Written, collection: Collection) -> None:
    judged = _judged(collection)
    kin = {chip_id for column in ("content", "style", "peer") for chip_id in judged[column]} - {""}
    preview = dict(zip(collection.chips["chip_id"], collection.chips["preview"], strict=True))
    folder = written.page.parent / "chips"
    found = {path.stem: path for path in folder.rglob("*.png")}
    assert set(found) == set(judged["chip_id"]) | kin == set(Page(written.page).facts()["kin"])
    for chip_id, path in found.items():
        assert path.relative_to(folder).as_posix() == f"{chip_id[:2]}/{chip_id}.png"
        assert path.read_bytes() == Path(preview[chip_id]).read_bytes()


def test_the_sheet_has_every_made_chip(written: Written, collection: Collection) -> None:
    with written.sheet.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    judged = _judged(collection)
    for name in ("chip_id", "pixels_sha256", "set", "label"):
        assert [row[name] for row in rows] == list(judged[name])
    assert {row["verdict"] + row["new_label"] + row["reason"] for row in rows} == {""}
    assert [row["kept"] == "kept" for row in rows] == [bool(kept) for kept in judged["kept"]]


# --- nothing but itself


def test_the_page_runs_its_own_script_alone_and_loads_nothing(page: Page) -> None:
    policy = next(attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs)
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    assert not [tag for tag, attrs in page.tags if {"src", "href"} & set(attrs)]
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "innerHTML" not in page.text


def test_the_same_collection_gives_the_same_bytes(
    collection: Collection, written: Written, tmp_path: Path
) -> None:
    again = write_gallery(collection, NOTHING, tmp_path / "g", "two: made chips")
    assert again.page.read_bytes() == written.page.read_bytes()
    assert again.sheet.read_bytes() == written.sheet.read_bytes()


def test_hostile_text_stays_text(hostile: Collection, tmp_path: Path) -> None:
    found = write_gallery(hostile, NOTHING, tmp_path / "g", HOSTILE)
    page = Page(found.page)
    assert len(page.scripts) == page.text.count("</script") == 2
    assert "<!--" not in page.text
    assert "img" not in [tag for tag, _ in page.tags]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert page.options("class") == ["", *hostile.classes]
    for chip in page.facts()["chips"]:
        assert chip["label"].endswith(HOSTILE)
        assert (chip["reason"], chip["said"], chip["prompt"], chip["new_label"]) == OTHERS[:4]
    with found.sheet.open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs a Chromium")
def test_a_browser_shows_hostile_chips_and_obeys_none(hostile: Collection, tmp_path: Path) -> None:
    found = write_gallery(hostile, NOTHING, tmp_path / "g", "made chips")
    command = [str(BROWSER), "--headless", "--no-sandbox", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=5000", "--dump-dom", found.page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    shown = tmp_path / "shown.html"
    shown.write_text(done.stdout, encoding="utf-8")
    page = Page(shown)
    cards = [attrs for tag, attrs in page.tags if tag == "article"]
    assert len(cards) == len(_judged(hostile))
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) >= len(cards)
    assert all(re.fullmatch(r"chips/../[0-9a-f]+\.png", str(attrs["src"])) for attrs in pictures)
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


# --- the folder


def test_an_earlier_gallery_is_replaced(collection: Collection, tmp_path: Path) -> None:
    first = write_gallery(collection, NOTHING, tmp_path / "g", "first")
    left = tmp_path / "g" / "chips" / "00" / "00ff.png"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"of a chip that is gone")
    write_gallery(collection, NOTHING, tmp_path / "g", "second")
    assert "<title>second</title>" in first.page.read_text(encoding="utf-8")
    assert not left.exists()


def test_other_folders_are_left_alone(collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>mine</p>")
    with pytest.raises(DataError, match="holds something else than a gallery"):
        write_gallery(collection, NOTHING, tmp_path, "t")
    with pytest.raises(DataError, match="is a file, expected a folder"):
        write_gallery(collection, NOTHING, tmp_path / "index.html", "t")
    assert (tmp_path / "index.html").read_text() == "<p>mine</p>"


def test_verdicts_in_a_sheet_are_not_written_over_before_they_are_saved(
    collection: Collection, tmp_path: Path
) -> None:
    sheet = write_gallery(collection, NOTHING, tmp_path / "g", "t").sheet
    table = pd.read_csv(sheet, dtype=str, keep_default_na=False)
    table.loc[0, ["verdict", "reason"]] = ["reject", "two noses"]
    table.to_csv(sheet, index=False)
    before = sheet.read_bytes()
    with pytest.raises(
        DataError, match=r"holds 1 verdicts that are not in data/verdicts\.csv\nFix: .*verdicts add"
    ):
        write_gallery(collection, NOTHING, tmp_path / "g", "t")
    assert sheet.read_bytes() == before
    row = table.loc[0]
    said = Ruled(row["chip_id"], row["pixels_sha256"], Ruling.REJECT, "", "two noses", "Ann")
    write_gallery(collection, extended(NOTHING, [said]), tmp_path / "g", "t")
    assert sheet.read_bytes() != before


def _changed(collection: Collection, column: str, value: str) -> Collection:
    chips = collection.chips.copy()
    chips.loc[chips.index[chips["judged"]][0], column] = value
    return replace(collection, chips=chips)


def test_a_preview_that_is_missing_or_no_picture_is_named(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        write_gallery(
            _changed(collection, "preview", str(tmp_path / "nowhere.png")), NOTHING, tmp_path / "g", "t"
        )
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(DataError, match=r"secret is no PNG, it starts b'secret'\nFix: .*dvc checkout"):
        write_gallery(_changed(collection, "preview", str(tmp_path / "secret")), NOTHING, tmp_path / "h", "t")


def test_an_id_that_would_leave_the_folder_is_refused(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"chip id '\.\./\.\./x' is no hash"):
        write_gallery(_changed(collection, "chip_id", "../../x"), NOTHING, tmp_path / "g", "t")
    assert list(tmp_path.iterdir()) == []
