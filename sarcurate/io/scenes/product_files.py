"""The files of a mapped product: images by polarisation, and the side file of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from sarcurate.errors import DataError
from sarcurate.io.product_mapping import POLARISATIONS, ProductMapping
from sarcurate.io.safe import resolve_inside
from sarcurate.io.sensors import SensorProfile

_MAX_FILES = 10_000
_IMAGE_SUFFIXES = (".tif", ".tiff")


def image_polarisations(path: Path, profile: SensorProfile) -> dict[str, Path]:
    """Images of a mapped product by polarisation, from their names; the key is "" where names do not tell.

    Args:
        path: product folder, one of its images, or its side file.
        profile: one with a section ``product``.

    Raises:
        DataError: where no file fits the profile's pattern.
    """
    mapping = mapping_of(profile)
    root = product_root(path, mapping, profile.name)
    found = _matches(root, mapping.image, profile.name)
    chosen = {p: image for p, image in found.items() if image.resolve() == path.resolve()}
    return chosen or found


def has_side_file(path: Path, profile: SensorProfile) -> bool:
    """True where a single image has the name and the side file that the profile's mapping asks for."""
    mapping = mapping_of(profile)
    if mapping.side is None:
        return bool(_regex(mapping.image).fullmatch(_below(path, mapping.image)))
    try:
        images = image_polarisations(path, profile)
        root = product_root(path, mapping, profile.name)
        return any(
            side_file(root, image, polarisation, mapping, profile.name)
            for polarisation, image in images.items()
        )
    except DataError:
        return False


def mapping_of(profile: SensorProfile) -> ProductMapping:
    """The profile's section ``product``; DataError where it has none."""
    if profile.product is None:
        raise DataError(
            f"sensor profile {profile.name} has no section product, so it cannot say how a product is read",
            fix="add the section (docs/products/geotiff.md), or open a single image file",
        )
    return profile.product


def _regex(pattern: str, polarisation: str | None = None, stem: str = "") -> re.Pattern[str]:
    choices = polarisation or "|".join(POLARISATIONS)
    signs = {"*": "[^/]*", "{polarisation}": f"({choices})", "{stem}": re.escape(stem)}
    parts = re.split(r"(\*|\{polarisation\}|\{stem\})", pattern)
    return re.compile("".join(signs.get(part, re.escape(part)) for part in parts), re.IGNORECASE)


def _below(path: Path, pattern: str) -> str:
    return "/".join(path.parts[-len(pattern.split("/")) :])


def product_root(path: Path, mapping: ProductMapping, profile: str) -> Path:
    """The product folder that ``path``, itself, an image or a side file, belongs to; DataError where none."""
    if path.is_dir():
        return path
    for pattern in (mapping.image, mapping.side or ""):
        stem_free = pattern.replace("{stem}", "*")
        if pattern and _regex(stem_free).fullmatch(_below(path.resolve(), pattern)):
            return path.resolve().parents[pattern.count("/")]
    raise DataError(
        f"{path}: its name fits neither {mapping.image} nor {mapping.side}, the patterns of profile "
        f"{profile}",
        fix="correct product.image and product.side in the profile, or name the product folder",
    )


def _candidates(root: Path, regex: re.Pattern[str], pattern: str) -> list[Path]:
    """Files below ``root`` at the pattern's depth that fit it, inside of ``root`` with links followed."""
    paths = list(islice(root.glob("/".join(["*"] * len(pattern.split("/")))), _MAX_FILES + 1))
    if len(paths) > _MAX_FILES:
        raise DataError(f"{root}: more than {_MAX_FILES} files", fix="name one product's folder")
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    return [resolve_inside(root, name) for name in names if regex.fullmatch(name)]


def _matches(root: Path, pattern: str, profile: str) -> dict[str, Path]:
    regex = _regex(pattern)
    found: dict[str, Path] = {}
    base = root.resolve()
    for image in _candidates(root, regex, pattern):
        if image.suffix.lower() not in _IMAGE_SUFFIXES:
            continue
        fits = regex.fullmatch(image.relative_to(base).as_posix())
        key = fits[1].upper() if fits and fits.groups() else ""
        if key in found:
            raise DataError(
                f"{root}: {found[key].name} and {image.name} both fit {pattern} of profile {profile}, "
                "expected one image per polarisation",
                fix="name one of the files, or make product.image in the profile more exact",
            )
        found[key] = image
    if not found:
        raise DataError(
            f"{root}: no file fits {pattern}, the image pattern of profile {profile}",
            fix="correct product.image in the profile, or check that this is the product's folder",
        )
    return found


def choose_image(images: Mapping[str, Path], polarisation: str | None, path: Path) -> str:
    """The key of the image to read; DataError, naming the choices, where that is not clear."""
    wanted = polarisation.upper() if polarisation else None
    if wanted is not None and wanted in images:
        return wanted
    if len(images) == 1 and (wanted is None or "" in images):
        return next(iter(images))
    raise DataError(
        f"{path}: {f'polarisation {wanted} was asked for' if wanted else 'several polarisations'}; "
        f"the product has {', '.join(sorted(images))}",
        fix="choose one of these with --polarisation",
    )


def side_file(
    root: Path, image: Path, polarisation: str, mapping: ProductMapping, profile: str
) -> Path | None:
    """The one side file of an image, None where the mapping needs none; DataError where it is not one."""
    if mapping.side is None:
        return None
    regex = _regex(mapping.side, polarisation or None, image.stem)
    found = [path for path in _candidates(root, regex, mapping.side) if path != image]
    if len(found) != 1:
        named = f": {', '.join(path.name for path in found[:4])}" if found else ""
        raise DataError(
            f"{root}: {len(found)} files fit {mapping.side}, the side file pattern of profile "
            f"{profile}{named}; expected one for {image.name}",
            fix="correct product.side in the profile; {stem} stands for the image's name without suffix",
        )
    return found[0]
