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
ASKED = ("cause", "effect")
BLANKED = 20  # labels that are all 0 from this many on: not chance, but XTREME's blanks


def hellaswag_jsonl(path: Path, *, split: str) -> Reading:
    """HellaSwag: `ctx_a`, then `ctx_b` with each of the endings. The group is the video or article
    it comes from."""
    rows = []
    for _, where, row in objects(path):
        a, b, source = (
            get(row, key, kind=str, where=where) for key in ("ctx_a", "ctx_b", "source_id")
        )
        endings = _texts(get(row, "endings", kind=list, where=where), where=f"{where}endings")
        # WikiHow's rows have no ctx_b.
        choices = [f"{b} {ending}".strip() for ending in endings]
        label = _number(row.get("label"), len(choices), where=f"{where}label")
        own = f"{split}/{get(row, 'ind', kind=int, where=where)}"  # counted in each split anew
        rows.append(
            (where, {"id": own, "group": source, "prompt": a, "choices": choices, "label": label})
        )
    return _reading(path, rows)


def cosmosqa_csv(path: Path, *, split: str) -> Reading:
    """Cosmos QA: the context and its question, then each of four answers; rows on one context are a
    group."""
    table = csv_rows(path, lines_of(path), delimiter=",")
    if missing := [name for name in COSMOS_COLUMNS if name not in table[0][1]]:
        raise DataError(
            f"{path}:1: expected Cosmos QA's header, which has {missing[0]}, found "
            + ", ".join(table[0][1])[:120]
        )
    at = [table[0][1].index(name) for name in COSMOS_COLUMNS]
    rows, contexts = [], {}
    for line, cells in table[1:]:
        if len(cells) != len(table[0][1]):
            raise DataError(
                f"{path}:{line}: expected {len(table[0][1])} columns, as in line 1, found"
                f" {len(cells)}; look for a stray comma or quote"
            )
        own, context, question, *choices, answer = (cells[column] for column in at)
        group, where = f"{split}/{contexts.setdefault(context, len(contexts))}", f"{path}:{line}: "
        rows.append(
            (
                where,
                {
                    "id": own,
                    "group": group,
                    "prompt": f"{context} {question}",
                    "choices": choices,
                    "label": _number(answer, len(choices), where=f"{where}label"),
                },
            )
        )
    return _reading(path, rows)


def commonsenseqa_jsonl(path: Path, *, split: str) -> Reading:
    """CommonsenseQA: the question, then each of its choices; as its authors write it or as the hub
    flattens it."""
    rows = []
    for _, where, row in objects(path):
        own = get(row, "id", kind=str, where=where)
        if isinstance(row.get("question"), dict):
            at = f"{where}question."
            prompt = get(row["question"], "stem", kind=str, where=at)
            nodes = get(row["question"], "choices", kind=list, where=at)
            letters, texts = (
                [
                    get(node, key, kind=str, where=f"{at}choices[{n}].")
                    for n, node in enumerate(nodes)
                ]
                for key in ("label", "text")
            )
        else:
            prompt = get(row, "question", kind=str, where=where)
            at = get(row, "choices", kind=dict, where=where)
            letters, texts = (
                _texts(
                    get(at, key, kind=list, where=f"{where}choices."), where=f"{where}choices.{key}"
                )
                for key in ("label", "text")
            )
            if len(letters) != len(texts):
                raise DataError(
                    f"{where}choices: expected as many labels as texts, found {len(letters)} and "
                    f"{len(texts)}"
                )
        answer = row.get("answerKey") or None
        label = (
            None
            if answer is None
            else label_of(str(answer), index_of(letters), where=f"{where}answerKey")
        )
        rows.append(
            (where, {"id": own, "group": own, "prompt": prompt, "choices": texts, "label": label})
        )
    return _reading(path, rows)


