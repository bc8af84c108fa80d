"""How long a run takes, from a short measurement of its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from sarcurate.models.workload import Workload


@dataclass(frozen=True)
class Pace:
    """Seconds of the three things a run is made of, measured: an update, a sampling step and a decoding.

    Args:
        update_s: of the adapter, ``batch_size`` chips.
        sampling_step_s: one noise level of ``chips_at_once`` chips, both passes where guided.
        decoding_s: ``chips_at_once`` latents to chips.
    """

    update_s: float
    sampling_step_s: float
    decoding_s: float

    def tuning_s(self, workload: Workload) -> float:
        """Seconds of all updates, without encoding and validation."""
        return workload.steps * self.update_s

    def generating_s(self, workload: Workload) -> float:
        """Seconds of all chips; the last batch is padded, so it costs as much as a full one."""
        batches = -(-workload.chips // workload.chips_at_once)
        return batches * (workload.sampling_steps * self.sampling_step_s + self.decoding_s)


def seconds_per_call(call: Callable[[], object], device: str, *, warm_up: int, calls: int) -> float:
    """Median seconds of a call, the first ones left out; for a GPU, until it has finished.

    Args:
        call: a real piece of work at the real shapes, such as one update.
        device: where the work is done.
        warm_up: calls not counted, in which libraries load and choose their kernels.
        calls: counted.
    """
    for _ in range(warm_up):
        call()
    _wait(device)
    return median(_timed(call, device) for _ in range(calls))


def _timed(call: Callable[[], object], device: str) -> float:
    start = perf_counter()
    call()
    _wait(device)
    return perf_counter() - start


def _wait(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
