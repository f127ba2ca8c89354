"""The files of a submission, read and scored as XTREME's `evaluate.py` does it
(google-research/xtreme 838c13b), to the digit or the refusal; and written.

What a file holds is taken literally: a blank line is a wrong answer, `01` is not `1`, a byte order
mark is part of the first label, a tag with its word before it is another tag. A lenient reading
takes such lines as people do. Both note every line that they differ on."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters_xitt.errors import DataError
from adapters_xitt.metrics.answers import exact, normalize, normalize_in, token_f1
from adapters_xitt.metrics.pairs import CUT, pair_scores
from adapters_xitt.metrics.spans import span_scores
from adapters_xitt.text_files import bytes_of

MARK = "\ufeff"
_NUMBER = re.compile(r"\[?\s*\+?0*(\d+)(?:\.0*)?\s*\]?")
# what stops evaluate.py
_ODD = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class Remark:
    """A line that the lenient reading takes otherwise than `evaluate.py`; line 0 is the whole
    file."""

    path: Path
    line: int
    what: str


@dataclass(frozen=True)
class Page:
    """A file's text and how it is to be read; remarks are added to `remarks`."""

    path: Path
    text: str
    lenient: bool
    remarks: list[Remark]

    def note(self, line: int, what: str) -> None:
        """Notes a line that people read otherwise."""
        self.remarks.append(Remark(self.path, line, what))

    def lines(self, *, bare: bool = True) -> Iterator[tuple[int, str]]:
        """The lines with their numbers, as Python's text files have them; `bare`: without blanks at
        their edges."""
        for n, line in enumerate(io.StringIO(self.text, newline=None), 1):
            yield n, line.strip() if bare else line


def open_page(path: Path, *, lenient: bool, remarks: list[Remark]) -> Page:
    """A file as text; a `DataError` where `evaluate.py` can't read it either."""
    data = bytes_of(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}:{line}: expected UTF-8, found byte 0x{data[error.start]:02x}; evaluate.py"
            " stops here"
        ) from error
    page = Page(path, text.removeprefix(MARK) if lenient else text, lenient, remarks)
    if text.startswith(MARK):
        page.note(1, "a byte order mark")
    return page


@dataclass(frozen=True)
class Form:
    """How the predictions of a task stand in a file. `read` reads predictions and labels alike,
    `write` makes a file's text from stored predictions, and `score` compares (labels, predictions,
    language) as `evaluate.py` does."""

    extension: str
    read: Callable[[Page], Any]
    score: Callable[[Any, Any, str], dict[str, float]]
    write: Callable[[Sequence[Mapping[str, Any]]], str]
    paired: bool = True  # whether there must be as many predictions as labels


# -- read ------------------------------------------------------------------------------------------


def _labels(page: Page) -> list[str]:
    """A label a line; blank lines count."""
    labels: list[str] = []
    blank = []
    for n, line in page.lines():
        if not line:
            page.note(n, "a blank line")
            blank.append(len(labels))
        labels.append(line)
    return [line for line in labels if line] if page.lenient and blank else labels


def _numbers(page: Page) -> list[str]:
    """A number a line, compared as it is written."""
    numbers = []
    for n, line in page.lines():
        number = _NUMBER.fullmatch(line)
        plain = number[1] if number else line
        if plain != line or not line:
            page.note(n, f"{line[:20]!r} for {plain!r}" if line else "a blank line")
        if line or not page.lenient:
            numbers.append(plain if page.lenient else line)
    return numbers


def _tags(page: Page) -> list[list[str]]:
    """A tag a line, the whole of it; a blank line ends a sentence, so that two in a row make an
    empty one."""
    sentences: list[list[str]] = []
    sentence: list[str] = []
    for n, line in page.lines():
        if not line:
            if not sentence:
                page.note(n, "a blank line that ends no sentence")
            if sentence or not page.lenient:
                sentences.append(sentence)
            sentence = []
            continue
        tag = line.rpartition("\t")[2].strip()
        if tag != line:
            page.note(n, "a tag behind a tab")
        sentence.append(tag if page.lenient else line)
    return [*sentences, sentence] if sentence else sentences


