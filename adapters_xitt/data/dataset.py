"""Where a task's rows come from: the data folder, a recipe's overrides, slices of a split."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from adapters_xitt.data import readers
from adapters_xitt.data.exposure import DataSet, item_id
from adapters_xitt.errors import DataError, Problems, XittError
from adapters_xitt.hashing import digest
from adapters_xitt.tasks import KINDS, TASKS, Task

READERS: dict[str, Callable[..., readers.Reading]] = {
    "pairs_tsv": readers.pairs_tsv,
    "mnli": readers.mnli,
    "sick_txt": readers.sick_txt,
    "snli_jsonl": readers.snli_jsonl,
    "tags_tsv": readers.tags_tsv,
    "conllu": readers.conllu,
    "conll_columns": readers.conll_columns,
    "ccg_tags": readers.ccg_tags,
    "squad_json": readers.squad_json,
    "parallel_lines": readers.parallel_lines,
    "bucc_tsv": readers.bucc_tsv,
    "lareqa_json": readers.lareqa_json,
    "mewslix_jsonl": readers.mewslix_jsonl,
    "hellaswag_jsonl": readers.hellaswag_jsonl,
    "cosmosqa_csv": readers.cosmosqa_csv,
    "commonsenseqa_jsonl": readers.commonsenseqa_jsonl,
    "socialiqa_jsonl": readers.socialiqa_jsonl,
    "copa_jsonl": readers.copa_jsonl,
    "text_lines": readers.text_lines,
}

# What a reader is told by the task's row and a recipe's other keys.
_GIVEN = ("path", "split", "labels", "gold", "unseen")


def reader_options(name: str) -> list[str]:
    """What a recipe may say under `options` of a task that this reader reads."""
    parameters = [word for word in inspect.signature(READERS[name]).parameters]
    if "layout" in parameters:
        parameters.remove("layout")
        parameters += [field.name for field in fields(readers.PairsLayout)]
    return [word for word in parameters if word not in _GIVEN]


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
        return replace(self, rows=tuple(kept), digest=_digest(self.task, kept))

    @property
    def has_labels(self) -> bool:
        """Whether the rows have labels to be scored by."""
        return self.task.unanswerable or KINDS[self.task.kind].labelled(self.rows)

    def data_set(self) -> DataSet:
        """The items and texts of the rows."""
        return DataSet.of(self.task.name, self.language, self.split, self.digest, self.rows)


@dataclass(frozen=True)
class Sources:
    """The data folder and what a recipe overrides in it."""

    root: Path | None
    overrides: Mapping[str, Override] = field(default_factory=dict)
    # Task and split -> the language in which a file of a recipe, whose name says none, is read.
    _languages: dict[tuple[str, str], str] = field(default_factory=dict, compare=False, repr=False)

    def training_task(self, task: Task) -> str:
        """The task whose data trains `task`: itself where the recipe names its training split."""
        override = self.overrides.get(task.name, Override())
        default = task.name if override.train else task.trained_on
        return override.trained_on or default or task.name

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

    def whole(self, task: Task, split: str, language: str) -> Rows:
        """All rows of a split, whatever a recipe trains, selects or tests on."""
        return self._read(task, split, language)

    def fit(self, task: Task, language: str) -> Rows:
        """The rows that a threshold is fitted on."""
        return self._read(task, task.fitted, language)

    def with_labels(self, task: Task) -> Task:
        """The task with its labels; those that only the data knows are in a file of their own or
        the training split."""
        if not task.open or task.labels:
            return task
        for path in map(self._place, task.label_files):
            if path.exists():
                return replace(task, labels=readers.label_list(path))
        split, *_ = parse_slice(self.overrides.get(task.name, Override()).train or task.train)
        examples = self._reading(task, split, "en")[0].rows
        return replace(
            task, labels=tuple(sorted({tag for example in examples for tag in example["tags"]}))
        )

    def find(
        self, task: Task, split: str, language: str, *, gold: bool = False
    ) -> tuple[Path, ...] | None:
        """The files of a split, or of the labels kept apart from it; None where the task has none
        to look for."""
        override = self.overrides.get(task.name, Override())
        named_patterns = override.gold if gold else override.files
        named_pattern = _pattern_of(named_patterns, split, language)
        patterns = (
            (named_pattern,)
            if named_pattern
            else (task.gold if gold else task.files).get(split, ())
        )
        if not patterns or (
            gold and not named_pattern and _pattern_of(override.files, split, language)
        ):
            # labels kept apart belong to the task's own file, not to one that a recipe names
            return None
        if task.demo and not named_pattern and not (self.root and (self.root / task.name).is_dir()):
            raise DataError(
                f"{self.root or 'no data folder'}: the small world that demo- tasks are of is not"
                " there; write data: {root: demo} in a recipe, or --data demo"
            )
        if (
            named_pattern
            and "{lang}" not in named_pattern
            and f"{split}@{language}" not in named_patterns
        ):
            self._check_language(task, split + ", gold" * gold, language, named_pattern)
        if not named_pattern:
            patterns = _of_language(task, split, language, patterns)
        tried = [self.places(task, pattern, language) for pattern in patterns]
        for paths in tried:
            if all(path.exists() for path in paths):
                return paths
        if gold and not named_pattern:
            return None  # a split may carry its labels itself
        # Of several places the one that has a part of the files is meant.
        meant = next((paths for paths in tried if any(path.exists() for path in paths)), tried[0])
        missing = next(path for path in meant if not path.exists())
        others = [" + ".join(map(str, paths)) for paths in tried if paths != meant]
        raise DataError(
            f"{missing}: no such file; {task.name} {split} in {language!r} is read from "
            + ("it" if len(meant) == 1 else " + ".join(path.name for path in meant))
            + "".join(f", or from {other}" for other in others)
            + (task.hint and f". {task.hint}")
        )

    def _check_language(self, task: Task, split: str, language: str, pattern: str) -> None:
        """Refuses one file of a recipe as two languages."""
        first = self._languages.setdefault((task.name, split), language)
        if first != language:
            raise DataError(
                f"{pattern}: {task.name} {split} would be read from it in {first!r} and in"
                f" {language!r}; write {{lang}} into its name, or name a file for each:"
                f" {split}@{language}"
            )

    def places(self, task: Task, pattern: str, language: str) -> tuple[Path, ...]:
        """The files of a pattern, which are all read."""
        filled = in_language(pattern, task.codes.get(language, language))
        return tuple(self._place(part) for part in filled.split(" + "))

    def _place(self, relative: str) -> Path:
        path = Path(relative)
        if path.is_absolute():
            return path
        if self.root is None:
            raise XittError(
                f"where is {relative}? Set data.root in the recipe or the environment variable"
                " XITT_DATA"
            )
        return self.root / path

    def _read(self, task: Task, reference: str, language: str, *, most: int | None = None) -> Rows:
        split, start, stop = parse_slice(reference)
        joined = task.joins and not _pattern_of(
            self.overrides.get(task.name, Override()).files, split, language
        )
        if joined:
            reading, file = self._join(task, split, language)
        else:
            task = self.with_labels(task)
            reading, file = self._reading(task, split, language)
        kept = cut(reading.rows, start, stop)
        if most is not None and len(kept) > most:
            kept = sample(kept, most)
        if not kept:
            raise DataError(f"{file}: no row is left in {task.name} {reference} ({language})")
        examples = tuple(
            kept
            if joined
            else ({**example, "id": item_id(task, language, example["id"])} for example in kept)
        )
        return Rows(
            task, language, reference, examples, _digest(task, examples), reading.skipped, file
        )

    def _join(self, task: Task, split: str, language: str) -> tuple[readers.Reading, Path]:
        """The rows of a split of the tasks that one joins, items under their own origins; every
        missing one is told."""
        problems, parts = Problems(f"{task.name} {split} is {', '.join(task.joins)} together"), []
        for name in task.joins:
            try:
                parts.append((name, self._read(TASKS[name], split, language)))
            except XittError as error:
                problems.add(str(error))
        problems.raise_if_any()
        examples = [
            {**example, "group": f"{name}/{example['group']}"}
            for name, part in parts
            for example in part.rows
        ]
        skipped = {
            f"{name}: {reason}": count
            for name, part in parts
            for reason, count in part.skipped.items()
        }
        return readers.Reading(examples, skipped), parts[0][1].file

    def _reading(self, task: Task, split: str, language: str) -> tuple[readers.Reading, Path]:
        """The examples of a split under their raw ids, and their first file; those of a second file
        count in a split of their own."""
        if task.reader not in READERS:
            raise XittError(
                f"task {task.name}: this version has no reader {task.reader!r} for its files yet"
            )
        paths = self.find(task, split, language)
        if paths is None:
            raise XittError(
                f"task {task.name} has no split {split!r}; it has {', '.join(task.files)}"
            )
        golds = self.find(task, split, language, gold=True) or (None,) * len(paths)
        if len(golds) != len(paths):
            raise XittError(
                f"task {task.name} {split}: expected a file of labels for each of its {len(paths)}"
                f" files, found {len(golds)}"
            )
        examples: list[dict[str, Any]] = []
        skipped: Counter[str] = Counter()
        for n, (path, gold) in enumerate(zip(paths, golds, strict=True)):
            reading = self._call(task, split + (f"+{n}" if n else ""), language, path, gold)
            examples += readers.apart(reading.rows, examples, n)
            skipped.update(reading.skipped)
        return readers.Reading(examples, dict(skipped)), paths[0]

    def _call(
        self, task: Task, split: str, language: str, path: Path, gold: Path | None
    ) -> readers.Reading:
        override = self.overrides.get(task.name, Override())
        form = task.format_of(path.name)
        options = {**form.options, **form.in_language.get(language, {})}
        # A recipe's options are of whichever reader takes them: a task may have files of two forms.
        taken = reader_options(form.reader)
        options |= {name: value for name, value in override.options.items() if name in taken}
        if "other" in options:  # the second file of a pair, beside the first
            options["other"] = path.parent / in_language(
                str(options["other"]).replace("{split}", split), language
            )
        if "items_of" in options:
            options["items_of"] = self._place(str(options["items_of"]))
        if gold is not None:
            if "gold" not in inspect.signature(READERS[form.reader]).parameters:
                raise DataError(f"{path} has its labels in itself; take {gold} out of gold")
            options["gold"] = gold
        if task.labels:
            options["labels"] = task.labels
        if task.open:  # what a test has beyond the labels of training is wrong, not an error
            options.setdefault("labels", None)
            options["unseen"] = (
                split.partition("+")[0] != parse_slice(override.train or task.train)[0]
            )
        return READERS[form.reader](path, split=split, **options)


def _digest(task: Task, rows: Sequence[dict[str, Any]]) -> str:
    """The digest of a task's rows; labels that only the data knows are what the numbers in them
    stand for."""
    return digest([task.name, list(rows), *([task.labels] if task.open else [])])


def _pattern_of(files: Mapping[str, str], split: str, language: str) -> str | None:
    """The file that a recipe names for a split in a language, or for the split in all."""
    return files.get(f"{split}@{language}") or files.get(split)


def _of_language(task: Task, split: str, language: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """The patterns of a task's own files that are of a language: those that name it, or all of a
    task that has it."""
    matching = tuple(
        pattern for pattern in patterns if "{lang}" in pattern or language in task.known
    )
    if patterns and not matching:
        raise DataError(
            f"{task.name} has files in {' '.join(task.known)}, none in {language}; name one in a"
            f" recipe: tasks.{task.name}.files: {{{split}@{language}: FILE}}"
        )
    return matching


def in_language(pattern: str, language: str) -> str:
    """A file pattern with `{lang}` filled in."""
    try:
        return pattern.format(lang=language)
    except (KeyError, IndexError, ValueError):
        raise XittError(
            f"file pattern {pattern!r}: {{lang}} is the one thing that stands in braces"
        ) from None


def parse_slice(reference: str) -> tuple[str, str | None, str | None]:
    """`dev`, `dev[:80%]`, `train[100:600]` as split, start and stop."""
    match = _SLICE.fullmatch(reference)
    if not match:
        raise XittError(
            f"split {reference!r}: write 'dev', 'dev[:80%]', 'dev[80%:]' or 'train[:500]'"
        )
    return match["split"], match["start"], match["stop"]


def cut(examples: list[dict], start: str | None, stop: str | None) -> list[dict]:
    """The rows of a slice; a group stands where its first row does, so that no premise, paragraph
    or article stands on both sides of a bound."""

    def bound(text: str | None, default: int) -> int:
        if text is None:
            return default
        return len(examples) * int(text[:-1]) // 100 if text.endswith("%") else int(text)

    first: dict[str, int] = {}
    positions = [
        first.setdefault(example["group"], index) for index, example in enumerate(examples)
    ]
    low, high = bound(start, 0), bound(stop, len(examples))
    return [
        example
        for example, position in zip(examples, positions, strict=True)
        if low <= position < high
    ]


def sample(examples: list[dict], most: int) -> list[dict]:
    """`most` rows chosen by the hash of their id, in file order: stable, and a smaller sample lies
    in a larger one."""
    by_hash = sorted(
        range(len(examples)),
        key=lambda index: hashlib.sha256(examples[index]["id"].encode()).digest(),
    )
    chosen = sorted(by_hash[:most])
    return [examples[index] for index in chosen]
