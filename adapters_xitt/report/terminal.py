"""The report on a terminal: tables folded to its width."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from adapters_xitt.analysis import EVERY, Reading, Table, TableCell, TableRow
from adapters_xitt.analysis.controls import Control
from adapters_xitt.analysis.findings import Findings, tables_of
from adapters_xitt.analysis.questions import Answer
from adapters_xitt.data.exposure import ZERO_SHOT
from adapters_xitt.report import words
from adapters_xitt.report.answers import (
    EXPLAINED,
    HEADS,
    answer_lines,
    control_lines,
    failed_controls,
)
from adapters_xitt.report.further import further_sections
from adapters_xitt.report.reservations import encoder_lines
from adapters_xitt.report.sections import Section

GAP = 2  # blanks between columns
FIRST = "intermediate"
WIDEST_NAME = 26  # of the first column; longer names fold

Show = Callable[[TableCell], Text]


def terminal(grid: dict[str, Any], console: Console, findings: Findings | None = None) -> None:
    """Prints the grid: answers, zero-shot, all languages, by language, notes. Without `findings`
    nothing is tested."""
    reading = Reading(grid)
    tables, each = tables_of(reading, findings)
    printer = _Printer(console)
    printer.heading(grid["name"])
    for line in failed_controls(findings.controls) if findings else []:
        printer.line(line, style="bold red")
    for line in words.title(grid):
        printer.line(line, style="dim")
    if findings:
        printer.answers(findings.answers)
        printer.controls(findings.controls)
    metrics = {target: words.main_score(reading, target) for target in reading.targets}
    printer.heading("Zero-shot: mean over the languages that no part of a row has seen")
    for line in encoder_lines(grid, reading.targets):
        printer.line(line, style="dim")
    printer.table(tables[ZERO_SHOT], metrics, _whole)
    printer.heading("All languages: XTREME's average, the language of training included")
    printer.table(tables[EVERY], metrics, _whole)
    for target, table in each.items():
        printer.heading(f"{target}, {metrics[target]}: by language, mean over seeds")
        printer.line(words.families(table.columns), style="dim")
        some, others = words.filled(table)
        if some.rows:
            printer.table(some, {}, _short)
        if others:
            printer.line(others, style="dim")
    printer.heading("Marks")
    every = [*tables.values(), *each.values()]
    tested = findings is not None
    for line in words.legend(every, seeds=len(reading.seeds), tested=tested):
        printer.item(line)
    for section in further_sections(findings) if findings else ():
        printer.section(section)
    printer.notes(words.notes(reading))


def print_answers(answers: Sequence[Answer], console: Console) -> None:
    """Prints answers alone."""
    _Printer(console).answers(answers)


class _Printer:
    """Printing without markup: names and reasons may hold brackets."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def line(self, text: str, *, style: str = "") -> None:
        self.console.print(Text(text, style=style, overflow="fold"))

    def heading(self, text: str) -> None:
        self.console.print()
        self.line(text, style="bold")

    def item(self, text: str) -> None:
        """A line whose continuations are indented."""
        grid = Grid.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row("  ", Text(text, overflow="fold"))
        self.console.print(grid)

    def answers(self, answers: Sequence[Answer]) -> None:
        """A table of questions, and what each was asked of."""
        if not answers:
            return
        self.heading("Questions")
        table = Grid(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
        for number, head in enumerate(HEADS):
            table.add_column(head, justify="right" if number else "left", overflow="fold")
        lines = answer_lines(answers)
        for each in lines:
            table.add_row(*map(Text, each.cells))
        self.console.print(table)
        for each in lines:
            self.item(f"{each.cells[0]}: {'; '.join((each.about, *each.remarks))}")
        for line in EXPLAINED:
            self.item(line)

    def controls(self, controls: Sequence[Control]) -> None:
        """Every control with what it shows."""
        if controls:
            self.heading("Controls")
            for heading, lines in control_lines(controls).items():
                self.item(heading)
                for line in lines:
                    self.item(f"  {line}")

    def section(self, section: Section) -> None:
        """A heading, what it is about, its table and remarks."""
        self.heading(section.heading)
        self.line(section.about, style="dim")
        table = Grid(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
        for number, head in enumerate(section.heads):
            side: Literal["left", "right"] = "left" if number < section.left else "right"
            table.add_column(head, justify=side, overflow="fold")
        for line in section.rows:
            table.add_row(*map(Text, line))
        self.console.print(table)
        for remark in section.remarks:
            self.item(remark)

    def notes(self, notes: list[tuple[str, list[str]]]) -> None:
        for heading, lines in notes:
            self.heading(heading)
            for line in lines:
                self.item(line)

    def table(self, table: Table, second: dict[str, str], show: Show) -> None:
        """A table, in as many parts as its columns need; `second` is a second line of the
        headings."""
        if not table.rows:
            self.line("no rows", style="dim")
            return
        for number, part in enumerate(_parts(table, second, show, width=self.console.width)):
            if number:
                self.console.print()
            self.console.print(part)


def _whole(cell: TableCell) -> Text:
    """ "61.2 ±0.8 (+1.3)" """
    text = Text(
        words.score(cell) + words.plus_minus(cell.spread),
        style="" if cell.mean is not None else "dim",
    )
    if cell.difference is not None:
        text.append(f" ({words.signed(cell.difference)}{words.significant(cell)})")
    return text


def _short(cell: TableCell) -> Text:
    """ "61.2" """
    return Text(words.score(cell) + words.seen(cell), style="" if cell.mean is not None else "dim")


def _lines(table: Table) -> Iterator[tuple[str, str, TableRow | None]]:
    """First and second column of every line: a method, its rows, the majority class at the end."""
    for method, rows in groupby(table.rows, key=lambda table_row: table_row.method):
        yield method, "", None
        for table_row in rows:
            yield f"  {table_row.title}", table_row.mode, table_row
    if table.majority:
        yield table.majority.method, "", table.majority


def _parts(table: Table, second: dict[str, str], show: Show, *, width: int) -> list[Grid]:
    """The table as one or more, so that no cell is folded."""
    lines = list(_lines(table))
    columns: list[tuple[str, list[Text]]] = []
    for name in table.columns:
        heading = name + (f"\n{second[name]}" if second.get(name) else "")
        columns.append(
            (
                heading,
                [show(table_row.cells[name]) if table_row else Text() for _, _, table_row in lines],
            )
        )
    if any(table_row and table_row.average for _, _, table_row in lines):
        columns.append(
            (
                "average\nof targets",
                [
                    show(table_row.average) if table_row and table_row.average else Text()
                    for _, _, table_row in lines
                ],
            )
        )
    first = min(max(len(FIRST), *(cell_len(name) for name, _, _ in lines)), WIDEST_NAME)
    modes = max(cell_len(mode) for _, mode, _ in lines)
    room = width - first - modes - 2 * GAP
    return [_part(lines, chosen, first) for chosen in _folded(columns, room)]


def _folded(
    columns: Sequence[tuple[str, list[Text]]], room: int
) -> list[list[tuple[str, list[Text]]]]:
    """Columns in groups that fit into `room`; at least one in each."""
    groups: list[list[tuple[str, list[Text]]]] = [[]]
    left = room
    for heading, cells in columns:
        needed = (
            max(cell_len(line) for line in [*heading.split("\n"), *(cell.plain for cell in cells)])
            + GAP
        )
        if groups[-1] and needed > left:
            groups.append([])
            left = room
        groups[-1].append((heading, cells))
        left -= needed
    return groups


def _part(
    lines: Sequence[tuple[str, str, TableRow | None]],
    columns: Sequence[tuple[str, list[Text]]],
    first: int,
) -> Grid:
    grid = Grid(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        header_style="bold",
    )
    grid.add_column(FIRST, min_width=first, max_width=first, overflow="fold")
    grid.add_column("mode", no_wrap=True)
    for heading, _ in columns:
        grid.add_column(heading, justify="right", vertical="bottom")
    for index, (name, mode, table_row) in enumerate(lines):
        style = "bold" if table_row is None else ""
        grid.add_row(Text(name, style=style), mode, *(cells[index] for _, cells in columns))
        if index + 1 < len(lines) and (
            lines[index + 1][2] is None or not lines[index + 1][0].startswith("  ")
        ):
            grid.add_row()
    return grid
