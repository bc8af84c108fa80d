"""A trace from a workspace's files, as text for people and as JSON."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sarcurate.errors import DataError
from sarcurate.io.added_sets import MATCHED, MIGRATED, ORACLE, content, drawn
from sarcurate.io.manifest import MANIFEST
from sarcurate.io.revisions.revision_files import DvcCache
from sarcurate.io.terminal_text import printable
from sarcurate.io.tracing.adapter_facts import read_adapter
from sarcurate.io.tracing.ancestry import Ancestry, Node
from sarcurate.io.tracing.chip_index import FOLDER, NAMED, ChipIndex, find_chip, find_start, read_index
from sarcurate.io.tracing.descent import Descendant, Descent, Usage, descent
from sarcurate.io.tracing.stage_records import StageBook, StageRecord, read_stage_book

SELECTION = "data/selection.parquet"
LEFT_OVER = "data/chips/target"  # of a chip that no set after the split holds
SHOWN = 20  # chips per set in a terminal
_LEARNT_OF = (
    "every generated chip depends on all source train chips that its adapter learnt from, and on each alike: "
    "no generated chip can be made without the training set as it was"
)
_AS_A_WHOLE = (
    "besides, limits, floors and the fits of translation and migration are statistics of whole train sets, "
    "so every made chip depends on them a little"
)
_TESTED = "test chips: every arm is scored on those of the target, and nothing is made of them"
_TODAY = "there is no dvc.lock record of {}: params and code are those of params.yaml as it reads today"


@dataclass(frozen=True)
class Up:
    """Where a chip comes from."""

    tree: Node
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Down:
    """What came of what was asked for."""

    asked: str
    found: Descent
    notes: tuple[str, ...]


def trace_up(root: Path, asked: str) -> Up:
    """The tree of parents of a chip; errors as :func:`find_chip`."""
    index = read_index(root)
    row = find_chip(index, asked)
    book = read_stage_book(root)
    tree = Ancestry(index, book, read_adapter(root)).tree(row)
    return Up(tree, tuple(_notes(root, tree, book)))


def trace_down(root: Path, asked: str) -> Down:
    """Everything made from a chip, scene or group; errors as :func:`find_start`."""
    index = read_index(root)
    meant, start = find_start(index, asked)
    found = descent(index, start, read_adapter(root), _usage(root, read_stage_book(root), index))
    notes = []
    if found.learnt or found.held_back:
        part = (
            f"{found.learnt} of these chips taught the adapter, {found.held_back} were held back to judge it"
        )
        notes.append(f"{part}; {_LEARNT_OF}")
    if found.training_unknown:
        notes.append(
            "generated chips are here, but which chips taught their adapter is not known: the adapter is "
            "missing, or was trained on another revision of the source train set"
        )
    if any(chip.folder.startswith("data/real/") and chip.folder.endswith("-train") for chip in found.start):
        notes.append(_AS_A_WHOLE)
    if any(chip.folder.startswith("data/real/") and chip.folder.endswith("-test") for chip in found.start):
        notes.append(_TESTED)
    return Down(meant, found, tuple(notes))


def _notes(root: Path, tree: Node, book: StageBook) -> Iterator[str]:
    if any(node.role == "adapter" for node in tree.nodes()):
        yield _LEARNT_OF
    records = _stages(tree)
    unrecorded = [name for name, record in records.items() if not record.recorded]
    if unrecorded:
        yield _TODAY.format(", ".join(unrecorded))
    other = sorted(folder for folder in _folders(tree) if _is_other(root, book, folder))
    if other:
        yield (
            f"{', '.join(other)} on disk is not what dvc.lock records, so code and params may not be those "
            "of its chips: `dvc checkout` restores what was recorded, `dvc repro` makes it anew"
        )
    changed = [
        name
        for name, record in records.items()
        if record.recorded and name in record.params and record.params[name] != book.params.get(name)
    ]
    if changed:
        yield (
            f"params.yaml has changed since: {', '.join(changed)} ran with what is shown here, and would run "
            "with something else today"
        )


def _folders(tree: Node) -> set[str]:
    return {node.folder for node in tree.nodes() if node.folder}


def _is_other(root: Path, book: StageBook, folder: str) -> bool:
    """Whether a set's manifest on disk is another one than was recorded; False where that cannot be told.

    It can where the listing of the recorded folder is in DVC's cache at its usual place.
    """
    record = book.writer_of(folder)
    cache = DvcCache(root / ".dvc" / "cache" / "files" / "md5")
    listing = cache.listing(record.md5s.get(folder, "")) if record else None
    if listing is None or MANIFEST not in listing:
        return False
    with (root / folder / MANIFEST).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() != listing[MANIFEST]


def _stages(tree: Node) -> dict[str, StageRecord]:
    return {record.stage: record for node in tree.nodes() for record in node.made_by}


def _usage(root: Path, book: StageBook, index: ChipIndex) -> Usage:
    evaluate = book.section("evaluate")
    arms = {str(arm["name"]): list(arm["add"]) for arm in evaluate.get("arms") or []}
    added = {name for names in arms.values() for name in names}
    oracle: set[str] = set()
    if ORACLE in added:
        rows = index.rows(index.is_any(FOLDER, [LEFT_OVER]))
        oracle = drawn({row["chip_id"]: row["label"] for row in rows}, evaluate.get("oracle_per_class"))
    contents: set[str] = set()
    if any(name.endswith(MATCHED) for name in added):
        contents = {content(row) for row in index.rows(index.is_any(FOLDER, [f"data/{MIGRATED}"]))}
    return Usage(_fates(root / SELECTION), arms, oracle, contents)


def _fates(path: Path) -> dict[str, bool]:
    if not path.is_file():
        return {}
    try:
        table = pq.read_table(path, columns=["chip_id", "kept"])
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise DataError(
            f"cannot read the selection {path}: {error}", fix="rebuild it with `dvc repro`"
        ) from error
    return dict(zip(table["chip_id"].to_pylist(), table["kept"].to_pylist(), strict=True))


def up_json(up: Up) -> str:
    """The tree as JSON: every node's facts, and the record of every stage once."""
    stages = {
        name: {
            "code": record.code,
            "params": record.params,
            "dataset": record.dataset,
            "md5s": record.md5s,
            "recorded": record.recorded,
        }
        for name, record in _stages(up.tree).items()
    }
    return _json({"tree": _plain(up.tree), "stages": stages, "notes": up.notes})


