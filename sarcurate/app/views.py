"""Saved views: the questions a curator asks first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sarcurate.app import fields
from sarcurate.core.scorecard import VECTOR
from sarcurate.io.gates import display_name

if TYPE_CHECKING:
    import fiftyone as fo

    from sarcurate.io.collection import Collection

SHARE = 0.1  # of each class, in the views of lowest and highest ENL
MOST = 200  # chips in views of the worst
PCA = "physics_pca"
UMAP = "physics_umap"


def save_views(dataset: fo.Dataset, gates: Sequence[str]) -> None:
    """Save every view, over any of that name; those of gates that are no longer there go."""
    wanted = list(_views(dataset, gates))
    for name in dataset.list_saved_views():
        if name.startswith("rejected by ") and name not in {name for name, _, _ in wanted}:
            dataset.delete_saved_view(name)
    for name, view, words in wanted:
        dataset.save_view(name, view, description=words, overwrite=True)


def save_plots(dataset: fo.Dataset, collection: Collection) -> None:
    """Points for the embeddings panel: principal components of the physics vector; UMAP where installed.

    Chips that lack a column of the vector have no point.
    """
    import fiftyone.brain as fob

    columns = list(VECTOR)
    spread = collection.reference.train_scores[columns].std().to_numpy()
    chips = collection.chips
    z = chips[columns].to_numpy(dtype=np.float64) / np.where(spread > 0, spread, 1.0)
    whole: NDArray[np.bool_] = np.asarray(np.isfinite(z).all(axis=1))
    if whole.sum() < 3:
        return
    place = {chip: row for row, chip in enumerate(chips[fields.CHIP_ID])}
    view = dataset.select_by(fields.CHIP_ID, list(chips.loc[whole, fields.CHIP_ID]))
    rows = z[[place[chip] for chip in view.values(fields.CHIP_ID)]]
    for key in (PCA, UMAP):
        if key in dataset.list_brain_runs():
            dataset.delete_brain_run(key)
    fob.compute_visualization(view, points=_principal(rows), brain_key=PCA, progress=False)
    if _has_umap():
        fob.compute_visualization(view, embeddings=rows, method="umap", brain_key=UMAP, progress=False)


def _has_umap() -> bool:
    from importlib.util import find_spec

    return find_spec("umap") is not None


def _principal(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) coordinates along the two directions of most variance."""
    centred = rows - rows.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    points: NDArray[np.float64] = centred @ axes[:2].T
    return points


def _views(dataset: fo.Dataset, gates: Sequence[str]) -> Iterator[tuple[str, fo.DatasetView, str]]:
    from fiftyone import ViewField as F

    made = dataset.match(F("judged") == True)  # noqa: E712 - builds an expression
    unseen = made.match((F("verdict") == "none") & ~F(fields.PENDING).exists())
    yield "not yet looked at", unseen, "made chips without a verdict"
    yield "disputed", made.match(F("verdict") == "disputed"), "reviewers differ: rejected until resolved"
    yield "look again", made.match(F("verdict") == "stale"), "verdicts on other pixels than today's"
    waits = dataset.match(F(fields.PENDING).exists())
    yield "waiting to be saved", waits, "verdicts given in the App"
    for gate in gates:
        broken = made.match(F("failed").contains([gate]))
        yield f"rejected by {display_name(gate)}", broken, f"chips that break the gate on {gate}"
    near = made.exists("gate_margin").sort_by(F("gate_margin").abs()).limit(MOST)
    yield "closest to a gate's limit", near, "smallest distance to a limit, on either side"
    for name, low, high in (("lowest", 0.0, SHARE), ("highest", 1 - SHARE, 1.0)):
        part = made.match((F("enl_rank") >= low) & (F("enl_rank") <= high)).sort_by(
            "enl", reverse=name == "highest"
        )
        yield f"{name} ENL per class", part, f"the {name} {SHARE:.0%} of each set and class"
    worst = made.exists("log_psd_distance").sort_by("log_psd_distance", reverse=True).limit(MOST)
    yield "worst spectral distance", worst, "log-PSD distance to real chips, largest first"
    ghosts = made.match(F("ghost_z") > 0).sort_by("ghost_z", reverse=True).limit(MOST)
    yield "ghosts of the style", ghosts, "the style reference shines through: largest z first"
    twins = made.exists("nearest_in_set").sort_by("nearest_in_set").limit(MOST)
    yield "near duplicates", twins, "nearest to another chip of their set"
    copies = made.exists("memorisation_ratio").sort_by("memorisation_ratio").limit(MOST)
    yield "memorised", copies, "nearest to a real train chip"
    yield "families", dataset.group_by("family", order_by="set"), "chips of one content, one tile each"
