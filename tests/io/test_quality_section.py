"""Sections of the report: every set and gate is told, with the numbers of the metrics and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import pytest

from sarcurate.io.quality_section import GAPS, NEIGHBOURS, curation_section, quality_section
from sarcurate.io.reference import Reference, open_reference
from sarcurate.io.report_html import Figure, Paragraph, Section, Table, render
from sarcurate.io.score_table import read_scores


@pytest.fixture(scope="module")
def reference(tiny_judged: Any) -> Reference:
    return open_reference(tiny_judged.references()["target"])


@pytest.fixture(scope="module")
def quality(tiny_judged: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tiny_judged.scores().quality.read_text())
    return found


@pytest.fixture(scope="module")
def curation(tiny_judged: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tiny_judged.curation().read_text())
    return found


@pytest.fixture(scope="module")
def gates(tiny_params: Callable[..., Any]) -> list[dict[str, Any]]:
    return [gate.model_dump() for gate in tiny_params().curate.gates]


@pytest.fixture(scope="module")
def section(
    reference: Reference, quality: dict[str, Any], tiny_judged: Any, gates: list[dict[str, Any]]
) -> Section:
    made = tiny_judged.scores()
    tables = read_scores(made.scores), read_scores(made.source_scores), pd.read_csv(made.marginal)
    return quality_section(reference, quality, *tables, gates)


def _tables(section: Section) -> list[Table]:
    return [block for block in section.blocks if isinstance(block, Table)]


def _text(section: Section) -> str:
    return " ".join(block.text for block in section.blocks if isinstance(block, Paragraph))


# --- quality


def test_it_says_what_was_compared(section: Section, reference: Reference) -> None:
    assert f"against {reference.n_chips} real train chips of {reference.sensor}" in _text(section)
    assert "no test chip was looked at" in _text(section)
    pictures = [block for block in section.blocks if isinstance(block, Figure)]
    assert len(pictures) == 6
    assert all(picture.png.startswith(b"\x89PNG") for picture in pictures)


def _rows(table: Table) -> dict[tuple[Any, Any], dict[str, Any]]:
    """Rows by their first two cells; columns called ``interval`` twice are numbered."""
    names = [f"{name}{place}" for place, name in enumerate(table.columns)]
    return {(row[0], row[1]): dict(zip(names, row, strict=True)) for row in table.rows}


def test_every_distance_of_every_set_is_told_with_its_interval(
    section: Section, quality: dict[str, Any]
) -> None:
    rows = _rows(_tables(section)[0])
    sets = ["floor, real against real", *quality["sets"]]
    assert list(rows) == [(name, made) for name in GAPS.values() for made in sets]
    for measure, name in GAPS.items():
        for made, entry in quality["sets"].items():
            value, interval, closed, closed_interval = list(rows[name, made].values())[2:]
            assert value == f"{entry[measure]:.3g}"
            assert _matches(interval, entry, measure, "{:.3g}", 1)
            gap = f"gap_closed_{measure}"
            if entry[gap] is None:
                assert closed is None
            else:
                assert closed == f"{100 * entry[gap]:.0f} %"
                assert _matches(closed_interval, entry, gap, "{:.0f} %", 100)
        assert list(rows[name, sets[0]].values())[2] == f"{quality['floor'][measure]:.3g}"


def _matches(cell: Any, entry: Mapping[str, Any], name: str, form: str, scale: int) -> bool:
    low, high = entry[f"{name}_low"], entry[f"{name}_high"]
    if low is None or high is None:
        return cell is None
    return bool(cell == f"{form.format(scale * low)} to {form.format(scale * high)}")


def test_neighbours_are_those_of_the_metrics(section: Section, quality: dict[str, Any]) -> None:
    rows = {row[0]: row[1:] for row in _tables(section)[1].rows}
    assert list(rows) == [*quality["sets"], "real halves"]
    for name, entry in quality["sets"].items():
        assert list(rows[name]) == [
            entry["n_chips"],
            entry["n_without_vector"],
            *(entry[n] for n in NEIGHBOURS),
        ]
    assert list(rows["real halves"])[2:] == [quality["floor"][name] for name in NEIGHBOURS]


def test_what_has_no_value_is_a_dash(
    reference: Reference, quality: dict[str, Any], tiny_judged: Any, gates: list[dict[str, Any]]
) -> None:
    absent = dict.fromkeys([f"kid_features{end}" for end in ("", "_low", "_high")])
    sets = {name: entry | absent for name, entry in quality["sets"].items()}
    made = tiny_judged.scores()
    tables = read_scores(made.scores), read_scores(made.source_scores), pd.read_csv(made.marginal)
    odd = quality_section(reference, quality | {"sets": sets}, *tables, gates)
    rows = _rows(_tables(odd)[0])
    assert list(rows[GAPS["kid_features"], "psd"].values())[2:4] == [None, None]
    page = render("t", [odd], dataset_revision="r", is_smoke_run=False)
    assert "None" not in page


# --- curation


def test_the_promise_is_told_with_its_interval(
    reference: Reference, curation: dict[str, Any], gates: list[dict[str, Any]]
) -> None:
    text = _text(curation_section(reference, curation, gates))
    ends = [100 * curation[f"real_chips_inside_all_gates{end}"] for end in ("", "_low", "_high")]
    assert "{:.1f} % [{:.1f}, {:.1f}] pass all gates".format(*ends) in text


def test_without_such_gates_nothing_is_promised(
    reference: Reference, curation: dict[str, Any], gates: list[dict[str, Any]]
) -> None:
    nothing = curation | {"real_chips_inside_all_gates": None}
    text = _text(curation_section(reference, nothing, gates))
    assert text == "Real train chips cannot be held against these gates: none has a limit of the reference."


def _gate_row(reference: Reference, curation: dict[str, Any], **gate: Any) -> str:
    known = {"measure": "enl", "side": "both", "low": None, "high": None, "if_missing": "keep"} | gate
    (row,) = _tables(curation_section(reference, curation, [known]))[0].rows
    assert row[0] == known["measure"]
    return str(row[1])


def test_every_gate_is_told_with_its_origin(reference: Reference, curation: dict[str, Any]) -> None:
    limits = reference.limits["enl"]
    assert limits.both_low is not None
    assert limits.both_high is not None
    low, high = f"{limits.both_low.value:.4g}", f"{limits.both_high.value:.4g}"
    of_reference = _gate_row(reference, curation)
    assert of_reference.startswith(
        f"{low} <= enl <= {high}: 99 % of real fucheng1-sim chips, confidence 0.011"
    )
    assert "not the 0.9 asked for (16 train chips)" in of_reference
    assert _gate_row(reference, curation, low=1.5, high=4.25) == (
        "at least 1.5, own limit of the params; at most 4.25, own limit of the params"
    )
    own = _gate_row(reference, curation, measure="content_z", side="lower", low=3.0)
    assert own == "at least 3, own limit of the params"
    mixed = _gate_row(reference, curation, low=0.5)
    assert mixed.startswith("at least 0.5, own limit of the params; ")
    assert f"at most {high}, upper bound of 16 real target train chips" in mixed


def test_the_sections_are_a_page(
    section: Section, reference: Reference, curation: dict[str, Any], gates: list[dict[str, Any]]
) -> None:
    both = [section, curation_section(reference, curation, gates)]
    page = render("t", both, dataset_revision="r", is_smoke_run=False)
    assert page.count("<img") == 7
    for gate in gates:
        assert gate["measure"] in page
