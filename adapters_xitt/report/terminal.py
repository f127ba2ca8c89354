"""The report on a terminal: tables folded to its width."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from adapters_xitt.analysis import EVERY, Place, Reading, Row, Table
from adapters_xitt.data.exposure import ZERO_SHOT
from adapters_xitt.report import words

GAP = 2  # blanks between columns
FIRST = "intermediate"
WIDEST_NAME = 26  # of the first column; longer names fold

Show = Callable[[Place], Text]


def terminal(grid: dict[str, Any], console: Console) -> None:
    """Prints the grid: zero-shot, all languages, by language, notes."""
    reading = Reading(grid)
    tables = {tags: reading.table(tags) for tags in (ZERO_SHOT, EVERY)}
    each = {target: reading.by_language(target) for target in reading.targets}
    say = _Say(console)
    say.heading(grid["name"])
    for line in words.title(grid):
        say.line(line, style="dim")
    metrics = {target: words.headline(reading, target) for target in reading.targets}
    say.heading("Zero-shot: mean over the languages that no part of a row has seen")
    say.table(tables[ZERO_SHOT], metrics, _whole)
    say.heading("All languages: XTREME's average, the language of training included")
    say.table(tables[EVERY], metrics, _whole)
    for target, table in each.items():
        say.heading(f"{target}, {metrics[target]}: by language, mean over seeds")
        say.line(words.families(table.columns), style="dim")
        some, others = words.filled(table)
        if some.rows:
            say.table(some, {}, _short)
        if others:
            say.line(others, style="dim")
    say.heading("Marks")
    for line in words.legend([*tables.values(), *each.values()], seeds=len(reading.seeds)):
        say.item(line)
    say.notes(words.notes(reading))


class _Say:
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
        row = Grid.grid(padding=(0, 1, 0, 0))
        row.add_column(no_wrap=True)
        row.add_column(overflow="fold")
        row.add_row("  ", Text(text, overflow="fold"))
        self.console.print(row)

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
        for place, part in enumerate(_parts(table, second, show, width=self.console.width)):
            if place:
                self.console.print()
            self.console.print(part)


def _whole(place: Place) -> Text:
    """ "61.2 ±0.8 (+1.3)" """
    text = Text(
        words.score(place) + words.plus_minus(place.spread),
        style="" if place.mean is not None else "dim",
    )
    if place.difference is not None:
        text.append(f" ({words.signed(place.difference)})")
    return text


def _short(place: Place) -> Text:
    """ "61.2" """
    return Text(
        words.score(place) + words.seen(place), style="" if place.mean is not None else "dim"
    )


def _lines(table: Table) -> Iterator[tuple[str, str, Row | None]]:
    """First and second column of every line: a method, its rows, the majority class at the end."""
    for method, rows in groupby(table.rows, key=lambda row: row.method):
        yield method, "", None
        for row in rows:
            yield f"  {row.intermediate}", row.mode, row
    if table.majority:
        yield table.majority.method, "", table.majority


def _parts(table: Table, second: dict[str, str], show: Show, *, width: int) -> list[Grid]:
    """The table as one or more, so that no cell is folded."""
    lines = list(_lines(table))
    columns: list[tuple[str, list[Text]]] = []
    for name in table.columns:
        heading = name + (f"\n{second[name]}" if second.get(name) else "")
        columns.append(
            (heading, [show(row.places[name]) if row else Text() for _, _, row in lines])
        )
    if any(row and row.average for _, _, row in lines):
        columns.append(
            (
                "average\nof targets",
                [show(row.average) if row and row.average else Text() for _, _, row in lines],
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
    lines: Sequence[tuple[str, str, Row | None]],
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
    for at, (name, mode, row) in enumerate(lines):
        style = "bold" if row is None else ""
        grid.add_row(Text(name, style=style), mode, *(cells[at] for _, cells in columns))
        if at + 1 < len(lines) and (
            lines[at + 1][2] is None or not lines[at + 1][0].startswith("  ")
        ):
            grid.add_row()
    return grid
