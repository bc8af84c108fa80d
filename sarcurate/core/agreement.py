"""Agreement of two people who sorted the same things."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Agreement beyond chance: 1 where both always agree, 0 where they do as often as by chance.

    NaN for nothing, and where both give one and the same answer throughout, so that chance explains all.
    Source: Cohen (1960), Educational and Psychological Measurement 20:37-46.

    Args:
        first: answers of one person; second: of the other, in the same order.
    """
    n = len(first)
    pairs = list(zip(first, second, strict=True))
    one, other = Counter(first), Counter(second)
    by_chance = sum(one[word] * other[word] for word in one)  # of n * n pairs
    if by_chance == n * n:
        return math.nan
    agreed = sum(a == b for a, b in pairs)
    return (agreed * n - by_chance) / (n * n - by_chance)
