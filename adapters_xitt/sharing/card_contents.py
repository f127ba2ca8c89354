"""What a card is written from, and values that others wrote as text in which nothing acts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters_xitt.errors import XittError
from adapters_xitt.hub import Reference
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.study.results import DONE, Result
from adapters_xitt.text import printable

TAG = "adapters-xitt"  # what a search for modules asks for
_FOLDER = re.compile(r"[a-z0-9/_-]*")


@dataclass(frozen=True, kw_only=True)
class Form:
    """The same weights as another library keeps them, in the repository."""

    engine: str  # adapters | peft: the library that reads it
    # below the repository; empty: the repository itself, which the library loads by its name
    folder: str = ""
    # folders of the parts that go under it (adapters) or beside it (peft), bottom first
    below: tuple[str, ...] = ()
    head: str = ""  # the kind of the head that goes along: a key of PIPELINES
    labels: tuple[str, ...] = ()  # what its outputs mean, in order

    def __post_init__(self) -> None:
        if bad := [name for name in (self.folder, *self.below) if not _FOLDER.fullmatch(name)]:
            raise XittError(
                f"folder {bad[0]!r}: it stands in a snippet that people run; a-z, 0-9, '/', '_'"
                " and '-'"
            )


@dataclass(frozen=True, kw_only=True)
class Card:
    """All that a card is written from."""

    repo: str
    manifest: Manifest
    base: Reference | None = None  # the encoder on the hub; None: it is not there, or nobody said
    # key → the modules that it was trained above, beside or over
    parts: Mapping[str, Manifest] | None = None
    forms: Sequence[Form] = ()
    results: Sequence[Result] = ()  # its own, and those of the same row with other seeds
    # `none` and the controls: name → results, every seed
    beside: Mapping[str, Sequence[Result]] | None = None
    licence: str | None = None
    seen: Sequence[str] = ()  # what the encoder's own training had


def code(value: Any, most: int = 160) -> str:
    """A value as a code span: one line, nothing of it is markup."""
    words = printable(value, most=most)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", words)), default=0))
    pad = " " if "`" in words else ""
    return f"{fence}{pad}{words}{pad}{fence}" if words else "–"


def _cell(text: str) -> str:
    """Text in a table: a bar would end the cell, in a code span too."""
    return text.replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def language_name(value: Any) -> str:
    """A language as people call it; a code that nobody knows as a code span."""
    known = LANGUAGES.get(value) if isinstance(value, str) else None
    return f"{known.name} ({known.code})" if known else code(value, 40)


def number_text(value: Any, form: str = ".1f") -> str:
    """A number as `form` has it; what is none as a code span."""
    return (
        format(value, form)
        if isinstance(value, int | float) and not isinstance(value, bool)
        else code(value, 40)
    )


def bare(name: str) -> str:
    """An encoder's name without the folders that it lay in."""
    return (
        name.rstrip("/").rpartition("/")[2]
        if name.startswith(("/", ".", "~")) or "\\" in name
        else name
    )


def scores(card: Card) -> list[tuple[Result, list[float]]]:
    """The module's own results, each with the headline of every seed of its row, its own among
    them."""
    places: dict[tuple[str, ...], list[Result]] = {}
    for result in card.results:
        if result.status == DONE:
            places.setdefault(place_of(result), []).append(result)
    rows = []
    for results in places.values():
        context = card.manifest.context
        first = next((each for each in results if each.cell.composition == context), None)
        if first:
            # one number a seed: the module's own for its own
            seeds = {each.cell.seed: each for each in [*results, first]}
            rows.append((first, [each.scores[each.headline] for each in seeds.values()]))
    return rows


def place_of(result: Result) -> tuple[str, ...]:
    """What a number is of, seed and module left out."""
    cell = result.cell
    return (
        cell.task,
        cell.language,
        cell.split,
        cell.convention,
        cell.precision,
        cell.data,
        str(cell.lengths),
    )
