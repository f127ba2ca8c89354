"""Rows of a grid compared over what all of them have: the same seeds, languages and test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt import languages
from adapters_xitt.analysis.contrasts import RowName, row_text
from adapters_xitt.analysis.effects import Contributions, Effect, Stratum, effect, item_strata
from adapters_xitt.analysis.evidence import Evidence
from adapters_xitt.analysis.measures import Measure, measure
from adapters_xitt.analysis.statistics import ItemStatistics
from adapters_xitt.data.exposure import ZERO_SHOT
from adapters_xitt.data.mixture import ENGLISH
from adapters_xitt.errors import XittError
from adapters_xitt.study.results import DONE
from adapters_xitt.tasks import task

Column = tuple[str, str]  # target, language
Condition = list[str] | dict[str, Any] | None  # of languages: see `Question.languages`


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What is compared: rows of one method with their weights, on which targets and languages."""

    method: str
    weights: Mapping[RowName, float]
    targets: tuple[str, ...]
    languages: Condition = None
    measure: str = "score"
    general: bool = False  # whether the languages are a sample of languages in general


@dataclass(frozen=True, eq=False)
class Comparison:
    """A weighted difference of rows, and what it is over."""

    effect: Effect
    seeds: tuple[int, ...]
    languages: Mapping[str, tuple[str, ...]]  # target -> those counted
    items: int  # tested, over all languages
    by_language: Mapping[Column, Effect]
    remarks: tuple[str, ...]  # what was left out, and why


def compare(difference: Difference, evidence: Evidence) -> Comparison:
    """The difference of rows over what all of them have. A `XittError` where nothing is left to
    compare."""
    chosen = _Choice.of(difference, evidence)
    statistics = _Statistics(evidence, difference, chosen.seeds)
    values: dict[Column, NDArray] = {}
    contributions: dict[Column, Contributions] = {}
    for column in chosen.columns:
        values[column], contributions[column] = statistics.of(column)
    by_target = {
        target: tuple(code for name, code in chosen.columns if name == target)
        for target in difference.targets
        if any(name == target for name, _ in chosen.columns)
    }
    layout = _Layout(by_target, values, contributions)
    strata = layout.of_languages() if difference.general else layout.of_items()
    return Comparison(
        effect=effect(layout.by_seed(), strata),
        seeds=chosen.seeds,
        languages=by_target,
        items=sum(len(each.ids) for each in contributions.values()),
        by_language={
            column: effect(values[column], [Stratum(contributions[column].parts)])
            for column in chosen.columns
        },
        remarks=(*chosen.remarks, *statistics.remarks),
    )


@dataclass(frozen=True)
class _Choice:
    """The seeds and columns in which every row has a score."""

    seeds: tuple[int, ...]
    columns: tuple[Column, ...]
    remarks: tuple[str, ...]

    @classmethod
    def of(cls, difference: Difference, evidence: Evidence) -> _Choice:
        rows = difference.weights
        entries = evidence.of_rows(difference.method, difference.targets, rows)
        asked, remarks = _asked_columns(difference.languages, entries)
        entries = [entry for entry in entries if (entry["target"], entry["language"]) in asked]
        done = [entry for entry in entries if entry["status"] == DONE]
        seeds = tuple(sorted({entry["seed"] for entry in done}))
        counts: dict[Column, int] = dict.fromkeys(asked, 0)
        for entry in done:
            counts[entry["target"], entry["language"]] += 1
        columns = [column for column in asked if counts[column] == len(seeds) * len(rows)]
        remarks += _missing(entries, [column for column in asked if column not in columns])
        if not columns or not seeds:
            raise XittError("; ".join(remarks) or "no language is left to compare the rows in")
        return cls(seeds, tuple(columns), tuple(remarks))


def _asked_columns(
    condition: Condition, entries: Sequence[Mapping[str, Any]]
) -> tuple[list[Column], list[str]]:
    """The columns that a question asks for: those it names; of a condition, and where it says
    nothing, those that no row has seen."""
    columns = list(dict.fromkeys((entry["target"], entry["language"]) for entry in entries))
    if isinstance(condition, list):
        return [column for column in columns if column[1] in condition], []
    seen = {
        (entry["target"], entry["language"])
        for entry in entries
        if entry["tag"] not in ("", ZERO_SHOT)
    }
    unseen = [column for column in columns if column not in seen]
    remarks = []
    if seen:
        codes = sorted({code for _, code in seen})
        remarks.append(f"not counted, since some row has seen them: {' '.join(codes)}")
    if condition is None:
        return unseen, remarks
    codes = list(dict.fromkeys(code for _, code in unseen))
    chosen = languages.select(codes, condition)
    if chosen.unknown:
        remarks.append(f"not counted, since the table doesn't know: {' '.join(chosen.unknown)}")
    return [column for column in unseen if column[1] in chosen.selected], remarks


