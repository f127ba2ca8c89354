"""Questions that a recipe asks of its grid, and their answers: effect, interval, verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters_xitt import languages
from adapters_xitt.analysis.comparison import Comparison, Difference, compare
from adapters_xitt.analysis.contrasts import ZERO, Contrast, RowName, parse_contrast
from adapters_xitt.analysis.effects import LEVEL, Effect
from adapters_xitt.analysis.evidence import Evidence
from adapters_xitt.analysis.measures import measure
from adapters_xitt.errors import Problems, XittError, unknown
from adapters_xitt.study.results import NOT_APPLICABLE

if TYPE_CHECKING:
    from adapters_xitt.study.recipe.document import Question, Recipe

HOLDS = "holds"
CONTRARY = "the contrary holds"
SMALL = "smaller than it would matter"
UNKNOWN = "can't be told from this run"
VERDICTS = (HOLDS, CONTRARY, SMALL, UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question, answered for one method. Effects are in the points of the measure."""

    sentence: str
    question: Question
    contrast: str  # as it was understood, with modes
    method: str
    matters: float | None  # the equivalence bound
    comparison: Comparison | None = None
    reason: str = ""  # why there is no answer
    # Holm's over all questions of the recipe: of no difference, and of one that matters
    p_corrected: float | None = None
    p_beyond_corrected: float | None = None
    asked: int = 1  # tests that the correction is over
    level: float = LEVEL

    @property
    def effect(self) -> Effect | None:
        """The difference, None where there is no answer."""
        return self.comparison.effect if self.comparison else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of 95 %, for this question alone."""
        return self.effect.interval(self.level) if self.effect else None

    @property
    def detectable(self) -> float | None:
        """The smallest effect that this many seeds, items and languages would have shown with a
        probability of 80 %, after the correction's hardest step."""
        if self.effect is None or self.effect.uncertainty is None:
            return None
        return self.effect.uncertainty.detectable(self.level / self.asked)

    @property
    def verdict(self) -> str:
        """What the run says of the sentence: that its difference is above zero."""
        if self.p_beyond_corrected is not None and self.p_beyond_corrected <= self.level:
            return SMALL
        if self.effect is None or self.p_corrected is None or self.p_corrected > self.level:
            return UNKNOWN
        return HOLDS if self.effect.difference > 0 else CONTRARY


@dataclass(frozen=True)
class Subject:
    """A question with its rows looked up, for one method."""

    sentence: str
    question: Question
    method: str
    contrast: Contrast
    against: Contrast | None
    matters: float | None

    @property
    def weights(self) -> dict[RowName, float]:
        """How much of each row is in the difference."""
        weights: dict[RowName, float] = {}
        for sign, contrast in ((1.0, self.contrast), (-1.0, self.against)):
            if contrast is not None:
                for weight, name in ((sign, contrast.first), (-sign, contrast.second)):
                    weights[name] = weights.get(name, 0.0) + weight
        return {name: weight for name, weight in weights.items() if weight} or {
            self.contrast.first: 0.0
        }

    @property
    def difference(self) -> Difference:
        """What is compared."""
        return Difference(
            method=self.method,
            weights=self.weights,
            targets=self.question.targets,
            languages=self.question.languages,
            measure=self.question.measure,
            general=self.question.general,
        )

    def __str__(self) -> str:
        return f"{self.contrast}" + (f" against {self.against}" if self.against else "")


def subjects(
    recipe: Recipe, entries: Sequence[Mapping[str, Any]], *, asked: Sequence[Any] | None = None
) -> list[Subject]:
    """The questions of a recipe (or others, `asked`), each for every method that has its rows. A
    `XittError` lists all that can't be asked of a grid with these entries."""
    problems, asked_of = Problems(f"questions of {recipe.name}"), []
    for mapping in recipe.questions if asked is None else asked:
        for sentence, question in mapping.items():
            try:
                asked_of += _subjects_of(sentence, question, recipe, entries)
            except XittError as error:
                problems.add(f"{sentence!r}: {error}")
    problems.raise_if_any()
    return asked_of


