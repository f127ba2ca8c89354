"""Where each task's rows lie on the hub, and what a row of it says in the origin's terms. Rows
only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.tasks import TASKS

Record = dict[str, Any]

NLI = MappingProxyType({name: name for name in ("entailment", "neutral", "contradiction")})
NER = MappingProxyType(
    {name: name for name in ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")}
)
UPOS = MappingProxyType(
    {
        name: name
        for name in (
            "ADJ",
            "ADP",
            "ADV",
            "AUX",
            "CCONJ",
            "DET",
            "INTJ",
            "NOUN",
            "NUM",
            "PART",
            "PRON",
            "PROPN",
            "PUNCT",
            "SCONJ",
            "SYM",
            "VERB",
            "X",
        )
    }
)
BINARY = MappingProxyType({"0": "0", "1": "1"})
DUPLICATE = MappingProxyType({"not_duplicate": "0", "duplicate": "1"})
LETTER = MappingProxyType({"1": "A", "2": "B", "3": "C"})
ALTERNATIVE = MappingProxyType({"choice1": "0", "choice2": "1"})

TREEBANKS = {
    "af": "Afrikaans",
    "ar": "Arabic",
    "bg": "Bulgarian",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "kk": "Kazakh",
    "ko": "Korean",
    "mr": "Marathi",
    "nl": "Dutch",
    "pt": "Portuguese",
    "ru": "Russian",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tl": "Tagalog",
    "tr": "Turkish",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "yo": "Yoruba",
    "zh": "Chinese",
}
TYDIQA = {
    "en": "english",
    "ar": "arabic",
    "bn": "bengali",
    "fi": "finnish",
    "id": "indonesian",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
}
TATOEBA = {
    "af": "afr",
    "ar": "ara",
    "bg": "bul",
    "bn": "ben",
    "de": "deu",
    "el": "ell",
    "es": "spa",
    "et": "est",
    "eu": "eus",
    "fa": "pes",
    "fi": "fin",
    "fr": "fra",
    "he": "heb",
    "hi": "hin",
    "hu": "hun",
    "id": "ind",
    "it": "ita",
    "ja": "jpn",
    "jv": "jav",
    "ka": "kat",
    "kk": "kaz",
    "ko": "kor",
    "ml": "mal",
    "mr": "mar",
    "nl": "nld",
    "pt": "por",
    "ru": "rus",
    "sw": "swh",
    "ta": "tam",
    "te": "tel",
    "th": "tha",
    "tl": "tgl",
    "tr": "tur",
    "ur": "urd",
    "vi": "vie",
    "zh": "cmn",
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One split of one configuration of one repository; a file is made of one part or of several in
    order."""

    repo: str
    config: str  # {lang} stands for the language, {code} for what this hub calls it
    split: str
    make: Callable[[Record], Record]  # a row, its labels already words, in the origin's terms
    columns: tuple[str, ...]
    extra: tuple[str, ...] = ()  # columns that are read where they are there
    # Column -> the hub's name of a label -> the origin's. Numbers are looked up in the file's own
    # list of names.
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    prefix: str = ""  # only the rows whose id starts so belong to the language


@dataclass(frozen=True, kw_only=True)
class HubDataset:
    """One task: the parts that each of its splits is made of."""

    task: str
    shape: str  # a key of shapes.SHAPES
    splits: Mapping[str, tuple[Part, ...]]
    # splits whose labels go into a file of their own, where the task's row looks for it
    apart: tuple[str, ...] = ()
    codes: Mapping[str, str] = field(default_factory=dict)
    note: str = ""  # how the hub's rows differ from the origin's


# -- what a row says -------------------------------------------------------------------------------


def _pair(a: str, b: str, label: str = "label") -> Callable[[Record], Record]:
    return lambda record: {"a": record[a], "b": record[b], "label": record[label]}


def _snli(record: Record) -> Record:
    # SNLI's and MultiNLI's own layout says "-" where the annotators did not agree; the hub says -1.
    return {
        "gold_label": record["label"] or "-",
        "sentence1": record["premise"],
        "sentence2": record["hypothesis"],
    }


def _round(record: Record) -> Record:
    return {
        "uid": record["uid"],
        "context": record["premise"],
        "hypothesis": record["hypothesis"],
        "label": record["label"],
    }


def _tags(words: str, tags: str) -> Callable[[Record], Record]:
    return lambda record: {"words": record[words], "tags": record[tags]}


def _question(record: Record) -> Record:
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


def _question_or_none(record: Record) -> Record:
    question = _question(record)
    return question | {"is_impossible": not question["answers"]}


def _cut_id(record: Record) -> Record:
    # XTREME's preprocessing keeps what follows the last "-" of a training question's id.
    return _question(record | {"id": record["id"].rsplit("-", 1)[-1]})


def _hellaswag(record: Record) -> Record:
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


def _commonsense(record: Record) -> Record:
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


def _social(record: Record) -> Record:
    # As version 1.4 writes it; of the older layout, labels in a file of their own, the reader takes
    # both.
    return {
        **{name: record[name] for name in ("context", "question", "answerA", "answerB", "answerC")},
        "correct": record["label"],
    }


