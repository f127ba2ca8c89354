"""Which examples reached a module, and what that means for a test: laws 7 and 8."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters_xitt.tasks import Task

ZERO_SHOT, LANGUAGE_SEEN, TASK_SEEN = "zero-shot", "language-seen", "task+language-seen"
STAR = "*"  # on the tag of a cell that a module reached of which nobody knows what it has seen
UNKNOWN = "unknown"  # the role of what a module taken in from elsewhere may have seen
FEWEST_WORDS = 5  # of a text that counts; shorter ones recur by chance
# Shares of the smaller of two sets from which the rows that they have in common are no chance.
# Splits of one corpus repeat single sentences (23 % of WikiANN's in Hindi), whole pairs and
# questions hardly (1.4 % of SICK's); a set that was drawn from a test repeats all of its own.
SAME_SENTENCES, SAME_PAIRS = 0.5, 0.1
# share of a test's items with a text in training above which a cell is blocked, if a recipe says
# nothing
OVERLAP = 0.5
# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Han. Two of their
# characters count as a word.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)


@dataclass(frozen=True)
class DataSet:
    """The items of one split in one language, kept once beside the store."""

    task: str
    language: str
    split: str
    digest: str
    ids: frozenset[str]
    texts: frozenset[str]  # hashes of the single texts that are long enough to count
    # hashes of the whole rows; none in what an older version stored
    rows: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, task: str, language: str, split: str, digest: str, examples: Sequence[dict[str, Any]]
    ) -> DataSet:
        """The data set of `rows`, whose ids are namespaced."""
        hashes = [hash_texts(example) for example in examples]
        return cls(
            task,
            language,
            split,
            digest,
            frozenset(example["id"] for example in examples),
            frozenset(text for hashed in hashes for text in hashed.long),
            frozenset(hashed.whole for hashed in hashes if hashed.whole),
        )

    def record(self) -> dict:
        return {
            "task": self.task,
            "language": self.language,
            "split": self.split,
            "digest": self.digest,
            "ids": sorted(self.ids),
            "texts": sorted(self.texts),
            "rows": sorted(self.rows),
        }

    @classmethod
    def from_record(cls, record: dict) -> DataSet:
        sets = {name: frozenset(record.get(name, ())) for name in ("ids", "texts", "rows")}
        return cls(**{**record, **sets})


@dataclass(frozen=True)
class HashedTexts:
    """The hashes of a row's texts."""

    texts: tuple[str, ...]
    long: tuple[str, ...]  # those of five words or more
    # of all of them, whatever their order; empty where they have fewer than five words together
    whole: str


@dataclass(frozen=True)
class Index:
    """The items of a test in one language by the hashes of their texts, in which training texts are
    looked up."""

    ids: frozenset[str]
    # of a long text -> the items that have it
    texts: Mapping[str, frozenset[str]] = field(repr=False)
    rows: Mapping[str, frozenset[str]] = field(repr=False)  # of a whole row -> its items
    # an item -> its texts, where it has several
    parts: Mapping[str, frozenset[str]] = field(repr=False)

    @classmethod
    def of(cls, examples: Iterable[dict[str, Any]]) -> Index:
        """The index of `rows`, whose ids are namespaced."""
        by_text: dict[str, set[str]] = {}
        by_row: dict[str, set[str]] = {}
        parts: dict[str, frozenset[str]] = {}
        ids = set()
        for example in examples:
            item, hashed = example["id"], hash_texts(example)
            ids.add(item)
            for text in hashed.long:
                by_text.setdefault(text, set()).add(item)
            if hashed.whole:
                by_row.setdefault(hashed.whole, set()).add(item)
                if len(hashed.texts) > 1:
                    parts[item] = frozenset(hashed.texts)
        return cls(
            frozenset(ids),
            {text: frozenset(items) for text, items in by_text.items()},
            {text: frozenset(items) for text, items in by_row.items()},
            parts,
        )

    def items_with_texts(self, data: DataSet) -> frozenset[str]:
        """The items one of whose texts, long enough to count, stands in `data`: a premise, a
        paragraph, a sentence."""
        return _union(self.texts, data.texts)

    def items_with_rows(self, data: DataSet) -> frozenset[str]:
        """The items whose whole row stands in `data`, by its texts: the same items under other ids.

        A row of several texts is whole where one row of `data` has them all, or each is a row of
        `data` by itself (plain text made of pairs); two texts that stand in two different pairs are
        not. A row of one text, a sentence, is whole where any row has it. Corpora repeat rows by
        chance, so that they count only from a share of the smaller of the two sets on
        (`SAME_SENTENCES`, `SAME_PAIRS`); fewer are left to the share of texts in common."""
        items = _union(self.rows, data.rows) | {
            item for item in _union(self.rows, data.texts) if item not in self.parts
        }
        if candidates := _union(self.texts, data.rows):
            items |= {
                item for item in candidates if item in self.parts and self.parts[item] <= data.rows
            }
        least = (SAME_PAIRS if self.parts else SAME_SENTENCES) * min(len(self.rows), len(data.rows))
        return frozenset(items) if items and len(items) >= least else frozenset()


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
    """The origin-namespaced id of an item; translations of one item share it where the task's rows
    are parallel."""
    return f"{task.origin}/{raw}" if task.parallel else f"{task.origin}/{language}/{raw}"


