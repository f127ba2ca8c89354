"""What a reader sees of a finished grid: on a terminal, as Markdown, as CSV and as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters_xitt.analysis import fused
from adapters_xitt.analysis.findings import Findings
from adapters_xitt.atomic import whole_file
from adapters_xitt.report.answers import answers_csv
from adapters_xitt.report.csv_table import csv_text
from adapters_xitt.report.forest import forest
from adapters_xitt.report.further import further_files
from adapters_xitt.report.fusion import weights_csv, weights_map
from adapters_xitt.report.heat_map import heat_map
from adapters_xitt.report.page import calibration_page, markdown
from adapters_xitt.report.terminal import print_answers, terminal

__all__ = [
    "csv_text",
    "heat_map",
    "markdown",
    "print_answers",
    "terminal",
    "weights_csv",
    "weights_map",
    "write",
]


def write(grid: dict[str, Any], folder: Path, findings: Findings | None = None) -> tuple[Path, ...]:
    """Writes report.md, grid.csv and grid.png; fusion.csv and fusion.png where something was fused,
    answers.csv and answers.png where something was asked, consistency's and variance's where there
    is something to say, calibration's where it was asked for; each has its name only when it is
    whole."""
    writers: dict[str, Callable[[Path], object]] = {
        "report.md": lambda path: path.write_text(markdown(grid, findings), encoding="utf-8"),
        "grid.csv": lambda path: path.write_text(csv_text(grid), encoding="utf-8", newline=""),
        "grid.png": lambda path: heat_map(grid, path),
    }
    if fused(grid):
        writers["fusion.csv"] = lambda path: path.write_text(
            weights_csv(grid), encoding="utf-8", newline=""
        )
        writers["fusion.png"] = lambda path: weights_map(grid, path)
    if findings and findings.answers:
        writers["answers.csv"] = lambda path: path.write_text(
            answers_csv(findings), encoding="utf-8", newline=""
        )
        writers["answers.png"] = lambda path: forest(findings.answers, path)
    writers |= further_files(grid, findings) if findings else {}
    if findings and findings.has_temperatures:
        writers["calibration.md"] = lambda path: path.write_text(
            calibration_page(grid, findings.calibration), encoding="utf-8"
        )
    for name, writer in writers.items():
        with whole_file(folder / name) as work:
            writer(work)
    return tuple(folder / name for name in writers)
