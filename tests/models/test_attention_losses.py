"""Distillation and content losses against plain softmax; masks; the memory of styles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcurate.models.attention_capture import Captured
from sarcurate.models.attention_losses import (
    StyleMemory,
    allowed_reads,
    content_loss,
    distillation_loss,
    token_grid,
)
from sarcurate.models.latent import Canvas, canvas_of

HEADS, WIDTH = 2, 5
KeysValues = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def draw(seed: int, n: int, tokens: int) -> torch.Tensor:
    return torch.randn(n, HEADS, tokens, WIDTH, generator=torch.Generator().manual_seed(seed))


def plain_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, allowed: torch.Tensor | None = None
) -> torch.Tensor:
    scores = torch.einsum("nhqc,nhkc->nhqk", query, key) / query.shape[-1] ** 0.5
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    weights = torch.exp(scores - scores.amax(-1, keepdim=True))
    return torch.einsum("nhqk,nhkc->nhqc", weights / weights.sum(-1, keepdim=True), value)


def layer(seed: int, n: int = 3, tokens: int = 7) -> Captured:
    query, key, value = (draw(seed + place, n, tokens) for place in (1000, 2000, 3000))
    return Captured(query, key, value, plain_attention(query, key, value))


def styles(seed: int, n: int = 3, tokens: int = 11) -> KeysValues:
    return draw(seed + 4000, n, tokens), draw(seed + 5000, n, tokens)


# --- losses


def test_attention_to_its_own_keys_and_values_costs_nothing() -> None:
    seen = [layer(1), layer(2, tokens=4)]
    own = [(one.key, one.value) for one in seen]
    torch.testing.assert_close(distillation_loss(seen, own, None), torch.zeros(3), atol=1e-6, rtol=0)
    assert float(distillation_loss(seen, [styles(1), styles(2)], None).min()) > 0.1


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.integers(1, 3),
    tokens=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3),
    masked=st.booleans(),
)
def test_distillation_is_that_of_a_plain_softmax(
    seed: int, n: int, tokens: list[tuple[int, int]], masked: bool
) -> None:
    seen = [layer(seed + place, n, own) for place, (own, _) in enumerate(tokens)]
    told = [styles(seed + place, n, other) for place, (_, other) in enumerate(tokens)]
    allowed = None
    if masked:
        allowed = [
            torch.rand(n, 1, own, other, generator=torch.Generator().manual_seed(seed)) < 0.5
            for own, other in tokens
        ]
        for one in allowed:
            one[..., 0] = True
    found = distillation_loss(seen, told, allowed)
    for chip in range(n):
        expected = 0.0
        for place, one in enumerate(seen):
            keys, values = told[place]
            ideal = plain_attention(one.query, keys, values, allowed[place] if allowed else None)
            expected += float((one.output[chip] - ideal[chip]).abs().mean())
        assert found[chip].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_content_is_the_mean_change_of_queries_summed_over_layers() -> None:
    seen = [layer(1), layer(2, tokens=4)]
    kept = [draw(7, 3, 7), draw(8, 3, 4)]
    found = content_loss(seen, kept)
    for chip in range(3):
        parts = [
            np.abs((one.query[chip] - own[chip]).numpy()).mean() for one, own in zip(seen, kept, strict=True)
        ]
        assert found[chip].item() == pytest.approx(sum(parts), rel=1e-5)
    assert content_loss(seen, [one.query for one in seen]).tolist() == [0.0] * 3


def test_the_ideal_is_held_fixed() -> None:
    """The gradient goes through the output alone: the sign of its error over the number of its values."""
    one = layer(3)
    query, key, value, output = (
        part.clone().requires_grad_(True) for part in (one.query, one.key, one.value, one.output)
    )
    keys, values = (part.clone().requires_grad_(True) for part in styles(3))
    loss = distillation_loss([Captured(query, key, value, output)], [(keys, values)], None)
    loss.sum().backward()
    for part in (query, key, value, keys, values):
        assert part.grad is None
    ideal = plain_attention(one.query, keys.detach(), values.detach())
    assert output.grad is not None
    torch.testing.assert_close(output.grad, (one.output - ideal).sign() / one.output[0].numel())


def test_the_content_loss_moves_queries_alone() -> None:
    one = layer(3)
    query, kept = one.query.clone().requires_grad_(True), draw(5, 3, 7)
    content_loss([Captured(query, one.key, one.value, one.output)], [kept]).sum().backward()
    assert query.grad is not None
    torch.testing.assert_close(query.grad, (one.query - kept).sign() / one.query[0].numel())


def test_chips_do_not_share_a_loss() -> None:
    seen, told = layer(4), styles(4)
    whole = distillation_loss([seen], [told], None)
    for place in range(3):
        row = slice(place, place + 1)
        alone = Captured(seen.query[row], seen.key[row], seen.value[row], seen.output[row])
        found = distillation_loss([alone], [(told[0][row], told[1][row])], None)
        torch.testing.assert_close(found, whole[row])


def test_losses_are_single_precision_whatever_the_unet_is() -> None:
    one = layer(3)
    low = Captured(*(part.bfloat16() for part in (one.query, one.key, one.value, one.output)))
    keys, values = (part.bfloat16() for part in styles(3))
    found = distillation_loss([low], [(keys, values)], None)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, distillation_loss([one], [styles(3)], None), rtol=0.03, atol=0.01)
    assert content_loss([low], [low.query]).dtype == torch.float32


# --- the memory of styles


@dataclass
class FakeExtractor:
    """Two layers whose keys are the latents at the time, and values those plus one; it counts readings."""

    calls: list[tuple[float, int]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def see(self, latents: torch.Tensor, time: int) -> list[Captured]:
        assert not torch.is_grad_enabled()
        self.sizes.append(len(latents))
        self.calls += [(float(one.mean()), time) for one in latents]
        found = []
        for tokens in (4, 2):
            key = latents[:, :1, :tokens, :WIDTH].expand(-1, HEADS, -1, -1) * 1.0 + time
            found.append(Captured(key - 7, key, key + 1, key - 9))
        return found


NAMES = ("a", "b", "c", "d")
LATENTS = {name: torch.full((4, 4, WIDTH), float(place)) for place, name in enumerate(NAMES)}
BYTES = 2 * (4 + 2) * HEADS * WIDTH * 4  # of one style at one time


def memory(most_bytes: int = 1 << 30) -> tuple[StyleMemory, FakeExtractor]:
    extractor: Any = FakeExtractor()
    return StyleMemory(extractor, LATENTS, most_bytes), extractor


def plain_memory(style_ids: Sequence[Sequence[str]], time: int) -> list[KeysValues]:
    """Each style read anew; tokens of a chip's styles one after the other."""
    keys = []
    for tokens in (4, 2):
        rows = [
            torch.cat([torch.full((HEADS, tokens, WIDTH), float(NAMES.index(one) + time)) for one in own], 1)
            for own in style_ids
        ]
        keys.append(torch.stack(rows))
    return [(one, one + 1) for one in keys]


