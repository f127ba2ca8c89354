"""What each test item adds to the main score of its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.analysis.evidence import Prediction
from adapters_xitt.analysis.statistics import ItemStatistics, Value, f1, share
from adapters_xitt.metrics import METRICS
from adapters_xitt.metrics.answers import exact, normalize, normalize_in, token_f1
from adapters_xitt.metrics.spans import span_counts

Item = Mapping[str, Any]
Sums = tuple[NDArray, Value]


def main_score(prediction: Prediction) -> ItemStatistics | None:
    """The main score of a task over its items; None where what is stored doesn't say which items
    were right (mined pairs are stored without their gold)."""
    metric = prediction.task.metric
    if metric not in _SUMS:
        return None
    sums, value = _SUMS[metric](prediction)
    return ItemStatistics(tuple(item["id"] for item in prediction.items), sums, value)


def _right_labels(prediction: Prediction) -> Sums:
    return _right([item["label"] == item["gold"] for item in prediction.items])


def _right_candidates(prediction: Prediction) -> Sums:
    return _right([item["index"] == item["gold"] for item in prediction.items])


def _right(right: Sequence[bool]) -> Sums:
    return _counted([float(each) for each in right], [1.0] * len(right)), share


def _paraphrases(prediction: Prediction) -> Sums:
    """QQP's mean of accuracy and F1 of label 1."""
    pairs = [(str(item["label"]), str(item["gold"])) for item in prediction.items]
    sums = _counted(
        [float(label == gold) for label, gold in pairs],
        [1.0] * len(pairs),
        [float(label == gold == "1") for label, gold in pairs],
        [float((label == "1") + (gold == "1")) for label, gold in pairs],
    )
    return sums, lambda summed: (share(summed[..., :2]) + f1(summed[..., 2:])) / 2


def _spans(prediction: Prediction) -> Sums:
    """Spans of each sentence that are right, and those of both sides."""
    counts = [span_counts(item["tags"], item["gold"]) for item in prediction.items]
    return _counted([hits for hits, _, _ in counts], [ours + gold for _, ours, gold in counts]), f1


def _right_tags(prediction: Prediction) -> Sums:
    return _counted(
        [
            sum(tag == gold for tag, gold in zip(item["tags"], item["gold"], strict=True))
            for item in prediction.items
        ],
        [len(item["gold"]) for item in prediction.items],
    ), share


def _answers(prediction: Prediction) -> Sums:
    """The mean of exact match and F1 of each question, by the words that its metric compares."""
    language = prediction.language

    def normal(text: str) -> str:
        return normalize_in(text, language) if by_language else normalize(text)

    by_language = prediction.task.metric == "mlqa"
    scores = [_answer(item, normal) for item in prediction.items]
    return _counted(scores, [1.0] * len(scores)), share


def _answer(item: Item, normal: Callable[[str], str]) -> float:
    matched = max(exact(item["text"], gold, normal=normal) for gold in item["gold"])
    overlap = max(token_f1(item["text"], gold, normal=normal) for gold in item["gold"])
    return (matched + overlap) / 2


def _rankings(prediction: Prediction) -> Sums:
    """The score of each query by itself: the metric is their mean."""
    metric, name = METRICS[prediction.task.metric](), prediction.task.main_score
    each = [metric.score([item["ids"]], [item["gold"]])[name] / 100 for item in prediction.items]
    return _counted(each, [1.0] * len(each)), share


def _guessed_tokens(prediction: Prediction) -> Sums:
    return _counted(
        [item["hits"] for item in prediction.items], [item["tokens"] for item in prediction.items]
    ), share


def _counted(*columns: Sequence[float]) -> NDArray:
    return np.array(columns, dtype=np.float64).T


# By metric; a metric that stands in the grid as anything but a function of its items is not here.
_SUMS: dict[str, Callable[[Prediction], Sums]] = {
    "accuracy": _right_labels,
    "qqp": _paraphrases,
    "tag_f1": _spans,
    "tag_accuracy": _right_tags,
    "squad": _answers,
    "mlqa": _answers,
    "retrieval_accuracy": _right_candidates,
    "mrr": _rankings,
    "map": _rankings,
    "masked_tokens": _guessed_tokens,
}
