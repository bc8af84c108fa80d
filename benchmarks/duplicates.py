"""How fast near duplicates are found among 50,000 chips, how many are found rightly, and what hides them.

`make bench NAME=duplicates`; with SARCURATE_MIRROR set, the real chips of mstar-twins and mstar-simshift
are among the 50,000. Four parts, one alone by `python benchmarks/duplicates.py --only PART`:

search       50,000 chips with known pairs: seconds, memory, recall, precision (minutes)
sets         what the search links in sets as they are (minutes)
independent  the same for sets that had no part in choosing the threshold (a minute or two)
strengths    share of pictures whose similarity passes the threshold under each disturbance alone, at several
             strengths, and under all at once; no search (a minute or two)

The last line is one JSON object of the figures of the parts that ran.
"""

import argparse
import csv
import io
import json
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
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
from sarcurate.core.statistics import wilson_interval
from sarcurate.io.duplicate_report import list_chips
from sarcurate.io.raster import read_chip
from sarcurate.io.sensors import load_profile
from sarcurate.io.simulated import SimulationPlan, simulate

N_CHIPS = 50_000
N_PLANTED = 1_000
N_CLASSES = 10  # so that every class has a chip in each 0.08 degrees of azimuth
SIDE_PX, MARGIN_PX = 64, 4
PLAIN_GREY = 30  # where the median of an undisturbed picture lands
WORKERS = 2
DOMAINS = {
    "mstar-simshift": ("mstar-x", "sim-coarse"),
    "tsx-s1-slc": ("tsx-x", "s1-c"),
    "sar-acd": ("gf3-c",),
}
N_PICTURES = 1_000  # of the part strengths
WIDE_MARGIN_PX = 8
TWINS_QUALITY = 75  # of the quantisation tables in both renderings of mstar-twins
AIRCRAFT = ("B-52", "Boeing-747", "Boeing-767", "C-130", "C-17", "F-15", "F-16")


@dataclass(frozen=True)
class Ranges:
    """What a disturbance is drawn from, uniformly; ``grey`` is where the median lands."""

    looks: tuple[float, float]
    size: tuple[float, float]
    exponent: tuple[float, float]
    grey: tuple[float, float]
    jpeg_quality: tuple[int, int]


# AS_PLANTED was chosen after a harsher plant had a recall of 0.934, so HARSHER is always shown beside it.
AS_PLANTED = Ranges((6, 16), (0.85, 1.2), (0.5, 1.0), (20, 60), (60, 95))
HARSHER = Ranges((4, 16), (0.8, 1.25), (0.4, 1.0), (10, 60), (40, 95))


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


def render(scatterers, azimuth_deg, rng, margin_px=MARGIN_PX):
    """Amplitude of a target on clutter: one complex look, band-limited, shadow behind the target.

    Two calls share nothing but class and azimuth: clutter, phases and scintillation are drawn anew.
    """
    side = SIDE_PX + 2 * margin_px
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


def plain(amplitude):
    return as_8_bit(amplitude, 1.0, PLAIN_GREY)


def regained(grey, gain):
    return np.clip(np.rint(grey.astype(float) * gain), 0, 255).astype(np.uint8)


def window(amplitude, rng):
    """The chip, cut up to MARGIN_PX off the centre, in one of eight orientations."""
    top, left = rng.integers(0, 2 * MARGIN_PX + 1, 2)
    cut = amplitude[
        top : amplitude.shape[0] - 2 * MARGIN_PX + top, left : amplitude.shape[1] - 2 * MARGIN_PX + left
    ]
    return turned(cut, int(rng.integers(8)))


def turned(picture, orientation):
    return np.rot90(picture.T if orientation >= 4 else picture, orientation % 4)


def centre(scene, side_px=SIDE_PX, down_px=0, right_px=0):
    """Square about the middle, or that far from it."""
    margin_px = (len(scene) - side_px) // 2
    top, left = margin_px + down_px, margin_px + right_px
    return scene[top : top + side_px, left : left + side_px]


def speckled(amplitude, looks, rng):
    return amplitude * np.sqrt(rng.gamma(looks, 1 / looks, amplitude.shape))


def resized(amplitude, size):
    rows, cols = (max(round(side * size), 32) for side in amplitude.shape)
    picture = Image.fromarray(amplitude.astype(np.float32)).resize((cols, rows), Image.Resampling.BICUBIC)
    return np.maximum(np.asarray(picture), 0)


def disturbed(amplitude, rng, ranges=AS_PLANTED):
    """Another rendering: more speckle, another size, another curve, JPEG."""
    amplitude = speckled(amplitude, rng.uniform(*ranges.looks), rng)
    amplitude = resized(amplitude, rng.uniform(*ranges.size))
    grey = as_8_bit(amplitude, rng.uniform(*ranges.exponent), rng.uniform(*ranges.grey))
    low, high = ranges.jpeg_quality
    return jpeg(grey, int(rng.integers(low, high + 1)))


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
            cut = turned(window(other, rng), orientation)
            yield name, "b", regained(cut, rng.uniform(0.7, 1.4))


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
        yield name, "planted" if number < N_PLANTED else "distractor", plain(centre(amplitude))
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
        print(f"{name}: {describe_folders(folders)}", flush=True)
    return {}


