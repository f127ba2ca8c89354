"""What the metrics share: construction that writes nothing, and the checks that come before the
arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate

from adapters_xitt.errors import XittError


class Metric(evaluate.Metric):
    """A metric over rows kept in memory: `score` is the plain path, `compute` is evaluate's own
    around it."""

    headline = ""  # the key of `score` that stands for the metric in a table
    about = ""  # what it computes, and after whom

    def __init__(self, *, language: str | None = None) -> None:
        """`language` is the code of the rows' language; only a metric that splits words by language
        (Mlqa) reads it."""
        super().__init__(keep_in_memory=True)
        self.language = language

    def score(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        """The scores in percent; nothing to score is a XittError, never 0."""
        raise NotImplementedError

    def form(self) -> datasets.Features | list[datasets.Features]:
        """One prediction and one reference, as `compute` takes them."""
        raise NotImplementedError

    def compute(
        self, *, predictions: Any = None, references: Any = None, **kwargs: Any
    ) -> dict[str, float] | None:
        """The scores of these rows, or of those that were added before."""
        added = predictions is None and references is None and self.writer is not None
        if not added and (predictions is None or references is None or len(references) == 0):
            raise XittError(f"{self.name}: nothing to score")
        if self.writer is None and len(predictions) != len(references):
            # evaluate's table has one prediction beside every reference; mined pairs and missing
            # answers don't fit it.
            return self.score(predictions, references)
        return super().compute(predictions=predictions, references=references, **kwargs)

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Keep these rows for `compute`. A row may lack optional keys and have more than its form,
        as data sets do."""
        form = self.features if isinstance(self.features, datasets.Features) else {}
        columns = {"predictions": predictions, "references": references}
        whole = {
            name: (
                [_like(form.get(name), row) for row in rows]
                if isinstance(form.get(name), dict)
                else rows
            )
            for name, rows in columns.items()
        }
        super().add_batch(**whole, **kwargs)

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Keep one row for `compute`."""
        self.add_batch(predictions=[prediction], references=[reference], **kwargs)

    def _compute(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        return self.score(predictions, references)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=self.about, citation="", features=self.form())

    def _build_data_dir(self) -> str:
        # evaluate would make a folder in the user's cache here; rows in memory have no use for it.
        return self._data_dir_root


def check_pairs(predictions: Sequence[Any], references: Sequence[Any], *, what: str) -> None:
    """Raise a XittError unless there is one prediction for every reference, and at least one of
    them."""
    if len(predictions) != len(references):
        raise XittError(f"{what}: {len(predictions)} predictions for {len(references)} references")
    if len(references) == 0:
        raise XittError(f"{what}: nothing to score")


def plain(what: str, value: Any) -> int | str:
    """A label as int or str; anything else (None, a float, a vector) is a XittError."""
    if isinstance(value, str):
        return str(value)
    if getattr(value, "shape", ()) == () and hasattr(value, "__index__"):
        return value.__index__()
    raise XittError(f"{what}: a label is an integer or a string, found {value!r}")


def _like(form: Any, row: Any) -> Any:
    # evaluate refuses a row whose keys aren't those of its form; what is left out is None there.
    if isinstance(form, dict) and isinstance(row, Mapping):
        return {key: _like(kind, row.get(key)) for key, kind in form.items()}
    return row
