"""Where a task's rows come from: the data folder, a recipe's overrides, slices of a split."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters_xitt import readers
from adapters_xitt.digests import digest
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.lineage import DataSet, item_id, text_hash, texts
from adapters_xitt.tasks import Task

READERS: dict[str, Callable[..., readers.Reading]] = {
    "pairs_tsv": readers.pairs_tsv,
    "sick_txt": readers.sick_txt,
    "snli_jsonl": readers.snli_jsonl,
    "tags_tsv": readers.tags_tsv,
    "conllu": readers.conllu,
    "squad_json": readers.squad_json,
    "parallel_lines": readers.parallel_lines,
    "hellaswag_jsonl": readers.hellaswag_jsonl,
    "cosmosqa_csv": readers.cosmosqa_csv,
    "commonsenseqa_jsonl": readers.commonsenseqa_jsonl,
    "socialiqa_jsonl": readers.socialiqa_jsonl,
    "copa_jsonl": readers.copa_jsonl,
    "text_lines": readers.text_lines,
}

_SLICE = re.compile(r"(?P<split>[a-z]+)(?:\[(?P<start>\d+%?)?:(?P<stop>\d+%?)?\])?")


@dataclass(frozen=True)
class Override:
    """What a recipe says of one task's data; an empty field leaves the task's own."""

    files: Mapping[str, str] = field(default_factory=dict)  # split, or split@language, -> pattern
    gold: Mapping[str, str] = field(default_factory=dict)
    train: str | None = None
    selection: str | None = None
    test: str | None = None
    trained_on: str | None = None  # the task whose data trains this one
    options: Mapping[str, Any] = field(default_factory=dict)  # for the reader


@dataclass(frozen=True)
class Rows:
    """One split of a task in one language: rows with namespaced ids, and their digest."""

    task: Task
    language: str
    split: str
    rows: tuple[dict[str, Any], ...] = field(repr=False)
    digest: str
    skipped: Mapping[str, int]
    file: Path

    def only(self, kept: Sequence[dict[str, Any]]) -> Rows:
        """Some of the rows, as a split of their own."""
        return replace(self, rows=tuple(kept), digest=digest([self.task.name, list(kept)]))

    def data_set(self) -> DataSet:
        return DataSet(self.task.name, self.language, self.split, self.digest,
                       frozenset(row["id"] for row in self.rows),
                       frozenset(text_hash(text) for row in self.rows for text in texts(row)))


@dataclass(frozen=True)
class Sources:
    """The data folder and what a recipe overrides in it."""

    root: Path | None
    overrides: Mapping[str, Override] = field(default_factory=dict)

    def training_task(self, task: Task) -> str:
        """The task whose data trains `task`: itself where the recipe names its training split."""
        override = self.overrides.get(task.name, Override())
        own = task.name if override.train else task.trained_on
        return override.trained_on or own or task.name

    def train(self, task: Task, language: str, *, most: int | None = None) -> Rows:
        """The training rows, at most `most` of them."""
        override = self.overrides.get(task.name, Override())
        return self._read(task, override.train or task.train, language, most=most)

    def select(self, task: Task, language: str, *, most: int | None) -> Rows:
        """The rows that pick the best step, at most `most` of them."""
        override = self.overrides.get(task.name, Override())
        return self._read(task, override.selection or task.selection, language, most=most)

    def test(self, task: Task, language: str) -> Rows:
        """The rows that are scored."""
        return self._read(task, self.overrides.get(task.name, Override()).test or "test", language)

    def fit(self, task: Task, language: str) -> Rows:
        """The rows that a threshold is fitted on."""
        return self._read(task, task.fitted, language)

    def find(self, task: Task, split: str, language: str, *, gold: bool = False) -> Path | None:
        """The file of a split, or of the labels kept apart from it; None where the task has none to look for."""
        override = self.overrides.get(task.name, Override())
        own = _named(override.gold if gold else override.files, split, language)
        patterns = (own,) if own else (task.gold if gold else task.files).get(split, ())
        if not patterns or (gold and not own and _named(override.files, split, language)):
            return None  # labels kept apart belong to the task's own file, not to one that a recipe names
        tried = [self._place(in_language(pattern, language)) for pattern in patterns]
        for path in tried:
            if path.exists():
                return path
        if gold and not own:
            return None  # a split may carry its labels itself
        raise DataError(f"{tried[0]}: no such file; {task.name} {split} in {language!r} is read from it"
                        + "".join(f", or from {path}" for path in tried[1:]))

    def _place(self, relative: str) -> Path:
        path = Path(relative)
        if path.is_absolute():
            return path
        if self.root is None:
            raise XittError(f"where is {relative}? Set data.root in the recipe or the environment variable XITT_DATA")
        return self.root / path

    def _read(self, task: Task, reference: str, language: str, *, most: int | None = None) -> Rows:
        if task.reader not in READERS:
            raise XittError(f"task {task.name}: this version has no reader {task.reader!r} for its files yet")
        split, start, stop = parse_slice(reference)
        path = self.find(task, split, language)
        if path is None:
            have = ", ".join(task.files)
            raise XittError(f"task {task.name} has no split {split!r}; it has {have}")
        reading = self._call(task, split, language, path)
        kept = cut(reading.rows, start, stop)
        if most is not None and len(kept) > most:
            kept = sample(kept, most)
        if not kept:
            raise DataError(f"{path}: no row is left in {task.name} {reference} ({language})")
        rows = tuple({**row, "id": item_id(task, language, row["id"])} for row in kept)
        return Rows(task, language, reference, rows, digest([task.name, rows]), reading.skipped, path)

    def _call(self, task: Task, split: str, language: str, path: Path) -> readers.Reading:
        options = {**task.options, **self.overrides.get(task.name, Override()).options}
        if "other" in options:  # the second file of a pair, beside the first
            options["other"] = path.with_name(str(options["other"]).format(lang=language))
        gold = self.find(task, split, language, gold=True)
        if gold is not None:
            options["gold"] = gold
        if task.labels:
            options["labels"] = task.labels
        return READERS[task.reader](path, split=split, **options)


def _named(files: Mapping[str, str], split: str, language: str) -> str | None:
    """The file that a recipe names for a split in a language, or for the split in all."""
    return files.get(f"{split}@{language}") or files.get(split)


def in_language(pattern: str, language: str) -> str:
    """A file pattern with `{lang}` filled in."""
    try:
        return pattern.format(lang=language)
    except (KeyError, IndexError, ValueError):
        raise XittError(f"file pattern {pattern!r}: {{lang}} is the one thing that stands in braces") from None


def parse_slice(reference: str) -> tuple[str, str | None, str | None]:
    """`dev`, `dev[:80%]`, `train[100:600]` as split, start and stop."""
    found = _SLICE.fullmatch(reference)
    if not found:
        raise XittError(f"split {reference!r}: write 'dev', 'dev[:80%]', 'dev[80%:]' or 'train[:500]'")
    return found["split"], found["start"], found["stop"]


def cut(rows: list[dict], start: str | None, stop: str | None) -> list[dict]:
    """The rows of a slice; a group stands where its first row does, so that no premise, paragraph or article
    stands on both sides of a bound."""
    def bound(text: str | None, default: int) -> int:
        if text is None:
            return default
        return len(rows) * int(text[:-1]) // 100 if text.endswith("%") else int(text)

    first: dict[str, int] = {}
    places = [first.setdefault(row["group"], at) for at, row in enumerate(rows)]
    low, high = bound(start, 0), bound(stop, len(rows))
    return [row for row, place in zip(rows, places, strict=True) if low <= place < high]


def sample(rows: list[dict], most: int) -> list[dict]:
    """`most` rows chosen by the hash of their id, in file order: stable, and a smaller sample lies in a larger one."""
    by_hash = sorted(range(len(rows)), key=lambda at: hashlib.sha256(rows[at]["id"].encode()).digest())
    chosen = sorted(by_hash[:most])
    return [rows[at] for at in chosen]
