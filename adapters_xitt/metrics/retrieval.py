"""Scores of retrieval: mined sentence pairs (BUCC), and rankings (Mewsli-X and LAReQA).

Ids are strings, or integers throughout; `compute` takes strings only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import datasets

from adapters_xitt.errors import XittError
from adapters_xitt.metrics.base import Metric, check_pairs, plain
from adapters_xitt.metrics.pairs import CUT, pair_scores


class Bucc(Metric):
    """F1, precision and recall of mined pairs, as sets.

    A prediction and a reference are pairs (source id, target id); the two lists may differ in
    length and order, and a pair given twice counts once. Mining nothing scores 0; no gold pair is a
    XittError. As `bucc_f1` in evaluate.py of XTREME."""

    main_score = "f1"
    about = "F1, precision and recall of mined sentence pairs, in percent (BUCC 2018)."

    def score(
        self, predictions: Sequence[Sequence[int | str]], references: Sequence[Sequence[int | str]]
    ) -> dict[str, float]:
        if len(references) == 0:
            raise XittError(f"{self.name}: nothing to score")
        odd = [pair for side in (predictions, references) for pair in side if len(pair) != 2]
        if odd:
            raise XittError(f"{self.name}: a pair is a source id and a target id, found {odd[0]!r}")
        _one_kind([*predictions, *references], what=self.name)
        return pair_scores(set(map(tuple, predictions)), set(map(tuple, references)))

    def form(self) -> datasets.Features:
        return _lists_of_ids()


class Mrr(Metric):
    """Mean over queries of 1 / rank of the first acceptable id, 0 where there is none among the
    first 20.

    A prediction is a list of ids, the likeliest first, at most 20 of which are read; a reference
    the list of acceptable ids, at least one, its order without meaning. As `evaluate` in
    third_party/utils_mewslix.py of XTREME, which has one acceptable id and where a query that is
    missing scores 0: here its prediction is the empty list."""

    main_score = "mrr@20"
    about = (
        "Mean reciprocal rank at 20, in percent (XTREME-R's Mewsli-X, where it is called map@20)."
    )

    def score(
        self, predictions: Sequence[Sequence[int | str]], references: Sequence[Sequence[int | str]]
    ) -> dict[str, float]:
        _check_rankings(predictions, references, what=self.name)
        total = 0.0
        for ranking, wanted in zip(predictions, references, strict=True):
            hits = (rank for rank, name in enumerate(ranking[:CUT], 1) if name in wanted)
            total += 1 / next(hits, math.inf)
        return {"mrr@20": 100 * total / len(references)}

    def form(self) -> datasets.Features:
        return _lists_of_ids()


class MeanAveragePrecision(Metric):
    """Mean over queries of average precision at 20.

    That of one query is the sum of the precisions at the ranks, up to 20, where a relevant id
    stands, over the number of relevant ids or 20, the lesser. An id that is ranked again takes a
    rank and is no hit. Predictions and references are those of `Mrr`, the reference being all
    relevant ids. As `mean_avg_prec_at_k(k=20)` and `average_precision_at_k` in
    third_party/utils_lareqa.py of XTREME."""

    main_score = "map@20"
    about = "Mean average precision at 20, in percent (XTREME-R's LAReQA)."

    def score(
        self, predictions: Sequence[Sequence[int | str]], references: Sequence[Sequence[int | str]]
    ) -> dict[str, float]:
        _check_rankings(predictions, references, what=self.name)
        total = 0.0
        for ranking, relevant in zip(predictions, references, strict=True):
            left = dict.fromkeys(relevant)
            most = min(len(left), CUT)
            hits, precisions = 0, 0.0
            for rank, name in enumerate(ranking[:CUT], 1):
                if name in left:
                    del left[name]
                    hits += 1
                    precisions += hits / rank
            total += precisions / most
        return {"map@20": 100 * total / len(references)}

    def form(self) -> datasets.Features:
        return _lists_of_ids()


def _check_rankings(
    predictions: Sequence[Sequence], references: Sequence[Sequence], *, what: str
) -> None:
    check_pairs(predictions, references, what=what)
    bare = [index for index, wanted in enumerate(references) if len(wanted) == 0]
    if bare:
        raise XittError(f"{what}: {len(bare)} references without an id, the first in row {bare[0]}")
    _one_kind([*predictions, *references], what=what)


def _one_kind(lists: Sequence[Sequence[int | str]], *, what: str) -> None:
    kinds = sorted({type(plain(what, value)).__name__ for ids in lists for value in ids})
    if len(kinds) > 1:
        raise XittError(f"{what}: ids of one kind are needed, found {' and '.join(kinds)}")


def _lists_of_ids() -> datasets.Features:
    ids = datasets.List(datasets.Value("string"))
    return datasets.Features({"predictions": ids, "references": ids})
