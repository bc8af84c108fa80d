"""Drawing a set of chips from an adapter and its base: everything between the folders in and out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sarcurate.core.model_space import ModelSpace
from sarcurate.errors import DataError
from sarcurate.execution import progress
from sarcurate.io import lineage
from sarcurate.io.chipset import ChipSet
from sarcurate.io.generated import Generator, Plan, source_facts
from sarcurate.io.generation_yield import ClassYield
from sarcurate.io.prompts import PromptField
from sarcurate.io.work_cache import WorkCache
from sarcurate.models.base import (
    BaseRef,
    encode_prompts,
    load_scheduler,
    load_transformer,
    load_vae,
    resolve_base,
)
from sarcurate.models.generation import Maker, Quota, generate, write_generated
from sarcurate.models.latent import LatentSpace
from sarcurate.models.lora import AdapterMetadata, adapter_sha256, load_adapter, read_metadata
from sarcurate.models.pipeline_folder import PipelineFolder
from sarcurate.models.sampling import Sampler, SampleSettings
from sarcurate.models.source_judge import SourceJudge


@dataclass(frozen=True, eq=False)
class DrawingJob:
    """What is drawn.

    Args:
        adapter: folder of the adapter.
        base: that it belongs to.
        source: train ChipSet that it was tuned on.
        classes: to be drawn, in this order.
        settings: of the sampling; quota: how many chips.
        threads: of the processor.
        root_seed: of the data set.
    """

    adapter: Path
    base: BaseRef
    source: ChipSet
    classes: tuple[str, ...]
    settings: SampleSettings
    quota: Quota
    threads: int
    root_seed: int


def draw_set(
    job: DrawingJob, judge_of: Callable[[tuple[int, int]], SourceJudge], out: Path, cache: Path
) -> tuple[ClassYield, ...]:
    """Draw, judge and write a ChipSet to ``out``; finished chips are kept in ``cache``.

    Args:
        judge_of: the source's judge for chips of a size (rows, cols).

    Raises:
        DataError: for an adapter of another set of chips, another base, or classes it was not taught.
    """
    import torch

    torch.set_num_threads(job.threads)
    metadata = read_metadata(job.adapter)
    _check(job, metadata)
    folder = resolve_base(job.base)
    space = ModelSpace(metadata.low_db, metadata.high_db)
    plan = _plan(job, folder, metadata)
    most = job.quota.most
    with progress("drawing chips", len(job.classes) * most) as advance:
        maker = Maker(
            draw=_sampler(job, folder, metadata, plan, space),
            cache=WorkCache(cache),
            cache_key=lineage.sha256_text(
                lineage.canonical_json([lineage.code_sha256(__name__), job.settings.batch_size, job.threads])
            ),
            batch_size=job.settings.batch_size,
            space=space,
            chip_px=metadata.chip_px,
            radiometry=job.source.header.radiometry,
            on_chips=advance,
        )
        made = generate(plan, job.classes, job.quota, maker, judge_of(metadata.chip_px))
    write_generated(out, job.source.header, plan, made, maker)
    return made.yields


def _check(job: DrawingJob, metadata: AdapterMetadata) -> None:
    if metadata.train_revision != job.source.revision:
        raise DataError(
            f"{job.adapter} was tuned on revision {metadata.train_revision[:16]}, "
            f"{job.source.root} is {job.source.revision[:16]}",
            fix="run `dvc repro tune` first",
        )
    untaught = sorted(set(job.classes) - set(metadata.classes))
    if untaught:
        raise DataError(
            f"{job.adapter} was taught {', '.join(metadata.classes)}; asked for {', '.join(untaught)}",
            fix="run `dvc repro tune` with these classes first",
        )


def _plan(job: DrawingJob, folder: PipelineFolder, metadata: AdapterMetadata) -> Plan:
    settings = {name: value for name, value in asdict(job.settings).items() if name != "batch_size"}
    generator = Generator(
        root_seed=job.root_seed,
        adapter_sha256=adapter_sha256(job.adapter),
        base_name=folder.name,
        base_sha256=folder.sha256,
        sampling=settings,
        model_space_db=(metadata.low_db, metadata.high_db),
        chip_px=metadata.chip_px,
        model_px=metadata.model_px,
    )
    fields = tuple(PromptField(name) for name in metadata.prompt_fields)
    return Plan(generator, source_facts(job.source), fields)


def _sampler(
    job: DrawingJob, folder: PipelineFolder, metadata: AdapterMetadata, plan: Plan, space: ModelSpace
) -> Sampler:
    transformer = load_transformer(folder, job.settings.precision)
    load_adapter(transformer, job.adapter, folder)
    latent_space = LatentSpace(load_vae(folder), int(transformer.config.patch_size))
    resampled = None if metadata.model_px == metadata.chip_px else max(metadata.model_px)
    canvas = latent_space.canvas(metadata.chip_px, resampled)
    prompts = plan.prompts(job.classes, job.quota.most)
    wanted = [*prompts, job.settings.negative_prompt]
    told = encode_prompts(folder, job.base, wanted, "cpu")
    return Sampler(
        transformer=transformer,
        scheduler=load_scheduler(folder),
        decode=lambda latents: latent_space.decode(latents, canvas),
        prompts=prompts,
        embeddings=type(told)(told.tokens[:-1], told.pooled[:-1]),
        negative=type(told)(told.tokens[-1:], told.pooled[-1:]) if job.settings.is_guided else None,
        latent_shape=(int(transformer.config.in_channels), *canvas.latent_shape(latent_space.factor)),
        settings=job.settings,
        space=space,
    )
