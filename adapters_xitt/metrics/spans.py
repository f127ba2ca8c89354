"""Spans of tags, as seqeval's old default rule finds them, and their F1."""

from __future__ import annotations

from collections.abc import Sequence

from adapters_xitt.errors import XittError

# (first letter of the tag before, first letter of this tag), for tags of the same type
_ENDS = frozenset({("B", "B"), ("B", "S"), ("B", "O"), ("I", "B"), ("I", "S"), ("I", "O")})
_STARTS = frozenset({("E", "E"), ("E", "I"), ("S", "E"), ("S", "I"), ("O", "E"), ("O", "I")})


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Spans as (type, first, last), by the default rule of seqeval up to 0.0.12.

    The first letter of a tag is its prefix, what follows its last "-" its type. So of tags without
    prefix (UPOS) a run of the same tag is one span, except that tags in S- (SCONJ, SYM) never join.
    Later releases of seqeval cut the first letter off the type, which changes UDPOS scores."""
    runs: list[tuple[str, int, int]] = []
    before, type_before, first = "O", "", 0
    for position, tag in enumerate([*tags, "O"]):
        if not tag:
            raise XittError(f"tag {position} of a sequence is empty")
        prefix, tag_type = tag[0], tag.split("-")[-1]
        turn = tag_type != type_before
        if before in "ES" or (before, prefix) in _ENDS or (turn and before not in "O."):
            runs.append((type_before, first, position - 1))
        if prefix in "BS" or (before, prefix) in _STARTS or (turn and prefix not in "O."):
            first = position
        before, type_before = prefix, tag_type
    return runs


def span_scores(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """F1, precision and recall of the spans, in percent. As seqeval reads them: one long sequence
    with an O after every sentence, so that rows of unequal length shift what follows."""
    predicted, gold = set(spans(_flat(predictions))), set(spans(_flat(references)))
    hits = len(predicted & gold)
    precision, recall = _ratio(hits, len(predicted)), _ratio(hits, len(gold))
    return {
        "f1": 100 * _ratio(2 * precision * recall, precision + recall),
        "precision": 100 * precision,
        "recall": 100 * recall,
    }


def span_counts(predicted: Sequence[str], gold: Sequence[str]) -> tuple[int, int, int]:
    """Of one sentence: spans that are right, predicted spans, gold spans. Their sums over sentences
    give the scores of `span_scores`."""
    ours, right = set(spans(predicted)), set(spans(gold))
    return len(ours & right), len(ours), len(right)


def _flat(sentences: Sequence[Sequence[str]]) -> list[str]:
    return [tag for sentence in sentences for tag in (*sentence, "O")]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
