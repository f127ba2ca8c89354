"""Pairs of sentences: {id, group, a, b, label}; a group is a run of the same a, a label an index or
None."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adapters_xitt.data.readers.base import NO_LABELS, Reading, index_of, label_of, runs
from adapters_xitt.errors import DataError, unknown
from adapters_xitt.text_files import check_counts, csv_rows, get, lines_of, objects, whole

SNLI_KEYS = ("sentence1", "sentence2", "gold_label")
SICK_COLUMNS = ("pair_ID", "sentence_A", "sentence_B", "entailment_judgment")


# id, a, b and the number of the label
Pair = tuple[str, str, str, int | None]


@dataclass(frozen=True)
class PairsLayout:
    """How a file has its pairs in columns; what a recipe may say of it under `options`."""

    # those of a, b and the label: numbers from 0, or names in the file's header
    columns: Sequence[int] | Sequence[str] = (0, 1, 2)
    own: int | str | None = None  # that of an id, where there is one
    header: bool = False
    quoting: bool = True  # quotes are as `csv.writer` writes them; else a quote is text
    delimiter: str = "\t"
    aliases: Mapping[str, str] = field(default_factory=dict)  # other spellings of labels
    # The number with which the ids of a split begin: an id is then the row that it is of the split
    # it was translated from.
    first: Mapping[str, int] = field(default_factory=dict)

    def table(self, path: Path) -> list[tuple[int, list[str]]]:
        """The rows of a file, each as its line and its cells."""
        lines = lines_of(path)
        if self.quoting:
            return csv_rows(path, lines, delimiter=self.delimiter)
        return [(n, line.split(self.delimiter)) for n, line in enumerate(lines, 1)]

    def identifier(self, cell: str, split: str, location: str) -> str:
        """The id in a cell of the column `own`."""
        if split not in self.first:
            return cell
        first = self.first[split]
        number = whole(cell, below=2**31)
        if number is None or number < first:
            raise DataError(f"{location}: expected an id of at least {first}, found {cell[:40]!r}")
        return f"{split}/{number - first}"


def pairs_tsv(
    path: Path,
    *,
    split: str,
    labels: Sequence[str] | None,
    gold: Path | None = None,
    **layout: Any,
) -> Reading:
    """Tab-separated pairs; `layout` are fields of `PairsLayout`.

    `gold` has one label per line and goes before the label column; `labels=None` reads no labels
    and leaves None."""
    form = PairsLayout(**layout)
    table = form.table(path)
    inside = labels is not None and gold is None
    wanted = [*(form.columns if inside else form.columns[:2])]
    wanted += [] if form.own is None else [form.own]
    positions = _column_numbers(path, table[0][1], wanted)
    _check_widths(path, table, need=1 + max(positions), labelled=inside)
    table = table[form.header or isinstance(wanted[0], str) :]
    if not table:
        raise DataError(f"{path}: expected rows below the header, found none")
    if gold is not None:
        located_labels = [(f"{gold}:{n}", line.strip()) for n, line in enumerate(lines_of(gold), 1)]
        check_counts(gold, len(located_labels), other=path, wanted=len(table), what="row")
    else:
        located_labels = [
            (f"{path}:{n}", cells[positions[2]] if inside else "") for n, cells in table
        ]
    index = index_of(labels, form.aliases)
    pairs: list[Pair] = []
    for n, ((_, cells), (location, name)) in enumerate(zip(table, located_labels, strict=True)):
        label = None if labels is None else label_of(name, index, location=location)
        identifier = f"{split}/{n}"
        if form.own is not None:
            identifier = form.identifier(cells[positions[-1]], split, location)
        pairs.append((identifier, cells[positions[0]], cells[positions[1]], label))
    return Reading(_pair_examples(pairs, split))


def mnli(
    path: Path,
    *,
    split: str,
    labels: Sequence[str] | None,
    gold: Path | None = None,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Reading:
    """MultiNLI in any of its layouts: its own JSON lines (`.jsonl`), GLUE's table, which a header
    names, and XTREME's, three columns without one."""
    if Path(path).name.removesuffix(".gz").endswith(".jsonl"):
        return snli_jsonl(path, split=split, labels=labels or (), aliases=aliases)
    if "gold_label" in lines_of(path)[0].split("\t"):
        return pairs_tsv(
            path,
            split=split,
            labels=labels,
            gold=gold,
            columns=SNLI_KEYS,
            own="pairID",
            quoting=False,
            aliases=aliases,
        )
    return pairs_tsv(path, split=split, labels=labels, gold=gold, aliases=aliases)


