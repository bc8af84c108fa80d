from __future__ import annotations

from typing import Any

import pytest

from sarcurate.io.generated import UNKNOWN_LICENCE
from sarcurate.io.hub.licences import BASE_MARK, LicenceRule, Provenance

FREE = LicenceRule("free", "cc0-1.0", chips=True, made=True)
MADE_ONLY = LicenceRule("made only", "other", chips=False, made=True)
CLOSED = LicenceRule("closed", "other", chips=False, made=False)
BASE = LicenceRule("base b", "apache-2.0", chips=True, made=True)
GENERATED = f"derived from free{BASE_MARK}b"


@pytest.fixture
def kin() -> Provenance:
    return Provenance(
        real={"r1": "free", "r2": "made only", "r3": "closed"},
        trained_on=("free", "made only"),
        generated={"g1": GENERATED},
        rules={rule.source: rule for rule in (FREE, MADE_ONLY, CLOSED, BASE)},
    )


def _row(origin: str, **values: Any) -> dict[str, Any]:
    return {"origin": origin, "licence": None, "parents": [], "style_ids": []} | values


@pytest.mark.parametrize(
    ("row", "sources", "may_go"),
    [
        (_row("real", licence="free"), ("free",), True),
        (_row("simulated", licence="made only"), ("made only",), False),
        (_row("real"), (UNKNOWN_LICENCE,), False),
        (_row("real", licence="never named"), ("never named",), False),
        (_row("generated", licence=GENERATED), ("base b", "free", "made only"), True),
        (_row("generated", licence="derived from free"), ("base unknown", "free", "made only"), False),
        (_row("translated", parents=["r1"]), ("free",), True),
        (_row("migrated", parents=["r1"], style_ids=["r2"]), ("free", "made only"), True),
        (_row("migrated", parents=["r1"], style_ids=["r3"]), ("closed", "free"), False),
        (_row("migrated", parents=["g1"], style_ids=["r1"]), ("base b", "free", "made only"), True),
        (_row("migrated", parents=["lost"], style_ids=["r1"]), ("free", UNKNOWN_LICENCE), False),
        (_row("migrated"), (UNKNOWN_LICENCE,), False),
    ],
)
def test_a_chip_needs_the_permission_of_all_it_comes_from(
    kin: Provenance, row: dict[str, Any], sources: tuple[str, ...], may_go: bool
) -> None:
    found = kin.sources(row)
    assert found == sources
    assert kin.may_go(found, row["origin"] in ("generated", "migrated", "translated")) is may_go


def test_the_base_is_found_in_the_licence_that_generate_writes() -> None:
    from sarcurate.io import generated

    text = generated.Plan.row.__code__.co_consts  # the words stand in that function
    words = [part for part in text if isinstance(part, str)]
    assert any(BASE_MARK in part for part in words)
