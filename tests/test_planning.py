"""What a plan says, against the models it speaks of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sarcurate import planning
from sarcurate.errors import DataError, HardwareError
from sarcurate.io.chipset import ChipSet, open_chipset
from sarcurate.models.base import load_transformer, resolve_base
from sarcurate.models.pace import Pace
from sarcurate.models.planner import GIB
from sarcurate.stages.tune import base_ref

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def chips(tiny_sets: Any) -> ChipSet:
    return open_chipset(tiny_sets.parts()["source-train"], splits=("train",))


@pytest.fixture(scope="module")
def found(tiny_params: Callable[..., Any], chips: ChipSet) -> planning.Forecast:
    return planning.forecast(tiny_params(), chips, "cpu", timed=False)


def test_numbers_are_those_of_the_base_and_the_adapter(
    found: planning.Forecast, tiny_params: Callable[..., Any]
) -> None:
    """Rank r on a layer of n inputs and m outputs is r (n + m) numbers; Q, K, V of both streams."""
    params = tiny_params()
    transformer = load_transformer(resolve_base(base_ref(params.tune)), "fp32")
    assert found.parameters.frozen == sum(weight.numel() for weight in transformer.parameters())
    config = transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    assert found.parameters.trainable == config.num_layers * 6 * params.tune.rank * 2 * width


def test_work_is_that_of_the_params(found: planning.Forecast, chips: ChipSet) -> None:
    rows, cols = chips.intensity(chips.manifest["chip_id"].iloc[0]).shape
    assert found.canvas.chip_px == (rows, cols)
    assert (found.n_chips, found.workload.chips) == (len(chips.manifest), 4)
    assert found.workload.steps == found.workload.batch_size == 2
    assert found.pace is None
    assert planning.as_lines(found)[-1] == "pace: not measured"


def test_what_does_not_fit_is_refused_with_numbers_before_anything_is_timed(
    chips: ChipSet, tiny_params: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(*_: object) -> Pace:
        raise AssertionError("timed")

    monkeypatch.setattr(planning, "probe", timed)
    monkeypatch.setattr(planning, "available_bytes", lambda _device: GIB // 1000)
    with pytest.raises(HardwareError, match=r"needs \d\.\d\d GiB on cpu .* 0\.00 GiB are free"):
        planning.forecast(tiny_params(), chips, "cpu", timed=True)


def test_time_is_steps_by_pace(found: planning.Forecast) -> None:
    """2 updates of 3 s; 4 chips in one batch of 4, 2 steps of 1.5 s and 3 s of decoding."""
    told = planning.as_lines(replace(found, pace=Pace(3.0, 1.5, 3.0)))
    assert "0.33 updates/s of 2 chips, 1.50 s a sampling step" in told[-2]
    assert "tuning 0.1 min for 2 updates" in told[-1]
    assert "generating 0.1 min for 4 chips" in told[-1]


def test_a_probe_times_the_real_work(chips: ChipSet, tiny_params: Callable[..., Any]) -> None:
    pace = planning.forecast(tiny_params(), chips, "cpu", timed=True).pace
    assert pace is not None
    assert min(pace.update_s, pace.sampling_step_s, pace.decoding_s) > 0


def test_a_set_of_several_sizes_is_refused(
    chips: ChipSet, tiny_params: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = chips.manifest["chip_id"].iloc[0]
    whole = ChipSet.intensity
    monkeypatch.setattr(
        ChipSet,
        "intensity",
        lambda self, chip_id: whole(self, chip_id)[:-1] if chip_id == first else whole(self, chip_id),
    )
    with pytest.raises(DataError, match="2 sizes"):
        planning.forecast(tiny_params(), chips, "cpu", timed=False)
