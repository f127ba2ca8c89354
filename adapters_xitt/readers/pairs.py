"""Pairs of sentences: {id, group, a, b, label}; a group is a run of the same a, a label an index or None."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adapters_xitt.errors import DataError
from adapters_xitt.readers.base import NO_LABELS, Reading, index_of, label_of, runs
from adapters_xitt.readers.files import check_counts, csv_rows, get, json_of, lines_of

SICK_COLUMNS = ("pair_ID", "sentence_A", "sentence_B", "entailment_judgment")


def pairs_tsv(
    path: Path,
    *,
    split: str,
    labels: Sequence[str] | None,
    gold: Path | None = None,
    columns: tuple[int, int, int] = (0, 1, 2),
    header: bool = False,
    quoting: bool = True,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Reading:
    """Tab-separated pairs: `columns` are those of a, b and the label, `aliases` maps other spellings to labels.

    `quoting` reads quotes as `csv.writer` writes them, without it a quote is text. `gold` has one label per line and
    goes before the label column; `labels=None` reads no labels and leaves None.
    """
    lines = lines_of(path)
    table = csv_rows(path, lines) if quoting else [(n, line.split("\t")) for n, line in enumerate(lines, 1)]
    own = labels is not None and gold is None
    _check_widths(path, table, need=1 + max(columns if own else columns[:2]), labelled=own)
    table = table[header:]
    if not table:
        raise DataError(f"{path}: expected rows below the header, found none")
    if gold is not None:
        named = [(f"{gold}:{n}", line.strip()) for n, line in enumerate(lines_of(gold), 1)]
        check_counts(gold, len(named), other=path, wanted=len(table), what="row")
    else:
        named = [(f"{path}:{n}", cells[columns[2]] if own else "") for n, cells in table]
    index = index_of(labels, aliases)
    found = []
    for n, ((_, cells), (where, name)) in enumerate(zip(table, named, strict=True)):
        label = None if labels is None else label_of(name, index, where=where)
        found.append((f"{split}/{n}", cells[columns[0]], cells[columns[1]], label))
    return Reading(_pair_rows(found, split))


def sick_txt(path: Path, *, split: str, labels: Sequence[str]) -> Reading:
    """SICK's own layout, with its header; its labels are upper case, `labels` need not be."""
    table = [(n, line.split("\t")) for n, line in enumerate(lines_of(path), 1)]
    names = table[0][1]
    for name in SICK_COLUMNS:
        if name not in names:
            raise DataError(f"{path}:1: expected SICK's header, which has {name}, found {', '.join(names)}")
    _check_widths(path, table, need=len(names), labelled=False)
    at = [names.index(name) for name in SICK_COLUMNS]
    index = index_of(labels, {label.upper(): label for label in labels})
    found = []
    for n, cells in table[1:]:
        pair, a, b, name = (cells[column] for column in at)
        found.append((pair, a, b, label_of(name, index, where=f"{path}:{n}")))
    if not found:
        raise DataError(f"{path}: expected rows below the header, found none")
    return Reading(_pair_rows(found, split))


def snli_jsonl(path: Path, *, split: str, labels: Sequence[str]) -> Reading:
    """SNLI's and MultiNLI's own layout; rows on which the annotators did not agree ("-") are skipped."""
    index, found, skipped = index_of(labels), [], Counter()
    for n, line in enumerate(lines_of(path)):
        where = f"{path}:{n + 1}"
        row = json_of(line, path, first=n + 1)
        a, b, name = (get(row, key, kind=str, where=f"{where}: ") for key in ("sentence1", "sentence2", "gold_label"))
        if name == "-":
            skipped["no agreed label"] += 1
            continue
        found.append((str(row.get("pairID") or f"{split}/{n}"), a, b, label_of(name, index, where=where)))
    return Reading(_pair_rows(found, split), dict(skipped))


def _pair_rows(found: list[tuple[str, str, str, int | None]], split: str) -> list[dict[str, Any]]:
    return [
        {"id": own, "group": f"{split}/{run}", "a": a, "b": b, "label": label}
        for (own, a, b, label), run in zip(found, runs([a for _, a, _, _ in found]), strict=True)
    ]


def _check_widths(path: Path, table: Sequence[tuple[int, list[str]]], *, need: int, labelled: bool) -> None:
    """Raise a DataError unless all rows are as wide as the first, and that is wide enough."""
    line, width = table[0][0], len(table[0][1])
    if width < need:
        hint = NO_LABELS if labelled else ""
        raise DataError(f"{path}:{line}: expected {need} tab-separated columns, found {width}{hint}")
    for line, cells in table:
        if len(cells) != width:
            raise DataError(
                f"{path}:{line}: expected {width} columns, as in line {table[0][0]}, found {len(cells)}; "
                "look for a stray tab or quote"
            )
