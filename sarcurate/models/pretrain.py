"""The making of sarcurate-tiny and of sarcurate-tiny-unet: practice chips, latents, weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sarcurate.errors import DataError, ParamsError
from sarcurate.execution import progress
from sarcurate.io.practice_pool import PoolPlan, fill_pool, read_shard
from sarcurate.io.recipe_file import read_recipe_file
from sarcurate.io.work_folder import claim_folder
from sarcurate.models.averaged_training import FlowSettings
from sarcurate.models.base import load_vae
from sarcurate.models.checkpoint import writing
from sarcurate.models.flow import TimeLaw
from sarcurate.models.pipeline_folder import PipelineFolder, load_part
from sarcurate.models.pretrain_flow import LatentShard, train_flow
from sarcurate.models.pretrain_unet import train_unet
from sarcurate.models.pretrain_vae import PolishSettings, VaeSettings, polish_decoder, train_vae
from sarcurate.models.tiny_base import MOST_TOKENS, PATCH_LATENTS, VAE_FACTOR, new_tokenizer
from sarcurate.models.tiny_unet import UNET_STEP, new_schedule

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from torch.nn import ModuleDict

_HELD_BACK = 20  # sensors that are never trained on, for the card's figures
_LOG_EVERY = 100


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights but the code.

    Raises:
        ParamsError: where sizes do not fit each other, or too few sensors are left to train on.
    """

    pool: PoolPlan
    vae: VaeSettings
    polish: PolishSettings
    flow: FlowSettings
    unet: FlowSettings
    law: TimeLaw
    seed: int
    threads: int

    def __post_init__(self) -> None:
        chip_px, cells = self.pool.chip_px, VAE_FACTOR * PATCH_LATENTS
        if self.pool.sensors <= _HELD_BACK:
            raise _unfit("pool.sensors", self.pool.sensors, f"more than the {_HELD_BACK} that are held back")
        if chip_px % cells or chip_px > MOST_TOKENS * cells:
            raise _unfit("pool.chip_px", chip_px, f"a multiple of {cells}, at most {MOST_TOKENS * cells}")
        for part, crop_px in (("vae", self.vae.crop_px), ("polish", self.polish.crop_px)):
            if crop_px % VAE_FACTOR or crop_px > chip_px:
                raise _unfit(f"{part}.crop_px", crop_px, f"a multiple of {VAE_FACTOR}, at most {chip_px}")
        for part, sizes, step in (
            ("flow", self.flow.crop_latents, PATCH_LATENTS),
            ("unet", self.unet.crop_latents, UNET_STEP),
        ):
            for size in sizes:
                if size % step or size > chip_px // VAE_FACTOR:
                    most = f"a multiple of {step}, at most {chip_px // VAE_FACTOR}"
                    raise _unfit(f"{part}.crop_latents", size, most)


def _unfit(field: str, found: object, expected: str) -> ParamsError:
    return ParamsError(f"recipe: {field} is {found}, expected {expected}", fix=f"correct {field}")


def load_recipe(path: Path | None) -> Recipe:
    """The recipe in a YAML file, or the packaged one for None.

    Raises:
        ParamsError: as the reader of recipe files and :class:`Recipe` say.
    """
    values = read_recipe_file(path)
    return Recipe(
        pool=PoolPlan(**values.pool, seed=values.seed, kept_away=values.kept_away),
        vae=VaeSettings(**values.vae),
        polish=PolishSettings(**values.polish),
        flow=FlowSettings(**values.flow),
        unet=FlowSettings(**values.unet),
        law=TimeLaw(**values.times),
        seed=values.seed,
        threads=values.threads,
    )


def pretrain(recipe: Recipe, work: Path, out: Path, workers: int) -> None:
    """Make the base, going on from what ``work`` already holds; ``out`` loads as a pipeline of diffusers.

    Args:
        recipe: what to make.
        work: folder for practice chips, latents, checkpoints and logs, a few GB.
        out: folder for the weights, bfloat16.
        workers: processes that render.

    Raises:
        ParamsError: where ``work`` holds what another recipe made, naming folder and field.
        DataError: where something cannot be written or read; what is finished stays.
    """
    import torch

    torch.set_num_threads(recipe.threads)
    _claim(recipe, work)
    _open(out)
    fill_pool(recipe.pool, work / "pool", workers)
    trained_on = range(recipe.pool.sensors - _HELD_BACK)
    shards = [read_shard(work / "pool", index) for index in trained_on]
    chips = [shard.chips for shard in shards]
    with _logged(work / "vae.jsonl", "autoencoder", recipe.vae.updates) as log:
        vae = train_vae(chips, recipe.vae, recipe.seed, work / "vae", log)
    latents = [
        LatentShard(_latents(vae, shard.chips, work / "latents" / f"{index:05d}.npy"), shard.rows)
        for index, shard in zip(trained_on, shards, strict=True)
    ]
    with _logged(work / "polish.jsonl", "decoder", recipe.polish.updates) as log:
        polish_decoder(vae, chips, recipe.polish, recipe.vae, recipe.seed, work / "polish", log)
    with _logged(work / "flow.jsonl", "transformer", recipe.flow.updates) as log:
        modules = train_flow(latents, recipe.flow, recipe.law, recipe.seed, work / "flow", log)
    write_base(vae, modules, recipe.law, out)


