"""Stage migrate on the tiny sets: what it writes, resuming, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sarcurate.errors import DataError, HardwareError, LeakageError, ParamsError
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.models import migration
from sarcurate.stages import migrate

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
CLASSES = 2
TERMS = {"distillation", "content", "speckle", "spectrum"}


@dataclass(frozen=True)
class Bench:
    """Runs migrate on the tiny sets with other settings, from one work cache."""

    make_params: Callable[..., Any]
    inputs: migrate.Inputs
    root: Path

    def migrate(self, name: str, settings: dict[str, Any] | None = None, **changes: Any) -> migrate.Outputs:
        names = ("migrated", "generated", "migration.json", "losses.parquet", "losses.csv")
        outputs = migrate.Outputs(*(self.root / name / part for part in names))
        migrate.run(self.make_params(settings), replace(self.inputs, **changes), outputs, self.root / "cache")
        return outputs


@pytest.fixture
def bench(tiny_params: Callable[..., Any], tiny_sets: Any, tiny_judged: Any, tmp_path: Path) -> Bench:
    parts, references = tiny_sets.parts(), tiny_judged.references()
    inputs = migrate.Inputs(
        tiny_judged.validated(),
        parts["source-train"],
        parts["target-train"],
        tiny_judged.generated(),
        references["source"],
        references["target"],
    )
    return Bench(tiny_params, inputs, tmp_path)


def _open(path: Path) -> ChipSet:
    return open_chipset(path, splits=("train",))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_both_kinds_of_contents_become_chips_of_the_target(tiny_judged: Any, bench: Bench) -> None:
    target, made = _open(bench.inputs.target_train), tiny_judged.migration()
    contents = {made.migrated: bench.inputs.source_train, made.migrated_generated: bench.inputs.generated}
    for (path, content), per_class in zip(contents.items(), (2, 1), strict=True):
        chips, parents = _open(path), set(_open(content).manifest["chip_id"])
        assert chips.manifest["label"].value_counts().tolist() == [per_class] * CLASSES
        assert chips.header.radiometry == target.header.radiometry
        for row in chips.rows():
            assert row["origin"] == "migrated"
            assert set(row["parents"]) <= parents
            styles = target.manifest[target.manifest["chip_id"].isin(row["style_ids"])]
            assert styles["label"].tolist() == [row["label"]]
            assert chips.intensity(row["chip_id"]).shape == target.intensity(row["style_ids"][0]).shape


def test_losses_of_every_chip_and_update_are_kept(tiny_judged: Any) -> None:
    made = tiny_judged.migration()
    losses, curve = pd.read_parquet(made.traces), pd.read_csv(made.curve)
    chips = sum(len(_open(path).manifest) for path in (made.migrated, made.migrated_generated))
    assert len(losses) == chips * 4  # two times, two updates each
    assert set(curve["term"]) == TERMS
    assert curve["update"].max() == 4
    numbers = json.loads(made.metrics.read_text())["sets"]
    last = losses[losses["set"] == "migrated"].groupby("chip_id")["distillation"].last()
    assert numbers["migrated"]["distillation_median"] == pytest.approx(last.median())
    assert numbers["migrated"]["updates_median"] == 4


def test_what_the_autoencoder_costs_is_told_before_any_chip_is_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(self: migration.Migrator, *given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(migration.Migrator, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        bench.migrate("first")
    assert "log-PSD distance of source to target" in capsys.readouterr().err


def test_the_gap_is_that_of_both_sets_and_the_floor_the_autoencoders(tiny_judged: Any) -> None:
    found = json.loads(tiny_judged.migration().metrics.read_text())["log_psd_distance"]
    # X band of 1 m and C band of 3 m on one grid: far apart, and the autoencoder nearly lossless
    assert found["source_to_target"] > 0.1
    assert 0 < found["autoencoder_alone"] < found["source_to_target"] / 2


def test_a_killed_run_goes_on_to_the_bytes_of_an_uninterrupted_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = {"migrate.batch_size": 2}  # of the source's four chips
    whole = bench.migrate("whole", halves)
    first, plain, calls = whole.migrated.parent, migration.Migrator.__call__, 0

    def killed(self: migration.Migrator, *given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return plain(self, *given)

    other = replace(bench, root=bench.root / "other")
    with monkeypatch.context() as patch:
        patch.setattr(migration.Migrator, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            other.migrate("whole", halves)
    assert not (other.root / "whole").exists()
    again = other.migrate("whole", halves)
    assert calls == 2
    assert _bytes(again.migrated.parent) == _bytes(first)


def test_a_finished_run_migrates_nothing_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _bytes(bench.migrate("first").migrated.parent)

    def unexpected(*_: Any) -> None:
        raise AssertionError("a chip was migrated again")

    monkeypatch.setattr(migration.Migrator, "__call__", unexpected)
    assert _bytes(bench.migrate("second").migrated.parent) == first


def test_other_settings_make_other_chips(bench: Bench, tiny_judged: Any) -> None:
    other = _open(bench.migrate("other", {"migrate.mode": "paper"}).migrated)
    first = _open(tiny_judged.migration().migrated)
    assert not set(other.manifest["chip_id"]) & set(first.manifest["chip_id"])
    assert not set(other.manifest["pixels_sha256"]) & set(first.manifest["pixels_sha256"])


def test_test_chips_are_refused_as_styles_and_as_contents(bench: Bench, tiny_sets: Any) -> None:
    for name in ("source_train", "target_train"):
        held_out = tiny_sets.parts()[name.replace("_train", "-test")]
        with pytest.raises(LeakageError, match="test"):
            bench.migrate("out", **{name: held_out})


def test_chips_that_were_not_validated_are_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "validated.json").write_text('{"source": "0", "target": "0"}')
    with pytest.raises(DataError):
        bench.migrate("out", validated=tmp_path / "validated.json")


def test_a_missing_extractor_says_what_to_put_where(bench: Bench) -> None:
    with pytest.raises(HardwareError) as raised:
        bench.migrate("out", {"migrate.extractor": "./weights/stable-diffusion-v1-5"})
    assert raised.value.exit_code == 4
    for word in ("migrate.extractor", "licence", "hf download", "sarcurate-tiny-unet"):
        assert word in raised.value.fix, word


def test_layers_that_the_extractor_lacks_are_refused_with_those_it_has(bench: Bench) -> None:
    with pytest.raises(ParamsError, match=r"up_blocks\.9") as raised:
        bench.migrate("out", {"migrate.layers": ["up_blocks.9.attn1"]})
    assert "up_blocks.2.attentions.1.transformer_blocks.0.attn1" in raised.value.fix


def test_more_styles_than_there_are_chips_are_refused(bench: Bench) -> None:
    with pytest.raises(DataError, match="999 asked for"):
        bench.migrate("out", {"migrate.references": 999})
