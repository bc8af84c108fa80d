"""Variants: a params file of the repository and the values replaced in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarcurate.params import Params, check_params, read_yaml
from sarcurate.workspace import replace_value


@dataclass(frozen=True)
class Variant:
    """Where a workspace came from: a params file and the values replaced in it, by dotted path."""

    params: str
    replaced: Mapping[str, Any]

    def load(self, params_folder: Path) -> Params:
        """The params that the runs should have been made with, as the repository has them today."""
        path = params_folder / self.params
        data = read_yaml(path)
        for name, value in self.replaced.items():
            replace_value(data, name, value)
        return check_params(data, path)

    def command(self, name: str) -> str:
        """How to make a workspace of it again."""
        replaced = " ".join(
            f"{path}={value if isinstance(value, str) else json.dumps(value)}"
            for path, value in self.replaced.items()
        )
        return f"make repro PARAMS=params/{self.params} NAME={name}" + (
            f' SET="{replaced}"' if replaced else ""
        )


def differences(start: Params, params: Params) -> dict[str, Any]:
    """Values of ``params`` that differ from ``start``, by dotted path; the section code aside."""
    before = dict(_flat(start.model_dump(mode="json", exclude={"code"})))
    after = dict(_flat(params.model_dump(mode="json", exclude={"code"})))
    return {name: value for name, value in after.items() if before.get(name) != value}


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
