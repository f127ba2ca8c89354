"""The plan of a recipe: every job with its key before anything runs, the cells of the grid, what is blocked or not
applicable, in cohorts that share what they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters_xitt import compose, digests, evaluate, lineage
from adapters_xitt.batches import Lengths
from adapters_xitt.compose import Composition, Nothing, Part
from adapters_xitt.errors import Problems, XittError
from adapters_xitt.formats import Manifest
from adapters_xitt.heads import HEADS
from adapters_xitt.lineage import DataSet, Exposure
from adapters_xitt.lower import Lowered, lower
from adapters_xitt.material import Material
from adapters_xitt.methods import Choice, not_applicable
from adapters_xitt.metrics import METRICS
from adapters_xitt.recipe import Recipe
from adapters_xitt.records import BLOCKED, NOT_APPLICABLE, Cell, Entry
from adapters_xitt.sources import Rows
from adapters_xitt.tasks import Task, task
from adapters_xitt.train import Settings

WIDTH = 16  # rows of a cohort that train side by side: their modules and moments lie in memory together


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """A module to train. `context` is the composition it trains in; its own key is one of the parts."""

    key: str
    task: Task
    method: Choice
    learning_rate: float
    seed: int
    title: str
    start: str | None  # the module it continues
    below: tuple[str, ...]  # frozen modules it trains above or beside
    carry_pooler: bool
    settings: Settings
    lengths: Lengths
    context: Composition
    exposure: tuple[Exposure, ...]
    chance: float | None

    @property
    def parents(self) -> tuple[str, ...]:
        return (*self.below, *([self.start] if self.start else []))


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
    """Modules of one task and seed that read the same batches."""

    task: Task
    seed: int
    jobs: tuple[TrainJob, ...]


@dataclass(frozen=True)
class ScoreCohort:
    """Compositions that are scored on the same task; the languages one after another."""

    task: Task
    jobs: tuple[ScoreJob, ...]


@dataclass
class Plan:
    """All of a recipe's jobs, whether the store has them or not."""

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
        groups: dict[tuple, list[TrainJob]] = {}
        for key, job in self.train.items():
            stage = self._depth(key) if job.parents or key in parents else 1
            alone = key if job.method.row.engine == "full" else ""
            groups.setdefault((stage, job.task.name, job.seed, alone), []).append(job)
        order = sorted(groups, key=lambda group: group[0])
        return [TrainCohort(groups[group][0].task, group[2], tuple(groups[group][at : at + WIDTH]))
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
        """Parameters that a job trains, its head's included."""
        files = self.material.files
        width, labels = files.width, len(job.task.labels)
        head = {"pair": width * width + width + width * labels + labels, "tagging": width * labels + labels,
                "qa": 2 * width + 2}[job.task.kind]
        return job.method.parameters(width, files.layers, files.parameters) + head

    def train_tokens(self, job: TrainJob) -> int:
        """Tokens a job reads: mean tokens of an example × examples, and its looks at the selection split."""
        rows, selection = self.material.train(job.task.name), self.material.selection(job.task.name)
        steps = job.settings.steps(len(rows.rows))
        mean = self.material.units(rows).lengths.sum() / len(rows.rows)
        seen = min(steps * job.settings.batch_size, job.settings.epochs * len(rows.rows))
        looks = -(-steps // job.settings.look_every(steps))
        return int(mean * seen) + looks * int(self.material.units(selection).lengths.sum())

    def score_tokens(self, job: ScoreJob) -> int:
        rows = self.material.test(job.task.name, job.cell.language)
        return int(self.material.units(rows).lengths.sum())


def make(recipe: Recipe, material: Material) -> Plan:
    """The plan of a recipe. Reads its data; a `XittError` lists everything that is missing or can't be run."""
    plan = Plan(recipe, material)
    _check(plan)
    for choice, rate in recipe.choices():
        for seed in recipe.seeds:
            for target in recipe.targets:
                _rows_of(plan, choice, rate, seed, task(target))
    for note in _effects(plan):
        plan.notes.append(note)
    return plan


def _check(plan: Plan) -> None:
    recipe = plan.recipe
    targets = [name for name in recipe.targets if task(name).trains]
    trained = [plan.material.sources.training_task(task(name)) for name in (*recipe.intermediates, *targets)]
    _check_tasks(plan, list(dict.fromkeys(trained)), recipe.targets)


def _check_tasks(plan: Plan, trained: Sequence[str], targets: Sequence[str]) -> None:
    """What would stop the run later: kinds and metrics that are not there, unreadable data, splits that overlap."""
    recipe, material = plan.recipe, plan.material
    problems = Problems(f"recipe {recipe.name}")
    for name in dict.fromkeys([*trained, *targets]):
        row = task(name)
        if row.kind not in HEADS:
            problems.add(f"task {name}: this version can't run kind {row.kind!r} yet; it runs {', '.join(HEADS)}")
        elif row.metric not in METRICS:
            problems.add(f"task {name}: this version can't score {row.metric!r} yet; it scores {', '.join(METRICS)}")
    problems.raise_if_any()
    for name in trained:
        try:
            train, selection = material.data_set(material.train(name)), material.data_set(material.selection(name))
        except XittError as error:
            problems.add(str(error))
            continue
        if both := train.ids & selection.ids:
            problems.add(f"task {name}: {len(both)} items, {min(both)} among them, stand in training and in selection; "
                         f"give tasks.{name}.selection a split or slice of its own")
    for name in targets:
        languages = recipe.tested(task(name))
        if not languages:
            problems.add(f"target {name} is tested in none of the recipe's languages; it has "
                         f"{', '.join(task(name).languages)}")
        for language in languages:
            try:
                material.test(name, language)
            except XittError as error:
                problems.add(str(error))
    problems.raise_if_any()
    plan.notes.extend(material.skipped())


def _rows_of(plan: Plan, choice: Choice, rate: float, seed: int, target: Task) -> None:
    """The rows of one method and seed for one target."""
    recipe, material = plan.recipe, plan.material
    name = material.sources.training_task(target) if target.trains else ""
    none: Composition = Nothing()
    if target.trains:
        none = _train(plan, task(name), choice, rate, seed, title=target.name).context
    if "none" in recipe.modes:
        _place(plan, choice, "", "none", target, seed, none)
    for intermediate in recipe.intermediates:
        source = task(material.sources.training_task(task(intermediate)))
        for mode in recipe.modes:
            if mode == "none":
                continue
            reason = not_applicable(choice.row, mode)
            if reason:
                _fill(plan, choice, intermediate, mode, target, seed, status=NOT_APPLICABLE, reason=reason)
                continue
            parent = _train(plan, source, choice, rate, seed, title=intermediate)
            child = parent
            if target.trains:
                child = _train(plan, task(name), choice, rate, seed, parent=parent, mode=mode,
                               title=f"{intermediate} → {target.name} ({mode})")
            _place(plan, choice, intermediate, mode, target, seed, child.context)


def _train(plan: Plan, row: Task, choice: Choice, rate: float, seed: int, *, title: str,
           parent: TrainJob | None = None, mode: str = "none") -> TrainJob:
    """The job that trains `row`, after `parent` in one of the modes; the same job for the same inputs."""
    material = plan.material
    settings, own_rate, _ = material.settings(row.name)
    rate = own_rate or rate
    train, selection = material.train(row.name), material.selection(row.name)
    own = []
    for rows, role in ((train, "trained"), (selection, "selected")):
        plan.data[rows.digest] = material.data_set(rows)
        own.append(Exposure(row.name, rows.language, role, rows.digest))
    start = parent.key if parent and mode == "sequential" else None
    below = (parent.key,) if parent and mode in ("stack", "sum") else ()
    carry = bool(start and plan.recipe.carry_pooler)
    lengths = material.lengths(row.name)
    key = digests.key("train", {
        "task": row.name, "labels": row.labels, "encoder": material.files.fingerprint, "method": choice.record(),
        "learning_rate": rate, "seed": seed, "settings": settings.record(), "lengths": lengths.record(),
        "train": train.digest, "selection": selection.digest, "start": start, "below": below,
        "mode": mode if below else "", "carry_pooler": carry, "precision": plan.recipe.precision})
    if key not in plan.train:
        context: Composition = Part(key)
        if below:
            block = compose.Stack if mode == "stack" else compose.Sum
            context = compose.rename(block((Part("below"), Part("own"))),
                                     lambda name: parent.context if name == "below" else Part(key))
        plan.train[key] = TrainJob(
            key=key, task=row, method=choice, learning_rate=rate, seed=seed,
            title=f"{title}, {choice.label}, seed {seed}",
            start=start, below=below, carry_pooler=carry, settings=settings, lengths=lengths, context=context,
            exposure=lineage.merged([own, parent.exposure if parent else ()]),
            chance=evaluate.majority(row, train.rows, selection.rows))
    return plan.train[key]


def _place(plan: Plan, choice: Choice, intermediate: str, mode: str, target: Task, seed: int,
           composition: Composition) -> None:
    """The cells of one row on one target, a language each; blocked where test items reached a part."""
    material, recipe = plan.material, plan.recipe
    parts = [plan.train[name] for name in compose.names(composition)]
    exposure = lineage.merged(part.exposure for part in parts)
    seen = [plan.data[data] for data in dict.fromkeys(one.data for one in exposure)]
    for language in recipe.tested(target):
        rows = material.test(target.name, language)
        overlap = material.overlap(rows, seen)
        tag = lineage.tag(target, language, exposure, same_task=[material.sources.training_task(target)])
        where = dict(choice=choice, intermediate=intermediate, mode=mode, target=target, seed=seed, language=language,
                     tag=tag, overlap=overlap)
        if reason := _blocked(rows, seen, overlap, material, recipe.block_overlap):
            _fill(plan, **where, status=BLOCKED, reason=reason)
            continue
        cell = Cell(encoder=material.files.fingerprint, composition=compose.show(composition), task=target.name,
                    language=language, split=rows.split, data=rows.digest,
                    lengths=material.lengths(target.name).record(), seed=seed if parts else None,
                    precision=recipe.precision,
                    convention=evaluate.convention(target, material.files.layers, recipe.part(target.name).layer))
        plan.score.setdefault(cell.key, ScoreJob(cell=cell, task=target, composition=composition, tag=tag,
                                                 overlap=overlap))
        _fill(plan, **where, key=cell.key)


def _blocked(rows: Rows, seen: Sequence[DataSet], overlap: float, material: Material, most: float | None) -> str:
    """Why a cell may not be scored: law 8; empty where it may."""
    shared = lineage.shared_items(material.data_set(rows), seen)
    if shared:
        return "test items reached the row: " + ", ".join(f"{count} in {data}" for data, count in shared.items())
    if most is not None and overlap > most:
        return f"{overlap:.0%} of the test items share a text with training, over {most:.0%}"
    return ""


def _fill(plan: Plan, choice: Choice, intermediate: str, mode: str, target: Task, seed: int, *,
          language: str | None = None, **rest: Any) -> None:
    for code in [language] if language else plan.recipe.tested(target):
        plan.entries.append(Entry(method=choice.label, intermediate=intermediate, mode=mode, target=target.name,
                                  language=code, seed=seed, **rest))


def one_module(plan: Plan, name: str, *, parent: TrainJob | None, mode: str) -> TrainJob:
    """Adds the one job of training task `name` to an empty plan, after `parent` where there is one."""
    row = task(name)
    if not row.trains:
        raise XittError(f"task {name} trains nothing: {row.about}")
    (choice, rate), *_ = plan.recipe.choices()
    trained = task(plan.material.sources.training_task(row))
    _check_tasks(plan, [trained.name], [])
    title = name
    if parent is not None:
        if reason := not_applicable(choice.row, mode):
            raise XittError(f"--mode {mode}: {reason}")
        title = f"{parent.title} → {name} ({mode})"
    return _train(plan, trained, choice, rate, plan.recipe.seeds[0], title=title, parent=parent, mode=mode)


def one_composition(plan: Plan, composition: Composition) -> None:
    """Adds the cells of one composition over stored modules on the recipe's targets to a plan that knows them."""
    parts = [plan.train[name] for name in compose.names(composition)]
    top = parts[-1] if parts else None
    for name in plan.recipe.targets:
        target = task(name)
        if target.trains and (top is None or (top.task.kind, top.task.labels) != (target.kind, target.labels)):
            labels = " ".join(target.labels) or "(none)"
            have = (f"the last part, {top.title}, was trained on {top.task.name} ({top.task.kind})" if top
                    else "the encoder alone has none")
            raise XittError(f"{name} needs a head for kind {target.kind!r}, labels {labels}; {have}")
    plan.lowered(composition)  # what has no proven form is refused before anything is read
    _check_tasks(plan, [], plan.recipe.targets)
    for name in plan.recipe.targets:
        target = task(name)
        choice = top.method if top else plan.recipe.choices()[0][0]
        _place(plan, choice, "", "none", target, top.seed if top else 0, composition)


def known(plan: Plan, manifest: Manifest, choice: Choice) -> TrainJob:
    """A module that the store has already, as a job of the plan."""
    training = manifest.training
    plan.train[manifest.key] = TrainJob(
        key=manifest.key, task=task(manifest.task), method=choice, learning_rate=training["learning_rate"],
        seed=manifest.seed, title=manifest.role, start=training["start"], below=tuple(training["below"]),
        carry_pooler=training["carry_pooler"], settings=Settings(), lengths=Lengths(),
        context=compose.parse(manifest.context), exposure=tuple(Exposure(**one) for one in manifest.exposure),
        chance=manifest.chance)
    return plan.train[manifest.key]


def _effects(plan: Plan) -> Iterable[str]:
    """Compositions that can't change what a retrieval task reads, because nothing of theirs lies below its layer."""
    told = set()
    for job in plan.score.values():
        if job.task.trains or not compose.names(job.composition):
            continue
        depth, layer = plan.lowered(job.composition).depth, plan.material.layer(job.task.name)
        label = plan.train[compose.names(job.composition)[-1]].method.label
        if depth >= layer and (label, job.task.name) not in told:
            told.add((label, job.task.name))
            yield (f"{job.task.name} reads layer {layer}; {label} adapts nothing below it, so its modules "
                   "can't change these numbers")


def missing(plan: Plan, has_module: Callable[[str], bool], has_result: Callable[[str], bool]
            ) -> tuple[list[TrainJob], list[ScoreJob]]:
    """The jobs that the store can't answer yet: unscored cells, and the modules they and each other need."""
    score = [job for key, job in plan.score.items() if not has_result(key)]
    wanted: dict[str, TrainJob] = {}

    def want(key: str) -> None:
        if key not in wanted and not has_module(key):
            wanted[key] = plan.train[key]
            for parent in plan.train[key].parents:
                want(parent)

    for job in score:
        for name in compose.names(job.composition):
            want(name)
    return [job for key, job in plan.train.items() if key in wanted], score


def counts(entries: Sequence[Entry]) -> Mapping[str, int]:
    """Entries decided by the plan, by status, and those to be scored."""
    found: dict[str, int] = {}
    for entry in entries:
        found[entry.status or "to score"] = found.get(entry.status or "to score", 0) + 1
    return found
