"""What the metrics share: construction that writes nothing, and the checks that come before the
arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate

from adapters_xitt.errors import XittError


class Metric(evaluate.Metric):
    """A metric over predictions kept in memory, in evaluate's Arrow table: `add_batch` puts them
    there, `compute` scores them. `score` is the arithmetic alone.

    The table has a prediction beside every reference. Where one side is longer (mined pairs,
    missing answers), the other is filled up with None, which `score` never sees."""

    main_score = ""  # the key of `score` that stands for the metric in a table
    about = ""  # what it computes, and after whom

    def __init__(self, *, language: str | None = None) -> None:
        """`language` is the code of the examples' language; only a metric that splits words by
        language (Mlqa) reads it."""
        super().__init__(keep_in_memory=True)
        self.language = language
        self.added = {"predictions": 0, "references": 0}

    def score(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        """The scores in percent; nothing to score is a XittError, never 0."""
        raise NotImplementedError

    def form(self) -> datasets.Features | list[datasets.Features]:
        """One prediction and one reference, as `compute` takes them."""
        raise NotImplementedError

    def compute(
        self, *, predictions: Any = None, references: Any = None, **kwargs: Any
    ) -> dict[str, float]:
        """The scores of these predictions, or of those that were added before."""
        if predictions is not None and references is not None:
            if len(references) == 0:
                raise XittError(f"{self.name}: nothing to score")
            self.add_batch(predictions=predictions, references=references)
        if self.writer is None:
            raise XittError(f"{self.name}: nothing to score")
        try:
            return super().compute(**kwargs)
        finally:
            self.added = dict.fromkeys(self.added, 0)

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Keeps these for `compute`. A prediction or reference may lack optional keys and have more
        than its form, as data sets do."""
        sides = {"predictions": predictions, "references": references}
        longest = max(len(side) for side in sides.values())
        if longest == 0:
            return
        form = self.features if isinstance(self.features, datasets.Features) else {}
        columns = {}
        for name, side in sides.items():
            values = [_like(form.get(name), value) for value in side]
            columns[name] = values + [None] * (longest - len(values))
        if any(self.added[name] != self.added["references"] for name in sides):
            raise ValueError("after sides of unequal length nothing more can be added")
        super().add_batch(**columns, **kwargs)
        for name, side in sides.items():
            self.added[name] += len(side)

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Keeps one prediction and its reference for `compute`."""
        self.add_batch(predictions=[prediction], references=[reference], **kwargs)

    def _compute(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        return self.score(
            predictions[: self.added["predictions"]], references[: self.added["references"]]
        )

    def _enforce_nested_string_type(self, schema: Any, value: Any) -> Any:
        # evaluate checks the first value of each side, which may be one that fills it up
        return None if value is None else super()._enforce_nested_string_type(schema, value)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=self.about, citation="", features=self.form())

    def _build_data_dir(self) -> str:
        # evaluate would make a folder in the user's cache here; a table in memory has no use for it
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


def _like(form: Any, value: Any) -> Any:
    # evaluate refuses a value whose keys aren't those of its form; what is left out is None there.
    if isinstance(form, dict) and isinstance(value, Mapping):
        return {key: _like(part, value.get(key)) for key, part in form.items()}
    return value
