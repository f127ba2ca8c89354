"""The parts that a file of a task is made of, and those that several tasks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters_xitt.data.hub_datasets.labels import NLI
from adapters_xitt.data.hub_datasets.records import Record, anli, question, text_pair


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


def xnli_part(config: str, split: str) -> Part:
    """A split of XNLI."""
    return Part(
        repo="facebook/xnli",
        config=config,
        split=split,
        make=text_pair("premise", "hypothesis"),
        columns=("premise", "hypothesis", "label"),
        labels={"label": NLI},
    )


def nli_part(repo: str, config: str, split: str, make: Callable[[Record], Record]) -> Part:
    """A split of pairs with the three labels of inference."""
    return Part(
        repo=repo,
        config=config,
        split=split,
        make=make,
        columns=("premise", "hypothesis", "label"),
        labels={"label": NLI},
    )


def anli_parts(split: str) -> tuple[Part, ...]:
    """The three rounds, one after another."""
    return tuple(
        Part(
            repo="facebook/anli",
            config="plain_text",
            split=f"{split}_r{n}",
            make=anli,
            columns=("uid", "premise", "hypothesis", "label"),
            labels={"label": NLI},
        )
        for n in (1, 2, 3)
    )


def squad_part(
    repo: str, config: str, split: str, make: Callable[[Record], Record] = question, **more: Any
) -> Part:
    """A split of questions in SQuAD's columns."""
    return Part(
        repo=repo,
        config=config,
        split=split,
        make=make,
        columns=("id", "context", "question", "answers"),
        extra=("title",),
        **more,
    )


def choice_part(
    repo: str, config: str, split: str, make: Callable[[Record], Record], columns: str, **more: Any
) -> Part:
    """A split whose columns are named in one text."""
    return Part(
        repo=repo, config=config, split=split, make=make, columns=tuple(columns.split()), **more
    )


def split_parts(make: Callable[[str], Part], **names: str) -> dict[str, tuple[Part, ...]]:
    """The task's split -> the hub's, one part each."""
    return {split: (make(hub_split),) for split, hub_split in names.items()}
