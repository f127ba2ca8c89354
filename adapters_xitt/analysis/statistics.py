"""What every test item adds to a score: the form in which scores are compared item by item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Value = Callable[[NDArray], NDArray]


@dataclass(frozen=True, eq=False)
class ItemStatistics:
    """A quantity of one row, seed and language as a function of sums over test items.

    Accuracy is 100·right/count, an F1 is 200·hits/(predicted + gold), an expected calibration error
    is a function of what each bin holds. Leaving an item out is then a subtraction, whatever the
    quantity."""

    ids: tuple[str, ...]  # of the items; parallel tests have the same in every language
    sums: NDArray  # float64 [items, k]: what each item adds
    value: Value  # [..., k] summed statistics to [...] values

    def __post_init__(self) -> None:
        if self.sums.ndim != 2 or len(self.ids) != len(self.sums):
            raise ValueError(f"{len(self.ids)} ids for statistics of shape {self.sums.shape}")

    @property
    def total(self) -> float:
        """The quantity over all items."""
        return float(self.value(self.sums.sum(axis=0)))

    def influences(self) -> NDArray:
        """By item [items] how far it pulls the quantity from its mean; their sum is 0 and the mean
        of their squares over the number of items is the quantity's variance.

        The jackknife's centred pseudo-values (Efron and Tibshirani 1993, chapter 11), of a mean
        exactly the items' deviations from it."""
        items = len(self.ids)
        if items < 2:
            return np.zeros(items)
        without = self.value(self.sums.sum(axis=0) - self.sums)
        return (items - 1) * (without.mean() - without)

    def resampled(self, counts: NDArray) -> NDArray:
        """The quantity [draws] where items count so often: `counts` [draws, items]."""
        return self.value(counts @ self.sums)

    def only(self, chosen: NDArray) -> ItemStatistics:
        """Of some items, by index or by truth."""
        ids = tuple(np.array(self.ids, dtype=object)[chosen])
        return ItemStatistics(ids, self.sums[chosen], self.value)


def share(sums: NDArray) -> NDArray:
    """Percent: the first sum over the second; NaN where nothing was counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100 * sums[..., 0] / sums[..., 1]


def mean(sums: NDArray) -> NDArray:
    """The first sum over the second, as it is."""
    return share(sums) / 100


def f1(sums: NDArray) -> NDArray:
    """F1 in percent of (hits, predicted + gold), 0 where neither side has any."""
    both = sums[..., 1]
    return 200 * sums[..., 0] / np.where(both > 0, both, 1)