def _subjects_of(
    sentence: str, question: Question, recipe: Recipe, entries: Sequence[Mapping[str, Any]]
) -> list[Subject]:
    """One question, for every method that has its rows."""
    measure(question.measure)
    for target in question.targets:
        if target not in recipe.targets:
            raise XittError(unknown("target", target, recipe.targets))
    _check_languages(question, entries)
    rows = _rows(entry for entry in entries if entry["target"] in question.targets)
    contrast = parse_contrast(question.contrast, rows)
    against = None if question.against == ZERO else parse_contrast(question.against, rows)
    asked = _Asked(contrast, against)
    methods = [
        method
        for method in dict.fromkeys(entry["method"] for entry in entries)
        if question.method in (None, method, method.partition("(")[0])
    ]
    if not methods:
        known = list(dict.fromkeys(entry["method"] for entry in entries))
        raise XittError(unknown("method", str(question.method), known))
    able = [method for method in methods if asked.applicable(method, question.targets, entries)]
    if not able:
        raise XittError(f"{question.contrast}: no method of the recipe has these rows")
    matters = question.matters or recipe.matters
    return [Subject(sentence, question, method, contrast, against, matters) for method in able]


@dataclass(frozen=True)
class _Asked:
    contrast: Contrast
    against: Contrast | None

    def applicable(
        self, method: str, targets: Sequence[str], entries: Iterable[Mapping[str, Any]]
    ) -> bool:
        """Whether a method has every row on some target."""
        contrasts = filter(None, (self.contrast, self.against))
        wanted = {name for each in contrasts for name in (each.first, each.second)}
        there = {
            (entry["intermediate"], entry["mode"])
            for entry in entries
            if entry["method"] == method
            and entry["target"] in targets
            and entry["status"] != NOT_APPLICABLE
        }
        return wanted <= there


def _rows(entries: Iterable[Mapping[str, Any]]) -> list[RowName]:
    return list(dict.fromkeys((entry["intermediate"], entry["mode"]) for entry in entries))


def _check_languages(question: Question, entries: Iterable[Mapping[str, Any]]) -> None:
    """Languages that are tested, or a condition that the table of languages knows."""
    if isinstance(question.languages, dict):
        languages.check_filter(question.languages)
        return
    tested = dict.fromkeys(
        entry["language"] for entry in entries if entry["target"] in question.targets
    )
    for code in question.languages or ():
        if code not in tested:
            raise XittError(unknown("tested language", code, list(tested)))


def answer(asked: Sequence[Subject], evidence: Evidence) -> list[Answer]:
    """The answers, corrected over all of them together."""
    return corrected([_answer(subject, evidence) for subject in asked])


def _answer(subject: Subject, evidence: Evidence) -> Answer:
    """The answer to one question, not yet corrected."""
    blank = Answer(
        sentence=subject.sentence,
        question=subject.question,
        contrast=str(subject),
        method=subject.method,
        matters=subject.matters,
    )
    try:
        comparison = compare(subject.difference, evidence)
    except XittError as error:
        return replace(blank, reason=str(error))
    if comparison.effect.uncertainty is None:
        reason = "one seed: what another would give is not known"
        return replace(blank, comparison=comparison, reason=reason)
    return replace(blank, comparison=comparison)


def corrected(answers: Sequence[Answer]) -> list[Answer]:
    """The answers with their p-values corrected over all of them (Holm 1979), those of a difference
    and those of one that matters each by themselves."""
    asked = [answer for answer in answers if answer.effect and answer.effect.p_value is not None]
    different = holm([answer.effect.p_value for answer in asked if answer.effect])
    bounded = [answer for answer in asked if answer.matters is not None]
    beyond = holm(
        [answer.effect.p_beyond(answer.matters or 0.0) for answer in bounded if answer.effect]
    )
    p_values = {id(answer): value for answer, value in zip(asked, different, strict=True)}
    p_beyond = {id(answer): value for answer, value in zip(bounded, beyond, strict=True)}
    return [
        replace(
            answer,
            p_corrected=p_values.get(id(answer)),
            p_beyond_corrected=p_beyond.get(id(answer)),
            asked=max(len(asked), 1),
        )
        for answer in answers
    ]


def holm(p_values: Sequence[float | None]) -> list[float]:
    """Holm's corrected p-values, in the order of those given."""
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return []
    return list(map(float, multipletests(np.array(p_values, dtype=float), method="holm")[1]))