def _copa(record: Record) -> Record:
    kept = {name: record[name] for name in ("premise", "choice1", "choice2", "question")}
    more = {name: record[name] for name in ("changed",) if name in record}
    return {**kept, "label": int(record["label"]), "idx": int(record["idx"]), **more}


def _translation(record: Record) -> Record:
    # The hub's text still ends where LASER's line does.
    return {
        "other": record["source_sentence"].strip(),
        "english": record["target_sentence"].strip(),
    }


# -- parts that several tasks share ----------------------------------------------------------------


def _xnli(config: str, split: str) -> Part:
    return Part(
        repo="facebook/xnli",
        config=config,
        split=split,
        make=_pair("premise", "hypothesis"),
        columns=("premise", "hypothesis", "label"),
        labels={"label": NLI},
    )


def _nli(repo: str, config: str, split: str, make: Callable[[Record], Record]) -> Part:
    return Part(
        repo=repo,
        config=config,
        split=split,
        make=make,
        columns=("premise", "hypothesis", "label"),
        labels={"label": NLI},
    )


def _anli(split: str) -> tuple[Part, ...]:
    """The three rounds, one after another."""
    return tuple(
        Part(
            repo="facebook/anli",
            config="plain_text",
            split=f"{split}_r{n}",
            make=_round,
            columns=("uid", "premise", "hypothesis", "label"),
            labels={"label": NLI},
        )
        for n in (1, 2, 3)
    )


def _squad(
    repo: str, config: str, split: str, make: Callable[[Record], Record] = _question, **more: Any
) -> Part:
    return Part(
        repo=repo,
        config=config,
        split=split,
        make=make,
        columns=("id", "context", "question", "answers"),
        extra=("title",),
        **more,
    )


def _choice(
    repo: str, config: str, split: str, make: Callable[[Record], Record], columns: str, **more: Any
) -> Part:
    return Part(
        repo=repo, config=config, split=split, make=make, columns=tuple(columns.split()), **more
    )


def _splits(make: Callable[[str], Part], **names: str) -> dict[str, tuple[Part, ...]]:
    """The task's split -> the hub's, one part each."""
    return {split: (make(hub_split),) for split, hub_split in names.items()}


_ALL = {"train": "train", "dev": "validation", "test": "test"}
_TRAINING = {"train": "train", "dev": "validation"}

_STRIPPED = (
    "the hub strips the white space around contexts and answers; where an answer is then not at its"
    " offset, the reader skips the question and counts it"
)

