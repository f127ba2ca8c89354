"""What was predicted of every kind of task in one form: a distribution for each decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.analysis.statistics import ItemStatistics, Value
from adapters_xitt.metrics.answers import normalize, normalize_in

if TYPE_CHECKING:
    from adapters_xitt.analysis.evidence import Prediction


@dataclass(frozen=True, eq=False)
class Distributions:
    """The decisions of one row, seed and language: one for each item, or for each word of a tagged
    sentence. Arrays are by decision, [n] or [n, classes]."""

    ids: tuple[str, ...]  # of the items
    item: NDArray  # the index of each decision's item
    probabilities: NDArray  # float64; 0 where an item has fewer choices than others
    predicted: NDArray  # the class that was chosen
    right: NDArray  # whether it is right
    # the classes that are gold: one, or none where no class is; of answers every kept text that
    # equals a gold one
    gold: NDArray

    @cached_property
    def confidence(self) -> NDArray:
        """The probability of the class that was chosen."""
        return self.probabilities[np.arange(len(self.predicted)), self.predicted]

    @cached_property
    def likelihood(self) -> NDArray:
        """The probability of what is gold."""
        return (self.probabilities * self.gold).sum(axis=1)

    @property
    def classes(self) -> int:
        return self.probabilities.shape[1]

    def scaled(self, temperature: float) -> Distributions:
        """The same decisions at a temperature: p^(1/T), normalised, which is the softmax of the
        logits over T, since log p is a logit but for a constant (Guo et al. 2017, section 4.2)."""
        top = self.probabilities.max(axis=1, keepdims=True)
        powers = (self.probabilities / top) ** (1 / temperature)
        return replace(self, probabilities=powers / powers.sum(axis=1, keepdims=True))

    def statistics(
        self, columns: NDArray, weights: NDArray, wide: int, value: Value
    ) -> ItemStatistics:
        """`value` of `wide` sums of `weights`, each added to a column of its item, both [n] or
        [n, k], and of the number of decisions, which is the last sum."""
        items = len(self.ids)
        item = self.item if columns.ndim == 1 else self.item[:, None]
        places = (item * wide + columns).ravel()
        sums = np.bincount(places, weights.ravel(), minlength=items * wide).reshape(items, wide)
        counts = np.bincount(self.item, minlength=items).astype(np.float64)
        return ItemStatistics(self.ids, np.column_stack([sums, counts]), value)


def distributions(prediction: Prediction) -> Distributions | None:
    """The distributions that a prediction stores; None of kinds that store none, and of answers
    that may be withheld, whose probability is another question's."""
    if prediction.task.unanswerable or prediction.task.kind not in _FORMS:
        return None
    return _FORMS[prediction.task.kind](prediction)


def _pairs(prediction: Prediction) -> Distributions:
    labels = prediction.task.labels
    chosen = [item["label"] for item in prediction.items]
    gold = [item["gold"] for item in prediction.items]
    return _labelled(prediction, np.arange(len(gold)), labels, chosen, gold)


def _tags(prediction: Prediction) -> Distributions:
    """Words, each with the index of its sentence."""
    words = prediction.arrays["words"]
    chosen = [tag for item in prediction.items for tag in item["tags"]]
    gold = [tag for item in prediction.items for tag in item["gold"]]
    labels = prediction.task.labels or _observed_labels(chosen, prediction.arrays["probabilities"])
    return _labelled(prediction, np.repeat(np.arange(len(words)), words), labels, chosen, gold)


def _observed_labels(chosen: Sequence[str], probabilities: NDArray) -> tuple[str, ...]:
    """Labels that only the data of a task knows, by the class for which they were said; one that
    never was is no label's name."""
    names = dict(zip(probabilities.argmax(axis=1).tolist(), chosen, strict=True))
    return tuple(names.get(index, "") for index in range(probabilities.shape[1]))


def _labelled(
    prediction: Prediction,
    item: NDArray,
    labels: Sequence[str],
    chosen: Sequence[str],
    gold: Sequence[str],
) -> Distributions:
    """Decisions between labels; a gold label that training hasn't is no class."""
    index = {label: number for number, label in enumerate(labels)}
    classes = np.array([index.get(label, -1) for label in gold])
    predicted = np.array([index[label] for label in chosen])
    return Distributions(
        ids=tuple(entry["id"] for entry in prediction.items),
        item=item,
        probabilities=prediction.arrays["probabilities"].astype(np.float64),
        predicted=predicted,
        right=predicted == classes,
        gold=classes[:, None] == np.arange(len(labels)),
    )


def _choices(prediction: Prediction) -> Distributions:
    """Items; those with fewer choices than others have none left at the end."""
    sizes = prediction.arrays["choices"]
    probabilities = np.zeros((len(sizes), sizes.max()))
    there = np.arange(sizes.max()) < sizes[:, None]
    probabilities[there] = prediction.arrays["probabilities"]
    predicted = np.array([item["label"] for item in prediction.items])
    gold = np.array([item["gold"] for item in prediction.items])
    return Distributions(
        ids=tuple(item["id"] for item in prediction.items),
        item=np.arange(len(sizes)),
        probabilities=probabilities,
        predicted=predicted,
        right=predicted == gold,
        gold=gold[:, None] == np.arange(sizes.max()),
    )


def _answers(prediction: Prediction) -> Distributions:
    """Questions: the classes are the kept texts, and the others of the spans that probabilities are
    over, which share what is left evenly. A gold text that is none of those kept is one of the
    others, and so is an answer. It is right where it is a gold one by the words that the task's
    metric compares."""
    from adapters_xitt.kinds.qa import BEST

    kept = prediction.arrays["probabilities"].astype(np.float64)
    count, first_other = kept.shape
    left = np.clip(1 - kept.sum(axis=1, keepdims=True), 0, None)
    others = np.repeat(left / (BEST - first_other), BEST - first_other, axis=1)
    probabilities = np.hstack([kept, others])
    normal = _normalisation(prediction)
    gold = np.zeros(probabilities.shape, dtype=bool)
    predicted, right = np.full(count, first_other), np.zeros(count, dtype=bool)
    for number, item in enumerate(prediction.items):
        answers = {normal(text) for text in item["gold"]}
        matching = [normal(text) in answers for text in item["candidates"]]
        gold[number, : len(matching)] = matching
        gold[number, first_other] = not any(matching)
        right[number] = normal(item["text"]) in answers
        if item["text"] in item["candidates"]:
            predicted[number] = item["candidates"].index(item["text"])
    return Distributions(
        ids=tuple(item["id"] for item in prediction.items),
        item=np.arange(count),
        probabilities=probabilities / probabilities.sum(axis=1, keepdims=True),
        predicted=predicted,
        right=right,
        gold=gold,
    )


def _normalisation(prediction: Prediction) -> Callable[[str], str]:
    """The words that the task's metric compares, as a function of a text."""
    if prediction.task.metric == "mlqa":
        return lambda text: normalize_in(text, prediction.language)
    return normalize


_FORMS: dict[str, Callable[[Prediction], Distributions]] = {
    "pair": _pairs,
    "choice": _choices,
    "tagging": _tags,
    "qa": _answers,
}
KINDS = tuple(_FORMS)
