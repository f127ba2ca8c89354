"""How consistent the answers of each row are over the languages of a parallel test: pairs of
languages, their means over groups of languages, and intervals.

Languages are compared with English where it is tested, else each with every other. Intervals are
percentiles of a bootstrap over items (Efron and Tibshirani 1993, chapter 13): an item is drawn with
its translations, and for every seed alike. They say nothing of other seeds, of which the spread
does, and nothing of other languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.analysis import agreement
from adapters_xitt.analysis.agreement import Answers
from adapters_xitt.analysis.evidence import Evidence, Prediction
from adapters_xitt.analysis.frame import family_first
from adapters_xitt.analysis.statistics import ItemStatistics
from adapters_xitt.data.mixture import ENGLISH
from adapters_xitt.languages import language
from adapters_xitt.study.results import DONE
from adapters_xitt.tasks import task

if TYPE_CHECKING:
    import pandas as pd

DRAWS, SEED = 1000, 0
COLUMNS = (
    "method",
    "intermediate",
    "mode",
    "target",
    "measure",
    "by",  # all | language | pair | a column of the language table
    "group",  # the language, "de-tr", or the value of the column
    "languages",  # that are averaged, or rated together
    "against",  # en, or "each other"
    "value",
    "low",
    "high",
    "spread",  # sample standard deviation over seeds; NaN for one
    "seeds",
    "items",
)
Name = tuple[str, str, str]  # method, intermediate, mode


@dataclass(frozen=True)
class Comparison:
    """A number for two languages' answers to the same items."""

    about: str
    compare: Callable[[Answers, Answers], ItemStatistics]  # this language's, the other's
    kinds: tuple[str, ...]


COMPARISONS: dict[str, Comparison] = {
    "rankc": Comparison(
        "overlap of the rankings of the candidates, in percent",
        agreement.rankc,
        agreement.RANKED,
    ),
    "agreement": Comparison(
        "items with the same answer, in percent", agreement.agreement, agreement.RANKED
    ),
    "agreement_where_right": Comparison(
        "right here too, of what is right in English, in percent",
        agreement.agreement_where_right,
        agreement.RIGHT_OR_WRONG,
    ),
    "overlap_of_right": Comparison(
        "right in both, of what is right in either, in percent",
        agreement.overlap_of_right,
        agreement.RIGHT_OR_WRONG,
    ),
    "kappa": Comparison(
        "agreement of the answers beyond chance, times 100", agreement.kappa, agreement.LABELLED
    ),
}
FLEISS = "fleiss"
ABOUT = {
    **{name: comparison.about for name, comparison in COMPARISONS.items()},
    FLEISS: "agreement beyond chance of all languages at once, times 100",
}


def statistics(
    name: str, prediction: Prediction, english: Prediction | None
) -> ItemStatistics | None:
    """A comparison of a row's answers in one language with its answers in English, item by item;
    None where the test is not parallel, its kind has no such comparison, or English is missing."""
    comparison, tested = COMPARISONS[name], prediction.task
    if english is None or not tested.parallel or tested.kind not in comparison.kinds:
        return None
    pair = agreement.common(agreement.answers(prediction), agreement.answers(english))
    return comparison.compare(*pair) if pair[0].ids else None


def can_be_compared(grid: dict[str, Any]) -> tuple[str, ...]:
    """The targets whose answers can be compared over languages: parallel tests in two or more."""
    languages: dict[str, set[str]] = {}
    for entry in grid["entries"]:
        if entry["status"] == DONE:
            languages.setdefault(entry["target"], set()).add(entry["language"])
    return tuple(
        name
        for name in grid["headlines"]
        if task(name).parallel
        and task(name).kind in agreement.RIGHT_OR_WRONG
        and len(languages.get(name, ())) > 1
    )


