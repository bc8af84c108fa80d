"""What a run needs, before it starts: parameters, and memory, refused with numbers where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from sarcurate.errors import HardwareError
from sarcurate.models.dry_run import (
    bytes_of,
    decode,
    encode,
    meta_autoencoder,
    meta_transformer,
    sample,
    tune,
)
from sarcurate.models.live_memory import LiveBytes, peak_live_bytes
from sarcurate.models.lora import lora_parameters
from sarcurate.models.workload import BaseSize, Workload

GIB = 2**30
_FLOAT32_BYTES = 4
# Weights, gradients, two moments of Adam, average, best average, and one to set aside while validating.
_ADAPTER_COPIES = 7


@dataclass(frozen=True)
class Parameters:
    """Numbers of the transformer that stay as they are, and of the adapter that are trained."""

    frozen: int
    trainable: int


@dataclass(frozen=True)
class PhaseMemory:
    """Most bytes held at once in a phase.

    Args:
        weights: of the models.
        adapter: with all copies.
        work: tensors computed and not yet let go.
        spare: what allocators take beside them.
    """

    weights: int
    adapter: int
    work: int
    spare: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.weights + self.adapter + self.work + self.spare


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory of the three phases, which follow each other, and what each chip of a micro-batch adds.

    Text encoders, then the autoencoder, are alone in memory when prompts and chips are encoded.
    """

    encoding: PhaseMemory
    tuning: PhaseMemory
    generating: PhaseMemory
    tuning_bytes_per_chip: int
    micro_batch: int

    def phases(self) -> dict[str, PhaseMemory]:
        """The phases by name, in their order."""
        return {"encoding": self.encoding, "tuning": self.tuning, "generating": self.generating}

    def micro_batch_within(self, available: int) -> int:
        """The largest micro-batch whose tuning takes at most ``available`` bytes; 0 where one is too many."""
        more = (available - self.tuning.total) // self.tuning_bytes_per_chip
        return max(0, self.micro_batch + more)


def count_parameters(base: BaseSize, workload: Workload) -> Parameters:
    """Count on the meta device; no weights are made."""
    transformer = meta_transformer(base, workload)
    trainable = sum(parameter.numel() for parameter in lora_parameters(transformer).values())
    return Parameters(sum(p.numel() for p in transformer.parameters()) - trainable, trainable)


def estimate_memory(base: BaseSize, workload: Workload, device: str) -> MemoryEstimate:
    """Memory of a run, from a dry run of the real modules on tensors without data.

    * encoding: the larger of all text encoders, and the autoencoder with its work;
    * tuning: transformer, 7 x 4 bytes a LoRA number (weight, gradient, two moments of Adam, average, best
      average, one set aside while validating), and the work of forward and backward of one micro-batch;
    * generating: transformer, autoencoder, LoRA, and the larger of a sampling step's work and decoding's.

    Work between one chip and the micro-batch is taken as linear; it is convex, so that is on the safe side.
    What allocators take beside is a share of the work, and of its small blocks on a CPU (see ``LiveBytes``).
    The interpreter and its libraries, or the context of a GPU, are not counted: they are there already when
    free memory is read.
    """
    vae, transformer = partial(meta_autoencoder, base), partial(meta_transformer, base, workload)
    vae_bytes, loaded = bytes_of(vae()), transformer()
    adapter = _FLOAT32_BYTES * sum(p.numel() for p in lora_parameters(loaded).values())
    weights = bytes_of(loaded) - adapter
    several = max(2, workload.micro_batch)
    one, most = (
        _phase(
            device,
            weights,
            _ADAPTER_COPIES * adapter,
            peak_live_bytes(transformer(), partial(tune, workload, n)),
        )
        for n in (1, several)
    )
    drawn, made, encoded = (
        _phase(device, held, own, peak_live_bytes(module, partial(work, workload)))
        for held, own, module, work in (
            (weights + vae_bytes, adapter, transformer(), sample),
            (weights + vae_bytes, adapter, vae(), decode),
            (vae_bytes, 0, vae(), encode),
        )
    )
    read = PhaseMemory(base.text_encoder_bytes, 0, 0, 0)
    return MemoryEstimate(
        encoding=max(encoded, read, key=lambda phase: phase.total),
        tuning=one if workload.micro_batch == 1 else most,
        generating=max(drawn, made, key=lambda phase: phase.total),
        tuning_bytes_per_chip=(most.total - one.total) // (several - 1),
        micro_batch=workload.micro_batch,
    )


def _phase(device: str, weights: int, adapter: int, work: LiveBytes) -> PhaseMemory:
    return PhaseMemory(weights, adapter, work.all, work.spare(device))


def refuse_too_small(
    base: BaseSize, workload: Workload, estimate: MemoryEstimate, available: int, device: str
) -> None:
    """Refuse a run that a device cannot hold.

    Raises:
        HardwareError: naming the first phase that does not fit, bytes needed and free, and what would fit.
    """
    for name, phase in estimate.phases().items():
        if phase.total > available:
            raise HardwareError(
                f"{name} needs {phase.total / GIB:.2f} GiB on {device} (weights {phase.weights / GIB:.2f}, "
                f"adapter {phase.adapter / GIB:.2f}, work {phase.work / GIB:.2f}, "
                f"spare {phase.spare / GIB:.2f}), "
                f"{available / GIB:.2f} GiB are free",
                fix=" or ".join(_ways_out(base, workload, estimate, available, name, device)),
            )


def _ways_out(
    base: BaseSize, workload: Workload, estimate: MemoryEstimate, available: int, phase: str, device: str
) -> Iterator[str]:
    if phase == "tuning":
        fits = min(estimate.micro_batch_within(available), workload.batch_size)
        if fits:
            yield f"set tune.micro_batch to {fits}, the largest that fits"
        elif not workload.gradient_checkpointing:
            lean = replace(workload, gradient_checkpointing=True, micro_batch=1)
            needed = estimate_memory(base, lean, device).tuning.total
            if needed <= available:
                yield f"set tune.gradient_checkpointing, which needs {needed / GIB:.2f} GiB at micro-batch 1"
    if phase == "generating" and workload.chips_at_once > 1:
        yield "generate fewer chips at once"
    yield f"use a device with {estimate.phases()[phase].total / GIB:.2f} GiB free"
    yield "choose the bundled base sarcurate-tiny"
