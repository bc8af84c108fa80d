"""Text of strangers on its way to a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text without signs that move a terminal's cursor or turn its writing."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
