"""Questions on a text: {id, group, question, context, answers: [{text, start}]}; start counts
characters."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from adapters_xitt.data.readers.base import Reading
from adapters_xitt.errors import DataError
from adapters_xitt.text_files import get, json_of, text_of


def squad_json(
    path: Path, *, split: str, gold: Path | None = None, impossible: bool = False
) -> Reading:
    """SQuAD's layout; the group is the article's title, or a run of the same context where there is
    none.

    XTREME's test files have empty answers: `gold` gives those of the same ids (and the titles);
    without it every `answers` is []. In a file with answers, a question without one is skipped, and
    so is one with an answer that isn't at its offset. With `impossible` (SQuAD v2.0) a question
    that its `is_impossible` marks stays, its `answers` [], which trains to the first token. Where
    ids repeat (XTREME's cut TyDiQA train ids) all rows are numbered instead."""
    found = _questions(path)
    repeated = [qid for qid, count in Counter(row["id"] for row in found).items() if count > 1]
    if gold is not None:
        if repeated:
            raise DataError(
                f"{path}: expected distinct ids to find in {gold}, found {repeated[0]!r} more than"
                " once"
            )
        answers = {row["id"]: row for row in _questions(gold)}
        missing = [row["id"] for row in found if row["id"] not in answers]
        if missing:
            raise DataError(
                f"{gold}: expected the ids of {path}, {len(missing)} are missing, first"
                f" {missing[0]!r}"
            )
        for row in found:
            row["answers"] = answers[row["id"]]["answers"]
            row["title"] = row["title"] or answers[row["id"]]["title"]
    unlabelled = not any(row["answers"] or row["impossible"] for row in found)
    rows, skipped, passages = [], Counter(), {}
    for n, row in enumerate(found):
        passage = passages.setdefault(row["context"], len(passages))
        aligned = [
            row["context"].startswith(answer["text"], answer["start"]) for answer in row["answers"]
        ]
        if not all(aligned):
            skipped["answer not at its offset"] += 1
        elif not aligned and not unlabelled and not (impossible and row["impossible"]):
            skipped["no answer"] += 1
        else:
            own = {
                "id": f"{split}/{n}" if repeated else row["id"],
                "group": row["title"] or f"{split}/{passage}",
            }
            rows.append({**own, **{key: row[key] for key in ("question", "context", "answers")}})
    return Reading(rows, dict(skipped))


def _questions(path: Path) -> list[dict[str, Any]]:
    """Every question of a SQuAD file with its title ("" for none); empty answer texts are left
    out."""
    found = []
    for a, article in enumerate(
        get(json_of(text_of(path), path), "data", kind=list, where=f"{path}: ")
    ):
        for p, paragraph in enumerate(
            get(article, "paragraphs", kind=list, where=f"{path}: data[{a}].")
        ):
            at = f"{path}: data[{a}].paragraphs[{p}]."
            context = get(paragraph, "context", kind=str, where=at)
            for q, question in enumerate(get(paragraph, "qas", kind=list, where=at)):
                where = f"{at}qas[{q}]."
                row = {key: get(question, key, kind=str, where=where) for key in ("id", "question")}
                answers = [
                    _answer(answer, context, where=f"{where}answers[{n}].")
                    for n, answer in enumerate(get(question, "answers", kind=list, where=where))
                ]
                row |= {
                    "title": str(article.get("title") or ""),
                    "context": context,
                    "impossible": question.get("is_impossible") is True,
                }
                if row["impossible"] and any(answer["text"] for answer in answers):
                    raise DataError(
                        f"{where}answers: expected none, as is_impossible says, found"
                        f" {len(answers)}"
                    )
                found.append(row | {"answers": [answer for answer in answers if answer["text"]]})
    if not found:
        raise DataError(f"{path}: expected questions, found none")
    return found


def _answer(node: Any, context: str, *, where: str) -> dict[str, Any]:
    text = get(node, "text", kind=str, where=where)
    start = get(node, "answer_start", kind=int, where=where)
    if text and not 0 <= start < len(context):
        raise DataError(
            f"{where}answer_start: expected 0 to {len(context) - 1}, inside the context, found"
            f" {start}"
        )
    return {"text": text, "start": start}