def independent_sets(mirror):
    """The same for chips that had no part in choosing the threshold."""
    for seed in (1, 2, 3):
        with tempfile.TemporaryDirectory() as folder:
            simulate(other_seed(seed), Path(folder))
            print(f"independent, simulator seed {seed}: {describe_folders([Path(folder)])}", flush=True)
    chips = [plain(centre(scene)) for scene in scenes(np.random.default_rng(1), 5_000)]
    print(f"independent, bench pictures seed 1: {describe_chips(chips)}", flush=True)
    if mirror:
        ships = describe_folders([mirror / "ships-s1-slc" / "s1-c-iw"])
        print(f"independent, ships-s1-slc/s1-c-iw: {ships}", flush=True)
        grid = list(grid_chips(mirror / "gf3-airport-scenes" / "scenes"))
        print(f"independent, gf3-airport-scenes grid: {describe_chips(grid)}", flush=True)
        print("mstar-x, candidates from", tail_of(mirror / "mstar-simshift" / "mstar-x"), flush=True)
    return {}


def other_seed(seed):
    """The default's target, drawn anew."""
    sensor = load_profile("fucheng1-sim").sensor_model()
    return SimulationPlan("target", dict.fromkeys(AIRCRAFT, 50), 11, (30.0, 50.0), sensor, 96.0, seed)


def grid_chips(folder):
    """Windows of SIDE_PX that share no pixel."""
    for path in sorted(folder.glob("*.jpg")):
        scene = read_chip(path).values
        for top in range(0, scene.shape[0] - SIDE_PX + 1, SIDE_PX):
            for left in range(0, scene.shape[1] - SIDE_PX + 1, SIDE_PX):
                yield scene[top : top + SIDE_PX, left : left + SIDE_PX]


def describe_folders(folders):
    listed = [list_chips(folder) for folder in folders]
    codes = np.concatenate([picture_codes(chips) for chips in listed])
    side = np.repeat(np.arange(len(listed)), [len(chips) for chips in listed])
    return describe_links(codes, side, np.concatenate([chips.labels for chips in listed]))


def describe_chips(chips):
    one_side = np.zeros(len(chips), dtype=int)
    return describe_links(picture_codes(chips), one_side, one_side)


def tail_of(folder):
    """How many candidates reach each similarity: how fast chance runs out below the threshold."""
    similarity = near_duplicate_pairs(picture_codes(list_chips(folder)), min_similarity=0.3).similarity
    levels = (0.70, 0.72, 0.74, 0.76, SAME_PICTURE)
    return ", ".join(f"{level:.2f}: {int((similarity >= level).sum())}" for level in levels)


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


# --- how strong a disturbance may be


def scenes(rng, count):
    classes = class_scatterers(rng)
    for number in range(count):
        yield render(classes[number % N_CLASSES], rng.uniform(0, 360), rng, WIDE_MARGIN_PX)


def shifted(scene, shift_px, rng):
    """Both ways at once, which is the worst that a shift of so many pixels can be."""
    down_px, right_px = rng.choice((-shift_px, shift_px), 2)
    return plain(centre(scene, SIDE_PX, down_px, right_px))


def saturated(scene, share):
    """Eight bit with that share of the pixels, the brightest, at 255."""
    amplitude = centre(scene)
    return regained(amplitude, 255 / np.quantile(amplitude, 1 - share))


def all_at_once(scene, ranges, rng):
    return disturbed(window(centre(scene, SIDE_PX + 2 * MARGIN_PX), rng), rng, ranges)


def settings():
    """As planted, one range at a time harsher, all of them harsher."""
    names = [field.name for field in fields(Ranges)]
    one_harsher = {
        f"as planted, {name} harsher": replace(AS_PLANTED, **{name: getattr(HARSHER, name)}) for name in names
    }
    return {"as planted": AS_PLANTED, **one_harsher, "harsher": HARSHER}


