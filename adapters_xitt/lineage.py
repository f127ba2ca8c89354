"""Which examples reached a module, and what that means for a test: laws 7 and 8."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adapters_xitt.tasks import Task

ZERO_SHOT, LANGUAGE_SEEN, TASK_SEEN = "zero-shot", "language-seen", "task+language-seen"
STAR = "*"  # on the tag of a cell that a module reached of which nobody knows what it has seen
UNKNOWN = "unknown"  # the role of what a module taken in from elsewhere may have seen


@dataclass(frozen=True)
class DataSet:
    """The items of one split in one language, kept once beside the store."""

    task: str
    language: str
    split: str
    digest: str
    ids: frozenset[str]
    texts: frozenset[str]  # hashes of the single texts, normalised

    def record(self) -> dict:
        return {"task": self.task, "language": self.language, "split": self.split, "digest": self.digest,
                "ids": sorted(self.ids), "texts": sorted(self.texts)}

    @classmethod
    def from_record(cls, record: dict) -> DataSet:
        return cls(**{**record, "ids": frozenset(record["ids"]), "texts": frozenset(record["texts"])})


@dataclass(frozen=True)
class Exposure:
    """One data set that reached a module, in one role."""

    task: str
    language: str
    role: str  # trained | selected | unknown
    data: str  # digest of the data set; empty where its items are not known

    def record(self) -> dict[str, str]:
        return {"task": self.task, "language": self.language, "role": self.role, "data": self.data}


def item_id(task: Task, language: str, raw: str) -> str:
    """The origin-namespaced id of an item; translations of one item share it where the task's rows are parallel."""
    return f"{task.origin}/{raw}" if task.parallel else f"{task.origin}/{language}/{raw}"


def raw_id(task: Task, language: str, item: str) -> str:
    """The id as its origin has it: the inverse of `item_id`."""
    return item.removeprefix(f"{task.origin}/" if task.parallel else f"{task.origin}/{language}/")


def texts(row: dict) -> tuple[str, ...]:
    """The texts of a row, whatever its kind."""
    if "words" in row:
        return (" ".join(row["words"]),)
    single = ("a", "b", "question", "context", "query", "candidate", "prompt", "text")
    return (*(row[name] for name in single if name in row), *row.get("choices", ()))


def text_hash(text: str) -> str:
    """16 hex digits of a text, blind to case, width and spacing."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def merged(exposures: Iterable[Iterable[Exposure]]) -> tuple[Exposure, ...]:
    """All exposures of several parts, each once, in order."""
    return tuple(dict.fromkeys(exposure for part in exposures for exposure in part))


def shared_items(test: DataSet, seen: Sequence[DataSet]) -> dict[str, int]:
    """How many of the test's items each seen data set holds, under "task@language split"; empty where none."""
    return {f"{data.task}@{data.language} {data.split}": len(test.ids & data.ids)
            for data in seen if test.ids & data.ids}


def text_overlap(test_rows: Sequence[dict], seen: Sequence[DataSet]) -> float:
    """Share of test rows one of whose texts occurs, word for word, in a seen data set."""
    known = frozenset().union(*(data.texts for data in seen))
    if not test_rows or not known:
        return 0.0
    return sum(any(text_hash(text) in known for text in texts(row)) for row in test_rows) / len(test_rows)


def tag(task: Task, language: str, exposures: Iterable[Exposure], *, same_task: Iterable[str]) -> str:
    """The tag of a cell: which of its language and task the parts have seen, in training or selection.

    `same_task` are the names under which the task's own training goes (XQuAD's is SQuAD)."""
    same, exposures = {task.name, *same_task}, list(exposures)
    seen = [exposure for exposure in exposures if exposure.language == language]
    found = LANGUAGE_SEEN if seen else ZERO_SHOT
    if any(exposure.task in same for exposure in seen):
        found = TASK_SEEN
    return found + STAR * any(not exposure.data for exposure in exposures)
