"""The recipe of a pretraining as YAML: every value stands in it, none has a default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sarcurate.core.sensor_model import SensorModel
from sarcurate.errors import ParamsError
from sarcurate.io.sensors import load_profile

PACKAGED = "assets/pretrain.yaml"
Reader = Callable[[str, str, Any], Any]


@dataclass(frozen=True)
class RecipeValues:
    """What a recipe file says, checked value by value.

    Args:
        seed: of everything that is drawn.
        threads: of torch; sums depend on them in their last digits.
        pool: sensors, chip_px.
        kept_away: models of the sensors that no practice sensor may be near.
        vae: fields of the autoencoder's training; polish: of its decoder's second.
        flow: fields of the transformer's training; unet: of the extractor's.
        times: mean, std and shift of the noise levels.
    """

    seed: int
    threads: int
    pool: Mapping[str, int]
    kept_away: tuple[SensorModel, ...]
    vae: Mapping[str, Any]
    polish: Mapping[str, Any]
    flow: Mapping[str, Any]
    unet: Mapping[str, Any]
    times: Mapping[str, float]


def read_recipe_file(path: Path | None) -> RecipeValues:
    """Read a recipe; None is the one that comes with the package.

    Raises:
        ParamsError: naming file and field, for a file that is missing or no YAML, a field that is missing or
            unknown, or a value that is not what it should be.
    """
    file = str(path) if path else PACKAGED
    content = _load(path, file)
    _check_keys(file, "the recipe", content, {"seed", "threads", *_SECTIONS})
    for section, readers in _SECTIONS.items():
        _check_keys(file, section, content[section], set(readers))
    read = {
        section: {
            name: reader(file, f"{section}.{name}", content[section][name])
            for name, reader in readers.items()
        }
        for section, readers in _SECTIONS.items()
    }
    return RecipeValues(
        seed=_whole(file, "seed", content["seed"]),
        threads=_count(file, "threads", content["threads"]),
        kept_away=read["pool"].pop("kept_away"),
        **read,
    )


def _load(path: Path | None, file: str) -> Any:
    try:
        written = (path or files("sarcurate").joinpath(PACKAGED)).read_text(encoding="utf-8")
        return YAML(typ="safe", pure=True).load(written)
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"recipe {file} cannot be read: {error}", fix="name a recipe file") from error
    except (YAMLError, ValueError) as error:
        raise ParamsError(f"recipe {file} is not valid YAML: {error}", fix="correct the YAML") from error


def _check_keys(file: str, where: str, found: object, expected: set[str]) -> None:
    if not isinstance(found, dict):
        raise _wrong(file, where, f"a {type(found).__name__}", "a mapping of fields")
    for kind, keys in (("lacks", expected - set(found)), ("has unknown", set(found) - expected)):
        if keys:
            named = ", ".join(sorted(map(str, keys)))
            raise ParamsError(
                f"recipe {file}: {where} {kind} {named}; expected exactly {', '.join(sorted(expected))}",
                fix=f"compare with the packaged {PACKAGED}",
            )


def _wrong(file: str, field: str, found: str, expected: str) -> ParamsError:
    return ParamsError(
        f"recipe {file}: {field} is {found}, expected {expected}", fix=f"correct {field} in {file}"
    )


def _whole(file: str, field: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(file, field, repr(value), "a whole number >= 0")
    return value


def _count(file: str, field: str, value: object) -> int:
    if _whole(file, field, value) == 0:
        raise _wrong(file, field, "0", "a whole number > 0")
    return int(str(value))


def _number(low: float, high: float, above: bool = False) -> Reader:
    """A reader of finite numbers from ``low``, or above it, to ``high``."""

    def read(file: str, field: str, value: object) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # Comparisons are false for NaN, and exact for whole numbers that no float holds.
        if not is_number or not low <= value <= high or (above and value == low):  # type: ignore[operator]
            least = f"{'above' if above else 'from'} {low:g}"
            raise _wrong(file, field, repr(value), f"a number {least} to {high:g}")
        return float(str(value))

    return read


def _counts(file: str, field: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong(file, field, repr(value), "a list of whole numbers > 0")
    return tuple(_count(file, field, item) for item in value)


def _sensors(file: str, field: str, value: object) -> tuple[SensorModel, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _wrong(file, field, repr(value), "a list of names of sensor profiles")
    try:
        return tuple(load_profile(name).sensor_model() for name in value)
    except ParamsError as error:
        raise _wrong(file, field, repr(value), f"names of sensor profiles ({error.problem})") from error


_TRAINING: dict[str, Reader] = {
    "updates": _count,
    "batch_size": _count,
    "learning_rate": _number(0.0, 1.0, above=True),
    "warmup": _whole,
    "save_every": _count,
}
_DENOISER = _TRAINING | {
    "crop_latents": _counts,
    "decay_fraction": _number(0.0, 1.0),
    "ema_decay": _number(0.0, 1.0),
}
_SECTIONS: dict[str, dict[str, Reader]] = {
    "pool": {"sensors": _count, "chip_px": _count, "kept_away": _sensors},
    "vae": _TRAINING
    | {
        "crop_px": _count,
        "spectrum_weight": _number(0.0, 1e3),
        "checkerboard_weight": _number(0.0, 1e3),
        "kl_weight": _number(0.0, 1e3),
    },
    "polish": _TRAINING | {"crop_px": _count, "most_contrast": _number(0.6, 10.0, above=True)},
    "flow": _DENOISER,
    "unet": _DENOISER,
    "times": {
        "mean": _number(-10.0, 10.0),
        "std": _number(0.0, 10.0, above=True),
        "shift": _number(0.0, 100.0, above=True),
    },
}
