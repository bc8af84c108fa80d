"""Figures: readable PNG, the same bytes whatever the reader's settings, and names taken as plain text."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sarcurate.core.statistics import Interval, wilson_interval
from sarcurate.errors import DataError
from sarcurate.io import figures

NAMES = ("F-15", r"$\frac{$", "<script>", "\u6b7c-20\n", "a_very_long_name" * 5)
CHIP = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
ARMS = {"real only": wilson_interval(52, 91), "migrated": wilson_interval(78, 91)}


def curve() -> figures.Curve:
    steps = np.arange(0, 100, 10)
    return figures.Curve(steps, np.stack([1 / (1 + steps), 2 / (1 + steps)]))


def panel(sides_m: tuple[float, float] | None) -> figures.Panel:
    return figures.Panel(CHIP, sides_m)


FIGURES: dict[str, Callable[[], bytes]] = {
    "overview": lambda: figures.overview([[panel((24.0, 32.0))] * 2], NAMES[:1], NAMES[1:3]),
    "grid": lambda: figures.chip_grid([CHIP] * 5, NAMES, 3),
    "bars": lambda: figures.class_count_bars({"real": [3] * 5, "migrated": [0, 1, 2, 3, 4]}, NAMES),
    "curves": lambda: figures.training_curves({"real only": curve(), NAMES[1]: curve()}, "loss"),
    "confusion": lambda: figures.confusion_figure(np.diag([3, 3, 0, 3, 3]), NAMES),
    "arms": lambda: figures.arms_intervals(ARMS, "real only"),
}
every_figure = pytest.mark.parametrize("name", FIGURES)


@every_figure
def test_figure_is_a_png_without_metadata(name: str) -> None:
    png = FIGURES[name]()
    image = Image.open(BytesIO(png))
    image.load()
    assert image.format == "PNG"
    assert set(image.info) <= {"dpi"}
    assert b"matplotlib" not in png.lower()
    assert len(np.unique(np.asarray(image.convert("L")))) > 2


@every_figure
def test_bytes_do_not_depend_on_the_readers_settings(name: str) -> None:
    plain = FIGURES[name]()
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30, "lines.linewidth": 9}):
        assert FIGURES[name]() == plain
        assert mpl.rcParams["font.size"] == 20


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Figures as they are when saved, to look at what was drawn."""
    seen: list[Any] = []
    save = Figure.savefig

    def remember(self: Figure, *args: Any, **kwargs: Any) -> None:
        seen.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)
    return seen


def test_grid_shows_the_pixels_of_every_chip_in_order(drawn: list[Any]) -> None:
    chips = [CHIP, CHIP[:8].copy(), 255 - CHIP]
    figures.chip_grid(chips, ["a", "b", "c"], 2)
    shown = [(axis.get_title(), axis.images[0].get_array()) for axis in drawn[0].axes if axis.images]
    assert [title for title, _ in shown] == ["a", "b", "c"]
    for chip, (_, pixels) in zip(chips, shown, strict=True):
        np.testing.assert_array_equal(pixels, chip)


def test_overview_puts_classes_down_and_sets_across_at_one_scale(drawn: list[Any]) -> None:
    fine, coarse = figures.Panel(CHIP, (24.0, 32.0)), figures.Panel(255 - CHIP[::2, ::2], (24.0, 32.0))
    figures.overview([[fine, coarse], [coarse, fine]], ["F-15", "F-16"], ["source", "target"])
    axes = [axis for axis in drawn[0].axes if axis.images]
    for axis, shown in zip(axes, [fine, coarse, coarse, fine], strict=True):
        np.testing.assert_array_equal(axis.images[0].get_array(), shown.image)
        assert list(axis.images[0].get_extent()) == [0, 32.0, 24.0, 0]
    assert [axis.get_title() for axis in axes] == ["source", "target", "", ""]
    assert [axis.get_ylabel() for axis in axes] == ["F-15\nazimuth (m)", "", "F-16\nazimuth (m)", ""]
    assert [axis.get_xlabel() for axis in axes] == ["", "", "range (m)", "range (m)"]


def test_overview_counts_pixels_where_metres_are_not_known(drawn: list[Any]) -> None:
    figures.overview([[panel(None)]], ["F-15"], ["source"])
    axis = drawn[0].axes[0]
    assert list(axis.images[0].get_extent()) == [0, 16, 12, 0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("range (px)", "F-15\nazimuth (px)")


def test_confusion_cells_say_k_of_n(drawn: list[Any]) -> None:
    figures.confusion_figure([[11, 2], [0, 0]], ["a", "b"])
    axis = drawn[0].axes[0]
    assert [(t.get_text(), t.xy) for t in axis.texts] == [("11/13", (0, 0)), ("2/13", (1, 0))]
    np.testing.assert_allclose(axis.images[0].get_array(), np.array([[11 / 13, 2 / 13], [0, 0]]))


def test_bars_are_stacked_and_totalled(drawn: list[Any]) -> None:
    figures.class_count_bars({"real": [3, 4], "migrated": [10, 0]}, ["a", "b"])
    axis = drawn[0].axes[0]
    assert [(p.get_x(), p.get_width()) for p in axis.patches] == [(0, 3), (0, 4), (3, 10), (4, 0)]
    assert [t.get_text().strip() for t in axis.texts] == ["13", "4"]


def test_curves_are_means_over_seeds(drawn: list[Any]) -> None:
    figures.training_curves({"real only": curve()}, "loss")
    np.testing.assert_allclose(drawn[0].axes[0].lines[0].get_ydata(), 1.5 / (1 + curve().steps))


def test_arms_plot_has_the_reference_line_and_takes_an_estimate_outside_its_interval(
    drawn: list[Any],
) -> None:
    figures.arms_intervals(
        {"a": Interval(0.5, 0.52, 0.6), "real only": Interval(0.25, 0.2, 0.3)}, "real only"
    )
    axis = drawn[0].axes[0]
    assert list(axis.lines[0].get_xdata()) == [25, 25]
    ends = [segment[:, 0].tolist() for segment in axis.collections[0].get_segments()]
    assert ends == [pytest.approx([52, 60]), pytest.approx([20, 30])]


def test_printable_keeps_plain_names_and_replaces_what_the_font_lacks() -> None:
    assert figures.printable("F-15 σ⁰ $x$") == "F-15 σ⁰ $x$"
    assert figures.printable("\u6b7c\n20\x1b") == "\ufffd\ufffd20\ufffd"
    assert figures.printable("x" * 100, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.overview([], [], ["source"]), "found 0 images"),
        (lambda: figures.overview([[panel(None)]], ["a"], ["source", "target"]), "2 labels"),
        (lambda: figures.chip_grid([], [], 3), "found 0 images"),
        (lambda: figures.chip_grid([CHIP], ["a", "b"], 3), "2 labels"),
        (lambda: figures.chip_grid([CHIP.astype(float)], ["a"], 3), "'a' is float64"),
        (lambda: figures.class_count_bars({"real": [1]}, ["a", "b"]), "'real': found 1, expected 2"),
        (lambda: figures.class_count_bars({}, ["a"]), "found none"),
        (lambda: figures.training_curves({}, "loss"), "no arm"),
        (
            lambda: figures.training_curves({"a": figures.Curve(np.arange(3), np.ones((1, 2)))}, "loss"),
            "of 'a'",
        ),
        (lambda: figures.confusion_figure(np.ones((2, 2)), ["a"]), "for 1 classes"),
        (lambda: figures.arms_intervals(ARMS, "real"), "'real' is not among"),
    ],
)
def test_broken_input_is_refused(draw: Callable[[], bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        draw()
