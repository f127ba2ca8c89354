"""What a module is trained on: portions of tasks in languages, and how several are mixed, one per
optimiser step.

`squad` · `squad@es` · `xnli@de+ru+sw` · `squad:permuted` (a control) · `squad:text` (its texts,
masked words)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.hashing import digest
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.tasks import TASKS, Task, task

ENGLISH = "en"  # the language of training where nothing else is said
VARIANTS = {
    "permuted": (
        "its labels permuted among its examples: the same text and steps, nothing to learn from"
        " labels"
    ),
    "text": "masked words of its texts: the same text, no labels",
}
SAMPLING = {
    "proportional": "as many steps as a task has examples",
    "even": "the same number of steps for every task",
    "temperature": "examples to the power 1/temperature",
}
RANDOM = "random"  # the untrained module of the capacity control
_PORTION = re.compile(r"(?P<task>[^@:]+)(?:@(?P<languages>[^:]+))?(?::(?P<variant>.+))?")


@dataclass(frozen=True)
class Portion:
    """Training data of one task: in which languages, at most how many examples, and what was done
    to them."""

    task: str
    languages: tuple[str, ...] = (ENGLISH,)
    variant: str = ""  # a key of VARIANTS
    examples: int | None = None
    labels: tuple[str, ...] = ()  # of a task whose labels only its data knows

    @property
    def text(self) -> str:
        """The text form, which `portion` reads; the number of examples is not part of it."""
        languages = "" if self.languages == (ENGLISH,) else "@" + "+".join(self.languages)
        return self.task + languages + (f":{self.variant}" if self.variant else "")

    @property
    def record(self) -> Task:
        """The task that is trained: the task itself, or masked words of its texts."""
        base = task(self.task)
        if self.variant != "text":
            return replace(base, labels=self.labels) if self.labels else base
        return replace(
            task("text"),
            name=f"{base.name}:text",
            origin=base.origin,
            parallel=base.parallel,
            derived_from=base.derived_from,
        )


@dataclass(frozen=True)
class Mixture:
    """Portions trained as one module. `shares` fixes the share of steps of some (masked words,
    say); the others share the rest by `sampling`. No portion at all is the random module of the
    capacity control."""

    name: str
    portions: tuple[Portion, ...]
    sampling: str = "proportional"
    temperature: float = 1.0
    cap: int | None = None  # examples that a task counts as, at most
    # within a portion: all examples, or "even": each language cut to the smallest
    languages: str = "proportional"
    shares: tuple[tuple[str, float], ...] = ()  # a portion's text form and its share

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks trained, each once."""
        return tuple({part.record.name: part.record for part in self.portions}.values())

    @property
    def text(self) -> str:
        """The text forms of its portions: what first values are drawn for. The name is people's and
        decides nothing."""
        return "+".join(part.text for part in self.portions) or RANDOM

    def record(self) -> dict[str, Any]:
        """As JSON, for manifests; without the name."""
        record = asdict(self)
        del record["name"]
        for part in record["portions"]:
            if not part["labels"]:
                del part["labels"]
        return json.loads(json.dumps(record))  # lists, as a file gives them back

    def epoch(self, sizes: Sequence[int], batches: Sequence[int]) -> float:
        """Optimiser steps of one pass: every task's own, of `sizes` examples in batches of
        `batches`, added up; what has a fixed share comes on top (jiant's rule)."""
        fixed = dict(self.shares)
        free = sum(
            math.ceil((min(size, self.cap) if self.cap else size) / batch)
            for part, size, batch in zip(self.portions, sizes, batches, strict=True)
            if part.text not in fixed
        )
        return free / (1 - sum(fixed.values()))

    def probabilities(self, sizes: Sequence[int]) -> list[float]:
        """The share of optimiser steps of every portion, from its number of examples; they sum to
        one."""
        fixed = dict(self.shares)
        capped = [min(size, self.cap) if self.cap else size for size in sizes]
        power = {"proportional": 1.0, "even": 0.0, "temperature": 1 / self.temperature}[
            self.sampling
        ]
        free = [
            0.0 if part.text in fixed else float(size) ** power
            for part, size in zip(self.portions, capped, strict=True)
        ]
        rest = (1 - sum(fixed.values())) / sum(free) if any(free) else 0.0
        return [
            fixed.get(part.text, weight * rest)
            for part, weight in zip(self.portions, free, strict=True)
        ]


def single(text: str, *, examples: int | None = None) -> Mixture:
    """The mixture of one portion in its text form, or `random`."""
    if text == RANDOM:
        return Mixture(RANDOM, ())
    return Mixture(text, (replace(portion(text), examples=examples),))


def from_record(name: str, record: Any) -> Mixture:
    """The mixture whose `record()` this is, under the name people gave it; a `XittError` where it
    is none."""
    known = {field.name for field in fields(Mixture)} - {"name"}
    if (
        not isinstance(record, dict)
        or set(record) != known
        or not isinstance(record["portions"], list)
    ):
        raise XittError(f"mixture: an object with {', '.join(sorted(known))} is needed")
    portions = tuple(map(_portion_from_record, record["portions"]))
    _check_sampling(record)
    return Mixture(
        name,
        portions,
        record["sampling"],
        float(record["temperature"]),
        record["cap"],
        record["languages"],
        tuple((text, share) for text, share in record["shares"]),
    )


