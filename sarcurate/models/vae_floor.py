"""The floor of an autoencoder: what a sensor's chips lose on the way to latents and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from sarcurate.core.model_space import ModelSpace
from sarcurate.core.scorecard import ChipContext
from sarcurate.errors import DataError, HardwareError
from sarcurate.execution import progress
from sarcurate.io.chipset import ChipSet
from sarcurate.io.round_trip import Grid, RoundTrip, compare, grid_of
from sarcurate.io.scoring import context_of, measure_images
from sarcurate.models.latent import LatentSpace

Image = NDArray[np.floating]

MOST_LOG_PSD_DISTANCE = 0.05
MOST_RATIO_ERROR = 0.05
# Above that of the chips as they were: 1 in 100 by chance, and the tests of 100 chips scatter by as much.
MOST_GRID_INCREASE = 0.05


@dataclass(frozen=True)
class VaeFloor:
    """The floor on one sensor's chips.

    Args:
        clipped_low_fraction, clipped_high_fraction: of pixels, at the limits of model space; zeros are low.
        grid: in the chips as they were.
        map_alone: to model space and back, without an autoencoder: what the limits cost.
        vae: through the autoencoder.
    """

    n_chips: int
    low_db: float
    high_db: float
    clipped_low_fraction: float
    clipped_high_fraction: float
    grid: Grid
    map_alone: RoundTrip
    vae: RoundTrip


def audit_chipset(
    latent: LatentSpace,
    chips: ChipSet,
    space: ModelSpace,
    *,
    model_px: int | None,
    most_chips: int,
    batch_size: int,
) -> VaeFloor:
    """Floor on a ChipSet, or on ``most_chips`` of it spread evenly over the manifest.

    Raises:
        DataError: naming a chip that is broken or not finite.
    """
    ids = _spread(chips.manifest["chip_id"].tolist(), most_chips)
    images = {chip_id: chips.intensity(chip_id) for chip_id in ids}
    for chip_id, image in images.items():
        if not np.isfinite(image).all():
            raise DataError(
                f"{chips.root}: chip {chip_id} has {int((~np.isfinite(image)).sum())} pixels that are not "
                "finite, expected none",
                fix="leave the chip out of the set",
            )
    context = context_of(chips, None)
    return vae_floor(latent, space, list(images.values()), context, model_px=model_px, batch_size=batch_size)


def vae_floor(
    latent: LatentSpace,
    space: ModelSpace,
    images: Sequence[Image],
    context: ChipContext,
    *,
    model_px: int | None,
    batch_size: int,
) -> VaeFloor:
    """Floor on linear intensity images (rows, cols), finite and >= 0; sizes may differ.

    Args:
        latent: the autoencoder.
        space: between linear intensity and -1..1.
        images: real chips of one sensor.
        context: what is known of them; radiometry that nobody declared has no ENL and no spectrum.
        model_px: as in :func:`sarcurate.models.latent.canvas_of`.
        batch_size: chips in one pass.

    Raises:
        DataError: for no images, or none with a pixel above zero.
        HardwareError: when the autoencoder gives back what is not finite.
    """
    if not images:
        raise DataError("floor of the autoencoder: no chips", fix="give real train chips of the sensor")
    mapped = [space.to_intensity(space.to_model(image)) for image in images]
    decoded = round_trip(latent, space, images, model_px=model_px, batch_size=batch_size)
    clipped = np.sum([space.clipped(image) for image in images], axis=0)
    n_pixels = sum(image.size for image in images)
    return VaeFloor(
        n_chips=len(images),
        low_db=space.low_db,
        high_db=space.high_db,
        clipped_low_fraction=float(clipped[0] / n_pixels),
        clipped_high_fraction=float(clipped[1] / n_pixels),
        grid=grid_of(measure_images(images, context, None)),
        map_alone=compare(images, mapped, context),
        vae=compare(images, decoded, context),
    )


def round_trip(
    latent: LatentSpace, space: ModelSpace, images: Sequence[Image], *, model_px: int | None, batch_size: int
) -> list[NDArray[np.float32]]:
    """Linear intensity images through the autoencoder and back, in their order.

    Raises:
        HardwareError: when what comes back is not finite.
    """
    places: dict[tuple[int, int], list[int]] = {}
    for place, image in enumerate(images):
        places.setdefault((image.shape[0], image.shape[1]), []).append(place)
    back: dict[int, NDArray[np.float32]] = {}
    with progress("through the autoencoder and back", len(images)) as advance:
        for shape, own in places.items():
            canvas = latent.canvas(shape, model_px)
            for start in range(0, len(own), batch_size):
                batch = own[start : start + batch_size]
                values = space.to_model(np.stack([images[place] for place in batch]))
                again = latent.decode(latent.encode(values, canvas), canvas)
                _refuse_broken(again)
                back.update(zip(batch, space.to_intensity(again), strict=True))
                advance(len(batch))
    return [back[place] for place in range(len(images))]


def floor_numbers(floor: VaeFloor) -> dict[str, float | None]:
    """All numbers flat: of the chips as they were without a prefix, of the round trips as map_* and vae_*."""
    trips = {"map": floor.map_alone, "vae": floor.vae}
    own = {
        "n_chips": floor.n_chips,
        "low_db": floor.low_db,
        "high_db": floor.high_db,
        "clipped_low_fraction": floor.clipped_low_fraction,
        "clipped_high_fraction": floor.clipped_high_fraction,
        **asdict(floor.grid),
    }
    return own | {
        f"{name}_{key}": value for name, trip in trips.items() for key, value in _flat(trip).items()
    }


def failures(floor: VaeFloor) -> list[str]:
    """A sentence for each figure of the autoencoder that is beyond what migration can work with."""
    found = []
    distance = floor.vae.log_psd_distance
    if distance is not None and distance > MOST_LOG_PSD_DISTANCE:
        found.append(f"log_psd_distance is {distance:.3f}, expected at most {MOST_LOG_PSD_DISTANCE}")
    for name in ("log_variance_ratio", "enl_ratio"):
        ratio = getattr(floor.vae, name)
        if ratio is not None and abs(ratio - 1.0) > MOST_RATIO_ERROR:
            found.append(f"{name} is {ratio:.3f}, expected 1 within {MOST_RATIO_ERROR:.0%}")
    for name in ("checkerboard_fraction", "latent_grid_fraction"):
        was, now = getattr(floor.grid, name), getattr(floor.vae.grid, name)
        if was is not None and now is not None and now > was + MOST_GRID_INCREASE:
            found.append(
                f"{name} is {now:.2f}, expected at most {MOST_GRID_INCREASE} above the chips' {was:.2f}"
            )
    return found


def floor_table(floor: VaeFloor) -> str:
    """The floor as text: a line per measure, the map alone beside the autoencoder."""
    alone, vae = _flat(floor.map_alone), _flat(floor.vae)
    wanted = {
        "log_psd_distance": f"<= {MOST_LOG_PSD_DISTANCE}",
        "log_variance_ratio": f"1 +- {MOST_RATIO_ERROR}",
        "enl_ratio": f"1 +- {MOST_RATIO_ERROR}",
        **{name: f"was {_text(value)}" for name, value in asdict(floor.grid).items()},
    }
    lines = [
        f"{floor.n_chips} chips; model space {floor.low_db:.2f} to {floor.high_db:.2f} dB, clipped below "
        f"{floor.clipped_low_fraction:.3%}, above {floor.clipped_high_fraction:.3%} of pixels",
        f"{'':22}{'map alone':>12}{'autoencoder':>13}  wanted",
    ]
    for name, value in vae.items():
        line = f"{name:22}{_text(alone[name]):>12}{_text(value):>13}  {wanted.get(name, '')}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _flat(trip: RoundTrip) -> dict[str, float | None]:
    numbers: dict[str, float | None] = asdict(trip)
    del numbers["grid"]
    return numbers | asdict(trip.grid)


def _refuse_broken(values: NDArray[np.float32]) -> None:
    broken = int((~np.isfinite(values)).any(axis=(1, 2)).sum())
    if broken:
        raise HardwareError(
            f"the autoencoder gave back {broken} of {len(values)} chips with values that are not finite",
            fix="load it in float32, or use another base: these weights are broken",
        )


def _spread(ids: Sequence[str], most: int) -> list[str]:
    """All of the ids, or ``most`` at even steps."""
    if len(ids) <= most:
        return list(ids)
    return [ids[place * len(ids) // most] for place in range(most)]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