def socialiqa_jsonl(path: Path, *, split: str, gold: Path | None = None) -> Reading:
    """Social IQa: the context and its question, then each of three answers; rows on one context are
    a group.

    The right one is a letter in `correct` (v1.4), a number from 1 in `label` (the hub), or a line
    of `gold`."""
    letters = {"A": "1", "B": "2", "C": "3"}
    answers = None if gold is None else [line.strip() for line in lines_of(gold)]
    rows, contexts = [], {}
    for n, where, row in objects(path):
        context, question, *choices = (
            get(row, key, kind=str, where=where)
            for key in ("context", "question", "answerA", "answerB", "answerC")
        )
        said, told = row.get("correct") or row.get("label"), f"{where}correct"
        if answers is not None and n < len(answers):
            said, told = answers[n], f"{gold}:{n + 1}"
        label = _number(letters.get(str(said), said), len(choices), first=1, where=told)
        group = f"{split}/{contexts.setdefault(context, len(contexts))}"
        rows.append(
            (
                where,
                {
                    "id": f"{split}/{n}",
                    "group": group,
                    "prompt": f"{context} {question}",
                    "choices": choices,
                    "label": label,
                },
            )
        )
    if answers is not None:
        check_counts(gold, len(answers), other=path, wanted=len(rows), what="row")
    return _reading(path, rows)


def copa_jsonl(path: Path, *, split: str, gold: Path | None = None) -> Reading:
    """COPA and XCOPA: the premise with "What was the cause?" or "… effect?", then each of two
    alternatives.

    The id is `idx`, which numbers a split in every language alike, or the place in the file. XTREME
    blanks the labels of its test files to 0: `gold` has them, {"label": n} a line."""
    found = list(objects(path))
    golds = [(where, row) for _, where, row in (found if gold is None else objects(gold))]
    if gold is not None:
        check_counts(gold, len(golds), other=path, wanted=len(found), what="row")
    elif len(found) >= BLANKED and all(row.get("label") == 0 for _, row in golds):
        raise DataError(
            f"{path}:1: expected labels of both kinds, found only 0, as XTREME leaves its test"
            " files; give its gold file, or the file of cambridgeltl/xcopa"
        )
    rows = []
    for (n, where, row), (told, answer) in zip(found, golds, strict=True):
        premise, asked, *choices = (
            get(row, key, kind=str, where=where)
            for key in ("premise", "question", "choice1", "choice2")
        )
        label_of(asked, index_of(ASKED), where=f"{where}question")
        own = f"{split}/{get(row, 'idx', kind=int, where=where) if 'idx' in row else n}"
        label = _number(answer.get("label"), len(choices), where=f"{told}label")
        rows.append(
            (
                where,
                {
                    "id": own,
                    "group": own,
                    "prompt": f"{premise} What was the {asked}?",
                    "choices": choices,
                    "label": label,
                },
            )
        )
    return _reading(path, rows)


def _texts(values: Sequence[Any], *, where: str) -> list[str]:
    for n, value in enumerate(values):
        if not isinstance(value, str):
            raise DataError(f"{where}[{n}]: expected a string, found {str(value)[:40]!r}")
    return list(values)


def _number(value: Any, count: int, *, where: str, first: int = 0) -> int | None:
    """The index of the right one of `count` choices that are numbered from `first`; None for a
    blank."""
    if value in (None, ""):
        return None
    number = whole(str(value), below=first + count)
    if number is None or number < first:
        raise DataError(
            f"{where}: expected {first} to {first + count - 1}, found {str(value)[:40]!r}"
        )
    return number - first


def _reading(path: Path, found: Sequence[tuple[str, dict[str, Any]]]) -> Reading:
    """The rows that can be used; ids are distinct, and there are two choices or more."""
    if not found:
        raise DataError(f"{path}: expected rows below the header, found none")
    labelled, rows, skipped, seen = (
        any(row["label"] is not None for _, row in found),
        [],
        Counter(),
        {},
    )
    for where, row in found:
        if row["id"] in seen:
            raise DataError(
                f"{where}expected distinct ids, found {row['id']!r} of {seen[row['id']]} again"
            )
        seen[row["id"]] = where.removesuffix(": ")
        if len(row["choices"]) < 2:
            raise DataError(f"{where}expected two choices or more, found {len(row['choices'])}")
        if labelled and row["label"] is None:
            skipped["no label"] += 1
        elif not all(choice.strip() for choice in row["choices"]):
            skipped["empty choice"] += 1
        else:
            rows.append(row)
    return Reading(rows, dict(skipped))