def _portion_from_record(record: Any) -> Portion:
    """A portion as `Mixture.record` writes it; a `XittError` where it is none."""
    known = {field.name for field in fields(Portion)}
    if not isinstance(record, dict) or set(record) - known or known - {"labels"} - set(record):
        raise XittError(
            "mixture: a portion has task, languages, variant, examples, and labels where only"
            " its data knows them"
        )
    languages, labels = record["languages"], record.get("labels", [])
    words = isinstance(record["task"], str) and isinstance(record["variant"], str)
    if not (words and _strings(languages) and _strings(labels) and _counts(record["examples"])):
        raise XittError(
            "mixture: a portion's task and variant are words, its languages and labels lists"
            f" of them, its examples a whole number or null, not {str(record)[:200]}"
        )
    parsed = Portion(
        record["task"], tuple(languages), record["variant"], record["examples"], tuple(labels)
    )
    # unknown words are refused by name
    if portion(parsed.text) != replace(parsed, examples=None, labels=()):
        raise XittError(f"mixture: {record['task'][:80]!r} is no task's name")
    return parsed


def _check_sampling(record: dict[str, Any]) -> None:
    """Raises where the shares, the sampling or the cap of a record are none."""
    shares, temperature = record["shares"], record["temperature"]
    if not isinstance(shares, list) or not all(map(_named_share, shares)):
        raise XittError("mixture: shares are pairs of a portion and a share from 0 to below 1")
    ways = ("proportional", "even")
    if record["sampling"] not in tuple(SAMPLING) or record["languages"] not in ways:
        raise XittError(
            f"mixture: sampling is one of {', '.join(SAMPLING)}, languages proportional or even"
        )
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, (int, float))
        or not 0 < temperature <= 1000
    ):
        raise XittError(
            f"mixture: a temperature is above 0 and at most 1000, not {str(temperature)[:40]}"
        )
    if not _counts(record["cap"]):
        raise XittError(f"mixture: a cap is a whole number or null, not {str(record['cap'])[:40]}")


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _named_share(value: Any) -> bool:
    """Whether it is a portion's text and a share."""
    pair = isinstance(value, list) and len(value) == 2
    return pair and isinstance(value[0], str) and _share(value[1])


def _counts(value: Any) -> bool:
    """Whether it is a number of examples, or none."""
    return value is None or (type(value) is int and 0 <= value < 2**48)


def _share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


def portion(text: str) -> Portion:
    """The portion written in `text`; a `XittError` that names what is unknown."""
    match = _PORTION.fullmatch(text)
    if not match:
        raise XittError(
            f"{text!r}: write a task, with languages and a variant where wanted: squad, squad@es, "
            "xnli@de+ru, squad:permuted"
        )
    name, variant = match["task"], match["variant"] or ""
    languages = tuple(match["languages"].split("+")) if match["languages"] else (ENGLISH,)
    if name not in TASKS:
        raise XittError(unknown("task", name, (*TASKS, RANDOM)))
    if not TASKS[name].trains:
        raise XittError(f"{name} trains nothing; training needs a task with labels or text")
    if variant and variant not in VARIANTS:
        raise XittError(f"{text}: {unknown('variant', variant, VARIANTS)}")
    for code in languages:
        if code not in LANGUAGES:
            raise XittError(f"{text}: {unknown('language', code, LANGUAGES)}")
        if languages.count(code) > 1:
            raise XittError(f"{text}: {code} stands there twice")
    return Portion(name, languages, variant)


def space(trained: Task) -> str:
    """The name of a task's label space; tasks of one space share a head."""
    return space_of(trained.kind, trained.labels)


def space_of(kind: str, labels: Sequence[str]) -> str:
    """The name of the label space of a kind and its labels, in their order."""
    return f"{kind}{len(labels)}_{digest(list(labels))[:6]}" if labels else kind


def schedule(probabilities: Sequence[float], steps: int) -> np.ndarray:
    """Which portion each step trains [steps]: after every step, each has had its share to within a
    step and a half.

    The portion furthest behind its share comes next, so that a resumed run needs nothing but the
    step's number."""
    shares, taken = np.asarray(probabilities), np.zeros(len(probabilities))
    portion_of_step = np.zeros(steps, dtype=np.int64)
    for step in range(steps):
        portion_of_step[step] = int(np.argmax(shares * (step + 1) - taken))
        taken[portion_of_step[step]] += 1
    return portion_of_step


def texts_of(examples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every text of the rows once, as rows of masked language modelling that keep the ids they came
    from."""
    by_text: dict[str, dict[str, Any]] = {}
    for example in examples:
        parts = (
            [" ".join(example["words"])]
            if "words" in example
            else [
                example[name]
                for name in ("a", "b", "question", "context", "prompt", "text")
                if example.get(name)
            ]
        )
        parts += [choice for choice in example.get("choices", ())]
        for text in parts:
            by_text.setdefault(
                text,
                {"id": example["id"], "group": example.get("group", example["id"]), "text": text},
            )
    return list(by_text.values())
