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
    found = torch.from_numpy(vectors).to(torch.float32)
    if not found.isfinite().all():
        raise XittError(
            "a sentence vector is not a finite number; try precision 32, or a module with a lower"
            " rate"
        )
    return found / found.norm(dim=1, keepdim=True).clamp_min(1e-12)


def nearest(
    queries: Tensor, candidates: Tensor, k: int, *, memory: int = MEMORY
) -> tuple[Tensor, Tensor]:
    """For every query [queries, width] the k candidates of greatest inner product, greatest first,
    the earlier of equals: their products [queries, k] and places [queries, k]. k is cut to the
    number of candidates."""
    return both_ways(queries, candidates, k, memory=memory)[0]


def both_ways(
    one: Tensor, other: Tensor, k: int, *, memory: int = MEMORY
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """`nearest` of each side in the other, from one pass over their products."""
    side = max(k, int((memory / 4) ** 0.5))
    forward, backward = (
        _Best(len(one), min(k, len(other)), one),
        _Best(len(other), min(k, len(one)), one),
    )
    for top in range(0, len(one), side):
        for left in range(0, len(other), side):
            products = one[top : top + side] @ other[left : left + side].T
            forward.take(products, top, left)
            backward.take(products.T, left, top)
    return forward.found, backward.found


class _Best:
    """The greatest products so far of each row."""

    def __init__(self, rows: int, k: int, like: Tensor) -> None:
        self.k = k
        self.values = like.new_full((rows, k), float("-inf"))
        self.places = torch.zeros((rows, k), dtype=torch.long, device=like.device)

    def take(self, products: Tensor, row: int, column: int) -> None:
        """Merges a block of products whose first row and column are these."""
        rows = slice(row, row + len(products))
        # One more than is wanted shows where equals stand on both sides of the end: there topk
        # takes any of them.
        values, places = products.topk(min(self.k + 1, products.shape[1]), dim=1)
        if values.shape[1] > self.k:
            tied = values[:, -1] == values[:, -2]
            values, places = values[:, : self.k], places[:, : self.k]
            if tied.any():
                order = products[tied].argsort(dim=1, descending=True, stable=True)[:, : self.k]
                values[tied], places[tied] = products[tied].gather(1, order), order
        values = torch.cat([self.values[rows], values], dim=1)
        places = torch.cat([self.places[rows], places + column], dim=1)
        # The place first, then the value, in stable sorts: equals stand in order of their place.
        order = places.argsort(dim=1, stable=True)
        values, places = values.gather(1, order), places.gather(1, order)
        order = values.argsort(dim=1, descending=True, stable=True)[:, : self.k]
        self.values[rows], self.places[rows] = values.gather(1, order), places.gather(1, order)

    @property
    def found(self) -> tuple[Tensor, Tensor]:
        return self.values, self.places
