"""What `xitt plan` prints: the summary first, then a table of what is trained and one of what is
scored; every module by itself on request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.table import Table

from adapters_xitt.api.plans import Plan
from adapters_xitt.progress import console

Record = dict[str, Any]


def print_plan(plan: Plan, *, details: bool = False) -> None:
    """The summary of a plan, its tables, and with `details` every module and every place that is
    not scored."""
    out = console()
    for line in [*plan.summary, *plan.reasons(details=details)]:
        out.print(line, highlight=False)
    for note in plan.notes:
        out.print(f"Note: {note}", highlight=False)
    if plan.module_records:
        out.print(_training(plan.module_records))
    out.print(_scoring(plan.target_records))
    if details:
        out.print(_modules(plan.module_records))
    else:
        out.print("Every module by itself, and every place: --details", highlight=False)


def _training(modules: Sequence[Record]) -> Table:
    """A row for every task that trains and every method."""
    table = _table(
        "training, the modules of a task and a method",
        ("task", "method"),
        ("modules", "in store", "examples", "steps", "tokens", "trained"),
    )
    groups: dict[tuple[str, str], list[Record]] = {}
    for module in modules:
        groups.setdefault((module["task"], module["method"]), []).append(module)
    for (name, method), group in groups.items():
        new = [module for module in group if not module["stored"]]
        table.add_row(
            name,
            method,
            f"{len(group):,}",
            f"{len(group) - len(new):,}",
            _range(module["examples"] for module in group),
            _range(module["steps"] for module in group),
            _short(sum(module["tokens"] for module in new)),
            _range(module["parameters"] for module in group),
        )
    return table


def _range(numbers: Iterable[int]) -> str:
    low_to_high = sorted(set(numbers))
    return "–".join(dict.fromkeys(map(_short, (low_to_high[0], low_to_high[-1]))))


def _short(number: int) -> str:
    """A number in five signs or so, which a narrow terminal has room for."""
    for size, suffix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= 10 * size or (number >= size and suffix != "k"):
            return f"{number / size:.3g}{suffix}"
    return f"{number:,}"


def _scoring(targets: Sequence[Record]) -> Table:
    """A row for every target."""
    table = _table(
        "scoring, all rows of a target",
        ("task",),
        ("languages", "cells", "in store", "examples", "tokens"),
    )
    for target in targets:
        table.add_row(
            target["task"],
            str(target["languages"]),
            f"{target['cells']:,}",
            f"{target['stored']:,}",
            f"{target['examples']:,}",
            _short(target["tokens"]),
        )
    return table


def _modules(modules: Sequence[Record]) -> Table:
    """A row for every module, cohort by cohort."""
    table = _table(
        "modules", ("task", "module", "store"), ("seed", "examples", "steps", "tokens", "trained")
    )
    for index, module in enumerate(modules):
        numbers = (module[name] for name in ("examples", "steps", "tokens", "parameters"))
        last = index + 1 == len(modules) or modules[index + 1]["cohort"] != module["cohort"]
        table.add_row(
            module["task"],
            module["module"],
            module["state"],
            str(module["seed"]),
            *(f"{number:,}" for number in numbers),
            end_section=last,
        )
    return table


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
