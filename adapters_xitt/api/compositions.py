"""What the commands for expressions do: find the modules they name, explain them, make what is
missing, score them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters_xitt import tasks
from adapters_xitt.api.common import Work, empty, encoder_of, method_of, recipe_of, runner_of
from adapters_xitt.data import mixture
from adapters_xitt.errors import XittError, nearest
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.model.session import check_device
from adapters_xitt.modules import composition as compose
from adapters_xitt.modules import merging, methods
from adapters_xitt.modules.composition import Composition, Fuse, Merge, Part
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.modules.methods import Choice
from adapters_xitt.progress import say
from adapters_xitt.sharing import bundle
from adapters_xitt.study import costs, planner
from adapters_xitt.study.expressions import fusion_parts, plan_parts
from adapters_xitt.study.grid import read_grid
from adapters_xitt.study.jobs import MergedModule, ModuleJob
from adapters_xitt.study.module_jobs import Placement, TrainingSpec, merge_job, module_job
from adapters_xitt.study.recipe import Reads
from adapters_xitt.study.store import Store, check_name, default_root
from adapters_xitt.study.stored_modules import add_stored_module

SPOKEN = "lang-{lang}"  # the names of language modules, where nothing else is said


@dataclass(frozen=True, kw_only=True)
class Options:
    """What several commands are told beside the expression."""

    encoder: str | None = None
    data: str | None = None
    overrides: Sequence[str] = ()
    languages: Sequence[str] = ()
    spoken: str = SPOKEN  # names of the modules that stand for $lang
    head: str | None = None  # the module whose head stands on top
    trained: str | None = None  # the portion that is trained on
    scored: Sequence[str] = ()  # the tasks that are scored
    method: str | None = None  # of a module trained on top
    seed: int = 1
    machine: Mapping[str, Any] = field(default_factory=dict)  # device, threads, log, keep_every


@dataclass(frozen=True)
class Found:
    """An expression over the keys of stored modules, and who they are."""

    text: str
    composition: Composition  # `$lang` stays
    words: dict[str, str]  # as written → key
    manifests: dict[str, Manifest]
    names: dict[str, str]  # key → the store's name

    def _word(self, key: str) -> str:
        """A module as the expression has it, as the store has it, or by its first digits."""
        back = {own: word for word, own in self.words.items()}
        return back.get(key) or self.names.get(key) or key[:12]

    def called(self, composition: Composition) -> str:
        """An expression over keys as its user would write it."""
        return compose.show(compose.rename(composition, lambda key: Part(self._word(key))))

    @contextmanager
    def pointing(self) -> Iterator[None]:
        """Tells a refusal in the words of the expression, and points at the part that it is
        about."""
        try:
            yield
        except XittError as error:
            told = re.sub("[0-9a-f]{64}", lambda key: self._word(key[0]), str(error))
            raise XittError(_pointed(self.text, told, told.partition(": ")[0])) from None


def _pointed(text: str, told: str, about: str) -> str:
    """An error with the expression below it and a caret where `about`, a part of it, begins."""
    first = next(iter(compose.names(compose.parse(about))), about) if _readable(about) else about
    place = re.search(rf"(?<![\w.@/:-]){re.escape(first)}(?![\w.@/:-])", text)
    return f"{told}\n  {text}\n  {' ' * place.start()}^" if place else told


def _readable(text: str) -> bool:
    try:
        compose.parse(text)
    except XittError:
        return False
    return True


def find(text: str, where: Store) -> Found:
    """The modules that an expression names. A module by itself brings the parts that it was trained
    above or over."""
    written, words = compose.parse(text), {}
    resolve = bundle.resolver(where, tell=say)
    for word in compose.names(written):
        try:
            words |= {word: resolve(word)} if word != compose.LANG else {}
        except XittError as error:
            near = (
                nearest(word, [compose.FUSE, *compose.MERGES])
                if compose.fusion_parts(written, word)
                else None
            )
            told = f"{error} Did you mean {near}(…)?" if near else str(error)
            raise XittError(_pointed(text, told, word)) from None
    manifests = {key: where.manifest(key) for key in words.values()}
    if isinstance(written, Part) and written.name in words:
        composition = compose.parse(manifests[words[written.name]].context)
    else:
        composition = compose.rename(written, lambda word: Part(words.get(word, word)))
    return Found(
        text, composition, words, manifests, {key: name for name, key in where.names().items()}
    )


def _work(found: Found, where: Store, targets: Mapping[str, str], options: Options) -> Work:
    """A plan that knows the modules of an expression; `targets`: task → convention."""
    ours = [one for one in found.manifests.values() if one.encoder_is_ours]
    first = next(iter(ours or found.manifests.values()), None)
    values = {
        "name": "compose",
        "encoder": encoder_of(first, options.encoder),
        "methods": ["seq_bn"],
        "intermediates": [],
        "targets": list(targets),
        "modes": ["none"],
        "seeds": [options.seed],
        **({"languages": list(options.languages)} if options.languages else {}),
        "tasks": {name: {"convention": one} for name, one in targets.items() if one},
    }
    reads = Reads.expression(options.trained, options.scored)
    work = empty(recipe_of(values, options.overrides, options.data, reads), where)
    with found.pointing():
        for key in compose.names(found.composition):
            if key != compose.LANG:
                add_stored_module(work.plan, key)
    return work


# -- scored ----------------------------------------------------------------------------------------


def evaluate(
    text: str,
    names: Sequence[str],
    *,
    store: Path | None,
    options: Options,
    all_conventions: bool = False,
) -> list[dict[str, Any]]:
    """Scores one composition on tasks, and gives the grid of its cells; with `all_conventions` one
    for each way that a task is read. What is a merge is made first, and kept."""
    check_device(options.machine["device"])
    where = Store(store or default_root())
    found, grids, options = find(text, where), [], replace(options, scored=options.scored or names)
    for targets in _readings(names, all_conventions):
        work = _work(found, where, targets, options)
        with found.pointing():
            composition = plan_parts(work.plan, found.composition, options.seed, target=None)
            swaps = _spoken(
                work,
                composition,
                options,
                asked=list(
                    dict.fromkeys(
                        code
                        for name in targets
                        for code in work.plan.recipe.tested(tasks.task(name))
                    )
                ),
            )
            head = bundle.resolver(where, tell=say)(options.head) if options.head else None
            if head:
                add_stored_module(work.plan, head)
            planner.plan_composition(work.plan, composition, swaps=swaps, head=head)
        for line in [] if grids else _out_of_context(found, work):
            say(line)
        runner = runner_of(work, **options.machine)
        runner.run()
        grids.append(read_grid(work.plan, where, runner.failed))
    return grids


def _readings(names: Sequence[str], every: bool) -> list[dict[str, str]]:
    """Task → convention, for one run each: as each task is read by default, then the tasks that are
    read otherwise."""
    found = [dict.fromkeys(names, "")]
    if every:
        ways = {name: [one.name for one in tasks.task(name).readings] for name in names}
        for at in range(1, max(map(len, ways.values()))):
            found.append({name: others[at] for name, others in ways.items() if at < len(others)})
    return found


def _spoken(
    work: Work, composition: Composition, options: Options, *, asked: Sequence[str]
) -> dict[str, dict[str, str]] | None:
    """Language → the module of it that stands for `$lang`; None where an expression has no such
    place."""
    if compose.LANG not in compose.names(composition):
        return None
    if "{lang}" not in options.spoken:
        raise XittError(
            f"--lang {options.spoken!r}: a pattern of names with {{lang}} in it, as {SPOKEN!r}"
        )
    check_name(options.spoken.replace("{lang}", asked[0]))
    named = work.store.names()
    found = {
        code: {compose.LANG: named[name]}
        for code in asked
        if (name := options.spoken.replace("{lang}", code)) in named
    }
    if not found:
        name = options.spoken.replace("{lang}", asked[0])
        raise XittError(
            f"{compose.LANG}: the store has no module called {name} or the like; train one in each"
            f" language, as in {_advised(work, composition, asked[0])} --name {name}, or name"
            " others: --lang PATTERN"
        )
    for own in found.values():
        add_stored_module(work.plan, own[compose.LANG])
    return found


def _advised(work: Work, composition: Composition, language: str) -> str:
    """The command that trains a module for a language, of the method and on the encoder of an
    expression's parts."""
    chosen = [
        work.plan.train[key].method.name
        for key in compose.names(composition)
        if key in work.plan.train
    ]
    method = next(
        (f" --method {name}" for name in chosen if name in methods.METHODS and name != "seq_bn"), ""
    )
    return f"xitt train text@{language}{method} --encoder {shlex.quote(work.plan.recipe.encoder)}"


