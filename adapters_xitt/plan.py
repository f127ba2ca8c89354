"""From a recipe to its jobs: every key before anything runs, the cells of the grid, what is blocked or not
applicable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from adapters_xitt import compose, means, mixture
from adapters_xitt.compose import Composition, Nothing, Part
from adapters_xitt.errors import Problems, XittError
from adapters_xitt.formats import Manifest
from adapters_xitt.heads import HEADS
from adapters_xitt.jobs import Plan, TrainJob, best_of, cell_of, module_job
from adapters_xitt.lineage import Exposure
from adapters_xitt.material import Material
from adapters_xitt.methods import Choice, block, not_applicable
from adapters_xitt.metrics import METRICS
from adapters_xitt.mixture import Mixture, Portion
from adapters_xitt.recipe import Recipe
from adapters_xitt.records import NOT_APPLICABLE, Entry
from adapters_xitt.tasks import Task, task

FUSED = "all of them"  # the row of mode fuse: every intermediate and the target's own module


def make(recipe: Recipe, material: Material) -> Plan:
    """The plan of a recipe. Reads its data; a `XittError` lists everything that is missing or can't be run."""
    plan = Plan(recipe, material)
    targets = [_own(plan, task(name)) for name in recipe.targets if task(name).trains]
    _check(plan, [*targets, *recipe.mixtures()], recipe.targets)
    read = [_source(plan, mixed) for mixed in (*targets, *recipe.mixtures())]
    if "lang" in recipe.modes:
        read.append(mixture.single(recipe.language_modules))
    material.means, said = means.decide(material, [mixed for mixed in read if mixed.portions], recipe.targets)
    plan.notes.extend(said)
    for choice, rate in recipe.choices():
        for seed in recipe.seeds:
            row = _Rows(plan, choice, rate, seed)
            for name in recipe.targets:
                row.of(material.task(name))
    plan.notes.extend(_effects(plan))
    plan.notes.extend(f"{name}: XTREME-R trains an encoder of pairs for it; here the encoder and its modules are read "
                      "as they are, so these numbers are not XTREME-R's" for name in recipe.targets
                      if task(name).kind == "ranking")
    return plan


def _own(plan: Plan, target: Task) -> Mixture:
    """What trains a target by itself."""
    portion = plan.recipe.training_portion(plan.material.sources.training_task(target))
    return plan.material.labelled(Mixture(target.name, (portion,)))


def _source(plan: Plan, mixed: Mixture) -> Mixture:
    """An intermediate with each of its tasks replaced by the one whose data trains it."""
    sources = plan.material.sources
    return plan.material.labelled(replace(mixed, portions=tuple(
        replace(part, task=sources.training_task(task(part.task))) for part in mixed.portions)))


def _check(plan: Plan, trained: Sequence[Mixture], targets: Sequence[str]) -> None:
    """What would stop the run later: kinds and metrics that are not there, unreadable data, splits that overlap."""
    material, problems = plan.material, Problems(f"recipe {plan.recipe.name}")
    sources = [_source(plan, mixed) for mixed in trained]
    rows = [row for mixed in sources for row in mixed.tasks] + [task(name) for name in targets]
    for row in {row.name: row for row in rows}.values():
        if row.kind not in HEADS:
            problems.add(f"task {row.name}: this version can't run kind {row.kind!r} yet; it runs {', '.join(HEADS)}")
        elif row.metric not in METRICS:
            problems.add(f"task {row.name}: this version can't score {row.metric!r} yet; it scores "
                         f"{', '.join(METRICS)}")
    problems.raise_if_any()
    for mixed in sources:
        for part in mixed.portions:
            _check_portion(plan, part, mixed, problems)
    for name in targets:
        languages = plan.recipe.tested(task(name))
        if not languages:
            problems.add(f"target {name} is tested in none of the recipe's languages; it has "
                         f"{', '.join(task(name).known)}")
        for language in languages:
            try:
                for rows in material.tested(name, language):
                    if not rows.scored:
                        problems.add(f"{rows.file}: {name} {rows.split} in {language} has no labels to be scored by; "
                                     f"name a file with labels under tasks.{name}.files, or their own under gold")
            except XittError as error:
                problems.add(str(error))
    problems.raise_if_any()
    plan.notes.extend(line for line in material.skipped() if line not in plan.notes)


def _check_portion(plan: Plan, part: Portion, mixed: Mixture, problems: Problems) -> None:
    material = plan.material
    try:
        train, selection = material.train(part, mixed), material.selection(part, mixed)
        material.examples(part, mixed)
    except XittError as error:
        problems.add(str(error))
        return
    seen = frozenset().union(*(material.data_set(rows).ids for rows in train))
    if both := seen & frozenset().union(*(material.data_set(rows).ids for rows in selection)):
        problems.add(f"{part.text}: {len(both)} items, {min(both)} among them, stand in training and in selection; "
                     f"give tasks.{part.task}.selection a split or slice of its own")


