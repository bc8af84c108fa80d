"""The page of a gallery: chips as facts, and the script that lays them out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from sarcurate.io.collection import Collection
from sarcurate.io.gates import display_name
from sarcurate.io.verdict_sheet import COLUMNS, FORMULA_SIGNS
from sarcurate.io.verdicts import Ruling

MARK = '<meta name="generator" content="sarcurate gallery">'
KIN = ("content", "style", "peer")
FIRST_SORTS = (
    *("gate_margin", "enl", "log_psd_distance", "ghost_z", "memorisation_ratio", "nearest_in_set"),
    *("physics_distance", "content_retention", "class_probability"),
)
BESIDE_MEASURES = {  # numbers of a Collection that are no columns of the scores
    "gate_margin": "gate margin, in std of real chips",
    "nearest_in_set": "distance to the nearest of its set",
}
VERDICTS = (*("none", "keep", "reject", "relabel", "unsure"), "disputed", "stale")
DIGITS = 5  # of the numbers on the page


def page(collection: Collection, shown: pd.DataFrame, title: str) -> str:
    """HTML text of the page.

    Names, prompts and reasons may come from strangers: text is escaped, facts of chips travel as JSON in
    which no tag can begin, and the page's policy runs its own script alone and loads pictures from disk.

    Args:
        collection: where the chips are from.
        shown: rows of it: the judged chips, and those that they are shown beside.
        title: of the page.
    """
    script = _asset("gallery.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    judged = shown[shown["judged"]]
    sorts = _sorts(collection, judged)
    return environment.from_string(_asset("gallery.html.j2")).render(
        mark=Markup(MARK),
        script=Markup(script),
        script_sha256=digest,
        title=title,
        revision=collection.revision,
        n_chips=len(judged),
        n_kept=int(judged["kept"].astype(bool).sum()),
        sets=sorted(judged["set"].unique()),
        classes=collection.classes,
        gates=_in_words(collection.ends),
        verdicts=VERDICTS,
        sorts=sorts,
        facts=_facts(collection, shown, sorts),
    )


def picture_path(folder: str, chip_id: str) -> str:
    """Where a chip's picture lies, relative to the page; the script builds the same path."""
    return f"{folder}/{chip_id[:2]}/{chip_id}.png"


def _sorts(collection: Collection, judged: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Names of measures that a judged chip has a value of, those that matter first, by heading."""
    there = [name for name in (*BESIDE_MEASURES, *collection.measures) if judged[name].notna().any()]
    first = [name for name in FIRST_SORTS if name in there]
    return {
        "most asked for": _in_words(first),
        "all others": _in_words(sorted(set(there) - set(first))),
    }


def _in_words(measures: Iterable[str]) -> dict[str, str]:
    return {name: BESIDE_MEASURES.get(name) or display_name(name) for name in measures}


def _facts(collection: Collection, shown: pd.DataFrame, sorts: dict[str, dict[str, str]]) -> dict[str, Any]:
    """What the script knows, as plain data."""
    judged = shown[shown["judged"]]
    names = {name: words for group in sorts.values() for name, words in group.items()}
    gates = [
        {
            "measure": measure,
            "name": display_name(measure),
            "low": low and low.value,
            "high": high and high.value,
        }
        for measure, (low, high) in collection.ends.items()
    ]
    return {
        "revision": collection.revision,
        "classes": list(collection.classes),
        "rulings": [ruling.value for ruling in Ruling],
        "gates": gates,
        "names": names,
        "values": {name: _numbers(judged[name]) for name in names},
        "windows_db": {name: list(window) for name, window in collection.windows_db.items()},
        "kin": {row["chip_id"]: [row["set"], row["label"]] for row in shown.to_dict("records")},
        "chips": [_chip(row) for row in judged.to_dict("records")],
        "columns": list(COLUMNS),
        "formula_signs": FORMULA_SIGNS,
    }


def _chip(row: dict[Any, Any]) -> dict[str, Any]:
    texts = ("chip_id", "pixels_sha256", "set", "label", "new_label", "reason", "verdict", "said", "prompt")
    return {
        **{name: row[name] for name in (*texts, *KIN)},
        "kept": bool(row["kept"]),
        "failed": list(row["failed"]),
        "sentences": list(row["sentences"]),
    }


def _numbers(values: pd.Series) -> list[float | None]:
    found = values.to_numpy(dtype=np.float64)
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in found]


def _asset(name: str) -> str:
    return (files("sarcurate") / "assets" / name).read_text(encoding="utf-8")
