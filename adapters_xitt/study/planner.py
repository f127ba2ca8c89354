"""From a recipe to its jobs: every key before anything runs, the cells of the grid, what is blocked
or not applicable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from adapters_xitt.data import mixture
from adapters_xitt.data.mixture import Mixture
from adapters_xitt.errors import Problems, XittError
from adapters_xitt.modules import composition as compose
from adapters_xitt.modules.composition import Composition, Fuse, Merge, Nothing, Part
from adapters_xitt.modules.methods import COMPOSED, Choice, block, not_applicable
from adapters_xitt.study import memory_plan, preflight
from adapters_xitt.study.inputs import Inputs
from adapters_xitt.study.jobs import Plan, TrainJob, best_of, cell_of, merge_job, module_job
from adapters_xitt.study.recipe import TARGET, Recipe, elsewhere
from adapters_xitt.study.results import FAILED, NOT_APPLICABLE, Entry
from adapters_xitt.study.stored_modules import known
from adapters_xitt.tasks import Task, task

FUSED = "all of them"  # the row of mode fuse: every intermediate and the target's own module


def make(recipe: Recipe, inputs: Inputs, *, resolve: Callable[[str], str] | None = None) -> Plan:
    """The plan of a recipe. Reads its data; a `XittError` lists everything that is missing or can't
    be run. `resolve` takes a module that an expression names by its folder or its hub into the
    store, and gives its key."""
    plan = Plan(recipe, inputs)
    if resolve:
        plan.named = {
            word: known(plan, resolve(word))
            for text in recipe.compositions
            for word in compose.names(compose.parse(text))
            if elsewhere(word)
        }
    read = inputs.mixtures()
    _check(plan, read, recipe.targets)
    if "lang" in recipe.modes:
        read.append(mixture.single(recipe.language_modules))
    inputs.means, said = memory_plan.decide(
        inputs, [mixed for mixed in read if mixed.portions], recipe.targets
    )
    plan.notes.extend(said)
    for choice, rate in recipe.choices():
        for seed in recipe.seeds:
            row = _Rows(plan, choice, rate, seed)
            for name in recipe.targets:
                row.of(inputs.task(name))
    plan.notes.extend([*plan.inputs.contamination.notes, *_effects(plan)])
    plan.notes.extend(
        f"{name}: XTREME-R trains an encoder of pairs for it; here the encoder and its modules are"
        " read as they are, so these numbers are not XTREME-R's"
        for name in recipe.targets
        if task(name).kind == "ranking"
    )
    return plan


def _check(plan: Plan, trained: Sequence[Mixture], targets: Sequence[str]) -> None:
    """Refuses data that can't be read, trained on or scored, every problem at once."""
    problems = Problems(f"recipe {plan.recipe.name}")
    preflight.check_data(plan.inputs, trained, targets, problems)
    problems.raise_if_any()
    plan.notes.extend(line for line in plan.inputs.skipped() if line not in plan.notes)


