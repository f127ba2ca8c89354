"""Metrics: subclasses of `evaluate.Metric`, fed by `add_batch` and asked by `compute`.

`METRICS[name](language=code)` constructs any of them; only "mlqa" needs the language. The package
`evaluate`, which takes seconds and hundreds of megabytes to import, is imported when a class is
first asked for: names alone cost nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters_xitt.metrics.base import Metric

# The metrics by name, which tasks have in `metric`: the file here, and the class in it.
CLASSES = {
    "accuracy": ("accuracy", "Accuracy"),
    "qqp": ("accuracy", "Qqp"),
    "tag_f1": ("tagging", "TagF1"),
    "tag_accuracy": ("tagging", "TagAccuracy"),
    "squad": ("qa", "SquadF1"),
    "squad2": ("squad2", "Squad2"),
    "mlqa": ("mlqa", "Mlqa"),
    "retrieval_accuracy": ("accuracy", "RetrievalAccuracy"),
    "bucc": ("retrieval", "Bucc"),
    "mrr": ("retrieval", "Mrr"),
    "map": ("retrieval", "MeanAveragePrecision"),
    "masked_tokens": ("masked", "MaskedTokens"),
}


class _Metrics(Mapping[str, "type[Metric]"]):
    """Name → class, which is imported when it is asked for."""

    def __getitem__(self, name: str) -> type[Metric]:
        file, class_name = CLASSES[name]
        return getattr(import_module(f"adapters_xitt.metrics.{file}"), class_name)

    def __contains__(self, name: object) -> bool:
        return name in CLASSES

    def __iter__(self) -> Iterator[str]:
        return iter(CLASSES)

    def __len__(self) -> int:
        return len(CLASSES)


METRICS = _Metrics()


def score(
    name: str, predictions: Sequence[Any], references: Sequence[Any], *, language: str
) -> dict[str, float]:
    """The scores of a metric, in percent unless it says otherwise."""
    metric = METRICS[name](language=language)
    metric.add_batch(predictions=predictions, references=references)
    scores = metric.compute()
    return {key: float(value) for key, value in scores.items()}