def _plain(node: Node) -> dict[str, Any]:
    return {
        "role": node.role,
        "name": node.name,
        "facts": dict(node.facts),
        "made_by": [record.stage for record in node.made_by],
        "sources": [_plain(source) for source in node.sources],
    }


def down_json(down: Down) -> str:
    """Everything made, as JSON."""
    return _json({"asked": down.asked, **asdict(down.found), "notes": down.notes})


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"


def up_lines(up: Up) -> list[str]:
    """The tree drawn, then the stages with their code and params, then what to know."""
    lines = [*_drawn(up.tree, "", ""), ""]
    for name, record in _stages(up.tree).items():
        lines.append(f"stage {name}: code {record.code}" + ("" if record.recorded else " (of params.yaml)"))
        lines += [f"  {path}: {_short(value)}" for path, value in _flat(record.params)]
    return lines + [f"note: {note}" for note in up.notes]


def _drawn(node: Node, first: str, rest: str) -> Iterator[str]:
    made_by = ", after ".join(record.stage for record in node.made_by)
    yield f"{first}{node.role} {node.name}" + (f", by {made_by}" if made_by else "")
    bar = rest + ("│   " if node.sources else "    ")
    for name, value in node.facts.items():
        yield f"{bar}{name}: {_short(value)}"
    for place, source in enumerate(node.sources, start=1):
        last = place == len(node.sources)
        yield from _drawn(source, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


def _short(value: Any) -> str:
    """A value on one line; of long lists the first items and how many more there are."""
    if isinstance(value, list | tuple) and len(value) > NAMED and all(isinstance(one, str) for one in value):
        return f"{', '.join(value[:NAMED])} and {len(value) - NAMED} more (--json has all)"
    if isinstance(value, list | tuple) and value and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return printable(text)


def _flat(params: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def down_lines(down: Down) -> list[str]:
    """Counts per set and relation with the first chips of each, then what to know."""
    found = down.found
    lines = [f"{down.asked}: {len(found.start)} chips, {len(found.made)} made of them"]
    lines += [f"  {_chip_line(chip)}" for chip in found.start[:SHOWN]]
    lines += _more(len(found.start))
    groups: dict[tuple[str, str], list[Descendant]] = {}
    for chip in found.made:
        groups.setdefault((chip.folder, chip.relation), []).append(chip)
    for (folder, relation), chips in groups.items():
        lines += _group_lines(folder, relation, chips)
    return lines + [f"note: {note}" for note in down.notes]


def _group_lines(folder: str, relation: str, chips: Sequence[Descendant]) -> list[str]:
    kept = Counter(chip.kept for chip in chips)
    chosen = f", {kept[True]} kept, {kept[False]} rejected" if kept[True] + kept[False] else ""
    arms = ", ".join(sorted({arm for chip in chips for arm in chip.arms})) or "no arm"
    head = f"{folder}, by {relation}: {len(chips)} chips{chosen}; trained on by {printable(arms)}"
    return [head, *(f"  {_chip_line(chip)}" for chip in chips[:SHOWN]), *_more(len(chips))]


def _chip_line(chip: Descendant) -> str:
    fate = {True: " kept", False: " rejected", None: ""}[chip.kept]
    through = f" of {', '.join(chip.through[:3])}" if chip.through else ""
    arms = f"; arms: {', '.join(chip.arms)}" if chip.arms else ""
    place = f" in {chip.folder}" if not chip.relation else ""
    return printable(f"{chip.chip_id} {chip.label}{place}{through}{fate}{arms}")


def _more(count: int) -> list[str]:
    return [f"  and {count - SHOWN} more (--json has all)"] if count > SHOWN else []
