"""Text of strangers in Markdown and in YAML front matter: shown, never obeyed."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "$": "&#36;", "~": "&#126;"}
_MARKS = "\\`*_[]|!#{}"
_LINKS = (("://", ":&#47;&#47;"), ("www.", "www&#46;"))
_MOST = 300


class Plain(str):
    """Text of our own, which goes into a page as it is."""

    __slots__ = ()


def escaped(value: object) -> str:
    """A value as Markdown text that stands for itself: one line, no markup, no HTML, no link.

    Our own :class:`Plain` text and numbers pass unchanged.
    """
    if isinstance(value, (Plain, int, float)) and not isinstance(value, bool):
        return str(value)
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\s]+", " ", str(value)).strip()
    text = text if len(text) <= _MOST else text[: _MOST - 1] + "…"
    text = "".join(_ENTITIES.get(sign, "\\" + sign if sign in _MARKS else sign) for sign in text)
    for found, shown in _LINKS:
        text = re.sub(re.escape(found), shown, text, flags=re.IGNORECASE)
    return text


def front_matter(data: dict[str, Any]) -> Plain:
    """A mapping as YAML; texts are quoted where YAML would read them as something else."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 4096
    text = StringIO()
    yaml.dump(data, text)
    return Plain(text.getvalue())
