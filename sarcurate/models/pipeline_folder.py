"""Pipeline folders of diffusers: found on this machine, and their parts loaded, frozen, from safetensors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from sarcurate.errors import HardwareError, ParamsError

DTYPES = {"bf16": "bfloat16", "fp32": "float32"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class PipelineFolder:
    """A pipeline that is there and whole.

    Args:
        path: its folder.
        sha256: over the names and hashes of the files that are read.
        name: of a bundled one, the folder's, or ``owner/name@commit``.
    """

    path: Path
    sha256: str
    name: str


@dataclass(frozen=True)
class Wanted:
    """What a user asked for.

    Args:
        what: base or extractor.
        where: the bundled name, a folder, or a hub id ``owner/name``.
        revision: commit of a hub id, 40 hexadecimal digits; None for the others.
        bundled: name of the one that comes with the package.
        field: of params that ``where`` stands in.
    """

    what: str
    where: str
    revision: str | None
    bundled: str
    field: str


def locate(wanted: Wanted) -> tuple[Path, str]:
    """Folder and name of a pipeline on this machine; the network is never used.

    Raises:
        ParamsError: a hub id without a commit, or a commit without a hub id.
        HardwareError: no such folder, or a hub id that is not in the Hugging Face cache.
    """
    what, where = wanted.what, wanted.where
    folder = _bundled(where) if where == wanted.bundled else Path(where)
    if not folder.is_dir() and _HUB_ID.fullmatch(where):
        return _cached(wanted), f"{where}@{wanted.revision}"
    if wanted.revision:
        raise ParamsError(
            f"{what} {where} is no hub id, revision {wanted.revision} means nothing there",
            fix="leave the revision empty; a folder is pinned by the hash of its files",
        )
    if not folder.is_dir():
        if where == wanted.bundled:
            raise HardwareError(
                f"{what} {where}: there is no folder {folder}",
                fix="it comes with the package: install sarcurate again",
            )
        raise HardwareError(
            f"{what} {where}: there is no folder {folder}",
            fix=f"put the model there, in the layout of diffusers: accept its licence on its page at "
            f"https://huggingface.co, then `hf download OWNER/NAME --local-dir {where}`; or give another "
            f"folder or a hub id owner/name in {wanted.field}. Offline, without any of this: "
            f"{wanted.field}: {wanted.bundled}, which comes with the package",
        )
    return folder, where if where == wanted.bundled else folder.resolve().name


def _bundled(name: str) -> Path:
    return Path(str(resources.files("sarcurate") / "assets" / name))


def _cached(wanted: Wanted) -> Path:
    """Where the Hugging Face cache keeps a commit of a repository."""
    from huggingface_hub import try_to_load_from_cache

    what, hub_id, revision = wanted.what, wanted.where, wanted.revision
    if not _COMMIT.fullmatch(revision or ""):
        raise ParamsError(
            f"{what} {hub_id} is no folder here, and as a hub id has revision {revision}, expected a commit",
            fix="give the path of a folder, or pin the hub id by a commit of 40 hexadecimal digits: "
            "a branch can change under a dataset",
        )
    index = try_to_load_from_cache(hub_id, "model_index.json", revision=revision)
    if not isinstance(index, str):
        raise HardwareError(
            f"{what} {hub_id} at revision {revision} is not in the Hugging Face cache of this machine",
            fix=f"where the model is gated, accept its licence at https://huggingface.co/{hub_id} and run "
            f"`hf auth login`; then `hf download {hub_id} --revision {revision}` where there is a network. "
            f"Or copy the folder here and give its path in {wanted.field}. "
            f"Offline, without any of this: {wanted.field}: {wanted.bundled}",
        )
    return Path(index).parent


def load_part(model_class: Any, path: Path, dtype: str) -> Any:
    """A model with every weight from its file, frozen, on the CPU; ``dtype`` is ``bf16`` or ``fp32``.

    Raises:
        HardwareError: for weights that do not fit their config.
    """
    import torch

    try:
        with _no_progress_bars():
            model, info = model_class.from_pretrained(
                path,
                dtype=getattr(torch, DTYPES[dtype]),
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise misfit(path, str(error)) from error
    if info["missing_keys"]:
        raise misfit(path, f"no weights for {min(info['missing_keys'])}")
    # Old text encoders carry tensors that nothing reads; elsewhere one too many means another architecture.
    if info["unexpected_keys"] and not path.name.startswith("text_encoder"):
        raise misfit(path, f"no place for {min(info['unexpected_keys'])}")
    return model.requires_grad_(False).eval()


def misfit(path: Path, reason: str) -> HardwareError:
    """The error for parts that are not of one model."""
    return HardwareError(
        f"model {path}: weights, config and tokenizer do not fit: {reason}",
        fix="copy or download the folder again, all files from one place",
    )


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
