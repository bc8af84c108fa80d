"""What a workspace's adapter is and which chips taught it, read without torch."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io.safe import read_bounded, sha256_file

ADAPTER = "models/adapter"
SIDE_FILE, WEIGHTS = "adapter.json", "pytorch_lora_weights.safetensors"  # in the order that is hashed
HELD_BACK_FOLD = 0  # of the source train chips: judged the training, taught it nothing
SOURCE_TRAIN = "data/real/source-train"
_MAX_BYTES = 16 << 20
_RESTORE = "restore it with `dvc checkout models/adapter`, or tune again"


@dataclass(frozen=True)
class AdapterFacts:
    """An adapter's folder.

    Args:
        sha256: as made chips name it: over side file and weights.
        side_file: what the adapter says about itself.
        n_tensors, n_parameters: of the weights, as their header has it.
        train_is_here: whether the source train set it names is the one in this workspace.
    """

    sha256: str
    side_file: dict[str, Any]
    n_tensors: int
    n_parameters: int
    train_is_here: bool

    @property
    def base(self) -> str:
        """Name and hash of the base, for people."""
        return f"{self.side_file.get('base_name')}@{str(self.side_file.get('base_sha256'))[:12]}"

    @property
    def train_revision(self) -> str:
        """Revision id of the ChipSet trained on."""
        return str(self.side_file.get("train_revision"))


def read_adapter(root: Path) -> AdapterFacts | None:
    """The adapter of a workspace; None where there is none.

    Raises:
        DataError: for an adapter that is incomplete or cannot be read.
    """
    folder = root / ADAPTER
    if not (folder / SIDE_FILE).is_file() or not (folder / WEIGHTS).is_file():
        return None
    try:
        side_file = json.loads(read_bounded(folder / SIDE_FILE, _MAX_BYTES))
        if not isinstance(side_file, dict):
            raise ValueError("expected an object")
    except (ValueError, RecursionError) as error:
        raise DataError(f"{folder / SIDE_FILE}: is not readable JSON: {error}", fix=_RESTORE) from error
    lines = [f"{name} {sha256_file(folder / name)}\n" for name in (SIDE_FILE, WEIGHTS)]
    shapes = weight_shapes(folder / WEIGHTS)
    return AdapterFacts(
        sha256=hashlib.sha256("".join(lines).encode()).hexdigest(),
        side_file=side_file,
        n_tensors=len(shapes),
        n_parameters=sum(math.prod(shape) for shape in shapes.values()),
        train_is_here=_revision(root) == side_file.get("train_revision"),
    )


def weight_shapes(path: Path) -> dict[str, list[int]]:
    """Shapes of the tensors of a safetensors file by name, from its header alone.

    Raises:
        DataError: where the file has no such header.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > _MAX_BYTES:
                raise ValueError(f"a header of {size} bytes")
            header = json.loads(file.read(size))
        return {
            name: [int(side) for side in facts["shape"]]
            for name, facts in header.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: has no readable safetensors header: {error}", fix=_RESTORE) from error


def _revision(root: Path) -> str | None:
    """Revision id of the source train set that is in the workspace now."""
    try:
        header = json.loads((root / SOURCE_TRAIN / "chipset.json").read_text(encoding="utf-8"))
        return str(header["revision"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
