"""acquire: chips from the simulator, a public set, the user's folders or products, laid out for ingest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from sarcurate.core.radiometry import Radiometry
from sarcurate.errors import DataError, ParamsError
from sarcurate.execution import track
from sarcurate.io import lineage, public_sets
from sarcurate.io.cutting.chip_command import scene_paths
from sarcurate.io.cutting.chipper import Order, cut_boxes
from sarcurate.io.cutting.cutting_plan import ChipSize
from sarcurate.io.cutting.mosaic_windows import cut_mosaic
from sarcurate.io.public_sets import SetDescriptor
from sarcurate.io.raw import RawSet, write_raw
from sarcurate.io.safe import resolve_inside
from sarcurate.io.scenes.products import open_scene
from sarcurate.io.sensors import load_profile
from sarcurate.io.simulated import SimulationPlan, simulate
from sarcurate.io.sources import check_labels, read_class_folders, read_manifest
from sarcurate.params import (
    FolderSource,
    MosaicSource,
    Params,
    ProductsSource,
    PublicSetSource,
    SimulatedSource,
    Source,
)


def run(params: Params, outputs: Mapping[str, Path], mirror: Path | None) -> list[str]:
    """Acquire both sensors (``source``, ``target``); one line each for the terminal."""
    said = []
    sides: tuple[tuple[str, Source], ...] = (
        ("source", params.acquire.source),
        ("target", params.acquire.target),
    )
    for side, source in sides:
        out = outputs[side]
        out.mkdir(parents=True, exist_ok=True)
        if isinstance(source, SimulatedSource):
            raw = _simulate(params, side, source, out)
        elif isinstance(source, PublicSetSource):
            raw = _copy_public_set(params, source, out, mirror)
        elif isinstance(source, MosaicSource):
            raw, note = _cut_mosaic(params, source, out, mirror)
            said.append(f"{side}: {note}")
        elif isinstance(source, ProductsSource):
            raw, notes = _cut_products(params, side, source, out)
            said += [f"{side}: {note}" for note in notes]
        else:
            raw = _copy_folder(params, source, out)
        write_raw(raw)
        said.append(
            f"{side}: {len(raw.table)} chips of {raw.table['label'].nunique()} classes ({source.kind})"
        )
    return said


def _simulate(params: Params, side: str, source: SimulatedSource, out: Path) -> RawSet:
    dataset = params.dataset
    if dataset.footprint_m is None:
        raise ParamsError(
            "dataset.footprint_m is null", fix="give the footprint of simulated chips in metres"
        )
    if set(source.chips_per_class) != set(dataset.classes):
        raise ParamsError(
            f"acquire.{side}.chips_per_class names {sorted(source.chips_per_class)}, "
            f"dataset.classes {sorted(dataset.classes)}",
            fix="name the same classes in both",
        )
    profile = load_profile(dataset.source.profile if side == "source" else dataset.target.profile)
    low_deg, high_deg = source.incidence_deg
    plan = SimulationPlan(
        side=side,
        chips_per_class=source.chips_per_class,
        scenes=source.scenes,
        incidence_deg=(low_deg, high_deg),
        sensor=profile.sensor_model(),
        footprint_m=dataset.footprint_m,
        root_seed=dataset.root_seed,
    )
    return simulate(plan, out)


def _copy_public_set(params: Params, source: PublicSetSource, out: Path, mirror: Path | None) -> RawSet:
    described, folder = _public_set(source.set, mirror)
    table = public_sets.read_set(described, folder, source.domain, params.dataset.classes)
    if source.max_per_class is not None:
        table = _cut(table, source.max_per_class, params.dataset.root_seed)
    _copy_files(table, folder / described.name, out, source.set)
    return RawSet(out, table, described.radiometry, _origin(described, source.domain))


def _cut_mosaic(params: Params, source: MosaicSource, out: Path, mirror: Path | None) -> tuple[RawSet, str]:
    described, folder = _public_set(source.set, mirror)
    domain = described.domains.get(source.domain)
    table = public_sets.read_set(described, folder, source.domain, domain.classes if domain else ())
    check_labels(
        [label for label in table["label"] if label in params.dataset.classes],
        params.dataset.classes,
        f"set {source.set}, domain {source.domain}",
    )
    rows, cols = source.window_px
    cut = cut_mosaic(folder / source.set, table, params.dataset.classes, (rows, cols), source.covered, out)
    note = f"{cut.mirrored:.1%} of the windows' pixels are in no chip of {source.set} and were mirrored in"
    return RawSet(out, cut.table, described.radiometry, _origin(described, source.domain)), note


def _public_set(name: str, mirror: Path | None) -> tuple[SetDescriptor, Path]:
    """A set by its name, and the mirror folder that has it."""
    described = public_sets.load_set(name)
    if mirror is None:
        raise DataError(
            f"the public set {name} is not here: SARCURATE_MIRROR is not set",
            fix=f"run `sarcurate fetch {name} --mirror DIR`, then set SARCURATE_MIRROR=DIR",
        )
    return described, mirror


def _origin(described: SetDescriptor, domain: str) -> str:
    return "real" if described.domains[domain].measured else "simulated"


def _cut(table: pd.DataFrame, per_class: int, root_seed: int) -> pd.DataFrame:
    """The first ``per_class`` chips of each class in hash order."""
    order = table["path"].map(lambda path: lineage.sha256_text(f"{root_seed}{path}"))
    return table.loc[order.sort_values().index].groupby("label").head(per_class)


def _copy_folder(params: Params, source: FolderSource, out: Path) -> RawSet:
    root = Path(source.path)
    if source.manifest is None:
        table = read_class_folders(root, params.dataset.classes)
    else:
        table = read_manifest(root, Path(source.manifest), params.dataset.classes)
    # The declared licence holds where the manifest names none.
    known = table["licence"] if "licence" in table else pd.Series(None, index=table.index, dtype="str")
    table = table.assign(licence=known.fillna(source.licence))
    _copy_files(table, root, out, source.path)
    return RawSet(out, table, Radiometry(source.radiometry), "real")


def _cut_products(
    params: Params, side: str, source: ProductsSource, out: Path
) -> tuple[RawSet, tuple[str, ...]]:
    dataset = params.dataset
    profile = load_profile(dataset.source.profile if side == "source" else dataset.target.profile)
    cutting = cut_boxes(
        scene_paths(Path(source.path), source.scenes),
        partial(open_scene, profile=profile, polarisation=source.polarisation),
        Path(source.boxes),
        source.labels,
        ChipSize(source.footprint_m, source.margin_m, source.margin_share),
        Order(Radiometry(source.radiometry), profile, source.border, source.licence),
        out,
    )
    check_labels(cutting.raw.table["label"].tolist(), dataset.classes, source.boxes)
    return cutting.raw, cutting.said


def _copy_files(table: pd.DataFrame, root: Path, out: Path, name: str) -> None:
    for relative in track(list(table["path"]), f"copying {name}", len(table)):
        copy = out / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(resolve_inside(root, relative), copy)
