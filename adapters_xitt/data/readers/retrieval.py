"""Sentences to find: {id, group, query, candidate, gold}; row n has query n, candidate n, and query
n's candidate."""

from __future__ import annotations

from pathlib import Path

from adapters_xitt.data.readers.base import Reading
from adapters_xitt.errors import DataError
from adapters_xitt.text_files import check_counts, lines_of, whole


def parallel_lines(
    path: Path, *, split: str, other: Path, gold: Path | None = None, inverse: bool = False
) -> Reading:
    """Tatoeba: `path` has the candidates (not English), `other` the English queries, line by line.

    In LASER's layout line n translates line n. XTREME sorts the queries: `gold` gives for each the
    number of its candidate, from 0; an `inverse` one gives for each candidate the number of its
    query, which the file itself can't tell. The id is the candidate's number in both layouts, so a
    pair has the same id."""
    candidates, queries = lines_of(path), lines_of(other)
    check_counts(other, len(queries), other=path, wanted=len(candidates), what="line")
    golds = list(range(len(queries)))
    if gold is None and len(queries) >= 20 and queries == sorted(queries):
        raise DataError(
            f"{other}:1: expected a translation of each line of {path}, found sorted lines, as"
            " XTREME leaves them; give its gold file"
        )
    if gold is not None:
        lines = lines_of(gold)
        check_counts(gold, len(lines), other=other, wanted=len(queries), what="line")
        golds = [
            _candidate(text, len(candidates), location=f"{gold}:{n}")
            for n, text in enumerate(lines, 1)
        ]
        first: dict[int, int] = {}
        for n, index in enumerate(golds, 1):
            if first.setdefault(index, n) != n:
                raise DataError(
                    f"{gold}:{n}: expected each number once, found {index} of line {first[index]}"
                    " again"
                )
        if inverse:
            golds = sorted(range(len(golds)), key=golds.__getitem__)
    examples = [
        {
            "id": f"{split}/{index}",
            "group": f"{split}/{index}",
            "query": query,
            "candidate": candidate,
            "gold": index,
        }
        for query, candidate, index in zip(queries, candidates, golds, strict=True)
    ]
    return Reading(examples)


def _candidate(text: str, count: int, *, location: str) -> int:
    number = whole(text, below=count)
    if number is None:
        raise DataError(
            f"{location}: expected a line number from 0 to {count - 1}, found {text[:40]!r}"
        )
    return number
