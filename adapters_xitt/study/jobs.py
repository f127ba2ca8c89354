"""The jobs of a plan: modules, a class for each way of making one, and cells to score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters_xitt.data.dataset import Rows
from adapters_xitt.data.exposure import Exposure
from adapters_xitt.data.mixture import Mixture
from adapters_xitt.modules.composition import Composition, names, untrained_parts
from adapters_xitt.modules.methods import Choice
from adapters_xitt.study.results import Cell
from adapters_xitt.tasks import Task
from adapters_xitt.training.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ModuleJob:
    """A module of a plan, whether the store has it or not."""

    key: str
    title: str  # people's word for it
    mixture: Mixture  # what it is trained or searched on; of a merge, what its parts were
    method: Choice
    seed: int
    context: Composition  # the composition it runs in; its own key is one of the parts
    exposure: tuple[Exposure, ...] = ()
    chance: float | None = None  # the selection score of the commonest label
    spaces: tuple[str, ...] = ()  # the label spaces of the heads it has
    # a digest of its first values, or of those of the module it continues; None: unknown
    init_fingerprint: str | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        """The keys of the modules that must be there before this one can be made."""
        return ()

    def training_record(self, *, lengths: dict[str, Any], precision: str) -> dict[str, Any]:
        """What its manifest says of its training. `lengths`: of each of its tasks; `precision`: of
        the encoder's frozen weights."""
        return {
            **Settings().record(),
            "learning_rate": 0.0,
            "lengths": lengths,
            "precision": precision,
            "start": None,
            "below": [],
            "candidates": [],
            "carry_pooler": False,
            "drawn": "",
            "born": self.init_fingerprint,
        }


@dataclass(frozen=True, kw_only=True)
class StoredModule(ModuleJob):
    """A module that the store has already, whoever made it: neither it nor what it came from is to
    be made."""

    training: Mapping[str, Any]  # what its manifest says of its training

    def training_record(self, *, lengths: dict[str, Any], precision: str) -> dict[str, Any]:
        return dict(self.training)


@dataclass(frozen=True, kw_only=True)
class RandomModule(ModuleJob):
    """The untrained module of the capacity control. Its settings decide nothing of it: its manifest
    has them as those of its recipe."""

    settings: Settings
    learning_rate: float
    drawn: str  # what its values are drawn for: they are the same where seed and method are, too

    def training_record(self, *, lengths: dict[str, Any], precision: str) -> dict[str, Any]:
        return {
            **super().training_record(lengths=lengths, precision=precision),
            **self.settings.record(),
            "learning_rate": self.learning_rate,
            "drawn": self.drawn,
        }


@dataclass(frozen=True, kw_only=True)
class TrainedModule(ModuleJob):
    """A module that optimiser steps are taken for."""

    settings: Settings
    learning_rate: float
    start: str | None = None  # the module it continues
    below: tuple[str, ...] = ()  # frozen modules it trains above, beside or over
    carry_pooler: bool = False  # whether its head starts from the pooler of `start`
    # what its first values are drawn for: they are the same where seed and method are, too
    drawn: str = ""

    @property
    def parents(self) -> tuple[str, ...]:
        return (*self.below, *([self.start] if self.start else []))

    def training_record(self, *, lengths: dict[str, Any], precision: str) -> dict[str, Any]:
        return {
            **super().training_record(lengths=lengths, precision=precision),
            **self.settings.record(),
            "learning_rate": self.learning_rate,
            "start": self.start,
            "below": list(self.below),
            "carry_pooler": self.carry_pooler,
            "drawn": self.drawn,
        }


@dataclass(frozen=True, kw_only=True)
class BestOf(ModuleJob):
    """The best of several modules that differ in nothing but their learning rate, by their score on
    the selection split."""

    candidates: tuple[ModuleJob, ...]

    @property
    def parents(self) -> tuple[str, ...]:
        keys = (candidate.key for candidate in self.candidates)
        return (*self.candidates[0].parents, *keys)

    def training_record(self, *, lengths: dict[str, Any], precision: str) -> dict[str, Any]:
        first = self.candidates[0].training_record(lengths=lengths, precision=precision)
        return {**first, "candidates": [candidate.key for candidate in self.candidates]}


@dataclass(frozen=True, kw_only=True)
class MergedModule(ModuleJob):
    """A module that is put together from others without training."""

    expression: Composition  # over the keys of its parts

    @property
    def parents(self) -> tuple[str, ...]:
        return names(self.expression)

    @property
    def searched(self) -> bool:
        """Whether its weights are searched on the selection split of its mixture, first."""
        return bool(untrained_parts(self.expression))


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """A cell to score, and what its composition has seen."""

    cell: Cell
    task: Task
    composition: Composition
    tested: tuple[Rows, ...] = field(repr=False)  # what is scored, and what fits its threshold
    tag: str
    overlap: float  # share of the tested items with a text seen in training or selection

    @property
    def modules(self) -> tuple[str, ...]:
        """The keys of the modules that take part, the one whose head stands on top among them."""
        return (*names(self.composition), *([self.cell.head] if self.cell.head else []))


@dataclass(frozen=True)
class TrainCohort:
    """Modules that are made together. Trained ones read the same batches: one mixture, seed and
    settings; every other is alone."""

    mixture: Mixture
    seed: int
    jobs: tuple[ModuleJob, ...]


@dataclass(frozen=True)
class ScoreCohort:
    """Compositions that are scored on the same rows of a task in a language."""

    task: Task
    language: str
    jobs: tuple[ScoreJob, ...] = field(repr=False)

    @property
    def tested(self) -> tuple[Rows, ...]:
        """What all of them are scored on, and what fits its threshold."""
        return self.jobs[0].tested
