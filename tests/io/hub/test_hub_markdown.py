from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sarcurate.io.hub.markdown import Plain, escaped, front_matter

HOSTILE = [
    "<script>alert(1)</script>",
    "a | b",
    "line\nbreak\r\n# heading",
    "](http://evil.example) [x",
    "![x](http://evil.example/x.png)",
    "`code` **bold** _it_ ~~no~~ $x^2$",
    "www.evil.example and ann@evil.example",
    "&lt;b&gt; &#60;",
    "{{ 7*7 }} {% for %}",
    "\u202eright to left\u2028line",
    "---\nlicense: mit\n---",
    "=HYPERLINK('http://evil.example')",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_one_line_without_markup(text: str) -> None:
    shown = escaped(text)
    assert "\n" not in shown
    assert "<" not in shown
    assert ">" not in shown
    assert not re.search(r"(?<!\\)[\\]?(?<!\\)[|`*_\[\]](?<!\\.)", shown)
    assert "://" not in shown
    assert "www." not in shown
    assert "@" not in shown


@given(st.text())
def test_no_text_leaves_a_live_sign(text: str) -> None:
    shown = escaped(text)
    bare = re.sub(r"\\[\\`*_\[\]|!#{}]|&#?\w+;", "", shown)
    assert not set(bare) & set("<>&|`*_[]!@$~\\{}\n\r")
    assert len(shown) <= 300 * 7


def test_ordinary_text_and_numbers_stay_readable() -> None:
    assert escaped("B-52 (train), 3.5 m") == "B-52 (train), 3.5 m"
    assert escaped(3) == "3"
    assert escaped(0.25) == "0.25"
    assert escaped(Plain("**ours**")) == "**ours**"
    assert escaped("x" * 1000).endswith("…")


@pytest.mark.parametrize("text", [*HOSTILE, "no", "1e-4", "null", "a: b", "- x", "'", '"', "#x", "%TAG"])
def test_front_matter_gives_back_what_went_in(text: str) -> None:
    data: dict[str, Any] = {"pretty_name": text, "tags": [text, "sar"], "n": 3, "default": True}
    dumped = front_matter(data)
    assert YAML(typ="safe", pure=True).load(dumped) == data
    assert not re.search(r"^---|^\.\.\.", dumped, re.M)
