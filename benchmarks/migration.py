"""Chips migrated per minute against a plain loop: one chip at a time, 200 updates, nothing kept.

Run: `make bench NAME=migration`. Practice chips of two random sensors, sarcurate-tiny-unet, distillation and
content terms alone, as in the loop (tests/models/plain_distillation.py). Both are judged by their loss at the
last update, at the same time of the extractor and over the same chips. The last line is one JSON object.
"""

import importlib.util
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from sarcurate.core.model_space import ModelSpace, model_space
from sarcurate.core.practice_chips import fitting_objects, render_practice
from sarcurate.core.practice_sensors import draw_sensor
from sarcurate.execution import cpu_count
from sarcurate.models.attention_losses import StyleMemory
from sarcurate.models.extractor import BUNDLED, Extractor, ExtractorRef, load_extractor, resolve_extractor
from sarcurate.models.migration import Content, MigrationSettings, Migrator, Style
from sarcurate.models.speckle_losses import fit_pool

CHIP_PX, BATCH, PLAIN_CHIPS, SEED = 48, 16, 4, 1
SETTINGS = MigrationSettings(
    mode="robust",
    content_weight=0.25,
    speckle_weight=0.0,
    spectrum_weight=0.0,
    timesteps=5,
    iterations=16,
    learning_rate=0.05,
    pixel_every=1,
    patience=None,
    batch_size=BATCH,
    masks=False,
)


def main() -> None:
    torch.set_num_threads(cpu_count())
    chips = [practice(seed) for seed in (SEED, SEED + 1)]
    folder = resolve_extractor(ExtractorRef(BUNDLED, None, "paper"))
    extractor = load_extractor(folder, "paper", "fp32", "cpu")
    # Diffusers' own processors: the loop takes what it needs by hooks.
    untouched = load_extractor(folder, "paper", "fp32", "cpu").unet
    untouched.set_attn_processor(AttnProcessor2_0())
    latents = [extractor.latent_space.encode(part, canvas(extractor)) for part in chips]
    plain_s, plain_loss = plain(untouched, extractor, latents)
    ours_s, ours_loss = ours(extractor, chips, latents, BATCH)
    peaks = {}
    for size in (1, 4, BATCH):
        ours(extractor, chips, latents, size, rounds=1)
        peaks[f"peak_mib_batch_{size}"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        json.dumps(
            {
                "speedup": round(plain_s / ours_s, 2),
                "loss_ratio": round(ours_loss / plain_loss, 3),
                "chips_per_min": round(60 / ours_s, 1),
                "plain_chips_per_min": round(60 / plain_s, 1),
                "updates": SETTINGS.timesteps * SETTINGS.iterations,
                "batch_size": BATCH,
                "threads": torch.get_num_threads(),
                **peaks,
            }
        )
    )


def practice(seed: int) -> np.ndarray:
    """Chips of a random sensor in its own model space, (n, rows, cols)."""
    rng = np.random.default_rng(seed)
    _, sensor = draw_sensor(rng, ())
    objects = fitting_objects(sensor, CHIP_PX)
    intensity = np.stack([render_practice(sensor, objects, CHIP_PX, rng).intensity for _ in range(BATCH)])
    low, high = 10 * np.log10(np.percentile(intensity[intensity > 0], (0.1, 99.9)))
    return space_of(float(low), float(high)).to_model(intensity)


def space_of(low: float, high: float) -> ModelSpace:
    return model_space((low, high), (3.0, 12.0))


def canvas(extractor: Extractor) -> Any:
    return extractor.latent_space.canvas((CHIP_PX, CHIP_PX), None)


def plain(unet: Any, extractor: Extractor, latents: list[torch.Tensor]) -> tuple[float, float]:
    """Seconds a chip and the mean loss at the end."""
    start, losses = time.perf_counter(), []
    for place in range(PLAIN_CHIPS):
        done = loop().distil(
            unet,
            extractor.empty_prompt,
            latents[0][place : place + 1],
            [latents[1][place : place + 1]],
            extractor.capture.layers,
            content_weight=SETTINGS.content_weight,
        )
        losses.append(done.distillation[-1] + SETTINGS.content_weight * done.content[-1])
    return (time.perf_counter() - start) / PLAIN_CHIPS, float(np.mean(losses))


def ours(
    extractor: Extractor,
    chips: list[np.ndarray],
    latents: list[torch.Tensor],
    size: int,
    rounds: int = 2,
) -> tuple[float, float]:
    """Seconds a chip, best of some rounds, and the mean loss at the end of the chips that the loop had."""
    space = space_of(-20.0, 20.0)
    intensity = space.to_intensity(chips[1])
    nothing = np.zeros((CHIP_PX, CHIP_PX), dtype=bool)
    styles = {str(place): Style(chips[1][place], intensity[place], nothing) for place in range(len(chips[1]))}
    contents = [
        Content(str(place), chips[0][place], intensity[place], (str(place),)) for place in range(size)
    ]
    losses, times = [], []
    for _ in range(rounds):
        memory = StyleMemory(extractor, {name: latents[1][int(name)] for name in styles}, 1 << 30)
        settings = MigrationSettings(**{**vars(SETTINGS), "batch_size": size})
        migrator = Migrator(
            extractor, canvas(extractor), space, styles, memory, fit_pool(list(intensity)), settings
        )
        start = time.perf_counter()
        made = migrator(contents, [nothing] * size)
        times.append((time.perf_counter() - start) / size)
        shared = made[:PLAIN_CHIPS]
        losses = [one.trace[-1, 0] + SETTINGS.content_weight * one.trace[-1, 1] for one in shared]
    return min(times), float(np.mean(losses))


def loop() -> Any:
    name = "plain_distillation"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "tests/models/plain_distillation.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


if __name__ == "__main__":
    main()
