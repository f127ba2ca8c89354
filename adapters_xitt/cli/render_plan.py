"""What `xitt plan` prints: the summary first, then a table of what is trained and one of what is
scored; every module by itself on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from adapters_xitt import tasks
from adapters_xitt.api.common import Work
from adapters_xitt.progress import console
from adapters_xitt.study import costs
from adapters_xitt.study.jobs import ModuleJob
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.results import BLOCKED, FAILED, NOT_APPLICABLE, Entry

STATUSES = (FAILED, BLOCKED, NOT_APPLICABLE)  # that the plan decides, the worst first


def print_plan(work: Work, *, details: bool = False) -> None:
    """The summary of a plan, its tables, and with `details` every module and every place that is
    not scored."""
    out, plan = console(), work.plan
    _print_summary(out, work)
    for status in STATUSES:
        _print_reasons(out, plan, status, details)
    for note in [*plan.notes, *plan.inputs.truncated()]:
        out.print(f"Note: {note}", highlight=False)
    if plan.train:
        out.print(_training(work))
    out.print(_scoring(work))
    if details:
        out.print(_modules(work))
    else:
        out.print("Every module by itself, and every place: --details", highlight=False)


def _print_summary(out: Console, work: Work) -> None:
    plan, store, files = work.plan, work.store, work.plan.inputs.files
    recipe = plan.recipe
    modules, cells = plan.missing(store.has_module, store.has_result)
    size = sum(costs.held_bytes(job, plan.inputs) for job in modules)
    tokens = sum(costs.train_tokens(job, plan.inputs) for job in modules)
    tokens += sum(costs.score_tokens(job, plan.inputs) for job in cells)
    out.print(
        f"To do: {len(modules):,} of {len(plan.train):,} modules, {len(cells):,} of"
        f" {len(plan.score):,} cells, {tokens:,} tokens; the new modules take {size / 2**20:,.1f}"
        f" MiB in {store.root}.",
        highlight=False,
    )
    out.print(
        f"Recipe {recipe.name}: encoder {files.name}, {files.layers} layers of width "
        f"{files.width}, {files.parameters / 1e6:,.1f} million parameters; methods "
        f"{', '.join(choice.label for choice, _ in recipe.choices())}; seeds "
        f"{' '.join(map(str, recipe.seeds))}.",
        highlight=False,
    )
    if not files.weights:
        out.print(
            "Planned without the encoder's weights, from its configuration and tokenizer: keys need"
            " the weights' fingerprint, so nothing that the store has is counted.",
            highlight=False,
        )
    counted = Counter(entry.status or "to score" for entry in plan.entries)
    out.print(
        "Places of the grid: "
        + ", ".join(f"{count:,} {status}" for status, count in counted.items())
        + ".",
        highlight=False,
    )


def _print_reasons(out: Console, plan: Plan, status: str, details: bool) -> None:
    """A line for every reason: how many places it decides, and which, where it is not all of
    them."""
    grouped: dict[str, list[Entry]] = {}
    for entry in plan.entries:
        if entry.status == status:
            grouped.setdefault(entry.reason or "no reason given", []).append(entry)
    intermediates = {mixed.name for mixed in plan.recipe.mixtures()}
    for reason, group in grouped.items():
        after = dict.fromkeys(entry.intermediate for entry in group if entry.intermediate)
        targets = dict.fromkeys(entry.target for entry in group)
        languages = dict.fromkeys(entry.language for entry in group)
        tested = {code for name in targets for code in plan.recipe.tested(tasks.task(name))}
        words = [
            _some(
                (f"{entry.method.partition('(')[0]} {entry.mode}" for entry in group), 4, details
            ),
            (
                f"after {_some(after, 4, details)}"
                if after and (details or intermediates - set(after))
                else ""
            ),
            (
                f"on {_some(targets, 6, details)}"
                if details or set(plan.recipe.targets) - set(targets)
                else ""
            ),
            f"in {_some(languages, 9, details)}" if details or tested - set(languages) else "",
        ]
        out.print(
            f"{status.capitalize()}, {len(group):,} places: {reason} "
            f"({'; '.join(filter(None, words))})",
            highlight=False,
        )


def _some(words: Iterable[str], most: int, every: bool) -> str:
    """Words, each once; the first few of many."""
    distinct = list(dict.fromkeys(words))
    if every or len(distinct) <= most:
        return ", ".join(distinct)
    return f"{', '.join(distinct[:most])} and {len(distinct) - most} more"


def _training(work: Work) -> Table:
    """A row for every task that trains and every method."""
    plan, store = work.plan, work.store
    table = _table(
        "training, the modules of a task and a method",
        ("task", "method"),
        ("modules", "in store", "examples", "steps", "tokens", "trained"),
    )
    groups: dict[tuple[str, str], list[ModuleJob]] = {}
    for cohort in plan.train_cohorts():
        for job in cohort.jobs:
            groups.setdefault((cohort.mixture.name, job.method.name), []).append(job)
    for (name, method), jobs in groups.items():
        examples = {
            sum(data.train.examples for data in plan.inputs.data(job.mixture)) for job in jobs
        }
        todo = [job for job in jobs if not store.has_module(job.key)]
        table.add_row(
            name,
            method,
            f"{len(jobs):,}",
            f"{len(jobs) - len(todo):,}",
            _range(examples),
            _range(costs.steps(job, plan.inputs) for job in jobs),
            _short(sum(costs.train_tokens(job, plan.inputs) for job in todo)),
            _range(costs.module_parameters(job, plan.inputs) for job in jobs),
        )
    return table


def _range(numbers: Iterable[int]) -> str:
    low_to_high = sorted(set(numbers))
    return "–".join(dict.fromkeys(map(_short, (low_to_high[0], low_to_high[-1]))))


def _short(number: int) -> str:
    """A number in five signs or so, which a narrow terminal has room for."""
    for size, feature in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= 10 * size or (number >= size and feature != "k"):
            return f"{number / size:.3g}{feature}"
    return f"{number:,}"


def _scoring(work: Work) -> Table:
    """A row for every target."""
    plan, store = work.plan, work.store
    table = _table(
        "scoring, all rows of a target",
        ("task",),
        ("languages", "cells", "in store", "examples", "tokens"),
    )
    for name in plan.recipe.targets:
        jobs = [job for job in plan.score.values() if job.task.name == name]
        languages = plan.recipe.tested(tasks.task(name))
        examples = sum(len(plan.inputs.test(name, language).rows) for language in languages)
        table.add_row(
            name,
            str(len(languages)),
            f"{len(jobs):,}",
            f"{sum(store.has_result(job.cell.key) for job in jobs):,}",
            f"{examples:,}",
            _short(sum(costs.score_tokens(job, plan.inputs) for job in jobs)),
        )
    return table


def _modules(work: Work) -> Table:
    """A row for every module, cohort by cohort."""
    plan, store = work.plan, work.store
    modules, _ = plan.missing(store.has_module, store.has_result)
    missing = {job.key for job in modules}
    table = _table(
        "modules", ("task", "module", "store"), ("seed", "examples", "steps", "tokens", "trained")
    )
    for cohort in plan.train_cohorts():
        examples = sum(data.train.examples for data in plan.inputs.data(cohort.mixture))
        for job in cohort.jobs:
            table.add_row(
                cohort.mixture.name,
                job.title,
                _standing(job, missing, store.has_module),
                str(cohort.seed),
                f"{examples:,}",
                f"{costs.steps(job, plan.inputs):,}",
                f"{costs.train_tokens(job, plan.inputs):,}",
                f"{costs.module_parameters(job, plan.inputs):,}",
            )
        table.add_section()
    return table


def _standing(job: ModuleJob, missing: set[str], has_module: Callable[[str], bool]) -> str:
    if job.key in missing:
        return ""
    return "has it" if has_module(job.key) else "not needed"


def _table(title: str, words: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for column in words:
        table.add_column(column, overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right")
    return table