def disturbances():
    """Name: strengths, and the function (scene, strength, rng) that gives the chip."""
    return {
        "further speckle, looks": (
            (2, 3, 4, 6, 8, 16),
            lambda scene, looks, rng: plain(speckled(centre(scene), looks, rng)),
        ),
        "size, times": (
            (0.7, 0.8, 0.9, 1.1, 1.25, 1.5),
            lambda scene, size, rng: plain(resized(centre(scene), size)),
        ),
        "exponent": (
            (0.3, 0.5, 0.7),
            lambda scene, exponent, rng: as_8_bit(centre(scene), exponent, PLAIN_GREY),
        ),
        "gain, times": (
            (0.05, 0.1, 0.25, 0.5, 2, 4),
            lambda scene, gain, rng: regained(plain(centre(scene)), gain),
        ),
        "brightest pixels at 255, share": (
            (0.001, 0.01, 0.05, 0.1, 0.2, 0.4),
            lambda scene, share, rng: saturated(scene, share),
        ),
        "JPEG quality": (
            (20, 40, 60, 80),
            lambda scene, quality, rng: jpeg(plain(centre(scene)), quality),
        ),
        f"JPEG quality {TWINS_QUALITY} after gain, times": (
            (0.05, 0.1, 0.25, 0.5),
            lambda scene, gain, rng: jpeg(regained(plain(centre(scene)), gain), TWINS_QUALITY),
        ),
        "shift along both sides, px": ((2, 4, 5, 6, 8), shifted),
        "orientation": (
            ("one of the 7 others",),
            lambda scene, _, rng: turned(plain(centre(scene)), int(rng.integers(1, 8))),
        ),
        "all at once": (
            tuple(settings()),
            lambda scene, name, rng: all_at_once(scene, settings()[name], rng),
        ),
    }


def strengths(mirror):
    """A row for each disturbance and strength: share of pictures that pass the threshold, 95 % interval."""
    pictures = list(scenes(np.random.default_rng(2607), N_PICTURES))
    undisturbed = picture_codes([plain(centre(scene)) for scene in pictures])
    shares = {}
    print(f"| disturbance | strength | share of {N_PICTURES} | 95 % interval | median, 5th percentile |")
    for number, (name, (steps, disturb)) in enumerate(disturbances().items()):
        for step, strength in enumerate(steps):
            rng = np.random.default_rng([2607, number, step])
            chips = [disturb(scene, strength, rng) for scene in pictures]
            similarity = similarities(undisturbed, picture_codes(chips))
            shares[name, strength] = share = share_found(similarity)
            print(f"| {name} | {strength} | {described_share(share, similarity)} |", flush=True)
    if mirror:
        explain_missed_twins(mirror)
    planted, harsher = shares["all at once", "as planted"], shares["all at once", "harsher"]
    return {
        "recall_planted_no_search": planted.estimate,
        "recall_harsher": harsher.estimate,
        "recall_harsher_interval": [round(harsher.low, 4), round(harsher.high, 4)],
    }


def share_found(similarity):
    return wilson_interval(int((similarity >= SAME_PICTURE).sum()), len(similarity))


def described_share(share, similarity):
    middle, low = np.quantile(similarity, (0.5, 0.05))
    return f"{share.estimate:.3f} | {share.low:.3f} to {share.high:.3f} | {middle:.3f}, {low:.3f}"


def explain_missed_twins(mirror):
    """The least similar pairs, and rendering a put on rendering b's curve: without JPEG, with it."""
    folder = mirror / "mstar-twins"
    with (folder / "pairs.csv").open(encoding="utf-8") as file:
        pairs = [[folder / row["rendering_a"], folder / row["rendering_b"]] for row in csv.DictReader(file)]
    one, other = ([read_chip(pair[side]).values for pair in pairs] for side in (0, 1))
    curved = [on_curve_of(a, b) for a, b in zip(one, other, strict=True)]
    codes = picture_codes(one)
    actual, levels, coded = (
        similarities(codes, picture_codes(chips))
        for chips in (other, curved, [jpeg(chip, TWINS_QUALITY) for chip in curved])
    )
    print("twins: least similar in fact, from its levels alone, from levels and JPEG, median grey level of b")
    for at in np.argsort(actual)[:4]:
        grey = np.median(other[at])
        print(f"{pairs[at][1].name}: {actual[at]:.3f}, {levels[at]:.3f}, {coded[at]:.3f}, {grey:.0f}")
    print(
        f"all {len(pairs)}: least from levels alone {levels.min():.3f}, correlation of fact with levels "
        f"and JPEG {np.corrcoef(actual, coded)[0, 1]:.3f}"
    )


def on_curve_of(one, other):
    """A power law that gives chip one the median and the 99th percentile of the other, in 8 bit levels."""
    middle, bright = (np.percentile(chip, (50, 99)) for chip in (one.astype(float), other.astype(float)))
    (from_middle, from_bright), (to_middle, to_bright) = middle, bright
    exponent = np.log(to_bright / to_middle) / np.log(from_bright / from_middle)
    return regained((one / from_middle) ** exponent, to_middle)


# --- parts


def search(mirror):
    with tempfile.TemporaryDirectory() as folder:
        chips, picture, roles = make_set(Path(folder), mirror)
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
    print("most similar wrong links:", wrong[:10])
    return {
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


PARTS = {"search": search, "sets": linked_sets, "independent": independent_sets, "strengths": strengths}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="run one part alone")
    only = parser.parse_args().only
    mirror = os.environ.get("SARCURATE_MIRROR")
    figures = {}
    for name in [only] if only else PARTS:
        figures |= PARTS[name](Path(mirror) if mirror else None)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
