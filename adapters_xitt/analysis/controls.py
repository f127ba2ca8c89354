"""What a grid must show if its numbers mean anything: its positive and negative controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters_xitt.analysis.contrasts import Contrast, RowName
from adapters_xitt.analysis.evidence import Evidence
from adapters_xitt.analysis.questions import HOLDS, Answer, Subject, answer
from adapters_xitt.data.mixture import RANDOM
from adapters_xitt.study.results import NOT_APPLICABLE
from adapters_xitt.tasks import task

if TYPE_CHECKING:
    from adapters_xitt.study.recipe.document import Recipe

NONE: RowName = ("", "none")
PERMUTED = ":permuted"

# Kinds of controls: what each must show, and what it means where it doesn't.
OWN_TASK, SAME_ROW, NO_TEACHER = "own task", "same row", "nothing to learn"
MEANINGS = {
    OWN_TASK: (
        "the target's own task first must help; where it doesn't, this run can't find even that"
    ),
    SAME_ROW: "a row minus itself must be exactly 0",
    NO_TEACHER: (
        "permuted labels and random modules have nothing to teach; where they help, a gain of the"
        " others isn't what they taught"
    ),
}


@dataclass(frozen=True)
class Control:
    """One control on one target: what was found, and whether it is as it must be."""

    kind: str  # a key of MEANINGS
    answer: Answer

    @property
    def failed(self) -> bool:
        """Whether it shows what it must not, or doesn't show what it must."""
        effect = self.answer.effect
        if self.kind == SAME_ROW:
            return effect is not None and effect.difference != 0
        if self.kind == OWN_TASK:
            return self.answer.verdict != HOLDS
        return self.answer.verdict == HOLDS

    @property
    def unknown(self) -> bool:
        """Whether there is no answer at all: one seed, nothing scored."""
        return self.answer.effect is None or self.answer.effect.p_value is None


def controls(recipe: Recipe, evidence: Evidence) -> list[Control]:
    """The controls that a grid has rows for, on each target and for each method; p-values are
    corrected over the controls of a kind."""
    of_kinds: dict[str, list[Subject]] = {kind: [] for kind in MEANINGS}
    for kind, subject in _subjects(recipe, evidence.grid):
        of_kinds[kind].append(subject)
    return [
        Control(kind, each) for kind, asked in of_kinds.items() for each in answer(asked, evidence)
    ]


def _subjects(recipe: Recipe, grid: Mapping[str, Any]) -> Iterator[tuple[str, Subject]]:
    """The contrasts of the controls, with the kind of each."""
    from adapters_xitt.study.recipe.document import Question

    there = dict.fromkeys(
        (entry["method"], entry["target"], (entry["intermediate"], entry["mode"]))
        for entry in grid["entries"]
        if entry["status"] != NOT_APPLICABLE
    )
    for method, target, name in there:
        if (method, target, NONE) not in there:
            continue
        kind = _kind(recipe, target, name)
        if kind:
            sentence = f"{name[0] or 'none'} on {target}"
            question = Question(contrast="", on=target)
            contrast = Contrast(name, NONE)
            yield kind, Subject(sentence, question, method, contrast, None, None)


def _kind(recipe: Recipe, target: str, name: RowName) -> str:
    """Which control a row is on a target; empty where it is none."""
    intermediate, mode = name
    if name == NONE:
        return SAME_ROW
    if intermediate.endswith(PERMUTED) or intermediate == RANDOM:
        return NO_TEACHER
    if task(target).trains and mode == "sequential":
        portion = recipe.training_portion(task(target))
        if intermediate in (portion.text, target):
            return OWN_TASK
    return ""
