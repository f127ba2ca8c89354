"""Counts bytes on the meta device, where tensors have sizes and lifetimes but no values."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adapters_xitt.model.quantization import Packed


def tensors_of(modules: Sequence[nn.Module]) -> list[Tensor]:
    """The parameters and buffers of modules."""
    return [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]


def distinct_bytes(tensors: Sequence[Tensor]) -> int:
    """Bytes of the distinct storages; of packed weights with their scales."""
    sizes = {}
    for tensor in tensors:
        if isinstance(tensor, Packed):
            sizes[_key(tensor)] = tensor.nbytes_held()
        else:
            sizes[_key(tensor)] = tensor.untyped_storage().nbytes()
    return sum(sizes.values())


def _key(tensor: Tensor) -> int:
    # the storage's address: on the meta device there is no data's
    return tensor.untyped_storage()._cdata


class SavedBytes:
    """What autograd saves: bytes by storage, parameters left out."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = {_key(tensor) for tensor in parameters}
        self.sizes: dict[int, int] = {}
        self.kept: list[Any] = []  # a storage that were freed would lend its address to another

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts what is saved inside."""
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor):
            yield

    def _pack(self, tensor: Tensor) -> Tensor:
        if _key(tensor) not in self.parameters:
            self.sizes[_key(tensor)] = tensor.untyped_storage().nbytes()
            self.kept.append(tensor.untyped_storage())
        return tensor


class AliveBytes(TorchDispatchMode):
    """The most bytes of storages alive at once, those that were there before left out."""

    def __init__(self, before: Sequence[Tensor]) -> None:
        super().__init__()
        self.before = {_key(tensor) for tensor in before}
        self.sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return result

    def _count(self, tensor: Tensor) -> None:
        key = _key(tensor)
        if key in self.sizes or key in self.before:
            return
        storage = tensor.untyped_storage()
        self.sizes[key] = storage.nbytes()
        self.now += self.sizes[key]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self.sizes.pop(key)