class _Rows:
    """The rows of one method and seed."""

    def __init__(self, plan: Plan, choice: Choice, rate: float, seed: int) -> None:
        self.plan, self.choice, self.rate, self.seed = plan, choice, rate, seed
        self.modes = plan.recipe.modes
        self.intermediates = plan.recipe.mixtures()

    def of(self, target: Task) -> None:
        """Every row for one target."""
        own = self.train(_own(self.plan, target), title=target.name) if target.trains else None
        if "none" in self.modes:
            self.place(target, "", "none", own.context if own else Nothing())
            self.steps(target)
        for mixed in self.intermediates:
            for mode in ("sequential", "stack", "sum"):
                if mode in self.modes:
                    self.after(target, mixed, mode)
        if "fuse" in self.modes:
            self.fuse(target, own)
        if "lang" in self.modes:
            self.lang(target)

    def after(self, target: Task, mixed: Mixture, mode: str) -> None:
        """A target's module trained after an intermediate's."""
        random = not mixed.portions
        reason = not_applicable(self.choice.row, mode)
        if random and mode == "sequential":
            reason = "a random module that is trained on is `none` with another start"
        if reason:
            self.fill(target, mixed.name, mode, status=NOT_APPLICABLE, reason=reason)
            return
        parent = self.train(_source(self.plan, mixed), title=mixed.name)
        child = parent
        if target.trains:
            child = self.train(_own(self.plan, target), parent=parent, mode=mode,
                               title=f"{mixed.name} → {target.name} ({mode})")
        self.place(target, mixed.name, mode, child.context)

    def steps(self, target: Task) -> None:
        """The control that trains the target alone for the steps of both."""
        if "steps" not in self.plan.recipe.controls:
            return
        for mixed in self.intermediates:
            if not mixed.portions or any(part.variant for part in mixed.portions):
                continue
            source, row = _source(self.plan, mixed), f"{mixed.name}'s steps"
            if not target.trains:
                self.fill(target, row, "none", status=NOT_APPLICABLE, reason=f"{target.name} trains nothing")
                continue
            more = self.plan.material.steps(source, self.plan.material.settings(source)[0])
            child = self.train(_own(self.plan, target), more=more, title=f"{target.name} with {row}")
            self.place(target, row, "none", child.context)

    def fuse(self, target: Task, own: TrainJob | None) -> None:
        """A fusion over every intermediate's module and the target's own; with a random one, for capacity."""
        rows = {FUSED: [mixed for mixed in self.intermediates
                        if mixed.portions and not any(part.variant for part in mixed.portions)],
                mixture.RANDOM: [mixed for mixed in self.intermediates if not mixed.portions]}
        for name, members in rows.items():
            if not members:
                continue
            reason = not_applicable(self.choice.row, "fuse")
            if own is None:
                reason = f"{target.name} trains nothing, and a fusion must be trained"
            if reason:
                self.fill(target, name, "fuse", status=NOT_APPLICABLE, reason=reason)
                continue
            parts = [*(self.train(_source(self.plan, mixed), title=mixed.name) for mixed in members), own]
            child = self.train(_own(self.plan, target), over=parts, title=f"{name} → {target.name} (fuse)")
            self.place(target, name, "fuse", child.context)

    def lang(self, target: Task) -> None:
        """The target's module above the language module of its training language, which each test language swaps for
        its own (MAD-X, Pfeiffer et al. 2020)."""
        recipe, plan = self.plan.recipe, self.plan
        reason = not_applicable(self.choice.row, "lang")
        if not target.trains:
            reason = f"{target.name} reads two languages at once, and a module is of one"
        if reason:
            self.fill(target, "", "lang", status=NOT_APPLICABLE, reason=reason)
            return
        home = _own(plan, target).portions[0].languages[0]
        modules: dict[str, TrainJob] = {}
        for language in dict.fromkeys([home, *recipe.tested(target)]):
            mixed = Mixture(f"{recipe.language_modules}@{language}",
                            (Portion(recipe.language_modules, (language,), "", recipe.examples),))
            try:
                _check(plan, [mixed], [])
            except XittError:
                if language == home:
                    raise
                self.fill(target, "", "lang", language=language, status=NOT_APPLICABLE,
                          reason=f"no text of {recipe.language_modules} in {language}")
                continue
            modules[language] = self.train(mixed, title=mixed.name)
        parent = modules[home]
        child = self.train(_own(plan, target), parent=parent, mode=block(self.choice),
                           title=f"{parent.mixture.name} → {target.name} (lang)")
        for language in recipe.tested(target):
            if language in modules:
                swapped = {parent.key: modules[language].key}
                self.place(target, "", "lang", compose.rename(
                    child.context, lambda name, swapped=swapped: Part(swapped.get(name, name))), only=language)

    def train(self, mixed: Mixture, *, title: str, parent: TrainJob | None = None, mode: str = "none",
              over: Sequence[TrainJob] = (), more: int = 0) -> TrainJob:
        """The job that trains a mixture: after `parent` in a mode, or as a fusion over modules. With a sweep, the
        best of several."""
        factors = self.plan.recipe.sweep or [1.0]
        if not mixed.portions:
            factors = [1.0]
        tried = [module_job(self.plan, mixed, self.choice, self.rate, self.seed, title=title, parent=parent, mode=mode,
                            over=over, more=more, factor=factor) for factor in factors]
        return tried[0] if len(tried) == 1 else best_of(self.plan, tried)

    def place(self, target: Task, intermediate: str, mode: str, composition: Composition, *,
              only: str | None = None) -> None:
        """The cells of one row on one target, a language each; blocked where test items reached a part."""
        for language in [only] if only else self.plan.recipe.tested(target):
            entry, job = cell_of(self.plan, target, language, composition, self.seed)
            if job is not None:
                self.plan.score.setdefault(job.cell.key, job)
            self.fill(target, intermediate, mode, language=language, **entry)

    def fill(self, target: Task, intermediate: str, mode: str, *, language: str | None = None, **rest: Any) -> None:
        """Entries of the grid, in one language or in all."""
        for code in [language] if language else self.plan.recipe.tested(target):
            self.plan.entries.append(Entry(method=self.choice.label, intermediate=intermediate, mode=mode,
                                           target=target.name, language=code, seed=self.seed, **rest))


