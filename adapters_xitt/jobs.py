"""The jobs of a recipe, whether the store has them or not, in cohorts that share what they read, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from adapters_xitt import compose
from adapters_xitt.compose import Composition
from adapters_xitt.heads import HEADS
from adapters_xitt.lineage import DataSet, Exposure
from adapters_xitt.lower import Lowered, lower
from adapters_xitt.material import Material
from adapters_xitt.methods import Choice
from adapters_xitt.mixture import Mixture
from adapters_xitt.recipe import Recipe
from adapters_xitt.records import Cell, Entry
from adapters_xitt.tasks import Task
from adapters_xitt.train import Settings

WIDTH = 16  # rows of a cohort that train side by side: their modules and moments lie in memory together


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """A module to make. `context` is the composition it trains in; its own key is one of the parts. A module without
    portions is random; one with candidates is the best of them on the selection split."""

    key: str
    mixture: Mixture
    method: Choice
    learning_rate: float
    seed: int
    title: str
    start: str | None = None  # the module it continues
    below: tuple[str, ...] = ()  # frozen modules it trains above, beside or over
    candidates: tuple[str, ...] = ()
    carry_pooler: bool = False
    settings: Settings = field(default_factory=Settings)
    context: Composition
    exposure: tuple[Exposure, ...] = ()
    chance: float | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        return (*self.below, *([self.start] if self.start else []), *self.candidates)

    @property
    def trains(self) -> bool:
        """Whether steps are taken for it."""
        return bool(self.mixture.portions) and not self.candidates


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """A cell to score, and what its composition has seen."""

    cell: Cell
    task: Task
    composition: Composition
    tag: str
    overlap: float


@dataclass(frozen=True)
class TrainCohort:
    """Modules that read the same batches: one mixture, seed and settings."""

    mixture: Mixture
    seed: int
    jobs: tuple[TrainJob, ...]


@dataclass(frozen=True)
class ScoreCohort:
    """Compositions that are scored on the same task; the languages one after another."""

    task: Task
    jobs: tuple[ScoreJob, ...]


@dataclass
class Plan:
    """All of a recipe's jobs."""

    recipe: Recipe
    material: Material
    train: dict[str, TrainJob] = field(default_factory=dict)
    score: dict[str, ScoreJob] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, DataSet] = field(default_factory=dict)  # by digest, for exposure

    def lowered(self, composition: Composition) -> Lowered:
        methods = {name: self.train[name].method for name in compose.names(composition)}
        return lower(composition, methods, self.material.files.layers)

    def train_cohorts(self) -> list[TrainCohort]:
        """In an order in which every parent comes before its children; `full` modules stand alone."""
        parents = {key for job in self.train.values() for key in job.parents}
        deepest = max((self._depth(key) for key in parents), default=-1) + 1
        groups: dict[tuple, list[TrainJob]] = {}
        for key, job in self.train.items():
            # What nothing waits for trains with the last stage that reads the same batches.
            stage = self._depth(key) if key in parents else deepest
            alone = key if job.method.row.engine == "full" or not job.trains else ""
            groups.setdefault((stage, job.mixture, job.seed, job.settings, alone), []).append(job)
        order = sorted(groups, key=lambda group: group[0])
        return [TrainCohort(group[1], group[2], tuple(groups[group][at : at + WIDTH]))
                for group in order for at in range(0, len(groups[group]), WIDTH)]

    def _depth(self, key: str) -> int:
        return max((1 + self._depth(parent) for parent in self.train[key].parents), default=0)

    def score_cohorts(self) -> list[ScoreCohort]:
        """One per target, and one for every fully fine-tuned encoder on it."""
        groups: dict[tuple, list[ScoreJob]] = {}
        for job in self.score.values():
            full = self.lowered(job.composition).full or ""
            groups.setdefault((job.task.name, full), []).append(job)
        return [ScoreCohort(jobs[0].task, tuple(jobs)) for jobs in groups.values()]

    def module_parameters(self, job: TrainJob) -> int:
        """Parameters that a job trains, its heads' included."""
        files = self.material.files
        spaces = {(part.record.kind, len(part.record.labels)) for part in job.mixture.portions}
        heads = sum(HEADS[kind].size(files.width, labels) for kind, labels in spaces)
        return job.method.parameters(files.width, files.wide, files.layers, files.parameters) + heads

    def steps(self, job: TrainJob) -> int:
        """Optimiser steps of a job."""
        return self.material.steps(job.mixture, job.settings) if job.trains else 0

    def train_tokens(self, job: TrainJob) -> int:
        """Tokens a job reads: mean tokens of an example × examples, and its looks at the selection split."""
        if not job.trains:
            return 0
        steps, data = self.steps(job), self.material.data(job.mixture)
        looks = -(-steps // job.settings.look_every(steps))
        return sum(int(one.train.lengths.sum() / one.train.examples * one.batch_size * steps * one.share)
                   + looks * int(one.selection.lengths.sum()) for one in data)

    def score_tokens(self, job: ScoreJob) -> int:
        """Tokens that a cell reads."""
        rows = self.material.test(job.task.name, job.cell.language)
        return int(self.material.units(rows).lengths.sum())

    def missing(self, has_module: Callable[[str], bool], has_result: Callable[[str], bool]
                ) -> tuple[list[TrainJob], list[ScoreJob]]:
        """The jobs that the store can't answer yet: unscored cells, and the modules they and each other need."""
        score = [job for key, job in self.score.items() if not has_result(key)]
        wanted: dict[str, TrainJob] = {}

        def want(key: str) -> None:
            if key not in wanted and not has_module(key):
                wanted[key] = self.train[key]
                for parent in self.train[key].parents:
                    want(parent)

        for job in score:
            for name in compose.names(job.composition):
                want(name)
        return [job for key, job in self.train.items() if key in wanted], score


def counts(entries: Sequence[Entry]) -> Mapping[str, int]:
    """Entries decided by the plan, by status, and those to be scored."""
    found: dict[str, int] = {}
    for entry in entries:
        found[entry.status or "to score"] = found.get(entry.status or "to score", 0) + 1
    return found


def fusion_parts(context: Composition, key: str) -> tuple[str, ...]:
    """The modules that fusion `key` attends over, in order; none where it is not a fusion."""
    def find(composition: Composition) -> Iterator[tuple[str, ...]]:
        if isinstance(composition, compose.Fuse) and composition.by == key:
            yield tuple(name for part in composition.parts for name in compose.names(part))
        for part in getattr(composition, "parts", ()):
            yield from find(part)

    return next(find(context), ())
