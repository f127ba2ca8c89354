"""Tokens, and the lexicon of each language: tables of ready inflected forms, read from `lexicon/*.txt`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

UPOS = {"noun": "NOUN", "name": "PROPN", "adj": "ADJ", "num": "NUM", "verb": "VERB", "place": "NOUN", "time": "NOUN"}


class Token(NamedTuple):
    """A word, its universal part of speech, and the part of the scene it expresses ("" for none)."""

    word: str
    upos: str
    slot: str = ""


def tokens(cell: str, upos: str = "X", slot: str = "") -> list[Token]:
    """The tokens of one cell: words divided by spaces, each with `upos` or the tag written behind a slash."""
    found = []
    for piece in cell.split():
        word, _, tag = piece.partition("/")
        found.append(Token(word, tag or upos, slot))
    return found


class Words:
    """The lexicon of one language."""

    def __init__(self, language: str, tables: dict[str, dict[str, dict[str, str]]]):
        self.language = language
        self.tables = tables

    def form(self, kind: str, key: str, form: str) -> str:
        """The cell itself; a missing one is a mistake in the lexicon, never an empty word."""
        cell = self.tables[kind][key][form]
        if cell == "-":
            raise KeyError(f"{self.language}: no form {form!r} of {kind} {key!r}")
        return cell

    def say(self, kind: str, key: str, form: str, slot: str = "") -> list[Token]:
        """The tokens of one cell, tagged by its kind."""
        return tokens(self.form(kind, key, form), UPOS[kind], slot)

    def has(self, kind: str, key: str, form: str) -> bool:
        return self.tables[kind].get(key, {}).get(form, "-") != "-"

    def is_name(self, key: str) -> bool:
        return key in self.tables["name"]

    def nominal(self, key: str) -> str:
        """The table a nominal stands in: `name` or `noun`."""
        return "name" if self.is_name(key) else "noun"


def parse(text: str) -> dict[str, dict[str, dict[str, str]]]:
    """`@kind key | form …` opens a table; each line below it is a key and its cells; `=` repeats the cell before."""
    tables: dict[str, dict[str, dict[str, str]]] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("@"):
            table, columns = tables.setdefault(cells[0][1:], {}), cells[1:]
            continue
        for i, cell in enumerate(cells):
            if cell == "=":
                cells[i] = cells[i - 1]
        if cells[0] in table:
            raise ValueError(f"twice in one table: {line!r}")
        table[cells[0]] = dict(zip(columns, cells[1:], strict=True))
    return tables


@cache
def lexicon(language: str) -> Words:
    """The lexicon of a language, read once."""
    path = Path(__file__).parent / "lexicon" / f"{language}.txt"
    return Words(language, parse(path.read_text(encoding="utf-8")))
