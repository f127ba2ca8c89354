"""Metrics: one class per row, each a subclass of `evaluate.Metric` that is constructed directly."""

from __future__ import annotations

from adapters_xitt.metrics.accuracy import Accuracy, RetrievalAccuracy
from adapters_xitt.metrics.base import Metric
from adapters_xitt.metrics.masked import MaskedTokens
from adapters_xitt.metrics.qa import SquadF1
from adapters_xitt.metrics.tagging import TagF1

METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "tag_f1": TagF1,
    "squad": SquadF1,
    "retrieval_accuracy": RetrievalAccuracy,
    "masked_tokens": MaskedTokens,
}

__all__ = ["METRICS", "Accuracy", "MaskedTokens", "Metric", "RetrievalAccuracy", "SquadF1", "TagF1"]