class _Rows:
    """The rows of one method and seed."""

    def __init__(self, plan: Plan, choice: Choice, rate: float, seed: int) -> None:
        self.plan, self.choice, self.rate, self.seed = plan, choice, rate, seed
        self.inputs = plan.inputs
        self.modes = plan.recipe.modes
        self.intermediates = plan.recipe.mixtures()

    def of(self, target: Task) -> None:
        """Every row for one target."""
        own = (
            self.train(self.inputs.training_mixture(target), title=target.name)
            if target.trains
            else None
        )
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
        for text in self.plan.recipe.compositions:
            self.composed(target, own, text)

    def composed(self, target: Task, own: TrainJob | None, text: str) -> None:
        """A row that the recipe writes as an expression over intermediates and the target's own
        module."""
        found = {mixed.name: mixed for mixed in self.intermediates}
        written = compose.parse(text)

        spoken = {"": None}
        if compose.LANG in compose.names(written):
            spoken = self.language_modules(target, None, intermediate=text, mode=COMPOSED)
        for language, module in spoken.items():

            def named(word: str, module: TrainJob | None = module) -> Composition:
                if word == TARGET:
                    return own.context if own else Nothing()
                # alone it brings the parts that it was trained above, as everywhere
                if word in self.plan.named:
                    found_there = self.plan.named[word]
                    return found_there.context if written == Part(word) else Part(found_there.key)
                if word == compose.LANG:
                    return module.context
                return self.train(self.inputs.with_sources(found[word]), title=word).context

            try:
                if own is None and compose.names(written) == (TARGET,):
                    raise XittError(f"{target.name} trains nothing")
                composition = made(
                    self.plan,
                    compose.rename(written, named),
                    self.seed,
                    target=self.inputs.training_mixture(target) if own else None,
                )
                self.plan.setup(composition)
            except XittError as error:
                self.fill(
                    target,
                    text,
                    COMPOSED,
                    language=language or None,
                    status=NOT_APPLICABLE,
                    reason=self.plan.called(str(error).splitlines()[0]),
                )
                continue
            self.place(target, text, COMPOSED, composition, only=language or None)

    def after(self, target: Task, mixed: Mixture, mode: str) -> None:
        """A target's module trained after an intermediate's."""
        random = not mixed.portions
        reason = not_applicable(self.choice.row, mode)
        if random and mode == "sequential":
            reason = "a random module that is trained on is `none` with another start"
        if reason:
            self.fill(target, mixed.name, mode, status=NOT_APPLICABLE, reason=reason)
            return
        parent = self.train(self.inputs.with_sources(mixed), title=mixed.name)
        child = parent
        if target.trains:
            child = self.train(
                self.inputs.training_mixture(target),
                parent=parent,
                mode=mode,
                title=f"{mixed.name} → {target.name} ({mode})",
            )
        self.place(target, mixed.name, mode, child.context)

    def steps(self, target: Task) -> None:
        """The control that trains the target alone for the steps of both."""
        if "steps" not in self.plan.recipe.controls:
            return
        for mixed in self.intermediates:
            if not mixed.portions or any(part.variant for part in mixed.portions):
                continue
            source, row = self.inputs.with_sources(mixed), f"{mixed.name}'s steps"
            if not target.trains:
                self.fill(
                    target,
                    row,
                    "none",
                    status=NOT_APPLICABLE,
                    reason=f"{target.name} trains nothing",
                )
                continue
            more = self.inputs.steps(source, self.inputs.settings(source)[0])
            child = self.train(
                self.inputs.training_mixture(target), more=more, title=f"{target.name} with {row}"
            )
            self.place(target, row, "none", child.context)

    def fuse(self, target: Task, own: TrainJob | None) -> None:
        """A fusion over every intermediate's module and the target's own; with a random one, for
        capacity."""
        rows = {
            FUSED: [
                mixed
                for mixed in self.intermediates
                if mixed.portions and not any(part.variant for part in mixed.portions)
            ],
            mixture.RANDOM: [mixed for mixed in self.intermediates if not mixed.portions],
        }
        for name, members in rows.items():
            if not members:
                continue
            reason = not_applicable(self.choice.row, "fuse")
            if own is None:
                reason = f"{target.name} trains nothing, and a fusion must be trained"
            if reason:
                self.fill(target, name, "fuse", status=NOT_APPLICABLE, reason=reason)
                continue
            # An intermediate may be the target's own module, as MNLI is XNLI's: it counts once.
            parts = {
                job.key: job
                for job in [
                    *(
                        self.train(self.inputs.with_sources(mixed), title=mixed.name)
                        for mixed in members
                    ),
                    own,
                ]
            }
            if len(parts) == 1:
                self.fill(
                    target,
                    name,
                    "fuse",
                    status=NOT_APPLICABLE,
                    reason=(
                        f"{members[0].name} is {target.name}'s own module; there is no other to"
                        " fuse it with"
                    ),
                )
                continue
            child = self.train(
                self.inputs.training_mixture(target),
                over=tuple(parts.values()),
                title=f"{name} → {target.name} (fuse)",
            )
            self.place(target, name, "fuse", child.context)

    def lang(self, target: Task) -> None:
        """The target's module above the language module of its training language, which each test
        language swaps for its own (MAD-X, Pfeiffer et al. 2020)."""
        recipe, plan = self.plan.recipe, self.plan
        reason = not_applicable(self.choice.row, "lang")
        if not target.trains:
            reason = f"{target.name} reads two languages at once, and a module is of one"
        if reason:
            self.fill(target, "", "lang", status=NOT_APPLICABLE, reason=reason)
            return
        home = plan.inputs.training_mixture(target).portions[0].languages[0]
        modules = self.language_modules(target, home, intermediate="", mode="lang")
        parent = modules[home]
        child = self.train(
            plan.inputs.training_mixture(target),
            parent=parent,
            mode=block(self.choice),
            title=f"{parent.mixture.name} → {target.name} (lang)",
        )
        for language in recipe.tested(target):
            if language in modules:
                swapped = {parent.key: modules[language].key}
                self.place(
                    target,
                    "",
                    "lang",
                    compose.rename(
                        child.context, lambda name, swapped=swapped: Part(swapped.get(name, name))
                    ),
                    only=language,
                )

    def language_modules(
        self, target: Task, home: str | None, *, intermediate: str, mode: str
    ) -> dict[str, TrainJob]:
        """The module of each language that the target is tested in, and of `home`; a language
        without text is not applicable in that row, `home` without text a mistake."""
        recipe, found = self.plan.recipe, {}
        for language in dict.fromkeys([*([home] if home else []), *recipe.tested(target)]):
            mixed = Mixture(
                f"{recipe.language_modules}@{language}", (recipe.language_portion(language),)
            )
            try:
                _check(self.plan, [mixed], [])
            except XittError:
                if language == home:
                    raise
                self.fill(
                    target,
                    intermediate,
                    mode,
                    language=language,
                    status=NOT_APPLICABLE,
                    reason=f"no text of {recipe.language_modules} in {language}",
                )
                continue
            found[language] = self.train(mixed, title=mixed.name)
        return found

    def train(
        self,
        mixed: Mixture,
        *,
        title: str,
        parent: TrainJob | None = None,
        mode: str = "none",
        over: Sequence[TrainJob] = (),
        more: int = 0,
    ) -> TrainJob:
        """The job that trains a mixture: after `parent` in a mode, or as a fusion over modules.
        With a sweep, the best of several."""
        factors = self.plan.recipe.sweep or [1.0]
        if not mixed.portions:
            factors = [1.0]
        tried = [
            module_job(
                self.plan,
                mixed,
                self.choice,
                self.rate,
                self.seed,
                title=title,
                parent=parent,
                mode=mode,
                over=over,
                more=more,
                factor=factor,
            )
            for factor in factors
        ]
        return tried[0] if len(tried) == 1 else best_of(self.plan, tried)

    def place(
        self,
        target: Task,
        intermediate: str,
        mode: str,
        composition: Composition,
        *,
        only: str | None = None,
        head: str = "",
    ) -> None:
        """The cells of one row on one target, a language each; blocked where test items reached a
        part. What has no proven form has failed before anything runs."""
        try:
            self.plan.setup(composition)
        except XittError as error:
            self.fill(
                target,
                intermediate,
                mode,
                language=only,
                status=FAILED,
                reason=self.plan.called(str(error).splitlines()[0]),
            )
            return
        for language in [only] if only else self.plan.recipe.tested(target):
            entry, job = cell_of(self.plan, target, language, composition, self.seed, head=head)
            if job is not None:
                self.plan.score.setdefault(job.cell.key, job)
            self.fill(target, intermediate, mode, language=language, **entry)

    def fill(
        self,
        target: Task,
        intermediate: str,
        mode: str,
        *,
        language: str | None = None,
        **rest: Any,
    ) -> None:
        """Entries of the grid, in one language or in all."""
        for code in [language] if language else self.plan.recipe.tested(target):
            self.plan.entries.append(
                Entry(
                    method=self.choice.label,
                    intermediate=intermediate,
                    mode=mode,
                    target=target.name,
                    language=code,
                    seed=self.seed,
                    **rest,
                )
            )


