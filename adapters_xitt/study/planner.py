"""From a recipe to its jobs: every key before anything runs, the cells of the grid, what is blocked
or not applicable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from adapters_xitt import sizes
from adapters_xitt.data.mixture import Mixture, single, space
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import KINDS
from adapters_xitt.model.trunk import KEPT_BYTES, ROOM
from adapters_xitt.modules.composition import LANG, Composition, heads, names, parse
from adapters_xitt.study import memory_plan, preflight
from adapters_xitt.study.grid_rows import GridRow, GridRows, swap
from adapters_xitt.study.inputs import Inputs
from adapters_xitt.study.jobs import ModuleJob
from adapters_xitt.study.module_jobs import Placement, TrainingSpec, module_job
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.recipe import Recipe, elsewhere
from adapters_xitt.study.results import NOT_APPLICABLE
from adapters_xitt.study.stored_modules import add_stored_module
from adapters_xitt.tasks import Task, task

Resolve = Callable[[str], str]  # the key of a module that an expression names


def plan_recipe(recipe: Recipe, inputs: Inputs, *, resolve: Resolve | None = None) -> Plan:
    """The plan of a recipe. Reads its data; a `XittError` lists everything that is missing or can't
    be run. `resolve` takes a module that an expression names by its folder or its hub into the
    store, and gives its key."""
    plan = Plan(recipe, inputs)
    if resolve:
        for word in _named_elsewhere(recipe):
            plan.named[word] = add_stored_module(plan, resolve(word))
    mixtures = inputs.mixtures()
    preflight.require_data(plan, mixtures, recipe.targets)
    if "lang" in recipe.modes:
        mixtures.append(single(recipe.language_modules))
    trained = [mixture for mixture in mixtures if mixture.portions]
    _check_kept_trunk(inputs, trained)
    _decide_memory(plan, trained, recipe.targets)
    for method, learning_rate in recipe.choices():
        for seed in recipe.seeds:
            rows = GridRows(plan, method, learning_rate, seed)
            for name in recipe.targets:
                rows.add_all(inputs.task(name))
    plan.notes.extend([*inputs.contamination.notes, *_without_effect(plan)])
    plan.notes.extend(
        f"{name}: {KINDS[task(name).kind].note}"
        for name in recipe.targets
        if KINDS[task(name).kind].note
    )
    return plan


def prepare_training(plan: Plan, text: str) -> Mixture:
    """What training on a portion, in its text form, reads: its data read and checked, and the
    memory plan of the run decided."""
    portion = plan.recipe.named_portion(text)
    mixture = plan.inputs.with_sources(Mixture(portion.text, (portion,)))
    preflight.require_data(plan, [mixture], [])
    _decide_memory(plan, [mixture], [])
    return mixture


def plan_module(plan: Plan, text: str, *, parent: ModuleJob | None, mode: str) -> ModuleJob:
    """Adds the one job of training a portion, in its text form, to an empty plan, after `parent`
    where there is one."""
    (method, learning_rate), *_ = plan.recipe.choices()
    mixture = prepare_training(plan, text)
    title = mixture.name
    if parent is not None:
        if reason := method.spec.refusal(mode):
            raise XittError(f"--mode {mode}: {reason}")
        title = f"{parent.title} → {mixture.name} ({mode})"
    training = TrainingSpec(
        mixture=mixture, method=method, learning_rate=learning_rate, seed=plan.recipe.seeds[0]
    )
    return module_job(plan, training, Placement(mode=mode, parent=parent), title=title)


def plan_composition(
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
    composition = swap(composition, {})  # a stack within a stack becomes one
    tops = [
        plan.train[key] for key in ([head] if head else heads(composition)) if key in plan.train
    ]
    targets = [plan.inputs.task(name) for name in plan.recipe.targets]
    for target in targets:
        _check_head(target, tops)
    # language → the composition that is scored in it; without swaps the same in all
    compositions = {language: swap(composition, keys) for language, keys in (swaps or {}).items()}
    for form in compositions.values() or [composition]:
        plan.setup(form)  # what has no proven form is refused before anything is read
    preflight.require_data(plan, [], plan.recipe.targets)
    plan.inputs.memory_plan, _ = memory_plan.decide(plan.inputs, [], plan.recipe.targets)
    method = tops[0].method if tops else plan.recipe.choices()[0][0]
    rows = GridRows(plan, method, 0.0, tops[0].seed if tops else 0)
    for target in targets:
        grid_row = GridRow(target, "", "none")
        for language in plan.recipe.test_languages(target):
            if swaps and language not in compositions:
                reason = f"no module stands for {LANG} in {language}"
                rows.add_entries(grid_row, language=language, status=NOT_APPLICABLE, reason=reason)
                continue
            form = compositions.get(language, composition)
            rows.add_cells(grid_row, form, language=language, head=head or "")
    plan.notes.extend(plan.inputs.contamination.notes)


def _named_elsewhere(recipe: Recipe) -> Iterator[str]:
    """The modules that a recipe's expressions name by their folder or on a hub."""
    for text in recipe.compositions:
        yield from filter(elsewhere, names(parse(text)))


def _check_kept_trunk(inputs: Inputs, mixtures: Sequence[Mixture]) -> None:
    """Refuses to keep more of a trunk than there is room for."""
    if inputs.recipe.kept_depth(inputs.files.layers) is None:
        return
    for mixture in mixtures:
        for portion in inputs.data(mixture):
            size = KEPT_BYTES * inputs.files.width * int(portion.train.lengths.sum())
            if size > ROOM:
                raise XittError(
                    f"trunk: kept: what is kept of {portion.name} takes {sizes.show(size)}, and"
                    f" there is room for {sizes.show(ROOM)}; leave trunk out, or cut it to fewer"
                    " examples"
                )


def _decide_memory(plan: Plan, mixtures: Sequence[Mixture], targets: Sequence[str]) -> None:
    """Decides the memory plan of a run, and notes why."""
    plan.inputs.memory_plan, notes = memory_plan.decide(plan.inputs, mixtures, targets)
    plan.notes.extend(notes)


def _check_head(target: Task, tops: Sequence[ModuleJob]) -> None:
    """Refuses to score a target that needs a head which no module on top has."""
    if not target.trains or any(space(target) in top.spaces for top in tops):
        return
    labels = " ".join(target.labels) or "(none)"
    have = "; ".join(f"{top.title} was trained on {top.mixture.name}" for top in tops)
    raise XittError(
        f"{target.name} needs a head for kind {target.kind!r}, labels {labels}; "
        f"{have or 'the encoder alone has none'}"
    )


def _without_effect(plan: Plan) -> Iterator[str]:
    """Compositions that can't change what a retrieval task reads, because nothing of theirs lies
    below its layer."""
    noted = set()
    for job in plan.score.values():
        if job.task.trains or not names(job.composition):
            continue
        depth, layer = plan.setup(job.composition).depth, plan.inputs.layer(job.task.name)
        label = plan.train[names(job.composition)[-1]].method.label
        if depth >= layer and (label, job.task.name) not in noted:
            noted.add((label, job.task.name))
            yield (
                f"{job.task.name} reads layer {layer}; {label} adapts nothing below it, so its"
                " modules can't change these numbers"
            )