def raw_id(task: Task, language: str, item: str) -> str:
    """The id as its origin has it: the inverse of `item_id`."""
    return item.removeprefix(f"{task.origin}/" if task.parallel else f"{task.origin}/{language}/")


def texts(example: dict) -> tuple[str, ...]:
    """The texts of a row, whatever its kind."""
    if "words" in example:
        return (" ".join(example["words"]),)
    single = ("a", "b", "question", "context", "query", "candidate", "prompt", "text")
    return (*(example[name] for name in single if name in example), *example.get("choices", ()))


def hash_texts(example: dict[str, Any]) -> HashedTexts:
    """The hashes of a row's texts, each and all together."""
    normalised = [_normalise(text) for text in texts(example)]
    hashes = tuple(map(_hash, normalised))
    counts = [_words(text) for text in normalised]
    long = tuple(text for text, count in zip(hashes, counts, strict=True) if count >= FEWEST_WORDS)
    whole = (
        ""
        if sum(counts) < FEWEST_WORDS
        else hashes[0]
        if len(hashes) == 1
        else _hash(" ".join(sorted(hashes)))
    )
    return HashedTexts(hashes, long, whole)


def _normalise(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _hash(normalised: str) -> str:
    return hashlib.sha256(normalised.encode()).hexdigest()[:16]


def _words(normalised: str) -> int:
    """The words of a text; in scripts without spaces two characters count as one."""
    count = normalised.count(" ") + bool(normalised)
    return count if count >= FEWEST_WORDS else count + len(_UNSPACED.findall(normalised)) // 2


def _union(items: Mapping[str, frozenset[str]], hashes: frozenset[str]) -> frozenset[str]:
    """The items of every hash that is in `hashes`, which may be a thousand times as many."""
    fewer, others = (items, hashes) if len(items) < len(hashes) else (hashes, items)
    return frozenset().union(*(items[text] for text in fewer if text in others))


def merge_exposures(exposures: Iterable[Iterable[Exposure]]) -> tuple[Exposure, ...]:
    """All exposures of several parts, each once, in order."""
    return tuple(dict.fromkeys(exposure for part in exposures for exposure in part))


def tag(
    task: Task,
    language: str,
    exposures: Iterable[Exposure],
    *,
    same_task: Iterable[str],
    unsure: bool = False,
) -> str:
    """The tag of a cell: which of its language and task the parts have seen, in training or
    selection.

    `same_task` are the names under which the task's own training goes (XQuAD's is SQuAD). `unsure`:
    what was seen can't be told from the test, or was scored in spite of what they share; the tag
    then carries a star, as it does where nobody knows what a part has seen."""
    same, exposures = {task.name, *same_task}, list(exposures)
    seen = [exposure for exposure in exposures if exposure.language == language]
    base = LANGUAGE_SEEN if seen else ZERO_SHOT
    if any(exposure.task in same for exposure in seen):
        base = TASK_SEEN
    return base + STAR * (unsure or any(not exposure.data for exposure in exposures))
