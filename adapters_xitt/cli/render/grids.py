"""Grids on the terminal, with the files of their reports."""

from __future__ import annotations

from pathlib import Path

from adapters_xitt import progress, report
from adapters_xitt.api.grids import Answers, Grid, Submission
from adapters_xitt.progress import console


def print_grid(grid: Grid, out: Path | None = None) -> None:
    """Prints a grid as wide as the terminal is, and says where it was written."""
    report.terminal(grid.record, progress.console(), grid.findings)
    folder = out or grid.folder
    files = ", ".join(path.name for path in report.write(grid.record, folder, grid.findings))
    print(f"\n{files} lie in {folder}")


def print_run(grid: Grid) -> None:
    """Prints the grid of a run that has just ended, and why places have no score."""
    report.terminal(grid.record, progress.console(), grid.findings)
    files = ", ".join(path.name for path in report.write(grid.record, grid.folder, grid.findings))
    last = f"{files} and grid.json lie in {grid.folder}"
    print("\n".join(["", *grid.failures, last]))


def print_submission(submission: Submission) -> None:
    """Where a submission lies, and what the benchmark asks for beside it."""
    out = console()
    out.print(f"{submission.system}: written to {submission.folder}")
    for line in submission.missing:
        out.print(f"missing: {line}")


def print_answers(answers: Answers) -> None:
    """Questions and their answers."""
    report.print_answers(answers.each, progress.console())
