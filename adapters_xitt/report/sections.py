"""A part of the report that is a table with sentences around it, the same on a terminal and as
Markdown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A heading, sentences, a table of texts and what is to be known of it."""

    heading: str
    about: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    remarks: tuple[str, ...] = ()
    left: int = 1  # columns of words, on the left; the others are numbers
