"""Exact match and F1 of answers to questions that may have none, as the SQuAD v2.0 script has
them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import datasets

from adapters_xitt.errors import XittError
from adapters_xitt.metrics.answers import exact, normalize, token_f1
from adapters_xitt.metrics.base import Metric
from adapters_xitt.metrics.qa import by_id

_SCORES = ("exact", "f1")


class Squad2(Metric):
    """Exact match and F1, each the best over a question's gold answers; an unanswerable question
    wants an empty answer.

    A prediction is {"id", "prediction_text"}, with "no_answer_probability" in 0..1 in all rows or
    in none; a reference {"id", "answers": {"text": [...]}}, where no text means unanswerable. All
    in percent but the thresholds:

    - exact, f1, and mean, the half of their sum;
    - HasAns_exact, HasAns_f1, NoAns_exact, NoAns_f1: the same over the answerable and the
      unanswerable questions, for each of the two kinds that occurs;
    - best_exact, best_f1: the best that a threshold on the probability reaches, an answer counting
      as empty above it; best_exact_thresh, best_f1_thresh: the first such threshold in 0..1;
      best_mean: half the sum of both, jiant's main score. Without probabilities nothing is
      searched: best_exact is exact, best_f1 is f1, and no threshold is told.

    As in the script (evaluate-v2.0.py of rajpurkar.github.io/SQuAD-explorer), gold answers that
    normalise to nothing are dropped, the last of them leaving one empty answer; the search may stop
    among equal probabilities, in the order of the predictions, and counts an answer of white space
    as one. A question without a prediction is a XittError: the script stops there too. So are an id
    given twice and a prediction for an unknown id."""

    main_score = "mean"
    about = "Exact match and token F1 of SQuAD v2.0, and their mean, in percent."

    def score(
        self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        predicted, gold = by_id(predictions, references, what=self.name)
        missing = [qid for qid in gold if qid not in predicted]
        if missing:
            raise XittError(
                f"{self.name}: {len(missing)} questions without a prediction, the first"
                f" {missing[0]!r}"
            )
        answers = {
            qid: [text for text in texts if normalize(text)] or [""] for qid, texts in gold.items()
        }
        by_score = {
            "exact": {
                qid: max(exact(predicted[qid], text) for text in answers[qid]) for qid in gold
            },
            "f1": {qid: max(_f1(predicted[qid], text) for text in answers[qid]) for qid in gold},
        }
        scores = {name: _mean(by_score[name], list(gold)) for name in _SCORES}
        scores["mean"] = sum(scores.values()) / 2
        for kind, group in (
            ("HasAns", [q for q in gold if gold[q]]),
            ("NoAns", [q for q in gold if not gold[q]]),
        ):
            if group:
                scores |= {f"{kind}_{name}": _mean(by_score[name], group) for name in _SCORES}
        silence = _probabilities(predictions, what=self.name)
        for name in _SCORES:
            scores[f"best_{name}"] = scores[name]
            if silence:
                answered = {qid: bool(text) for qid, text in predicted.items()}
                scores[f"best_{name}"], scores[f"best_{name}_thresh"] = best_threshold(
                    by_score[name],
                    silence,
                    answered=answered,
                    answerable={qid: bool(gold[qid]) for qid in gold},
                )
        scores["best_mean"] = (scores["best_exact"] + scores["best_f1"]) / 2
        return scores

    def form(self) -> datasets.Features:
        text, number = datasets.Value("string"), datasets.Value("float64")
        answers = {
            "text": datasets.List(text),
            "answer_start": datasets.List(datasets.Value("int64")),
        }
        return datasets.Features(
            {
                "predictions": {
                    "id": text,
                    "prediction_text": text,
                    "no_answer_probability": number,
                },
                "references": {"id": text, "answers": answers},
            }
        )


def best_threshold(
    scores: Mapping[str, float],
    silence: Mapping[str, float],
    *,
    answered: Mapping[str, bool],
    answerable: Mapping[str, bool],
) -> tuple[float, float]:
    """The script's `find_best_thresh`: the best mean score, in percent, and the first threshold
    that reaches it.

    All arguments are by question id: scores in 0..1, probabilities that there is no answer, whether
    one was predicted, whether there is one. It starts with every answer withheld and threshold 0,
    and lets them out one by one, the likeliest first."""
    now = best = float(sum(not there for there in answerable.values()))
    threshold = 0.0
    for qid in sorted(silence, key=silence.__getitem__):
        now += scores[qid] if answerable[qid] else -float(answered[qid])
        if now > best:
            best, threshold = now, silence[qid]
    return 100 * best / len(scores), threshold


def _f1(pred: str, gold: str) -> float:
    # v1.1 gives two empty bags 0; here they are the right silence.
    return token_f1(pred, gold) if normalize(pred) or normalize(gold) else 1.0


def _mean(scores: Mapping[str, float], ids: Sequence[str]) -> float:
    return 100 * sum(scores[qid] for qid in ids) / len(ids)


def _probabilities(predictions: Sequence[Mapping[str, Any]], *, what: str) -> dict[str, float]:
    """By question id, in the order of the predictions; empty where no row has one."""
    given = {answer["id"]: answer.get("no_answer_probability") for answer in predictions}
    lacking = [qid for qid, value in given.items() if value is None]
    if len(lacking) == len(given):
        return {}
    if lacking:
        raise XittError(
            f"{what}: {len(lacking)} of {len(given)} predictions lack no_answer_probability, the"
            f" first {lacking[0]!r}"
        )
    probabilities = {qid: value for qid, value in given.items() if value is not None}
    odd = [value for value in probabilities.values() if not 0 <= value <= 1]
    if odd:
        raise XittError(f"{what}: a no_answer_probability is between 0 and 1, found {odd[0]}")
    return probabilities
