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
    path: Path,
    *,
    split: str,
    gold: Path | None = None,
    impossible: bool = False,
    items_of: Path | None = None,
) -> Reading:
    """SQuAD's layout; the group is the article's title, or a run of the same context where there is
    none.

    XTREME's test files have empty answers: `gold` gives those of the same ids (and the titles);
    without it every `answers` is []. In a file with answers, a question without one is skipped, and
    so is one with an answer that isn't at its offset. With `impossible` (SQuAD v2.0) a question
    that its `is_impossible` marks stays, its `answers` [], which trains to the first token. Where
    ids repeat (XTREME's cut TyDiQA train ids) all rows are numbered instead. `items_of` keeps the
    questions whose ids another file of this layout has: the originals of what was translated."""
    questions = _questions(path)
    if items_of is not None:
        known = {question["id"] for question in _questions(items_of)}
        questions = [question for question in questions if question["id"] in known]
        if not questions:
            raise DataError(f"{path}: expected questions with ids of {items_of}, found none")
    repeated = [
        qid for qid, count in Counter(question["id"] for question in questions).items() if count > 1
    ]
    if gold is not None:
        if repeated:
            raise DataError(
                f"{path}: expected distinct ids to find in {gold}, found {repeated[0]!r} more than"
                " once"
            )
        answers = {question["id"]: question for question in _questions(gold)}
        missing = [question["id"] for question in questions if question["id"] not in answers]
        if missing:
            raise DataError(
                f"{gold}: expected the ids of {path}, {len(missing)} are missing, first"
                f" {missing[0]!r}"
            )
        for question in questions:
            question["answers"] = answers[question["id"]]["answers"]
            question["title"] = question["title"] or answers[question["id"]]["title"]
    unlabelled = not any(question["answers"] or question["impossible"] for question in questions)
    examples: list[dict[str, Any]] = []
    skipped: Counter[str] = Counter()
    passages: dict[str, int] = {}
    for n, question in enumerate(questions):
        passage = passages.setdefault(question["context"], len(passages))
        aligned = [
            question["context"].startswith(answer["text"], answer["start"])
            for answer in question["answers"]
        ]
        if not all(aligned):
            skipped["answer not at its offset"] += 1
        elif not aligned and not unlabelled and not (impossible and question["impossible"]):
            skipped["no answer"] += 1
        else:
            identity = {
                "id": f"{split}/{n}" if repeated else question["id"],
                "group": question["title"] or f"{split}/{passage}",
            }
            examples.append(
                {**identity, **{key: question[key] for key in ("question", "context", "answers")}}
            )
    return Reading(examples, dict(skipped))


def _questions(path: Path) -> list[dict[str, Any]]:
    """Every question of a SQuAD file with its title ("" for none); empty answer texts are left
    out."""
    questions = []
    for a, article in enumerate(
        get(json_of(text_of(path), path), "data", kind=list, location=f"{path}: ")
    ):
        for p, paragraph in enumerate(
            get(article, "paragraphs", kind=list, location=f"{path}: data[{a}].")
        ):
            paragraph_location = f"{path}: data[{a}].paragraphs[{p}]."
            context = get(paragraph, "context", kind=str, location=paragraph_location)
            for q, question in enumerate(
                get(paragraph, "qas", kind=list, location=paragraph_location)
            ):
                location = f"{paragraph_location}qas[{q}]."
                fields = {
                    key: get(question, key, kind=str, location=location)
                    for key in ("id", "question")
                }
                answers = [
                    _answer(answer, context, location=f"{location}answers[{n}].")
                    for n, answer in enumerate(
                        get(question, "answers", kind=list, location=location)
                    )
                ]
                fields |= {
                    "title": str(article.get("title") or ""),
                    "context": context,
                    "impossible": question.get("is_impossible") is True,
                }
                if fields["impossible"] and any(answer["text"] for answer in answers):
                    raise DataError(
                        f"{location}answers: expected none, as is_impossible says, found"
                        f" {len(answers)}"
                    )
                questions.append(
                    fields | {"answers": [answer for answer in answers if answer["text"]]}
                )
    if not questions:
        raise DataError(f"{path}: expected questions, found none")
    return questions


def _answer(node: Any, context: str, *, location: str) -> dict[str, Any]:
    text = get(node, "text", kind=str, location=location)
    start = get(node, "answer_start", kind=int, location=location)
    if text and not 0 <= start < len(context):
        raise DataError(
            f"{location}answer_start: expected 0 to {len(context) - 1}, inside the context, found"
            f" {start}"
        )
    return {"text": text, "start": start}