# -- made ------------------------------------------------------------------------------------------


def train(
    text: str, task: str, *, store: Path | None, options: Options, name: str | None
) -> tuple[Manifest, str]:
    """Trains on a task what an expression leaves open, a fusion or a search, or else the task's own
    module on top of it, and gives that a name; its manifest, and the expression that then stands
    for the whole."""
    check_name(name)
    check_device(options.machine["device"])
    where = Store(store or default_root())
    found = find(text, where)
    if compose.LANG in compose.names(found.composition):
        raise XittError(
            f"{text}: {compose.LANG} is another module in each language; train above the one of the"
            " training language by its name, and swap it when you evaluate"
        )
    work = _work(found, where, {mixture.portion(task).task: ""}, options)
    target = planner.prepare_training(work.plan, task)
    with found.pointing():
        if compose.untrained_parts(found.composition):
            composition = plan_parts(work.plan, found.composition, options.seed, target=target)
            job = next(
                work.plan.train[key]
                for key in reversed(compose.names(composition))
                if key not in found.manifests
            )
        else:
            base = plan_parts(work.plan, found.composition, options.seed, target=None)
            job = _on_top(work, base, target, options)
            composition = job.context
        work.plan.setup(composition)
    make(work, composition, options)
    if name:
        where.give_name(name, job.key, tell=say)
        found.words[name] = job.key
    return where.manifest(job.key), found.called(composition)


