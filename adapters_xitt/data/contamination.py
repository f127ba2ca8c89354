"""What training data holds of a test's items: by their ids, and by their texts in every language
that is at hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adapters_xitt.data.dataset import Rows, parse_slice
from adapters_xitt.data.exposure import DataSet, Index
from adapters_xitt.errors import XittError
from adapters_xitt.tasks import TASKS, Task

# a task's test in a language; or its split of the name, if one is given
Read = Callable[[Task, str, str | None], Rows]

# An id that says no more than the place in a file: what trained may be any item under another
# number.
_NUMBER = re.compile(r"/[a-z]+(\+\d+)?/\d+$")


@dataclass(frozen=True)
class Overlap:
    """What one data set and one test in one language have in common."""

    # test items that stand in it, under their own ids or others, in any language
    items: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()  # test items with a text that stands in it, in any language
    # the same corpus under row numbers, in a language in which the test isn't at hand
    unsure: bool = False


@dataclass(frozen=True)
class OverlapTogether:
    """What several data sets have in common with one test in one language."""

    items: Mapping[str, int]  # "task@language split" of a data set → test items that stand in it
    share: float  # of the test's items, those with a text that stands in one of them
    unsure: bool


class Contamination:
    """Looks training data up in the tests of the tasks, which are read and hashed once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rows: dict[tuple[str, str, str | None], Rows | None] = {}
        self._indices: dict[str, Index] = {}
        self._overlaps: dict[tuple[str, ...], Overlap] = {}
        self._together: dict[tuple[str, ...], OverlapTogether] = {}
        self.notes: dict[str, None] = {}  # what could not be compared, each once

    def index(self, rows: Rows) -> Index:
        """The index of a test."""
        if rows.digest not in self._indices:
            self._indices[rows.digest] = Index.of(rows.rows)
        return self._indices[rows.digest]

    def together(self, test: Rows, sets: Sequence[DataSet]) -> OverlapTogether:
        """What all of some data sets hold of `test`: the rows of a grid have few different ones."""
        key = (test.task.name, test.language, test.digest, *(data.digest for data in sets))
        if key not in self._together:
            overlaps = [self.overlap(test, data) for data in sets]
            texts: frozenset[str] = frozenset().union(*(each.texts for each in overlaps))
            self._together[key] = OverlapTogether(
                {
                    f"{data.task}@{data.language} {data.split}": len(each.items)
                    for data, each in zip(sets, overlaps, strict=True)
                    if each.items
                },
                len(texts) / len(test.rows),
                any(each.unsure for each in overlaps),
            )
        return self._together[key]

    def overlap(self, test: Rows, data: DataSet) -> Overlap:
        """What `data` holds of `test`.

        Its texts are looked up in the test itself and, as translations share their ids, in the
        test's file in the language of `data`; where the task has none, in that of a task with the
        same items (COPA's for XCOPA, KorNLI's for XNLI). Items of another corpus that the task
        contains (PUD's, of which UDPOS is partly made) are found by way of it: the sentence in one
        language, its number, its translation, the test's row."""
        key = (test.task.name, test.language, test.digest, data.digest)
        if key not in self._overlaps:
            self._overlaps[key] = self._compare(test, data)
        return self._overlaps[key]

    def _compare(self, test: Rows, data: DataSet) -> Overlap:
        tested, task = self.index(test), test.task
        items = (tested.ids & data.ids) | tested.items_with_rows(data)
        texts = tested.items_with_texts(data)
        if data.language == test.language:
            return Overlap(items, texts)
        for index in self._in_language(test, data.language):
            items |= tested.ids & (index.ids & data.ids | index.items_with_rows(data))
            texts |= tested.ids & index.items_with_texts(data)
            break
        else:
            if task.parallel and not items:
                self.notes[
                    f"{task.name}: its test in {data.language} is not at hand, so what trained in "
                    f"{data.language} is compared with it by ids alone"
                ] = None
                return Overlap(items, texts, unsure=_same_corpus(task, data))
        for parent in _parents(task, data.language, test.language):
            items |= self._by_way_of(parent, test, data)
        return Overlap(items, texts)

    def _in_language(self, test: Rows, language: str) -> Iterator[Index]:
        """The test's items in another language, from the task's own file or that of a task with the
        same items."""
        if not test.task.parallel:
            return
        split = parse_slice(test.split)[0]
        for task in (test.task, *_siblings(test.task)):
            rows = self._test(task, language, None if task is test.task else split)
            if rows is not None:
                yield self.index(rows)

    def _by_way_of(self, parent: Task, test: Rows, data: DataSet) -> frozenset[str]:
        """The items of `test` that are translations of what `data` holds of a corpus of parallel
        sentences."""
        trained_side = self._test(parent, data.language, None)
        reached = (
            self.index(trained_side).items_with_rows(data)
            if trained_side is not None
            else frozenset()
        )
        tested_side = self._test(parent, test.language, None) if reached else None
        if tested_side is None:
            return frozenset()
        translated = [sentence for sentence in tested_side.rows if sentence["id"] in reached]
        return self.index(test).items_with_rows(
            DataSet.of(parent.name, test.language, tested_side.split, "", translated)
        )

    def _test(self, task: Task, language: str, split: str | None) -> Rows | None:
        """The test of a task in a language, or a split of it; None where it is not at hand."""
        key = (task.name, language, split)
        if key not in self._rows:
            try:
                self._rows[key] = (
                    self._read(task, language, split) if language in task.known else None
                )
            # it is compared with where it is there; the recipe asks for no score of it
            except XittError:
                self._rows[key] = None
        return self._rows[key]


def _siblings(task: Task) -> list[Task]:
    """The other tasks whose parallel rows are the same items."""
    return [
        other
        for other in TASKS.values()
        if other.origin == task.origin and other.parallel and other.name != task.name
    ]


def _parents(task: Task, *languages: str) -> list[Task]:
    """The tasks of parallel rows in these languages from which a task's own rows were taken."""
    return [
        other
        for other in TASKS.values()
        if other.parallel
        and other.origin in task.derived_from
        and other.origin != task.origin
        and set(languages) <= set(other.known)
    ]


def _same_corpus(task: Task, data: DataSet) -> bool:
    """Whether `data` is of the corpus of a test, and says no more of its items than their row
    numbers."""
    source = TASKS.get(data.task)
    return (
        source is not None
        and source.origin in (task.origin, *task.derived_from)
        and any(_NUMBER.search(item) for item in data.ids)
    )
