from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sarcurate.errors import DataError, HardwareError
from sarcurate.models import lora_training
from sarcurate.models.flow import LossWeighting, TimeLaw
from sarcurate.models.lora import lora_parameters
from sarcurate.models.lora_batches import TrainingChips, batch_rows, training_batch, validation_batch
from sarcurate.models.lora_training import Callbacks, LoraResult, LoraSettings, train_lora
from sarcurate.models.prompt_encoding import PromptEmbeddings

SETTINGS = LoraSettings(
    preset="paper",
    rank=2,
    alpha=2.0,
    steps=6,
    batch_size=4,
    micro_batch=4,
    learning_rate=1e-2,
    warmup=2,
    cooldown=0,
    weight_decay=1e-4,
    ema_decay=0.9,
    caption_dropout=0.25,
    weighting=LossWeighting.VELOCITY,
    law=TimeLaw(0.0, 1.0, 1.0),
    gradient_checkpointing=False,
    precision="fp32",
    validate_every=2,
    patience=None,
    save_every=2,
    keep="best",
    threads=1,
)
TOKENS, WIDTH, POOLED = 2, 12, 10


def base_transformer(dtype: torch.dtype = torch.float32) -> Any:
    from diffusers import SD3Transformer2DModel

    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=2,
        out_channels=2,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=POOLED,
        pos_embed_max_size=4,
        qk_norm="rms_norm",
    )
    return transformer if dtype == torch.float32 else transformer.to(dtype)


def chips_of(n: int, first: int = 0, mask: torch.Tensor | None = None) -> TrainingChips:
    """Chips whose ids say their number; chip i is told by prompt i + 1."""
    generator = torch.Generator().manual_seed(first)
    return TrainingChips(
        tuple(f"chip{first + index:03d}" for index in range(n)),
        torch.randn(n, 2, 4, 4, generator=generator),
        torch.ones(4, 4) if mask is None else mask,
        tuple(range(1, n + 1)),
        prompts_of(n + 1),
    )


def prompts_of(n: int) -> PromptEmbeddings:
    """Every token of prompt i is i / 10."""
    level = torch.arange(n) / 10.0
    return PromptEmbeddings(level[:, None, None].expand(n, TOKENS, WIDTH), level[:, None].expand(n, POOLED))


def run(
    work: Path,
    settings: LoraSettings = SETTINGS,
    change: Callable[[Any], None] = lambda transformer: None,
    train: TrainingChips | None = None,
    validation: TrainingChips | None = None,
    seed: int = 3,
    **callbacks: Any,
) -> LoraResult:
    transformer = base_transformer()
    change(transformer)
    return train_lora(
        transformer,
        train or chips_of(7),
        validation or chips_of(3, first=100),
        settings,
        seed,
        work,
        Callbacks(**callbacks),
    )


def with_(**values: Any) -> LoraSettings:
    return dataclasses.replace(SETTINGS, **values)


def wrapped(before: Callable[..., None] = lambda **given: None, after: Any = None) -> Callable[[Any], None]:
    """A change of a transformer: ``before`` sees what it is given, ``after`` changes its output."""

    def change(transformer: Any) -> None:
        plain = transformer.forward

        def forward(**given: Any) -> tuple[torch.Tensor]:
            before(**given)
            out = plain(**given)[0]
            return (after(out) if after else out,)

        transformer.forward = forward

    return change


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class KilledError(Exception):
    pass


def killed_at(step: int) -> Callable[[int, float], None]:
    def on_step(made: int, loss: float) -> None:
        if made == step:
            raise KilledError

    return on_step


