"""Plan: what tuning and generation of a workspace will take here, before anything is started."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sarcurate.io.chipset import ChipSet
from sarcurate.io.prompts import PromptField, prompt_of
from sarcurate.models.base import encode_prompts, resolve_base
from sarcurate.models.device_memory import available_bytes
from sarcurate.models.latent import Canvas, canvas_of
from sarcurate.models.pace import Pace
from sarcurate.models.pipeline_folder import PipelineFolder
from sarcurate.models.planner import (
    GIB,
    MemoryEstimate,
    Parameters,
    count_parameters,
    estimate_memory,
    refuse_too_small,
)
from sarcurate.models.probe import probe
from sarcurate.models.prompt_encoding import PromptEmbeddings
from sarcurate.models.tune_chips import one_size
from sarcurate.models.workload import Workload, base_size
from sarcurate.params import Params
from sarcurate.stages.generate import sample_settings
from sarcurate.stages.tune import base_ref, lora_settings

_MINUTE_S = 60.0


@dataclass(frozen=True)
class Forecast:
    """What tuning and generation take; ``pace`` is None where nothing was timed."""

    base: str
    n_chips: int
    canvas: Canvas
    workload: Workload
    parameters: Parameters
    memory: MemoryEstimate
    available_bytes: int
    device: str
    pace: Pace | None


def forecast(params: Params, chips: ChipSet, device: str, *, timed: bool) -> Forecast:
    """Count, estimate, and where ``timed`` run a few updates and sampling steps on noise.

    Args:
        params: of the workspace.
        chips: the source's train chips, or others of their size.
        device: ``cpu`` or ``cuda``.
        timed: measure the pace too.

    Raises:
        HardwareError: where the run does not fit, with numbers, before anything is timed.
        ParamsError, DataError: as tune and generate would.
    """
    folder = resolve_base(base_ref(params.tune))
    size = base_size(folder, use_t5=params.tune.use_t5)
    factor = 2 ** (len(size.vae["block_out_channels"]) - 1)
    canvas = canvas_of(one_size(chips), params.tune.model_px, factor, size.transformer["patch_size"])
    told = _embeddings(params, chips, folder)
    shape = (size.transformer["in_channels"], *canvas.latent_shape(factor))
    workload = _workload(params, shape, told.tokens.shape[1])
    memory, free = estimate_memory(size, workload, device), available_bytes(device)
    refuse_too_small(size, workload, memory, free, device)
    settings, drawing = lora_settings(params.tune), sample_settings(params.generate)
    return Forecast(
        base=folder.name,
        n_chips=len(list(chips.rows())),
        canvas=canvas,
        workload=workload,
        parameters=count_parameters(size, workload),
        memory=memory,
        available_bytes=free,
        device=device,
        pace=probe(folder, told, canvas, settings, drawing, device) if timed else None,
    )


def as_lines(found: Forecast) -> list[str]:
    """What a person wants to know before starting."""
    work, rows_cols = found.workload, " x ".join(str(edge) for edge in found.canvas.chip_px)
    latents = " x ".join(str(edge) for edge in work.latent_shape)
    return [
        f"base {found.base}: {found.parameters.frozen / 1e6:.2f} M parameters kept, "
        f"{found.parameters.trainable / 1e6:.3f} M of the adapter trained ({work.preset}, rank {work.rank})",
        f"chips: {found.n_chips} of {rows_cols} px, latents {latents}, prompts of {work.text_tokens} tokens",
        f"memory on {found.device}, {found.available_bytes / GIB:.1f} GiB free:",
        *_memory_lines(found),
        *(_pace_lines(found, found.pace) if found.pace else ["pace: not measured"]),
    ]


def _memory_lines(found: Forecast) -> Iterator[str]:
    for name, phase in found.memory.phases().items():
        yield (
            f"  {name:<10} {phase.total / GIB:6.2f} GiB (weights {phase.weights / GIB:.2f}, "
            f"adapter {phase.adapter / GIB:.2f}, work {phase.work / GIB:.2f}, spare {phase.spare / GIB:.2f})"
        )
    most = found.memory.micro_batch_within(found.available_bytes)
    yield f"  micro-batch {found.memory.micro_batch}; up to {most} would fit"


def _pace_lines(found: Forecast, pace: Pace) -> Iterator[str]:
    work = found.workload
    yield (
        f"pace: {1 / pace.update_s:.2f} updates/s of {work.batch_size} chips, "
        f"{pace.sampling_step_s:.2f} s a sampling step and {pace.decoding_s:.2f} s a decoding "
        f"of {work.chips_at_once} chips"
    )
    yield (
        f"time: tuning {pace.tuning_s(work) / _MINUTE_S:.1f} min for {work.steps} updates, validations "
        f"and previews not counted; generating {pace.generating_s(work) / _MINUTE_S:.1f} min for "
        f"{work.chips} chips"
    )


def _embeddings(params: Params, chips: ChipSet, folder: PipelineFolder) -> PromptEmbeddings:
    """Of the empty prompt and of the first chip's."""
    fields = [PromptField(name) for name in params.tune.prompt_fields]
    row = next(iter(chips.rows()))
    prompts = ["", prompt_of(row["label"], row, fields)]
    return encode_prompts(folder, base_ref(params.tune), prompts, "cpu")


def _workload(params: Params, latent_shape: tuple[int, int, int], text_tokens: int) -> Workload:
    tune, generate = params.tune, params.generate
    return Workload(
        preset=tune.targets,
        rank=tune.rank,
        precision=tune.precision,
        gradient_checkpointing=tune.gradient_checkpointing,
        latent_shape=latent_shape,
        text_tokens=text_tokens,
        steps=tune.steps,
        batch_size=tune.batch_size,
        micro_batch=tune.micro_batch,
        chips=generate.per_class * len(params.dataset.classes),
        chips_at_once=generate.batch_size,
        sampling_steps=generate.steps,
        guided=generate.guidance > 1,
    )
