"""Errors of devices whose memory is full."""

from __future__ import annotations

_WORDS = ("not enough memory", "can't allocate memory", "out of memory")


def is_no_memory(error: RuntimeError) -> bool:
    """Whether an error of torch says that memory ran out."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _WORDS)
