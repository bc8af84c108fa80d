"""The collection as a FiftyOne dataset: made once, then brought up to date chip by chip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sarcurate.app import fields
from sarcurate.execution import in_batches, progress
from sarcurate.io.collection import Collection
from sarcurate.io.renderings import Picture
from sarcurate.io.verdict_log import Ruled

if TYPE_CHECKING:
    import fiftyone as fo

AT_ONCE = 2000
REVISION = "collection_revision"
_PRINTS = (fields.FACTS_PRINT, fields.JUDGED_PRINT)
_BEFORE = "_before"


@dataclass(frozen=True)
class Synced:
    """What a sync did, in chips."""

    added: int
    redone: int
    rejudged: int
    removed: int
    total: int

    def line(self) -> str:
        """One line for people."""
        return (
            f"{self.total} chips: {self.added} new, {self.redone} with other facts, "
            f"{self.rejudged} judged otherwise, {self.removed} gone"
        )


def dataset_name(workspace: Path, name: str) -> str:
    """Name in the database: one per workspace, as several may share a server."""
    place = hashlib.sha256(str(workspace.resolve()).encode()).hexdigest()[:6]
    return f"sarcurate-{name}-{place}"


def open_dataset(name: str, measures: tuple[str, ...]) -> fo.Dataset:
    """The dataset of that name with all its fields; made where it is not there."""
    import fiftyone as fo

    is_there = fo.dataset_exists(name)
    dataset = fo.load_dataset(name) if is_there else fo.Dataset(name, persistent=True)
    known = set(dataset.get_field_schema())
    for field, kind, words in _schema(measures):
        if field not in known:
            dataset.add_sample_field(field, kind, description=words, **_subtype(kind))
    _configure(dataset, measures)
    return dataset


def is_current(dataset: fo.Dataset, revision: str) -> bool:
    """Whether the dataset was synced with these very files, and holds as many chips as then."""
    told = dataset.info.get(REVISION)
    return bool(told == [revision, dataset.count()])


def sync(dataset: fo.Dataset, collection: Collection, pictures: Sequence[Picture]) -> Synced:
    """Bring the dataset up to the collection, by chip_id; tags that were set in the App stay.

    Chips whose facts changed are made anew; of chips whose judgement alone changed, only that is written.
    """
    rows, there = _documents(collection, pictures), _there(dataset)
    rows = rows.merge(there, on=fields.CHIP_ID, how="left", suffixes=("", _BEFORE))
    is_new = rows["id"].isna()
    is_redone = ~is_new & (rows[fields.FACTS_PRINT] != rows[fields.FACTS_PRINT + _BEFORE])
    was_judged_otherwise = rows[fields.JUDGED_PRINT] != rows[fields.JUDGED_PRINT + _BEFORE]
    is_rejudged = ~is_new & ~is_redone & was_judged_otherwise
    gone = there.loc[~there[fields.CHIP_ID].isin(rows[fields.CHIP_ID]), "id"]
    _judge_anew(dataset, rows[is_rejudged])
    tags = _tags(dataset, list(rows["id"][is_redone]))
    dataset.delete_samples([*gone, *rows["id"][is_redone]])
    _add(dataset, rows[is_new | is_redone].drop(columns=["id", *_befores()]), tags)
    dataset.info[REVISION] = [collection.revision, dataset.count()]
    dataset.save()
    new, redone, rejudged = (int(flags.sum()) for flags in (is_new, is_redone, is_rejudged))
    return Synced(new, redone, rejudged, len(gone), len(rows))


def show_pending(dataset: fo.Dataset, waiting: Sequence[Ruled]) -> None:
    """Write what waits in the journal beside its chips, and nothing beside all others."""
    words: dict[str, str | None] = {item.chip_id: pending_words(item) for item in waiting}
    shown = dataset.exists(fields.PENDING)
    words |= {chip: None for chip in shown.values(fields.CHIP_ID) if chip not in words}
    if words:
        there = dataset.match({fields.CHIP_ID: {"$in": list(words)}})
        known = set(there.values(fields.CHIP_ID))
        dataset.set_values(
            fields.PENDING,
            {chip: word for chip, word in words.items() if chip in known},
            key_field=fields.CHIP_ID,
        )


def pending_words(item: Ruled) -> str:
    """A verdict that waits, as the sidebar shows it."""
    return f"{item.ruling.value} {item.new_label}".rstrip()


def _schema(measures: tuple[str, ...]) -> Iterator[tuple[str, Any, str]]:
    import fiftyone as fo

    lists = ("failed", "sentences")
    for name, words in (fields.IDENTITY | fields.JUDGEMENT).items():
        kind = fo.ListField if name in lists else fo.StringField
        kind = fo.BooleanField if name in ("kept", "judged") else kind
        yield name, fo.FloatField if name == "gate_margin" else kind, words
    for name, words in fields.RANKS.items():
        yield name, fo.FloatField, words
    for name in measures:
        yield name, fo.FloatField, fields.description(name)
    for name, words in fields.MEDIA.items():
        if name != "filepath":
            yield name, fo.StringField, words
    yield fields.PENDING, fo.StringField, "verdict that waits to be saved"
    for name in (fields.FACTS_PRINT, fields.JUDGED_PRINT):
        yield name, fo.StringField, "hash by which a sync finds what changed"


def _subtype(kind: Any) -> dict[str, Any]:
    import fiftyone as fo

    return {"subfield": fo.StringField} if kind is fo.ListField else {}


def _configure(dataset: fo.Dataset, measures: tuple[str, ...]) -> None:
    """Pictures to switch between, and the sidebar."""
    import fiftyone as fo

    config = dataset.app_config
    config.media_fields = list(fields.MEDIA)
    config.grid_media_field = config.modal_media_field = "filepath"
    config.sidebar_groups = [
        fo.SidebarGroupDocument(name=group.name, paths=list(group.fields), expanded=group.expanded)
        for group in fields.sidebar(measures)
    ]
    for name in ("set", "label", "kept", "verdict", "enl", "log_psd_distance"):
        dataset.create_index(name)
    dataset.save()


def _documents(collection: Collection, pictures: Sequence[Picture]) -> pd.DataFrame:
    """One row per chip with every field of the dataset, and its two hashes."""
    chips = collection.chips
    preview = dict(zip(chips[fields.CHIP_ID], chips["preview"], strict=True))
    table = chips.assign(
        filepath=chips["preview"],
        family=chips["content"].where(chips["content"] != "", chips[fields.CHIP_ID]),
        content_view=[preview.get(chip, "") for chip in chips["content"]],
        style_view=[preview.get(chip, "") for chip in chips["style"]],
        **{kind: [str(one.paths[kind]) for one in pictures] for kind in pictures[0].paths},
    )
    judged = list(fields.JUDGEMENT)
    facts = [*fields.IDENTITY, *fields.RANKS, *fields.MEDIA, *collection.measures]
    made_first = table.sort_values(["judged", "set", fields.CHIP_ID], ascending=[False, True, True])
    table = made_first.reset_index(drop=True)
    return table[facts + judged].assign(
        **{fields.FACTS_PRINT: _hashes(table[facts]), fields.JUDGED_PRINT: _hashes(table[judged])}
    )


def _hashes(table: pd.DataFrame) -> list[str]:
    plain = table.copy(deep=False)
    for name in plain.select_dtypes(object):
        plain[name] = plain[name].map(str)
    numbers = pd.util.hash_pandas_object(plain, index=False)
    return [f"{number:016x}" for number in numbers]


def _there(dataset: fo.Dataset) -> pd.DataFrame:
    """What the dataset holds: sample ids, chip ids and hashes."""
    names = ["id", fields.CHIP_ID, *_PRINTS]
    columns = dataset.values(names)
    return pd.DataFrame(dict(zip(names, columns, strict=True)), columns=names, dtype=object)


def _befores() -> list[str]:
    return [name + _BEFORE for name in _PRINTS]


def _judge_anew(dataset: fo.Dataset, rows: pd.DataFrame) -> None:
    """Write the judgement alone."""
    if rows.empty:
        return
    records = {row["id"]: _plain(row) for row in rows.to_dict("records")}
    for name in (*fields.JUDGEMENT, fields.JUDGED_PRINT):
        dataset.set_values(name, {doc: row[name] for doc, row in records.items()}, key_field="id")


def _tags(dataset: fo.Dataset, ids: Sequence[str]) -> Mapping[str, list[str]]:
    if not ids:
        return {}
    view = dataset.select(ids)
    return dict(zip(*view.values([fields.CHIP_ID, "tags"]), strict=True))


def _add(dataset: fo.Dataset, rows: pd.DataFrame, tags: Mapping[str, list[str]]) -> None:
    import fiftyone as fo

    records = rows.to_dict("records")
    with progress("bringing chips into the App", len(records)) as advance:
        for part in in_batches(records, AT_ONCE):
            samples = [fo.Sample(tags=tags.get(row[fields.CHIP_ID], []), **_plain(row)) for row in part]
            dataset.add_samples(samples, expand_schema=False, validate=False, progress=False)
            advance(len(part))


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Values as the database takes them: lists for tuples, None for gaps and empty texts."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, tuple):
            found[name] = list(value)
        elif value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
            found[name] = None
        else:
            found[name] = value
    return found
