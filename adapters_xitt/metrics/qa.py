"""Exact match and F1 of extracted answers, as the SQuAD v1.1 script has them; XTREME uses it for
every language."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import datasets

from adapters_xitt.errors import XittError
from adapters_xitt.metrics.base import Metric

_DROP = str.maketrans("", "", string.punctuation)  # ASCII only, as in the script
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DROP)).split())


def exact(pred: str, gold: str, *, normal: Callable[[str], str] = normalize) -> float:
    """1.0 where both are the same after `normal`."""
    return float(normal(pred) == normal(gold))


def token_f1(pred: str, gold: str, *, normal: Callable[[str], str] = normalize) -> float:
    """F1 of the two bags of normalised tokens; two empty bags have none in common and score 0."""
    ours, theirs = normal(pred).split(), normal(gold).split()
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


def by_id(
    predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]], *, what: str
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The predicted text and the gold texts of every question id; ids given twice or unknown are
    XittErrors."""
    if len(references) == 0:
        raise XittError(f"{what}: nothing to score")
    said = {row["id"]: row["prediction_text"] for row in predictions}
    gold = {row["id"]: list(row["answers"]["text"]) for row in references}
    _once(f"{what}: predicted id", (row["id"] for row in predictions))
    _once(f"{what}: gold id", (row["id"] for row in references))
    extra = [qid for qid in said if qid not in gold]
    if extra:
        raise XittError(f"{what}: {len(extra)} predictions for unknown ids, the first {extra[0]!r}")
    return said, gold


class SquadF1(Metric):
    """Exact match and F1, each the best over a question's gold answers, and their mean, XTREME's
    headline.

    A prediction is {"id", "prediction_text"}, a reference {"id", "answers": {"text": [...]}}. A
    question without a prediction scores 0, as in the script. An id given twice, a prediction for an
    unknown id and a reference without an answer are XittErrors."""

    headline = "mean"
    about = "Exact match and token F1 of SQuAD v1.1, and their mean, in percent."

    def score(
        self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        said, gold = by_id(predictions, references, what=self.name)
        bare = [qid for qid, answers in gold.items() if not answers]
        if bare:
            raise XittError(
                f"{self.name}: {len(bare)} questions without a gold answer, the first {bare[0]!r}"
            )
        hits, overlap = (
            sum(
                max(rule(said[qid], answer, normal=self.normal) for answer in gold[qid])
                for qid in gold
                if qid in said
            )
            for rule in (exact, token_f1)
        )
        em, f1 = 100 * hits / len(gold), 100 * overlap / len(gold)
        return {"exact_match": em, "f1": f1, "mean": (em + f1) / 2}

    def normal(self, text: str) -> str:
        """The text whose words, parted by spaces, are compared."""
        return normalize(text)

    def form(self) -> datasets.Features:
        text = datasets.Value("string")
        answers = {
            "text": datasets.List(text),
            "answer_start": datasets.List(datasets.Value("int64")),
        }
        return datasets.Features(
            {
                "predictions": {"id": text, "prediction_text": text},
                "references": {"id": text, "answers": answers},
            }
        )


def _once(what: str, ids: Iterable[str]) -> None:
    twice = [qid for qid, count in Counter(ids).items() if count > 1]
    if twice:
        raise XittError(f"{what} {twice[0]!r} occurs more than once ({len(twice)} such ids)")
