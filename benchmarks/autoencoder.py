"""Autoencoders for the small base, trained for equal time on the same practice chips: how much each loses.

Prints the mean |error| in dB and the distance of log power spectra on chips of sensors left out, for the
chosen shape (factor 2, one normalisation group) and its alternatives, and the ratio of the errors.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from sarcurate.core.spectrum import log_psd_distance, mean_power_spectrum
from sarcurate.io.practice_pool import PoolPlan, fill_pool, read_shard
from sarcurate.models.pretrain_vae import VaeSettings, draw_crops, reconstruction_loss

CANDIDATES = {
    "factor 2, 1 group": ((16, 32), 1),
    "factor 2, 8 groups": ((16, 32), 8),
    "factor 4, 1 group": ((16, 32, 64), 1),
}
SENSORS, LEFT_OUT, SEED = 24, 4, 7
# The half range of model space, about: what an error of 1 is in dB.
DB_PER_UNIT = 27.5


def build(widths: tuple[int, ...], groups: int) -> AutoencoderKL:
    torch.manual_seed(SEED)
    depth = len(widths)
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=4 ** (depth - 1),
        norm_num_groups=groups,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def train(vae: AutoencoderKL, pool: list[np.ndarray], settings: VaeSettings, seconds: float) -> int:
    optimizer = torch.optim.AdamW(vae.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
    began, step = time.perf_counter(), 0
    while (share := (time.perf_counter() - began) / seconds) < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / settings.warmup) * (1.0 - share)
        rng = np.random.default_rng((SEED, step))
        chips = torch.from_numpy(draw_crops(pool, settings.batch_size, settings.crop_px, (0.6, 1.3), rng))
        with torch.autocast("cpu", torch.bfloat16):
            again = vae.decode(vae.encode(chips).latent_dist.mean).sample
        loss = reconstruction_loss(again.float(), chips, settings)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
    return step


def judge(vae: AutoencoderKL, chips: np.ndarray) -> tuple[float, float]:
    with torch.no_grad():
        mean = vae.encode(torch.from_numpy(chips)[:, None]).latent_dist.mean
        again = vae.decode(mean).sample[:, 0].numpy()
    spectra = [mean_power_spectrum(list(images)) for images in (chips, again)]
    return float(np.abs(again - chips).mean()) * DB_PER_UNIT, log_psd_distance(*spectra)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="training time of each")
    seconds = parser.parse_args().seconds
    settings = VaeSettings(10**9, 16, 32, 2e-3, 100, 0.02, 0.5, 1e-6, 10**9)
    with tempfile.TemporaryDirectory() as folder:
        fill_pool(PoolPlan(SENSORS, 96, SEED, ()), Path(folder), workers=1)
        shards = [np.asarray(read_shard(Path(folder), i).chips) for i in range(SENSORS)]
    held = np.concatenate([shard[:8] for shard in shards[-LEFT_OUT:]]).astype(np.float32)
    errors = {}
    for name, (widths, groups) in CANDIDATES.items():
        vae = build(widths, groups)
        updates = train(vae, shards[:-LEFT_OUT], settings, seconds)
        errors[name], distance = judge(vae, held)
        print(
            f"{name}: {updates} updates, mean |error| {errors[name]:.2f} dB, log-PSD distance {distance:.3f}"
        )
    chosen = next(iter(CANDIDATES))
    for name in list(CANDIDATES)[1:]:
        print(f"error_ratio: {errors[name] / errors[chosen]:.2f}  ({name} over {chosen})")


if __name__ == "__main__":
    main()
