"""Bytes of tensors alive at once while a module works, without the work: on tensors that have no data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module

# Blocks below come from glibc's heap, which breaks into pieces; larger ones from the system (mmap).
_HEAP_BLOCK_BYTES = 32 * 2**20
# Beside live tensors: heaps grew to 1.8 to 4.5 times the blocks in them, measured on sarcurate-tiny.
_HEAP_SPARE, _CPU_SPARE = 4.0, 0.1
# A GPU's blocks are kept by the caching allocator of torch; assumed, not measured.
_GPU_SPARE = 0.25


@dataclass(frozen=True)
class LiveBytes:
    """Most bytes alive at once: in all tensors, and in those small enough for the heap of a CPU."""

    all: int
    small: int

    def spare(self, device: str) -> int:
        """Bytes that allocators take beside."""
        if device == "cpu":
            return round(_HEAP_SPARE * self.small + _CPU_SPARE * self.all)
        return round(_GPU_SPARE * self.all)


def peak_live_bytes(module: Module, work: Callable[[Module], object]) -> LiveBytes:
    """Most bytes alive at once among the tensors that ``work(module)`` makes; the module's own do not count.

    The module, of any device (meta costs nothing), is changed: its tensors lose their data. Every operation
    then runs on shapes alone, so a network of billions of numbers takes seconds. What ``work`` makes by
    ``torch`` has no data either, and may not be looked at.

    Counted by the CPU's operations, which compute attention by blocks and never store its matrix of weights.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        _drop_data(module)
        return count_live_bytes(lambda: work(module))


def count_live_bytes(work: Callable[[], object]) -> LiveBytes:
    """As ``peak_live_bytes``, of work on tensors of any kind, those with data too."""
    counter: Any = _counter()
    with counter:
        work()
    return LiveBytes(counter.peak, counter.small_peak)


def _drop_data(module: Module) -> None:
    """Replace parameters, gradients and buffers by data-free ones; what is trained gets a gradient."""
    import torch

    def bare(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")

    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                new = torch.nn.Parameter(bare(parameter), requires_grad=parameter.requires_grad)
                new.grad = torch.zeros_like(new) if new.requires_grad else None
                part._parameters[name] = new
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else bare(buffer)


def _counter() -> Any:
    """A dispatch mode that watches storages be made and freed.

    A storage first met as an input was there before and weighs nothing.
    """
    import weakref

    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.live = self.peak = self.small = self.small_peak = 0
            self.known: dict[int, int] = {}

        def meet(self, values: object, weighs: bool) -> None:
            for value in tree_leaves(values):
                if isinstance(value, torch.Tensor):
                    storage = value.untyped_storage()
                    if storage._cdata not in self.known:
                        self.known[storage._cdata] = storage.nbytes() if weighs else 0
                        self.add(self.known[storage._cdata], 1)
                        weakref.finalize(storage, self.forget, storage._cdata)

        def add(self, n_bytes: int, sign: int) -> None:
            self.live += sign * n_bytes
            self.small += sign * n_bytes * (n_bytes < _HEAP_BLOCK_BYTES)
            self.peak, self.small_peak = max(self.peak, self.live), max(self.small_peak, self.small)

        def forget(self, key: int) -> None:
            self.add(self.known.pop(key), -1)

        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.meet((args, kwargs), weighs=False)
            made = operation(*args, **(kwargs or {}))
            self.meet(made, weighs=True)
            return made

    return Counter()
