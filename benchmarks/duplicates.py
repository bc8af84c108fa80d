"""How fast near duplicates are found among 50,000 chips, and how many are found rightly.

`make bench NAME=duplicates`; with SARCURATE_MIRROR set, the real chips of mstar-twins and mstar-simshift
are among the 50,000. Then what the search links in the sets themselves. The last line is one JSON object.
"""

import csv
import io
import json
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sarcurate.core.near_duplicates import (
    SAME_PICTURE,
    Pairs,
    near_duplicate_groups,
    near_duplicate_pairs,
    picture_codes,
    similarities,
)
from sarcurate.io.duplicate_report import list_chips
from sarcurate.io.raster import read_chip

N_CHIPS = 50_000
N_PLANTED = 1_000
N_CLASSES = 10  # so that every class has a chip in each 0.08 degrees of azimuth
SIDE_PX, MARGIN_PX = 64, 4
WORKERS = 2
DOMAINS = {
    "mstar-simshift": ("mstar-x", "sim-coarse"),
    "tsx-s1-slc": ("tsx-x", "s1-c"),
    "sar-acd": ("gf3-c",),
}


@dataclass(frozen=True)
class StoredChips(Sequence):
    """8 bit chips of any size in one file, read one by one, so that memory holds none of them."""

    path: Path
    shapes: np.ndarray
    starts: np.ndarray

    def __len__(self):
        return len(self.shapes)

    def __getitem__(self, index):
        rows, cols = self.shapes[index]
        with self.path.open("rb") as file:
            file.seek(self.starts[index])
            return np.frombuffer(file.read(rows * cols), dtype=np.uint8).reshape(rows, cols)


# --- pictures


def class_scatterers(rng):
    """(classes, 25, 3): place along and across, in pixels, and mean amplitude."""
    place = rng.uniform((-14, -6), (14, 6), (N_CLASSES, 25, 2))
    return np.concatenate([place, rng.lognormal(2.0, 0.7, (N_CLASSES, 25, 1))], axis=2)


def render(scatterers, azimuth_deg, rng):
    """Amplitude of a target on clutter: one complex look, band-limited, shadow behind the target.

    Two calls share nothing but class and azimuth: clutter, phases and scintillation are drawn anew.
    """
    side = SIDE_PX + 2 * MARGIN_PX
    field = rng.normal(size=(side, side)) + 1j * rng.normal(size=(side, side))
    turn = np.deg2rad(azimuth_deg)
    along, across, amplitude = scatterers.T
    row = along * np.cos(turn) - across * np.sin(turn) + side / 2
    col = along * np.sin(turn) + across * np.cos(turn) + side / 2
    shadow_rows = np.rint(row - 10).astype(int) % side
    for step in range(-3, 4):
        field[shadow_rows, (np.rint(col).astype(int) + step) % side] *= 0.2
    seen = amplitude * rng.gamma(4.0, 0.25, len(amplitude)) * np.exp(2j * np.pi * rng.random(len(amplitude)))
    np.add.at(field, (np.rint(row).astype(int) % side, np.rint(col).astype(int) % side), 4 * seen)
    band = np.abs(np.fft.fftfreq(side)) < 0.4
    return np.abs(np.fft.ifft2(np.fft.fft2(field) * band[:, None] * band))


def as_8_bit(amplitude, exponent, brightness):
    """A display rendering: a monotone curve, then 256 levels; brightness is the grey of the median."""
    curve = amplitude**exponent
    return np.clip(np.rint(brightness * curve / np.median(curve)), 0, 255).astype(np.uint8)


def window(amplitude, rng):
    """The chip, cut up to MARGIN_PX off the centre, in one of eight orientations."""
    top, left = rng.integers(0, 2 * MARGIN_PX + 1, 2)
    cut = amplitude[
        top : amplitude.shape[0] - 2 * MARGIN_PX + top, left : amplitude.shape[1] - 2 * MARGIN_PX + left
    ]
    return turned(cut, int(rng.integers(8)))


def turned(picture, orientation):
    return np.rot90(picture.T if orientation >= 4 else picture, orientation % 4)


