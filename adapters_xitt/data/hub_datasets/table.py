"""Where each task's rows lie on the hub. Rows only."""

from __future__ import annotations

from adapters_xitt.data.hub_datasets.labels import (
    ALTERNATIVE,
    BINARY,
    DUPLICATE,
    LETTER,
    NER,
    TATOEBA,
    TREEBANKS,
    TYDIQA,
    UPOS,
)
from adapters_xitt.data.hub_datasets.parts import (
    HubDataset,
    Part,
    anli_parts,
    choice_part,
    nli_part,
    split_parts,
    squad_part,
    xnli_part,
)
from adapters_xitt.data.hub_datasets.records import (
    commonsense,
    copa,
    cut_id,
    hellaswag,
    question_or_none,
    snli,
    social,
    tagged_words,
    text_pair,
    translation,
)
from adapters_xitt.errors import XittError, unknown
from adapters_xitt.tasks import TASKS

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
        splits={split: anli_parts(split) for split in ("train", "dev", "test")},
    ),
    HubDataset(
        task="snli",
        shape="jsonl",
        splits=split_parts(
            lambda split: nli_part("stanfordnlp/snli", "plain_text", split, snli), **_ALL
        ),
    ),
    # XNLI's English training part is the file that XTREME trains on: XNLI-MT's
    # multinli.train.en.tsv.
    HubDataset(
        task="mnli",
        shape="pairs",
        splits={
            "train": (xnli_part("{lang}", "train"),),
            "dev": (
                nli_part(
                    "nyu-mll/glue", "mnli", "validation_matched", text_pair("premise", "hypothesis")
                ),
            ),
        },
    ),
    HubDataset(
        task="qqp",
        shape="qqp",
        splits=split_parts(
            lambda split: Part(
                repo="nyu-mll/glue",
                config="qqp",
                split=split,
                make=text_pair("question1", "question2"),
                columns=("question1", "question2", "label"),
                labels={"label": DUPLICATE},
            ),
            **_TRAINING,
        ),
    ),
    HubDataset(
        task="squad",
        shape="squad",
        splits=split_parts(
            lambda split: squad_part("rajpurkar/squad", "plain_text", split), **_TRAINING
        ),
    ),
    HubDataset(
        task="squad2",
        shape="squad",
        splits=split_parts(
            lambda split: squad_part("rajpurkar/squad_v2", "squad_v2", split, question_or_none),
            **_TRAINING,
        ),
    ),
    HubDataset(
        task="hellaswag",
        shape="jsonl",
        splits=split_parts(
            lambda split: choice_part(
                "Rowan/hellaswag",
                "default",
                split,
                hellaswag,
                "ind activity_label ctx_a ctx_b ctx endings source_id split split_type label",
            ),
            **_TRAINING,
        ),
    ),
    HubDataset(
        task="cosmosqa",
        shape="cosmos",
        splits=split_parts(
            lambda split: choice_part(
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
        splits=split_parts(
            lambda split: choice_part(
                "tau/commonsense_qa",
                "default",
                split,
                commonsense,
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
        splits={
            "dev": (xnli_part("{lang}", "validation"),),
            "test": (xnli_part("{lang}", "test"),),
        },
    ),
    HubDataset(
        task="pawsx",
        shape="pairs",
        apart=("test",),
        splits=split_parts(
            lambda split: Part(
                repo="google-research-datasets/paws-x",
                config="{lang}",
                split=split,
                make=text_pair("sentence1", "sentence2"),
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
        splits=split_parts(
            lambda split: Part(
                repo="google/xtreme",
                config="udpos.{code}",
                split=split,
                make=tagged_words("tokens", "pos_tags"),
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
        splits=split_parts(
            lambda split: Part(
                repo="google/xtreme",
                config="PAN-X.{lang}",
                split=split,
                make=tagged_words("tokens", "ner_tags"),
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
        splits=split_parts(
            lambda split: squad_part("google/xquad", "xquad.{lang}", split), test="validation"
        ),
    ),
    HubDataset(
        task="mlqa",
        shape="squad",
        note=_STRIPPED,
        splits=split_parts(
            lambda split: squad_part("google/xtreme", "MLQA.{lang}.{lang}", split),
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
            "train": (squad_part("google/xtreme", "tydiqa", "train", cut_id, prefix="{code}-"),),
            "test": (squad_part("google/xtreme", "tydiqa", "validation", prefix="{code}-"),),
        },
    ),
    HubDataset(
        task="tatoeba",
        shape="parallel",
        apart=("test",),
        codes=TATOEBA,
        splits=split_parts(
            lambda split: Part(
                repo="google/xtreme",
                config="tatoeba.{code}",
                split=split,
                make=translation,
                columns=("source_sentence", "target_sentence"),
            ),
            test="validation",
        ),
    ),
    HubDataset(
        task="socialiqa",
        shape="jsonl",
        splits=split_parts(
            lambda split: choice_part(
                "lighteval/siqa",
                "default",
                split,
                social,
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
        splits=split_parts(
            lambda split: choice_part(
                "aps/super_glue",
                "copa",
                split,
                copa,
                "premise choice1 choice2 question idx label",
                labels={"label": ALTERNATIVE},
            ),
            **_TRAINING,
        ),
    ),
    HubDataset(
        task="xcopa",
        shape="jsonl",
        splits=split_parts(
            lambda split: choice_part(
                "cambridgeltl/xcopa",
                "{lang}",
                split,
                copa,
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
