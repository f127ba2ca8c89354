"""All jobs of a recipe, whether the store has them or not, and their order: cohorts that share what
they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from adapters_xitt.data.exposure import DataSet
from adapters_xitt.errors import XittError
from adapters_xitt.model.setup import AdapterSetup, resolve
from adapters_xitt.modules.composition import Composition, Part, fusion_parts, names, rename, show
from adapters_xitt.modules.manifest import KEY
from adapters_xitt.study import costs
from adapters_xitt.study.inputs import Inputs
from adapters_xitt.study.jobs import (
    MergedModule,
    ModuleJob,
    ScoreCohort,
    ScoreJob,
    StoredModule,
    TrainCohort,
    TrainedModule,
)
from adapters_xitt.study.recipe import Recipe
from adapters_xitt.study.results import FAILED, Entry
from adapters_xitt.training.memory import fit_groups

# modules of a cohort that train side by side: their modules and moments lie in memory together
WIDTH = 16


@dataclass
class Plan:
    """All of a recipe's jobs."""

    recipe: Recipe
    inputs: Inputs
    train: dict[str, ModuleJob] = field(default_factory=dict)
    score: dict[str, ScoreJob] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, DataSet] = field(default_factory=dict)  # by digest, for exposure
    # modules that expressions name from elsewhere
    named: dict[str, ModuleJob] = field(default_factory=dict)

    def setup(self, composition: Composition) -> AdapterSetup:
        """The form in which a composition runs; refused where a fusion stands over others than it
        was trained on."""
        for name in names(composition):
            trained, given = (
                fusion_parts(self.train[name].context, name),
                fusion_parts(composition, name),
            )
            if given and trained and given != trained:
                raise XittError(
                    f"{show(composition)}: {name} was trained over others, or in another"
                    f" order; write {name}({', '.join(trained)})"
                )
        methods = {name: self.train[name].method for name in names(composition)}
        return resolve(composition, methods, self.inputs.files.layers)

    @property
    def refused(self) -> bool:
        """Whether a place of the grid has failed before anything runs."""
        return any(entry.status == FAILED for entry in self.entries)

    def title(self, key: str) -> str:
        """People's word for a job: a module's title, or what is scored."""
        if key in self.train:
            return self.train[key].title
        job = self.score[key]
        return self.called(f"{job.cell.task} {job.cell.language}, {show(job.composition)}")

    def called(self, text: str) -> str:
        """A text with the names of what modules were trained on instead of their keys."""
        return KEY.sub(
            lambda key: self.train[key[0]].mixture.name if key[0] in self.train else key[0][:12],
            text,
        )

    def unmerged(self, key: str) -> Composition:
        """What a merged module of this plan was merged from, down to modules that were trained; any
        other is itself. A search's weights are known once it is made: it stands for itself,
        exactly."""
        job = self.train[key]
        if isinstance(job, MergedModule) and not job.searched:
            return rename(job.expression, self.unmerged)
        return Part(key)

    # -- cohorts -----------------------------------------------------------------------------------

    def train_cohorts(self) -> list[TrainCohort]:
        """What is to be made, in an order in which every parent comes before its children; `full`
        modules stand alone."""
        parents = {parent for job in self.train.values() for parent in job.parents}
        last = max((self._depth(key) for key in parents), default=-1) + 1
        groups: dict[tuple, list[ModuleJob]] = {}
        for key, job in self.train.items():
            if isinstance(job, StoredModule):
                continue
            # What nothing waits for trains with the last stage that reads the same batches.
            stage = self._depth(key) if key in parents else last
            shared: tuple = (stage, key)
            if isinstance(job, TrainedModule) and not job.method.spec.trains_encoder:
                shared = (stage, job.mixture, job.seed, job.settings)
            groups.setdefault(shared, []).append(job)
        room = self.inputs.memory_plan.room
        cohorts = []
        for shared in sorted(groups, key=lambda shared: shared[0]):
            for jobs in fit_groups(groups[shared], self._trained_bytes, room, most=WIDTH):
                cohorts.append(TrainCohort(jobs[0].mixture, jobs[0].seed, tuple(jobs)))
        return cohorts

    def score_cohorts(self) -> list[ScoreCohort]:
        """One per target, language and split, and for every fully fine-tuned encoder one of each;
        those that run the same modules follow each other."""
        groups: dict[tuple[str, str], dict[tuple[str, str], list[ScoreJob]]] = {}
        for job in self.score.values():
            full = self.setup(job.composition).full or ""
            splits = groups.setdefault((job.task.name, full), {})
            splits.setdefault((job.cell.language, job.cell.data), []).append(job)
        return [
            ScoreCohort(jobs[0].task, language, tuple(jobs))
            for splits in groups.values()
            for (language, _), jobs in splits.items()
        ]

    def _depth(self, key: str) -> int:
        return max((1 + self._depth(parent) for parent in self.train[key].parents), default=0)

    def _trained_bytes(self, job: ModuleJob) -> dict[str, int]:
        """What a job holds while it trains, by module: itself with its moments, and what it stands
        on."""
        below = job.below if isinstance(job, TrainedModule) else ()
        return {job.key: costs.trained_bytes(job, self.inputs), **self.held_bytes(below)}

    def held_bytes(self, keys: Iterable[str]) -> dict[str, int]:
        """What modules in the encoder take in fp32, their heads too, by key."""
        return {key: costs.held_bytes(self.train[key], self.inputs) for key in keys}

    # -- what is left to do ------------------------------------------------------------------------

    def missing(
        self, has_module: Callable[[str], bool], has_result: Callable[[str], bool]
    ) -> tuple[list[ModuleJob], list[ScoreJob]]:
        """The jobs that the store can't answer yet: unscored cells, and the modules they and each
        other need."""
        cells = [job for key, job in self.score.items() if not has_result(key)]
        needed = [name for job in cells for name in names(job.composition)]
        return self.missing_modules(needed, has_module), cells

    def missing_modules(
        self, keys: Iterable[str], has_module: Callable[[str], bool]
    ) -> list[ModuleJob]:
        """The modules of these that the store lacks, and those that they need and it lacks, in the
        plan's order."""
        missing: set[str] = set()

        def add(key: str) -> None:
            if key not in missing and not has_module(key):
                missing.add(key)
                for parent in self.train[key].parents:
                    add(parent)

        for key in keys:
            add(key)
        return [job for key, job in self.train.items() if key in missing]
