"""Identity: hashes of pixels, recipes, code and sets, and the seeds that follow from them."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHIP_ID_LENGTH = 24  # 96 bits: a collision among 10^9 chips has a chance of about 10^-11


def canonical_json(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_text(text: str) -> str:
    """SHA-256 of UTF-8 text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def recipe_sha256(recipe: Mapping[str, Any]) -> str:
    """Hash of the recipe of a made chip: everything that decides its pixels, known before they exist."""
    return sha256_text(canonical_json(dict(recipe)))


def pixels_sha256(pixels: NDArray[np.generic]) -> str:
    """Hash of decoded pixels: shape, type and values (little endian, row order)."""
    array = np.ascontiguousarray(pixels)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


def real_chip_id(pixels_hash: str, source_path: str, window: tuple[int, int, int, int] | None) -> str:
    """Id of a real chip: its pixels, its source path relative to the source's root, and its window."""
    return sha256_text(canonical_json([pixels_hash, source_path, window]))[:CHIP_ID_LENGTH]


def made_chip_id(recipe_hash: str) -> str:
    """Id of a made chip: its recipe alone."""
    return recipe_hash[:CHIP_ID_LENGTH]


def seed_from(*parts: object) -> int:
    """A 63-bit seed from any parts, so that order, workers and resumes do not matter."""
    return int(sha256_text(canonical_json([str(part) for part in parts]))[:16], 16) >> 1


def merkle_root(leaves: Iterable[str]) -> str:
    """Root of a binary hash tree over the sorted leaves; independent of their order."""
    level = sorted(leaves)
    if not level:
        return sha256_text("empty")
    level = [sha256_text(f"leaf:{leaf}") for leaf in level]
    while len(level) > 1:
        pairs = [level[start : start + 2] for start in range(0, len(level), 2)]
        level = [sha256_text("node:" + "".join(pair)) for pair in pairs]
    return level[0]


def dataset_revision(revision_ids: Iterable[str]) -> str:
    """Revision of a whole data set from those of its ChipSets and its Selection, 16 digits."""
    return sha256_text(canonical_json(sorted(revision_ids)))[:16]


def plain(value: Any) -> Any:
    """A manifest value as plain JSON data: NaN and missing become null, arrays become lists."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)


def module_closure(module: str) -> list[Path]:
    """Source files of a package module and of all package modules that it imports, at any depth.

    Imports inside functions count too. Sorted; parent packages included, but for the root, which
    holds only the version.
    """
    package = module.split(".")[0]
    seen: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name == package:
            continue
        path = _module_path(name)
        if path is None:
            continue
        seen[name] = path
        waiting += [found for found in _imports(path) if found.split(".")[0] == package]
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return sorted(seen.values())


@cache
def _module_path(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


@cache
def _imports(path: Path) -> tuple[str, ...]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return tuple(sorted(names))


def code_sha256(*modules: str) -> str:
    """Hash of the meaning of modules and of what they import: comments and docstrings do not count."""
    return _sha256_of({path for module in modules for path in module_closure(module)})


def own_code_sha256(*modules: str) -> str:
    """As :func:`code_sha256`, without what the modules import."""
    return _sha256_of({path for module in modules if (path := _module_path(module)) is not None})


def _sha256_of(files: set[Path]) -> str:
    return sha256_text(canonical_json([_meaning(path) for path in sorted(files)]))


@cache
def _meaning(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            node.body = body[1:]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
