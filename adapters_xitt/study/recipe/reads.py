"""Which keys a command reads: an override that nothing reads is a mistake, never silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters_xitt.data.mixture import Portion, portion
from adapters_xitt.errors import Problems, nearest
from adapters_xitt.study.recipe.document import Recipe
from adapters_xitt.tasks import TASKS, task

# The keys below `tasks.X` that are read where X's data trains something, where X is tested, and
# where X is what trains but another task's data does it.
TRAINED = frozenset(
    {
        "files",
        "gold",
        "train",
        "selection",
        "examples",
        "options",
        "training",
        "lengths",
        "convention",
    }
)
TESTED = frozenset(
    {
        "languages",
        "files",
        "gold",
        "test",
        "options",
        "layer",
        "convention",
        "lengths",
        "trained_on",
        "train",
    }
)
NAMED = frozenset({"trained_on", "train"})
HOME = "trained_in"

_GRID = "it is of a grid: xitt run and xitt plan read it"
# Keys that a command leaves unread, and what it reads instead.
TRAIN = {
    "targets": "it trains TASK alone",
    "intermediates": "it trains TASK alone",
    "compositions": _GRID,
    "controls": _GRID,
    "sweep": _GRID,
    "language_modules": _GRID,
    "languages": "it tests nothing",
    "seen": "it tests nothing",
    "block_overlap": "it tests nothing",
    "calibration": _GRID,
    "modes": "--mode says it",
    "methods": "--method says it",
    "seeds": "--seed says it",
    "fusion_rate": "it trains no fusion",
    "examples": "tasks.TASK.examples cuts what is trained on",
}
SCORE = {
    "targets": "it scores the TASKs that are named",
    "intermediates": "it trains nothing",
    "compositions": _GRID,
    "controls": _GRID,
    "sweep": _GRID,
    "calibration": _GRID,
    "language_modules": "--lang says it",
    "modes": _GRID,
    "methods": "it trains nothing",
    "seeds": "it trains nothing",
    "fusion_rate": "it trains nothing",
    "examples": "it trains nothing",
    "training": "it trains nothing",
    "shared_start": "it trains nothing",
    "carry_pooler": "it trains nothing",
}
# Composing may train on top, and score.
COMPOSE = {
    key: TRAIN.get(key, reason)
    for key, reason in SCORE.items()
    if key not in ("training", "shared_start", "carry_pooler", "fusion_rate")
}


@dataclass(frozen=True)
class Reads:
    """What a command reads of a recipe."""

    command: str
    unread: Mapping[str, str]  # key -> what is read instead
    tested: Sequence[str] = ()  # tasks
    trained: Sequence[Portion] = ()  # what is trained on, under the name that was asked
    home: Sequence[str] = ()  # tasks whose own module is trained where `trained_in` says

    @classmethod
    def grid(cls, recipe: Recipe) -> Reads:
        """What running or planning a recipe reads."""
        portions = [part for mixture in recipe.mixtures() for part in mixture.portions]
        if "lang" in recipe.modes or any("$lang" in text for text in recipe.compositions):
            portions.append(recipe.language_portion("en"))
        return cls(
            "a grid",
            {},
            recipe.targets,
            portions,
            [name for name in recipe.targets if task(name).trains],
        )

    @classmethod
    def module(cls, text: str) -> Reads:
        """What training one module on a portion reads."""
        return cls("xitt train", TRAIN, **_trained_fields(text))

    @classmethod
    def expression(cls, trained: str | None, tested: Sequence[str]) -> Reads:
        """What training on top of an expression, or scoring it, reads."""
        if trained is None:
            return cls("scoring an expression", SCORE, tested)
        return cls("xitt compose --train", COMPOSE, tested, **_trained_fields(trained))


def check_overrides(recipe: Recipe, overrides: Iterable[str], reads: Reads) -> None:
    """A `XittError` that lists every override, `key=value`, which nothing reads, and what reads
    such a key."""
    problems, fields = Problems("command line"), _fields(recipe, reads)
    for text in overrides:
        key, *inner = text.partition("=")[0].split(".")
        if key in reads.unread:
            problems.add(f"{text}: {reads.command} doesn't read {key}: {reads.unread[key]}")
        elif key == "tasks" and inner and inner[0] not in fields:
            near = nearest(inner[0], fields)
            problems.add(
                f"{text}: {inner[0]} takes no part, so nothing reads it. "
                + (f"Did you mean tasks.{near}? " if near else "")
                + f"What takes part: {', '.join(fields) or 'no task'}"
            )
        elif key == "tasks" and len(inner) > 1 and inner[1] not in fields[inner[0]]:
            problems.add(
                f"{text}: nothing reads {inner[1]} of {inner[0]}:"
                f" {_reason(inner[0], inner[1], reads)}"
            )
    problems.raise_if_any()


def _trained_fields(text: str) -> dict[str, Sequence[Any]]:
    """What is trained on where a portion is named; `trained_in` says its languages where its text
    doesn't."""
    part = portion(text)
    return {"trained": [part], "home": [] if "@" in text else [part.task]}


def _fields(recipe: Recipe, reads: Reads) -> dict[str, set[str]]:
    """Task -> the keys below it that are read."""
    fields: dict[str, set[str]] = {}
    sources = recipe.sources(None)

    def add(name: str, keys: Iterable[str]) -> None:
        fields.setdefault(name, set()).update(keys)

    for name in reads.tested:
        add(name, TESTED)
    for name, home in [
        *((part.task, False) for part in reads.trained),
        *((name, True) for name in reads.home),
    ]:
        add(name, NAMED)
        by_itself = recipe.part(name).train and not home
        source = name if by_itself else sources.training_task(task(name))
        for trained in (source, *TASKS[source].joins):
            add(trained, TRAINED | ({HOME} if home else set()))
    return fields


def _reason(name: str, key: str, reads: Reads) -> str:
    """Why a key of a task that takes part is not read."""
    if key == HOME:
        return f"the languages that it is trained in are written with its name, {name}@de"
    if key in TRAINED:
        return "it is tested only"
    return "it is trained on only" if key in TESTED else "it is no key of a task"