def consistency(evidence: Evidence) -> pd.DataFrame:
    """Every comparison of every row on every parallel target: `COLUMNS`, one line for each pair of
    languages or each language, for all of them, and for each group of them. A `XittError` where the
    store lacks predictions."""
    import pandas as pd

    targets = can_be_compared(evidence.grid)
    lines = [
        dict(zip(COLUMNS, (*name, target, *values), strict=True))
        for target in targets
        for name, places in _rows(evidence, target).items()
        for values in _lines(_read(evidence, name, target, places))
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _rows(evidence: Evidence, target: str) -> dict[Name, list[tuple[str, int]]]:
    """Where each row has answers on a target: languages and seeds."""
    rows: dict[Name, list[tuple[str, int]]] = {}
    for entry in evidence.ordered:
        if entry["target"] == target and entry["status"] == DONE:
            name = entry["method"], entry["intermediate"], entry["mode"]
            rows.setdefault(name, []).append((entry["language"], entry["seed"]))
    return rows


@dataclass(frozen=True)
class _GridRow:
    """The answers of one row on one target, by seed and language, languages by family: those that
    every seed has."""

    kind: str
    seeds: tuple[int, ...]
    languages: tuple[str, ...]
    answers: Mapping[tuple[int, str], Answers]

    def share_items(self, first: str, second: str) -> bool:
        """Whether two languages have an item in common."""
        ids = [set(self.answers[self.seeds[0], code].ids) for code in (first, second)]
        return bool(ids[0] & ids[1])


def _read(
    evidence: Evidence, name: Name, target: str, places: Sequence[tuple[str, int]]
) -> _GridRow:
    seeds = tuple(sorted({seed for _, seed in places}))
    codes = dict.fromkeys(code for code, _ in places)
    whole = [code for code in codes if all((code, seed) in places for seed in seeds)]
    languages = tuple(sorted(whole, key=family_first))
    predictions = {
        (seed, code): evidence.prediction((*name, target, code, seed))
        for seed in seeds
        for code in languages
    }
    read = {place: agreement.answers(each) for place, each in predictions.items()}
    return _GridRow(task(target).kind, seeds, languages, read)


def _lines(grid_row: _GridRow) -> Iterator[tuple[Any, ...]]:
    """The last eleven of the columns."""
    against = ENGLISH if ENGLISH in grid_row.languages else "each other"
    others = [code for code in grid_row.languages if code != ENGLISH]
    pairs = [(code, ENGLISH) for code in others]
    if against != ENGLISH:
        pairs = list(combinations(grid_row.languages, 2))
    pairs = [pair for pair in pairs if grid_row.share_items(*pair)]
    if not pairs:
        return
    estimates = _Estimates(grid_row.seeds)
    for name, comparison in COMPARISONS.items():
        if grid_row.kind not in comparison.kinds:
            continue
        if name == "agreement_where_right" and against != ENGLISH:
            continue
        for first, second in pairs:
            for seed in grid_row.seeds:
                shared = agreement.common(
                    grid_row.answers[seed, first], grid_row.answers[seed, second]
                )
                estimates.add((name, first, second), seed, comparison.compare(*shared))
    if grid_row.kind in agreement.LABELLED and len(grid_row.languages) > 2:
        for seed in grid_row.seeds:
            if (together := _fleiss(grid_row, seed)) is not None:
                estimates.add((FLEISS, "", ""), seed, together)
    estimates.draw()
    for name in COMPARISONS:
        if any(key[0] == name for key in estimates.items):
            for by, group, members, keys in _groups(name, pairs, against):
                yield name, by, group, len(members), against, *estimates.mean(keys)
    if (FLEISS, "", "") in estimates.items:
        every = estimates.mean([(FLEISS, "", "")])
        yield FLEISS, "all", "", len(grid_row.languages), "each other", *every


def _fleiss(grid_row: _GridRow, seed: int) -> ItemStatistics | None:
    """Over the items that every language has; None where there are none."""
    given = [grid_row.answers[seed, code] for code in grid_row.languages]
    for other in given[1:]:
        given[0], _ = agreement.common(given[0], other)
    if not given[0].ids:
        return None
    return agreement.fleiss([agreement.common(given[0], other)[1] for other in given])


Key = tuple[str, str, str]  # comparison, language, the other language


def _groups(
    name: str, pairs: Sequence[tuple[str, str]], against: str
) -> Iterator[tuple[str, str, tuple[str, ...], list[Key]]]:
    """What is averaged: by which column, which value of it, the languages, and their pairs. A group
    of one language is that language."""
    both = against != ENGLISH
    if both:
        for first, second in pairs:
            yield "pair", f"{first}-{second}", (first, second), [(name, first, second)]
    languages = list(dict.fromkeys(code for pair in pairs for code in pair[: 1 + both]))
    groups: list[tuple[str, str, tuple[str, ...]]] = [
        ("language", code, (code,)) for code in languages
    ]
    for by, column in GROUPS.items():
        for value in sorted({column(code) for code in languages} - {""}):
            members = tuple(code for code in languages if column(code) == value)
            groups += [(by, value, members)] if len(members) > 1 else []
    for by, group, members in [("all", "", tuple(languages)), *groups]:
        yield by, group, members, [(name, *pair) for pair in pairs if set(pair) & set(members)]


def _distance(code: str) -> str:
    """A third of the range of distances to English that languages have, which is 0 to 0.61."""
    distance = language(code).distance
    if distance is None:
        return ""
    return "0 to 0.2" if distance < 0.2 else "0.2 to 0.4" if distance < 0.4 else "0.4 to 1"


def _joshi(code: str) -> str:
    joshi = language(code).joshi
    return "" if joshi is None else str(joshi)


# columns of the language table that languages are grouped by
GROUPS: dict[str, Callable[[str], str]] = {
    "family": lambda code: language(code).family,
    "script": lambda code: language(code).script,
    "joshi": _joshi,
    "distance": _distance,
}


class _Estimates:
    """Comparisons of one row, for every seed, with a bootstrap over the items that they share."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = seeds
        self.items: dict[Key, dict[int, ItemStatistics]] = {}
        self.values: dict[Key, NDArray] = {}  # [1 + draws, seeds]; first of the items as they are

    def add(self, key: Key, seed: int, added: ItemStatistics) -> None:
        """The statistics of one comparison with one seed."""
        self.items.setdefault(key, {})[seed] = added

    def draw(self) -> None:
        """Draws items with repetition, and takes every comparison over each draw. One product of
        matrices does for all of them: the sums of all comparisons stand side by side."""
        each = [self.items[key][seed] for key in self.items for seed in self.seeds]
        places = {name: index for index, name in enumerate(_union(each))}
        columns = np.cumsum([0, *(of_items.sums.shape[1] for of_items in each)])
        sums = np.zeros((len(places), columns[-1]))
        for of_items, start, end in zip(each, columns[:-1], columns[1:], strict=True):
            sums[[places[name] for name in of_items.ids], start:end] = of_items.sums
        generator = np.random.default_rng(SEED)
        often = generator.multinomial(len(places), np.full(len(places), 1 / len(places)), DRAWS)
        summed = np.vstack([sums.sum(axis=0), often.astype(np.float64) @ sums])
        values = [
            of_items.value(summed[:, start:end])
            for of_items, start, end in zip(each, columns[:-1], columns[1:], strict=True)
        ]
        for index, key in enumerate(self.items):
            first = index * len(self.seeds)
            self.values[key] = np.stack(values[first : first + len(self.seeds)], axis=1)

    def mean(self, keys: Sequence[Key]) -> tuple[float, float, float, float, int, int]:
        """Value, lower and upper end of its 95 % interval, spread over seeds, seeds and items: of
        the unweighted mean over comparisons."""
        by_seed = np.mean([self.values[key] for key in keys], axis=0)  # [1 + draws, seeds]
        drawn = by_seed[1:].mean(axis=1)
        drawn = drawn[np.isfinite(drawn)]
        low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
        spread = float(by_seed[0].std(ddof=1)) if len(self.seeds) > 1 else np.nan
        items = min(len(of_items.ids) for key in keys for of_items in self.items[key].values())
        return float(by_seed[0].mean()), float(low), float(high), spread, len(self.seeds), items


def _union(each: Sequence[ItemStatistics]) -> dict[str, None]:
    """The ids that any has, in order."""
    return dict.fromkeys(name for of_items in each for name in of_items.ids)
