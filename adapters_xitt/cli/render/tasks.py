"""Tasks as tables. Tables of what is there need no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Table

from adapters_xitt import tasks
from adapters_xitt.api.tasks import Example, UpperBound
from adapters_xitt.data.hub_datasets import HUB_DATASETS
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.progress import console
from adapters_xitt.tasks import Task


def print_tasks(*, markdown: bool) -> None:
    """The table of tasks."""
    if markdown:
        print(tasks_table())
        return
    table = Table(title="tasks", title_justify="left")
    for column in ("name", "kind", "languages", "scored by", "trained on", "about"):
        table.add_column(column)
    for task in tasks.TASKS.values():
        trained = "nothing" if not task.trains else task.trained_on or "its own English data"
        table.add_row(
            task.name,
            task.kind,
            str(len(task.languages)),
            f"{task.metric}: {task.main_score}",
            trained,
            task.about,
        )
    console().print(table)


def tasks_table() -> str:
    """The tasks as Markdown: languages, origin and hub, metric, convention."""
    lines = ["| task | kind | languages | origin | hub | metric | convention |", "| --- " * 7 + "|"]
    for task in tasks.TASKS.values():
        if task.demo:
            continue
        convention = _convention(task)
        cells = (
            f"`{task.name}`",
            task.kind,
            "any" if task.languages == tuple(LANGUAGES) else _all_languages(task),
            task.source,
            ", ".join(_repositories(task)),
            f"{task.metric}: {task.main_score}",
            "" if convention == "plain" else convention,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _convention(task: Task) -> str:
    """How a task is read by default, and how else."""
    from adapters_xitt.evaluation import conventions

    convention = conventions.convention(task, 24)
    others = task.readings[1:]
    if others:
        name = task.reading().name
        convention += f" ({name})" if name not in convention else ""
        convention += "; also " + ", ".join(reading.name for reading in others)
    return convention


def _all_languages(task: Task) -> str:
    more = f"; XTREME-R: {' '.join(task.more)}" if task.more else ""
    return " ".join(task.languages) + more


def _repositories(task: Task) -> list[str]:
    if task.name not in HUB_DATASETS:
        return []
    splits = HUB_DATASETS[task.name].splits.values()
    return list(dict.fromkeys(part.repo for parts in splits for part in parts))


def print_upper_bound(task: str, bound: UpperBound) -> None:
    """What gold spans score on a question answering task, in each language whose files are at
    hand."""
    table = Table(
        title=f"{task}: gold spans, encoded by {bound.encoder} and decoded again",
        title_justify="left",
    )
    *counts, exact_match, f1 = bound.frame.columns
    for column in (*counts, "exact match", "F1"):
        table.add_column(column, justify="left" if column == "language" else "right")
    for record in bound.frame.to_dict("records"):
        language, *numbers = (record[column] for column in counts)
        table.add_row(
            language,
            *(f"{number:,}" for number in numbers),
            f"{record[exact_match]:.1f}",
            f"{record[f1]:.1f}",
        )
    out = console()
    out.print(table)
    for line in bound.missing:
        out.print(line)


def print_task(task: Task) -> None:
    """One task whole."""
    table = Table(show_header=False, title=f"{task.name}: {task.about}", title_justify="left")
    trained = task.name if not task.trained_on else task.trained_on
    facts = {
        "kind": f"{task.kind}: {tasks.KINDS[task.kind].about}",
        "group": task.group,
        "languages": _codes(task, task.languages),
        "labels": " ".join(task.labels),
        "scored by": f"{task.metric}, headline {task.main_score}",
        "trained on": f"{trained} {tasks.task(trained).train}" if task.trains else "nothing",
        "selected on": tasks.task(trained).selection if task.trains else "nothing",
        "items": task.origin,
        "derived from": " ".join(task.derived_from),
        "source": task.source,
        "files": "\n".join(
            f"{split}: {' | '.join(files)}" for split, files in task.files.items() if files
        ),
        "other files": "\n".join(
            f"*{end}, *{end}.gz: read as {form.reader}"
            + "".join(f", {name} {value}" for name, value in form.options.items())
            for end, form in task.formats.items()
        ),
        "joins": " ".join(task.joins),
        "languages of XTREME-R": _codes(task, task.more),
        "files missing": task.hint,
        "labels apart": "\n".join(
            f"{split}: {' | '.join(files)}" for split, files in task.gold.items()
        ),
    }
    for name, text in facts.items():
        if text:
            table.add_row(name, text)
    console().print(table)


def _codes(task: Task, codes: Sequence[str]) -> str:
    """Language codes, with what files call a language where that is something else."""
    return " ".join(
        code + (f" ({task.codes[code]})" if task.codes.get(code, code) != code else "")
        for code in codes
    )


def print_example(example: Example) -> None:
    """The first example of a test, and its tokens."""
    out = console()
    out.print(
        f"\nThe first of {example.count:,} {example.split} examples in {example.language}, from"
        f" {example.file}:"
    )
    out.print_json(json.dumps(example.example, ensure_ascii=False))
    out.print("as the encoder sees it:")
    out.print(" ".join(example.tokens), highlight=False)
