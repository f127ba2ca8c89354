"""The answers to a recipe's questions and the state of its controls, in the words of every form of
the report."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from adapters_xitt.analysis.controls import MEANINGS, SAME_ROW, Control
from adapters_xitt.analysis.findings import Findings, answers_frame
from adapters_xitt.analysis.questions import Answer
from adapters_xitt.report.words import number, signed

HEADS = (
    "question",
    "effect",
    "95 % interval",
    "p, corrected",
    "verdict",
    "would have been found from",
)
UNKNOWN = "–"


@dataclass(frozen=True)
class AnswerLine:
    """An answer as a reader sees it."""

    cells: tuple[str, ...]  # as HEADS
    about: str  # the contrast, and what it is over
    remarks: tuple[str, ...]


def answer_lines(answers: Sequence[Answer]) -> list[AnswerLine]:
    """The answers, one line each; the method is named where there are several."""
    several = len({each.method for each in answers}) > 1
    return [_line(each, several) for each in answers]


def _line(each: Answer, several: bool) -> AnswerLine:
    effect, interval = each.effect, each.interval
    cells = (
        each.sentence + (f" ({each.method})" if several else ""),
        signed(effect.difference) if effect else UNKNOWN,
        f"{signed(interval[0])} to {signed(interval[1])}" if interval else UNKNOWN,
        p_text(each.p_corrected),
        each.verdict,
        UNKNOWN if each.detectable is None else number(each.detectable),
    )
    remarks = [*(each.comparison.remarks if each.comparison else ())]
    return AnswerLine(cells, _about(each), (*remarks, *([each.reason] if each.reason else [])))


def _about(each: Answer) -> str:
    """What a question was asked of: contrast, targets, languages, seeds, items."""
    targets = ", ".join(each.question.targets)
    parts = [each.contrast, f"{each.question.measure} on {targets}"]
    if each.comparison:
        codes = {code for part in each.comparison.languages.values() for code in part}
        sample = ", a sample of languages in general" if each.question.general else ""
        parts.append(f"{len(codes)} languages ({' '.join(sorted(codes))}){sample}")
        parts.append(f"{len(each.comparison.seeds)} seeds")
        parts.append(f"{each.comparison.items:,} items")
    if each.matters is not None:
        parts.append(f"matters from {number(each.matters)}")
    return "; ".join(parts)


def p_text(p_value: float | None) -> str:
    """Three decimals, and never 0."""
    if p_value is None:
        return UNKNOWN
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def failed_controls(controls: Sequence[Control]) -> list[str]:
    """A sentence for every control that is not as it must be."""
    several = _several(controls)
    return [
        f"control failed: {_control(each, several)}; {MEANINGS[each.kind]}"
        for each in controls
        if each.failed
    ]


def control_lines(controls: Sequence[Control]) -> dict[str, list[str]]:
    """Kind of control, with what it means → every control of that kind, with what was found."""
    lines, several = {}, _several(controls)
    for kind, meaning in MEANINGS.items():
        of_kind = [each for each in controls if each.kind == kind]
        exact = [each for each in of_kind if _is_exact(each)]
        states = [_state(each, several) for each in of_kind if each not in exact]
        if exact:
            states.append(f"as {'they' if len(exact) > 1 else 'it'} must be: {len(exact)}, all 0.0")
        lines[f"{kind}: {meaning}"] = states or ["not in this run"]
    return lines


def _is_exact(control: Control) -> bool:
    """Whether a row minus itself is what it must be: many of these are one line."""
    return control.kind == SAME_ROW and not (control.failed or control.unknown)


def _several(controls: Sequence[Control]) -> bool:
    """Whether the method is named, since there are several."""
    return len({each.answer.method for each in controls}) > 1


def _state(control: Control, several: bool) -> str:
    state = "failed" if control.failed else "not known" if control.unknown else "as it must be"
    return f"{state}: {_control(control, several)}"


def _control(control: Control, several: bool) -> str:
    each = control.answer
    shown = each.reason or "not scored"
    if each.effect and each.interval:
        low, high = map(signed, each.interval)
        shown = f"{signed(each.effect.difference)} ({low} to {high}), p {p_text(each.p_corrected)}"
    return each.sentence + (f" ({each.method})" if several else "") + f": {shown}"


def answers_csv(findings: Findings) -> str:
    """The answers as CSV; what is not known is empty."""
    text = io.StringIO()
    answers_frame(findings.answers).to_csv(text, index=False, quoting=csv.QUOTE_MINIMAL)
    return text.getvalue()


EXPLAINED = (
    "effect: the first row minus the second, in points, mean over seeds of the mean over languages;"
    " its interval counts seeds and test items (and languages, where they are a sample) as sources"
    " of chance",
    "p: two-sided, corrected over all questions of the recipe (Holm); a verdict needs 0.05 or less",
    "would have been found from: the smallest effect that these seeds, items and languages would"
    " have shown in 80 of 100 runs",
)