def _pairs(page: Page) -> list[tuple[str, ...]]:
    """Two ids and a tab a line; a line of any other shape is a pair that no label has."""
    pairs = []
    for n, line in page.lines():
        cells = tuple(line.split("\t"))
        plain = tuple(line.split())
        if cells != plain:
            page.note(n, "a blank line" if not line else "blanks beside or for the tab")
        if line or not page.lenient:
            pairs.append(plain if page.lenient and len(plain) == 2 else cells)
    return pairs


def _choices(page: Page) -> list[Any]:
    """The `label` of a JSON object a line."""
    labels = []
    for n, line in page.lines(bare=False):
        if not line.strip():
            page.note(n, "a blank line")
            if page.lenient:
                continue
        label = _value(page, line, n)["label"]
        number = _NUMBER.fullmatch(label) if isinstance(label, str) else None
        if number:
            page.note(n, f"{label[:20]!r} for {int(number[1])}")
            label = int(number[1]) if page.lenient else label
        labels.append(label)
    return labels


def _value(page: Page, text: str, first: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{page.path}:{first + error.lineno - 1}: expected JSON, found at column {error.colno}:"
            f" {error.msg}; evaluate.py stops here"
        ) from error
    except (RecursionError, ValueError) as error:
        raise DataError(
            f"{page.path}:{first}: expected JSON, found {error}; evaluate.py stops here"
        ) from error


def _json(page: Page) -> Any:
    """A file's JSON value, or what stands under `data` in it: SQuAD's layout."""
    value = _value(page, page.text, 1)
    return value["data"] if "data" in value else value


# -- scored: (labels, predictions, language) -------------------------------------------------------


def _accuracy(labels: Sequence[Any], predictions: Sequence[Any], language: str) -> dict[str, float]:
    same = sum(
        int(prediction == label) for prediction, label in zip(predictions, labels, strict=False)
    )
    return {"accuracy": same / len(predictions) * 100}


def _f1(
    labels: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]], language: str
) -> dict[str, float]:
    """Spans, wherever the sentences end; the share of right tags too, which evaluate.py lacks,
    where there is one for each."""
    scores = span_scores(predictions, labels)
    if [len(sentence) for sentence in predictions] == [
        len(sentence) for sentence in labels
    ] and any(labels):
        hits = [
            tag == gold
            for sentence, gold_sentence in zip(predictions, labels, strict=True)
            for tag, gold in zip(sentence, gold_sentence, strict=True)
        ]
        scores["accuracy"] = 100 * sum(hits) / len(hits)
    return scores


def _mined(
    labels: Sequence[tuple[str, ...]], predictions: Sequence[tuple[str, ...]], language: str
) -> dict[str, float]:
    return pair_scores(set(predictions), set(labels))


def _answers(normal: Callable[[str, str], str]) -> Callable[[Any, Any, str], dict[str, float]]:
    """SQuAD v1.1's scores, or MLQA's: a question without a prediction has 0, a prediction without
    one counts for nothing."""

    def score(labels: Any, predictions: Any, language: str) -> dict[str, float]:
        total, hits, overlap = 0, 0.0, 0.0

        def plain(text: str) -> str:
            return normal(text, language)

        for article in labels:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    total += 1
                    if question["id"] in predictions:
                        gold = [answer["text"] for answer in question["answers"]]
                        text = predictions[question["id"]]
                        hits += max(exact(text, answer, normal=plain) for answer in gold)
                        overlap += max(token_f1(text, answer, normal=plain) for answer in gold)
        em, f1 = 100 * hits / total, 100 * overlap / total
        return {"exact_match": em, "f1": f1, "mean": (em + f1) / 2}

    return score


def _reciprocal(
    labels: Mapping[str, Sequence[str]], predictions: Mapping[str, Sequence[str]], language: str
) -> dict[str, float]:
    ranks = [
        next(
            (
                1 / rank
                for rank, name in enumerate(predictions.get(key, [])[:CUT], 1)
                if name == gold
            ),
            0.0,
        )
        for key, gold in [(key, names[0].strip()) for key, names in labels.items()]
    ]
    return {"mrr@20": 100 * sum(ranks) / len(ranks) if ranks else 0.0}


