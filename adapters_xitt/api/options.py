"""What the functions of the face are told beside their subject: named as the commands' options, and
with their defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.study.store import Store, default_root

Overrides = Sequence[str] | Mapping[str, Any]  # "training.epochs=1", or {"training.epochs": 1}

DEVICES = ("auto", "cpu", "cuda", "mps")
LOGS = ("csv", "tensorboard", "none")
MODES = ("sequential", "stack", "sum")  # how a module takes part in the training of the next
CONVENTIONS = ("default", "all")
LANG = "lang-{lang}"  # the names of language modules, where nothing else is said


class RunOptions(TypedDict, total=False):
    """Where a function stores, and on what it runs."""

    store: str | Path | None  # default: XITT_STORE, or ./store
    device: str  # auto, cpu, cuda or mps
    precision: str | None  # 32, bf16, 16, 8bit or 4bit; default: the recipe's, or 32
    threads: int | None  # CPU threads; default: one per core
    log: str  # csv, tensorboard or none: losses and scores under logs/ in the store
    keep_every: float  # seconds between checkpoints of half-trained modules


class Options(RunOptions, total=False):
    """What a function that has no recipe is told of one."""

    encoder: str | None  # demo, a folder, a name below XITT_ENCODERS, or owner/name@revision
    data: str | None  # the data folder, or demo; default: XITT_DATA


class ExpressionOptions(Options, total=False):
    """What a function is told beside an expression."""

    overrides: Overrides  # keys as in a recipe
    languages: Sequence[str]  # default: all that the task has
    head: str | None  # the module whose head stands on top
    lang: str  # pattern of the names of the modules that stand for $lang
    trained: str | None  # a task that the same overrides are read for elsewhere, in training
    scored: Sequence[str]  # the same, in scoring


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of one call, checked. A `XittError` for one that is none."""

    store: str | Path | None = None
    device: str = "auto"
    precision: str | None = None
    threads: int | None = None
    log: str = "csv"
    keep_every: float = 60.0
    encoder: str | None = None
    data: str | None = None
    overrides: Overrides = ()
    languages: Sequence[str] = ()
    head: str | None = None
    lang: str = LANG
    trained: str | None = None
    scored: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_choice("device", self.device, DEVICES)
        check_choice("log", self.log, LOGS)
        if self.threads is not None and self.threads < 1:
            raise XittError(f"--threads {self.threads}: at least 1")
        if isinstance(self.overrides, str):
            raise XittError(f"overrides {self.overrides!r}: a list of KEY=VALUE, or a mapping")

    @property
    def stored(self) -> Store:
        """The store that is meant."""
        return Store(store_root(self.store))

    @property
    def assignments(self) -> tuple[str, ...]:
        """The overrides as the command line has them, the precision among them."""
        values = self.overrides
        if isinstance(values, Mapping):
            values = [f"{key}={json.dumps(value)}" for key, value in values.items()]
        more = [f'precision="{self.precision}"'] if self.precision else []
        return (*values, *more)

    @property
    def machine(self) -> dict[str, Any]:
        """What a runner is told."""
        return {
            "device": self.device,
            "threads": self.threads,
            "log": self.log,
            "keep_every": self.keep_every,
        }


def store_root(store: str | Path | None) -> Path:
    """The folder of the store that is meant: as given, XITT_STORE, or ./store."""
    return Path(store) if store else default_root()


def check_choice(option: str, word: str, choices: Sequence[str]) -> None:
    """Refuses a word that an option doesn't know."""
    if word not in choices:
        raise XittError(unknown(option, word, choices))
