"""Accuracy: of labels, with the F1 of paraphrases beside it, and of the nearest sentence in another
language."""

from __future__ import annotations

from collections.abc import Sequence

import datasets

from adapters_xitt.errors import XittError
from adapters_xitt.metrics.base import Metric, check_pairs, plain


def share(predictions: Sequence[int | str], references: Sequence[int | str], *, what: str) -> float:
    """Equal pairs in percent; integers beside strings are a XittError, because they could never be
    equal."""
    check_pairs(predictions, references, what=what)
    pairs = [(plain(what, p), plain(what, r)) for p, r in zip(predictions, references, strict=True)]
    kinds = sorted({type(value).__name__ for pair in pairs for value in pair})
    if len(kinds) > 1:
        raise XittError(f"{what}: labels of one kind are needed, found {' and '.join(kinds)}")
    return 100 * sum(p == r for p, r in pairs) / len(pairs)


class Accuracy(Metric):
    """Share of right labels; labels are integers or strings."""

    main_score = "accuracy"
    about = "Right labels over all labels, in percent."

    def score(
        self, predictions: Sequence[int | str], references: Sequence[int | str]
    ) -> dict[str, float]:
        return {"accuracy": share(predictions, references, what=self.name)}

    def form(self) -> list[datasets.Features]:
        return [_both("int64"), _both("string")]


class Qqp(Metric):
    """Accuracy, F1 of the positive class, and their mean: GLUE's two scores of QQP, and jiant's
    main score.

    A prediction and a reference are labels 0 and 1, or "0" and "1" (1: the questions are
    duplicates). F1 is 2 tp / (2 tp + fp + fn), and 0 where neither side has a positive, as in
    scikit-learn."""

    main_score = "mean"
    about = "Accuracy, F1 of the positive class, and their mean, in percent (GLUE's QQP)."

    def score(
        self, predictions: Sequence[int | str], references: Sequence[int | str]
    ) -> dict[str, float]:
        accuracy = share(predictions, references, what=self.name)
        predicted = [str(plain(self.name, label)) for label in predictions]
        gold = [str(plain(self.name, label)) for label in references]
        odd = [label for label in predicted + gold if label not in ("0", "1")]
        if odd:
            raise XittError(f"{self.name}: a label is 0 or 1, found {odd[0]!r}")
        both = sum(p == g == "1" for p, g in zip(predicted, gold, strict=True))
        f1 = 200 * both / (predicted.count("1") + gold.count("1")) if both else 0.0
        return {"accuracy": accuracy, "f1": f1, "mean": (accuracy + f1) / 2}

    def form(self) -> list[datasets.Features]:
        return [_both("int64"), _both("string")]


class RetrievalAccuracy(Metric):
    """Share of queries whose nearest candidate is the gold one; indices count from 0."""

    main_score = "accuracy"
    about = (
        "Queries whose first candidate is the gold one, over all queries, in percent (XTREME's"
        " Tatoeba)."
    )

    def score(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        accuracy = share(predictions, references, what=self.name)
        if isinstance(plain(self.name, references[0]), str):
            raise XittError(f"{self.name}: an index is an integer, found {references[0]!r}")
        return {"accuracy": accuracy}

    def form(self) -> datasets.Features:
        return _both("int64")


def _both(kind: str) -> datasets.Features:
    return datasets.Features(
        {"predictions": datasets.Value(kind), "references": datasets.Value(kind)}
    )
