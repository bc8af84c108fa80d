"""Secrets looked for in everything that leaves: text files, and texts of records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from sarcurate.errors import DataError
from sarcurate.io.hub.reading import read_batches, text_columns_of
from sarcurate.io.hub.release import files_below

MOST_SHOWN = 10
_KINDS = {
    "a Hugging Face token": r"\b(?:hf|api_org)_[A-Za-z0-9]{20,}",
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "an AWS secret key": r"(?i)aws_secret_access_key\W{1,4}[A-Za-z0-9/+]{20,}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "an API key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "a bearer token": r"(?i)\bbearer\s+[A-Za-z0-9._~+/-]{20,}",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "an address with a password": r"\b[a-z][a-z0-9+.-]*://[^\s/@:]+:[^\s/@]+@",
    "the path of a person's folder": r"(?i)(?:/home/|/users/|\b[a-z]:\\users\\)[^\s/\\]+[/\\]",
}
_ANY = re.compile("|".join(pattern.replace("(?i)", "") for pattern in _KINDS.values()), re.IGNORECASE)
_EXACT = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}


def secrets_in(text: str) -> list[str]:
    """Kinds of secrets in a text, none repeated; the secrets themselves are never told."""
    # One pass over most texts, which hold none; only then kind by kind, with upper and lower case told apart.
    if not _ANY.search(text):
        return []
    return [kind for kind, pattern in _EXACT.items() if pattern.search(text)]


def refuse_secrets(folder: Path) -> int:
    """Look through a release; the number of texts looked at.

    Raises:
        DataError: naming file, column and kind of what was found, never the secret.
    """
    found, n_texts = [], 0
    for name in files_below(folder):
        for where, text in _texts(folder / name, name):
            n_texts += 1
            found += [f"{where}: {kind}" for kind in secrets_in(text)]
    if found:
        kinds = list(dict.fromkeys(found))
        more = [f"and {len(kinds) - MOST_SHOWN} more"] if len(kinds) > MOST_SHOWN else []
        lines = [*kinds[:MOST_SHOWN], *more]
        raise DataError(
            "what was to be published holds secrets or private paths:\n  " + "\n  ".join(lines),
            fix="take them out of notes, prompts, paths and licences, rebuild with `dvc repro`; revoke them",
        )
    return n_texts


def _texts(path: Path, name: str) -> Iterator[tuple[str, str]]:
    if path.suffix != ".parquet":
        yield name, path.read_bytes().decode("utf-8", "replace")
        return
    for batch in read_batches(path, text_columns_of(path)):
        for column, values in zip(batch.schema.names, batch.columns, strict=True):
            flat = values if pa.types.is_string(values.type) else values.flatten()
            for text in filter(None, flat.unique().to_pylist()):
                yield f"{name}, column {column}", text
