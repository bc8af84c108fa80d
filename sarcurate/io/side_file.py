"""Side files of products, XML or JSON: values by their path."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from sarcurate.errors import DataError
from sarcurate.io.safe import read_bounded
from sarcurate.io.xml import find_all, parse_xml

_STEP = re.compile(r"(?P<name>[^\[\]@/*]+)(\[(?P<index>[1-9][0-9]{0,3})\])?")
_ATTRIBUTE = re.compile(r"[^\[\]@/*]+")
_MAX_JSON_BYTES = 16 << 20
_MAX_XML_BYTES = 64 << 20
_MAX_JSON_DEPTH = 64


@dataclass(frozen=True)
class ValuePath:
    """Where a value stands: names of elements or keys with one-based indices, and an attribute."""

    steps: tuple[tuple[str, int | None], ...]
    attribute: str | None


LookUp = Callable[[ValuePath], list[str]]


def parse_path(path: str) -> ValuePath | None:
    """``a/b[2]/c`` or ``a/b@c``, starting below the root element; None for any other spelling."""
    body, at, attribute = path.partition("@")
    found = [_STEP.fullmatch(step) for step in body.split("/")]
    if not all(found) or (at and not _ATTRIBUTE.fullmatch(attribute)):
        return None
    steps = tuple((step["name"], int(step["index"]) if step["index"] else None) for step in found if step)
    return ValuePath(steps, attribute if at else None)


def read_side_file(path: Path) -> LookUp:
    """How to find the texts at a path in a side file; XML namespaces do not count, a missing path gives none.

    JSON and XML are told apart by content: JSON starts with a brace or bracket.

    Raises:
        DataError: where the file is missing, too large, too deep or damaged.
    """
    data = read_bounded(path, _MAX_XML_BYTES)
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        content = _json(data, path)
        return lambda wanted: _in_json(content, wanted)
    root = parse_xml(data, str(path))
    return lambda wanted: _in_xml(root, wanted)


def _in_xml(root: Element, wanted: ValuePath) -> list[str]:
    here = [root]
    for name, index in wanted.steps:
        below = [found for element in here for found in find_all(element, name)]
        here = below if index is None else below[index - 1 : index]
    texts = [element.get(wanted.attribute) if wanted.attribute else element.text for element in here]
    return [found.strip() for found in texts if found and found.strip()]


def _json(data: bytes, path: Path) -> Any:
    depth = deepest = 0
    for sign in re.finditer(rb"[\[{\]}]", data):  # the parser recurses; brackets in texts count too
        depth += 1 if sign[0] in b"[{" else -1
        deepest = max(deepest, depth)
    try:
        if deepest > _MAX_JSON_DEPTH or len(data) > _MAX_JSON_BYTES:
            raise ValueError(
                f"{len(data)} bytes, {deepest} levels; at most {_MAX_JSON_BYTES}, {_MAX_JSON_DEPTH}"
            )
        return json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not readable JSON: {error}", fix="copy the file again") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return content


def _in_json(content: Any, wanted: ValuePath) -> list[str]:
    here: Any = content
    for name, index in (*wanted.steps, *([(wanted.attribute, None)] if wanted.attribute else [])):
        here = here.get(name) if isinstance(here, dict) else None
        if index is not None:
            here = here[index - 1] if isinstance(here, list) and len(here) >= index else None
    items = here if isinstance(here, list) else [here]
    plain = [item for item in items if isinstance(item, (str, int, float)) and not isinstance(item, bool)]
    return [str(item).strip() for item in plain if str(item).strip()]
