"""Scores of pairs and rankings of ids that need no table: F1 of sets of pairs, the ranks that
count."""

from __future__ import annotations

from collections.abc import Set

CUT = 20  # ranks that count; XTREME-R's for both of its rankings


def pair_scores(mined: Set[tuple], gold: Set[tuple]) -> dict[str, float]:
    """F1, precision and recall of sets of pairs, in percent; without a hit all are 0."""
    hits = len(mined & gold)
    precision, recall = (hits / len(side) if hits else 0.0 for side in (mined, gold))
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}
