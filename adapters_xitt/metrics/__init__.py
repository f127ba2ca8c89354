"""Metrics: one class per row, each a subclass of `evaluate.Metric` that is constructed directly.

`METRICS[name](language=code)` constructs any of them; only "mlqa" needs the language.
"""

from __future__ import annotations

from adapters_xitt.metrics.accuracy import Accuracy, Qqp, RetrievalAccuracy
from adapters_xitt.metrics.base import Metric
from adapters_xitt.metrics.masked import MaskedTokens
from adapters_xitt.metrics.mlqa import Mlqa
from adapters_xitt.metrics.qa import SquadF1
from adapters_xitt.metrics.retrieval import Bucc, MeanAveragePrecision, Mrr
from adapters_xitt.metrics.squad2 import Squad2
from adapters_xitt.metrics.tagging import TagAccuracy, TagF1

METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "qqp": Qqp,
    "tag_f1": TagF1,
    "tag_accuracy": TagAccuracy,
    "squad": SquadF1,
    "squad2": Squad2,
    "mlqa": Mlqa,
    "retrieval_accuracy": RetrievalAccuracy,
    "bucc": Bucc,
    "mrr": Mrr,
    "map": MeanAveragePrecision,
    "masked_tokens": MaskedTokens,
}

__all__ = [
    "METRICS",
    "Accuracy",
    "Bucc",
    "MaskedTokens",
    "MeanAveragePrecision",
    "Metric",
    "Mlqa",
    "Mrr",
    "Qqp",
    "RetrievalAccuracy",
    "Squad2",
    "SquadF1",
    "TagAccuracy",
    "TagF1",
]
