"""Spearman's rank correlation with an interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SEED = 0


def spearman(first: NDArray, second: NDArray, *, draws: int) -> tuple[float, float, float]:
    """Spearman's ρ over the lines of two arrays [sources, languages], its mean over the columns,
    with the percentiles of a bootstrap over lines; draws without two values in a column count
    not."""
    generator = np.random.default_rng(SEED)
    drawn = generator.integers(len(first), size=(draws, len(first)))
    each = _spearman(first[drawn], second[drawn])
    each = each[np.isfinite(each)]
    low, high = np.percentile(each, [2.5, 97.5]) if len(each) else (np.nan, np.nan)
    return float(_spearman(first[None], second[None])[0]), float(low), float(high)


def _spearman(first: NDArray, second: NDArray) -> NDArray:
    """[draws, lines, columns] to [draws]."""
    from scipy.stats import rankdata

    centred = []
    for values in (first, second):
        ranks = rankdata(values, axis=1)
        centred.append(ranks - ranks.mean(axis=1, keepdims=True))
    products = (centred[0] * centred[1]).sum(axis=1)
    squares = (centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return (products / np.sqrt(squares)).mean(axis=1)
