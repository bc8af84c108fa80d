"""tune: what it writes, that it resumes and repeats to the byte, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

from sarcurate.errors import DataError, HardwareError, LeakageError, ParamsError
from sarcurate.io.chipset import ChipSetWriter, open_chipset
from sarcurate.io.validated import write_validated
from sarcurate.models import lora_training
from sarcurate.models.base import BaseRef, load_transformer, resolve_base
from sarcurate.models.lora import WEIGHTS_NAME, load_adapter, read_metadata
from sarcurate.stages import tune

GATED = "stabilityai/stable-diffusion-3.5-medium"
STEPS = 4
LONGER = {"tune.steps": STEPS, "tune.validate_every": 2, "tune.save_every": 2}

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@dataclass(frozen=True)
class Bench:
    """A place to tune the tiny sets in."""

    make_params: Callable[..., Any]
    inputs: tune.Inputs
    root: Path

    def tune(self, name: str, settings: dict[str, Any] | None = None, cache: str = "cache") -> tune.Outputs:
        names = ("adapter", "tune.json", "tune_curve.csv", "tune")
        outputs = tune.Outputs(*(self.root / name / one for one in names))
        tune.run(self.make_params(LONGER | (settings or {})), self.inputs, outputs, self.root / cache)
        return outputs


@pytest.fixture(scope="module")
def inputs(tiny_sets: Any, tiny_judged: Any) -> tune.Inputs:
    source = tiny_sets.parts()["source-train"]
    return tune.Inputs(tiny_judged.validated(), source, tiny_judged.references()["source"])


@pytest.fixture
def bench(inputs: tune.Inputs, tiny_params: Callable[..., Any], tmp_path: Path) -> Bench:
    return Bench(tiny_params, inputs, tmp_path)


@pytest.fixture(scope="module")
def tuned(
    inputs: tune.Inputs, tiny_params: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> tune.Outputs:
    """An uninterrupted run; not to be changed."""
    return Bench(tiny_params, inputs, tmp_path_factory.mktemp("tuned")).tune("out")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- what comes out


def test_the_adapter_changes_what_its_base_says(tuned: tune.Outputs, tiny_params: Callable[..., Any]) -> None:
    folder = resolve_base(tune.base_ref(tiny_params().tune))
    transformer = load_transformer(folder, "fp32")
    config, generator = transformer.config, torch.Generator().manual_seed(3)
    given = {
        "hidden_states": torch.randn(1, config.in_channels, 24, 24, generator=generator),
        "encoder_hidden_states": torch.randn(1, 8, config.joint_attention_dim, generator=generator),
        "pooled_projections": torch.randn(1, config.pooled_projection_dim, generator=generator),
        "timestep": torch.tensor([500.0]),
    }
    with torch.no_grad():
        alone = transformer(**given, return_dict=False)[0]
        load_adapter(transformer, tuned.adapter, folder)
        assert not torch.equal(transformer(**given, return_dict=False)[0], alone)


def test_the_side_file_tells_whose_adapter_it_is(tuned: tune.Outputs, inputs: tune.Inputs) -> None:
    metadata, source = read_metadata(tuned.adapter), open_chipset(inputs.source_train, splits=("train",))
    assert metadata.train_revision == source.revision
    assert metadata.classes == ("B-52", "F-16")
    assert (metadata.sensor, metadata.radiometry) == (source.header.sensor, source.header.radiometry.value)
    assert metadata.chip_px == source.intensity(source.manifest["chip_id"].iloc[0]).shape
    assert metadata.low_db < metadata.high_db
    assert metadata.base_sha256 == resolve_base(BaseRef(metadata.base_name, None, 0, False)).sha256


def test_fold_0_is_held_back_and_the_rest_is_learnt(tuned: tune.Outputs, inputs: tune.Inputs) -> None:
    numbers = json.loads(tuned.metrics.read_text())
    folds = open_chipset(inputs.source_train, splits=("train",)).manifest["fold"]
    assert numbers["n_held_back"] == (folds == 0).sum() > 0
    assert numbers["n_train"] == (folds != 0).sum() > 0
    assert all(isinstance(value, (int, float)) for value in numbers.values())


def test_the_curve_has_every_update_and_the_previews_of_validations(tuned: tune.Outputs) -> None:
    curve = pd.read_csv(tuned.curve)
    assert curve["step"].tolist() == list(range(STEPS + 1))
    validated = curve.dropna(subset="validation_loss")
    assert validated["step"].tolist() == [0, 2, 4]
    numbers = json.loads(tuned.metrics.read_text())
    assert numbers["kept_step"] in {2, 4}
    best = validated.set_index("step").loc[numbers["kept_step"], "validation_loss"]
    assert numbers["validation_loss_best"] == pytest.approx(best) == validated["validation_loss"][1:].min()
    assert numbers["validation_loss_kept"] == numbers["validation_loss_best"]
    assert {"preview_enl", "log_psd_distance", "memorisation_ratio"} <= set(curve.columns)


def test_pictures_of_curves_and_previews_are_written(tuned: tune.Outputs) -> None:
    assert sorted(path.name for path in tuned.previews.iterdir()) == ["curves.png", "previews.png"]
    for path in tuned.previews.iterdir():
        with Image.open(path) as picture:
            assert min(picture.size) > 200


# --- again


def test_a_killed_run_goes_on_to_the_bytes_of_an_uninterrupted_one(
    bench: Bench, tuned: tune.Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = lora_training._update
    made: list[int] = []

    def killed(*arguments: Any) -> float:
        if len(made) == STEPS - 1:  # after a checkpoint, before the next
            raise KeyboardInterrupt
        made.append(1)
        return update(*arguments)

    monkeypatch.setattr(lora_training, "_update", killed)
    with pytest.raises(KeyboardInterrupt):
        bench.tune("out")
    monkeypatch.undo()
    counted: list[int] = []

    def counting(*arguments: Any) -> float:
        counted.append(1)
        return update(*arguments)

    monkeypatch.setattr(lora_training, "_update", counting)
    again = bench.tune("out")
    assert len(counted) == 2  # from the checkpoint after 2 updates on
    assert _bytes(again.adapter.parent) == _bytes(tuned.adapter.parent)


def test_a_finished_run_is_not_trained_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _bytes(bench.tune("first").adapter.parent)

    def unexpected(*_: Any) -> float:
        raise AssertionError("trained again")

    monkeypatch.setattr(lora_training, "_update", unexpected)
    assert _bytes(bench.tune("second").adapter.parent) == first


def test_other_settings_are_another_run(bench: Bench, tuned: tune.Outputs) -> None:
    other = bench.tune("other", {"tune.learning_rate": 3.0e-3})
    assert (other.adapter / WEIGHTS_NAME).read_bytes() != (tuned.adapter / WEIGHTS_NAME).read_bytes()


# --- refused


def test_missing_weights_of_a_gated_base_say_what_to_do(bench: Bench) -> None:
    with pytest.raises(HardwareError) as raised:
        bench.tune("out", {"tune.base": GATED, "tune.base_revision": 40 * "a"})
    told = f"{raised.value.problem} {raised.value.fix}"
    assert raised.value.exit_code == 4
    for word in (GATED, "licence", "sarcurate-tiny"):
        assert word in told, word
    assert not (bench.root / "out").exists()


@pytest.mark.parametrize("change", [{"tune.steps": 0}, {"tune.rank": 0}, {"tune.headroom_db": [-1.0, 2.0]}])
def test_numbers_that_make_no_sense_never_reach_the_stage(bench: Bench, change: dict[str, Any]) -> None:
    with pytest.raises(ParamsError, match=next(iter(change)).rpartition(".")[2]):
        bench.make_params(change)


def test_layers_that_the_base_lacks_are_refused(bench: Bench) -> None:
    with pytest.raises(ParamsError, match="attn2"):
        bench.tune("out", {"tune.targets": "wide_dual"})


def test_test_chips_are_refused(bench: Bench, tiny_sets: Any) -> None:
    wrong = tune.Inputs(
        bench.inputs.validated, tiny_sets.parts()["source-test"], bench.inputs.source_reference
    )
    with pytest.raises(LeakageError):
        Bench(bench.make_params, wrong, bench.root).tune("out")


def test_chips_that_were_not_validated_are_refused(bench: Bench) -> None:
    write_validated(bench.root / "other.json", {"source": 64 * "0"})
    wrong = tune.Inputs(bench.root / "other.json", bench.inputs.source_train, bench.inputs.source_reference)
    with pytest.raises(DataError, match="validate"):
        Bench(bench.make_params, wrong, bench.root).tune("out")


def test_a_single_chip_is_too_few_to_hold_one_back(bench: Bench) -> None:
    source = open_chipset(bench.inputs.source_train, splits=("train",))
    row = next(row for row in source.rows() if row["fold"] != 0)
    with ChipSetWriter(bench.root / "one", source.header) as writer:
        writer.add(row, source.pixels(row["chip_id"]))
    revision = open_chipset(bench.root / "one", splits=("train",)).revision
    write_validated(bench.root / "one.json", {"source": revision})
    alone = tune.Inputs(bench.root / "one.json", bench.root / "one", bench.inputs.source_reference)
    with pytest.raises(DataError, match=r"0 of 1 chips are in fold 0"):
        Bench(bench.make_params, alone, bench.root).tune("out")


def test_a_base_with_a_damaged_file_is_refused(bench: Bench, tiny_params: Callable[..., Any]) -> None:
    folder = resolve_base(tune.base_ref(tiny_params().tune)).path
    broken = Path(shutil.copytree(folder, bench.root / "base"))
    weights = broken / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(HardwareError, match="diffusion_pytorch_model"):
        bench.tune("out", {"tune.base": str(broken)})
