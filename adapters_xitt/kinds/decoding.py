"""A head's outputs of any kind to predictions and scores."""

from __future__ import annotations

from adapters_xitt import metrics
from adapters_xitt.kinds import KINDS
from adapters_xitt.kinds.record import HeadOutputs, Predictions
from adapters_xitt.tasks import Task
from adapters_xitt.tasks.kinds import Examples


def decode(test: HeadOutputs) -> Predictions:
    """Predictions and scores from what a head outputs for a test."""
    decoded = KINDS[test.task.kind].decode(test)
    scores = metrics.score(
        test.task.metric, decoded.predictions, decoded.references, language=test.language
    )
    return Predictions(decoded.items, decoded.arrays, scores)


def majority(task: Task, train: Examples, test: Examples, *, language: str = "en") -> float | None:
    """The main score of always predicting the training data's commonest label, or index; None for
    kinds without."""
    baseline = KINDS[task.kind].majority
    if baseline is None:
        return None
    predictions, references = baseline(task, train, test)
    scores = metrics.score(task.metric, predictions, references, language=language)
    return scores[task.main_score]
