"""What a row of the hub says, in the terms of its origin's own file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Record = dict[str, Any]


def text_pair(a: str, b: str, label: str = "label") -> Callable[[Record], Record]:
    """A pair of texts from the columns `a` and `b`."""
    return lambda record: {"a": record[a], "b": record[b], "label": record[label]}


def snli(record: Record) -> Record:
    """A line of SNLI's and MultiNLI's own layout."""
    # SNLI's and MultiNLI's own layout says "-" where the annotators did not agree; the hub says -1.
    return {
        "gold_label": record["label"] or "-",
        "sentence1": record["premise"],
        "sentence2": record["hypothesis"],
    }


def anli(record: Record) -> Record:
    """A line of ANLI's own layout."""
    return {
        "uid": record["uid"],
        "context": record["premise"],
        "hypothesis": record["hypothesis"],
        "label": record["label"],
    }


def tagged_words(words: str, tags: str) -> Callable[[Record], Record]:
    """Words and their tags from two columns."""
    return lambda record: {"words": record[words], "tags": record[tags]}


def question(record: Record) -> Record:
    """A question of SQuAD, its context and its answers."""
    answers = record["answers"]
    if isinstance(answers, dict):  # a column per field, as the hub keeps lists of records
        answers = [
            {"text": text, "answer_start": start}
            for text, start in zip(answers["text"], answers["answer_start"], strict=True)
        ]
    return {
        "id": record["id"],
        "title": record.get("title") or "",
        "context": record["context"],
        "question": record["question"],
        "answers": [
            {"answer_start": int(answer["answer_start"]), "text": answer["text"]}
            for answer in answers
        ],
    }


def question_or_none(record: Record) -> Record:
    """A question of SQuAD 2.0, which may have no answer."""
    asked = question(record)
    return asked | {"is_impossible": not asked["answers"]}


def cut_id(record: Record) -> Record:
    """A question under what XTREME leaves of its id."""
    # XTREME's preprocessing keeps what follows the last "-" of a training question's id.
    return question(record | {"id": record["id"].rsplit("-", 1)[-1]})


def hellaswag(record: Record) -> Record:
    """A line of HellaSwag's own layout."""
    label = record["label"]
    return {
        "ind": record["ind"],
        "activity_label": record["activity_label"],
        "ctx_a": record["ctx_a"],
        "ctx_b": record["ctx_b"],
        "ctx": record["ctx"],
        "split": record["split"],
        "split_type": record["split_type"],
        **({} if label in ("", None) else {"label": int(label)}),
        "endings": list(record["endings"]),
        "source_id": record["source_id"],
    }


def commonsense(record: Record) -> Record:
    """A line of CommonsenseQA's own layout."""
    letters, texts = record["choices"]["label"], record["choices"]["text"]
    return {
        "answerKey": record["answerKey"],
        "id": record["id"],
        "question": {
            "question_concept": record.get("question_concept") or "",
            "choices": [
                {"label": letter, "text": text} for letter, text in zip(letters, texts, strict=True)
            ],
            "stem": record["question"],
        },
    }


def social(record: Record) -> Record:
    """A line of Social IQa's own layout."""
    # As version 1.4 writes it; of the older layout, labels in a file of their own, the reader takes
    # both.
    return {
        **{name: record[name] for name in ("context", "question", "answerA", "answerB", "answerC")},
        "correct": record["label"],
    }


def copa(record: Record) -> Record:
    """A line of XCOPA's own layout."""
    kept = {name: record[name] for name in ("premise", "choice1", "choice2", "question")}
    more = {name: record[name] for name in ("changed",) if name in record}
    return {**kept, "label": int(record["label"]), "idx": int(record["idx"]), **more}


def translation(record: Record) -> Record:
    """A sentence and its English translation."""
    # The hub's text still ends where LASER's line does.
    return {
        "other": record["source_sentence"].strip(),
        "english": record["target_sentence"].strip(),
    }
