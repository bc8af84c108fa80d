"""The report as one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from sarcurate.errors import DataError

Cell = str | int | float | None
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Paragraph:
    """Plain text; markup in it is shown, not obeyed."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under column names.

    Numbers and the columns named in ``figure_columns`` (for text such as "78/91") are right-aligned. Floats
    are shown with 4 significant digits, so give text where another precision matters; None is a dash.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str
    figure_columns: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """A PNG picture; ``alt`` says in words what it shows."""

    png: bytes
    caption: str
    alt: str


Block = Paragraph | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    blocks: Sequence[Block]


def render(title: str, sections: Sequence[Section], *, dataset_revision: str, is_smoke_run: bool) -> str:
    """HTML text of a report that loads nothing from anywhere: styles and pictures are inside the file.

    All text is escaped, since class names and notes may come from strangers. The page holds no clock time,
    so the same content gives the same bytes.

    Args:
        title: of the page.
        sections: in reading order.
        dataset_revision: shown in the header.
        is_smoke_run: adds a banner that the numbers are no evidence.

    Raises:
        DataError: for a row of another length than its columns, a figure column that the table lacks, or a
            picture that is not PNG or has no alternative text.
    """
    for section in sections:
        for block in section.blocks:
            _check_block(section.heading, block)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"cell": _cell_text, "data_uri": _data_uri}
    environment.tests |= {
        "paragraph": lambda block: isinstance(block, Paragraph),
        "table": lambda block: isinstance(block, Table),
        "number": lambda cell: isinstance(cell, (int, float)),
    }
    source = (files("sarcurate") / "assets" / "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        title=title, sections=sections, dataset_revision=dataset_revision, is_smoke_run=is_smoke_run
    )


def _check_block(heading: str, block: Block) -> None:
    if isinstance(block, Table):
        _check_table(heading, block)
    elif isinstance(block, Figure):
        _check_figure(heading, block)


def _check_table(heading: str, table: Table) -> None:
    for number, row in enumerate(table.rows):
        if len(row) != len(table.columns):
            raise DataError(
                f"report section {heading!r}: row {number} of table {table.caption!r} has {len(row)} cells, "
                f"expected {len(table.columns)}",
                fix="give one cell per column, None where there is no value",
            )
    unknown = set(table.figure_columns) - set(table.columns)
    if unknown:
        raise DataError(
            f"report section {heading!r}: table {table.caption!r} has no column {sorted(unknown)}",
            fix=f"name figure columns among {list(table.columns)}",
        )


def _check_figure(heading: str, figure: Figure) -> None:
    if not figure.png.startswith(_PNG_SIGNATURE):
        raise DataError(
            f"report section {heading!r}: figure {figure.caption!r} is not PNG, it starts {figure.png[:8]!r}",
            fix="give the bytes of a PNG file",
        )
    if not figure.alt.strip():
        raise DataError(
            f"report section {heading!r}: figure {figure.caption!r} has no alternative text",
            fix="say in words what the figure shows",
        )


def _cell_text(cell: Cell) -> str:
    if cell is None:
        return "–"
    return format(cell, ".4g") if isinstance(cell, float) else str(cell)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
