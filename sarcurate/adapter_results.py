"""Results of adapters: measured in finished workspaces, kept as small files, told on the results page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sarcurate.errors import DataError
from sarcurate.io import lineage
from sarcurate.io.chipset import open_chipset
from sarcurate.models.adapter_evidence import adapter_evidence
from sarcurate.models.generation import Quota
from sarcurate.params import Params, read_params
from sarcurate.stages.generate import drawing_job, source_judge
from sarcurate.variants import Variant, differences

_SECTIONS = {"dataset", "acquire", "ingest", "split", "reference", "tune", "generate"}
_TITLES = {"held_back": "real, held back", "adapter": "drawn with the adapter", "base": "drawn with the base"}

_HOW = (
    "They are held against the source's test chips, which neither tuning nor the reference network saw. "
    "KID is squared, of the reference network's features, with intervals by bootstrap over chips; by groups, "
    "pairs of real chips of one group are left out and whole groups drawn, which is more careful, and says "
    "little where groups are few and hold a class each. Shares have Wilson's intervals. The nearest train "
    "chip is told as its distance over that of train chips among each other, 0 is a copy; the last column "
    "says how many drawn chips are nearer to one than 95 % of the held-back chips are."
)


def collect_adapter(workspace: Path, params_file: Path, folder: Path, per_class: int) -> Path:
    """Measure a workspace's adapter against its source test chips, and keep the numbers.

    Args:
        workspace: where tune has finished.
        params_file: that it was made from.
        folder: of the results of adapters.
        per_class: chips drawn of each class, with the adapter and with the base alone.

    Returns:
        the file written.
    """
    params, data = read_params(workspace / "params.yaml"), workspace / "data"
    chips = open_chipset(data / "real/source-train", splits=("train",))
    job = drawing_job(params, chips, workspace / "models/adapter", Quota(per_class, False, per_class))
    numbers = adapter_evidence(
        job,
        open_chipset(data / "real/source-test", splits=("test",)),
        source_judge(params, chips, data / "reference/source", ()),
        params.score.interval_level,
        params.score.bootstrap_draws,
        lineage.seed_from(params.dataset.root_seed, "adapter-evidence"),
    )
    kept = {
        "variant": asdict(Variant(params_file.name, differences(read_params(params_file), params))),
        "made_with": _made_with(params),
        "level": params.score.interval_level,
        "per_class": per_class,
        "numbers": numbers,
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / f"{workspace.name}.json"
    written.write_text(json.dumps(kept, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return written


def adapter_lines(folder: Path, params_folder: Path) -> list[str]:
    """The results page's part on adapters; nothing where there are none.

    Raises:
        DataError: for numbers made with other params than today's.
    """
    files = sorted(folder.glob("*.json"))
    return [line for path in files for line in _told(path, params_folder)]


def _made_with(params: Params) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(params.model_dump(mode="json", include=_SECTIONS)))
    return made


def _told(path: Path, params_folder: Path) -> list[str]:
    kept = json.loads(path.read_text(encoding="utf-8"))
    numbers, variant = kept["numbers"], Variant(**kept["variant"])
    if kept["made_with"] != _made_with(variant.load(params_folder)):
        raise DataError(
            f"{path} is stale: its params are not today's",
            fix="run the variant and `sarcurate results adapter` again, or delete the file",
        )
    return [
        f"## Adapter of {path.stem}",
        "",
        f"{kept['per_class']} chips per class drawn with the adapter and as many with the base alone, "
        f"from the same seeds. {_HOW} Intervals of {100 * kept['level']:g} %.",
        "",
        "| chips | n | KID | KID by groups | class recognised % | nearest train chip | nearer than most % |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_row(title, numbers[name]) for name, title in _TITLES.items()),
        "",
        "KID of the base less that of the adapter, on the same draws of real chips: "
        f"{_interval(numbers['base'], 'kid_above_adapter')}; of {numbers['held_back']['n_groups']} groups: "
        f"{_interval(numbers['base'], 'kid_groups_above_adapter')}.",
        "",
        f"Again: `{variant.command(path.stem)}`, then "
        f"`sarcurate results adapter workspaces/{path.stem} --params params/{variant.params} "
        f"--per-class {kept['per_class']}`",
        "",
    ]


def _row(title: str, numbers: Mapping[str, Any]) -> str:
    recognised = "{:.1f} ({:.1f} to {:.1f})".format(
        *(100 * numbers[f"recognised{end}"] for end in ("", "_low", "_high"))
    )
    kid = by_groups = nearer = ""
    if "kid" in numbers:
        kid, by_groups = _interval(numbers, "kid"), _interval(numbers, "kid_groups")
        nearer = _or_none("{:.1f}", numbers["nearer_than_95_percent_held_back"], 100)
    nearest = _or_none("{:.2f}", numbers["memorisation_ratio"], 1)
    return f"| {title} | {numbers['n_chips']} | {kid} | {by_groups} | {recognised} | {nearest} | {nearer} |"


def _interval(numbers: Mapping[str, Any], name: str) -> str:
    ends = [_or_none("{:.2f}", numbers[f"{name}{end}"], 1) for end in ("", "_low", "_high")]
    return "{} ({} to {})".format(*ends)


def _or_none(form: str, value: float | None, times: float) -> str:
    return "n/a" if value is None else form.format(times * value)
