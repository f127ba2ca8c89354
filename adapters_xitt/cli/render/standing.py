"""What a submission scores, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from adapters_xitt.progress import console
from adapters_xitt.report.submission import Average, Standing


def print_standing(standing: Standing, predictions: Path) -> None:
    """Prints what a submission folder scores: by task, by group, by language, and remarks."""
    table = Table(title=f"{standing.benchmark.about}\n{predictions}", title_justify="left")
    for column in ("", "score", "over", "scores", "missing"):
        table.add_column(column, justify="right" if column == "score" else "left")
    for task in standing.benchmark.rows:
        languages = standing.scores.get(task.name, {})
        asked = len(standing.benchmark.languages[task.name])
        table.add_row(
            task.name,
            _average(standing.tasks[task.name]),
            f"{len(languages)} of {asked} languages",
            ", ".join(f"{name} {value:.2f}" for name, value in _mean_scores(languages).items()),
            _missing(standing.tasks[task.name]),
        )
    table.add_section()
    for name, average in {**standing.groups, "all tasks": standing.whole}.items():
        table.add_row(name, _average(average), "tasks", "", _missing(average))
    console().print(table)
    each = Table(title="by language, over the tasks that ask for it", title_justify="left")
    for column in ("language", "score", "missing"):
        each.add_column(column, justify="right" if column == "score" else "left")
    for code, average in standing.languages.items():
        if average.value is not None:
            each.add_row(code, _average(average), _missing(average))
    console().print(each)
    _print_remarks(standing)


def _mean_scores(languages: dict[str, dict[str, float]]) -> dict[str, float]:
    """The mean over languages of every score that all of them have."""
    names = next(iter(languages.values()), {})
    return {
        name: sum(scores[name] for scores in languages.values()) / len(languages)
        for name in names
        if all(name in scores for scores in languages.values())
    }


def _print_remarks(standing: Standing) -> None:
    """The lines that a lenient reading forgave, by file and kind; or how many it would."""
    remarks = standing.remarks
    if not remarks:
        return
    if not standing.lenient:
        files = {remark.path for remark in remarks}
        print(
            f"{len(remarks):,} lines of {len(files)} files, as"
            f" {remarks[0].path}:{remarks[0].line}: {remarks[0].what}, are taken"
            " literally, as evaluate.py takes them; --lenient reads them as people do, and says"
            " which"
        )
        return
    by_kind: dict[tuple[Path, str], list[int]] = {}
    for remark in remarks:
        by_kind.setdefault((remark.path, remark.what), []).append(remark.line)
    for (path, what), lines in by_kind.items():
        place = path if lines == [0] else f"{path}:{_runs(lines)}"
        print(f"forgiven: {place}: {what}")


def _runs(numbers: Sequence[int]) -> str:
    """`1-3,7` for 1, 2, 3 and 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def _average(average: Average) -> str:
    if average.value is None:
        return "–"
    return f"{average.value:.2f}" + ("*" if average.missing else "")


def _missing(average: Average) -> str:
    return " ".join(average.missing)
