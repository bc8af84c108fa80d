from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcurate.core.agreement import cohen_kappa

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=12)


def test_a_worked_example() -> None:
    """20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: 70 % agree, 50 % would by chance."""
    counts = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
    pairs = [pair for pair, count in counts.items() for _ in range(count)]
    assert cohen_kappa(*zip(*pairs, strict=True)) == pytest.approx((0.7 - 0.5) / (1 - 0.5))


def test_independent_answers_have_none() -> None:
    pairs = list(product("abc", "abc"))
    assert cohen_kappa(*zip(*pairs, strict=True)) == 0


def test_nothing_and_one_answer_throughout_have_no_number() -> None:
    assert math.isnan(cohen_kappa([], []))
    assert math.isnan(cohen_kappa("aaa", "aaa"))


def test_lists_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        cohen_kappa("ab", "a")


@given(PAIRS)
def test_it_is_what_the_formula_says_and_does_not_mind_who_is_first(pairs: list[tuple[str, str]]) -> None:
    one, other = zip(*pairs, strict=True)
    n = len(pairs)
    observed = sum(a == b for a, b in pairs) / n
    chance = sum((one.count(word) / n) * (other.count(word) / n) for word in "abc")
    found = cohen_kappa(one, other)
    assert cohen_kappa(other, one) == found or math.isnan(found)
    if math.isclose(chance, 1):
        assert math.isnan(found)
    else:
        assert found == pytest.approx((observed - chance) / (1 - chance))
        assert found <= 1
