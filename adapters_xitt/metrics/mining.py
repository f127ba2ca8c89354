"""Mining sentence pairs out of two sets of sentences, as BUCC 2018 is mined in XTREME; arrays in,
arrays out.

The method is Artetxe and Schwenk's (2019): ratio margin over the nearest neighbours of both
directions, best candidates, greedy pairing. Source of the details: `mine_bitext`, `bucc_optimize`
and `bucc_extract` in third_party/utils_retrieve.py of XTREME. "Source" is the language that isn't
English, "target" English."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from adapters_xitt.errors import XittError


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The k nearest sentences of the other side for each of n sentences; XTREME's k is 4, or the
    other side's size."""

    cosines: np.ndarray  # float, n x k
    indices: np.ndarray  # int, n x k: rows of the other side, from 0


def margins(ours: Neighbours, theirs: Neighbours) -> np.ndarray:
    """n x k: how much each of our candidates stands out, float64.

    cos(x, y) over the half of (mean of x's cosines + mean of y's cosines); k may differ between the
    sides. It is 0 where that half is 0, which `mine` never keeps."""
    for name, side, other in (("first", ours, theirs), ("second", theirs, ours)):
        if side.cosines.size == 0:
            raise XittError(f"mining: the {name} side has no sentence with a neighbour")
        if not np.isfinite(side.cosines).all():
            raise XittError(f"mining: a cosine of the {name} side is not a finite number")
        if side.indices.min() < 0 or side.indices.max() >= len(other.cosines):
            raise XittError(
                f"mining: the {name} side has a neighbour outside 0..{len(other.cosines) - 1}"
            )
    cosines = ours.cosines.astype(np.float64)
    mean_of_theirs = theirs.cosines.mean(axis=1, dtype=np.float64)
    around = (cosines.mean(axis=1, keepdims=True) + mean_of_theirs[ours.indices]) / 2
    return np.divide(cosines, around, out=np.zeros_like(cosines), where=around != 0)


def mine(forward: Neighbours, backward: Neighbours) -> tuple[np.ndarray, np.ndarray]:
    """The mined pairs, m x 2 int64 (source row, target row), and their margins, m float64, the
    greatest first.

    `forward` are the targets near every source, `backward` the sources near every target. The best
    candidate of every sentence of both sides goes into one pool; from the greatest margin down, a
    pair is taken where neither sentence is taken yet. Pairs with a margin of 0 or less are dropped.
    Among equal margins the earlier candidate goes first, then the earlier source, the pool's
    targets after its sources (XTREME's sort leaves ties open)."""
    ahead, back = margins(forward, backward), margins(backward, forward)
    sources, targets = np.arange(len(ahead)), np.arange(len(back))
    pool = np.concatenate(
        (
            np.stack((sources, forward.indices[sources, ahead.argmax(axis=1)]), axis=1),
            np.stack((backward.indices[targets, back.argmax(axis=1)], targets), axis=1),
        )
    ).astype(np.int64)
    scores = np.concatenate((ahead.max(axis=1), back.max(axis=1)))
    kept, used = [], (np.zeros(len(ahead), bool), np.zeros(len(back), bool))
    for index in np.argsort(-scores, kind="stable"):
        source, target = pool[index]
        if scores[index] > 0 and not used[0][source] and not used[1][target]:
            used[0][source] = used[1][target] = True
            kept.append(index)
    return pool[kept], scores[kept]


def fit_threshold(
    pairs: Sequence[tuple], scores: Sequence[float], gold: Collection[tuple]
) -> float:
    """The threshold for `above` that is best on dev: where the walk from the greatest score down
    has its best F1.

    `pairs` are m pairs of ids, all different, `scores` their m margins in any order, `gold` the
    true pairs. It lies half-way to the next score; where the best prefix is the whole list, it is
    the last score, so that all are kept (XTREME's code fails there). Of equally good prefixes the
    shortest is taken; 0 where no pair is true. Equal scores are walked in the order given, so a
    threshold may fall on a tie, all of which `above` keeps."""
    truth = dict.fromkeys(map(tuple, gold))
    if not truth:
        raise XittError("mining: no gold pair to fit a threshold on")
    order = sorted(range(len(pairs)), key=lambda index: -scores[index])
    threshold, best, right = 0.0, 0.0, 0
    for taken, index in enumerate(order, 1):
        right += tuple(pairs[index]) in truth
        f1 = 2 * right / (taken + len(truth))
        if f1 > best:
            after = order[taken] if taken < len(order) else index
            threshold, best = (float(scores[index]) + float(scores[after])) / 2, f1
    return threshold


def above(pairs: Sequence[tuple], scores: Sequence[float], threshold: float) -> list[tuple]:
    """The pairs that score at least `threshold`, in the order given: what is predicted on test."""
    return [tuple(pair) for pair, score in zip(pairs, scores, strict=True) if score >= threshold]
