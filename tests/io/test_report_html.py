"""The page: hostile text stays text, nothing is loaded from elsewhere, figures line up on the right."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.errors import DataError
from sarcurate.io.figures import chip_grid
from sarcurate.io.report_html import Block, Figure, Paragraph, Section, Table, render

HOSTILE = """<script>alert(1)</script>"><img src=http://evil.example/x onerror="x">&amp;'{{ 7 * 7 }}"""
PNG = b"\x89PNG\r\n\x1a\n-body-"


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(*blocks: Block, title: str = "Report", revision: str = "r1", smoke: bool = False) -> str:
    sections = [Section("Results", blocks)]
    return render(title, sections, dataset_revision=revision, is_smoke_run=smoke)


def hostile_page(text: str) -> str:
    blocks = (
        Paragraph(text),
        Table([text, "n"], [[text, 3]], caption=text, figure_columns=[text]),
        Figure(PNG, caption=text, alt="picture " + text),
    )
    return render(text, [Section(text, blocks)], dataset_revision=text, is_smoke_run=True)


def test_script_in_a_class_name_ends_up_escaped() -> None:
    html = hostile_page(HOSTILE)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7 * 7 }}" in html
    assert Page(html).texts.count(HOSTILE) >= 5


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(codec="utf-8", categories=("L", "P", "S")), min_size=1, max_size=30))
def test_no_text_changes_the_tags_of_the_page(text: str) -> None:
    def skeleton(html: str) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in Page(html).tags]

    assert skeleton(hostile_page(text)) == skeleton(hostile_page("plain"))


def test_page_loads_nothing_from_elsewhere() -> None:
    parsed = Page(hostile_page(HOSTILE))
    for _, attributes in parsed.tags:
        assert "href" not in attributes
        assert "srcset" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("src") or "data:").startswith("data:")
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in parsed.tags}
    style = "".join(parsed.texts)
    assert "@import" not in style
    assert "url(" not in style


def test_content_security_policy_stands_before_any_style() -> None:
    parsed = Page(page())
    policies = [m for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert [p["content"] for p in policies] == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    ]
    names = [tag for tag, _ in parsed.tags]
    assert names.index("meta") < names.index("style")


def test_picture_is_inside_the_page_with_its_alternative_text() -> None:
    png = chip_grid([np.eye(4, dtype=np.uint8)], ["a"], 1)
    (image,) = Page(page(Figure(png, "Chips", 'one "chip"'))).all("img")
    assert image["alt"] == 'one "chip"'
    kind, data = str(image["src"]).split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data, validate=True) == png


def test_figures_line_up_on_the_right_and_text_on_the_left() -> None:
    table = Table(["arm", "k/n", "loss"], [["1st", "52/91", 0.123456], ["2nd", None, 2]], "Arms", ["k/n"])
    parsed = Page(page(table))
    assert [c.get("class") for c in parsed.all("td")] == [None, "figure", "figure"] * 2
    assert [c.get("class") for c in parsed.all("th")] == [None, "figure", "figure"]
    cells = [t for t in parsed.texts if t.strip()]
    assert cells[cells.index("1st") :][:6] == ["1st", "52/91", "0.1235", "2nd", "–", "2"]


def test_smoke_run_carries_a_banner_and_another_run_does_not() -> None:
    banner = {"class": "banner", "role": "note"}
    assert banner in Page(page(smoke=True)).all("p")
    assert "not evidence" in page(smoke=True)
    assert banner not in Page(page(smoke=False)).all("p")
    assert "not evidence" not in page(smoke=False)


def test_header_names_the_dataset_revision() -> None:
    html = page(revision="b3f1c2")
    assert "b3f1c2" in html.split("</header>")[0]


def test_empty_table_keeps_its_columns() -> None:
    assert len(Page(page(Table(["a", "b"], [], "Nothing"))).all("th")) == 2


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (Table(["a", "b"], [[1, 2], [1]], "T"), "row 1 of table 'T' has 1 cells, expected 2"),
        (Table(["a"], [[1]], "T", ["z"]), "no column \\['z'\\]"),
        (Figure(b"GIF89a", "F", "alt"), "is not PNG"),
        (Figure(PNG, "F", " "), "no alternative text"),
    ],
)
def test_broken_blocks_are_refused_naming_their_section(block: Block, message: str) -> None:
    with pytest.raises(DataError, match="'Results'.*" + message):
        page(block)