def made(plan: Plan, composition: Composition, seed: int, *, target: Mixture | None) -> Composition:
    """A composition with everything in it that has to be made first as jobs of the plan: merges,
    and fusions and searches on `target`."""

    def job(node: Fuse | Merge) -> Composition:
        titles = {name: plan.train[name].mixture.name for name in compose.names(node)}
        text = compose.show(compose.rename(node, lambda name: Part(titles[name])))
        if isinstance(node, Merge):
            return Part(merge_job(plan, node, title=text, target=target).key)
        parts = fusable(plan, node)
        if target is None:
            raise XittError(
                f"{compose.show(node)}: a fusion is trained on a task; name it: --train TASK"
            )
        return Fuse(
            node.parts,
            module_job(
                plan,
                target,
                parts[-1].method,
                parts[-1].learning_rate,
                seed,
                over=parts,
                title=f"{text} → {target.name}",
            ).key,
        )

    return compose.replaced(composition, job)


def fusable(plan: Plan, node: Fuse) -> list[TrainJob]:
    """The modules that a fusion is to be trained over; a `XittError` where it can't be."""
    text, parts = compose.show(node), [plan.train[name] for name in compose.names(node)]
    if not all(isinstance(part, Part) for part in node.parts) or any(
        job.context != Part(job.key) for job in parts
    ):
        raise XittError(
            f"{text}: a fusion has a proven form over single modules only, each trained alone"
        )
    if reason := next(
        filter(None, (not_applicable(job.method.row, "fuse") for job in parts)), None
    ):
        raise XittError(f"{text}: {reason}")
    if (
        len(kinds := dict.fromkeys(job.method.name for job in parts)) > 1
        and parts[-1].method.row.engine != "peft"
    ):
        raise XittError(
            f"{text}: modules of {', '.join(kinds)} can't be fused; fuse modules of one method"
        )
    if len({job.method.row.engine for job in parts}) > 1:
        raise XittError(
            f"{text}: bottlenecks and low-rank updates can't be fused; fuse modules of one method"
        )
    return parts


