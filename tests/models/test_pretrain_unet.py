"""Pretraining of the extractor: resumed it is the uninterrupted one, and its folder is read as one."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import ModuleDict

from sarcurate.errors import ParamsError
from sarcurate.io import practice_pool
from sarcurate.io.practice_pool import PoolPlan, read_shard
from sarcurate.models import pretrain as pretraining
from sarcurate.models import pretrain_unet as pretraining_unet
from sarcurate.models.averaged_training import FlowSettings
from sarcurate.models.base import BaseRef, load_vae, resolve_base
from sarcurate.models.checkpoint import latest_checkpoint
from sarcurate.models.extractor import ExtractorRef, load_extractor, resolve_extractor
from sarcurate.models.flow import TimeLaw
from sarcurate.models.pipeline_folder import PipelineFolder
from sarcurate.models.pretrain import Recipe, pretrain_unet, write_base
from sarcurate.models.pretrain_vae import PolishSettings, VaeSettings
from sarcurate.models.tiny_base import new_text_encoders, new_transformer, new_vae
from sarcurate.models.tiny_unet import new_schedule

HELD_BACK = 20
UNET = FlowSettings(
    updates=5,
    batch_size=2,
    crop_latents=(8, 4),
    learning_rate=3e-3,
    warmup=2,
    decay_fraction=0.2,
    ema_decay=0.3,
    save_every=2,
)
LAW = TimeLaw(mean=0.0, std=1.0, shift=1.0)
RECIPE = Recipe(
    pool=PoolPlan(sensors=HELD_BACK + 2, chip_px=16, seed=5, kept_away=()),
    vae=VaeSettings(1, 1, 8, 1e-3, 1, 0.0, 0.0, 0.0, 1),
    polish=PolishSettings(1, 1, 8, 1.3, 1e-3, 1, 1),
    flow=UNET,
    unet=UNET,
    law=LAW,
    seed=5,
    threads=1,
)
CHIPS = 3
LAYER = "up_blocks.2.attentions.0.transformer_blocks.0.attn1"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Few chips, and one thread for this module alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(RECIPE.threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(practice_pool, "CHIPS_PER_SENSOR", CHIPS)
        yield
    torch.set_num_threads(threads)


def untrained_base(seed: int, folder: Path) -> PipelineFolder:
    torch.manual_seed(seed)
    one, two = new_text_encoders()
    modules = ModuleDict({"transformer": new_transformer(), "text_encoder": one, "text_encoder_2": two})
    write_base(new_vae(), modules, LAW, folder)
    return resolve_base(BaseRef(str(folder), revision=None, t5_tokens=0, use_t5=False))


@dataclass(frozen=True)
class Made:
    """A base and an extractor for it, made without interruption; not to be written to."""

    base: PipelineFolder
    work: Path
    out: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small: None) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("extractor")
    whole = Made(untrained_base(1, folder / "base"), folder / "work", folder / "unet")
    pretrain_unet(RECIPE, whole.base, whole.work, whole.out, 1)
    yield whole
    shutil.rmtree(folder)


@pytest.fixture
def work(made: Made, tmp_path: Path) -> Iterator[Path]:
    """A work folder with the pool in it, gone afterwards: checkpoints are large."""
    shutil.copytree(made.work / "pool", tmp_path / "work" / "pool")
    yield tmp_path / "work"
    shutil.rmtree(tmp_path / "work")


class KilledError(Exception):
    pass


def with_callback(patch: pytest.MonkeyPatch, on_update: Callable[[int, float], None]) -> None:
    @contextmanager
    def logged(path: Path, what: str, updates: int) -> Iterator[Callable[[int, float], None]]:
        assert (path.name, what, updates) == ("unet.jsonl", "extractor", UNET.updates)
        yield on_update

    patch.setattr(pretraining, "_logged", logged)


def no_update(made: int, loss: float) -> None:
    pytest.fail("trained again")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_resumed_pretraining_writes_the_bytes_of_the_uninterrupted_one(made: Made, work: Path) -> None:
    updates: list[int] = []

    def killed(update: int, loss: float) -> None:
        updates.append(update)
        if update == 3:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        with_callback(patch, killed)
        with pytest.raises(KilledError):
            pretrain_unet(RECIPE, made.base, work, work / "extractor", 1)
    assert updates == [0, 1, 2, 3]
    assert not list((work / "extractor").iterdir())
    pretrain_unet(RECIPE, made.base, work, work / "extractor", 1)
    assert contents(work / "extractor") == contents(made.out)
    for folder in ("unet-latents", "unet"):
        assert contents(work / folder) == contents(made.work / folder), folder


def test_a_lost_extractor_is_written_again_without_another_update(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_callback(monkeypatch, no_update)
    pretrain_unet(RECIPE, made.base, made.work, tmp_path, 1)
    assert contents(tmp_path) == contents(made.out)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("updates", 4),
        ("batch_size", 3),
        ("crop_latents", (8,)),
        ("learning_rate", 2e-3),
        ("warmup", 3),
        ("decay_fraction", 0.8),
        ("ema_decay", 0.2),
    ],
)
def test_every_value_of_its_training_decides_the_weights(
    made: Made, work: Path, field: str, value: Any
) -> None:
    recipe = replace(RECIPE, unet=replace(UNET, **{field: value}))
    pretrain_unet(recipe, made.base, work, work / "extractor", 1)
    assert (work / "extractor" / WEIGHTS).read_bytes() != (made.out / WEIGHTS).read_bytes()


def test_held_back_sensors_are_never_read(made: Made, work: Path) -> None:
    for index in range(2, HELD_BACK + 2):
        (work / "pool" / f"{index:05d}.npy").write_bytes(b"damaged")
    pretrain_unet(RECIPE, made.base, work, work / "extractor", 1)
    assert contents(work / "extractor") == contents(made.out)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 6}, "unet holds work with seed 5, this recipe has 6"),
        ({"threads": 2}, "unet-latents holds work with threads 1, this recipe has 2"),
        ({"unet": replace(UNET, warmup=3)}, "unet holds work with unet.warmup 2, this recipe has 3"),
        (
            {"pool": replace(RECIPE.pool, sensors=23)},
            "unet-latents holds work with pool.sensors 22, this recipe has 23",
        ),
    ],
)
def test_the_work_of_another_recipe_is_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    with_callback(monkeypatch, no_update)
    with pytest.raises(ParamsError, match=f"^{re.escape(f'{made.work}/{message}')}\n"):
        pretrain_unet(replace(RECIPE, **change), made.base, made.work, tmp_path, 1)


def test_the_work_for_another_base_is_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = untrained_base(2, tmp_path / "base")
    with_callback(monkeypatch, no_update)
    message = f"unet-latents holds work with base '{made.base.sha256}', this recipe has '{other.sha256}'"
    with pytest.raises(ParamsError, match=message):
        pretrain_unet(RECIPE, other, made.work, tmp_path / "out", 1)


def test_what_the_trainings_of_a_base_are_does_not_matter(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_callback(monkeypatch, no_update)
    recipe = replace(RECIPE, flow=replace(UNET, updates=9), vae=replace(RECIPE.vae, updates=9))
    pretrain_unet(recipe, made.base, made.work, tmp_path, 1)
    assert contents(tmp_path) == contents(made.out)


def test_noise_is_predicted_at_uniform_times_from_what_is_left_of_the_latents() -> None:
    """Ho et al. (2020): x_t = sqrt(a_t) x + sqrt(1 - a_t) e, t uniform; who solves this for e has no loss."""
    generator = torch.Generator().manual_seed(9)
    latents, told = torch.randn(40, 4, 8, 8, generator=generator), torch.zeros(40, 2, 3)
    kept, drawn = new_schedule().alphas_cumprod, []

    def solved(noisy: torch.Tensor, times: torch.Tensor, prompts: torch.Tensor, **_: Any) -> Any:
        share = kept[times][:, None, None, None]
        noise = (noisy - share.sqrt() * latents) / (1 - share).sqrt()
        drawn.append((times, noise))
        assert prompts is told
        return (noise,)

    for seed in range(25):
        assert float(pretraining_unet._loss(solved, told, latents, kept, seed)) < 1e-6
    times = torch.cat([times for times, _ in drawn]).double()
    noise = torch.stack([noise for _, noise in drawn])
    assert abs(float(times.mean()) - 499.5) < 4.5 * 1000 / math.sqrt(12 * len(times))
    assert abs(float(times.std()) / (1000 / math.sqrt(12)) - 1) < 4.5 * math.sqrt(0.2 / len(times))
    assert abs(float(noise.mean())) < 4.5 / math.sqrt(noise.numel())
    assert abs(float(noise.var()) - 1) < 4.5 * math.sqrt(2 / noise.numel())
    assert len({each.numpy().tobytes() for each in noise}) == 25


def test_every_update_draws_other_chips_and_other_noise(
    made: Made, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[bytes, int]] = []

    def spy(unet: Any, told: torch.Tensor, latents: torch.Tensor, kept: torch.Tensor, seed: int) -> Any:
        drawn.append((latents.numpy().tobytes(), seed))
        return loss(unet, told, latents, kept, seed)

    loss = pretraining_unet._loss
    monkeypatch.setattr(pretraining_unet, "_loss", spy)
    pretrain_unet(RECIPE, made.base, work, work / "extractor", 1)
    for kind in zip(*drawn, strict=True):
        assert len(set(kind)) == UNET.updates


def test_latents_are_those_of_the_bases_autoencoder(made: Made) -> None:
    vae: Any = load_vae(made.base)
    for index in range(2):
        chips = read_shard(made.work / "pool", index).chips.astype(np.float32)[:, None]
        with torch.no_grad():
            expected = vae.encode(torch.from_numpy(chips)).latent_dist.mean
        found = np.load(made.work / "unet-latents" / f"{index:05d}.npy")
        np.testing.assert_allclose(found, expected.numpy(), rtol=2**-11, atol=2**-12)


def test_the_folder_is_an_extractor_with_the_averaged_weights_and_the_bases_autoencoder(made: Made) -> None:
    folder = resolve_extractor(ExtractorRef(str(made.out), revision=None, layers="all"))
    saved = latest_checkpoint(made.work / "unet")
    assert saved is not None
    extractor = load_extractor(folder, [LAYER], "fp32", "cpu")
    for name, weights in extractor.unet.state_dict().items():
        assert torch.equal(weights.to(torch.bfloat16), saved.tensors[f"ema/{name}"].to(torch.bfloat16)), name
    assert (made.out / "vae/diffusion_pytorch_model.safetensors").read_bytes() == (
        made.base.path / "vae/diffusion_pytorch_model.safetensors"
    ).read_bytes()
    seen = extractor.see(torch.zeros(1, 4, 8, 8), 1)
    assert len(seen) == 1
