"""Sequences of different lengths in one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Ragged:
    """Sequences of whole numbers, or of pairs of them, one behind the other in one array: four
    bytes a number, where lists take thirty to two hundred."""

    def __init__(self, values: NDArray[np.int32], ends: NDArray[np.int64]) -> None:
        """`values` [all numbers] or [all pairs, 2]; `ends` [sequences]: where each ends in them."""
        self.values, self.ends = values, ends
        self._starts = np.concatenate([np.zeros(1, dtype=np.int64), ends])[:-1]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[Any]]) -> Ragged:
        """Of lists of numbers or of pairs."""
        lengths = np.fromiter(map(len, sequences), dtype=np.int64, count=len(sequences))
        numbers = list(chain.from_iterable(sequences))
        return cls(np.array(numbers, dtype=np.int32), np.cumsum(lengths))

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """The sequences of several, in turn."""
        before = np.cumsum([0, *(len(part.values) for part in parts)])
        ends = [part.ends + first for part, first in zip(parts, before, strict=False)]
        return cls(np.concatenate([part.values for part in parts]), np.concatenate(ends))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How long each sequence is [sequences]."""
        return self.ends - self._starts

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        return self.values[self._starts[index] : self.ends[index]]

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return (self[index] for index in range(len(self)))

    def tolist(self) -> list[list[Any]]:
        """As lists."""
        return [sequence.tolist() for sequence in self]
