"""Exact search for nearest neighbours in blocks of matrix products, so that any number of vectors
fits in a set memory."""

from __future__ import annotations

import torch
from numpy.typing import NDArray
from torch import Tensor

from adapters_xitt.errors import XittError

MEMORY = 64 * 2**20  # bytes of cosines held at once


def unit_length(vectors: NDArray) -> Tensor:
    """[vectors, width] of length one, float32; a vector of zeros stays one."""
    tensor = torch.from_numpy(vectors).to(torch.float32)
    if not tensor.isfinite().all():
        raise XittError(
            "a sentence vector is not a finite number; try precision 32, or a module with a lower"
            " rate"
        )
    return tensor / tensor.norm(dim=1, keepdim=True).clamp_min(1e-12)


def nearest(
    queries: Tensor, candidates: Tensor, k: int, *, memory: int = MEMORY
) -> tuple[Tensor, Tensor]:
    """For every query [queries, width] the k candidates of greatest inner product, greatest first,
    the earlier of equals: their products [queries, k] and indices [queries, k]. k is cut to the
    number of candidates."""
    return both_ways(queries, candidates, k, memory=memory)[0]


def both_ways(
    queries: Tensor, candidates: Tensor, k: int, *, memory: int = MEMORY
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """`nearest` of each side in the other, from one pass over their products."""
    side = max(k, int((memory / 4) ** 0.5))
    forward = _Best(len(queries), min(k, len(candidates)), queries)
    backward = _Best(len(candidates), min(k, len(queries)), queries)
    for top in range(0, len(queries), side):
        for left in range(0, len(candidates), side):
            products = queries[top : top + side] @ candidates[left : left + side].T
            forward.take(products, top, left)
            backward.take(products.T, left, top)
    return (forward.products, forward.indices), (backward.products, backward.indices)


class _Best:
    """The greatest products so far of each query, and their columns."""

    def __init__(self, queries: int, k: int, like: Tensor) -> None:
        self.k = k
        self.products = like.new_full((queries, k), float("-inf"))
        self.indices = torch.zeros((queries, k), dtype=torch.long, device=like.device)

    def take(self, products: Tensor, query: int, column: int) -> None:
        """Merges a block of products whose first query and column are these."""
        block = slice(query, query + len(products))
        # One more than is wanted shows where equals stand on both sides of the end: there topk
        # takes any of them.
        values, indices = products.topk(min(self.k + 1, products.shape[1]), dim=1)
        if values.shape[1] > self.k:
            tied = values[:, -1] == values[:, -2]
            values, indices = values[:, : self.k], indices[:, : self.k]
            if tied.any():
                order = products[tied].argsort(dim=1, descending=True, stable=True)[:, : self.k]
                values[tied], indices[tied] = products[tied].gather(1, order), order
        values = torch.cat([self.products[block], values], dim=1)
        indices = torch.cat([self.indices[block], indices + column], dim=1)
        # The index first, then the value, in stable sorts: equals stand in order of their index.
        order = indices.argsort(dim=1, stable=True)
        values, indices = values.gather(1, order), indices.gather(1, order)
        order = values.argsort(dim=1, descending=True, stable=True)[:, : self.k]
        self.products[block] = values.gather(1, order)
        self.indices[block] = indices.gather(1, order)