def test_resumed_run_is_the_uninterrupted_one_to_the_byte(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    for step in (3, 5):  # killed twice, each time after a checkpoint
        with pytest.raises(KilledError):
            run(tmp_path / "parts", on_step=killed_at(step))
    resumed = run(tmp_path / "parts")
    assert same(resumed.ema_state, whole.ema_state)
    assert resumed.history == whole.history
    assert [row.step for row in whole.history] == list(range(7))
    for name in ("tensors.safetensors", "notes.json"):  # adapter, optimiser, average, best, history
        one, other = (tmp_path / kind / "step-00000006" / name for kind in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes()
    assert not same(run(tmp_path / "seed", seed=4).ema_state, whole.ema_state)


def test_finished_run_is_read_back_without_another_step(tmp_path: Path) -> None:
    whole = run(tmp_path)
    again = run(tmp_path, on_step=killed_at(1), on_validation=lambda *_: pytest.fail("validated again"))
    assert same(again.ema_state, whole.ema_state)
    assert (again.history, again.kept_step, again.stopped_early) == (whole.history, whole.kept_step, False)


def test_transformer_bears_the_result_and_its_base_is_untouched(tmp_path: Path) -> None:
    seen = []
    result = run(tmp_path, change=seen.append)
    assert same({n: p.detach() for n, p in lora_parameters(seen[0]).items()}, result.ema_state)
    plain = dict(base_transformer().named_parameters())
    after = {n.replace(".base_layer", ""): p for n, p in seen[0].named_parameters() if "lora" not in n}
    assert same({n: p.detach() for n, p in plain.items()}, {n: p.detach() for n, p in after.items()})
    assert any(bool(value.any()) for name, value in result.ema_state.items() if "lora_B" in name)


def test_every_chip_is_told_by_its_own_prompt(tmp_path: Path) -> None:
    n = 7
    numbers = torch.arange(1.0, n + 1)
    chips = TrainingChips(
        tuple(f"chip{'caged fb'.replace(' ', 'h')[i]}" for i in range(n)),  # ids not in the order of the rows
        (1000 * numbers)[:, None, None, None].expand(n, 2, 4, 4).contiguous(),
        torch.ones(4, 4),
        tuple(range(1, n + 1)),
        prompts_of(n + 1),
    )
    pairs = []

    def record(hidden_states: Any, encoder_hidden_states: Any, timestep: Any, **_: Any) -> None:
        if torch.is_grad_enabled():
            data = hidden_states.mean((1, 2, 3)) / (1 - timestep / 1000) / 1000
            told = encoder_hidden_states.mean((1, 2)) * 10
            pairs.extend(zip(data.round().tolist(), told.round().tolist(), strict=True))

    settings = with_(steps=14, caption_dropout=0.0, law=TimeLaw(0.0, 0.5, 1.0), micro_batch=3)
    run(tmp_path, settings, wrapped(record), train=chips)
    assert all(number == told for number, told in pairs)
    # 14 steps of 4 are 8 epochs of 7, each of them every chip once, in orders that differ.
    epochs = [tuple(number for number, _ in pairs[start : start + n]) for start in range(0, 8 * n, n)]
    assert all(sorted(epoch) == list(numbers) for epoch in epochs)
    assert len(set(epochs)) > 4


def test_order_of_the_chips_does_not_matter() -> None:
    chips = chips_of(7)
    order = [4, 2, 6, 0, 1, 5, 3]
    shuffled = TrainingChips(
        tuple(chips.chip_ids[i] for i in order),
        chips.latents[order],
        chips.mask,
        tuple(chips.prompt_index[i] for i in order),
        chips.prompts,
    )
    for step in range(5):
        one, other = (training_batch(c, step, 5, SETTINGS.law, 0.3, seed=1) for c in (chips, shuffled))
        assert one.chip_ids == other.chip_ids
        for name in ("latents", "noise", "sigmas", "prompt_rows"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_batch_larger_than_the_set_draws_anew_for_each_place() -> None:
    batch = training_batch(chips_of(2), 0, 6, SETTINGS.law, 0.0, seed=0)
    assert sorted(batch.chip_ids) == ["chip000"] * 3 + ["chip001"] * 3
    assert len({float(sigma) for sigma in batch.sigmas}) == 6
    assert len({float(noise.sum()) for noise in batch.noise}) == 6
    assert batch_rows(["a"], 0, 2, 0) == [0, 0]


def test_draws_follow_their_laws() -> None:
    """Dropout binomial, noise of unit variance, logit of the levels normal; all within 4.5 deviations."""
    share, law = 0.2, TimeLaw(0.3, 0.8, 1.0)
    batches = [training_batch(chips_of(7), step, 8, law, share, seed=0) for step in range(250)]
    n = 8 * 250
    dropped = sum(int((batch.prompt_rows == 0).sum()) for batch in batches)
    assert abs(dropped - n * share) < 4.5 * math.sqrt(n * share * (1 - share))
    logits = torch.cat([torch.logit(batch.sigmas.double()) for batch in batches])
    assert abs(float(logits.mean()) - 0.3) < 4.5 * 0.8 / math.sqrt(n)
    assert abs(float(logits.std()) / 0.8 - 1) < 4.5 / math.sqrt(2 * n)
    noise = torch.cat([batch.noise.ravel() for batch in batches])
    assert abs(float(noise.mean())) < 4.5 / math.sqrt(len(noise))
    assert abs(float(noise.var()) - 1) < 4.5 * math.sqrt(2 / len(noise))


def test_validation_is_the_same_every_time_and_never_drops_captions() -> None:
    chips = chips_of(5)
    one, other = (validation_batch(chips, SETTINGS.law, seed=2) for _ in range(2))
    assert torch.equal(one.noise, other.noise)
    assert torch.equal(one.sigmas, other.sigmas)
    assert one.prompt_rows.tolist() == [1, 2, 3, 4, 5] * 2
    assert len({float(sigma) for sigma in one.sigmas}) == 10
    # What a chip gets does not hang on which others are there.
    fewer = validation_batch(
        dataclasses.replace(chips_of(3), latents=chips.latents[:3]), SETTINGS.law, seed=2
    )
    assert torch.equal(fewer.noise[:3], one.noise[:3])
    assert torch.equal(fewer.noise[3:], one.noise[5:8])


def test_micro_batch_changes_neither_draws_nor_the_mean_gradient(tmp_path: Path) -> None:
    seen: dict[int, list[torch.Tensor]] = {4: [], 3: [], 1: []}
    results = {}
    for micro, noisy in seen.items():

        def record(hidden_states: Any, noisy: list[torch.Tensor] = noisy, **_: Any) -> None:
            noisy.extend(hidden_states.detach())

        results[micro] = run(tmp_path / str(micro), with_(micro_batch=micro), wrapped(record))
    for micro in (3, 1):
        torch.testing.assert_close(torch.stack(seen[micro]), torch.stack(seen[4]), rtol=0, atol=0)
        for row, whole in zip(results[micro].history, results[4].history, strict=True):
            assert row.micro_batch == micro
            assert row.loss == (None if whole.loss is None else pytest.approx(whole.loss, rel=1e-4))
        for name, value in results[4].ema_state.items():
            torch.testing.assert_close(results[micro].ema_state[name], value, rtol=1e-2, atol=1e-4)


def test_first_loss_is_the_masked_mean_of_the_flow(tmp_path: Path) -> None:
    """Against a plain computation; the second matrices are zero, so the base's own output counts."""
    mask = torch.ones(4, 4)
    mask[:, 3] = 0
    chips = chips_of(7, mask=mask)
    found = run(tmp_path, with_(steps=1, weighting=LossWeighting.NOISE), train=chips).history[1].loss
    batch = training_batch(chips, 0, 4, SETTINGS.law, 0.25, seed=3)
    losses = []
    for latents, noise, sigma, row in zip(
        batch.latents, batch.noise, batch.sigmas, batch.prompt_rows, strict=True
    ):
        with torch.no_grad():
            velocity = base_transformer()(
                hidden_states=((1 - sigma) * latents + sigma * noise)[None],
                encoder_hidden_states=chips.prompts.tokens[row][None],
                pooled_projections=chips.prompts.pooled[row][None],
                timestep=1000 * sigma[None],
            ).sample[0]
        error = ((velocity - (noise - latents)) ** 2)[:, :, :3]
        losses.append(float((1 - sigma) ** 2 * error.mean()))
    assert found == pytest.approx(sum(losses) / 4, rel=1e-5)


def test_padded_cells_have_no_gradient(tmp_path: Path) -> None:
    mask = torch.ones(4, 4)
    mask[3], mask[:, 0] = 0, 0
    probe = torch.zeros(1, 2, 4, 4, requires_grad=True)
    change = wrapped(after=lambda out: out + probe)
    run(tmp_path, with_(steps=1), change, train=chips_of(7, mask=mask))
    assert probe.grad is not None
    assert torch.equal(probe.grad[0, 0] != 0, mask.bool())


def test_average_follows_its_law_and_is_worn_for_validation_only(tmp_path: Path) -> None:
    raw, worn, transformers = [], [], []

    def weights(transformer: Any) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in lora_parameters(transformer).items()}

    run(
        tmp_path,
        with_(validate_every=1, ema_decay=0.3),
        transformers.append,
        on_step=lambda step, loss: raw.append(weights(transformers[0])),
        on_validation=lambda step, loss, transformer: worn.append(weights(transformer)),
    )
    average = worn[0]
    for step, (own, found) in enumerate(zip(raw, worn[1:], strict=True)):
        decay = min(0.3, (1 + step) / (10 + step))  # the warm-up holds for the first three steps
        average = {name: decay * average[name] + (1 - decay) * own[name] for name in own}
        for name in own:
            torch.testing.assert_close(found[name], average[name], rtol=1e-5, atol=1e-6)
    assert not same(raw[-1], worn[-1])


def test_validation_leaves_the_training_alone(tmp_path: Path) -> None:
    often, seldom = (
        run(tmp_path / str(every), with_(validate_every=every)).history for every in (1, SETTINGS.steps)
    )
    assert [row.loss for row in often] == [row.loss for row in seldom]


def test_rate_rises_over_the_warm_up(tmp_path: Path) -> None:
    """The first update of Adam moves a weight by its rate, whatever the gradient's size."""
    moved = {}
    for warmup in (1, 4):
        transformers: list[Any] = []
        settings = with_(steps=1, warmup=warmup, weight_decay=0.0, ema_decay=0.0)
        run(tmp_path / str(warmup), settings, transformers.append)
        moved[warmup] = max(
            float(p.detach().abs().max())
            for n, p in lora_parameters(transformers[0]).items()
            if "lora_B" in n
        )
    assert moved[1] == pytest.approx(1e-2, rel=1e-3)
    assert moved[4] == pytest.approx(1e-2 / 4, rel=1e-3)


def test_rate_falls_over_the_cooldown() -> None:
    settings = with_(steps=10, warmup=2, cooldown=4)
    shares = [lora_training._share_of_rate(step, settings) for step in range(10)]
    assert shares == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]


def test_the_last_updates_move_less_where_the_rate_cools_down(tmp_path: Path) -> None:
    moved = {}
    for cooldown in (0, 4):
        states: list[Any] = []
        settings = with_(steps=4, warmup=0, cooldown=cooldown, weight_decay=0.0, ema_decay=0.0)
        run(tmp_path / str(cooldown), settings, states.append)
        moved[cooldown] = sum(
            float(p.detach().abs().sum()) for n, p in lora_parameters(states[0]).items() if "lora_B" in n
        )
    assert moved[4] < moved[0]


def test_learns_a_set_it_can_remember(tmp_path: Path) -> None:
    chips = chips_of(4)
    settings = with_(steps=60, rank=8, alpha=8.0, learning_rate=3e-2, validate_every=20, preset="wide")
    history = run(tmp_path, settings, train=chips, validation=chips).history
    losses = [row.validation_loss for row in history if row.validation_loss is not None]
    assert [row.step for row in history if row.validation_loss is not None] == [0, 20, 40, 60]
    assert losses[-1] < 0.8 * losses[0]


def test_keeps_the_last_average_where_asked_for(tmp_path: Path) -> None:
    worn: dict[int, dict[str, torch.Tensor]] = {}
    made = [0]

    def after(out: torch.Tensor) -> torch.Tensor:
        return out if torch.is_grad_enabled() else out + made[0]  # worse from update to update

    def on_validation(step: int, loss: float, transformer: Any) -> None:
        worn[step] = {name: p.detach().clone() for name, p in lora_parameters(transformer).items()}

    def on_step(step: int, loss: float) -> None:
        made[0] = step

    for keep, step in (("best", 1), ("last", 3)):
        made[0] = 0
        settings = with_(steps=3, validate_every=1, keep=keep)
        callbacks: Any = {"on_step": on_step, "on_validation": on_validation}
        result = run(tmp_path / keep, settings, wrapped(after=after), **callbacks)
        assert result.kept_step == step
        assert same(result.ema_state, worn[step])


def test_stops_early_with_the_best_average(tmp_path: Path) -> None:
    worn: dict[int, dict[str, torch.Tensor]] = {}
    worse = {2: 1.0, 3: 0.5, 4: 2.0, 5: 3.0}  # offsets of the output, by updates made
    made = [0]

    def after(out: torch.Tensor) -> torch.Tensor:
        return out if torch.is_grad_enabled() else out + 10 * worse.get(made[0], 5.0)

    def on_validation(step: int, loss: float, transformer: Any) -> None:
        worn[step] = {name: p.detach().clone() for name, p in lora_parameters(transformer).items()}

    def on_step(step: int, loss: float) -> None:
        made[0] = step
        if step == kill:
            raise KilledError

    def once() -> LoraResult:
        settings = with_(steps=20, validate_every=1, patience=2)
        return run(tmp_path, settings, wrapped(after=after), on_step=on_step, on_validation=on_validation)

    kill = 5  # the best average, of step 3, comes back from the checkpoint of step 4
    with pytest.raises(KilledError):
        once()
    kill = 0
    result = once()
    assert (result.kept_step, result.steps_made, result.stopped_early) == (3, 5, True)
    assert same(result.ema_state, worn[3])
    assert (tmp_path / "step-00000005").is_dir()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
def test_micro_batch_halves_until_it_fits(tmp_path: Path, error: RuntimeError) -> None:
    def too_much(hidden_states: Any, **_: Any) -> None:
        if len(hidden_states) > 2 and torch.is_grad_enabled():
            raise error

    settings = with_(batch_size=8, micro_batch=8)
    stepped = run(tmp_path / "stepped", settings, wrapped(too_much))
    assert [row.micro_batch for row in stepped.history] == [8, *[2] * 6]
    plain = run(tmp_path / "plain", dataclasses.replace(settings, micro_batch=2))
    assert same(stepped.ema_state, plain.ema_state)
    # A resumed run starts with the size that was found to fit.
    assert stepped.history[1:] == plain.history[1:]
    again = run(tmp_path / "stepped", dataclasses.replace(settings, steps=7), wrapped(too_much))
    assert again.history[7].micro_batch == 2


def test_device_that_holds_no_single_sample_is_refused(tmp_path: Path) -> None:
    def too_much(**_: Any) -> None:
        if torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    message = (
        r"step 1 does not fit .* one sample at a time: weights of \d+ MiB, latents of 2 x 4 x 4: .*2.00 GiB"
    )
    with pytest.raises(HardwareError, match=message):
        run(tmp_path, change=wrapped(too_much))


def test_other_runtime_errors_pass(tmp_path: Path) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run(tmp_path, change=wrapped(broken))


def test_divergence_is_told_and_nothing_is_saved(tmp_path: Path) -> None:
    def after(out: torch.Tensor) -> torch.Tensor:
        return out * math.inf if torch.is_grad_enabled() else out

    with pytest.raises(DataError, match=r"diverged at step 1: loss (nan|inf)") as caught:
        run(tmp_path, change=wrapped(after=after))
    assert "lower tune.learning_rate (0.01)" in caught.value.fix
    assert not list(tmp_path.glob("step-*"))
    with pytest.raises(DataError, match="validation loss after step 0 is nan"):
        run(tmp_path, change=wrapped(after=lambda out: out * math.nan))


def test_gradient_that_is_not_finite_is_told(tmp_path: Path) -> None:
    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * math.nan

    def after(out: torch.Tensor) -> torch.Tensor:
        if out.requires_grad:
            out.register_hook(spoil)
        return out

    with pytest.raises(DataError, match=r"diverged at step 1: loss \d.*, norm of its gradient nan"):
        run(tmp_path, change=wrapped(after=after))


def test_bfloat16_base_trains_a_float32_adapter(tmp_path: Path) -> None:
    transformer = base_transformer(torch.bfloat16)
    settings = with_(precision="bf16", gradient_checkpointing=True, steps=2)
    result = train_lora(transformer, chips_of(5), chips_of(2, 50), settings, 0, tmp_path, Callbacks())
    assert {value.dtype for value in result.ema_state.values()} == {torch.float32}
    assert any(bool(value.any()) for name, value in result.ema_state.items() if "lora_B" in name)


def test_gradient_checkpointing_and_precision_change_little(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain").history[-1].loss
    checkpointed = run(tmp_path / "checkpointed", with_(gradient_checkpointing=True)).history[-1].loss
    halved = run(tmp_path / "halved", with_(precision="bf16")).history[-1].loss
    assert checkpointed == pytest.approx(plain, rel=1e-5)
    assert halved == pytest.approx(plain, rel=0.03)  # bfloat16 has 8 bits
    assert halved != plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chip_ids": ("a", "a")}, "2 chips with 1 different ids"),
        ({"chip_ids": ()}, "0 chips"),
        ({"latents": torch.zeros(3, 2, 4, 4)}, "2 chip ids, 3 latents and 2 prompts"),
        ({"prompt_index": (1,)}, "2 chip ids, 2 latents and 1 prompts"),
        ({"mask": torch.ones(4, 5)}, r"mask \(4, 5\) for latents \(4, 4\)"),
        ({"prompt_index": (1, 3)}, "chip chip001: prompt 3 of 3"),
        ({"prompt_index": (0, 1)}, "chip chip000: prompt 0 of 3"),
        (
            {"latents": torch.tensor([1.0, math.nan])[:, None, None, None].expand(2, 2, 4, 4)},
            "chip001.*finite",
        ),
    ],
)
def test_chips_that_do_not_belong_together_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataclasses.replace(chips_of(2), **change)
