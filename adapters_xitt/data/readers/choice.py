"""Prompts with choices: {id, group, prompt, choices, label}; a label is the index of the right
choice, or None.

In a file with labels a row without one is skipped and counted; where no row has one, all labels are
None."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters_xitt.data.readers.base import Reading, index_of, label_of
from adapters_xitt.errors import DataError
from adapters_xitt.text_files import check_counts, csv_rows, get, lines_of, objects, whole

COSMOS_COLUMNS = ("id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label")
# "file:line: ", and the example that stands there
Located = tuple[str, dict[str, Any]]
ASKED = ("cause", "effect")
BLANKED = 20  # labels that are all 0 from this many on: not chance, but XTREME's blanks


def hellaswag_jsonl(path: Path, *, split: str) -> Reading:
    """HellaSwag: `ctx_a`, then `ctx_b` with each of the endings. The group is the video or article
    it comes from."""
    examples = []
    for _, location, record in objects(path):
        a, b, source = (
            get(record, key, kind=str, location=location) for key in ("ctx_a", "ctx_b", "source_id")
        )
        endings = _texts(
            get(record, "endings", kind=list, location=location), location=f"{location}endings"
        )
        # WikiHow's rows have no ctx_b.
        choices = [f"{b} {ending}".strip() for ending in endings]
        label = _number(record.get("label"), len(choices), location=f"{location}label")
        # counted in each split anew
        identifier = f"{split}/{get(record, 'ind', kind=int, location=location)}"
        examples.append(
            (
                location,
                {
                    "id": identifier,
                    "group": source,
                    "prompt": a,
                    "choices": choices,
                    "label": label,
                },
            )
        )
    return _reading(path, examples)


def cosmosqa_csv(path: Path, *, split: str) -> Reading:
    """Cosmos QA: the context and its question, then each of four answers; rows on one context are a
    group."""
    table = csv_rows(path, lines_of(path), delimiter=",")
    if missing := [name for name in COSMOS_COLUMNS if name not in table[0][1]]:
        raise DataError(
            f"{path}:1: expected Cosmos QA's header, which has {missing[0]}, found "
            + ", ".join(table[0][1])[:120]
        )
    columns = [table[0][1].index(name) for name in COSMOS_COLUMNS]
    examples: list[Located] = []
    contexts: dict[str, int] = {}
    for line, cells in table[1:]:
        if len(cells) != len(table[0][1]):
            raise DataError(
                f"{path}:{line}: expected {len(table[0][1])} columns, as in line 1, found"
                f" {len(cells)}; look for a stray comma or quote"
            )
        identifier, context, question, *choices, answer = (cells[column] for column in columns)
        group, location = (
            f"{split}/{contexts.setdefault(context, len(contexts))}",
            f"{path}:{line}: ",
        )
        examples.append(
            (
                location,
                {
                    "id": identifier,
                    "group": group,
                    "prompt": f"{context} {question}",
                    "choices": choices,
                    "label": _number(answer, len(choices), location=f"{location}label"),
                },
            )
        )
    return _reading(path, examples)


def commonsenseqa_jsonl(path: Path, *, split: str) -> Reading:
    """CommonsenseQA: the question, then each of its choices; as its authors write it or as the hub
    flattens it."""
    examples = []
    for _, location, record in objects(path):
        identifier = get(record, "id", kind=str, location=location)
        if isinstance(record.get("question"), dict):
            inner = f"{location}question."
            prompt = get(record["question"], "stem", kind=str, location=inner)
            nodes = get(record["question"], "choices", kind=list, location=inner)
            letters, texts = (
                [
                    get(node, key, kind=str, location=f"{inner}choices[{n}].")
                    for n, node in enumerate(nodes)
                ]
                for key in ("label", "text")
            )
        else:
            prompt = get(record, "question", kind=str, location=location)
            columns = get(record, "choices", kind=dict, location=location)
            letters, texts = (
                _texts(
                    get(columns, key, kind=list, location=f"{location}choices."),
                    location=f"{location}choices.{key}",
                )
                for key in ("label", "text")
            )
            if len(letters) != len(texts):
                raise DataError(
                    f"{location}choices: expected as many labels as texts, found {len(letters)}"
                    f" and {len(texts)}"
                )
        answer = record.get("answerKey") or None
        label = (
            None
            if answer is None
            else label_of(str(answer), index_of(letters), location=f"{location}answerKey")
        )
        examples.append(
            (
                location,
                {
                    "id": identifier,
                    "group": identifier,
                    "prompt": prompt,
                    "choices": texts,
                    "label": label,
                },
            )
        )
    return _reading(path, examples)


def socialiqa_jsonl(path: Path, *, split: str, gold: Path | None = None) -> Reading:
    """Social IQa: the context and its question, then each of three answers; rows on one context are
    a group.

    The right one is a letter in `correct` (v1.4), a number from 1 in `label` (the hub), or a line
    of `gold`."""
    letters = {"A": "1", "B": "2", "C": "3"}
    answers = None if gold is None else [line.strip() for line in lines_of(gold)]
    examples: list[Located] = []
    contexts: dict[str, int] = {}
    for n, location, record in objects(path):
        context, question, *choices = (
            get(record, key, kind=str, location=location)
            for key in ("context", "question", "answerA", "answerB", "answerC")
        )
        answer, answer_location = record.get("correct") or record.get("label"), f"{location}correct"
        if answers is not None and n < len(answers):
            answer, answer_location = answers[n], f"{gold}:{n + 1}"
        label = _number(
            letters.get(str(answer), answer), len(choices), first=1, location=answer_location
        )
        group = f"{split}/{contexts.setdefault(context, len(contexts))}"
        examples.append(
            (
                location,
                {
                    "id": f"{split}/{n}",
                    "group": group,
                    "prompt": f"{context} {question}",
                    "choices": choices,
                    "label": label,
                },
            )
        )
    if gold is not None and answers is not None:
        check_counts(gold, len(answers), other=path, wanted=len(examples), what="row")
    return _reading(path, examples)


def copa_jsonl(path: Path, *, split: str, gold: Path | None = None) -> Reading:
    """COPA and XCOPA: the premise with "What was the cause?" or "… effect?", then each of two
    alternatives.

    The id is `idx`, which numbers a split in every language alike, or the place in the file. XTREME
    blanks the labels of its test files to 0: `gold` has them, {"label": n} a line."""
    records = list(objects(path))
    golds = [
        (location, record) for _, location, record in (records if gold is None else objects(gold))
    ]
    if gold is not None:
        check_counts(gold, len(golds), other=path, wanted=len(records), what="row")
    elif len(records) >= BLANKED and all(record.get("label") == 0 for _, record in golds):
        raise DataError(
            f"{path}:1: expected labels of both kinds, found only 0, as XTREME leaves its test"
            " files; give its gold file, or the file of cambridgeltl/xcopa"
        )
    examples = []
    for (n, location, record), (gold_location, answer) in zip(records, golds, strict=True):
        premise, asked, *choices = (
            get(record, key, kind=str, location=location)
            for key in ("premise", "question", "choice1", "choice2")
        )
        label_of(asked, index_of(ASKED), location=f"{location}question")
        number = get(record, "idx", kind=int, location=location) if "idx" in record else n
        identifier = f"{split}/{number}"
        label = _number(answer.get("label"), len(choices), location=f"{gold_location}label")
        examples.append(
            (
                location,
                {
                    "id": identifier,
                    "group": identifier,
                    "prompt": f"{premise} What was the {asked}?",
                    "choices": choices,
                    "label": label,
                },
            )
        )
    return _reading(path, examples)


def _texts(values: Sequence[Any], *, location: str) -> list[str]:
    for n, value in enumerate(values):
        if not isinstance(value, str):
            raise DataError(f"{location}[{n}]: expected a string, found {str(value)[:40]!r}")
    return list(values)


def _number(value: Any, count: int, *, location: str, first: int = 0) -> int | None:
    """The index of the right one of `count` choices that are numbered from `first`; None for a
    blank."""
    if value in (None, ""):
        return None
    number = whole(str(value), below=first + count)
    if number is None or number < first:
        raise DataError(
            f"{location}: expected {first} to {first + count - 1}, found {str(value)[:40]!r}"
        )
    return number - first


def _reading(path: Path, located: Sequence[Located]) -> Reading:
    """The rows that can be used; ids are distinct, and there are two choices or more."""
    if not located:
        raise DataError(f"{path}: expected rows below the header, found none")
    labelled = any(example["label"] is not None for _, example in located)
    usable: list[dict[str, Any]] = []
    skipped: Counter[str] = Counter()
    seen: dict[str, str] = {}
    for location, example in located:
        if example["id"] in seen:
            raise DataError(
                f"{location}expected distinct ids, found {example['id']!r} of"
                f" {seen[example['id']]} again"
            )
        seen[example["id"]] = location.removesuffix(": ")
        if len(example["choices"]) < 2:
            raise DataError(
                f"{location}expected two choices or more, found {len(example['choices'])}"
            )
        if labelled and example["label"] is None:
            skipped["no label"] += 1
        elif not all(choice.strip() for choice in example["choices"]):
            skipped["empty choice"] += 1
        else:
            usable.append(example)
    return Reading(usable, dict(skipped))
