"""Exact match and F1 of extracted answers, as the SQuAD v1.1 script has them; XTREME uses it for
every language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import datasets

from adapters_xitt.errors import XittError
from adapters_xitt.metrics.answers import exact, normalize, token_f1
from adapters_xitt.metrics.base import Metric


def by_id(
    predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]], *, what: str
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The predicted text and the gold texts of every question id; ids given twice or unknown are
    XittErrors."""
    if len(references) == 0:
        raise XittError(f"{what}: nothing to score")
    predicted = {answer["id"]: answer["prediction_text"] for answer in predictions}
    gold = {question["id"]: list(question["answers"]["text"]) for question in references}
    _once(f"{what}: predicted id", (answer["id"] for answer in predictions))
    _once(f"{what}: gold id", (question["id"] for question in references))
    extra = [qid for qid in predicted if qid not in gold]
    if extra:
        raise XittError(f"{what}: {len(extra)} predictions for unknown ids, the first {extra[0]!r}")
    return predicted, gold


class SquadF1(Metric):
    """Exact match and F1, each the best over a question's gold answers, and their mean, XTREME's
    main score.

    A prediction is {"id", "prediction_text"}, a reference {"id", "answers": {"text": [...]}}. A
    question without a prediction scores 0, as in the script. An id given twice, a prediction for an
    unknown id and a reference without an answer are XittErrors."""

    main_score = "mean"
    about = "Exact match and token F1 of SQuAD v1.1, and their mean, in percent."

    def score(
        self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        predicted, gold = by_id(predictions, references, what=self.name)
        bare = [qid for qid, answers in gold.items() if not answers]
        if bare:
            raise XittError(
                f"{self.name}: {len(bare)} questions without a gold answer, the first {bare[0]!r}"
            )
        hits = overlap = 0.0
        for qid, answers in gold.items():
            if qid in predicted:
                text = predicted[qid]
                hits += max(exact(text, answer, normal=self.normal) for answer in answers)
                overlap += max(token_f1(text, answer, normal=self.normal) for answer in answers)
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
