"""Figures of quality: what is drawn are the numbers given, chips without a value are counted."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sarcurate.core.marginal import QUANTILE_LEVELS
from sarcurate.core.scorecard_columns import RING_COLUMNS
from sarcurate.errors import DataError
from sarcurate.io import quality_figures, set_figures
from sarcurate.io.set_figures import set_styles

RNG = np.random.default_rng(0)
HOSTILE = r"$\frac{$"


def scores(n: int, enl: float = 1.0, styled: bool = True, missing: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(n)
    table = {"enl": enl * np.exp(0.1 * rng.standard_normal(n))}
    table |= {ring: rng.standard_normal(n) - 0.2 * k for k, ring in enumerate(RING_COLUMNS)}
    table["content_retention"], table["content_z"] = rng.uniform(0.4, 0.9, n), rng.uniform(2, 9, n)
    table["ghost_ncc"] = rng.uniform(0.0, 0.2, n) if styled else np.full(n, np.nan)
    table["ghost_z"] = table["ghost_ncc"] * 20
    for column in table.values():
        column[:missing] = np.nan
    return pd.DataFrame(table)


def quality() -> dict[str, Any]:
    gap = {"gap_closed_enl": 0.5, "gap_closed_enl_low": 0.4, "gap_closed_enl_high": 0.7}
    none = {"gap_closed_enl": None, "gap_closed_enl_reason": "the source is not farther than the floor"}
    return {"level": 0.95, "floor": {"mmd_physics": 0.1}, "psd": gap, HOSTILE: none | {"gap_closed_mmd": 1.0}}


ROWS = [
    {"set": name, "step": step, "remaining": left}
    for name, counts in (("psd", (20, 15, 15)), (HOSTILE, (9, 9, 1)))
    for step, left in zip(("made", "enl both", "kept"), counts, strict=True)
]
LAW = np.sort(RNG.standard_normal(512))
VECTORS = RNG.standard_normal((60, 5)) @ np.diag([3.0, 2.0, 1.0, 1.0, 1.0])
FIGURES: dict[str, Callable[[], bytes]] = {
    "enl": lambda: quality_figures.enl_bands(scores(30), {HOSTILE: scores(20, 3.0, missing=4)}),
    "spectrum": lambda: quality_figures.spectrum_bands(scores(30), {HOSTILE: scores(20), "b": scores(9)}),
    "marginal": lambda: quality_figures.marginal_curves(LAW, {HOSTILE: LAW + 1}),
    "ghost": lambda: quality_figures.ghost_against_retention({HOSTILE: scores(20)}, {"ghost_z": 3.0}),
    "funnel": lambda: set_figures.funnel(ROWS),
    "pca": lambda: set_figures.physics_pca(VECTORS, {HOSTILE: VECTORS + 1}, VECTORS + 9),
    "gap": lambda: set_figures.gap_closed(quality()),
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
    assert 850 <= image.width <= 900


@every_figure
def test_bytes_do_not_depend_on_the_readers_settings(name: str) -> None:
    plain = FIGURES[name]()
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30, "lines.linewidth": 9}):
        assert FIGURES[name]() == plain


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


def lines_of(axis: Any, length: int) -> list[Any]:
    return [line for line in axis.lines if len(line.get_xdata()) == length]


def legend_of(figure: Any) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_enl_band_holds_95_percent_of_real_chips_and_every_value_is_a_point(drawn: list[Any]) -> None:
    real, made = scores(40), scores(30, 4.0, missing=7)
    quality_figures.enl_bands(real, {"psd": made})
    axis = drawn[0].axes[0]
    low, high = np.quantile(real["enl"], [0.025, 0.975])
    band = next(patch for patch in axis.patches)
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((low, high))
    np.testing.assert_array_equal(lines_of(axis, 40)[0].get_xdata(), real["enl"])
    np.testing.assert_array_equal(lines_of(axis, 23)[0].get_xdata(), made["enl"].dropna())
    assert axis.get_xscale() == "log"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["real\nn = 40", "psd\nn = 30 (7 n/a)"]
    assert axis.yaxis_inverted()


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.1), (0.5, 40.0), (1e-3, 1e6)])
def test_enl_axis_has_several_plain_ticks_at_any_spread(low: float, high: float, drawn: list[Any]) -> None:
    quality_figures.enl_bands(pd.DataFrame({"enl": np.geomspace(low, high, 9)}), {})
    ticks = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert 1 <= len(ticks) <= 12
    assert all(float(tick) > 0 for tick in ticks)


def test_sets_without_any_value_are_named_and_nothing_is_drawn_for_them(drawn: list[Any]) -> None:
    quality_figures.enl_bands(scores(3, missing=3), {"psd": scores(2, missing=2)})
    quality_figures.spectrum_bands(scores(3, missing=3), {"psd": scores(2, missing=2)})
    assert [label.get_text() for label in drawn[0].axes[0].get_yticklabels()] == [
        "real\nn = 3 (3 n/a)",
        "psd\nn = 2 (2 n/a)",
    ]
    assert not drawn[0].axes[0].patches
    assert "psd, n = 2 (2 n/a)" in legend_of(drawn[1])


def test_spectrum_is_the_median_in_db_at_the_middle_of_each_ring(drawn: list[Any]) -> None:
    made = scores(20, missing=2)
    quality_figures.spectrum_bands(scores(30), {"psd": made})
    axis = drawn[0].axes[0]
    middle = lines_of(axis, 12)[1]
    np.testing.assert_allclose(middle.get_xdata(), 0.05 + 0.0375 * (np.arange(12) + 0.5))
    median = made[list(RING_COLUMNS)].dropna().median()
    np.testing.assert_allclose(middle.get_ydata(), 10 * np.log10(np.exp(median)))
    assert "psd, n = 20 (2 n/a)" in legend_of(drawn[0])


def test_density_integrates_to_one_and_the_tail_is_the_share_above(drawn: list[Any]) -> None:
    sd_db = 4.0
    normal = np.linspace(-4, 4, 512) * sd_db / (10 / np.log(10))
    quality_figures.marginal_curves(normal, {"shifted": normal + 1.0})
    density, tail = drawn[0].axes
    place, height = density.lines[0].get_data()
    step = place[1] - place[0]
    assert height.sum() * step == pytest.approx(1, abs=0.003)
    wanted = np.exp(-(place**2) / (2 * sd_db**2)) / (sd_db * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(height, wanted, atol=0.03 * wanted.max())
    np.testing.assert_allclose(tail.lines[1].get_ydata(), 1 - QUANTILE_LEVELS)
    shift = tail.lines[1].get_xdata() - tail.lines[0].get_xdata()
    np.testing.assert_allclose(shift, 10 / np.log(10))


def test_a_law_of_few_levels_still_has_a_finite_density(drawn: list[Any]) -> None:
    quality_figures.marginal_curves(np.repeat([-1.0, 0.0], 256), {"constant": np.zeros(512)})
    assert all(np.isfinite(line.get_ydata()).all() for line in drawn[0].axes[0].lines)


@pytest.mark.parametrize("law", [LAW[:9], LAW[::-1], np.where(LAW[9] == LAW, np.nan, LAW)])
def test_quantiles_that_are_none_are_refused(law: Any) -> None:
    with pytest.raises(DataError, match="quantiles of 'psd'"):
        quality_figures.marginal_curves(LAW, {"psd": law})


def test_sets_without_style_reference_have_a_panel_of_their_own(drawn: list[Any]) -> None:
    sets = {"ad": scores(20), "physics": scores(15, styled=False)}
    quality_figures.ghost_against_retention(sets, {})
    ghost, content = drawn[0].axes
    assert "style ghost" in ghost.get_ylabel()
    assert "content z" in content.get_ylabel()
    np.testing.assert_array_equal(lines_of(ghost, 20)[0].get_ydata(), sets["ad"]["ghost_ncc"])
    np.testing.assert_array_equal(lines_of(content, 15)[0].get_ydata(), sets["physics"]["content_z"])
    assert not lines_of(ghost, 15)
    quality_figures.ghost_against_retention({"ad": sets["ad"]}, {})
    assert len(drawn[1].axes) == 1


def test_chips_beyond_a_limit_are_crosses_and_counted(drawn: list[Any]) -> None:
    table = scores(20)
    table["ghost_z"] = np.r_[np.full(6, 9.0), np.full(14, 1.0)]
    table["content_z"] = np.r_[np.full(8, 1.0), np.full(12, 9.0)]
    limits = {"ghost_z": 5.0, "content_z": 3.0, "ghost_ncc": 0.9}
    quality_figures.ghost_against_retention({"ad": table}, limits)
    axis = drawn[0].axes[0]
    crosses = [line for line in axis.lines if line.get_marker() == "x" and len(line.get_xdata()) > 0]
    np.testing.assert_array_equal(crosses[0].get_xdata(), table["content_retention"][:8])
    assert "ad, n = 20, 8 beyond" in legend_of(drawn[0])
    assert [line.get_ydata() for line in axis.lines if line.get_linestyle() == "--"] == [[0.9, 0.9]]


def test_limits_of_other_measures_and_missing_columns_are_refused() -> None:
    with pytest.raises(DataError, match="limits of \\['enl'\\]"):
        quality_figures.ghost_against_retention({"ad": scores(9)}, {"enl": 3.0})
    with pytest.raises(DataError, match="0 sets"):
        quality_figures.ghost_against_retention({}, {})
    with pytest.raises(DataError, match="scores of 'ad' lack the column 'ghost_ncc'"):
        quality_figures.ghost_against_retention({"ad": scores(9).drop(columns="ghost_ncc")}, {})
    with pytest.raises(DataError, match="scores of 'real' lack the column 'enl'"):
        quality_figures.enl_bands(scores(9).drop(columns="enl"), {})


def test_funnel_has_a_panel_per_set_and_says_what_each_step_took(drawn: list[Any]) -> None:
    set_figures.funnel(ROWS)
    panels = [axis for axis in drawn[0].axes if axis.get_title()]
    assert [axis.get_title() for axis in panels] == ["psd", HOSTILE]
    assert [text.get_text().strip() for text in panels[0].texts] == ["20", "15 (\u22125)", "15"]
    assert [text.get_text().strip() for text in panels[1].texts] == ["9", "9", "1 (\u22128)"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["made", "enl both", "kept"]


@pytest.mark.parametrize("rows", [[], [{"set": "psd", "step": "made"}]])
def test_funnel_without_numbers_is_refused(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(DataError, match="funnel"):
        set_figures.funnel(rows)


def test_components_are_those_of_the_real_chips_z_scores(drawn: list[Any]) -> None:
    rng = np.random.default_rng(3)
    common = rng.standard_normal((500, 1))
    # Two measures that are one thing, in units far apart, and a third alone: variances 2 and 1 of 3.
    real = np.hstack([common * 1e4, common * 1e-3, rng.standard_normal((500, 1))]) + np.array([5e4, 1.0, 0.0])
    set_figures.physics_pca(real, {"far": real + np.array([2e4, 2e-3, 0.0])}, None)
    axis = drawn[0].axes[0]
    assert axis.get_xlabel().startswith("first component (67 %")
    assert "(33 %)" in axis.get_ylabel()
    ellipse = {line.get_label(): line.get_xdata().max() for line in axis.lines}
    assert ellipse["real, 1 sigma"] == pytest.approx(np.sqrt(2), rel=0.01)
    assert ellipse["real, 95 %"] == pytest.approx(np.sqrt(2) * 2.4477, rel=0.01)
    places = {line.get_label(): line.get_xdata() for line in axis.lines}
    shift = places["far, n = 500"].mean() - places["real, n = 500"].mean()
    assert abs(shift) == pytest.approx(2 * np.sqrt(2), rel=0.05)


def test_95_percent_ellipse_holds_95_percent_of_normal_chips(drawn: list[Any]) -> None:
    real = np.random.default_rng(5).standard_normal((400, 3))
    set_figures.physics_pca(real, {}, None)
    axis = drawn[0].axes[0]
    edge = next(line for line in axis.lines if line.get_label() == "real, 95 %")
    half = np.array([edge.get_xdata().max(), edge.get_ydata().max()])
    points = np.stack(axis.lines[0].get_data(), axis=1)
    inside = ((points / half) ** 2).sum(axis=1) < 1
    assert inside.mean() == pytest.approx(0.95, abs=0.035)


def test_chips_without_a_vector_are_counted_and_constant_measures_do_no_harm(drawn: list[Any]) -> None:
    made = VECTORS.copy()
    made[:5, 2] = np.nan
    set_figures.physics_pca(
        np.hstack([VECTORS, np.ones((60, 1))]), {"psd": np.hstack([made, made[:, :1]])}, None
    )
    assert "psd, n = 60 (5 n/a)" in legend_of(drawn[0])
    assert len(drawn[0].axes[0].lines[1].get_xdata()) == 55


def test_vectors_too_few_or_of_other_measures_are_refused() -> None:
    for real, made in ((VECTORS[:2], {}), (VECTORS[:, :1], {}), (VECTORS, {"psd": VECTORS[:, :4]})):
        with pytest.raises(DataError, match="physics PCA"):
            set_figures.physics_pca(real, made, None)


def test_gap_marks_stand_at_their_shares_and_missing_ones_are_counted(drawn: list[Any]) -> None:
    set_figures.gap_closed(quality())
    axis = drawn[0].axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["enl", "mmd"]
    assert [float(line.get_xdata()[0]) for line in lines_of(axis, 1)] == [0.5, 1.0]
    (interval,) = axis.collections
    np.testing.assert_allclose(interval.get_segments()[0][:, 0], [0.4, 0.7])
    assert legend_of(drawn[0]) == ["psd (1 n/a)", f"{HOSTILE} (1 n/a)"]


def test_shares_far_beyond_stand_on_the_frame_with_their_number(drawn: list[Any]) -> None:
    far = {"gap_closed_a": -7.25, "gap_closed_a_low": -30.0, "gap_closed_a_high": -0.5, "gap_closed_b": 9.0}
    set_figures.gap_closed({"psd": far})
    axis = drawn[0].axes[0]
    marks = lines_of(axis, 1)
    assert [(line.get_marker(), float(line.get_xdata()[0])) for line in marks] == [("<", -1.5), (">", 2.0)]
    assert {"-7.25", "9"} <= {text.get_text() for text in axis.texts}
    np.testing.assert_allclose(axis.collections[0].get_segments()[0][:, 0], [-1.5, -0.5])


def test_no_gap_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="no gap closed"):
        set_figures.gap_closed({"floor": {"mmd_physics": 0.1}})


def test_the_source_and_the_real_chips_look_the_same_in_every_figure() -> None:
    alone, together = set_styles(["a"]), set_styles(["source", "a", "b"])
    assert alone["a"] == together["a"]
    assert len({style.colour for style in together.values()}) == 4
