"""An expression taken apart before anything runs: its parts, what is still to be trained, how far a
merge is from the sum it stands for, what the libraries are told to run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Unpack

from adapters_xitt import tasks
from adapters_xitt.api.common import Work
from adapters_xitt.api.expressions import (
    Expression,
    expression_work,
    head_of,
    language_modules,
    out_of_context,
    parse_expression,
)
from adapters_xitt.api.modules import Module
from adapters_xitt.api.options import ExpressionOptions, Settings
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.model.setup import AdapterSetup
from adapters_xitt.modules import composition, merging, methods
from adapters_xitt.modules.composition import Composition, Fuse, Merge, Part
from adapters_xitt.study import costs
from adapters_xitt.study.expressions import fusion_parts, plan_parts
from adapters_xitt.study.jobs import MergedModule
from adapters_xitt.study.module_jobs import merge_job
from adapters_xitt.study.recipe import Reads


@dataclass(frozen=True)
class Explanation:
    """What is to be known of an expression before it is run."""

    expression: Expression
    work: Work
    errors: dict[str, dict[str, float]]  # merge as written → error at each layer and place
    lost: dict[str, dict[str, float]]  # the same: what its rank cut off
    open: list[str]  # what has still to be trained or searched
    warnings: list[str]
    runs: list[str]  # the libraries' forms
    heads: list[str]
    memory: list[str]

    def __str__(self) -> str:
        lines = {
            "runs as": self.runs,
            "head": self.heads or ["none"],
            "to be made": self.open,
            "memory": self.memory,
            "note": self.warnings,
        }
        body = [f"{what}: {line}" for what, texts in lines.items() for line in texts]
        return "\n".join([self.expression.text, *body])


def explain(composition: str | Module, **options: Unpack[ExpressionOptions]) -> Explanation:
    """Takes an expression over stored modules apart. A `XittError` where it can't be run, which
    points at the part that it is about; its merges are made in memory and measured. The errors of a
    merge are shares of the norm of the sum that it stands for, by layer and place, and under `all`.

    >>> explain("a + 0.5*b", store="docs").runs[0]
    'peft: W + 1·ΔW[a] + 0.5·ΔW[b]'
    """
    return _explain(str(composition), Settings(**options))


def _explain(text: str, settings: Settings) -> Explanation:
    store = settings.stored
    expression = parse_expression(text, store)
    tree = expression.composition
    targets = {next(iter(tasks.TASKS)): ""}
    reads = Reads.expression(settings.trained, settings.scored)
    work = expression_work(expression, store, targets, settings, reads=reads)
    with expression.pointing():
        measured = {expression.shown(node): _measured(work, node) for node in _merges(tree)}
        untrained = composition.untrained_parts(tree)
        for node in untrained:
            if isinstance(node, Fuse):
                fusion_parts(work.plan, node)
        unmade = [expression.shown(node) for node in untrained]
        if unmade:
            runs = [f"{unmade[0]} has still to be made: --train TASK does"]
        else:
            runs = list(_forms(work, expression, settings))
    head = head_of(work, settings)
    tops = (head,) if head else composition.heads(tree)
    heads = [
        f"{_head(work, key, space)} of {expression.shown(Part(key))}"
        for key in tops
        if key != composition.LANG
        for space in work.plan.train[key].spaces
    ]
    return Explanation(
        expression=expression,
        work=work,
        errors={name: errors for name, (errors, _) in measured.items()},
        lost={name: lost for name, (_, lost) in measured.items()},
        open=unmade,
        warnings=list(out_of_context(expression, work)),
        runs=runs,
        heads=heads,
        memory=list(_sizes(work, expression)),
    )


def _merges(tree: Composition) -> list[Merge]:
    """Merges whose weights are known, innermost first; one above another is measured from what that
    made."""
    inner = [merge for part in tree.parts for merge in _merges(part)]
    if isinstance(tree, Merge) and not composition.MERGES[tree.how].fitted:
        if not inner and not composition.untrained_parts(tree):
            return [tree]
    return inner


def _measured(work: Work, node: Merge) -> tuple[dict[str, float], dict[str, float]]:
    """The error of a merge, and what its rank cut off: from the manifest where the store has the
    module, else by making it in memory."""
    job = merge_job(work.plan, node, title=composition.show(node))
    if work.store.has_module(job.key):
        record: dict[str, Any] = work.store.manifest(job.key).merge or {}
        return record["errors"], record.get("lost", {})
    modules = {key: work.store.load_module(key) for key in composition.names(node)}
    files = work.plan.inputs.files
    parts = {
        key: (module.part("encoder"), work.plan.train[key].method)
        for key, module in modules.items()
    }
    merged = merging.merge_modules(node, parts, files.layers, files.width)
    return merged.errors, merged.lost


def _forms(work: Work, expression: Expression, settings: Settings) -> Iterator[str]:
    """What the libraries are told to run."""
    plan = work.plan
    tree = plan_parts(plan, expression.composition, 1, target=None)
    if swaps := language_modules(work, tree, settings, languages=list(LANGUAGES)):
        first = next(iter(swaps.values()))
        tree = composition.rename(tree, lambda key: Part(first.get(key, key)))
        yield f"{composition.LANG}: a module each for {' '.join(swaps)}"
    names = {}
    for key in composition.names(tree):
        job = plan.train[key]
        shown = job.expression if isinstance(job, MergedModule) else Part(key)
        names[key] = expression.shown(shown)
    yield from _setup_forms(plan.setup(tree), names)
    yield (
        f"frozen trunk: layers 0 to {plan.setup(tree).depth} of {plan.inputs.files.layers} run"
        " once for all"
    )


def _setup_forms(setup: AdapterSetup, names: dict[str, str]) -> Iterator[str]:
    """The forms of adapters and of peft; `names`: key → as its user knows it."""
    if setup.full:
        yield f"the encoder that {names[setup.full]} fine-tuned"
    if setup.bottlenecks:
        layers = []
        for layer in setup.bottlenecks:
            if isinstance(layer, str):
                layers.append(names[layer])
            else:
                fused = ", ".join(names[key] for key in layer)
                layers.append(f"Fuse({fused}) weighted by {names[setup.fusion or '']}")
        yield f"adapters: Stack({', '.join(layers)}), bottom first"
    if setup.updates:
        weights = setup.weights or (1.0,) * len(setup.updates)
        terms = [
            f"{weight:g}·ΔW[{names[key]}]"
            for weight, key in zip(weights, setup.updates, strict=True)
        ]
        form = f"peft: W + {' + '.join(terms)}"
        if setup.fusion and not setup.bottlenecks:
            form += f", weighted by {names[setup.fusion]}"
        yield form


def _head(work: Work, key: str, space: str) -> str:
    """A head in words: its kind and its labels."""
    head = work.store.manifest(key).heads[space]
    labels = " ".join(head["labels"][:4])
    if len(head["labels"]) > 4:
        labels += f" … ({len(head['labels'])})"
    return head["kind"] + (f" ({labels})" if labels else "")


def _sizes(work: Work, expression: Expression) -> Iterator[str]:
    files = work.plan.inputs.files
    keys = [key for key in composition.names(expression.composition) if key != composition.LANG]
    yield f"encoder {_mib(4 * files.parameters)} in fp32, {_mib(2 * files.parameters)} in bf16"
    if keys:
        parameters = sum(
            costs.module_parameters(work.plan.train[key], work.plan.inputs) for key in keys
        )
        yield f"modules with their heads {_mib(4 * parameters)}"
    for node in composition.untrained_parts(expression.composition):
        if isinstance(node, Fuse):
            last = work.plan.train[composition.names(node)[-1]]
            fusion = methods.fusion_of(last.method, len(node.parts))
            size = fusion.parameters(files.width, files.wide, files.layers, files.parameters)
            yield (
                f"the fusion to be trained {_mib(4 * size)}, its gradients and moments"
                f" {_mib(12 * size)}"
            )


def _mib(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB"