def disturbed(amplitude, rng):
    """Another rendering: more speckle, another size, another curve, JPEG."""
    looks = rng.uniform(6, 16)
    amplitude = amplitude * np.sqrt(rng.gamma(looks, 1 / looks, amplitude.shape))
    scale = rng.uniform(0.85, 1.2)
    rows, cols = (max(round(side * scale), 32) for side in amplitude.shape)
    resized = Image.fromarray(amplitude.astype(np.float32)).resize((cols, rows), Image.Resampling.BICUBIC)
    grey = as_8_bit(np.maximum(np.asarray(resized), 0), rng.uniform(0.5, 1.0), rng.uniform(20, 60))
    return jpeg(grey, int(rng.integers(60, 96)))


def jpeg(grey, quality):
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


# --- the set: chips, the picture that each shows, and which chips are queries of known pairs


def twins(mirror, rng):
    """Renderings a and b of each MSTAR chip of the set: a once, b at each orientation, shifted and gained."""
    folder = mirror / "mstar-twins"
    with (folder / "pairs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        name = f"{row['class']}/{Path(row['rendering_a']).stem.lower()}"
        one, other = (read_chip(folder / row[side]).values for side in ("rendering_a", "rendering_b"))
        yield name, "a", one[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
        for orientation in range(8):
            cut = turned(window(other, rng), orientation).astype(float)
            yield name, "b", np.clip(np.rint(cut * rng.uniform(0.7, 1.4)), 0, 255).astype(np.uint8)


def measured_distractors(mirror, known):
    """MSTAR chips of the same classes and, mostly, of neighbouring azimuths; none of the known pictures."""
    folder = mirror / "mstar-simshift" / "mstar-x"
    for path in sorted(folder.glob("*/*.png")):
        name = f"{path.parent.name.replace('-', '_')}/{path.stem}"
        if name.replace("_", "") not in {other.replace("_", "").replace("-", "") for other in known}:
            yield name, "distractor", read_chip(path).values


def simulated(count, rng):
    """Chips of ten classes at all azimuths; the first N_PLANTED come twice."""
    classes = class_scatterers(rng)
    for number in range(count):
        amplitude = render(classes[number % N_CLASSES], rng.uniform(0, 360), rng)
        name = f"simulated/{number}"
        centre = amplitude[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
        yield name, "planted" if number < N_PLANTED else "distractor", as_8_bit(centre, 1.0, 30)
        if number < N_PLANTED:
            yield name, "copy", disturbed(window(amplitude, rng), rng)


def make_set(folder, mirror):
    """Write the chips to one file; the chips, their pictures' names and their roles."""
    rng = np.random.default_rng(2606)
    real = list(twins(mirror, rng)) if mirror else []
    real += list(measured_distractors(mirror, {name for name, _, _ in real})) if mirror else []
    names, roles, shapes = [], [], []
    path = folder / "chips.bin"
    with path.open("wb") as file:
        for source in (real, simulated(N_CHIPS - N_PLANTED - len(real), rng)):
            for name, role, picture in source:
                file.write(np.ascontiguousarray(picture).tobytes())
                names.append(name)
                roles.append(role)
                shapes.append(picture.shape)
    shapes = np.array(shapes)
    starts = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))[:-1]])
    return StoredChips(path, shapes, starts), np.unique(names, return_inverse=True)[1], np.array(roles)


# --- the score


def recall(groups, picture, roles, one, other):
    """Share of known pairs (a chip of role one and a chip of role other of the same picture) in one group."""
    first = {picture[i]: i for i in np.flatnonzero(roles == one)}
    found = [groups[i] == groups[first[picture[i]]] for i in np.flatnonzero(roles == other)]
    return float(np.mean(found)) if found else None


def pairs_in(labels):
    counts = np.unique(labels, return_counts=True, axis=0)[1].astype(float)
    return float((counts * (counts - 1) / 2).sum())


