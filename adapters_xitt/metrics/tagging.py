"""Span F1 of tag sequences, as XTREME scores PAN-X and UDPOS, and token accuracy beside it."""

from __future__ import annotations

from collections.abc import Sequence

import datasets

from adapters_xitt.errors import XittError
from adapters_xitt.metrics.base import Metric, check_pairs

# (first letter of the tag before, first letter of this tag), for tags of the same type
_ENDS = frozenset({("B", "B"), ("B", "S"), ("B", "O"), ("I", "B"), ("I", "S"), ("I", "O")})
_STARTS = frozenset({("E", "E"), ("E", "I"), ("S", "E"), ("S", "I"), ("O", "E"), ("O", "I")})


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Spans as (type, first, last), by the default rule of seqeval up to 0.0.12.

    The first letter of a tag is its prefix, what follows its last "-" its type. So of tags without prefix (UPOS) a run
    of the same tag is one span, except that tags in S- (SCONJ, SYM) never join. Later releases of seqeval cut the
    first letter off the type, which changes UDPOS scores.
    """
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


class TagF1(Metric):
    """Micro F1 over spans; precision or recall without a span to divide by is 0, as in seqeval."""

    headline = "f1"
    about = "Span F1 (seqeval's old default rule), precision, recall and token accuracy, in percent."

    def score(self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> dict[str, float]:
        check_pairs(predictions, references, what=self.name)
        flat_pred, flat_gold = [], []
        right = total = 0
        for row, (pred, gold) in enumerate(zip(predictions, references, strict=True)):
            if len(pred) != len(gold):
                raise XittError(f"{self.name}: row {row} has {len(pred)} predicted tags for {len(gold)} gold tags")
            right += sum(p == g for p, g in zip(pred, gold, strict=True))
            total += len(gold)
            # seqeval reads one long sequence with an O after every sentence.
            flat_pred += [*pred, "O"]
            flat_gold += [*gold, "O"]
        if not total:
            raise XittError(f"{self.name}: nothing to score")
        found, gold_spans = set(spans(flat_pred)), set(spans(flat_gold))
        hits = len(found & gold_spans)
        return {
            "f1": 100 * _ratio(2 * hits, len(found) + len(gold_spans)),
            "precision": 100 * _ratio(hits, len(found)),
            "recall": 100 * _ratio(hits, len(gold_spans)),
            "accuracy": 100 * right / total,
        }

    def form(self) -> datasets.Features:
        tags = datasets.List(datasets.Value("string"))
        return datasets.Features({"predictions": tags, "references": tags})


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
