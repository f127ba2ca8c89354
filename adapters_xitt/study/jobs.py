"""The jobs of a recipe, whether the store has them or not, in cohorts that share what they read,
and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adapters_xitt import hashing
from adapters_xitt.data import exposure as lineage
from adapters_xitt.data.contamination import Shared
from adapters_xitt.data.exposure import DataSet, Exposure
from adapters_xitt.data.mixture import Mixture, space
from adapters_xitt.errors import XittError
from adapters_xitt.kinds.heads import HEADS
from adapters_xitt.model.setup import AdapterSetup, resolve
from adapters_xitt.modules import composition as compose
from adapters_xitt.modules import merging
from adapters_xitt.modules.composition import Composition, Part
from adapters_xitt.modules.manifest import KEY
from adapters_xitt.modules.methods import Choice, above, fusion_of
from adapters_xitt.study import keys
from adapters_xitt.study.inputs import Inputs
from adapters_xitt.study.recipe import Recipe
from adapters_xitt.study.results import BLOCKED, FAILED, Cell, Entry
from adapters_xitt.tasks import Task
from adapters_xitt.training import memory
from adapters_xitt.training.loop import Settings

SEARCHED = tuple(n / 10 for n in range(11))  # weights that a search tries for each part
# rows of a cohort that train side by side: their modules and moments lie in memory together
WIDTH = 16


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """A module to make. `context` is the composition it trains in; its own key is one of the parts.
    A module without portions is random; one with candidates is the best of them on the selection
    split; one with an expression in `merged` is put together from others."""

    key: str
    mixture: Mixture
    method: Choice
    learning_rate: float
    seed: int
    title: str
    start: str | None = None  # the module it continues
    below: tuple[str, ...] = ()  # frozen modules it trains above, beside or over
    candidates: tuple[str, ...] = ()
    merged: Composition | None = None
    carry_pooler: bool = False
    settings: Settings = field(default_factory=Settings)
    context: Composition
    exposure: tuple[Exposure, ...] = ()
    chance: float | None = None
    spaces: tuple[str, ...] = ()  # the heads it has
    # what its first values are drawn for: they are the same where seed and method are, too
    drawn: str = ""
    # a digest of those first values, or of those of the module it continues; None: unknown
    init_fingerprint: str | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        return (
            *self.below,
            *([self.start] if self.start else []),
            *self.candidates,
            *(compose.names(self.merged) if self.merged else ()),
        )

    @property
    def trains(self) -> bool:
        """Whether steps are taken for it."""
        return bool(self.mixture.portions) and not self.candidates and self.merged is None


@dataclass(frozen=True, kw_only=True)
class StoredModule(TrainJob):
    """A module that the store has already, whoever made it: neither it nor what it came from is to
    be made."""

    @property
    def parents(self) -> tuple[str, ...]:
        return ()

    @property
    def trains(self) -> bool:
        return False


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
    """Compositions that are scored on the same task in the same language."""

    task: Task
    language: str
    jobs: tuple[ScoreJob, ...]


@dataclass
class Plan:
    """All of a recipe's jobs."""

    recipe: Recipe
    inputs: Inputs
    train: dict[str, TrainJob] = field(default_factory=dict)
    score: dict[str, ScoreJob] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, DataSet] = field(default_factory=dict)  # by digest, for exposure
    # modules that expressions name from elsewhere
    named: dict[str, TrainJob] = field(default_factory=dict)

    def setup(self, composition: Composition) -> AdapterSetup:
        """The form in which a composition runs; refused where a fusion stands over others than it
        was trained on."""
        for name in compose.names(composition):
            trained = compose.fused(self.train[name].context, name)
            if (given := compose.fused(composition, name)) and trained and given != trained:
                raise XittError(
                    f"{compose.show(composition)}: {name} was trained over others, or in another"
                    f" order; write {name}({', '.join(trained)})"
                )
        methods = {name: self.train[name].method for name in compose.names(composition)}
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
        return self.called(f"{job.cell.task} {job.cell.language}, {compose.show(job.composition)}")

    def called(self, text: str) -> str:
        """A text with the names of what modules were trained on instead of their keys."""
        return KEY.sub(
            lambda key: self.train[key[0]].mixture.name if key[0] in self.train else key[0][:12],
            text,
        )

    def meant(self, key: str) -> Composition:
        """What a merged module of this plan was merged from, down to modules that were trained; any
        other is itself. A search's weights are known once it is made: it stands for itself,
        exactly."""
        merged = self.train[key].merged
        return (
            Part(key)
            if merged is None or compose.untrained(merged)
            else compose.rename(merged, self.meant)
        )

    def train_cohorts(self) -> list[TrainCohort]:
        """What is to be made, in an order in which every parent comes before its children; `full`
        modules stand alone."""
        parents = {key for job in self.train.values() for key in job.parents}
        deepest = max((self._depth(key) for key in parents), default=-1) + 1
        groups: dict[tuple, list[TrainJob]] = {}
        for key, job in self.train.items():
            if isinstance(job, StoredModule):
                continue
            # What nothing waits for trains with the last stage that reads the same batches.
            stage = self._depth(key) if key in parents else deepest
            alone = key if job.method.row.engine == "full" or not job.trains else ""
            groups.setdefault((stage, job.mixture, job.seed, job.settings, alone), []).append(job)
        order = sorted(groups, key=lambda group: group[0])
        room = self.inputs.means.room
        return [
            TrainCohort(group[1], group[2], tuple(some))
            for group in order
            for some in memory.fitting(groups[group], self._trained_bytes, room, most=WIDTH)
        ]

    def _trained_bytes(self, job: TrainJob) -> dict[str, int]:
        """What a job holds while it trains, by module: itself with its moments, and what it stands
        on."""
        return {job.key: 12 * self.module_parameters(job), **self.held_bytes(job.below)}

    def held_bytes(self, keys: Iterable[str]) -> dict[str, int]:
        """What mounted modules take in fp32, their heads too, by key."""
        return {key: 4 * self.module_parameters(self.train[key]) for key in keys}

    def scored_bytes(self, job: ScoreJob) -> dict[str, int]:
        """What a cell's composition holds, by module."""
        return self.held_bytes(
            [*compose.names(job.composition), *([job.cell.head] if job.cell.head else [])]
        )

    def _depth(self, key: str) -> int:
        return max((1 + self._depth(parent) for parent in self.train[key].parents), default=0)

    def score_cohorts(self) -> list[ScoreCohort]:
        """One per target and language, and for every fully fine-tuned encoder one per language;
        those that run the same modules follow each other."""
        groups: dict[tuple[str, str], dict[str, list[ScoreJob]]] = {}
        for job in self.score.values():
            full = self.setup(job.composition).full or ""
            groups.setdefault((job.task.name, full), {}).setdefault(job.cell.language, []).append(
                job
            )
        return [
            ScoreCohort(jobs[0].task, language, tuple(jobs))
            for languages in groups.values()
            for language, jobs in languages.items()
        ]

    def module_parameters(self, job: TrainJob) -> int:
        """Parameters that a job trains, its heads' included."""
        files = self.inputs.files
        spaces = {(part.record.kind, len(part.record.labels)) for part in job.mixture.portions}
        heads = sum(HEADS[kind].size(files.width, labels) for kind, labels in spaces)
        return (
            job.method.parameters(files.width, files.wide, files.layers, files.parameters) + heads
        )

    def steps(self, job: TrainJob) -> int:
        """Optimiser steps of a job."""
        return self.inputs.steps(job.mixture, job.settings) if job.trains else 0

    def train_tokens(self, job: TrainJob) -> int:
        """Tokens a job reads: mean tokens of an example × examples, and its looks at the selection
        split; a search looks at it once for every weight of every part, and again for what that
        changed."""
        if job.merged is not None and compose.untrained(job.merged):
            _, features = self.inputs.searched(job.mixture)
            return 2 * len(SEARCHED) * len(job.merged.parts) * int(features.lengths.sum())
        if not job.trains:
            return 0
        steps, data = self.steps(job), self.inputs.data(job.mixture)
        looks = -(-steps // job.settings.look_every(steps))
        return sum(
            int(one.train.lengths.sum() / one.train.examples * one.batch_size * steps * one.share)
            + looks * int(one.selection.lengths.sum())
            for one in data
        )

    def score_tokens(self, job: ScoreJob) -> int:
        """Tokens that a cell reads."""
        return sum(
            int(self.inputs.features(rows).lengths.sum())
            for rows in self.inputs.tested(job.task.name, job.cell.language)
        )

    def missing(
        self, has_module: Callable[[str], bool], has_result: Callable[[str], bool]
    ) -> tuple[list[TrainJob], list[ScoreJob]]:
        """The jobs that the store can't answer yet: unscored cells, and the modules they and each
        other need."""
        score = [job for key, job in self.score.items() if not has_result(key)]
        return (
            self.lacking(
                [name for job in score for name in compose.names(job.composition)], has_module
            ),
            score,
        )

    def lacking(self, needed: Iterable[str], has_module: Callable[[str], bool]) -> list[TrainJob]:
        """The modules of these that the store lacks, and those that they need and it lacks, in the
        plan's order."""
        wanted: set[str] = set()

        def want(key: str) -> None:
            if key not in wanted and not has_module(key):
                wanted.add(key)
                for parent in self.train[key].parents:
                    want(parent)

        for key in needed:
            want(key)
        return [job for key, job in self.train.items() if key in wanted]


# -- jobs from what they are made of: the same job for the same inputs


def module_job(
    plan: Plan,
    mixed: Mixture,
    choice: Choice,
    rate: float,
    seed: int,
    *,
    title: str,
    parent: TrainJob | None = None,
    mode: str = "none",
    over: Sequence[TrainJob] = (),
    more: int = 0,
    factor: float = 1.0,
    base: Composition | None = None,
) -> TrainJob:
    """The job that makes one module; the same job for the same inputs. In modes stack and sum it
    trains above or beside `base`, a parent's context where none is given."""
    inputs, choice = plan.inputs, choice.within(plan.inputs.files.layers)
    settings, own_rate = inputs.settings(mixed)
    settings = replace(settings, more_steps=more)
    if over:
        choice = fusion_of(choice, len(over))
        rate, own_rate = plan.recipe.fusion_rate or choice.row.learning_rate, None
    elif parent and mode == "stack":
        choice = above(choice)
    rate = (own_rate or rate) * factor
    rows = {
        role: [found for part in mixed.portions for found in read(part, mixed)]
        for role, read in (("trained", inputs.train), ("selected", inputs.selection))
    }
    own = []
    for role, found in rows.items():
        for one in found:
            plan.data[one.digest] = inputs.data_set(one)
            own.append(Exposure(one.task.name, one.language, role, one.digest))
    if parent and mode in ("stack", "sum"):
        base = parent.context
    below = tuple(part.key for part in over) or (compose.names(base) if base else ())
    start = parent.key if parent and mode == "sequential" else None
    drawn = keys.SHARED if plan.recipe.shared_start else mixed.text
    spaces = tuple(dict.fromkeys(space(row) for row in mixed.tasks))
    carry = bool(
        start and plan.recipe.carry_pooler and keys.pooled(parent.spaces) and keys.pooled(spaces)
    )
    key = hashing.key(
        "train",
        {
            **keys.training_inputs(
                inputs, mixed, choice, seed, settings=settings, learning_rate=rate
            ),
            **keys.start_inputs(choice, start, drawn, carry_pooler=carry),
            **keys.base_inputs(below, base, "fuse" if over else mode),
        },
    )
    if key not in plan.train:
        parents = [
            *over,
            *([parent] if parent else [plan.train[name] for name in below if not over]),
        ]
        plan.train[key] = TrainJob(
            key=key,
            mixture=mixed,
            method=choice,
            learning_rate=rate,
            seed=seed,
            title=f"{title}, {choice.label}, seed {seed}"
            + (f", rate {rate:g}" if factor != 1 else ""),
            start=start,
            below=below,
            carry_pooler=carry,
            settings=settings,
            context=_context(key, base, over, mode),
            exposure=lineage.merged([own, *(one.exposure for one in parents)]),
            chance=inputs.chance(mixed),
            spaces=spaces,
            drawn=drawn,
            init_fingerprint=(
                plan.train[start].init_fingerprint
                if start
                else keys.init_fingerprint(inputs.files.fingerprint, choice, seed, drawn)
            ),
        )
    return plan.train[key]


def merge_job(
    plan: Plan, merged: Composition, *, title: str, target: Mixture | None = None
) -> TrainJob:
    """The job that puts one module together from others. Where weights are to be searched, `target`
    is what scores them on its selection split; the module then has the target's head alone."""
    files, parts = plan.inputs.files, {name: plan.train[name] for name in compose.names(merged)}
    choice = merging.choice(
        merged, {name: job.method for name, job in parts.items()}, files.layers, files.width
    )
    if choice.row.engine == "adapters" and (
        None in (births := {job.init_fingerprint for job in parts.values()}) or len(births) > 1
    ):
        raise XittError(
            f"{compose.show(merged)}: these bottlenecks were not born with the same values, so"
            " their mean is like none of them; train them with shared_start: true, or continue one"
            " module in both (sequential)"
        )
    key_inputs = keys.merge_inputs(merged)
    exposure = [job.exposure for job in parts.values()]
    if compose.untrained(merged):
        if target is None:
            raise XittError(
                f"{compose.show(merged)}: its weights are searched on a task's selection split;"
                " name it: --train TASK"
            )
        rows = [one for part in target.portions for one in plan.inputs.selection(part, target)]
        for one in rows:
            plan.data[one.digest] = plan.inputs.data_set(one)
            exposure.append([Exposure(one.task.name, one.language, "selected", one.digest)])
        key_inputs |= {
            "target": [keys.portion_inputs(plan.inputs, part, target) for part in target.portions],
            "grid": SEARCHED,
            "precision": plan.inputs.means.base,
        }
        title = f"{title} for {target.name}"
    key = hashing.key("merge", key_inputs)
    if key not in plan.train:
        portions = tuple(
            dict.fromkeys(part for job in parts.values() for part in job.mixture.portions)
        )
        last = list(parts.values())[-1]
        every = tuple(
            dict.fromkeys(one for name in compose.heads(merged) for one in parts[name].spaces)
        )
        plan.train[key] = TrainJob(
            key=key,
            mixture=target if "target" in key_inputs else Mixture(title, portions),
            method=choice,
            learning_rate=0.0,
            seed=last.seed,
            title=title,
            merged=merged,
            context=Part(key),
            exposure=lineage.merged(exposure),
            spaces=(
                tuple(dict.fromkeys(space(row) for row in target.tasks))
                if "target" in key_inputs
                else every
            ),
            init_fingerprint=last.init_fingerprint if choice.row.engine == "adapters" else None,
        )
    return plan.train[key]


def _context(
    key: str, base: Composition | None, over: Sequence[TrainJob], mode: str
) -> Composition:
    """The composition that a module trains in."""
    if over:
        return compose.Fuse(tuple(part.context for part in over), key)
    if base is None:
        return Part(key)
    return compose.chained(compose.Stack if mode == "stack" else compose.Sum, [base, Part(key)])


def best_of(plan: Plan, tried: Sequence[TrainJob]) -> TrainJob:
    """The job that keeps the best of several modules, by their score on the selection split."""
    key = hashing.key("best", {"candidates": [job.key for job in tried]})
    first = tried[0]
    context = compose.rename(first.context, lambda name: Part(key if name == first.key else name))
    plan.train.setdefault(
        key,
        replace(
            first,
            key=key,
            candidates=tuple(job.key for job in tried),
            context=context,
            title=first.title.rpartition(", rate")[0] + f", best of {len(tried)} rates",
        ),
    )
    return plan.train[key]


def cell_of(
    plan: Plan, target: Task, language: str, composition: Composition, seed: int, *, head: str = ""
) -> tuple[dict[str, Any], ScoreJob | None]:
    """What an entry of the grid says of one composition in one language, and the job that scores
    it; no job where it is blocked."""
    inputs, recipe = plan.inputs, plan.recipe
    head = _other_head(plan, inputs.task(target.name), composition, head)
    parts = [plan.train[name] for name in compose.names(composition)]
    exposure = lineage.merged(
        part.exposure for part in [*parts, *([plan.train[head]] if head else [])]
    )
    seen = [plan.data[data] for data in dict.fromkeys(one.data for one in exposure if one.data)]
    read = inputs.tested(target.name, language)
    rows = read[0]
    shared = {data: inputs.contamination.shared(rows, data) for data in seen}
    overlap = len(frozenset().union(*(found.texts for found in shared.values()))) / len(rows.rows)
    reason = _blocked(shared, overlap, recipe.block_overlap)
    doubtful = overlap > lineage.OVERLAP or any(found.unsure for found in shared.values())
    tag = lineage.tag(
        target,
        language,
        exposure,
        same_task=[inputs.sources.training_task(target)],
        unsure=doubtful and not reason,
    )
    entry: dict[str, Any] = {"tag": tag, "overlap": overlap}
    if reason:
        return {**entry, "status": BLOCKED, "reason": reason}, None
    cell = Cell(
        encoder=inputs.files.fingerprint,
        composition=compose.show(composition),
        task=target.name,
        language=language,
        split=rows.split,
        data=rows.digest if len(read) == 1 else hashing.digest([one.digest for one in read]),
        lengths=inputs.lengths(target.name).of_kind(target.kind),
        seed=seed if parts else None,
        precision=inputs.means.base,
        convention=inputs.convention(target.name),
        head=head,
        lm_head=inputs.lm_head if target.kind == "mlm" else "",
    )
    return {**entry, "key": cell.key}, ScoreJob(
        cell=cell, task=target, composition=composition, tag=tag, overlap=overlap
    )


def _other_head(plan: Plan, target: Task, composition: Composition, head: str) -> str:
    """The module `head`; empty where it is the composition's own choice, or where no trained head
    is read."""
    own = (name for name in compose.heads(composition) if space(target) in plan.train[name].spaces)
    return head if target.trains and head != next(own, "") else ""


def _blocked(shared: Mapping[DataSet, Shared], overlap: float, most: float) -> str:
    """Why a cell may not be scored: law 8; empty where it may."""
    counts = {
        f"{data.task}@{data.language} {data.split}": len(found.items)
        for data, found in shared.items()
        if found.items
    }
    if counts:
        return "test items reached the row: " + ", ".join(
            f"{count} in {data}" for data, count in counts.items()
        )
    if overlap > most:
        return (
            f"{overlap:.0%} of the test items share a text with training, over {most:.0%};"
            " block_overlap is the share that a recipe allows"
        )
    return ""