def linked_sets(mirror):
    """What the search links in sets as they are: alone, and source with target."""
    sets = {
        name: [Path("data/chips") / name]
        for name in ("source", "target")
        if (Path("data/chips") / name).is_dir()
    }
    if len(sets) == 2:
        sets["source with target"] = [folder for folders in sets.values() for folder in folders]
    for name, domains in DOMAINS.items() if mirror else ():
        folders = [mirror / name / domain for domain in domains]
        sets |= {f"{name}/{folder.name}": [folder] for folder in folders}
        if len(folders) > 1:
            sets[f"{name}, both domains"] = folders
    for name, folders in sets.items():
        listed = [list_chips(folder) for folder in folders]
        codes = np.concatenate([picture_codes(chips) for chips in listed])
        side = np.repeat(np.arange(len(listed)), [len(chips) for chips in listed])
        described = describe_links(codes, side, np.concatenate([chips.labels for chips in listed]))
        print(f"{name}: {described}", flush=True)


def describe_links(codes, side, labels):
    pairs = near_duplicate_pairs(codes, min_similarity=0.3)
    across = side[pairs.first] != side[pairs.second]
    counted = across if across.any() else np.ones(len(pairs), dtype=bool)  # of two sets only what joins them
    highest = pairs.similarity[counted].max(initial=0)
    kept = pairs.similarity >= SAME_PICTURE
    links = Pairs(pairs.first[kept], pairs.second[kept], pairs.similarity[kept])
    groups = near_duplicate_groups(links, len(codes))
    sizes = np.bincount(groups)
    said = (
        f"{len(codes)} chips, {int((kept & counted).sum())} links, highest similarity {highest:.3f}, "
        f"{int((sizes > 1).sum())} groups of {int(sizes[sizes > 1].sum())} chips, largest {sizes.max()}"
    )
    if len(links):
        other_label = labels[links.first] != labels[links.second]
        said += (
            f"; of pairs in a group {inner_share(codes, groups):.3f} are that similar themselves; "
            f"links across labels {int(other_label.sum())}, "
            f"{int((other_label & (links.similarity >= 0.9)).sum())} of them from 0.9"
        )
    return said


def inner_share(codes, groups):
    """Share of all pairs in one group that are duplicates by themselves: 1 without chaining."""
    order = np.argsort(groups, kind="stable")
    inner = [(*np.triu_indices(len(run), 1), run) for run in members(groups, order)]
    first = np.concatenate([run[one] for one, _, run in inner])
    second = np.concatenate([run[other] for _, other, run in inner])
    same = [
        similarities(codes[first[at : at + 1000]], codes[second[at : at + 1000]]) >= SAME_PICTURE
        for at in range(0, len(first), 1000)
    ]
    return np.concatenate(same).mean()


def members(groups, order):
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def main():
    mirror = os.environ.get("SARCURATE_MIRROR")
    with tempfile.TemporaryDirectory() as folder:
        chips, picture, roles = make_set(Path(folder), Path(mirror) if mirror else None)
        start = time.perf_counter()
        codes = picture_codes(chips, WORKERS)
        described = time.perf_counter()
        pairs = near_duplicate_pairs(codes, workers=WORKERS)
        groups = near_duplicate_groups(pairs, len(chips))
        end = time.perf_counter()
    right = picture[pairs.first] == picture[pairs.second]
    joined = pairs_in(groups)
    sizes = np.bincount(groups)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    wrong = np.sort(pairs.similarity[~right])[::-1]
    recalls = {
        "recall_twins": recall(groups, picture, roles, "a", "b"),
        "recall_planted": recall(groups, picture, roles, "planted", "copy"),
    }
    known = [value for value in recalls.values() if value is not None]
    figures = {
        "chips": len(chips),
        "threshold": SAME_PICTURE,
        "seconds_50k": round(end - start, 1),
        "seconds_codes": round(described - start, 1),
        "peak_memory_gb": round(peak / 1e6, 2),
        "recall": round(min(known), 4),  # the worse of the two kinds of known pairs
        "precision": round(pairs_in(np.stack([groups, picture], 1)) / joined, 4),  # of pairs in one group
        **recalls,
        "precision_links": round(float(right.mean()), 4),
        "links": len(pairs),
        "wrong_links": int((~right).sum()),
        "largest_group": int(sizes.max()),
    }
    print("most similar wrong links:", wrong[:10])
    linked_sets(Path(mirror) if mirror else None)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
