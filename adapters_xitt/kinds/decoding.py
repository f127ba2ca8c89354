"""A head's outputs of any kind to predictions and scores."""

from __future__ import annotations

from adapters_xitt.kinds import KINDS
from adapters_xitt.kinds.record import HeadOutputs, Predictions
from adapters_xitt.metrics import METRICS
from adapters_xitt.tasks import Task
from adapters_xitt.tasks.kinds import Examples


def decode(test: HeadOutputs) -> Predictions:
    """Predictions and scores from what a head outputs for a test."""
    items, arrays, predictions, references = KINDS[test.task.kind].decode(test)
    scores = METRICS[test.task.metric](language=test.language).score(predictions, references)
    return Predictions(items, arrays, {name: float(value) for name, value in scores.items()})


def majority(task: Task, train: Examples, test: Examples, *, language: str = "en") -> float | None:
    """The main score of always predicting the training data's commonest label, or index; None for
    kinds without."""
    baseline = KINDS[task.kind].majority
    if baseline is None:
        return None
    predictions, references = baseline(task, train, test)
    scores = METRICS[task.metric](language=language).score(predictions, references)
    return float(scores[task.headline])
