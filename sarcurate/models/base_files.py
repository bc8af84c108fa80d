"""The files of a pipeline folder that a base is read from: which, whether they are whole, their hash."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sarcurate.errors import HardwareError
from sarcurate.io.lineage import canonical_json, sha256_text
from sarcurate.io.safe import sha256_file

PIPELINE_CLASS = "StableDiffusion3Pipeline"
T5_PARTS = ("text_encoder_3", "tokenizer_3")
_INDEX = "model_index.json"
_CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast", "ByT5Tokenizer")
_CLASSES = {
    "transformer": ("SD3Transformer2DModel",),
    "vae": ("AutoencoderKL",),
    "scheduler": ("FlowMatchEulerDiscreteScheduler",),
    "text_encoder": ("CLIPTextModelWithProjection",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "text_encoder_3": ("T5EncoderModel",),
    "tokenizer": _CLIP_TOKENIZERS,
    "tokenizer_2": _CLIP_TOKENIZERS,
    "tokenizer_3": ("T5Tokenizer", "T5TokenizerFast"),
}
_CONFIGS = {"scheduler": "scheduler_config.json"}
_WEIGHTS = {"transformer": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
_TOKENIZER_FILES = (".json", ".txt", ".model")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_AGAIN = "copy or download the folder again, whole; for the bundled base, install sarcurate again"


def part_classes(root: Path) -> dict[str, str | None]:
    """The class of every part of a pipeline folder by its index, None for a part that is left out.

    Raises:
        HardwareError: no pipeline folder, another pipeline, or a part of a class not Stable Diffusion 3's.
    """
    if not (root / _INDEX).is_file():
        raise HardwareError(
            f"base {root}: holds no {_INDEX}, so it is no pipeline folder",
            fix="point to the whole folder in the layout of diffusers, not to a weight file or to one part",
        )
    index = read_json(root / _INDEX)
    _expect(f"base {root}", index.get("_class_name"), (PIPELINE_CLASS,))
    classes = {part: _class_in(index, part) for part in _CLASSES}
    for part, name in classes.items():
        if name is not None or part not in T5_PARTS:
            _expect(f"base {root}: {part}", name, _CLASSES[part])
    return classes


def base_files(root: Path, *, use_t5: bool) -> list[Path]:
    """The files a base is read from, in order, every weight file checked for being whole.

    The model card, half-precision variants, single-file copies and, without ``use_t5``, T5 are none of them.

    Raises:
        HardwareError: a file is missing, broken, of another model, or weights come as a pickle alone.
    """
    parts = [part for part in part_classes(root) if use_t5 or part not in T5_PARTS]
    found = [root / _INDEX, *(path for part in parts for path in _files_of(root / part))]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def files_sha256(root: Path, files: list[Path]) -> str:
    """Hash over the names below ``root`` and the hashes of files; where ``root`` lies does not matter."""
    return sha256_text(
        canonical_json([[path.relative_to(root).as_posix(), sha256_file(path)] for path in files])
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; HardwareError where the file is missing or holds something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HardwareError(f"base file {path} is missing", fix=_AGAIN) from error
    except ValueError as error:
        raise HardwareError(f"base file {path} is no JSON: {error}", fix=_AGAIN) from error
    if not isinstance(found, dict):
        raise HardwareError(f"base file {path} holds a {type(found).__name__}, not an object", fix=_AGAIN)
    return found


def _class_in(index: Mapping[str, Any], part: str) -> str | None:
    """The class name of an entry such as ``["diffusers", "AutoencoderKL"]``."""
    match index.get(part):
        case [str(), str() as name]:
            return name
        case _:
            return None


def _expect(what: str, found: object, allowed: tuple[str, ...]) -> None:
    if found not in allowed:
        raise HardwareError(
            f"{what} is of class {found}, expected {' or '.join(allowed)}",
            fix="give a Stable Diffusion 3 or 3.5 folder, or the bundled base sarcurate-tiny",
        )


def _files_of(folder: Path) -> Iterator[Path]:
    part = folder.name
    if part.startswith("tokenizer"):
        yield from _tokenizer_files(folder)
        return
    config = folder / _CONFIGS.get(part, "config.json")
    settings = read_json(config)
    if "_class_name" in settings:
        _expect(f"base file {config}", settings["_class_name"], _CLASSES[part])
    yield config
    if part != "scheduler":
        yield from _weight_files(folder, _WEIGHTS.get(part, "model"))


def _tokenizer_files(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("*") if path.suffix in _TOKENIZER_FILES]
    if not found:
        raise HardwareError(f"base folder {folder} holds no tokenizer files", fix=_AGAIN)
    return found


def _weight_files(folder: Path, stem: str) -> Iterator[Path]:
    """One file, or an index and its shards."""
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file() == index.is_file():
        raise _unfit_weights(folder, single, index)
    if single.is_file():
        _tensor_names(single)
        yield single
        return
    yield index
    for shard, wanted in _shards(index).items():
        lacking = wanted - _tensor_names(shard)
        if lacking:
            raise HardwareError(
                f"base file {shard} lacks tensor {min(lacking)}, which {index.name} places there", fix=_AGAIN
            )
        yield shard


def _unfit_weights(folder: Path, single: Path, index: Path) -> HardwareError:
    if single.is_file():
        return HardwareError(
            f"base folder {folder} holds both {single.name} and {index.name}", fix="keep one of the two"
        )
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in _PICKLES)
    if pickles:
        return HardwareError(
            f"base folder {folder} holds its weights only as a pickle, {pickles[0]}, which can run code",
            fix="get the folder with safetensors weights",
        )
    return HardwareError(f"base file {single} is missing", fix=_AGAIN)


def _shards(index: Path) -> dict[Path, set[str]]:
    """Tensor names by shard."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise HardwareError(f"base file {index} has no weight_map", fix=_AGAIN)
    shards: dict[Path, set[str]] = {}
    for tensor, name in places.items():
        if Path(str(name)).name != name or not str(name).endswith(".safetensors"):
            raise HardwareError(
                f"base file {index} places {tensor} in {name!r}, expected a safetensors file beside it",
                fix=_AGAIN,
            )
        shards.setdefault(index.with_name(name), set()).add(tensor)
    return shards


def _tensor_names(path: Path) -> set[str]:
    """Names in a safetensors file, whose size must be what its header says."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise HardwareError(f"base file {path} is missing", fix=_AGAIN)
    try:
        with safe_open(path, framework="pt") as tensors:
            return set(tensors.keys())
    except (SafetensorError, OSError) as error:
        raise HardwareError(f"base file {path} is cut short or broken: {error}", fix=_AGAIN) from error