def _by_name(work: Work, composition: Composition) -> Composition:
    """A composition over what its modules were trained on, for people."""
    return compose.rename(composition, lambda key: Part(work.plan.train[key].mixture.name))


def _on_top(work: Work, base: Composition, target: Any, options: Options) -> ModuleJob:
    """The job of a target's module above or beside an expression."""
    work.plan.setup(base)
    tops = [work.plan.train[key] for key in compose.heads(base)]
    choice, rate = (
        method_of(options.method)
        if options.method
        else (methods.above(tops[0].method) if tops else methods.choose("seq_bn", {}), None)
    )
    mode = methods.block(choice) if compose.names(base) else "none"
    training = TrainingSpec(
        mixture=target,
        method=choice,
        learning_rate=rate or choice.spec.learning_rate,
        seed=options.seed,
    )
    placement = Placement(mode=mode, base=base if compose.names(base) else None)
    job = module_job(
        work.plan,
        training,
        placement,
        title=f"{compose.show(_by_name(work, base))} → {target.name} ({mode})",
    )
    work.plan.setup(job.context)
    return job


def save(text: str, name: str, *, store: Path | None, options: Options) -> Manifest:
    """Makes one module of an expression, where it can be one, and gives it a name."""
    check_name(name)
    check_device(options.machine["device"])
    where = Store(store or default_root())
    found = find(text, where)
    work = _work(found, where, {next(iter(tasks.TASKS)): ""}, options)
    with found.pointing():
        composition = plan_parts(work.plan, found.composition, options.seed, target=None)
        if not isinstance(composition, Part):
            composition = Part(
                merge_job(work.plan, composition, title=found.called(composition)).key
            )
    make(work, composition, options)
    where.give_name(name, composition.name, tell=say)
    return where.manifest(composition.name)


def make(work: Work, composition: Composition, options: Options) -> None:
    """Trains or puts together every module of a composition that the store lacks."""
    runner = runner_of(work, **options.machine)
    wanted = [
        job.key
        for job in work.plan.missing_modules(compose.names(composition), work.store.has_module)
    ]
    runner.train_only(wanted)
    for key in wanted:
        if key in runner.failed:
            raise XittError(f"{work.plan.train[key].title}: {runner.failed[key]}")


# -- explained -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Explained:
    """What is to be known of an expression before it is run."""

    found: Found
    work: Work
    composition: Composition  # over keys, as written
    errors: dict[str, dict[str, float]]  # merge as written → error at each layer and place
    lost: dict[str, dict[str, float]]  # the same: what its rank cut off
    open: list[str]  # what has still to be trained or searched
    warnings: list[str]
    runs: list[str]  # the libraries' forms
    heads: list[str]
    memory: list[str]


def explain(text: str, *, store: Path | None, options: Options) -> Explained:
    """An expression taken apart: refused where it can't be run, its merges made in memory and
    measured."""
    where = Store(store or default_root())
    found = find(text, where)
    work = _work(found, where, {next(iter(tasks.TASKS)): ""}, options)
    with found.pointing():
        measured = {
            found.called(node): _measured(work, node) for node in _merges(found.composition)
        }
        errors, lost = ({name: pair[at] for name, pair in measured.items()} for at in (0, 1))
        open_ = [found.called(node) for node in compose.untrained_parts(found.composition)]
        for node in compose.untrained_parts(found.composition):
            if isinstance(node, Fuse):
                fusion_parts(work.plan, node)
        runs = (
            [f"{open_[0]} has still to be made: --train TASK does"]
            if open_
            else list(_forms(work, found, options))
        )
    tops = compose.heads(found.composition)
    if options.head:
        tops = (bundle.resolver(where, tell=say)(options.head),)
        add_stored_module(work.plan, tops[0])
    heads = [
        f"{_head(work, key, space)} of {found.called(Part(key))}"
        for key in tops
        if key != compose.LANG
        for space in work.plan.train[key].spaces
    ]
    return Explained(
        found,
        work,
        found.composition,
        errors,
        lost,
        open_,
        list(_out_of_context(found, work)),
        runs,
        heads,
        list(_sizes(work, found)),
    )