def same(found: Sequence[KeysValues], expected: Sequence[KeysValues]) -> bool:
    return all(
        torch.equal(a, b)
        for one, other in zip(found, expected, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_several_styles_are_one_long_list_of_keys() -> None:
    styles_of, _ = memory()
    wanted = [("c", "a"), ("b", "c")]
    found = styles_of.at(wanted, 10)
    assert [keys.shape for keys, _ in found] == [(2, HEADS, 8, WIDTH), (2, HEADS, 4, WIDTH)]
    assert same(found, plain_memory(wanted, 10))


def test_attention_to_several_styles_is_one_softmax_over_all_their_keys() -> None:
    one = layer(6, n=1)
    (first, second) = (styles(place, n=1, tokens=5) for place in (1, 2))
    keys, values = (torch.cat(parts, dim=2) for parts in zip(first, second, strict=True))
    expected = (one.output - plain_attention(one.query, keys, values)).abs().mean()
    found = distillation_loss([one], [(keys, values)], None)
    torch.testing.assert_close(found[0], expected)


def test_each_style_is_read_once_at_each_time_and_alone() -> None:
    styles_of, extractor = memory()
    for time in (9, 5):
        for wanted in ([("a", "b"), ("a", "c")], [("b", "c"), ("c", "b")]):
            styles_of.at(wanted, time)
    assert sorted(extractor.calls) == [(float(place), time) for place in range(3) for time in (5, 9)]
    assert set(extractor.sizes) == {1}
    assert styles_of.read == 6


@settings(max_examples=50, deadline=None)
@given(
    asked=st.lists(
        st.tuples(st.lists(st.sampled_from(NAMES), min_size=2, max_size=2), st.integers(0, 2)), max_size=12
    ),
    room=st.integers(0, 5),
)
def test_forgetting_changes_no_number(asked: list[tuple[list[str], int]], room: int) -> None:
    styles_of, _ = memory(room * BYTES)
    for wanted, time in asked:
        assert same(styles_of.at([wanted, wanted[::-1]], time), plain_memory([wanted, wanted[::-1]], time))


def test_what_was_unused_for_longest_is_forgotten_first() -> None:
    styles_of, extractor = memory(2 * BYTES)
    for name in ("a", "b", "a", "c", "a", "b"):
        styles_of.at([(name,)], 3)
    # c takes the place of b, which a's second use left behind; then b has to be read again.
    assert [place for place, _ in extractor.calls] == [0, 1, 2, 1]
    assert styles_of.read == 4


def test_room_for_exactly_what_is_used_is_room_enough() -> None:
    for room, read in ((3 * BYTES, 3), (3 * BYTES - 1, 9)):
        styles_of, _ = memory(room)
        for _ in range(3):
            styles_of.at([("a", "b", "c")], 3)
        assert styles_of.read == read


# --- masks


CANVAS = canvas_of((32, 32), None, factor=2, patch=4)


def square(shape: tuple[int, int], rows: slice, cols: slice) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[rows, cols] = True
    return mask


def plain_tokens(mask: np.ndarray, canvas: Canvas, cell_px: int) -> np.ndarray:
    """True where any pixel of the cell is, looked up pixel by pixel; mirrored beyond the last ones."""
    cells = []
    for top in range(0, canvas.padded_px[0], cell_px):
        for left in range(0, canvas.padded_px[1], cell_px):
            hit = False
            for row in range(top, top + cell_px):
                for col in range(left, left + cell_px):
                    place = []
                    for here, size, own in zip((row, col), canvas.model_px, mask.shape, strict=True):
                        turn = here % (2 * size - 2)
                        inside = turn if turn < size else 2 * size - 2 - turn
                        place.append(inside * own // size)
                    hit = hit or bool(mask[tuple(place)])
            cells.append(hit)
    return np.array(cells)


def plain_allowed(content: np.ndarray, own: Sequence[np.ndarray], canvas: Canvas, cell_px: int) -> np.ndarray:
    query = plain_tokens(content, canvas, cell_px)
    key = np.concatenate([plain_tokens(style, canvas, cell_px) for style in own])
    allowed = np.array([[one == other for other in key] for one in query])
    for row in allowed:
        if not row.any():
            row[:] = True
    return allowed


TARGET = square((32, 32), slice(9, 20), slice(8, 16))
NOTHING = np.zeros((32, 32), dtype=bool)


def test_targets_read_targets_and_clutter_reads_clutter() -> None:
    style = square((32, 32), slice(0, 4), slice(0, 8))
    (found,) = allowed_reads([TARGET], [[style]], CANVAS, [(4, 4)])
    assert found.shape == (1, 1, 16, 16)
    target_queries = {5, 9}  # 8 px a token: rows 8 to 23, columns 8 to 15
    for query in range(16):
        reads = set(torch.nonzero(found[0, 0, query]).flatten().tolist())
        assert reads == ({0} if query in target_queries else set(range(1, 16)))


def test_a_style_without_a_target_is_read_whole_by_targets() -> None:
    (found,) = allowed_reads([TARGET], [[NOTHING]], CANVAS, [(4, 4)])
    assert found.all()
    (found,) = allowed_reads([NOTHING], [[TARGET]], CANVAS, [(4, 4)])
    assert torch.equal(found[0, 0].any(dim=0), ~torch.isin(torch.arange(16), torch.tensor([5, 9])))
    (found,) = allowed_reads([NOTHING], [[~NOTHING]], CANVAS, [(4, 4)])
    assert found.all()


def test_target_queries_take_nothing_of_a_styles_clutter() -> None:
    """The ideal of a target's query does not change with the style's clutter, and the other way round."""
    allowed = allowed_reads([TARGET], [[TARGET]], CANVAS, [(4, 4)])
    one = layer(2, n=1, tokens=16)
    keys, values = styles(2, n=1, tokens=16)
    targets = torch.from_numpy(plain_tokens(TARGET, CANVAS, 8))

    def errors(change: torch.Tensor) -> torch.Tensor:
        output = torch.zeros_like(one.output).requires_grad_(True)
        changed = values + 50 * change[None, None, :, None]
        ideal = Captured(one.query, one.key, one.value, output)
        distillation_loss([ideal], [(keys, changed)], allowed).sum().backward()
        assert output.grad is not None
        return output.grad[0].sum((0, 2))  # the sign of the ideal, told by query

    plain, other_clutter, other_target = (
        errors(change) for change in (torch.zeros(16), (~targets).float(), targets.float())
    )
    assert torch.equal(other_clutter[targets], plain[targets])
    assert torch.equal(other_target[~targets], plain[~targets])
    assert not torch.equal(other_clutter[~targets], plain[~targets])
    assert not torch.equal(other_target[targets], plain[targets])


@settings(max_examples=20, deadline=None)
@given(
    shape=st.sampled_from([((32, 32), None), ((27, 35), None), ((20, 18), None), ((24, 30), 40)]),
    seed=st.integers(0, 999),
    share=st.sampled_from([0.0, 0.003, 0.02, 1.0]),
    references=st.integers(1, 2),
)
def test_masks_are_those_of_a_plain_lookup(
    shape: tuple[tuple[int, int], int | None], seed: int, share: float, references: int
) -> None:
    chip_px, model_px = shape
    canvas = canvas_of(chip_px, model_px, factor=2, patch=4)
    rng = np.random.default_rng(seed)
    masks = rng.random((2 * (1 + references), *chip_px)) < share
    contents, own = list(masks[:2]), [list(masks[2::2]), list(masks[3::2])]
    rows, cols = canvas.latent_shape(2)
    grids = [(rows, cols), (rows // 2, cols // 2), (rows // 4, cols // 4)]
    found = allowed_reads(contents, own, canvas, grids)
    for one, cell_px in zip(found[1:], (4, 8), strict=True):
        for place in range(2):
            expected = plain_allowed(contents[place], own[place], canvas, cell_px)
            np.testing.assert_array_equal(one[place, 0].numpy(), expected)
    assert found[0].shape == (2, 1, rows * cols, references * rows * cols)


@pytest.mark.parametrize("chip_px", [(32, 32), (48, 96), (35, 50)])
def test_grids_of_tokens(chip_px: tuple[int, int]) -> None:
    canvas = canvas_of(chip_px, None, factor=2, patch=4)
    rows, cols = canvas.latent_shape(2)
    for step in (1, 2, 4):
        wanted = (rows // step, cols // step)
        assert token_grid(canvas, 2, wanted[0] * wanted[1]) == wanted