_ROWS = (
    HubDataset(
        task="anli",
        shape="jsonl",
        splits={split: _anli(split) for split in ("train", "dev", "test")},
    ),
    HubDataset(
        task="snli",
        shape="jsonl",
        splits=_splits(lambda split: _nli("stanfordnlp/snli", "plain_text", split, _snli), **_ALL),
    ),
    # XNLI's English training part is the file that XTREME trains on: XNLI-MT's
    # multinli.train.en.tsv.
    HubDataset(
        task="mnli",
        shape="pairs",
        splits={
            "train": (_xnli("{lang}", "train"),),
            "dev": (
                _nli("nyu-mll/glue", "mnli", "validation_matched", _pair("premise", "hypothesis")),
            ),
        },
    ),
    HubDataset(
        task="qqp",
        shape="qqp",
        splits=_splits(
            lambda split: Part(
                repo="nyu-mll/glue",
                config="qqp",
                split=split,
                make=_pair("question1", "question2"),
                columns=("question1", "question2", "label"),
                labels={"label": DUPLICATE},
            ),
            **_TRAINING,
        ),
    ),
    HubDataset(
        task="squad",
        shape="squad",
        splits=_splits(lambda split: _squad("rajpurkar/squad", "plain_text", split), **_TRAINING),
    ),
    HubDataset(
        task="squad2",
        shape="squad",
        splits=_splits(
            lambda split: _squad("rajpurkar/squad_v2", "squad_v2", split, _question_or_none),
            **_TRAINING,
        ),
    ),
    HubDataset(
        task="hellaswag",
        shape="jsonl",
        splits=_splits(
            lambda split: _choice(
                "Rowan/hellaswag",
                "default",
                split,
                _hellaswag,
                "ind activity_label ctx_a ctx_b ctx endings source_id split split_type label",
            ),
            **_TRAINING,
        ),
    ),
    HubDataset(
        task="cosmosqa",
        shape="cosmos",
        splits=_splits(
            lambda split: _choice(
                "allenai/cosmos_qa",
                "default",
                split,
                dict,
                "id context question answer0 answer1 answer2 answer3 label",
            ),
            **_TRAINING,
        ),
    ),
    HubDataset(
        task="commonsenseqa",
        shape="jsonl",
        splits=_splits(
            lambda split: _choice(
                "tau/commonsense_qa",
                "default",
                split,
                _commonsense,
                "id question choices answerKey",
                extra=("question_concept",),
            ),
            **_TRAINING,
        ),
    ),
    HubDataset(
        task="xnli",
        shape="pairs",
        apart=("test",),
        splits={"dev": (_xnli("{lang}", "validation"),), "test": (_xnli("{lang}", "test"),)},
    ),
    HubDataset(
        task="pawsx",
        shape="pairs",
        apart=("test",),
        splits=_splits(
            lambda split: Part(
                repo="google-research-datasets/paws-x",
                config="{lang}",
                split=split,
                make=_pair("sentence1", "sentence2"),
                columns=("sentence1", "sentence2", "label"),
                labels={"label": BINARY},
            ),
            **_ALL,
        ),
    ),
    HubDataset(
        task="udpos",
        shape="tags",
        apart=("test",),
        codes=TREEBANKS,
        note=(
            "the hub's words are UD's syntactic words; XTREME's tree has fused surface tokens, so"
            " scores in languages with multiword tokens (ar de es fr he it pt and others) are not"
            " XTREME's"
        ),
        splits=_splits(
            lambda split: Part(
                repo="google/xtreme",
                config="udpos.{code}",
                split=split,
                make=_tags("tokens", "pos_tags"),
                columns=("tokens", "pos_tags"),
                labels={"pos_tags": UPOS},
            ),
            **_ALL,
        ),
    ),
    HubDataset(
        task="panx",
        shape="tags",
        apart=("test",),
        splits=_splits(
            lambda split: Part(
                repo="google/xtreme",
                config="PAN-X.{lang}",
                split=split,
                make=_tags("tokens", "ner_tags"),
                columns=("tokens", "ner_tags"),
                labels={"ner_tags": NER},
            ),
            **_ALL,
        ),
    ),
    HubDataset(
        task="xquad",
        shape="squad",
        apart=("test",),
        note="the hub keeps no article titles: slices part the paragraphs of an article",
        splits=_splits(
            lambda split: _squad("google/xquad", "xquad.{lang}", split), test="validation"
        ),
    ),
    HubDataset(
        task="mlqa",
        shape="squad",
        note=_STRIPPED,
        splits=_splits(
            lambda split: _squad("google/xtreme", "MLQA.{lang}.{lang}", split),
            dev="validation",
            test="test",
        ),
    ),
    HubDataset(
        task="tydiqa",
        shape="squad",
        apart=("test",),
        codes=TYDIQA,
        note=_STRIPPED,
        splits={
            "train": (_squad("google/xtreme", "tydiqa", "train", _cut_id, prefix="{code}-"),),
            "test": (_squad("google/xtreme", "tydiqa", "validation", prefix="{code}-"),),
        },
    ),
    HubDataset(
        task="tatoeba",
        shape="parallel",
        apart=("test",),
        codes=TATOEBA,
        splits=_splits(
            lambda split: Part(
                repo="google/xtreme",
                config="tatoeba.{code}",
                split=split,
                make=_translation,
                columns=("source_sentence", "target_sentence"),
            ),
            test="validation",
        ),
    ),
    HubDataset(
        task="socialiqa",
        shape="jsonl",
        splits=_splits(
            lambda split: _choice(
                "lighteval/siqa",
                "default",
                split,
                _social,
                "context question answerA answerB answerC label",
                labels={"label": LETTER},
            ),
            **_TRAINING,
        ),
    ),
    # SuperGLUE's test labels are hidden.
    HubDataset(
        task="copa",
        shape="jsonl",
        splits=_splits(
            lambda split: _choice(
                "aps/super_glue",
                "copa",
                split,
                _copa,
                "premise choice1 choice2 question idx label",
                labels={"label": ALTERNATIVE},
            ),
            **_TRAINING,
        ),
    ),
    HubDataset(
        task="xcopa",
        shape="jsonl",
        splits=_splits(
            lambda split: _choice(
                "cambridgeltl/xcopa",
                "{lang}",
                split,
                _copa,
                "premise choice1 choice2 question idx label",
                extra=("changed",),
            ),
            dev="validation",
            test="test",
        ),
    ),
)

HUB_DATASETS: dict[str, HubDataset] = {record.task: record for record in _ROWS}

# Tasks that no hub's Parquet serves, and why.
ELSEWHERE = {
    "ccg": "CCGbank is licensed (LDC2005T13): bring your own files",
    "bucc2018": (
        "the hub has the gold pairs only, not the collections that they are to be found in; "
        "get comparable.limsi.fr/bucc2018"
    ),
    "sick": "the hub has a script and no Parquet; get SemEval-2014 task 1's text files",
    "text": "bring your own text, one a line",
}


def hub_dataset(task: str) -> HubDataset:
    """The row of a task; a `XittError` that says why where there is none."""
    if task in HUB_DATASETS:
        return HUB_DATASETS[task]
    if task in ELSEWHERE:
        raise XittError(f"task {task} can't be fetched: {ELSEWHERE[task]}")
    if task in TASKS:
        raise XittError(
            f"task {task} can't be fetched yet: take it from its origin, {TASKS[task].source}"
        )
    raise XittError(unknown("task to fetch", task, HUB_DATASETS))
