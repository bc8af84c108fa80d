"""XML of products: parsed without DTD, entities or external references, within bounds, and read by path."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from sarcurate.errors import DataError
from sarcurate.io.safe import read_bounded

MAX_BYTES = 64 << 20
MAX_DEPTH = 64
MAX_NODES = 1_000_000  # elements and attributes together
MAX_TOKEN_BYTES = 1 << 20  # one tag or comment

_CHUNK_BYTES = 1 << 16
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_INT = re.compile(r"[+-]?\d{1,18}", re.ASCII)


def parse_xml(path_or_bytes: Path | bytes, name: str, max_bytes: int = MAX_BYTES) -> Element:
    """The root element of an XML document.

    Args:
        path_or_bytes: a file, or the document itself.
        name: what the messages call it; for a file usually ``str(path)``.
        max_bytes: largest document that is read.

    Raises:
        DataError: missing or too large; not well formed; a DTD, entity or external reference; nested deeper
            than ``MAX_DEPTH``; more than ``MAX_NODES`` elements and attributes; one tag of more than
            ``MAX_TOKEN_BYTES``.
    """
    data = _document(path_or_bytes, name, max_bytes)
    target = _BoundedTree(name)
    # In chunks: the bounds are checked while parsing, before a bomb has grown.
    parser = DefusedXMLParser(target=target, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        for start in range(0, len(data), _CHUNK_BYTES):
            parser.feed(data[start : start + _CHUNK_BYTES])
            pending = min(start + _CHUNK_BYTES, len(data)) - parser.parser.CurrentByteIndex
            if pending > MAX_TOKEN_BYTES:
                raise _bomb(name, f"one tag or comment of more than {MAX_TOKEN_BYTES} bytes")
        root: Element = parser.close()
    except DefusedXmlException as error:
        raise DataError(
            f"{name}: the XML declares a DTD, an entity or an external reference ({type(error).__name__}); "
            "product annotation has none",
            fix="check where the file is from; remove the declaration only if you trust it",
        ) from error
    except (ParseError, ValueError, LookupError) as error:  # the latter two: odd encodings
        raise DataError(
            f"{name}: is not well-formed XML: {error}", fix="copy or download the file again"
        ) from error
    return root


def find(element: Element, path: str) -> Element | None:
    """The first element at ``path`` below ``element``, any namespace: ``productInfo/missionInfo/mission``."""
    return element.find(_any_namespace(path))


def find_all(element: Element, path: str) -> list[Element]:
    """All elements at ``path`` below ``element``, any namespace, in document order."""
    return element.findall(_any_namespace(path))


def required(element: Element, path: str, name: str) -> Element:
    """As :func:`find`; DataError where there is none."""
    found = find(element, path)
    if found is None:
        raise _missing(element, path, name)
    return found


def optional_text(element: Element, path: str) -> str | None:
    """Stripped text of the first element at ``path``; None where it is missing or empty."""
    found = find(element, path)
    text = "" if found is None or found.text is None else found.text.strip()
    return text or None


def required_text(element: Element, path: str, name: str) -> str:
    """As :func:`optional_text`; DataError where it is missing or empty."""
    text = optional_text(element, path)
    if text is None:
        raise _missing(element, path, name)
    return text


def optional_float(element: Element, path: str, name: str) -> float | None:
    """A finite decimal number; None where the element is missing or empty, DataError where it is none."""
    text = optional_text(element, path)
    return None if text is None else to_float(text, f"{name}: element {path}")


def required_float(element: Element, path: str, name: str) -> float:
    """As :func:`optional_float`; DataError where the element is missing or empty."""
    return to_float(required_text(element, path, name), f"{name}: element {path}")


def optional_int(element: Element, path: str, name: str) -> int | None:
    """A whole number; None where the element is missing or empty, DataError where it is no whole number."""
    text = optional_text(element, path)
    return None if text is None else to_int(text, f"{name}: element {path}")


def required_int(element: Element, path: str, name: str) -> int:
    """As :func:`optional_int`; DataError where the element is missing or empty."""
    return to_int(required_text(element, path, name), f"{name}: element {path}")


def to_float(text: str, what: str) -> float:
    """A finite decimal number from text; ``what`` names it in the DataError."""
    # float() would also take nan, inf, 1_000 and other alphabets' digits.
    value = float(text) if len(text) <= 64 and _FLOAT.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{what} is {text[:40]!r}, expected a finite number",
            fix="get the product again, or correct the value from its source",
        )
    return value


def to_int(text: str, what: str) -> int:
    """A whole number from text; ``what`` names it in the DataError."""
    if not _INT.fullmatch(text):
        raise DataError(
            f"{what} is {text[:40]!r}, expected a whole number",
            fix="get the product again, or correct the value from its source",
        )
    return int(text)


class _BoundedTree:
    """Builds the tree and refuses one too deep or too large while it grows."""

    def __init__(self, name: str) -> None:
        self.name, self.depth, self.nodes, self.builder = name, 0, 0, TreeBuilder()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.nodes += 1 + len(attributes)
        if self.depth > MAX_DEPTH:
            raise _bomb(self.name, f"elements nested deeper than {MAX_DEPTH}")
        if self.nodes > MAX_NODES:
            raise _bomb(self.name, f"more than {MAX_NODES} elements and attributes")
        self.builder.start(tag, attributes)

    def end(self, tag: str) -> None:
        self.depth -= 1
        self.builder.end(tag)

    def data(self, text: str) -> None:
        self.builder.data(text)

    def close(self) -> Element:
        root: Element = self.builder.close()
        return root


def _document(path_or_bytes: Path | bytes, name: str, max_bytes: int) -> bytes:
    if isinstance(path_or_bytes, Path):
        if not path_or_bytes.is_file():  # a pipe would block for ever
            raise DataError(f"{name}: there is no such file", fix="check the path and the product's folder")
        return read_bounded(path_or_bytes, max_bytes)
    if len(path_or_bytes) > max_bytes:
        raise _bomb(name, f"more than {max_bytes} bytes")
    return path_or_bytes


def _any_namespace(path: str) -> str:
    return "/".join(f"{{*}}{step}" for step in path.split("/"))


def _missing(element: Element, path: str, name: str) -> DataError:
    own = element.tag.rpartition("}")[2]
    return DataError(
        f"{name}: element {path} is missing or empty below {own}",
        fix="check that this is the product's main annotation and that it is complete",
    )


def _bomb(name: str, found: str) -> DataError:
    return DataError(
        f"{name}: the XML has {found}; product annotation never has",
        fix="check where the file is from and that it is product annotation",
    )
