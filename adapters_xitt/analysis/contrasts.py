"""Contrasts of rows, as a question writes them: `xnli@de+ru - xnli@en`, `mnli [stack] - none`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapters_xitt.errors import XittError, unknown

MINUS = " - "
ZERO = "zero"  # what a contrast is held against where no other is named
RowName = tuple[str, str]  # intermediate ("" in `none` and `lang`), mode

_NAMED = re.compile(r"(?P<name>.+?)(?:\s*\[(?P<mode>[^\]]*)\])?")
_LANGUAGES = re.compile(r"@([a-z+]+)")


@dataclass(frozen=True)
class Contrast:
    """The first row minus the second."""

    first: RowName
    second: RowName

    def __str__(self) -> str:
        return f"{row_text(self.first)}{MINUS}{row_text(self.second)}"


def row_text(row_name: RowName) -> str:
    """A row as a contrast writes it: `none`, `mnli [sequential]`."""
    intermediate, mode = row_name
    return f"{intermediate} [{mode}]" if intermediate else mode


def parse_contrast(text: str, rows: Sequence[RowName]) -> Contrast:
    """A contrast of two of a grid's `rows`. A `XittError` says what is wrong, with the nearest
    name."""
    problems = []
    for first, second in _splits(text):
        try:
            return Contrast(parse_row(first, rows), parse_row(second, rows))
        except XittError as error:
            problems.append(str(error))
    if not problems:
        raise XittError(
            f"contrast {text!r}: expected ROW - ROW, blanks around the minus, as in"
            f" {_example(rows)!r}"
        )
    raise XittError(f"contrast {text!r}: {problems[0]}")


def parse_row(text: str, rows: Sequence[RowName]) -> RowName:
    """One of a grid's `rows` by its name: the intermediate, or `none`, and its mode in brackets
    where the grid has it in several."""
    match = _NAMED.fullmatch(text.strip())
    name, mode = (match["name"], match["mode"]) if match else (text.strip(), None)
    named = [each for each in rows if _ordered(each[0] or each[1]) == _ordered(name)]
    if not named:
        raise XittError(
            unknown("row", name, list(dict.fromkeys(each[0] or each[1] for each in rows)))
        )
    chosen = [each for each in named if mode in (None, each[1])]
    if not chosen:
        raise XittError(f"{name}: {unknown('mode', str(mode), [each[1] for each in named])}")
    if len(chosen) > 1:
        ways = " or ".join(f"'{row_text(each)}'" for each in chosen)
        raise XittError(f"{name} stands there in several modes: write {ways}")
    return chosen[0]


def _splits(text: str) -> Iterator[tuple[str, str]]:
    """Every way to part a text at a minus; an expression may hold one itself."""
    for match in re.finditer(re.escape(MINUS), text):
        yield text[: match.start()], text[match.end() :]


def _ordered(name: str) -> str:
    """A name with the languages of its portions by alphabet: their order says nothing."""
    return _LANGUAGES.sub(lambda match: "@" + "+".join(sorted(match[1].split("+"))), name)


def _example(rows: Sequence[RowName]) -> str:
    first = next((each for each in rows if each[0]), rows[0] if rows else ("mnli", "sequential"))
    return f"{row_text(first)}{MINUS}none"
