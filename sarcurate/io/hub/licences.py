"""Which chips may be given to others: the licences of all that a chip was made of, held against rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sarcurate.io.chipset import ChipSet
from sarcurate.io.generated import UNKNOWN_LICENCE

MADE = ("generated", "migrated", "translated")  # origins; simulated chips stand in for real ones
BASE_MARK = "; see also the licence of the base "  # how the manifest of a generated chip ends


@dataclass(frozen=True)
class LicenceRule:
    """What the licence of one source allows.

    Args:
        source: the licence as the real chips' manifests have it, or ``base <name>`` of a generating model.
        licence_id: of the Hub, such as ``apache-2.0``, ``cc-by-4.0`` or ``other``.
        chips: whether the chips themselves may be given to others; made: chips made from them.
    """

    source: str
    licence_id: str
    chips: bool
    made: bool


@dataclass(frozen=True)
class Provenance:
    """Licences of real chips by id, those of all chips that adapters were trained on, and made chips' kin.

    Args:
        real: licence of every real chip, train and test.
        trained_on: licences of the source's train chips.
        generated: rows of generated chips by id: their own licence text.
        rules: by source.
    """

    real: Mapping[str, str]
    trained_on: tuple[str, ...]
    generated: Mapping[str, str]
    rules: Mapping[str, LicenceRule]

    def sources(self, row: Mapping[str, object]) -> tuple[str, ...]:
        """Sources of a chip, sorted: its own licence, or those of all it was made from."""
        if row["origin"] not in MADE:
            return (str(row["licence"] or UNKNOWN_LICENCE),)
        if row["origin"] == "generated":
            return self._of_generated(str(row["licence"]))
        kin = [*_ids(row["parents"]), *_ids(row["style_ids"])]
        found: set[str] = set()
        for chip_id in kin:
            if chip_id in self.generated:
                found |= set(self._of_generated(self.generated[chip_id]))
            else:
                found.add(self.real.get(chip_id, UNKNOWN_LICENCE))
        return tuple(sorted(found or {UNKNOWN_LICENCE}))

    def may_go(self, sources: Sequence[str], is_made: bool) -> bool:
        """Whether every source allows it; a source without a rule allows nothing."""
        rules = [self.rules.get(source) for source in sources]
        return all(rule is not None and (rule.made if is_made else rule.chips) for rule in rules)

    def _of_generated(self, licence: str) -> tuple[str, ...]:
        if licence not in self._bases:
            base = licence.partition(BASE_MARK)[2] or "unknown"
            self._bases[licence] = tuple(sorted({*self.trained_on, f"base {base}"}))
        return self._bases[licence]

    @cached_property
    def _bases(self) -> dict[str, tuple[str, ...]]:
        return {}


def provenance(
    real: Sequence[ChipSet], source_train: ChipSet, generated: ChipSet, rules: Sequence[LicenceRule]
) -> Provenance:
    """The licences of a whole data set; see :class:`Provenance`."""
    return Provenance(
        real={chip_id: licence for chips in real for chip_id, licence in _licences(chips).items()},
        trained_on=tuple(sorted(set(_licences(source_train).values()))),
        generated=_licences(generated),
        rules={rule.source: rule for rule in rules},
    )


def _licences(chips: ChipSet) -> dict[str, str]:
    texts = chips.manifest["licence"].fillna(UNKNOWN_LICENCE)
    return dict(zip(chips.manifest["chip_id"].astype(str), texts.astype(str), strict=True))


def _ids(value: object) -> list[str]:
    return [] if value is None else [str(item) for item in value]  # type: ignore[attr-defined]
