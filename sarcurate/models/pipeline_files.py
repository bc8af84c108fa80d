"""The files that a pipeline folder of diffusers is read from: which, whether they are whole, their hash."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarcurate.errors import HardwareError
from sarcurate.io.lineage import canonical_json, sha256_text
from sarcurate.io.safe import sha256_file

_INDEX = "model_index.json"
_CONFIGS = {"scheduler": "scheduler_config.json"}
_DENOISERS = ("transformer", "unet", "vae")
_TOKENIZER_FILES = (".json", ".txt", ".model")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_AGAIN = "copy or download the folder again, whole; for a bundled model, install sarcurate again"


@dataclass(frozen=True)
class Layout:
    """Which parts a kind of pipeline has, and of which classes.

    Args:
        what: it is to us, such as base or extractor.
        pipelines: classes of the whole.
        parts: classes allowed of each part.
        optional: parts that may be left out.
        fix: what to give where another pipeline was found.
    """

    what: str
    pipelines: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]
    optional: tuple[str, ...]
    fix: str


def part_classes(root: Path, layout: Layout) -> dict[str, str | None]:
    """The class of every part of a pipeline folder by its index, None for a part that is left out.

    Raises:
        HardwareError: no pipeline folder, another pipeline, or a part of a class that the layout lacks.
    """
    what = f"{layout.what} {root}"
    if not (root / _INDEX).is_file():
        raise HardwareError(
            f"{what}: holds no {_INDEX}, so it is no pipeline folder",
            fix="point to the whole folder in the layout of diffusers, not to a weight file or to one part",
        )
    index = read_json(root / _INDEX)
    _expect(what, index.get("_class_name"), layout.pipelines, layout)
    classes = {part: _class_in(index, part) for part in layout.parts}
    for part, name in classes.items():
        if name is not None or part not in layout.optional:
            _expect(f"{what}: {part}", name, layout.parts[part], layout)
    return classes


def pipeline_class(root: Path) -> str:
    """The class of the whole, by its index."""
    return str(read_json(root / _INDEX).get("_class_name"))


def pipeline_files(root: Path, layout: Layout, parts: list[str]) -> list[Path]:
    """The files that parts are read from, and the index, in order; every weight file checked for being whole.

    The model card, half-precision variants and single-file copies are none of them.

    Raises:
        HardwareError: a file is missing, broken, of another model, or weights come as a pickle alone.
    """
    found = [root / _INDEX, *(path for part in parts for path in _files_of(root / part, layout))]
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
        raise HardwareError(f"model file {path} is missing", fix=_AGAIN) from error
    except ValueError as error:
        raise HardwareError(f"model file {path} is no JSON: {error}", fix=_AGAIN) from error
    if not isinstance(found, dict):
        raise HardwareError(f"model file {path} holds a {type(found).__name__}, not an object", fix=_AGAIN)
    return found


def _class_in(index: Mapping[str, Any], part: str) -> str | None:
    """The class name of an entry such as ``["diffusers", "AutoencoderKL"]``."""
    match index.get(part):
        case [str(), str() as name]:
            return name
        case _:
            return None


def _expect(what: str, found: object, allowed: tuple[str, ...], layout: Layout) -> None:
    if found not in allowed:
        raise HardwareError(f"{what} is of class {found}, expected {' or '.join(allowed)}", fix=layout.fix)


def _files_of(folder: Path, layout: Layout) -> Iterator[Path]:
    part = folder.name
    if part.startswith("tokenizer"):
        yield from _tokenizer_files(folder)
        return
    config = folder / _CONFIGS.get(part, "config.json")
    settings = read_json(config)
    if "_class_name" in settings:
        _expect(f"model file {config}", settings["_class_name"], layout.parts[part], layout)
    yield config
    if part != "scheduler":
        yield from _weight_files(folder, "diffusion_pytorch_model" if part in _DENOISERS else "model")


def _tokenizer_files(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("*") if path.suffix in _TOKENIZER_FILES]
    if not found:
        raise HardwareError(f"model folder {folder} holds no tokenizer files", fix=_AGAIN)
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
                f"model file {shard} lacks tensor {min(lacking)}, which {index.name} places there", fix=_AGAIN
            )
        yield shard


def _unfit_weights(folder: Path, single: Path, index: Path) -> HardwareError:
    if single.is_file():
        return HardwareError(
            f"model folder {folder} holds both {single.name} and {index.name}", fix="keep one of the two"
        )
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in _PICKLES)
    if pickles:
        return HardwareError(
            f"model folder {folder} holds its weights only as a pickle, {pickles[0]}, which can run code",
            fix="get the folder with safetensors weights",
        )
    return HardwareError(f"model file {single} is missing", fix=_AGAIN)


def _shards(index: Path) -> dict[Path, set[str]]:
    """Tensor names by shard."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise HardwareError(f"model file {index} has no weight_map", fix=_AGAIN)
    shards: dict[Path, set[str]] = {}
    for tensor, name in places.items():
        if Path(str(name)).name != name or not str(name).endswith(".safetensors"):
            raise HardwareError(
                f"model file {index} places {tensor} in {name!r}, expected a safetensors file beside it",
                fix=_AGAIN,
            )
        shards.setdefault(index.with_name(name), set()).add(tensor)
    return shards


def _tensor_names(path: Path) -> set[str]:
    """Names in a safetensors file, whose size must be what its header says."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise HardwareError(f"model file {path} is missing", fix=_AGAIN)
    try:
        with safe_open(path, framework="pt") as tensors:
            return set(tensors.keys())
    except (SafetensorError, OSError) as error:
        raise HardwareError(f"model file {path} is cut short or broken: {error}", fix=_AGAIN) from error