def compare(
    form: Form,
    predictions: Path,
    labels: Path,
    language: str,
    *,
    lenient: bool,
    remarks: list[Remark],
) -> dict[str, float]:
    """The scores of a file of predictions against its labels; a `DataError` where `evaluate.py`
    stops. What can't be read leniently, a blank line that stands for an answer say, is taken
    literally where that can be."""
    if not lenient:
        return _compare(form, predictions, labels, language, False, remarks)
    forgiven: list[Remark] = []
    try:
        scores = _compare(form, predictions, labels, language, True, forgiven)
    except DataError as error:
        try:
            return _compare(form, predictions, labels, language, False, [])
        except DataError:
            raise error from error.__cause__
    remarks += forgiven
    return scores


def _compare(
    form: Form, predictions: Path, labels: Path, language: str, lenient: bool, remarks: list[Remark]
) -> dict[str, float]:
    try:
        predicted, wanted = (
            form.read(open_page(path, lenient=lenient, remarks=remarks))
            for path in (predictions, labels)
        )
        if form.paired and len(predicted) != len(wanted):
            raise DataError(
                f"{predictions}: {len(predicted):,} predictions for the {len(wanted):,} labels of"
                f" {labels}; evaluate.py stops here"
            )
        scores = form.score(wanted, predicted, language)
    except _ODD as error:
        raise DataError(
            f"{predictions}, against {labels}: nothing that can be scored "
            f"({type(error).__name__}: {error}); evaluate.py stops here"
        ) from error
    if isinstance(wanted, Mapping) and isinstance(predicted, Mapping):
        _unknown(predictions, predicted, wanted, remarks)
    elif isinstance(predicted, Mapping):
        _unknown(
            predictions,
            predicted,
            {
                question["id"]
                for article in wanted
                for paragraph in article["paragraphs"]
                for question in paragraph["qas"]
            },
            remarks,
        )
    return scores


def _unknown(path: Path, predicted: Mapping[str, Any], known: Any, remarks: list[Remark]) -> None:
    if extra := [key for key in predicted if key not in known]:
        remarks.append(
            Remark(
                path,
                0,
                f"{len(extra):,} predictions for ids that the labels lack, the first "
                f"{extra[0]!r}, count for nothing",
            )
        )


# -- written ---------------------------------------------------------------------------------------


def _line_each(name: str) -> Callable[[Sequence[Mapping[str, Any]]], str]:
    return lambda items: "".join(f"{item[name]}\n" for item in items)


def _tag_lines(items: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join("".join(f"{tag}\n" for tag in item["tags"]) for item in items)


def _by_id(name: str) -> Callable[[Sequence[Mapping[str, Any]]], str]:
    return lambda items: (
        json.dumps({item["id"]: item[name] for item in items}, ensure_ascii=False, indent=1) + "\n"
    )


_LABELS = Form("tsv", _labels, _accuracy, _line_each("label"))
_TAGS = Form("tsv", _tags, _f1, _tag_lines)
_QA = Form(
    "json", _json, _answers(lambda text, language: normalize(text)), _by_id("text"), paired=False
)
FORMS: dict[str, Form] = {
    "xnli": _LABELS,
    "pawsx": _LABELS,
    "udpos": _TAGS,
    "panx": _TAGS,
    "xquad": _QA,
    "tydiqa": _QA,
    "mlqa": Form("json", _json, _answers(normalize_in), _by_id("text"), paired=False),
    "bucc2018": Form(
        "tsv",
        _pairs,
        _mined,
        lambda items: "".join(f"{i['id']}\t{i['target']}\n" for i in items),
        paired=False,
    ),
    "tatoeba": Form("tsv", _numbers, _accuracy, _line_each("index")),
    "xcopa": Form(
        "jsonl",
        _choices,
        _accuracy,
        lambda items: "".join(json.dumps({"label": item["label"]}) + "\n" for item in items),
    ),
    "mewslix": Form("json", _json, _reciprocal, _by_id("ids"), paired=False),
}