def _merges(composition: Composition) -> list[Merge]:
    """Merges whose weights are known, innermost first; one above another is measured from what that
    made."""
    inner = [one for part in getattr(composition, "parts", ()) for one in _merges(part)]
    own = isinstance(composition, Merge) and not compose.MERGES[composition.how].fitted
    return (
        [*inner, composition]
        if own and not inner and not compose.untrained_parts(composition)
        else inner
    )


def _measured(work: Work, node: Merge) -> tuple[dict[str, float], dict[str, float]]:
    """The error of a merge, and what its rank cut off: from the manifest where the store has the
    module, else by making it in memory."""
    job = merge_job(work.plan, node, title=compose.show(node))
    if work.store.has_module(job.key):
        record = work.store.manifest(job.key).merge
        return record["errors"], record.get("lost", {})
    modules = {key: work.store.load_module(key) for key in compose.names(node)}
    files = work.plan.inputs.files
    made = merging.merge_modules(
        node,
        {
            key: (module.part("encoder"), work.plan.train[key].method)
            for key, module in modules.items()
        },
        files.layers,
        files.width,
    )
    return made.errors, made.lost


def _forms(work: Work, found: Found, options: Options) -> Iterator[str]:
    """What the libraries are told to run."""
    composition = plan_parts(work.plan, found.composition, options.seed, target=None)
    if swaps := _spoken(work, composition, options, asked=list(LANGUAGES)):
        own = next(iter(swaps.values()))
        composition = compose.rename(composition, lambda key: Part(own.get(key, key)))
        yield f"{compose.LANG}: a module each for {' '.join(swaps)}"
    setup = work.plan.setup(composition)
    names = {key: found.called(Part(key)) for key in compose.names(composition)}
    for key in names:
        if isinstance(job := work.plan.train[key], MergedModule):
            names[key] = found.called(job.expression)
    if setup.full:
        yield f"the encoder that {names[setup.full]} fine-tuned"
    if setup.bottlenecks:
        stack = ", ".join(
            (
                names[one]
                if isinstance(one, str)
                else (
                    f"Fuse({', '.join(names[part] for part in one)}) weighted by"
                    f" {names[setup.fusion]}"
                )
            )
            for one in setup.bottlenecks
        )
        yield f"adapters: Stack({stack}), bottom first"
    if setup.updates:
        weights = setup.weights or (1.0,) * len(setup.updates)
        terms = " + ".join(
            f"{weight:g}·ΔW[{names[key]}]"
            for weight, key in zip(weights, setup.updates, strict=True)
        )
        by = (
            f", weighted by {names[setup.fusion]}" if setup.fusion and not setup.bottlenecks else ""
        )
        yield f"peft: W + {terms}{by}"
    yield (
        f"frozen trunk: layers 0 to {setup.depth} of {work.plan.inputs.files.layers} run once"
        " for all"
    )


def _out_of_context(found: Found, work: Work) -> Iterator[str]:
    """Parts that stand elsewhere than where they were trained."""
    here = set(compose.names(found.composition))
    for key in here - {compose.LANG}:
        if lost := [
            name for name in compose.names(work.plan.train[key].context) if name not in here
        ]:
            told = ", ".join(
                work.plan.train[name].title for name in lost if name in work.plan.train
            )
            yield f"{found.called(Part(key))} was trained together with {told}, which is not here"
    for key in here - {compose.LANG}:
        if any(not one.data for one in work.plan.train[key].exposure):
            yield (
                f"{found.called(Part(key))}: nobody knows what else it has seen; its cells carry a"
                " star"
            )


def _head(work: Work, key: str, space: str) -> str:
    """A head in words: its kind and its labels."""
    head = work.store.manifest(key).heads[space]
    labels = " ".join(head["labels"][:4]) + (
        f" … ({len(head['labels'])})" if len(head["labels"]) > 4 else ""
    )
    return head["kind"] + (f" ({labels})" if labels else "")


def _sizes(work: Work, found: Found) -> Iterator[str]:
    files = work.plan.inputs.files
    parts = {
        key: costs.module_parameters(work.plan.train[key], work.plan.inputs)
        for key in compose.names(found.composition)
        if key != compose.LANG
    }
    yield f"encoder {_mib(4 * files.parameters)} in fp32, {_mib(2 * files.parameters)} in bf16"
    if parts:
        yield f"modules with their heads {_mib(4 * sum(parts.values()))}"
    for node in compose.untrained_parts(found.composition):
        if isinstance(node, Fuse):
            fusion: Choice = methods.fusion_of(
                work.plan.train[compose.names(node)[-1]].method, len(node.parts)
            )
            size = fusion.parameters(files.width, files.wide, files.layers, files.parameters)
            yield (
                f"the fusion to be trained {_mib(4 * size)}, its gradients and moments"
                f" {_mib(12 * size)}"
            )


def _mib(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB"
