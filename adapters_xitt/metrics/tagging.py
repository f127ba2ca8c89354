"""Scores of tag sequences: span F1, as XTREME has it for PAN-X and UDPOS, and token accuracy, as
jiant for CCG."""

from __future__ import annotations

from collections.abc import Sequence

import datasets

from adapters_xitt.errors import XittError
from adapters_xitt.metrics.accuracy import share
from adapters_xitt.metrics.base import Metric, check_pairs

# (first letter of the tag before, first letter of this tag), for tags of the same type
_ENDS = frozenset({("B", "B"), ("B", "S"), ("B", "O"), ("I", "B"), ("I", "S"), ("I", "O")})
_STARTS = frozenset({("E", "E"), ("E", "I"), ("S", "E"), ("S", "I"), ("O", "E"), ("O", "I")})


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Spans as (type, first, last), by the default rule of seqeval up to 0.0.12.

    The first letter of a tag is its prefix, what follows its last "-" its type. So of tags without
    prefix (UPOS) a run of the same tag is one span, except that tags in S- (SCONJ, SYM) never join.
    Later releases of seqeval cut the first letter off the type, which changes UDPOS scores."""
    found, before, kind_before, first = [], "O", "", 0
    for here, tag in enumerate([*tags, "O"]):
        if not tag:
            raise XittError(f"tag {here} of a sequence is empty")
        prefix, kind = tag[0], tag.split("-")[-1]
        turn = kind != kind_before
        if before in "ES" or (before, prefix) in _ENDS or (turn and before not in "O."):
            found.append((kind_before, first, here - 1))
        if prefix in "BS" or (before, prefix) in _STARTS or (turn and prefix not in "O."):
            first = here
        before, kind_before = prefix, kind
    return found


def span_scores(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """F1, precision and recall of the spans, in percent. As seqeval reads them: one long sequence
    with an O after every sentence, so that rows of unequal length shift what follows."""
    flat_pred, flat_gold = (
        [tag for row in side for tag in (*row, "O")] for side in (predictions, references)
    )
    found, gold = set(spans(flat_pred)), set(spans(flat_gold))
    hits = len(found & gold)
    precision, recall = _ratio(hits, len(found)), _ratio(hits, len(gold))
    return {
        "f1": 100 * _ratio(2 * precision * recall, precision + recall),
        "precision": 100 * precision,
        "recall": 100 * recall,
    }


class TagF1(Metric):
    """Micro F1 over spans; precision or recall without a span to divide by is 0, as in seqeval."""

    headline = "f1"
    about = (
        "Span F1 (seqeval's old default rule), precision, recall and token accuracy, in percent."
    )

    def score(
        self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        accuracy = _token_accuracy(predictions, references, what=self.name)
        return {**span_scores(predictions, references), "accuracy": accuracy}

    def form(self) -> datasets.Features:
        return _rows_of_tags()


class TagAccuracy(Metric):
    """Share of right tags over all tokens of all sentences, jiant's score of CCG supertagging.

    A prediction and a reference are the tags of one sentence, strings, as many on both sides.
    """

    headline = "accuracy"
    about = "Right tags over all tokens, in percent."

    def score(
        self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        return {"accuracy": _token_accuracy(predictions, references, what=self.name)}

    def form(self) -> datasets.Features:
        return _rows_of_tags()


def _token_accuracy(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], *, what: str
) -> float:
    check_pairs(predictions, references, what=what)
    for row, (pred, gold) in enumerate(zip(predictions, references, strict=True)):
        if len(pred) != len(gold):
            raise XittError(
                f"{what}: row {row} has {len(pred)} predicted tags for {len(gold)} gold tags"
            )
    return share(
        [tag for row in predictions for tag in row],
        [tag for row in references for tag in row],
        what=what,
    )


def _rows_of_tags() -> datasets.Features:
    tags = datasets.List(datasets.Value("string"))
    return datasets.Features({"predictions": tags, "references": tags})


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