def prepared(plan: Plan, text: str) -> Mixture:
    """What training on a portion, in its text form, reads: its data read and checked, and the means
    of the run decided."""
    named = plan.recipe.named_portion(text)
    mixed = plan.inputs.with_sources(Mixture(named.text, (named,)))
    _check(plan, [mixed], [])
    plan.inputs.means, said = memory_plan.decide(plan.inputs, [mixed], [])
    plan.notes.extend(said)
    return mixed


def one_module(plan: Plan, text: str, *, parent: TrainJob | None, mode: str) -> TrainJob:
    """Adds the one job of training a portion, in its text form, to an empty plan, after `parent`
    where there is one."""
    (choice, rate), *_ = plan.recipe.choices()
    mixed = prepared(plan, text)
    title = mixed.name
    if parent is not None:
        if reason := not_applicable(choice.row, mode):
            raise XittError(f"--mode {mode}: {reason}")
        title = f"{parent.title} → {mixed.name} ({mode})"
    return module_job(
        plan, mixed, choice, rate, plan.recipe.seeds[0], title=title, parent=parent, mode=mode
    )


def one_composition(
    plan: Plan,
    composition: Composition,
    *,
    swaps: Mapping[str, Mapping[str, str]] | None = None,
    head: str | None = None,
) -> None:
    """Adds the cells of one composition over stored modules on the recipe's targets to a plan that
    knows them. `swaps`: language → which modules stand there for others, as `$lang` for that
    language's. `head`: the module whose head stands on top, where it is not the composition's
    own."""
    tops = [
        plan.train[name]
        for name in ([head] if head else compose.heads(composition))
        if name in plan.train
    ]
    for name in plan.recipe.targets:
        target = plan.inputs.task(name)
        if target.trains and not any(mixture.space(target) in top.spaces for top in tops):
            labels = " ".join(target.labels) or "(none)"
            have = "; ".join(f"{top.title} was trained on {top.mixture.name}" for top in tops)
            raise XittError(
                f"{name} needs a head for kind {target.kind!r}, labels {labels}; "
                f"{have or 'the encoder alone has none'}"
            )
    languages = {
        language: compose.rename(composition, lambda name, own=own: Part(own.get(name, name)))
        for language, own in (swaps or {"": {}}).items()
    }
    for one in languages.values():
        plan.setup(one)  # what has no proven form is refused before anything is read
    _check(plan, [], plan.recipe.targets)
    plan.inputs.means, _ = memory_plan.decide(plan.inputs, [], plan.recipe.targets)
    choice = tops[0].method if tops else plan.recipe.choices()[0][0]
    rows = _Rows(plan, choice, 0.0, tops[0].seed if tops else 0)
    for name in plan.recipe.targets:
        for language in plan.recipe.tested(task(name)):
            if one := languages.get(language if swaps else ""):
                rows.place(task(name), "", "none", one, only=language, head=head or "")
            else:
                rows.fill(
                    task(name),
                    "",
                    "none",
                    language=language,
                    status=NOT_APPLICABLE,
                    reason=f"no module stands for {compose.LANG} in {language}",
                )
    plan.notes.extend(plan.inputs.contamination.notes)


def _effects(plan: Plan) -> Iterable[str]:
    """Compositions that can't change what a retrieval task reads, because nothing of theirs lies
    below its layer."""
    told = set()
    for job in plan.score.values():
        if job.task.trains or not compose.names(job.composition):
            continue
        depth, layer = plan.setup(job.composition).depth, plan.inputs.layer(job.task.name)
        label = plan.train[compose.names(job.composition)[-1]].method.label
        if depth >= layer and (label, job.task.name) not in told:
            told.add((label, job.task.name))
            yield (
                f"{job.task.name} reads layer {layer}; {label} adapts nothing below it, so its"
                " modules can't change these numbers"
            )
