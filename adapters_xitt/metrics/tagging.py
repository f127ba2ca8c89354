"""Scores of tag sequences: span F1, as XTREME has it for PAN-X and UDPOS, and token accuracy, as
jiant for CCG."""

from __future__ import annotations

from collections.abc import Sequence

import datasets

from adapters_xitt.errors import XittError
from adapters_xitt.metrics.accuracy import share
from adapters_xitt.metrics.base import Metric, check_pairs
from adapters_xitt.metrics.spans import span_scores


class TagF1(Metric):
    """Micro F1 over spans; precision or recall without a span to divide by is 0, as in seqeval."""

    main_score = "f1"
    about = (
        "Span F1 (seqeval's old default rule), precision, recall and token accuracy, in percent."
    )

    def score(
        self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        accuracy = _token_accuracy(predictions, references, what=self.name)
        return {**span_scores(predictions, references), "accuracy": accuracy}

    def form(self) -> datasets.Features:
        return _lists_of_tags()


class TagAccuracy(Metric):
    """Share of right tags over all tokens of all sentences, jiant's score of CCG supertagging.

    A prediction and a reference are the tags of one sentence, strings, as many on both sides.
    """

    main_score = "accuracy"
    about = "Right tags over all tokens, in percent."

    def score(
        self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        return {"accuracy": _token_accuracy(predictions, references, what=self.name)}

    def form(self) -> datasets.Features:
        return _lists_of_tags()


def _token_accuracy(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], *, what: str
) -> float:
    check_pairs(predictions, references, what=what)
    for index, (predicted, gold) in enumerate(zip(predictions, references, strict=True)):
        if len(predicted) != len(gold):
            raise XittError(
                f"{what}: row {index} has {len(predicted)} predicted tags for {len(gold)} gold tags"
            )
    return share(
        [tag for sentence in predictions for tag in sentence],
        [tag for sentence in references for tag in sentence],
        what=what,
    )


def _lists_of_tags() -> datasets.Features:
    tags = datasets.List(datasets.Value("string"))
    return datasets.Features({"predictions": tags, "references": tags})