def one_module(plan: Plan, text: str, *, parent: TrainJob | None, mode: str) -> TrainJob:
    """Adds the one job of training a portion, in its text form, to an empty plan, after `parent` where there is
    one."""
    (choice, rate), *_ = plan.recipe.choices()
    mixed = _source(plan, mixture.single(text))
    if mixed.portions:
        part = mixed.portions[0]
        mixed = replace(mixed, portions=(replace(part, examples=plan.recipe.part(part.task).examples),))
    _check(plan, [mixed], [])
    plan.material.means, said = means.decide(plan.material, [mixed] if mixed.portions else [], [])
    plan.notes.extend(said)
    title = text
    if parent is not None:
        if reason := not_applicable(choice.row, mode):
            raise XittError(f"--mode {mode}: {reason}")
        title = f"{parent.title} → {text} ({mode})"
    return module_job(plan, mixed, choice, rate, plan.recipe.seeds[0], title=title, parent=parent, mode=mode)


def one_composition(plan: Plan, composition: Composition) -> None:
    """Adds the cells of one composition over stored modules on the recipe's targets to a plan that knows them."""
    parts = [plan.train[name] for name in compose.names(composition)]
    top = parts[-1] if parts else None
    spaces = {mixture.space(part.record) for part in top.mixture.portions} if top else set()
    for name in plan.recipe.targets:
        target = plan.material.task(name)
        if target.trains and mixture.space(target) not in spaces:
            labels = " ".join(target.labels) or "(none)"
            have = (f"the last part, {top.title}, was trained on {top.mixture.name}" if top
                    else "the encoder alone has none")
            raise XittError(f"{name} needs a head for kind {target.kind!r}, labels {labels}; {have}")
    plan.lowered(composition)  # what has no proven form is refused before anything is read
    _check(plan, [], plan.recipe.targets)
    plan.material.means, _ = means.decide(plan.material, [], plan.recipe.targets)
    choice = top.method if top else plan.recipe.choices()[0][0]
    rows = _Rows(plan, choice, 0.0, top.seed if top else 0)
    for name in plan.recipe.targets:
        rows.place(task(name), "", "none", composition)


def known(plan: Plan, manifest: Manifest, choice: Choice) -> TrainJob:
    """A module that the store has already, as a job of the plan."""
    training, record = manifest.training, manifest.mixture
    portions = tuple(Portion(**{**part, "languages": tuple(part["languages"]), "labels": tuple(part.get("labels", ()))})
                     for part in record["portions"])
    mixed = Mixture(manifest.trained_on, **{**record, "portions": portions,
                                            "shares": tuple((text, share) for text, share in record["shares"])})
    plan.train[manifest.key] = TrainJob(
        key=manifest.key, mixture=mixed, method=choice, learning_rate=training["learning_rate"],
        seed=manifest.seed, title=manifest.role, start=training["start"], below=tuple(training["below"]),
        carry_pooler=training["carry_pooler"], context=compose.parse(manifest.context),
        exposure=tuple(Exposure(**one) for one in manifest.exposure), chance=manifest.chance)
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
