"""What the answers of one row to translations of the same items have in common, language by
language.

RankC is that of Qi, Fernández and Bisazza 2023 (arXiv 2310.10378; RankC.py of
Betswish/Cross-Lingual-Consistency at 13c9d46), the overlap of right answers their COverlap, Cohen's
κ that of Cohen 1960, Fleiss' that of Fleiss 1971. Agreement where English is right has no source
that names it: it is the share of the items that are right in English which are right here too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.analysis.evidence import Prediction
from adapters_xitt.analysis.statistics import ItemStatistics, Value, share
from adapters_xitt.metrics.answers import exact, normalize, normalize_in

# Kinds whose candidates are the same in every language, and can be ranked or counted; and those of
# which only whether they are right can be compared: an extracted answer is a text of its language.
RANKED = ("pair", "choice", "ranking")
LABELLED = ("pair", "choice")
RIGHT_OR_WRONG = (*RANKED, "qa")


@dataclass(frozen=True, eq=False)
class Answers:
    """What one row answers in one language."""

    ids: tuple[str, ...]  # of the items, the same in every language
    right: NDArray  # bool [items]
    # The candidates of each item, likeliest first, by number or id; None where languages have
    # candidates of their own. Items of fewer candidates end in -1.
    ranked: NDArray | None = None

    @property
    def chosen(self) -> NDArray:
        """The first candidate [items] of kinds that have the same in every language."""
        if self.ranked is None:
            raise ValueError("extracted answers are texts of their language")
        return self.ranked[:, 0]

    def only(self, indices: NDArray) -> Answers:
        """Those to some of the items."""
        ranked = None if self.ranked is None else self.ranked[indices]
        return Answers(tuple(self.ids[index] for index in indices), self.right[indices], ranked)


def answers(prediction: Prediction) -> Answers:
    """The answers of a prediction of one of the kinds in `RIGHT_OR_WRONG`."""
    ids = tuple(item["id"] for item in prediction.items)
    if prediction.task.kind == "qa":
        return Answers(ids, np.array([_exact(prediction, item) for item in prediction.items], bool))
    ranked = _RANKINGS[prediction.task.kind](prediction)
    if prediction.task.kind == "ranking":
        pairs = zip(prediction.items, ranked[:, 0], strict=True)
        return Answers(ids, np.array([first in item["gold"] for item, first in pairs]), ranked)
    right = np.array([item["label"] == item["gold"] for item in prediction.items])
    return Answers(ids, right, ranked)


def _exact(prediction: Prediction, item: Mapping[str, Any]) -> bool:
    """Whether an extracted answer is a gold one, by the words that its metric compares."""

    def normal(text: str) -> str:
        by_language = prediction.task.metric == "mlqa"
        return normalize_in(text, prediction.language) if by_language else normalize(text)

    return any(exact(item["text"], gold, normal=normal) for gold in item["gold"])


def _labels(prediction: Prediction) -> NDArray:
    return _sorted(prediction.arrays["probabilities"])


def _choices(prediction: Prediction) -> NDArray:
    sizes = prediction.arrays["choices"]
    starts = np.cumsum(sizes) - sizes
    ranked = np.full((len(sizes), sizes.max()), -1)
    for size in np.unique(sizes):
        of_size = np.flatnonzero(sizes == size)
        places = starts[of_size, None] + np.arange(size)
        ranked[of_size, :size] = _sorted(prediction.arrays["probabilities"][places])
    return ranked


def _candidates(prediction: Prediction) -> NDArray:
    longest = max(len(item["ids"]) for item in prediction.items)
    return np.array(
        [[*item["ids"], *[-1] * (longest - len(item["ids"]))] for item in prediction.items], object
    )


def _sorted(probabilities: NDArray) -> NDArray:
    """The columns of each line from the greatest down, the first of equals first."""
    return np.argsort(-probabilities, axis=1, kind="stable")


_RANKINGS: dict[str, Callable[[Prediction], NDArray]] = {
    "pair": _labels,
    "choice": _choices,
    "ranking": _candidates,
}


# -- two languages ---------------------------------------------------------------------------------


def common(first: Answers, second: Answers) -> tuple[Answers, Answers]:
    """Both over the items that both have, in the order of the first."""
    places = {name: index for index, name in enumerate(second.ids)}
    pairs = [(index, places[name]) for index, name in enumerate(first.ids) if name in places]
    indices = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return first.only(indices[:, 0]), second.only(indices[:, 1])


def rank_overlap(first: NDArray, second: NDArray) -> NDArray:
    """RankC of each item [items]: of two rankings [items, N] of its candidates, the share of the
    first j that both have in common, averaged over j with weights that are a softmax over N, N-1,
    …, 1. Rankings are padded with -1.

    Of a ranking that is cut after its first 20 the rest weighs less than 3e-9."""
    place, other = np.arange(first.shape[1]), np.arange(second.shape[1])
    same = (first[:, :, None] == second[:, None, :]) & (first[:, :, None] != -1)
    later = np.maximum(place[:, None], other[None, :])  # the j from which on a candidate is in both
    overlaps = np.stack(
        [(same & (later <= last)).sum(axis=(1, 2)) / (last + 1) for last in place], axis=1
    )
    weights = np.where(first != -1, np.exp(-place.astype(float)), 0.0)
    return (overlaps * weights).sum(axis=1) / weights.sum(axis=1)


def rankc(first: Answers, second: Answers) -> ItemStatistics:
    """RankC in percent."""
    each = rank_overlap(_ranked(first), _ranked(second))
    return _counted(first, share, each, np.ones(len(each)))


def agreement(first: Answers, second: Answers) -> ItemStatistics:
    """The share of items that get the same answer, in percent."""
    same = first.chosen == second.chosen
    return _counted(first, share, same, np.ones(len(same)))


def agreement_where_right(here: Answers, english: Answers) -> ItemStatistics:
    """Of the items that are right in English the share that is right here too, in percent."""
    return _counted(here, share, here.right & english.right, english.right)


def overlap_of_right(first: Answers, second: Answers) -> ItemStatistics:
    """Of the items that are right in either language the share that is right in both, in percent
    (Jaccard)."""
    return _counted(first, share, first.right & second.right, first.right | second.right)


def kappa(first: Answers, second: Answers) -> ItemStatistics:
    """Cohen's κ of the answers, times 100: their agreement beyond that of the same shares of labels
    by chance. NaN where both always give one and the same label."""
    labels = 1 + int(max(first.chosen.max(), second.chosen.max()))
    both = np.zeros((len(first.ids), labels, labels))
    both[np.arange(len(both)), first.chosen, second.chosen] = 1

    def value(sums: NDArray) -> NDArray:
        table = sums.reshape(*sums.shape[:-1], labels, labels)
        table = table / table.sum(axis=(-2, -1), keepdims=True)
        agreed = np.trace(table, axis1=-2, axis2=-1)
        return _beyond_chance(agreed, (table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1))

    return ItemStatistics(first.ids, both.reshape(len(both), -1), value)


# -- all languages ---------------------------------------------------------------------------------


def fleiss(of_languages: Sequence[Answers]) -> ItemStatistics:
    """Fleiss' κ times 100 over languages that answer the same items in the same order."""
    labels = 1 + max(int(each.chosen.max()) for each in of_languages)
    votes = sum(np.eye(labels)[each.chosen] for each in of_languages)  # [items, labels]
    raters = len(of_languages)
    pairs = (votes * (votes - 1)).sum(axis=1) / (raters * (raters - 1))

    def value(sums: NDArray) -> NDArray:
        items = sums[..., 1:].sum(axis=-1) / raters
        shares = sums[..., 1:] / (items * raters)[..., None]
        return _beyond_chance(sums[..., 0] / items, (shares**2).sum(axis=-1))

    return ItemStatistics(of_languages[0].ids, np.column_stack([pairs, votes]), value)


def _beyond_chance(agreed: NDArray, by_chance: NDArray) -> NDArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100 * (agreed - by_chance) / (1 - by_chance)


def _ranked(given: Answers) -> NDArray:
    if given.ranked is None:
        raise ValueError("extracted answers have no candidates that languages share")
    return given.ranked


def _counted(given: Answers, value: Value, *columns: NDArray) -> ItemStatistics:
    return ItemStatistics(given.ids, np.column_stack(columns).astype(np.float64), value)
