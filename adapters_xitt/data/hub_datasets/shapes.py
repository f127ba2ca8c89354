"""The origins' file formats, written from records: what `readers` reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from adapters_xitt.errors import DataError

Record = dict[str, Any]
COSMOS = ("id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label")
QQP = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")


@dataclass(frozen=True)
class SplitFiles:
    """The files that one split becomes."""

    file: Path
    labels: Path | None = None  # where the labels go, if not into the file
    other: Path | None = None  # the second file of a pair

    @property
    def all(self) -> tuple[Path, ...]:
        """The files that there are."""
        return tuple(path for path in (self.file, self.labels, self.other) if path)

    def with_paths(self, paths: Mapping[Path, Path]) -> SplitFiles:
        """The same files under other paths."""
        labels, other = self.labels and paths[self.labels], self.other and paths[self.other]
        return SplitFiles(paths[self.file], labels, other)


def pairs(records: Iterable[Record], to: SplitFiles) -> int:
    """XNLI's and PAWS-X's files as XTREME leaves them: sentence, sentence, label, quoted as
    `csv.writer` quotes."""
    examples = [_check_label(record, n) for n, record in enumerate(records)]
    with _open(to.file) as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(
            (example["a"], example["b"])
            if to.labels
            else (example["a"], example["b"], example["label"])
            for example in examples
        )
    _lines(to.labels, [example["label"] for example in examples])
    return len(examples)


def qqp(records: Iterable[Record], to: SplitFiles) -> int:
    """GLUE's QQP: six columns below a header, quotes are text. The hub keeps no ids of single
    questions."""
    count = 0
    with _open(to.file) as file:
        file.write("\t".join(QQP) + "\n")
        for count, record in enumerate(records, 1):
            example = _check_label(record, count - 1)
            cells = (str(count - 1), "", "", example["a"], example["b"], example["label"])
            for cell in cells:
                _plain(cell, "\t\n\r", f"row {count}: a question")
            file.write("\t".join(cells) + "\n")
    return count


def tags(records: Iterable[Record], to: SplitFiles) -> int:
    """PAN-X and UDPOS as XTREME leaves them: token<TAB>tag, a blank line between sentences; no tag
    in a test file."""
    words: list[str] = []
    golds: list[str] = []
    count = 0
    for count, record in enumerate(records, 1):
        if len(record["words"]) != len(record["tags"]):
            raise DataError(
                f"row {count}: expected a tag for each of {len(record['words'])} tokens, found "
                f"{len(record['tags'])}"
            )
        for word, tag in zip(record["words"], record["tags"], strict=True):
            _plain(word, "\t\n\r", f"row {count}: a token")
            if not word or tag is None:
                raise DataError(
                    f"row {count}: expected tokens with tags, found {word!r} with {tag!r}"
                )
            words.append(word if to.labels else f"{word}\t{tag}")
            golds.append(tag)
        words.append("")
        golds.append("")
    _lines(to.file, words[:-1])
    _lines(to.labels, golds[:-1])
    return count


def squad(records: Iterable[Record], to: SplitFiles) -> int:
    """SQuAD's JSON; a test file whose labels lie apart has no titles and one empty answer a
    question, as XTREME's."""
    questions = list(records)
    if to.labels:
        blank = [{"answer_start": 0, "text": ""}]
        _json(to.labels, {"version": "1.1", "data": _articles(questions)})
        _json(
            to.file,
            {
                "data": _articles(
                    [{**question, "title": "", "answers": blank} for question in questions]
                )
            },
        )
    else:
        _json(to.file, {"version": "1.1", "data": _articles(questions)})
    return len(questions)


def _articles(questions: Sequence[Record]) -> list[dict[str, Any]]:
    """Neighbours of one title under one article, of one context under one paragraph."""
    articles: list[dict[str, Any]] = []
    last: tuple[str, str] | None = None
    for question in questions:
        title, context = question["title"], question["context"]
        if last is None or title != last[0]:
            articles.append({**({"title": title} if title else {}), "paragraphs": []})
            last = None
        if last is None or context != last[1]:
            articles[-1]["paragraphs"].append({"context": context, "qas": []})
        last = (title, context)
        keys = [key for key in ("id", "question", "answers", "is_impossible") if key in question]
        articles[-1]["paragraphs"][-1]["qas"].append({key: question[key] for key in keys})
    return articles


def jsonl(records: Iterable[Record], to: SplitFiles) -> int:
    """An object a line, its label in it."""
    count = 0
    with _open(to.file) as file:
        for record in records:
            count += 1
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return count


def cosmos(records: Iterable[Record], to: SplitFiles) -> int:
    """Cosmos QA's CSV with its header."""
    count = 0
    with _open(to.file) as file:
        sheet = csv.writer(file, lineterminator="\n")
        sheet.writerow(COSMOS)
        for record in records:
            count += 1
            sheet.writerow([record[name] for name in COSMOS])
    return count


def parallel(records: Iterable[Record], to: SplitFiles) -> int:
    """Tatoeba as XTREME leaves it: the English side sorted, the other not; gold is the other's
    line, from 0."""
    pairs = list(records)
    for n, pair in enumerate(pairs, 1):
        for name in ("other", "english"):
            _plain(pair[name], "\n\r", f"row {n}: a sentence")
    order = sorted(range(len(pairs)), key=lambda n: pairs[n]["english"])
    _lines(to.file, [pair["other"] for pair in pairs])
    _lines(to.other, [pairs[n]["english"] for n in order])
    _lines(to.labels, [str(n) for n in order])
    return len(pairs)


SHAPES: dict[str, Callable[[Iterable[Record], SplitFiles], int]] = {
    "pairs": pairs,
    "qqp": qqp,
    "tags": tags,
    "squad": squad,
    "jsonl": jsonl,
    "cosmos": cosmos,
    "parallel": parallel,
}


def _open(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="")


def _lines(path: Path | None, lines: Sequence[str]) -> None:
    if path:
        with _open(path) as file:
            file.writelines(f"{line}\n" for line in lines)


def _json(path: Path, value: Any) -> None:
    with _open(path) as file:
        json.dump(value, file, ensure_ascii=False)
        file.write("\n")


def _check_label(record: Record, n: int) -> Record:
    if record["label"] is None:
        raise DataError(f"row {n + 1}: has no label")
    return record


def _plain(text: str, banned: str, what: str) -> None:
    """Refuse what the format has no way to say."""
    if unwritable := [sign for sign in banned if sign in text]:
        raise DataError(
            f"{what} holds {unwritable[0]!r}, which ends a cell or line of the origin's format:"
            f" {text[:60]!r}"
        )
