"""Whether the rows of a grid learned their targets at all: their scores in the language of training
against always saying the commonest label.

A row that didn't has nothing to transfer: its differences to other rows say how noise differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters_xitt.analysis.frame import ordered
from adapters_xitt.study.results import DONE

# Points that the lower end of the interval must be above the commonest label of training. Always
# saying another label can beat that one without anything having been read: no constant answer is
# two points above it in XNLI, PAWS-X, COPA or XCOPA, whose labels are balanced or alike in both
# splits.
MARGIN = 2.0
NORMAL = 1.96  # standard errors to either end of an interval of 95 %
ENGLISH = "en"  # what trains where a grid doesn't say

LEARNED, NOT_LEARNED = "yes", "no"
NO_BASELINE, NO_ENGLISH = "no baseline", "no English test"  # nothing to be judged by

Place = tuple[str, str, str, str]  # method, intermediate, mode, target


@dataclass(frozen=True)
class Learning:
    """What one row learned of one target, in its own points."""

    status: str  # LEARNED | NOT_LEARNED | NO_BASELINE | NO_ENGLISH
    score: float | None = None  # mean over seeds
    low: float | None = None  # of the seeds' intervals of 95 % over items the lowest end
    baseline: float | None = None  # always saying the commonest label
    seeds: int = 0
    on: str = ""  # what it was tested on: languages of training, or the selection split

    @property
    def failed(self) -> bool:
        return self.status == NOT_LEARNED


def learning(grid: dict[str, Any]) -> dict[Place, Learning]:
    """Every row and target of a grid, as far as anything of it is scored.

    Judged by the test in the language of training; where that isn't among the tested ones, by the
    split on which the best step was picked, which flatters. Every seed must have learned it: what
    is asked is what these modules can do, not what others could, and one that collapsed takes the
    mean of its row with it. Items are a sample, with the normal interval of the binomial: its
    variance, p(100 - p)/n, is the most that a mean of scores from 0 to 100 can have (Bhatia and
    Davis 2000)."""
    groups: dict[Place, list[Mapping[str, Any]]] = {}
    for entry in ordered(grid):
        if entry["status"] == DONE:
            place = (entry["method"], entry["intermediate"], entry["mode"], entry["target"])
            groups.setdefault(place, []).append(entry)
    return {place: _learning(grid, place[-1], entries) for place, entries in groups.items()}


def _learning(
    grid: Mapping[str, Any], target: str, entries: Sequence[Mapping[str, Any]]
) -> Learning:
    known = grid["majority"].get(target)
    if not known:  # its kind has none, or its training data isn't at hand
        return Learning(NO_BASELINE)
    trained_in = grid.get("trained_in", {}).get(target, [ENGLISH])
    tested = [code for code in trained_in if code in {entry["language"] for entry in entries}]
    judged = [code for code in tested if known.get(code) is not None]
    if judged:
        baseline = float(np.mean([known[code] for code in judged]))
        return _judge(list(_tests(entries, judged)), baseline, " ".join(judged))
    if tested:
        return Learning(NO_BASELINE)
    picked = {entry["seed"]: entry["selection"] for entry in entries if "selection" in entry}
    scores = [
        (each["score"], _item_variance(each["score"], each["examples"]))
        for each in picked.values()
        if each["score"] is not None
    ]
    if not scores:
        return Learning(NO_ENGLISH)
    return _judge(scores, next(iter(picked.values()))["chance"], "the selection split")


def _tests(
    entries: Sequence[Mapping[str, Any]], codes: Sequence[str]
) -> Iterator[tuple[float, float]]:
    """Of each seed that has all of these languages the mean over them, and its variance by
    items."""
    for seed in sorted({entry["seed"] for entry in entries}):
        each = [entry for entry in entries if entry["seed"] == seed and entry["language"] in codes]
        if len(each) == len(codes):
            scores = [entry["score"] for entry in each]
            variances = [_item_variance(entry["score"], entry["examples"]) for entry in each]
            yield float(np.mean(scores)), sum(variances) / len(each) ** 2


def _item_variance(score: float, examples: int) -> float:
    """Of a mean over items that score from 0 to 100, at most."""
    return max(score * (100 - score), 0.0) / max(examples, 1)


def _judge(seeds: Sequence[tuple[float, float]], baseline: float, on: str) -> Learning:
    """By the score of each seed and its variance over items."""
    if not seeds:
        return Learning(NO_ENGLISH)
    low = min(score - NORMAL * variance**0.5 for score, variance in seeds)
    mean = float(np.mean([score for score, _ in seeds]))
    status = LEARNED if low > baseline + MARGIN else NOT_LEARNED
    return Learning(status, mean, low, baseline, len(seeds), on)
