"""The kinds of task: what is known of each before anything is read or encoded.

This is the registry. A kind is a row here and the file of its name in `kinds/`, which says in one
record how it is encoded, trained, predicted and scored. The row is apart because rooms below ask
it (tasks, data, the formats of modules), and so does `xitt tasks`, which needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters_xitt.tasks.conventions import (
    BEST_OF_ALL,
    BEST_OF_CONTEXT,
    FULL_WINDOWS,
    MEAN_14,
    PLAIN,
    XTREME_WINDOWS,
    Convention,
)

Examples = Sequence[Mapping[str, Any]]

# What an encoder may have been trained on beside plain text, each in a few words.
SEEN: dict[str, str] = {
    "nli": "labelled inference",
    "paraphrase": "labelled paraphrases",
    "qa": "questions with their answers",
    "choice": "questions with the right one of several answers",
    "pos": "tagged parts of speech",
    "ner": "marked names",
    "syntax": "chunks, supertags or trees",
    "retrieval": "queries with what they are to find",
    "parallel": "translations",
}


def always_labelled(examples: Examples) -> bool:
    """Of kinds whose examples can't be read without their labels, or have none."""
    return True


def each_labelled(examples: Examples) -> bool:
    """Whether every example has its label."""
    return all(example["label"] is not None for example in examples)


def some_answered(examples: Examples) -> bool:
    """Whether a question has an answer."""
    return any(example["answers"] for example in examples)


def queries_labelled(examples: Examples) -> bool:
    """Whether the right candidates of every query are known."""
    queries = [example for example in examples if example["side"] == "query"]
    return all(query["gold"] is not None for query in queries)


@dataclass(frozen=True, kw_only=True)
class KindFacts:
    """What a kind is, without its machinery."""

    about: str  # one line: what a model does with an input
    trains: bool = True  # else the encoder is read as it is, and the head has no parameters
    # the ways it is read where a task names none of its own, the default first
    conventions: tuple[Convention, ...] = (PLAIN,)
    # outputs of a head that has no labels; 0: as many as the vocabulary has, or as the encoder is
    # wide. None: one a label
    outputs: int | None = None
    pooler: bool = False  # whether a dense layer and tanh stand below the outputs
    labelled: Callable[[Examples], bool] = always_labelled  # whether examples can be scored
    # what an encoder has seen that was trained for such tasks, where the task itself doesn't say:
    # keys of SEEN
    seen: tuple[str, ...] = ()


KINDS: dict[str, KindFacts] = {
    "pair": KindFacts(
        about="one label for two texts",
        pooler=True,
        labelled=each_labelled,
    ),
    "tagging": KindFacts(
        about="one label per word",
        conventions=(XTREME_WINDOWS, FULL_WINDOWS),
    ),
    "qa": KindFacts(
        about="a span of a context that answers a question",
        conventions=(BEST_OF_ALL, BEST_OF_CONTEXT),
        outputs=2,
        labelled=some_answered,
        seen=("qa",),
    ),
    "retrieval": KindFacts(
        about="the translation of a sentence among many; nothing is trained",
        trains=False,
        conventions=(MEAN_14,),
        outputs=0,
        seen=("parallel", "retrieval"),
    ),
    "mining": KindFacts(
        about="translations hidden in two collections; nothing is trained",
        trains=False,
        conventions=(MEAN_14,),
        outputs=0,
        labelled=queries_labelled,
        seen=("parallel", "retrieval"),
    ),
    "ranking": KindFacts(
        about="the right ones among many candidates, best first; nothing is trained",
        trains=False,
        conventions=(MEAN_14,),
        outputs=0,
        labelled=queries_labelled,
        seen=("retrieval",),
    ),
    "choice": KindFacts(
        about="one of several answers to a prompt",
        outputs=1,
        pooler=True,
        labelled=each_labelled,
        seen=("choice",),
    ),
    "mlm": KindFacts(
        about="masked words of plain text",
        outputs=0,
    ),
}