def sick_txt(path: Path, *, split: str, labels: Sequence[str]) -> Reading:
    """SICK's own layout, with its header; its labels are upper case, `labels` need not be."""
    table = [(n, line.split("\t")) for n, line in enumerate(lines_of(path), 1)]
    names = table[0][1]
    for name in SICK_COLUMNS:
        if name not in names:
            raise DataError(
                f"{path}:1: expected SICK's header, which has {name}, found {', '.join(names)}"
            )
    _check_widths(path, table, need=len(names), labelled=False)
    positions = [names.index(name) for name in SICK_COLUMNS]
    index = index_of(labels, {label.upper(): label for label in labels})
    pairs: list[Pair] = []
    for n, cells in table[1:]:
        pair, a, b, name = (cells[column] for column in positions)
        pairs.append((pair, a, b, label_of(name, index, location=f"{path}:{n}")))
    if not pairs:
        raise DataError(f"{path}: expected rows below the header, found none")
    return Reading(_pair_examples(pairs, split))


def snli_jsonl(
    path: Path,
    *,
    split: str,
    labels: Sequence[str],
    columns: Sequence[str] = SNLI_KEYS,
    own: str = "pairID",
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Reading:
    """SNLI's and MultiNLI's own layout; rows on which the annotators did not agree ("-") are
    skipped.

    ANLI's is the same under other names: `columns` are the keys of a, b and the label, `own` that
    of the id."""
    index = index_of(labels, aliases)
    pairs: list[Pair] = []
    skipped: Counter[str] = Counter()
    for n, location, record in objects(path):
        a, b, name = (get(record, key, kind=str, location=location) for key in columns)
        if name == "-":
            skipped["no agreed label"] += 1
            continue
        pairs.append(
            (
                str(record.get(own) or f"{split}/{n}"),
                a,
                b,
                label_of(name, index, location=location.rstrip(": ")),
            )
        )
    return Reading(_pair_examples(pairs, split), dict(skipped))


def _pair_examples(pairs: Sequence[Pair], split: str) -> list[dict[str, Any]]:
    return [
        {"id": identifier, "group": f"{split}/{run}", "a": a, "b": b, "label": label}
        for (identifier, a, b, label), run in zip(
            pairs, runs([a for _, a, _, _ in pairs]), strict=True
        )
    ]


def _column_numbers(
    path: Path, names: Sequence[str], wanted: Sequence[int] | Sequence[str]
) -> list[int]:
    """Columns by number; names are looked up in the header."""
    for name in wanted:
        if isinstance(name, str) and name not in names:
            raise DataError(
                f"{path}:1: expected a header."
                f" {unknown('column', name, [title[:40] for title in names])}"
            )
    return [names.index(name) if isinstance(name, str) else name for name in wanted]


def _check_widths(
    path: Path, table: Sequence[tuple[int, list[str]]], *, need: int, labelled: bool
) -> None:
    """Raise a DataError unless all rows are as wide as the first, and that is wide enough."""
    line, width = table[0][0], len(table[0][1])
    if width < need:
        hint = NO_LABELS if labelled else ""
        raise DataError(
            f"{path}:{line}: expected {need} tab-separated columns, found {width}{hint}"
        )
    for line, cells in table:
        if len(cells) != width:
            raise DataError(
                f"{path}:{line}: expected {width} columns, as in line {table[0][0]}, found"
                f" {len(cells)}; look for a stray tab or quote"
            )
