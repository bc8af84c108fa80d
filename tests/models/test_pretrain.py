"""Pretraining of the small base: resumed it is the uninterrupted one; its folder is what was trained."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from ruamel.yaml import YAML

from sarcurate.errors import DataError, ParamsError
from sarcurate.io import practice_pool
from sarcurate.io.practice_pool import PoolPlan, Shard, read_shard
from sarcurate.io.recipe_file import PACKAGED
from sarcurate.io.sensors import load_profile
from sarcurate.models import pretrain as pretraining
from sarcurate.models import pretrain_flow
from sarcurate.models.averaged_training import FlowSettings
from sarcurate.models.base import (
    BaseRef,
    encode_prompts,
    load_scheduler,
    load_transformer,
    load_vae,
    resolve_base,
)
from sarcurate.models.checkpoint import latest_checkpoint
from sarcurate.models.flow import TimeLaw
from sarcurate.models.pretrain import Recipe, load_recipe, pretrain
from sarcurate.models.pretrain_flow import LatentShard, train_flow
from sarcurate.models.pretrain_vae import (
    PolishSettings,
    VaeSettings,
    polish_decoder,
    train_vae,
)
from sarcurate.models.sampling import SampleSettings, sample_latents
from sarcurate.models.tiny_base import new_vae

HELD_BACK = 20
SEED = 5
VAE = VaeSettings(
    updates=5,
    batch_size=2,
    crop_px=8,
    learning_rate=3e-3,
    warmup=2,
    spectrum_weight=0.02,
    checkerboard_weight=0.5,
    kl_weight=1e-3,
    save_every=2,
)
POLISH = PolishSettings(
    updates=5, batch_size=2, crop_px=8, most_contrast=2.0, learning_rate=3e-3, warmup=2, save_every=2
)
FLOW = FlowSettings(
    updates=5,
    batch_size=2,
    crop_latents=(8, 4),
    learning_rate=3e-3,
    warmup=2,
    decay_fraction=0.2,
    ema_decay=0.3,
    save_every=2,
)
LAW = TimeLaw(mean=0.2, std=1.1, shift=1.25)
RECIPE = Recipe(
    pool=PoolPlan(sensors=HELD_BACK + 2, chip_px=16, seed=SEED, kept_away=()),
    vae=VAE,
    polish=POLISH,
    flow=FLOW,
    unet=FLOW,
    law=LAW,
    seed=SEED,
    threads=1,
)
CHIPS = 3
LOG_EVERY = 2
NEVER = -1
PROMPT = "SAR image, ground"
State = dict[str, torch.Tensor]
OnUpdate = Callable[[int, float], None]


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Few chips, frequent log lines, and one thread for this module alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(RECIPE.threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(practice_pool, "CHIPS_PER_SENSOR", CHIPS)
        patch.setattr(pretraining, "_LOG_EVERY", LOG_EVERY)
        yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Made:
    """An uninterrupted pretraining; not to be written to."""

    work: Path
    out: Path

    def shards(self) -> list[Shard]:
        return [read_shard(self.work / "pool", index) for index in range(2)]

    def chips(self) -> list[NDArray[np.float16]]:
        return [shard.chips for shard in self.shards()]

    def latents(self) -> list[LatentShard]:
        return [
            LatentShard(np.load(self.work / "latents" / f"{index:05d}.npy"), shard.rows)
            for index, shard in enumerate(self.shards())
        ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small: None) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("pretrained")
    whole = Made(folder / "work", folder / "base")
    pretrain(RECIPE, whole.work, whole.out, 1)
    yield whole
    shutil.rmtree(folder)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """A folder that is gone afterwards: checkpoints are large."""
    yield tmp_path / "work"
    shutil.rmtree(tmp_path / "work", ignore_errors=True)


@dataclass(frozen=True)
class Plain:
    """Weights of an uninterrupted training, its folder of checkpoints, and what it told of each update."""

    weights: State
    saved: Path
    told: list[tuple[int, float]]


class KilledError(Exception):
    pass


def killed_at(update: int, told: list[tuple[int, float]] | None = None) -> OnUpdate:
    """Raise at an update, before it can be saved; all updates go to ``told``."""

    def on_update(made: int, loss: float) -> None:
        if told is not None:
            told.append((made, loss))
        if made == update:
            raise KilledError

    return on_update


def quiet(made: int, loss: float) -> None:
    pass


def no_update(made: int, loss: float) -> None:
    pytest.fail("trained again")


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def with_(recipe: Recipe, field: str, value: Any) -> Recipe:
    """The recipe with a field such as ``vae.updates`` changed."""
    part, _, name = field.rpartition(".")
    if not part:
        return replace(recipe, **{name: value})
    changed: Any = replace(getattr(recipe, part), **{name: value})
    return replace(recipe, **{part: changed})


# --- the recipe


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("pool.sensors", HELD_BACK, "more than the 20 that are held back"),
        ("pool.sensors", 1, "more than the 20 that are held back"),
        ("pool.chip_px", 20, "a multiple of 8, at most 384"),
        ("pool.chip_px", 392, "a multiple of 8, at most 384"),
        ("vae.crop_px", 7, "a multiple of 2, at most 16"),
        ("vae.crop_px", 18, "a multiple of 2, at most 16"),
        ("polish.crop_px", 7, "a multiple of 2, at most 16"),
        ("polish.crop_px", 18, "a multiple of 2, at most 16"),
        ("flow.crop_latents", 6, "a multiple of 4, at most 8"),
        ("flow.crop_latents", 12, "a multiple of 4, at most 8"),
        ("unet.crop_latents", 6, "a multiple of 4, at most 8"),
        ("unet.crop_latents", 12, "a multiple of 4, at most 8"),
    ],
)
def test_sizes_that_do_not_fit_each_other_are_refused(field: str, value: int, expected: str) -> None:
    given = (8, value) if field.endswith("crop_latents") else value
    message = f"recipe: {field} is {value}, expected {expected}\nFix: correct {field}"
    with pytest.raises(ParamsError, match=f"^{re.escape(message)}$"):
        with_(RECIPE, field, given)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pool.sensors", HELD_BACK + 1),
        ("pool.chip_px", 384),
        ("vae.crop_px", 16),
        ("polish.crop_px", 16),
        ("flow.crop_latents", (8,)),
        ("unet.crop_latents", (8,)),
    ],
)
def test_largest_and_smallest_sizes_are_taken(field: str, value: Any) -> None:
    part, name = field.split(".")
    assert getattr(getattr(with_(RECIPE, field, value), part), name) == value


def packaged() -> Any:
    return YAML(typ="safe", pure=True).load(files("sarcurate").joinpath(PACKAGED).read_text(encoding="utf-8"))


def test_the_packaged_recipe_fits() -> None:
    recipe, written = load_recipe(None), packaged()
    for part in ("flow", "unet"):
        written[part]["crop_latents"] = tuple(written[part]["crop_latents"])
    kept_away = tuple(load_profile(name).sensor_model() for name in written["pool"].pop("kept_away"))
    assert recipe.pool == PoolPlan(**written["pool"], seed=written["seed"], kept_away=kept_away)
    for part, name in (*((part, part) for part in ("vae", "polish", "flow", "unet")), ("law", "times")):
        assert asdict(getattr(recipe, part)) == written[name], name
    assert (recipe.seed, recipe.threads) == (written["seed"], written["threads"])


def test_a_recipe_file_is_checked_for_its_sizes(tmp_path: Path) -> None:
    written = packaged()
    written["polish"]["crop_px"] = 98
    YAML(typ="safe", pure=True).dump(written, tmp_path / "mine.yaml")
    with pytest.raises(ParamsError, match=r"polish\.crop_px is 98, expected a multiple of 2, at most 96"):
        load_recipe(tmp_path / "mine.yaml")


# --- each training by itself


def run_vae(made: Made, work: Path, on_update: OnUpdate = quiet, recipe: Recipe = RECIPE) -> State:
    vae: Any = train_vae(made.chips(), recipe.vae, recipe.seed, work, on_update)
    spread = torch.tensor([vae.config.shift_factor, vae.config.scaling_factor])
    return {**vae.state_dict(), "spread": spread}


def run_polish(made: Made, work: Path, on_update: OnUpdate = quiet, recipe: Recipe = RECIPE) -> State:
    vae = untrained_vae()
    polish_decoder(vae, made.chips(), recipe.polish, recipe.vae, recipe.seed, work, on_update)
    return dict(vae.state_dict())


def run_flow(made: Made, work: Path, on_update: OnUpdate = quiet, recipe: Recipe = RECIPE) -> State:
    return dict(
        train_flow(made.latents(), recipe.flow, recipe.law, recipe.seed, work, on_update).state_dict()
    )


def untrained_vae() -> Any:
    torch.manual_seed(11)
    return new_vae()


RUNS = {"vae": run_vae, "polish": run_polish, "flow": run_flow}


@pytest.fixture(scope="module")
def plain(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Plain]]:
    """Each training by itself, uninterrupted; not to be written to."""
    runs, folder = {}, tmp_path_factory.mktemp("plain")
    for part, run in RUNS.items():
        told: list[tuple[int, float]] = []
        runs[part] = Plain(run(made, folder / part, killed_at(NEVER, told)), folder / part, told)
    yield runs
    shutil.rmtree(folder)


@pytest.mark.parametrize("part", RUNS)
def test_resumed_training_is_the_uninterrupted_one_to_the_byte(
    part: str, made: Made, plain: dict[str, Plain], work: Path
) -> None:
    told: list[tuple[int, float]] = []
    saved = []
    for update in (1, 3, 4):  # before the first checkpoint, after it, and before the last
        with pytest.raises(KilledError):
            RUNS[part](made, work, killed_at(update, told))
        saved.append(steps_in(work))
    assert saved == [[], [2], [2, 4]]
    resumed = RUNS[part](made, work, killed_at(NEVER, told))
    assert same(resumed, plain[part].weights)
    assert contents(work) == contents(plain[part].saved)
    assert told == [plain[part].told[update] for update in (0, 1, 0, 1, 2, 3, 2, 3, 4, 4)]
    assert [update for update, _ in plain[part].told] == list(range(5))


@pytest.mark.parametrize("part", RUNS)
def test_finished_training_is_read_back_without_another_update(
    part: str, made: Made, plain: dict[str, Plain]
) -> None:
    assert same(RUNS[part](made, plain[part].saved, no_update), plain[part].weights)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("vae", "seed", SEED + 1),
        ("vae", "vae.updates", 4),
        ("vae", "vae.batch_size", 3),
        ("vae", "vae.crop_px", 16),
        ("vae", "vae.learning_rate", 2e-3),
        ("vae", "vae.warmup", 3),
        ("vae", "vae.spectrum_weight", 0.2),
        ("vae", "vae.checkerboard_weight", 0.0),
        ("vae", "vae.kl_weight", 0.1),
        ("polish", "seed", SEED + 1),
        ("polish", "vae.spectrum_weight", 0.2),
        ("polish", "vae.checkerboard_weight", 0.0),
        ("polish", "polish.updates", 4),
        ("polish", "polish.batch_size", 3),
        ("polish", "polish.crop_px", 16),
        ("polish", "polish.most_contrast", 1.3),
        ("polish", "polish.learning_rate", 2e-3),
        ("polish", "polish.warmup", 3),
        ("flow", "seed", SEED + 1),
        ("flow", "flow.updates", 4),
        ("flow", "flow.batch_size", 3),
        ("flow", "flow.crop_latents", (8,)),
        ("flow", "flow.learning_rate", 2e-3),
        ("flow", "flow.warmup", 3),
        ("flow", "flow.decay_fraction", 0.8),
        ("flow", "flow.ema_decay", 0.2),
        ("flow", "law.mean", 0.3),
        ("flow", "law.std", 1.2),
        ("flow", "law.shift", 1.0),
    ],
)
def test_every_value_of_the_recipe_decides_the_weights(
    part: str, field: str, value: Any, made: Made, plain: dict[str, Plain], work: Path
) -> None:
    changed = RUNS[part](made, work, recipe=with_(RECIPE, field, value))
    assert not same(changed, plain[part].weights)


@pytest.mark.parametrize("part", RUNS)
def test_how_often_is_saved_decides_nothing(
    part: str, made: Made, plain: dict[str, Plain], work: Path
) -> None:
    seldom = RUNS[part](made, work, recipe=with_(RECIPE, f"{part}.save_every", 100))
    assert same(seldom, plain[part].weights)
    assert steps_in(work) == [5]


@pytest.mark.slow
@pytest.mark.parametrize(("part", "updates"), [("vae", 80), ("polish", 160), ("flow", 32)])
def test_training_lowers_the_loss(part: str, updates: int, made: Made, work: Path) -> None:
    recipe = RECIPE
    for name, value in (("updates", updates), ("save_every", updates), ("batch_size", 8)):
        recipe = with_(recipe, f"{part}.{name}", value)
    told: list[tuple[int, float]] = []
    RUNS[part](made, work, killed_at(NEVER, told), recipe)
    losses = [loss for _, loss in told]
    assert np.mean(losses[-updates // 4 :]) < 0.8 * np.mean(losses[: updates // 4])


def test_prompts_reach_the_training(made: Made, plain: dict[str, Plain], work: Path) -> None:
    renamed = [
        LatentShard(shard.latents, [row | {"label": "Su-57"} for row in shard.rows])
        for shard in made.latents()
    ]
    weights = dict(train_flow(renamed, FLOW, LAW, SEED, work, quiet).state_dict())
    assert not same(weights, plain["flow"].weights)


def test_text_encoders_are_trained_too(plain: dict[str, Plain]) -> None:
    torch.manual_seed(SEED)
    untrained = pretrain_flow._new_modules().state_dict()
    for name in ("text_encoder.text_projection.weight", "text_encoder_2.text_projection.weight"):
        assert not torch.equal(plain["flow"].weights[name], untrained[name])


# --- all of it


def with_callbacks(patch: pytest.MonkeyPatch, callbacks: dict[str, OnUpdate]) -> None:
    """Let parts of a pretraining, such as the autoencoder, tell their updates to these instead of the log."""

    @contextmanager
    def logged(path: Path, what: str, updates: int) -> Iterator[OnUpdate]:
        yield callbacks.get(what, quiet)

    patch.setattr(pretraining, "_logged", logged)


def killed_while_latents_are_written(path: Path, latents: NDArray[np.float16]) -> None:
    with path.open("wb") as file:
        if path.name.startswith("00001"):
            file.write(latents.tobytes()[:100])
            raise KilledError
        np.lib.format.write_array(file, latents)


def test_resumed_pretraining_writes_the_bytes_of_the_uninterrupted_one(made: Made, work: Path) -> None:
    for part, saved in (
        ("autoencoder", "vae"),
        ("latents", ""),
        ("decoder", "polish"),
        ("transformer", "flow"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            with_callbacks(patch, {part: killed_at(3)})
            if part == "latents":
                patch.setattr(np, "save", killed_while_latents_are_written)
            with pytest.raises(KilledError):
                pretrain(RECIPE, work, work / "base", 1)
        if saved:
            assert steps_in(work / saved) == [2]
    assert not list((work / "base").iterdir())
    pretrain(RECIPE, work, work / "base", 1)
    assert contents(work / "base") == contents(made.out)
    for folder in ("pool", "vae", "latents", "polish", "flow"):
        assert contents(work / folder) == contents(made.work / folder), folder


def test_a_lost_base_is_written_again_without_another_update(
    made: Made, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_callbacks(monkeypatch, dict.fromkeys(("autoencoder", "decoder", "transformer"), no_update))
    torch.set_num_threads(RECIPE.threads + 1)
    pretrain(RECIPE, made.work, work / "again", 1)
    assert torch.get_num_threads() == RECIPE.threads
    assert contents(work / "again") == contents(made.out)


def test_held_back_sensors_are_never_read(made: Made, work: Path) -> None:
    pool = shutil.copytree(made.work / "pool", work / "pool")
    for index in range(2, HELD_BACK + 2):
        (pool / f"{index:05d}.npy").write_bytes(b"damaged")
    pretrain(RECIPE, work, work / "base", 1)
    assert contents(work / "base") == contents(made.out)


@pytest.mark.parametrize("index", [0, 1])
def test_all_other_sensors_are_read(made: Made, work: Path, index: int) -> None:
    pool = shutil.copytree(made.work / "pool", work / "pool")
    (pool / f"{index:05d}.npy").write_bytes(b"damaged")
    with pytest.raises(DataError, match=rf"practice shard .*{index:05d}\.npy cannot be read"):
        pretrain(RECIPE, work, work / "base", 1)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("seed", 6, "vae holds work with seed 5, this recipe has 6"),
        ("threads", 2, "vae holds work with threads 1, this recipe has 2"),
        ("pool.sensors", 23, "vae holds work with pool.sensors 22, this recipe has 23"),
        ("pool.seed", 6, "vae holds work with pool.seed 5, this recipe has 6"),
        ("vae.kl_weight", 0.5, "vae holds work with vae.kl_weight 0.001, this recipe has 0.5"),
        ("polish.updates", 9, "polish holds work with polish.updates 5, this recipe has 9"),
        ("flow.ema_decay", 0.5, "flow holds work with flow.ema_decay 0.3, this recipe has 0.5"),
        ("flow.crop_latents", (8,), "flow holds work with flow.crop_latents.1 4, this recipe has None"),
        ("law.shift", 3.0, "flow holds work with law.shift 1.25, this recipe has 3.0"),
    ],
)
def test_the_work_of_another_recipe_is_refused(
    field: str, value: Any, message: str, made: Made, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "fill_pool", lambda *_: pytest.fail("went on"))
    with pytest.raises(ParamsError, match=f"^{re.escape(f'{made.work}/{message}')}\n"):
        pretrain(with_(RECIPE, field, value), made.work, work, 1)


def test_another_transformer_goes_on_from_the_same_autoencoder(
    made: Made, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made.work, work, ignore=shutil.ignore_patterns("flow"))
    with_callbacks(monkeypatch, dict.fromkeys(("autoencoder", "decoder"), no_update))
    pretrain(with_(RECIPE, "flow.learning_rate", 1e-3), work, work / "base", 1)
    assert contents(work / "base" / "vae") == contents(made.out / "vae")
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert (work / "base" / weights).read_bytes() != (made.out / weights).read_bytes()


def test_log_tells_the_mean_loss_since_its_last_line(made: Made, plain: dict[str, Plain]) -> None:
    losses = [loss for _, loss in plain["vae"].told]
    lines = [json.loads(line) for line in (made.work / "vae.jsonl").read_text().splitlines()]
    assert lines == [
        {"update": end, "loss": pytest.approx(sum(losses[end - LOG_EVERY : end]) / LOG_EVERY, abs=1e-5)}
        for end in (2, 4)
    ]
    assert {path.name for path in made.work.glob("*.jsonl")} == {"vae.jsonl", "polish.jsonl", "flow.jsonl"}


# --- the base


def ref(made: Made) -> BaseRef:
    return BaseRef(str(made.out), revision=None, t5_tokens=0, use_t5=False)


def rounded(weights: State) -> State:
    return {name: value.to(torch.bfloat16) for name, value in weights.items()}


def below(weights: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def last(folder: Path) -> State:
    saved = latest_checkpoint(folder)
    assert saved is not None
    assert saved.step == 5
    return saved.tensors


def test_the_base_is_what_the_trainings_left(made: Made) -> None:
    from safetensors.torch import load_file

    folder = resolve_base(ref(made))
    vae: Any = load_vae(folder)
    encoder = below(last(made.work / "vae"), "encoder.")
    assert same(rounded(dict(vae.encoder.state_dict())), rounded(encoder))
    decoder = {name: value for name, value in last(made.work / "polish").items() if "/" not in name}
    assert same(rounded(dict(vae.decoder.state_dict())), rounded(decoder))
    averages = below(last(made.work / "flow"), "ema/")
    transformer = dict(load_transformer(folder, "bf16").named_parameters())
    assert same({n: p.detach() for n, p in transformer.items()}, rounded(below(averages, "transformer.")))
    for part in ("text_encoder", "text_encoder_2"):
        written = load_file(made.out / part / "model.safetensors")
        assert same(written, rounded(below(averages, f"{part}."))), part
    scheduler: Any = load_scheduler(folder)
    assert scheduler.config.shift == LAW.shift


def encoded(vae: Any, chips: NDArray[np.floating]) -> torch.Tensor:
    with torch.no_grad():
        latents: torch.Tensor = vae.encode(torch.from_numpy(chips.astype(np.float32))).latent_dist.mean
    return latents


def test_latents_trained_on_are_those_of_the_bases_autoencoder(made: Made) -> None:
    vae: Any = load_vae(resolve_base(ref(made)))
    for shard, latents in zip(made.shards(), made.latents(), strict=True):
        assert latents.latents.dtype == np.float16
        assert latents.latents.shape == (CHIPS, 4, 8, 8)
        expected = (encoded(vae, shard.chips[:, None]) - vae.config.shift_factor) * vae.config.scaling_factor
        # The base is stored in bfloat16, which has 8 bits.
        np.testing.assert_allclose(latents.latents, expected.numpy(), atol=0.03)


def test_the_base_draws_a_chip(made: Made) -> None:
    folder = resolve_base(ref(made))
    vae: Any = load_vae(folder)
    latents = sample_latents(
        load_transformer(folder, "fp32"),
        load_scheduler(folder),
        encode_prompts(folder, ref(made), [PROMPT], "cpu"),
        None,
        [0],
        (4, 8, 8),
        SampleSettings(steps=2, guidance=1.0, negative_prompt="", precision="fp32", batch_size=1),
    )
    with torch.no_grad():
        chip = vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample
    assert chip.shape == (1, 1, 16, 16)
    assert bool(torch.isfinite(chip).all())
    assert float(chip.std()) > 0


def test_plain_diffusers_draws_from_the_base(made: Made) -> None:
    from diffusers import StableDiffusion3Pipeline

    pipeline = StableDiffusion3Pipeline.from_pretrained(
        made.out, text_encoder_3=None, tokenizer_3=None, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    drawn = pipeline(
        PROMPT,
        height=16,
        width=16,
        num_inference_steps=2,
        guidance_scale=2.0,
        generator=generator,
        output_type="pt",
    ).images
    assert drawn.shape == (1, 1, 16, 16)
    assert bool(torch.isfinite(drawn).all())
    assert float(drawn.std()) > 0
