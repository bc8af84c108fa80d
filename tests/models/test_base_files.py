from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from sarcurate.errors import HardwareError
from sarcurate.models.base_files import base_files, part_classes
from sarcurate.models.pipeline_files import files_sha256

CLIP, T5 = ["transformers", "CLIPTextModelWithProjection"], ["transformers", "T5EncoderModel"]
INDEX = {
    "_class_name": "StableDiffusion3Pipeline",
    "image_encoder": [None, None],
    "transformer": ["diffusers", "SD3Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": CLIP,
    "text_encoder_2": CLIP,
    "text_encoder_3": T5,
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "tokenizer_3": ["transformers", "T5TokenizerFast"],
}
SINGLE = "diffusion_pytorch_model.safetensors"
SHARDS = (
    "diffusion_pytorch_model-00001-of-00002.safetensors",
    "diffusion_pytorch_model-00002-of-00002.safetensors",
)
SHARD_INDEX = f"{SINGLE}.index.json"
# By hand: what Stable Diffusion 3.5 Medium is read from.
READ = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.safetensors",
    "text_encoder_3/config.json",
    "text_encoder_3/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/vocab.json",
    "tokenizer_3/spiece.model",
    "transformer/config.json",
    "transformer/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
]


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def _tensors(path: Path, **tensors: float) -> None:
    save_file({name: np.full(7, value, np.float32) for name, value in tensors.items()}, path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with every file of a base, the numbers in it of no use."""
    root = tmp_path / "base"
    _json(root / "model_index.json", INDEX)
    for part, entry in INDEX.items():
        if part.startswith("text_encoder"):
            _json(root / part / "config.json", {"architectures": [entry[1]]})
            _tensors(root / part / "model.safetensors", w=1.0)
    for part in ("transformer", "vae"):
        _json(root / part / "config.json", {"_class_name": INDEX[part][1]})
        _tensors(root / part / SINGLE, w=2.0)
    _json(root / "scheduler/scheduler_config.json", {"_class_name": INDEX["scheduler"][1], "shift": 3.0})
    for part in ("tokenizer", "tokenizer_2"):
        _json(root / part / "vocab.json", {})
        (root / part / "merges.txt").write_text("#version: 0.2\n")
    (root / "tokenizer_3").mkdir()
    (root / "tokenizer_3/spiece.model").write_bytes(b"pieces")
    return root


def _sha256(root: Path, *, use_t5: bool = True) -> str:
    return files_sha256(root, base_files(root, use_t5=use_t5))


def _shard(root: Path) -> None:
    """Two shards in place of the transformer's one file."""
    folder = root / "transformer"
    (folder / SINGLE).unlink()
    _tensors(folder / SHARDS[0], a=1.0, b=2.0)
    _tensors(folder / SHARDS[1], c=3.0)
    _json(folder / SHARD_INDEX, {"weight_map": {"a": SHARDS[0], "b": SHARDS[0], "c": SHARDS[1]}})


# --- which files


def test_files_of_a_whole_base(root: Path) -> None:
    assert [path.relative_to(root).as_posix() for path in base_files(root, use_t5=True)] == READ


def test_without_t5_its_files_are_not_asked_for(root: Path) -> None:
    whole = _sha256(root, use_t5=False)
    shutil.rmtree(root / "text_encoder_3")
    shutil.rmtree(root / "tokenizer_3")
    wanted = [name for name in READ if "_3/" not in name]
    assert [path.relative_to(root).as_posix() for path in base_files(root, use_t5=False)] == wanted
    assert _sha256(root, use_t5=False) == whole
    with pytest.raises(HardwareError, match=r"text_encoder_3/config.json is missing"):
        base_files(root, use_t5=True)


def test_shards_stand_for_the_file(root: Path) -> None:
    _shard(root)
    read = {path.name for path in base_files(root, use_t5=True) if path.parent.name == "transformer"}
    assert read == {"config.json", SHARD_INDEX, *SHARDS}


def test_classes_of_the_index(root: Path) -> None:
    _json(root / "model_index.json", INDEX | {"text_encoder_3": [None, None], "tokenizer_3": [None, None]})
    classes = part_classes(root)
    assert classes["vae"] == "AutoencoderKL"
    assert classes["text_encoder_3"] is None


# --- hash


def test_hash_by_hand(root: Path) -> None:
    pairs = [[name, hashlib.sha256((root / name).read_bytes()).hexdigest()] for name in READ]
    told = json.dumps(pairs, separators=(",", ":")).encode()
    assert _sha256(root) == hashlib.sha256(told).hexdigest()


def test_hash_knows_neither_place_nor_card_nor_unread_weights(root: Path, tmp_path: Path) -> None:
    before = _sha256(root)
    moved = tmp_path / "elsewhere" / "copy"
    shutil.copytree(root, moved)
    (moved / "README.md").write_text("a card")
    (moved / "tokenizer/README.md").write_text("a card")
    (moved / "sd3.5_medium.safetensors").write_bytes(b"all in one")
    _tensors(moved / "text_encoder/model.fp16.safetensors", w=1.0)
    assert _sha256(moved) == before


def test_hash_of_a_cache_of_links(root: Path, tmp_path: Path) -> None:
    linked = tmp_path / "snapshot"
    for name in READ:
        (linked / name).parent.mkdir(parents=True, exist_ok=True)
        (linked / name).symlink_to(root / name)
    assert _sha256(linked) == _sha256(root)


@pytest.mark.parametrize("name", READ)
def test_every_file_that_is_read_counts(root: Path, name: str) -> None:
    before = _sha256(root)
    data = (root / name).read_bytes()
    changed = data[:-1] + bytes([data[-1] ^ 1]) if name.endswith(".safetensors") else data + b"\n"
    (root / name).write_bytes(changed)
    assert _sha256(root) != before


# --- what is refused


def _edit(name: str, **values: Any) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        _json(root / name, json.loads((root / name).read_text()) | values)

    return edit


def _write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(data)


def _cut(root: Path) -> None:
    path = root / "vae" / SINGLE
    path.write_bytes(path.read_bytes()[:-1])


def _pickle_only(root: Path) -> None:
    (root / "transformer" / SINGLE).rename(root / "transformer/diffusion_pytorch_model.bin")


def _both(root: Path) -> None:
    _json(root / "vae" / SHARD_INDEX, {"weight_map": {"w": SINGLE}})


def _shard_gone(root: Path) -> None:
    _shard(root)
    (root / "transformer" / SHARDS[1]).unlink()


def _shard_cut(root: Path) -> None:
    _shard(root)
    path = root / "transformer" / SHARDS[1]
    path.write_bytes(path.read_bytes()[:-4])


def _shard_lacks(root: Path) -> None:
    _shard(root)
    _tensors(root / "transformer" / SHARDS[0], a=1.0)


def _shard_outside(root: Path) -> None:
    _shard(root)
    _json(root / "transformer" / SHARD_INDEX, {"weight_map": {"w": f"../vae/{SINGLE}"}})


def _shard_of_nothing(root: Path) -> None:
    _shard(root)
    _json(root / "transformer" / SHARD_INDEX, {"metadata": {}})


BROKEN = {
    "no index": (lambda root: (root / "model_index.json").unlink(), "holds no model_index.json"),
    "index no JSON": (_write("model_index.json", b"{"), r"model_index.json is no JSON"),
    "index a list": (_write("model_index.json", b"[]"), r"model_index.json holds a list, not an object"),
    "other pipeline": (
        _edit("model_index.json", _class_name="FluxPipeline"),
        "is of class FluxPipeline, expected StableDiffusion3Pipeline",
    ),
    "other transformer in the index": (
        _edit("model_index.json", transformer=["diffusers", "FluxTransformer2DModel"]),
        "transformer is of class FluxTransformer2DModel, expected SD3Transformer2DModel",
    ),
    "no vae in the index": (
        _edit("model_index.json", vae=[None, None]),
        "vae is of class None, expected AutoencoderKL",
    ),
    "other T5": (
        _edit("model_index.json", text_encoder_3=["transformers", "UMT5EncoderModel"]),
        "text_encoder_3 is of class UMT5EncoderModel, expected T5EncoderModel",
    ),
    "other transformer": (
        _edit("transformer/config.json", _class_name="UNet2DConditionModel"),
        "transformer/config.json is of class UNet2DConditionModel, expected SD3Transformer2DModel",
    ),
    "other vae": (
        _edit("vae/config.json", _class_name="AsymmetricAutoencoderKL"),
        "vae/config.json is of class AsymmetricAutoencoderKL, expected AutoencoderKL",
    ),
    "other scheduler": (
        _edit("scheduler/scheduler_config.json", _class_name="DDIMScheduler"),
        "is of class DDIMScheduler, expected FlowMatchEulerDiscreteScheduler",
    ),
    "no config": (lambda root: (root / "vae/config.json").unlink(), "vae/config.json is missing"),
    "no weights": (lambda root: (root / "vae" / SINGLE).unlink(), f"vae/{SINGLE} is missing"),
    "no tokenizer": (
        lambda root: shutil.rmtree(root / "tokenizer_2"),
        "tokenizer_2 holds no tokenizer files",
    ),
    "pickle": (_pickle_only, "only as a pickle, diffusion_pytorch_model.bin"),
    "cut": (_cut, f"vae/{SINGLE} is cut short or broken"),
    "no safetensors": (_write(f"vae/{SINGLE}", b"version https://git-lfs"), "is cut short or broken"),
    "empty": (_write(f"vae/{SINGLE}", b""), "is cut short or broken"),
    "both": (_both, f"vae holds both {SINGLE} and {SHARD_INDEX}"),
    "shard gone": (_shard_gone, f"{SHARDS[1]} is missing"),
    "shard cut": (_shard_cut, f"{SHARDS[1]} is cut short or broken"),
    "shard lacks a tensor": (_shard_lacks, f"{SHARDS[0]} lacks tensor b"),
    "shard outside": (_shard_outside, r"places w in '\.\./vae/"),
    "index of no shards": (_shard_of_nothing, "has no weight_map"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_base_is_refused(root: Path, case: str) -> None:
    base_files(root, use_t5=True)
    breaking, message = BROKEN[case]
    breaking(root)
    with pytest.raises(HardwareError, match=message):
        base_files(root, use_t5=True)
