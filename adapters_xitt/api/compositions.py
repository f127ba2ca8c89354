"""Modules put together: an expression scored, or made into modules of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from adapters_xitt import tasks as registry
from adapters_xitt.api.common import Work, method_of, run_modules, runner_of
from adapters_xitt.api.expressions import (
    Expression,
    expression_work,
    head_of,
    language_modules,
    out_of_context,
    parse_expression,
)
from adapters_xitt.api.grids import Evaluation
from adapters_xitt.api.modules import Module
from adapters_xitt.api.options import CONVENTIONS, ExpressionOptions, Settings, check_choice
from adapters_xitt.data import mixture
from adapters_xitt.data.mixture import Mixture
from adapters_xitt.errors import XittError
from adapters_xitt.model.session import check_device
from adapters_xitt.modules import composition, methods
from adapters_xitt.modules.composition import Composition, Part
from adapters_xitt.progress import notify
from adapters_xitt.study import planner
from adapters_xitt.study.expressions import plan_parts
from adapters_xitt.study.grid import read_grid
from adapters_xitt.study.jobs import ModuleJob
from adapters_xitt.study.module_jobs import Placement, TrainingSpec, merge_job, module_job
from adapters_xitt.study.recipe import Reads
from adapters_xitt.study.store import check_name

# -- scored ----------------------------------------------------------------------------------------


def evaluate(
    composition: str | Module,
    tasks: str | Sequence[str],
    *,
    conventions: str = "default",
    **options: Unpack[ExpressionOptions],
) -> Evaluation:
    """Scores one expression over stored modules on the test splits of `tasks`, in every language
    that each has or in `languages`. What is a merge is made first, and kept; what was scored before
    is not scored again.

    `composition` is a module or an expression: `none` (the encoder as it is), a name, `a > b` (a
    stack, bottom first), `a + b` or `0.6*a - 0.2*b` (low-rank updates added up), `f(a, b)` (a
    trained fusion), `mean(a, b)` and the other merges, `$lang > a` (the module of the language
    under evaluation, below a). With `conventions="all"` there is a number under each way
    that sources read a task. Scores are percent. A `XittError` says what can't be run, and points
    at it.

    >>> evaluation = evaluate("none", ["demo-retrieval"], languages=["de"], store="docs")
    >>> evaluation.frame[["target", "language", "status", "examples"]].values.tolist()
    [['demo-retrieval', 'de', 'done', 300]]
    """
    check_choice("conventions", conventions, CONVENTIONS)
    names = [tasks] if isinstance(tasks, str) else list(tasks)
    settings = Settings(**options)
    check_device(settings.device)
    grids: list[dict[str, Any]] = []
    expression = parse_expression(str(composition), settings.stored)
    for targets in _readings(names, conventions == "all"):
        grids.append(_evaluate(expression, targets, settings, first=not grids, scored=names))
    return Evaluation(expression.text, grids, settings.stored.root)


def _evaluate(
    expression: Expression,
    targets: Mapping[str, str],
    settings: Settings,
    *,
    first: bool,
    scored: Sequence[str],
) -> dict[str, Any]:
    """The grid of one expression on tasks; `targets`: task → convention."""
    reads = Reads.expression(settings.trained, settings.scored or scored)
    work = expression_work(expression, settings.stored, targets, settings, reads=reads)
    with expression.pointing():
        tree = plan_parts(work.plan, expression.composition, 1, target=None)
        languages = [
            code
            for name in targets
            for code in work.plan.recipe.test_languages(registry.task(name))
        ]
        swaps = language_modules(work, tree, settings, languages=list(dict.fromkeys(languages)))
        head = head_of(work, settings)
        planner.plan_composition(work.plan, tree, swaps=swaps, head=head)
    for line in out_of_context(expression, work) if first else ():
        notify(line)
    runner = runner_of(work, **settings.machine)
    runner.run()
    return read_grid(work.plan, work.store, runner.failed)


def _readings(names: Sequence[str], every: bool) -> list[dict[str, str]]:
    """Task → convention, for one run each: as each task is read by default, then the tasks that are
    read otherwise."""
    readings = [dict.fromkeys(names, "")]
    if every:
        known = {name: [reading.name for reading in registry.task(name).readings] for name in names}
        for index in range(1, max(map(len, known.values()))):
            others = {name: names[index] for name, names in known.items() if index < len(names)}
            readings.append(others)
    return readings


# -- made ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Training:
    """How what an expression leaves open is trained, or a module on top of it."""

    task: str
    method: str | None
    seed: int


def compose(
    composition: str | Module,
    *,
    save: str | None = None,
    train: str | None = None,
    method: str | None = None,
    seed: int = 1,
    **options: Unpack[ExpressionOptions],
) -> Module:
    """Makes a module of an expression over stored modules.

    With `save` alone: one module of it, where it can be one, which is called so. With `train`: what
    the expression leaves open, a fusion or a search, is trained on that task; or else the task's
    own module on top of it, of `method`, which is that of the part below it by default; `save`
    names what was trained, and `Module.whole` is the expression that stands for the whole. Nothing
    is done twice: what the store has is found. A `XittError` says why an expression can't be made,
    and points at the part that it is about.

    >>> compose("svd(a, b, rank=2)", save="c", store="docs").manifest.method["rank"]
    2
    """
    settings = Settings(**options)
    if train:
        return _train(str(composition), _Training(train, method, seed), settings, name=save)
    if not save:
        raise XittError("compose: --save names the module, --train the task that trains it")
    return _save(str(composition), save, settings, seed)


def _train(text: str, training: _Training, settings: Settings, *, name: str | None) -> Module:
    """Trains on a task what an expression leaves open, a fusion or a search, or else the task's own
    module on top of it, and gives that a name."""
    check_name(name)
    check_device(settings.device)
    store = settings.stored
    expression = parse_expression(text, store)
    if composition.LANG in composition.names(expression.composition):
        raise XittError(
            f"{text}: {composition.LANG} is another module in each language; train above the one of"
            " the training language by its name, and swap it when you evaluate"
        )
    targets = {mixture.portion(training.task).task: ""}
    reads = Reads.expression(training.task, settings.scored)
    seed = training.seed
    work = expression_work(expression, store, targets, settings, reads=reads, seed=seed)
    target = planner.prepare_training(work.plan, training.task)
    with expression.pointing():
        if composition.untrained_parts(expression.composition):
            tree = plan_parts(work.plan, expression.composition, seed, target=target)
            last_first = reversed(composition.names(tree))
            job = next(
                work.plan.train[key] for key in last_first if key not in expression.manifests
            )
        else:
            base = plan_parts(work.plan, expression.composition, seed, target=None)
            job = _job_above(work, base, target, training)
            tree = job.context
        work.plan.setup(tree)
    _make(work, tree, settings)
    if name:
        store.give_name(name, job.key, tell=notify)
        expression.words[name] = job.key
    return Module(job.key, store.root, name, expression.shown(tree))


def _job_above(work: Work, base: Composition, target: Mixture, training: _Training) -> ModuleJob:
    """The job of a target's module above or beside an expression."""
    plan = work.plan
    plan.setup(base)
    tops = [plan.train[key] for key in composition.heads(base)]
    rate = None
    if training.method:
        choice, rate = method_of(training.method)
    elif tops:
        choice = methods.above(tops[0].method)
    else:
        choice = methods.choose("seq_bn", {})
    is_empty = not composition.names(base)
    mode = "none" if is_empty else methods.block(choice)
    # over what its modules were trained on, for people
    titled = composition.rename(base, lambda key: Part(plan.train[key].mixture.name))
    spec = TrainingSpec(
        mixture=target,
        method=choice,
        learning_rate=rate or choice.spec.learning_rate,
        seed=training.seed,
    )
    placement = Placement(mode=mode, base=None if is_empty else base)
    title = f"{composition.show(titled)} → {target.name} ({mode})"
    job = module_job(plan, spec, placement, title=title)
    plan.setup(job.context)
    return job


def _save(text: str, name: str, settings: Settings, seed: int) -> Module:
    """Makes one module of an expression, where it can be one, and gives it a name."""
    check_name(name)
    check_device(settings.device)
    store = settings.stored
    expression = parse_expression(text, store)
    targets = {next(iter(registry.TASKS)): ""}
    reads = Reads.expression(settings.trained, settings.scored)
    work = expression_work(expression, store, targets, settings, reads=reads, seed=seed)
    with expression.pointing():
        tree = plan_parts(work.plan, expression.composition, seed, target=None)
        if not isinstance(tree, Part):
            tree = Part(merge_job(work.plan, tree, title=expression.shown(tree)).key)
    _make(work, tree, settings)
    store.give_name(name, tree.name, tell=notify)
    return Module(tree.name, store.root, name)


def _make(work: Work, tree: Composition, settings: Settings) -> None:
    """Trains or puts together every module of a composition that the store lacks."""
    jobs = work.plan.missing_modules(composition.names(tree), work.store.has_module)
    run_modules(work, [job.key for job in jobs], settings.machine)
