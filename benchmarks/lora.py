"""LoRA steps per second: latents and prompts encoded once, against a loop that encodes them at each step.

Run: `make bench NAME=lora`. The shape of sarcurate-tiny with random weights, at equal batch and layers; the
loops take turns in one run, and the best of each counts. `speedup` is tune as its default has it (bfloat16
base, float32 adapter) over the plain loop in float32, as the examples of diffusers run without options;
`speedup_fp32` and `speedup_bf16` are at equal precision. The last line is one JSON object.
"""

import json
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sarcurate.models.flow import STEPS_PER_UNIT, LossWeighting, TimeLaw
from sarcurate.models.lora import attach_lora, lora_parameters
from sarcurate.models.lora_batches import TrainingChips
from sarcurate.models.lora_training import Callbacks, LoraSettings, train_lora
from sarcurate.models.prompt_encoding import PromptEmbeddings, clip_embeddings
from sarcurate.models.tiny_base import CHIP_PX, new_text_encoders, new_tokenizer, new_transformer, new_vae

CHIPS, ROUNDS, STEPS = 64, 3, 8
PRECISIONS: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
CLASSES = [f"class {number}" for number in range(7)]
SETTINGS = LoraSettings(
    preset="paper",
    rank=16,
    alpha=16.0,
    steps=STEPS,
    batch_size=16,
    micro_batch=16,
    learning_rate=1e-4,
    warmup=100,
    cooldown=0,
    weight_decay=1e-4,
    ema_decay=0.999,
    caption_dropout=0.1,
    weighting=LossWeighting.VELOCITY,
    law=TimeLaw(0.0, 1.0, 1.0),
    gradient_checkpointing=False,
    precision="fp32",
    validate_every=STEPS,
    patience=None,
    save_every=STEPS,
    keep="best",
    threads=torch.get_num_threads(),
)


def main() -> None:
    torch.manual_seed(0)
    vae, encoders, tokenizer = new_vae().eval(), new_text_encoders(), new_tokenizer()
    values = torch.rand(CHIPS, 1, CHIP_PX, CHIP_PX) * 2 - 1
    labels = [f"SAR image, {CLASSES[chip % len(CLASSES)]}" for chip in range(CHIPS)]
    start = time.perf_counter()
    chips = encoded(values, vae, encoders, tokenizer)
    encoding_s = time.perf_counter() - start
    seconds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for precision in PRECISIONS:
            cached_s = cached_step_s(chips, precision)
            seconds.setdefault(f"cached_{precision}", []).append(cached_s)
            plain_s = plain_step_s(values, labels, vae, encoders, tokenizer, precision)
            seconds.setdefault(f"plain_{precision}", []).append(plain_s)
    rates = {name: 1 / min(found) for name, found in seconds.items()}
    found = {
        "speedup": round(rates["cached_bf16"] / rates["plain_fp32"], 2),
        "speedup_fp32": round(rates["cached_fp32"] / rates["plain_fp32"], 2),
        "speedup_bf16": round(rates["cached_bf16"] / rates["plain_bf16"], 2),
        **{f"{name}_steps_per_s": round(rate, 2) for name, rate in rates.items()},
        "encoding_once_s": round(encoding_s, 2),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "batch_size": SETTINGS.batch_size,
        "threads": SETTINGS.threads,
    }
    print(json.dumps(found))


def encoded(values: torch.Tensor, vae: Any, encoders: Any, tokenizer: Any) -> TrainingChips:
    with torch.no_grad():
        latents = torch.cat([vae.encode(part).latent_dist.mean for part in values.split(16)])
        told = clip_embeddings(["", *(f"SAR image, {name}" for name in CLASSES)], tokenizer, encoders)
    return TrainingChips(
        tuple(f"chip{chip:03d}" for chip in range(CHIPS)),
        latents,
        torch.ones(latents.shape[-2:]),
        tuple(chip % len(CLASSES) + 1 for chip in range(CHIPS)),
        PromptEmbeddings(told.tokens, told.pooled),
    )


def cached_step_s(chips: TrainingChips, precision: Literal["fp32", "bf16"]) -> float:
    """Median time between the ends of two steps."""
    ends: list[float] = []
    one = TrainingChips(
        chips.chip_ids[:1], chips.latents[:1], chips.mask, chips.prompt_index[:1], chips.prompts
    )
    callbacks = Callbacks(on_step=lambda step, loss: ends.append(time.perf_counter()))
    with tempfile.TemporaryDirectory() as work:
        settings = replace(SETTINGS, precision=precision)
        train_lora(transformer(precision), chips, one, settings, 0, Path(work), callbacks)
    return float(np.median(np.diff(ends)))


def transformer(precision: str) -> Any:
    return new_transformer().to(torch.bfloat16 if precision == "bf16" else torch.float32)


def plain_step_s(
    values: torch.Tensor, labels: list[str], vae: Any, encoders: Any, tokenizer: Any, precision: str
) -> float:
    """Median time of a step as the examples of diffusers make it, without their caches."""
    model = transformer(precision)
    attach_lora(model, SETTINGS.preset, SETTINGS.rank, SETTINGS.alpha, seed=0)
    parameters = list(lora_parameters(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=SETTINGS.learning_rate)
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        rows = torch.randperm(CHIPS)[: SETTINGS.batch_size]
        with torch.no_grad():
            latents = vae.encode(values[rows]).latent_dist.sample()
            told = clip_embeddings([labels[row] for row in rows], tokenizer, encoders)
        noise, level = torch.randn_like(latents), torch.sigmoid(torch.randn(len(rows)))
        share = level[:, None, None, None]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            velocity = model(
                hidden_states=((1 - share) * latents + share * noise).to(model.dtype),
                encoder_hidden_states=told.tokens.to(model.dtype),
                pooled_projections=told.pooled.to(model.dtype),
                timestep=level * STEPS_PER_UNIT,
                return_dict=False,
            )[0]
        torch.mean((velocity.float() - (noise - latents)) ** 2).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


if __name__ == "__main__":
    main()
