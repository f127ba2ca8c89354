"""What the metrics share: construction without a cache folder, and checks that come before arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from adapters_xitt.errors import XittError


class Metric(evaluate.Metric):
    """A metric that keeps its rows in memory; `score` is the plain path, `compute` the library's own around it."""

    headline = ""  # the key of `score` that stands for the metric in a table
    description = ""
    citation = ""

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    def score(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        """The scores, in percent."""
        raise NotImplementedError

    def features(self) -> datasets.Features | list[datasets.Features]:
        """The form of one prediction and one reference, for `compute`."""
        raise NotImplementedError
