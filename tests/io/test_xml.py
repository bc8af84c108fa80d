from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.errors import DataError
from sarcurate.io import xml

GOOD = b"""<?xml version="1.0" encoding="UTF-8"?>
<product><info><name> SM </name><empty/><gain>1.5e-5</gain><looks>3</looks></info>
<item k="1"/><item/></product>
"""


def test_reads_file_and_bytes_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(GOOD)
    for root in (xml.parse_xml(path, "a.xml"), xml.parse_xml(GOOD, "a.xml")):
        assert xml.required_text(root, "info/name", "a.xml") == "SM"
        assert xml.required_float(root, "info/gain", "a.xml") == 1.5e-5
        assert xml.required_int(root, "info/looks", "a.xml") == 3
        assert len(xml.find_all(root, "item")) == 2
        assert xml.required(root, "item", "a.xml").get("k") == "1"


def test_paths_hold_in_any_namespace() -> None:
    root = xml.parse_xml(b'<a xmlns="urn:x"><b><c>7</c></b></a>', "x")
    assert xml.required_int(root, "b/c", "x") == 7


def test_missing_and_empty_elements() -> None:
    root = xml.parse_xml(GOOD, "p.xml")
    assert xml.optional_text(root, "info/empty") is None
    assert xml.optional_float(root, "info/none", "p.xml") is None
    assert xml.optional_int(root, "info/none", "p.xml") is None
    for read in (xml.required_text, xml.required_float, xml.required_int):
        with pytest.raises(DataError, match=r"p\.xml: element info/empty is missing or empty below product"):
            read(root, "info/empty", "p.xml")
    with pytest.raises(DataError, match="element info/none is missing"):
        xml.required(root, "info/none", "p.xml")


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-Infinity", "1e999", "1_000", "٣", "0x10", "", "1,5", "9" * 65]
)
def test_odd_numbers_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"f: element x is .*expected a finite number"):
        xml.to_float(text, "f: element x")


@pytest.mark.parametrize("text", ["1.0", "1e3", "nan", "1_0", "", "9" * 19])
def test_odd_whole_numbers_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="expected a whole number"):
        xml.to_int(text, "f")


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**18) + 1, 10**18 - 1))
def test_numbers_round_trip(real: float, whole: int) -> None:
    assert xml.to_float(repr(real), "x") == real
    assert xml.to_int(str(whole), "x") == whole


REFUSED = {
    "dtd": (b"<!DOCTYPE a><a/>", "declares a DTD, an entity or an external reference"),
    "entities": (b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>', "declares a DTD"),
    "external": (b'<!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>', "declares a DTD"),
    "undefined entity": (b"<a>&b;</a>", "not well-formed XML: undefined entity"),
    "empty": (b"", "not well-formed XML: no element found"),
    "truncated": (GOOD[:120], "not well-formed XML"),
    "encoding": (b"<?xml version='1.0' encoding='utf-7'?><a/>", "not well-formed XML"),
    "unknown encoding": (b"<?xml version='1.0' encoding='foo'?><a/>", "not well-formed XML"),
    "deep": (b"<a>" * 70 + b"</a>" * 70, "nested deeper than 64"),
    "unclosed deep": (b"<a>" * 1_000_000, "nested deeper than 64"),
    "long tag": (b'<a b="' + b"x" * (2 << 20) + b'"/>', "one tag or comment of more than 1048576 bytes"),
    "long comment": (
        b"<!--" + b"x" * (2 << 20) + b"--><a/>",
        "one tag or comment of more than 1048576 bytes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_documents_are_refused(name: str) -> None:
    data, message = REFUSED[name]
    with pytest.raises(DataError, match=message):
        xml.parse_xml(data, "hostile.xml")


def test_deepest_allowed_document_is_read() -> None:
    xml.parse_xml(b"<a>" * xml.MAX_DEPTH + b"</a>" * xml.MAX_DEPTH, "x")


def test_elements_and_attributes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "MAX_NODES", 10)
    xml.parse_xml(b"<a>" + b"<b/>" * 9 + b"</a>", "x")
    for data in (b"<a>" + b"<b/>" * 10 + b"</a>", b"<a>" + b'<b c="" d=""/>' * 4 + b"</a>"):
        with pytest.raises(DataError, match="more than 10 elements and attributes"):
            xml.parse_xml(data, "x")


def test_bombs_are_refused_before_they_are_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    fed = 0
    feed = xml.DefusedXMLParser.feed

    def counting(self: object, data: bytes) -> None:
        nonlocal fed
        fed += len(data)
        feed(self, data)

    monkeypatch.setattr(xml.DefusedXMLParser, "feed", counting)
    with pytest.raises(DataError, match="nested deeper"):
        xml.parse_xml(b"<a>" * 5_000_000, "x")
    assert fed < 1 << 20


def test_size_cap_of_files_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "big.xml"
    path.write_bytes(GOOD)
    with pytest.raises(DataError, match="more than 50 bytes"):
        xml.parse_xml(path, "big.xml", max_bytes=50)
    with pytest.raises(DataError, match="more than 50 bytes"):
        xml.parse_xml(GOOD, "big.xml", max_bytes=50)


def test_missing_file_folder_and_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("none.xml", ".", "pipe"):
        with pytest.raises(DataError, match="there is no such file"):
            xml.parse_xml(tmp_path / name, name)


@given(st.data())
def test_mutated_documents_give_an_element_or_a_data_error(data: st.DataObject) -> None:
    mutated = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        root = xml.parse_xml(bytes(mutated), "x")
    except DataError:
        return
    assert isinstance(root.tag, str)