def _missing(entries: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> list[str]:
    """Why columns aren't counted: a phrase for each status, with the languages."""
    reasons: dict[str, dict[str, None]] = {}
    for entry in entries:
        if (entry["target"], entry["language"]) in columns and entry["status"] != DONE:
            name = row_text((entry["intermediate"], entry["mode"]))
            reasons.setdefault(f"{entry['status']} in {name}", {})[entry["language"]] = None
    return [f"not counted, {reason}: {' '.join(codes)}" for reason, codes in reasons.items()]


class _Statistics:
    """What the rows of a difference have in each column."""

    def __init__(self, evidence: Evidence, difference: Difference, seeds: Sequence[int]) -> None:
        self.evidence, self.difference, self.seeds = evidence, difference, seeds
        self.measure: Measure = measure(difference.measure)
        self.remarks: list[str] = []

    def of(self, column: Column) -> tuple[NDArray, Contributions]:
        """The weighted difference of each seed [seeds], and what the items contribute to it."""
        values = np.zeros(len(self.seeds))
        ids: tuple[str, ...] = ()
        parts = np.zeros((len(self.seeds), 0))
        for index, seed in enumerate(self.seeds):
            for name, weight in self.difference.weights.items():
                statistics = self._of(column, name, seed)
                if statistics is None:
                    values[index] += weight * self._score(column, name, seed)
                    continue
                if not ids:
                    ids, parts = statistics.ids, np.zeros((len(self.seeds), len(statistics.ids)))
                if ids != statistics.ids:
                    raise XittError(
                        f"{column[0]} in {column[1]}: the rows were scored on different items"
                    )
                values[index] += weight * statistics.total
                parts[index] += weight * statistics.influences() / len(ids)
        return values, Contributions(ids, parts)

    def _of(self, column: Column, name: RowName, seed: int) -> ItemStatistics | None:
        target, code = column
        place = (self.difference.method, *name, target, code, seed)
        english = (self.difference.method, *name, target, ENGLISH, seed)
        return self.evidence.statistics(
            place, self.measure.statistics, english if self.measure.against_english else None
        )

    def _score(self, column: Column, name: RowName, seed: int) -> float:
        """The score of a cell whose items are not known apart."""
        target, code = column
        if self.measure.name != "score":
            raise XittError(f"{target}: its predictions don't tell {self.measure.name}")
        remark = f"{target} stores no gold beside its items: only seeds count as a source of chance"
        if remark not in self.remarks:
            self.remarks.append(remark)
        return self.evidence.score((self.difference.method, *name, target, code, seed))


@dataclass(frozen=True)
class _Layout:
    """Differences and contributions of columns, put together: the unweighted mean over targets of
    the unweighted mean over their languages."""

    languages: Mapping[str, tuple[str, ...]]
    values: Mapping[Column, NDArray]
    contributions: Mapping[Column, Contributions]

    def by_seed(self) -> NDArray:
        averages = [
            np.mean([self.values[target, code] for code in codes], axis=0)
            for target, codes in self.languages.items()
        ]
        return np.mean(averages, axis=0)

    def of_items(self) -> list[Stratum]:
        """Languages stand for themselves: what is sampled are the items of each."""
        strata: list[Stratum] = []
        for target, codes in self.languages.items():
            weight = 1 / (len(codes) * len(self.languages))
            each = [self.contributions[target, code] for code in codes]
            weighted = [Contributions(part.ids, weight * part.parts) for part in each]
            strata += item_strata(weighted, parallel=task(target).parallel)
        return strata

    def of_languages(self) -> list[Stratum]:
        """Languages are a sample: a stratum of languages for each target. What items do is in
        them."""
        return [
            Stratum(
                np.stack([self.values[target, code] for code in codes], axis=1)
                / (len(codes) * len(self.languages))
            )
            for target, codes in self.languages.items()
        ]