def pretrain_unet(recipe: Recipe, base: PipelineFolder, work: Path, out: Path, workers: int) -> None:
    """Make the extractor for the latents of a finished base, going on from what ``work`` already holds.

    Args:
        recipe: what to make.
        base: whose autoencoder and first text encoder it shares.
        work, workers: as for :func:`pretrain`.
        out: folder for the weights, bfloat16; it loads as a Stable Diffusion 1.5 pipeline.

    Raises:
        ParamsError, DataError: as :func:`pretrain`.
    """
    import torch

    torch.set_num_threads(recipe.threads)
    every = asdict(recipe) | {"base": base.sha256}
    encoded_by = {name: every[name] for name in ("pool", "threads", "base")}
    claim_folder(work / "unet-latents", encoded_by)
    claim_folder(work / "unet", encoded_by | {name: every[name] for name in ("unet", "seed")})
    _open(out)
    fill_pool(recipe.pool, work / "pool", workers)
    vae, text = load_vae(base), _text_encoder(base)
    latents = []
    for index in range(recipe.pool.sensors - _HELD_BACK):
        shard = read_shard(work / "pool", index)
        path = work / "unet-latents" / f"{index:05d}.npy"
        latents.append(LatentShard(_latents(vae, shard.chips, path), shard.rows))
    with _logged(work / "unet.jsonl", "extractor", recipe.unet.updates) as log:
        unet = train_unet(latents, (new_tokenizer(), text), recipe.unet, recipe.seed, work / "unet", log)
    write_extractor(unet, vae, text, out)


def _open(out: Path) -> None:
    """See before hours of training that the weights can be written."""
    with writing(f"weights {out}"):
        out.mkdir(parents=True, exist_ok=True)


def _text_encoder(base: PipelineFolder) -> Any:
    """The base's first text encoder without its projection, as Stable Diffusion 1.5 has it; frozen."""
    from transformers import CLIPTextModel

    return load_part(CLIPTextModel, base.path / "text_encoder", "fp32")


def _claim(recipe: Recipe, work: Path) -> None:
    """Mark each folder with the part of the recipe that its content follows from."""
    every = asdict(recipe)
    del every["unet"]
    to_vae = {name: every[name] for name in ("pool", "vae", "seed", "threads")}
    to_decoder = to_vae | {"polish": every["polish"]}
    for folder, made_by in (
        ("vae", to_vae),
        ("polish", to_decoder),
        ("latents", to_vae),
        ("flow", every),
    ):
        claim_folder(work / folder, made_by)


def write_base(vae: AutoencoderKL, modules: ModuleDict, law: TimeLaw, out: Path) -> None:
    """Write the parts as a pipeline folder, weights as bfloat16 safetensors.

    Raises:
        DataError: where it cannot be written, such as on a full disk.
    """
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    tokenizer = new_tokenizer()
    pipeline = StableDiffusion3Pipeline(
        transformer=modules["transformer"],
        scheduler=FlowMatchEulerDiscreteScheduler(shift=law.shift),
        vae=vae,
        text_encoder=modules["text_encoder"],
        tokenizer=tokenizer,
        text_encoder_2=modules["text_encoder_2"],
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    with writing(f"base {out}"):
        pipeline.to(torch.bfloat16).save_pretrained(out, safe_serialization=True)


def write_extractor(unet: UNet2DConditionModel, vae: AutoencoderKL, text: Any, out: Path) -> None:
    """Write the parts as a pipeline folder, weights as bfloat16 safetensors.

    Raises:
        DataError: where it cannot be written, such as on a full disk.
    """
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=new_tokenizer(),
        unet=unet,
        scheduler=new_schedule(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with writing(f"extractor {out}"):
        pipeline.to(torch.bfloat16).save_pretrained(out, safe_serialization=True)


def _latents(vae: Any, chips: NDArray[np.float16], path: Path) -> NDArray[np.float16]:
    """Scaled latents of a shard, from their file where it is there."""
    import torch

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            mean = vae.encode(torch.from_numpy(chips.astype(np.float32))[:, None]).latent_dist.mean
        scaled = (mean - vae.config.shift_factor) * vae.config.scaling_factor
        part = path.with_suffix(".part.npy")
        with writing(f"latents {path}"):
            np.save(part, scaled.numpy().astype(np.float16))
            part.replace(path)
    try:
        latents: NDArray[np.float16] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"latents {path} cannot be read: {error}", fix="remove the file; it is then made again"
        ) from error
    return latents


class _Log:
    """Appends the mean loss of every hundred updates as a line of JSON, and advances a progress bar."""

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        self._path, self._advance, self._losses = path, advance, list[float]()

    def __call__(self, step: int, loss: float) -> None:
        self._losses.append(loss)
        self._advance(1)
        if (step + 1) % _LOG_EVERY == 0:
            with self._path.open("a") as log:
                log.write(
                    json.dumps({"update": step + 1, "loss": round(float(np.mean(self._losses)), 5)}) + "\n"
                )
            self._losses.clear()


@contextmanager
def _logged(path: Path, what: str, updates: int) -> Iterator[_Log]:
    with progress(f"pretraining the {what}", updates) as advance:
        yield _Log(path, advance)
