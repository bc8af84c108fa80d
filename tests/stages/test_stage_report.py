from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import LeakageError
from sarcurate.io.chipset import ChipSetWriter, Header, open_chipset
from sarcurate.stages import report

HOSTILE = '<script>alert("x")&'


def _judged(tiny_judged: Any) -> report.Quality:
    made = tiny_judged.scores()
    return report.Quality(
        made.quality,
        tiny_judged.curation(),
        made.marginal,
        made.scores,
        made.source_scores,
        tiny_judged.references()["target"],
    )


def _made(tiny_judged: Any) -> report.Generation:
    scores = tiny_judged.scores()
    return report.Generation(
        tiny_judged.tuned().previews,
        tiny_judged.generation(),
        scores.generated_quality,
        scores.generated_scores,
        tiny_judged.references()["source"],
    )


@pytest.fixture(scope="module")
def inputs(tiny_sets: Any, tiny_judged: Any, tiny_evaluation: Any) -> report.Inputs:
    parts, outputs = tiny_sets.parts(), tiny_evaluation.outputs
    real = {"source": parts["source-train"], "target": parts["target-train"]}
    sets = {**real, "generated": tiny_judged.generated(), **tiny_judged.made()}
    judged, made = _judged(tiny_judged), _made(tiny_judged)
    moved = report.Migration(tiny_judged.migration().metrics, tiny_judged.migration().curve)
    return report.Inputs(outputs.metrics, outputs.curves, judged, made, moved, sets)


@pytest.fixture(scope="module")
def page(
    inputs: report.Inputs, tiny_params: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> str:
    out = tmp_path_factory.mktemp("report") / "report"
    report.run(tiny_params(), inputs, out)
    return (out / "index.html").read_text()


def test_the_page_loads_nothing(page: str) -> None:
    addresses = re.findall(r"""(?:src|href|url|srcset|action)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
    assert len(addresses) >= 6
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_every_picture_is_a_png(page: str) -> None:
    for data in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page):
        assert base64.b64decode(data, validate=True).startswith(b"\x89PNG")


def test_the_numbers_are_those_of_the_evaluation(page: str, inputs: report.Inputs) -> None:
    metrics = json.loads(inputs.metrics.read_text())
    assert metrics["dataset_revision"] in page
    for name, numbers in metrics["arms"].items():
        assert name in page
        assert ", ".join(f"{k}/{numbers['n_test']}" for k in numbers["n_correct"]) in page
        assert f"{100 * numbers['accuracy']:.1f}" in page


def test_every_set_is_shown_with_its_revision(page: str, inputs: report.Inputs) -> None:
    for path in inputs.sets.values():
        assert open_chipset(path, splits=("train",)).revision[:16] in page


def test_the_page_says_how_near_the_made_sets_are_and_by_how_much_the_gap_closed(
    page: str, inputs: report.Inputs
) -> None:
    assert "Quality of the made sets" in page
    assert "16 real train chips of fucheng1-sim" in page
    quality = json.loads(inputs.judged.quality.read_text())
    for entry in quality["sets"].values():
        assert f">{entry['log_psd_distance']:.3g}<" in page
        assert f">{100 * entry['gap_closed_log_psd_distance']:.0f} %<" in page
    assert f">{quality['floor']['log_psd_distance']:.3g}<" in page
    for alt in ("Gap closed", "ENL", "Radial log spectra", "Content retention", "Principal components"):
        assert re.search(rf'alt="{alt}[^"]*"', page), alt


def test_the_page_holds_funnel_gates_and_what_they_promise(
    page: str, inputs: report.Inputs, tiny_params: Callable[..., Any]
) -> None:
    assert 'alt="Funnel of curation per set"' in page
    inside = json.loads(inputs.judged.curation.read_text())["real_chips_inside_all_gates"]
    assert f"left out fold by fold, {100 * inside:.1f} %" in page
    for gate in tiny_params().curate.gates:
        limit = next(re.finditer(rf"<td[^>]*>{gate.measure}</td>\s*<td[^>]*>([^<]*)</td>", page)).group(1)
        own = gate.low is not None
        assert ("own limit of the params" in limit) is own
        assert ("99 % of real fucheng1-sim chips, confidence" in limit) is not own
        assert ("16 train chips" in limit) is not own


@pytest.mark.parametrize(
    ("evidence", "expected"), [("smoke", True), ("simulated_target", False), ("real", False)]
)
def test_only_a_smoke_run_carries_the_banner(
    evidence: str,
    expected: bool,
    inputs: report.Inputs,
    tiny_params: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report, "_quality", lambda *_: [])  # its pictures take seconds and are no matter here
    report.run(tiny_params({"dataset.evidence": evidence}), inputs, tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert ('class="banner"' in text) is expected
    assert report.EVIDENCE_NOTES[evidence].split(":")[0] in text


def test_the_report_repeats_byte_for_byte(
    page: str, inputs: report.Inputs, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    report.run(tiny_params(), inputs, tmp_path)
    assert (tmp_path / "index.html").read_text() == page


def test_a_hostile_class_name_is_escaped(
    tiny_evaluation: Any, tiny_judged: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    header = Header("toy", Radiometry.INTENSITY, "train", (-20.0, 10.0))
    with ChipSetWriter(tmp_path / "chips", header) as writer:
        for index, label in enumerate([HOSTILE, "F-16"]):
            pixels = np.random.default_rng(index).exponential(size=(8, 8)).astype(np.float32)
            chip_id = f"{index:024d}"
            row = {"chip_id": chip_id, "origin": "real", "label": label, "group_id": str(index)}
            row |= {"parents": [chip_id], "style_ids": [chip_id]}
            writer.add(row | {"azimuth_spacing_m": 1.0, "range_spacing_m": 1.0}, pixels)
    params = tiny_params()
    dataset = params.dataset.model_copy(update={"classes": [HOSTILE, "F-16"]})
    outputs = tiny_evaluation.outputs
    inputs = report.Inputs(
        outputs.metrics,
        outputs.curves,
        _judged(tiny_judged),
        _made(tiny_judged),
        report.Migration(tiny_judged.migration().metrics, tiny_judged.migration().curve),
        dict.fromkeys(
            ("source", "generated", "migrated", "migrated-generated", "target"), tmp_path / "chips"
        ),
    )
    report.run(params.model_copy(update={"dataset": dataset}), inputs, tmp_path / "report")
    text = (tmp_path / "report" / "index.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#34;x&#34;)&amp;" in text


def test_test_chips_are_never_shown(
    inputs: report.Inputs, tiny_sets: Any, tiny_params: Callable[..., Any], tmp_path: Path
) -> None:
    sets = {**inputs.sets, "target": tiny_sets.parts()["target-test"]}
    with pytest.raises(LeakageError, match="test"):
        report.run(tiny_params(), replace(inputs, sets=sets), tmp_path / "out")
    assert not (tmp_path / "out").exists()
